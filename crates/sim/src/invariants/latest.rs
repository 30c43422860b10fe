// SPDX-License-Identifier: Apache-2.0
//! Who reads a compaction topic from its start finds of each key its latest message, at the offset that its producer was
//! told, however much of the log is gone; no offset is given to two messages; and what is old and not the latest is not
//! seen any more once it was hidden, nor is what a latest message without a body ended.
//!
//! The book: every message that was answered, or was seen when it came through dispatch, until a crash takes it that may.

use std::collections::BTreeMap;

use protocol::names::QueueId;
use protocol::properties;
use protocol::record::Record;
use stdx::Timestamp;
use store::Durability;

use crate::crash::{Crash, Left};
use crate::message::body;
use crate::node::Node;

/// The topic.
pub(crate) const TABLE: &str = "table";

/// What a producer wanted to be kept.
#[derive(Debug)]
struct Attempt {
    key: u64,
    is_end: bool,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nobody knows yet.
    Open,
    Stored(Stored),
    Refused,
    /// A crash took it, and was allowed to.
    Gone,
}

/// Where a message was stored, and whether it survives a power cut.
#[derive(Clone, Copy, Debug)]
struct Stored {
    start: u64,
    end: u64,
    offset: u64,
    is_lasting: bool,
}

impl Attempt {
    fn stored(&self) -> Option<Stored> {
        match self.state {
            State::Stored(stored) => Some(stored),
            _ => None,
        }
    }
}

#[derive(Default)]
pub(crate) struct LatestOfKeys {
    attempts: Vec<Attempt>,
    /// Whose each queue offset is.
    offsets: BTreeMap<u64, usize>,
    /// Up to where the queue was looked at.
    looked: u64,
    /// What was stored before this and is not the latest was hidden, by the process that runs.
    hidden_before: Option<Timestamp>,
}

impl LatestOfKeys {
    /// A producer asks; returns the number of its message.
    pub(crate) fn asks(&mut self, key: u64, is_end: bool) -> u64 {
        self.attempts.push(Attempt { key, is_end, state: State::Open });
        self.attempts.len() as u64 - 1
    }

    /// It is not stored.
    pub(crate) fn refused(&mut self, number: u64) {
        let attempt = &mut self.attempts[number as usize];
        assert!(matches!(attempt.state, State::Open), "{attempt:?} is there and was refused");
        attempt.state = State::Refused;
    }

    /// It was stored as this record; the promise is kept that its producer waited for, or not.
    pub(crate) fn answered(&mut self, record: &Record<'_>, number: u64, offset: u64, is_lasting: bool) {
        let (found, at) = (self.note(record), record.queue_offset().0);
        assert!((found as u64, at) == (number, offset), "{number} was told {offset}: it is {found} at {at}");
        self.lasts(found, is_lasting);
    }

    fn lasts(&mut self, number: usize, is_lasting: bool) {
        if let State::Stored(stored) = &mut self.attempts[number].state {
            stored.is_lasting |= is_lasting;
        }
    }

    /// Looks at what became visible since the last look.
    pub(crate) fn look(&mut self, node: &Node, durability: Durability) {
        let Some(queue) = node.store.find_queue(TABLE, QueueId(0)) else { return };
        let next = queue.dispatched().0;
        let from = std::mem::replace(&mut self.looked, next);
        if from < next {
            for bytes in node.read_range(&queue, from, next) {
                let number = self.note(&Record::parse(&bytes).unwrap_or_else(|e| panic!("no record: {e}")));
                self.lasts(number, durability == Durability::Disk);
            }
        }
    }

    /// Old messages are hidden from now on, by a step that ended.
    pub(crate) fn hidden(&mut self, before: Timestamp) {
        self.hidden_before = self.hidden_before.max(Some(before));
    }

    /// A crash takes what it may. The next process may show again what this one hid.
    pub(crate) fn crashed(&mut self, crash: Crash, left: &Left) {
        for (number, attempt) in self.attempts.iter_mut().enumerate() {
            let Some(stored) = attempt.stored().filter(|stored| !left.has(stored.start, stored.end)) else {
                continue;
            };
            assert!(crash == Crash::PowerCut, "a kill took message {number} of a table: {stored:?}");
            assert!(!stored.is_lasting, "a power cut took message {number} of a table: {stored:?}");
            self.offsets.remove(&stored.offset);
            attempt.state = State::Gone;
        }
        (self.looked, self.hidden_before) = (0, None);
    }

