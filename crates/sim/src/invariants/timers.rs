// SPDX-License-Identifier: Apache-2.0
//! A message with a time of its own is delivered once: never early, always in the end, never twice, whatever crashes;
//! one that was taken back is not delivered, and one that got another time is due then.
//!
//! What waits and what ends it are records of the log: at most one record ends or replaces each that waits.

use std::collections::{BTreeMap, BTreeSet};

use broker::ops::recall::{Outcome, Wish};
use stdx::Timestamp;

use crate::crash::{Crash, Left};
use crate::message::{Known, Place, Timer};

#[derive(Default)]
pub(crate) struct Timers {
    /// Records that wait or waited, by log offset.
    waiting: BTreeMap<u64, Waiting>,
    /// What ends or replaces them, by log offset.
    ends: BTreeMap<u64, End>,
    /// Somebody wanted these taken back.
    asked: BTreeSet<u64>,
    /// Somebody was told that these are not delivered.
    cancelled: BTreeSet<u64>,
    /// Topics that were removed at some time: what was for them may be dropped.
    removed: BTreeSet<String>,
    /// Power cuts took records from the middle of the log: what they began may be missing.
    is_torn: bool,
    start: u64,
}

struct Waiting {
    end: u64,
    number: u64,
    due: Timestamp,
    real: Place,
}

impl Waiting {
    /// It is a copy that its group's policy lets wait, and nobody's to take back.
    fn is_retry(&self) -> bool {
        self.real.0.starts_with("%RETRY%")
    }
}

struct End {
    end: u64,
    number: u64,
    origin: u64,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Delivered,
    Replaced,
    TakenBack,
}

impl Timers {
    /// A record stands in the timer's queue: it waits, perhaps for another, or takes one back.
    pub(crate) fn stands(&mut self, start: u64, seen: &Known, timer: Timer) {
        if timer.is_recall {
            let topic = seen.real_topic();
            let is_wanted = self.asked.contains(&seen.number) || self.removed.contains(topic);
            assert!(is_wanted, "{seen:?} takes back what nobody wants taken back");
            return self.ended(start, seen, timer, How::TakenBack);
        }
        let real = seen.real.clone().unwrap_or_else(|| panic!("{seen:?} waits for no place"));
        let waiting = Waiting { end: seen.end, number: seen.number, due: timer.due, real };
        self.waiting.insert(start, waiting);
        if timer.origin.is_some() {
            self.ended(start, seen, timer, How::Replaced);
        }
    }

    /// A record that waited stands where it was to go.
    pub(crate) fn delivered(&mut self, start: u64, seen: &Known, timer: Timer) {
        assert!(seen.stored_at >= timer.due, "{seen:?} was due at {}: it came early", timer.due);
        let origin = timer.origin.and_then(|origin| self.waiting.get(&origin));
        let is_known = origin.is_some_and(|origin| (origin.due, &origin.real) == (timer.due, &seen.place));
        let is_gone = self.is_torn || timer.origin.is_some_and(|origin| origin < self.start);
        assert!(is_known || is_gone, "{seen:?} was delivered and never waited");
        let is_cancelled = self.cancelled.contains(&seen.number);
        assert!(!is_cancelled, "{seen:?} was delivered and is cancelled");
        self.ended(start, seen, timer, How::Delivered);
    }

    fn ended(&mut self, start: u64, seen: &Known, timer: Timer, how: How) {
        let origin = timer.origin.unwrap_or_else(|| panic!("{seen:?} ends nothing"));
        let other = self.ends.values().find(|end| end.origin == origin);
        assert!(other.is_none(), "{seen:?} ends what was {:?} already: twice", other.map(|end| end.how));
        self.ends.insert(start, End { end: seen.end, number: seen.number, origin, how });
    }

    /// Somebody wants a message taken back, or another time for it.
    pub(crate) fn asks(&mut self, number: u64, wish: Wish) {
        if wish == Wish::Cancel {
            self.asked.insert(number);
        }
    }

    /// Those that can be asked for.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.waiting.values().filter(|waiting| !waiting.is_retry()).map(|waiting| waiting.number).collect()
    }

    /// What came of a wish, told by the server.
    pub(crate) fn answered(&mut self, number: u64, outcome: Outcome) {
        let is_waiting = self.open().any(|(_, waiting)| waiting.number == number && !waiting.is_retry());
        match outcome {
            Outcome::Cancelled => {
                let is_delivered = self.is_delivered(number);
                assert!(!is_delivered, "message {number} is delivered, and called cancelled");
                self.cancelled.insert(number);
            }
            Outcome::Moved => {}
            Outcome::TooLate => {
                assert!(
                    !self.cancelled.contains(&number),
                    "message {number} was cancelled, now it is too late"
                );
            }
            Outcome::Unknown => assert!(!is_waiting, "message {number} waits and is not known"),
        }
    }

    fn is_delivered(&self, number: u64) -> bool {
        self.ends.values().any(|end| end.number == number && end.how == How::Delivered)
    }

    fn open(&self) -> impl Iterator<Item = (&u64, &Waiting)> {
        self.waiting.iter().filter(|(start, _)| !self.ends.values().any(|end| end.origin == **start))
    }

    pub(crate) fn topic_removed(&mut self, topic: &str) {
        self.removed.insert(topic.to_owned());
    }

    /// Retention took everything below `start`.
    pub(crate) fn retained(&mut self, start: u64) {
        self.start = start;
        let is_lost = |at: u64, waiting: &Waiting| at < start && !self.removed.contains(&waiting.real.0);
        let lost = self.open().find(|(at, waiting)| is_lost(**at, waiting));
        assert!(
            lost.is_none() || self.is_torn,
            "retention took message {:?}, which waits for its time",
            lost.map(|(_, waiting)| waiting.number)
        );
        self.waiting = self.waiting.split_off(&start);
    }

    pub(crate) fn forget(&mut self, start: u64) {
        self.ends.remove(&start);
    }

    /// Only what is left is there.
    pub(crate) fn crashed(&mut self, crash: Crash, left: &Left) {
        self.is_torn |= !left.damaged.is_empty();
        self.waiting.retain(|start, waiting| left.has(*start, waiting.end));
        self.ends.retain(|start, end| left.has(*start, end.end));
        if crash == Crash::PowerCut {
            // What took it back may be gone.
            let is_over = |number: &u64| {
                self.ends.values().any(|end| end.number == *number && end.how == How::TakenBack)
            };
            self.cancelled = self.cancelled.iter().copied().filter(is_over).collect();
        }
    }

    /// Everything that was due long before `now` is delivered or taken back.
    pub(crate) fn check(&self, now: Timestamp) {
        for (start, waiting) in self.open().filter(|(_, waiting)| waiting.due < now) {
            let Waiting { number, due, real, .. } = waiting;
            assert!(
                self.removed.contains(&real.0),
                "message {number} at {start} was due at {due} in {real:?} and is not there"
            );
        }
    }

    /// When the last of them is due.
    pub(crate) fn last_due(&self) -> Option<Timestamp> {
        self.open().map(|(_, waiting)| waiting.due).max()
    }
}
