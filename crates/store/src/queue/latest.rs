// SPDX-License-Identifier: Apache-2.0
//! Which messages of a queue are the latest of their key, for topics that keep those for ever. A part of a queue that has
//! such messages; written by dispatch and retention, read by any thread.
//! Invariants: every entry is a message of the queue, at its own queue offset, whose record lies where the entry says: where
//! it was sent, or where it was written again; a key has one entry at most, here or among the ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use protocol::names::{LogOffset, QueueOffset};

use super::Entry;
use crate::latest::Place;

/// The latest messages of a queue.
pub(crate) struct Latest {
    places: Mutex<Places>,
    /// The lowest offset that is shown.
    first: AtomicU64,
    /// Below this, messages that are not the latest are not shown any more.
    edge: AtomicU64,
}

#[derive(Default)]
struct Places {
    shown: BTreeMap<u64, Entry>,
    /// What ended its key: kept for what it says, not shown.
    ends: BTreeMap<u64, Place>,
}

impl Default for Latest {
    fn default() -> Latest {
        Latest { places: Mutex::default(), first: AtomicU64::new(u64::MAX), edge: AtomicU64::new(0) }
    }
}

impl Latest {
    /// `place` is the latest of its key now, and the message at `before` is not any more.
    pub(crate) fn put(&self, place: &Place, before: Option<QueueOffset>) {
        assert!(
            before.is_none_or(|before| before <= place.offset),
            "the latest message of a key only moves up"
        );
        let mut places = self.places.lock();
        let offset = place.offset.0;
        for gone in before.iter().map(|before| before.0).chain([offset]) {
            places.shown.remove(&gone);
            places.ends.remove(&gone);
        }
        match place.ended {
            None => drop(places.shown.insert(offset, place.entry)),
            Some(_) => drop(places.ends.insert(offset, *place)),
        }
        self.note_first(&places);
    }

    /// Forgets messages whose record lies below `log`; returns how many, and how many of them were to stay.
    pub(crate) fn drop_below(&self, log: LogOffset) -> (usize, usize) {
        let mut places = self.places.lock();
        let Places { shown, ends } = &mut *places;
        let before = shown.len() + ends.len();
        let lost = shown.values().filter(|entry| entry.log < log).count()
            + ends.values().filter(|place| place.holds_back(log)).count();
        shown.retain(|_, entry| entry.log >= log);
        ends.retain(|_, place| place.entry.log >= log);
        let gone = before - shown.len() - ends.len();
        self.note_first(&places);
        (gone, lost)
    }

    /// Forgets all of them.
    pub(crate) fn clear(&self) {
        self.drop_below(LogOffset(u64::MAX));
    }

    /// The lowest offset that is shown; `u64::MAX` without any.
    pub(crate) fn first(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    /// True when some message is the latest of its key.
    pub(crate) fn has_any(&self) -> bool {
        self.first() != u64::MAX
    }

    /// Below this, only the latest of each key are shown.
    pub(crate) fn edge(&self) -> u64 {
        self.edge.load(Ordering::Acquire)
    }

    /// Raises [`Latest::edge`].
    pub(crate) fn raise_edge(&self, offset: QueueOffset) {
        self.edge.fetch_max(offset.0, Ordering::AcqRel);
    }

    /// Messages that have to be written again before the log begins at `start`.
    pub(crate) fn below(&self, start: LogOffset) -> Vec<(QueueOffset, Entry)> {
        let places = self.places.lock();
        let shown = places.shown.iter().filter(|(_, entry)| entry.log < start);
        let ends = places.ends.iter().filter(|(_, place)| place.holds_back(start));
        let shown = shown.map(|(offset, entry)| (QueueOffset(*offset), *entry));
        shown.chain(ends.map(|(offset, place)| (QueueOffset(*offset), place.entry))).collect()
    }

    /// Appends up to `count` of the messages at `from..to` that are shown.
    pub(crate) fn range(
        &self,
        from: u64,
        to: u64,
        count: usize,
        out: &mut Vec<Entry>,
        offsets: &mut Vec<u64>,
    ) {
        if from < to {
            let places = self.places.lock();
            for (offset, entry) in places.shown.range(from..to).take(count) {
                offsets.push(*offset);
                out.push(*entry);
            }
        }
    }

    /// Where the newest record lies that is shown.
    pub(crate) fn newest(&self) -> Option<LogOffset> {
        self.places.lock().shown.values().map(|entry| entry.log).max()
    }

    /// How many keys it knows.
    pub(crate) fn len(&self) -> usize {
        let places = self.places.lock();
        places.shown.len() + places.ends.len()
    }

    /// True when it says the same as `place`.
    pub(crate) fn has(&self, place: &Place) -> bool {
        let places = self.places.lock();
        match place.ended {
            None => places.shown.get(&place.offset.0) == Some(&place.entry),
            Some(_) => places.ends.get(&place.offset.0) == Some(place),
        }
    }

    fn note_first(&self, places: &Places) {
        let first = places.shown.first_key_value().map_or(u64::MAX, |(offset, _)| *offset);
        self.first.store(first, Ordering::Release);
    }
}