    /// After a crash, and when all was read, what was open and not found never happened.
    pub(crate) fn resolve(&mut self) {
        for attempt in &mut self.attempts {
            if matches!(attempt.state, State::Open) {
                attempt.state = State::Gone;
            }
        }
    }

    /// Reads everything and holds it against the book. Returns how many messages are there whose segments are gone.
    pub(crate) fn check(&mut self, node: &Node, durability: Durability) -> usize {
        self.look(node, durability);
        let marks = node.store.watermarks();
        let (dispatched, start) = (marks.dispatched.get(), marks.start.get());
        let mut shown = Vec::new();
        if let Some(queue) = node.store.find_queue(TABLE, QueueId(0)) {
            for bytes in node.read_all(&queue) {
                let record = Record::parse(&bytes).unwrap_or_else(|e| panic!("no record: {e}"));
                shown.push((self.note(&record), record.stored_at()));
            }
        }
        let offset = |number: usize| self.attempts[number].stored().map(|stored| stored.offset);
        let is_sorted = shown.is_sorted_by(|a, b| offset(a.0) < offset(b.0));
        assert!(is_sorted, "a table is shown out of order: {shown:?}");
        let latest: BTreeMap<u64, usize> =
            shown.iter().map(|(number, _)| (self.attempts[*number].key, *number)).collect();
        self.check_latest(&latest, dispatched);
        for (number, stored_at) in &shown {
            let attempt = &self.attempts[*number];
            let may_be = latest[&attempt.key] == *number || Some(*stored_at) >= self.hidden_before;
            assert!(may_be, "message {number} of a table was hidden and is shown: {attempt:?}");
        }
        let outlived = |number: &usize| self.attempts[*number].stored().is_some_and(|it| it.end <= start);
        latest.values().filter(|number| outlived(number)).count()
    }

    /// Of every key the latest is shown, or nothing when that one ends it.
    fn check_latest(&self, latest: &BTreeMap<u64, usize>, dispatched: u64) {
        let mut wanted = BTreeMap::new();
        // In the order of their offsets.
        for number in self.offsets.values() {
            let attempt = &self.attempts[*number];
            if attempt.stored().is_some_and(|stored| stored.end <= dispatched) {
                wanted.insert(attempt.key, *number);
            }
        }
        for (key, number) in wanted {
            let (found, attempt) = (latest.get(&key), &self.attempts[number]);
            assert!(
                found == Some(&number) || found.is_none() && attempt.is_end,
                "of key {key}, message {number} is the latest, {attempt:?}, and {found:?} is shown"
            );
        }
    }

    /// Holds a record against the book, and takes it in when it is new; returns its number.
    fn note(&mut self, record: &Record<'_>) -> usize {
        record.verify_crc().unwrap_or_else(|e| panic!("a body is damaged: {e}"));
        let number = record.property(properties::UNIQ_KEY).and_then(|id| id.strip_prefix('u')?.parse().ok());
        let number: usize = number.unwrap_or_else(|| panic!("a record of a table has no number"));
        let attempt = self.attempts.get_mut(number);
        let attempt = attempt.unwrap_or_else(|| panic!("nobody sent message {number} of a table"));
        let sent = if attempt.is_end { Vec::new() } else { body(number as u64) };
        assert!(record.body() == sent, "the body of message {number} of a table is not what was sent");
        let key = record.property(properties::KEYS).and_then(|key| key.parse().ok());
        assert!(key == Some(attempt.key), "message {number} has key {key:?}: {attempt:?}");
        let (start, offset) = (record.log_offset().0, record.queue_offset().0);
        match attempt.state {
            State::Stored(stored) => {
                assert!(stored.offset == offset, "message {number} is shown at {offset}: {stored:?}");
            }
            State::Open => {
                let end = start + record.len() as u64;
                attempt.state = State::Stored(Stored { start, end, offset, is_lasting: false });
                let other = self.offsets.insert(offset, number);
                assert!(other.is_none(), "messages {number} and {other:?} of a table have offset {offset}");
            }
            State::Refused | State::Gone => panic!("message {number} of a table is shown: {attempt:?}"),
        }
        number
    }
}
