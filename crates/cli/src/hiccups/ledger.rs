// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The pauses of the machine that are remembered: the worst of all, and the latest. In: one pause after the other.
//! Out: lists. Who is to blame is said by figures of the system, as well as they can tell.
//! Invariant: never holds more than [`WORST`] and [`LATEST`].

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use stdx::Timestamp;

/// How many of the worst are kept.
pub(crate) const WORST: usize = 100;
/// How many of the latest are kept.
pub(crate) const LATEST: usize = 100;

/// What the system counted while nothing went on, in nanoseconds but for the faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hints {
    /// How long the meter itself was ready and had no processor.
    pub(crate) meter_waited: u64,
    /// How long all threads of the process were ready and had none, together, since it was looked last.
    pub(crate) threads_waited: u64,
    /// What the host took from all processors of the machine, together.
    pub(crate) stolen: u64,
    /// Pages of the process that had to come from a disk.
    pub(crate) major_faults: u64,
}

impl Hints {
    /// What came since `before`.
    pub(crate) fn since(self, before: Hints) -> Hints {
        Hints {
            meter_waited: self.meter_waited.saturating_sub(before.meter_waited),
            threads_waited: self.threads_waited.saturating_sub(before.threads_waited),
            stolen: self.stolen.saturating_sub(before.stolen),
            major_faults: self.major_faults.saturating_sub(before.major_faults),
        }
    }
}

/// Why the meter probably overslept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cause {
    /// The host had the processors.
    Host,
    /// Other threads had the processors.
    Processor,
    /// Pages had to come from a disk.
    Disk,
    /// None of these: the process was stopped, or the whole machine.
    Stopped,
}

/// A time in which the process did not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pause {
    /// When it was over, in milliseconds since 1970.
    pub(crate) at: i64,
    /// How long it was at least, in nanoseconds.
    pub(crate) nanos: u64,
    pub(crate) cause: Cause,
    pub(crate) hints: Hints,
}

impl Pause {
    pub(crate) fn new(at: Timestamp, nanos: u64, hints: Hints) -> Pause {
        Pause { at: at.0, nanos, cause: cause(nanos, hints), hints }
    }
}

fn cause(nanos: u64, hints: Hints) -> Cause {
    // What the host takes is counted in hundredths of a second, and also looks like other threads.
    if hints.stolen >= nanos / 2 {
        Cause::Host
    } else if hints.meter_waited >= nanos / 2 {
        Cause::Processor
    } else if hints.major_faults > 0 {
        Cause::Disk
    } else {
        Cause::Stopped
    }
}

/// The pauses that are remembered.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Ledger {
    /// How many there were.
    seen: u64,
    /// The longest first.
    worst: Vec<Pause>,
    /// The newest last.
    latest: VecDeque<Pause>,
}

impl Ledger {
    /// How many there were.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    pub(crate) fn note(&mut self, pause: Pause) {
        self.seen += 1;
        if self.latest.len() == LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(pause);
        let place = self.worst.partition_point(|known| known.nanos >= pause.nanos);
        if place < WORST {
            self.worst.truncate(WORST - 1);
            self.worst.insert(place, pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_worst_and_the_latest_stay() {
        let mut ledger = Ledger::default();
        let lengths = (0..1000).map(|n| n * 7919 % 1009);
        lengths.clone().for_each(|n| ledger.note(Pause::new(Timestamp(n as i64), n * MS, Hints::default())));
        let mut sorted: Vec<u64> = lengths.clone().map(|n| n * MS).collect();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(ledger.worst.iter().map(|pause| pause.nanos).collect::<Vec<_>>(), sorted[..WORST]);
        let latest: Vec<u64> = ledger.latest.iter().map(|pause| pause.nanos / MS).collect();
        assert_eq!(latest, lengths.skip(1000 - LATEST).collect::<Vec<_>>());
        assert_eq!(ledger.seen, 1000);
    }

    #[test]
    fn blame_follows_the_figures() {
        let hints = Hints { meter_waited: 9 * MS, threads_waited: 90 * MS, stolen: 0, major_faults: 3 };
        assert_eq!(cause(10 * MS, hints), Cause::Processor);
        assert_eq!(cause(10 * MS, Hints { stolen: 10 * MS, ..hints }), Cause::Host);
        assert_eq!(cause(50 * MS, hints), Cause::Disk);
        assert_eq!(cause(50 * MS, Hints { major_faults: 0, ..hints }), Cause::Stopped);
        let later = Hints { meter_waited: 10 * MS, ..hints };
        assert_eq!(later.since(hints), Hints { meter_waited: MS, ..Hints::default() });
        assert_eq!(hints.since(later).meter_waited, 0);
    }
}
