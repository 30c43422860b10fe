// SPDX-License-Identifier: Apache-2.0
//! A delayed message is delivered: never early, always in the end, and more than once only after a crash.

use std::collections::{BTreeMap, BTreeSet};

use stdx::Timestamp;
use store::Durability;

use crate::crash::Left;
use crate::message::{Known, Place};
use crate::plan::LEVELS;

/// A message in one of its tries, on its way to a place.
type Parcel = (u64, i32, Place);

#[derive(Default)]
pub(crate) struct Delays {
    /// What waits or waited, by log offset.
    waiting: BTreeMap<u64, Waiting>,
    /// What was delivered, by log offset.
    delivered: BTreeMap<u64, (u64, Parcel)>,
    /// Topics that were removed at some time: what was for them may be dropped.
    removed: BTreeSet<String>,
    has_crashed: bool,
}

struct Waiting {
    end: u64,
    parcel: Parcel,
    due: Timestamp,
    /// Nothing is promised of it any more.
    is_excused: bool,
}

impl Delays {
    /// A record stands in the queue of its level.
    pub(crate) fn waits(&mut self, start: u64, seen: &Known, real: &Place) {
        let due = seen.stored_at + LEVELS[seen.place.1 as usize];
        let parcel = (seen.number, seen.reconsumed, real.clone());
        self.waiting.insert(start, Waiting { end: seen.end, parcel, due, is_excused: false });
    }

    /// A record that waited stands where it was to go.
    pub(crate) fn delivered(&mut self, start: u64, seen: &Known) {
        let parcel: Parcel = (seen.number, seen.reconsumed, seen.place.clone());
        let asked: Vec<_> = self.waiting.values().filter(|waiting| waiting.parcel == parcel).collect();
        assert!(!asked.is_empty(), "{seen:?} was delivered and never waited");
        let first = asked.iter().map(|waiting| waiting.due).min().expect("there is one");
        assert!(seen.stored_at >= first, "{seen:?} was due at {first}: it came early");
        let again = self.delivered.values().filter(|(_, other)| *other == parcel).count();
        assert!(again < asked.len() || self.has_crashed, "{seen:?} was delivered once too often");
        self.delivered.insert(start, (seen.end, parcel));
    }

    pub(crate) fn topic_removed(&mut self, topic: &str) {
        self.removed.insert(topic.to_owned());
    }

    /// Retention took a record that waits or waited.
    pub(crate) fn retained(&mut self, start: u64, known: &Known) {
        let waiting = &self.waiting[&start];
        let is_done =
            self.is_delivered(waiting) || waiting.is_excused || self.removed.contains(&waiting.parcel.2.0);
        assert!(is_done, "retention took {known:?}, which waited for its time");
    }

    fn is_delivered(&self, waiting: &Waiting) -> bool {
        self.delivered.values().any(|(_, parcel)| *parcel == waiting.parcel)
    }

    pub(crate) fn forget(&mut self, start: u64) {
        self.delivered.remove(&start);
    }

    /// Only what is left is there. What a power cut tore out of the log may have been delivered or not; without a
    /// promise that covers power cuts, a delivery may be gone and the note that it was made not.
    pub(crate) fn crashed(&mut self, left: &Left, durability: Durability) {
        self.has_crashed = true;
        self.waiting.retain(|_, waiting| waiting.end <= left.end);
        let is_open = durability == Durability::Memory && !left.damaged.is_empty();
        for (start, waiting) in &mut self.waiting {
            waiting.is_excused |= is_open || !left.has(*start, waiting.end);
        }
        self.delivered.retain(|start, (end, _)| left.has(*start, *end));
    }

    /// Everything that was due long before `now` is delivered.
    pub(crate) fn check_delivered(&self, now: Timestamp) {
        for waiting in self.waiting.values().filter(|waiting| waiting.due < now && !waiting.is_excused) {
            let count =
                |parcel: &Parcel| self.delivered.values().filter(|(_, other)| other == parcel).count();
            let wanted = self
                .waiting
                .values()
                .filter(|other| other.parcel == waiting.parcel && !other.is_excused)
                .count();
            let (number, reconsumed, place) = &waiting.parcel;
            assert!(
                count(&waiting.parcel) >= wanted || self.removed.contains(&place.0),
                "message {number} (try {reconsumed}) was due at {} in {place:?} and is not there",
                waiting.due
            );
        }
    }

    /// When the last of them is due.
    pub(crate) fn last_due(&self) -> Option<Timestamp> {
        self.waiting.values().map(|waiting| waiting.due).max()
    }
}
