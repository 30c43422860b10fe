// SPDX-License-Identifier: Apache-2.0
//! Looks at the machine while the load runs: a thread that sleeps a millisecond again and again and notes by how much it
//! overslept, and samples of `/proc` at both ends. It has one span to look at and ends with it or when it is told to.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use stdx::{Stop, Threads};

use super::machine::{self, Machine};
use super::processor::{self, Sample, Servers};
use crate::bench::load::Span;

const SLEEP: Duration = Duration::from_millis(1);

/// A thread that watches.
pub(super) struct Watch {
    threads: Threads,
    seen: Receiver<Machine>,
}

impl Watch {
    /// Watches during `span`, which may lie ahead.
    pub(super) fn start(span: Span, tick: Duration, servers: Servers) -> Result<Watch> {
        let (tell, seen) = sync_channel(1);
        let mut threads = Threads::default();
        threads
            .spawn("hiccups", move |stop| watch(span, tick, &servers, &stop, &tell))
            .context("cannot start the thread that watches the machine")?;
        Ok(Watch { threads, seen })
    }

    /// Ends it and returns what it saw.
    pub(super) fn finish(mut self) -> Result<Machine> {
        self.threads.join();
        self.seen.recv().context("the thread that watches the machine saw nothing")
    }

    /// Waits for the end of the span, or until `stop` is set.
    pub(super) fn rest(self, span: Span, stop: &Stop) -> Result<Machine> {
        stop.wait(span.end.saturating_duration_since(Instant::now()));
        self.finish()
    }
}

fn watch(span: Span, tick: Duration, servers: &Servers, stop: &Stop, tell: &SyncSender<Machine>) {
    stop.wait(span.begin.saturating_duration_since(Instant::now()));
    let before = Sample::take(servers);
    let begin = Instant::now();
    let (mut hiccups, mut peaks, mut peak) = (machine::no_hiccups(), Vec::new(), 0);
    let mut asleep = begin;
    while asleep < span.end && !stop.wait(SLEEP) {
        let awake = Instant::now();
        let over = u64::try_from((awake - asleep).saturating_sub(SLEEP).as_nanos()).unwrap_or(u64::MAX);
        let _ = hiccups.record_correct(over.min(hiccups.high()), SLEEP.as_nanos() as u64);
        // A hiccup belongs to the tick in which it ended, and nothing is lost to the ticks that it swallowed.
        while awake - begin >= tick * (peaks.len() as u32 + 1) {
            peaks.push(((tick * (peaks.len() as u32 + 1)).as_secs_f64(), peak));
            peak = 0;
        }
        peak = peak.max(over);
        asleep = awake;
    }
    // The span ends a little behind a tick: what is left of it is no tick of its own.
    let left = begin.elapsed().saturating_sub(tick * peaks.len() as u32);
    match peaks.last_mut().filter(|_| left < tick / 2) {
        Some((_, last)) => *last = peak.max(*last),
        None => peaks.push((begin.elapsed().as_secs_f64(), peak)),
    }
    let after = Sample::take(servers);
    let processor =
        before.zip(after).and_then(|(before, after)| processor::between(servers, &before, &after));
    let seen = Machine { seconds: begin.elapsed().as_secs_f64(), hiccups, peaks, processor };
    // Whoever does not wait for it does not want it.
    let _ = tell.send(seen);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_span_has_hiccups_by_the_tick_and_says_where_the_time_went() {
        // Long enough for a thread that gets its processor late.
        let span = Span::starting_now(Duration::from_millis(5), Duration::from_secs(1));
        let watch = Watch::start(span, Duration::from_millis(20), Servers::default()).expect("a thread");
        let machine = watch.rest(span, &Stop::default()).expect("it saw something");
        assert!(machine.seconds > 0.0 && machine.hiccups.len() > 1, "{machine:?}");
        assert!(!machine.peaks.is_empty(), "{machine:?}");
        assert!(machine.peaks.is_sorted_by(|a, b| a.0 <= b.0), "{:?}", machine.peaks);
        let most = machine.peaks.iter().map(|(_, peak)| *peak).max().expect("a peak");
        assert!(most > 0 && machine.hiccups.max() >= most.min(machine.hiccups.high()) / 1_000 * 999);
        assert_eq!(machine.processor.is_some(), std::fs::metadata("/proc/stat").is_ok());
    }

    #[test]
    fn one_that_is_told_to_end_before_its_span_still_answers() {
        let span = Span::starting_now(Duration::from_secs(3_600), Duration::from_secs(3_600));
        let watch = Watch::start(span, Duration::from_secs(1), Servers::default()).expect("a thread");
        assert!(watch.finish().expect("an answer").hiccups.is_empty());
    }
}
