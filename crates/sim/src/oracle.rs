// SPDX-License-Identifier: Apache-2.0
//! What must hold. A book of every record that was acknowledged or seen, by its place in the log, and of what clients
//! tried; each new sight is held against it, and after a crash all of it is held against what the log still has.
//!
//! A violation is a panic with a sentence: `run` turns it into a failure of the seed.
//! The rules: what was answered survives the death of the process; what was answered as settled with durability on
//! disk, and what a consumer saw then, survives a power cut, and so does whatever lies below `durable`.

use std::collections::{BTreeMap, BTreeSet};

use protocol::names::{
    CHECK_MAX_TIME_TOPIC, HALF_OP_TOPIC, HALF_TOPIC, QueueOffset, SCHEDULE_TOPIC, TIMER_TOPIC,
};
use protocol::record::Record;
use stdx::Timestamp;
use store::{Durability, Entry, QueueRef};

use crate::crash::{Crash, Left};
use crate::invariants::delay::Delays;
use crate::invariants::latest::{LatestOfKeys, TABLE};
use crate::invariants::light;
use crate::invariants::locks::Locks;
use crate::invariants::progress::Progress;
use crate::invariants::retry::Retries;
use crate::invariants::settings::Settings;
use crate::invariants::timers::Timers;
use crate::invariants::transaction::Transactions;
use crate::message::{Known, Place, known, lights};
use crate::node::Node;
use crate::plan::RESERVED;
use crate::workload::TOPICS;

/// What a client wanted to store.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) topic: String,
    pub(crate) queue: u32,
    pub(crate) tag: &'static str,
    /// The delay level, counted from 0.
    pub(crate) level: Option<u32>,
    /// It has a time of its own.
    pub(crate) is_timed: bool,
    pub(crate) state: State,
    /// It is delivered only when its transaction is committed.
    pub(crate) is_half: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody knows yet.
    Open,
    /// It was answered or seen.
    Stored,
    /// The broker said that it was not stored.
    Refused,
    /// A crash took it, and was allowed to.
    Gone,
}

pub(crate) struct Oracle {
    durability: Durability,
    pub(crate) attempts: Vec<Attempt>,
    /// By log offset.
    book: BTreeMap<u64, Known>,
    /// Log offsets of what is in the queues now.
    queues: BTreeMap<(Place, u64), u64>,
    /// Records that survive a power cut.
    lasting: BTreeMap<u64, ()>,
    /// Where each message that goes to its topic directly lies.
    placed: BTreeMap<u64, u64>,
    /// Removals of topics: where their records in the log begin and end, and what they took.
    removals: Vec<(u64, u64, Vec<u64>)>,
    /// A topic that is being removed: if the process dies meanwhile, its messages may be there or not.
    pub(crate) removing: Option<String>,
    start: u64,
    /// Power cuts took this from the middle of what was not lasting; the places of its records are marked.
    damaged: BTreeSet<(u64, u64)>,
    /// Up to where queues were looked at.
    looked: BTreeMap<Place, u64>,
    /// Entries of light queues at the last audit.
    pub(crate) light_entries: usize,
    pub(crate) delays: Delays,
    pub(crate) latest: LatestOfKeys,
    pub(crate) timers: Timers,
    pub(crate) retries: Retries,
    pub(crate) progress: Progress,
    pub(crate) locks: Locks,
    pub(crate) settings: Settings,
    pub(crate) transactions: Transactions,
}

impl Oracle {
    pub(crate) fn new(durability: Durability) -> Oracle {
        Oracle {
            durability,
            attempts: Vec::new(),
            book: BTreeMap::new(),
            queues: BTreeMap::new(),
            lasting: BTreeMap::new(),
            placed: BTreeMap::new(),
            removals: Vec::new(),
            removing: None,
            start: 0,
            damaged: BTreeSet::new(),
            looked: BTreeMap::new(),
            light_entries: 0,
            delays: Delays::default(),
            latest: LatestOfKeys::default(),
            timers: Timers::default(),
            retries: Retries::default(),
            progress: Progress::default(),
            locks: Locks::default(),
            settings: Settings::default(),
            transactions: Transactions::default(),
        }
    }

    /// Takes a try down; returns the number of its message.
    pub(crate) fn attempt(&mut self, attempt: Attempt) -> u64 {
        self.attempts.push(attempt);
        self.attempts.len() as u64 - 1
    }

    /// The broker refused to store these.
    pub(crate) fn refused(&mut self, numbers: &[u64]) {
        for number in numbers {
            let attempt = &mut self.attempts[*number as usize];
            assert!(attempt.state == State::Open, "message {number} is there and was refused");
            attempt.state = State::Refused;
        }
    }

    /// A consumer saw a record: with durability on disk it has to be lasting.
    pub(crate) fn saw(&mut self, record: &Record<'_>) -> Known {
        let known = self.note(record);
        if self.durability == Durability::Disk {
            self.lasting.insert(record.log_offset().0, ());
        }
        known
    }

    /// A producer was told that a record is settled.
    pub(crate) fn settled(&mut self, start: u64) {
        if self.durability == Durability::Disk {
            self.lasting.insert(start, ());
        }
    }

    /// A producer was told that its message to the compaction topic is this record.
    pub(crate) fn kept(&mut self, record: &Record<'_>, number: u64, offset: u64, is_settled: bool) {
        let is_lasting = is_settled && self.durability == Durability::Disk;
        self.latest.answered(record, number, offset, is_lasting);
    }

    /// Reads the compaction topic. Returns how many messages of it are there whose segments are gone.
    pub(crate) fn check_latest(&mut self, node: &Node) -> usize {
        self.latest.check(node, self.durability)
    }

    /// Holds a record against the book, and takes it in when it is new.
    pub(crate) fn note(&mut self, record: &Record<'_>) -> Known {
        record.verify_crc().unwrap_or_else(|e| panic!("a body is damaged: {e}"));
        let start = record.log_offset().0;
        let seen = known(record);
        let at = (seen.place.clone(), seen.offset);
        if let Some(before) = self.book.get(&start) {
            assert!(*before == seen, "the record at {start} was {before:?} and is {seen:?}");
            let current = self.queues.get(&at);
            assert!(current == Some(&start), "{seen:?} was removed and is back");
            return seen;
        }
        if start < self.start {
            // It was read before retention took it.
            return seen;
        }
        self.attribute(start, &seen);
        let other = self.queues.insert(at, start);
        assert!(other.is_none(), "{seen:?} has the queue offset of the record at {other:?}");
        self.book.insert(start, seen.clone());
        seen
    }

    /// Finds what a record comes from.
    fn attribute(&mut self, start: u64, seen: &Known) {
        let number = seen.number;
        assert!((number as usize) < self.attempts.len(), "nobody sent {seen:?}");
        let attempt = &mut self.attempts[number as usize];
        // A copy may outlive what it was made of when a power cut tears the log.
        let is_copy = seen.reconsumed > 0 || seen.real.is_some() || seen.timed().is_some();
        let is_possible = matches!(attempt.state, State::Open | State::Stored)
            || is_copy && attempt.state == State::Gone && !self.damaged.is_empty();
        assert!(is_possible, "{seen:?} was {:?}", attempt.state);
        let is_recall = seen.timer.is_some_and(|timer| timer.is_recall);
        assert!(seen.tag == attempt.tag || is_recall, "{seen:?} had another tag: {}", attempt.tag);
        let (topic, queue) = (seen.place.0.as_str(), seen.place.1);
        let own = (attempt.topic.clone(), attempt.queue);
        if seen.place == own {
            let is_listed =
                seen.light.iter().map(|(name, _)| name.as_str()).eq(lights(number, topic).iter().copied());
            assert!(is_listed, "{seen:?} is not in the light queues that it lists");
        }
        if seen.reconsumed == 0 && attempt.state == State::Open {
            attempt.state = State::Stored;
        }
        if let Some(timer) = seen.timed() {
            let real = seen.real.as_ref().unwrap_or(&seen.place);
            let is_retry = seen.reconsumed > 0 && real.0.starts_with("%RETRY%");
            let is_own = attempt.is_timed && (*real == own || is_recall);
            assert!(is_retry || is_own, "{seen:?} waits or was delivered in a wrong place");
            if is_retry && timer.origin.is_none() {
                self.retries.waits(start, seen, real, Some(timer.due));
            }
            return match topic == TIMER_TOPIC {
                true => self.timers.stands(start, seen, timer),
                false => self.timers.delivered(start, seen, timer),
            };
        }
        match (&seen.real, attempt.level) {
            (Some(real), level) if topic == SCHEDULE_TOPIC => {
                match seen.reconsumed {
                    0 => assert!(level == Some(queue) && *real == own, "{seen:?} waits in a wrong place"),
                    _ => self.retries.waits(start, seen, real, None),
                }
                self.delays.waits(start, seen, real);
            }
            (None, None) if seen.place == own && seen.reconsumed == 0 && !attempt.is_timed => {
                match (attempt.is_half, seen.commits) {
                    (true, Some(id)) => self.transactions.delivered(start, seen, id),
                    (false, None) => {}
                    _ => panic!("{seen:?} is a half message and was delivered, or is none and was committed"),
                }
                let twice = self.placed.insert(number, start);
                assert!(twice.is_none(), "{seen:?} is there twice, also at {twice:?}");
            }
            // What waited carries where it was to go.
            (Some(_), _) if topic.starts_with("%RETRY%") || seen.place == own => {
                self.delays.delivered(start, seen);
            }
            (_, _) if topic.starts_with("%DLQ%") => self.retries.dead(start, seen),
            _ => panic!("{seen:?} is where nobody sent it"),
        }
    }

    /// A topic with all its messages was removed, by records from `from` to `to`.
    pub(crate) fn removed(&mut self, topic: &str, from: u64, to: u64) {
        let in_topic = |at: &(Place, u64)| at.0.0 == topic;
        let gone: Vec<u64> =
            self.queues.iter().filter(|(at, _)| in_topic(at)).map(|(_, start)| *start).collect();
        self.queues.retain(|at, _| !in_topic(at));
        self.looked.retain(|place, _| place.0 != topic);
        self.removals.push((from, to, gone));
        self.delays.topic_removed(topic);
        self.timers.topic_removed(topic);
    }

    /// Retention moved the start of the log.
    pub(crate) fn retained(&mut self, start: u64, now: Timestamp) {
        if start == self.start {
            return;
        }
        assert!(start > self.start, "the start of the log moved back from {} to {start}", self.start);
        self.start = start;
        let kept = self.book.split_off(&start);
        for (at, known) in std::mem::replace(&mut self.book, kept) {
            if self.queues.get(&(known.place.clone(), known.offset)) != Some(&at) {
                continue;
            }
            self.queues.remove(&(known.place.clone(), known.offset));
            match known.place.0.as_str() {
                SCHEDULE_TOPIC => self.delays.retained(at, &known),
                TIMER_TOPIC => {}
                // It is so old that it goes unread.
                _ if now.since(known.stored_at) > RESERVED => {}
                _ => self.progress.retained(&known, now),
            }
        }
        self.timers.retained(start);
    }

    /// What a crash left. What it was not allowed to take must be there.
    pub(crate) fn crashed(
        &mut self,
        crash: Crash,
        left: &Left,
        durable: u64,
        is_unsure: bool,
        now: Timestamp,
    ) {
        let left = &left.without(&self.damaged);
        assert!(left.whole >= durable, "the log is whole up to {}, {durable} was lasting", left.whole);
        assert!(crash == Crash::PowerCut || left.damaged.is_empty(), "a kill left {:?}", left.damaged);
        self.damaged.extend(left.damaged.iter().copied());
        let lost: Vec<(u64, Known)> = self
            .book
            .iter()
            .filter(|(start, known)| !left.has(**start, known.end))
            .map(|(s, k)| (*s, k.clone()))
            .collect();
        lost.iter().for_each(|(start, _)| drop(self.book.remove(start)));
        for (start, known) in &lost {
            assert!(crash == Crash::PowerCut, "a kill took {known:?}");
            assert!(!self.lasting.contains_key(start), "a power cut took {known:?}, which was lasting");
            if self.queues.get(&(known.place.clone(), known.offset)) == Some(start) {
                self.queues.remove(&(known.place.clone(), known.offset));
            }
            let is_own = known.place == self.own(known.number) && known.real.is_none();
            if known.reconsumed == 0 && is_own && known.timed().is_none() {
                let attempt = &mut self.attempts[known.number as usize];
                // A half message may be committed once more.
                attempt.state = if attempt.is_half { State::Open } else { State::Gone };
                self.placed.remove(&known.number);
            }
        }
        self.undo_removals(left);
        self.cut_removal();
        self.delays.crashed(left, self.durability);
        self.latest.crashed(crash, left);
        self.transactions.crashed(crash, left, self.durability);
        self.timers.crashed(crash, left);
        self.retries.crashed(crash, left);
        self.progress.crashed(left.whole, now);
        self.settings.crashed(left.whole, left.end, is_unsure);
        self.locks.crashed(crash, left, now);
        self.looked.clear();
    }

    fn own(&self, number: u64) -> Place {
        let attempt = &self.attempts[number as usize];
        (attempt.topic.clone(), attempt.queue)
    }

    /// A removal that the crash took back brings its messages back; one that it cut through may have happened or not.
    fn undo_removals(&mut self, left: &Left) {
        for (from, to, gone) in std::mem::take(&mut self.removals).into_iter().rev() {
            if to <= left.whole {
                self.removals.insert(0, (from, to, gone));
                continue;
            }
            for start in gone {
                let Some(known) = self.book.get(&start) else { continue };
                if from >= left.end {
                    self.queues.insert((known.place.clone(), known.offset), start);
                } else {
                    self.forget(start);
                }
            }
        }
    }

    /// The process died while it removed a topic.
    fn cut_removal(&mut self) {
        let Some(topic) = self.removing.take() else { return };
        let is_in_topic = |at: &(Place, u64)| at.0.0 == topic;
        let unsure: Vec<u64> =
            self.queues.iter().filter(|(at, _)| is_in_topic(at)).map(|(_, start)| *start).collect();
        self.queues.retain(|at, _| !is_in_topic(at));
        unsure.into_iter().for_each(|start| self.forget(start));
    }

    /// Knows no more of a record than that it may be there.
    fn forget(&mut self, start: u64) {
        self.delays.forget(start);
        self.timers.forget(start);
        self.retries.forget(start);
        if let Some(known) = self.book.remove(&start) {
            self.placed.remove(&known.number);
        }
    }

    /// Looks at what became visible since the last look.
    pub(crate) fn look(&mut self, node: &Node) {
        self.latest.look(node, self.durability);
        for topic in self.topics(node) {
            for queue in node.store.queues_of(&topic) {
                let (place, next) = ((topic.clone(), queue.key().queue.0), queue.dispatched().0);
                let from = self.looked.insert(place, next).unwrap_or(0);
                for bytes in node.read_range(&queue, from, next) {
                    self.saw(&Record::parse(&bytes).unwrap_or_else(|e| panic!("no record: {e}")));
                }
            }
        }
    }

    /// All topics with messages; what waits comes before what was delivered.
    fn topics(&self, node: &Node) -> Vec<String> {
        let set = node.broker.topics().all();
        let mut topics: BTreeSet<String> = set.iter().map(|topic| topic.name().to_string()).collect();
        topics.extend(TOPICS.map(str::to_owned));
        let hidden = [HALF_TOPIC, HALF_OP_TOPIC, CHECK_MAX_TIME_TOPIC];
        let waiting = [SCHEDULE_TOPIC, TIMER_TOPIC];
        // Of the table, what is not the latest of its key may go: see `LatestOfKeys`.
        topics.retain(|topic| !waiting.contains(&topic.as_str()) && !hidden.contains(&topic.as_str()));
        topics.remove(TABLE);
        waiting.map(str::to_owned).into_iter().chain(topics).collect()
    }

    /// Reads everything and holds it against the book, both ways. All of the log has been dispatched.
    pub(crate) fn audit(&mut self, node: &Node, now: Timestamp) {
        let mut found = BTreeMap::new();
        for topic in self.topics(node) {
            for queue in node.store.queues_of(&topic) {
                let (first, next) = (queue.first().0, queue.dispatched().0);
                let bytes = node.read_all(&queue);
                let mut expected = first;
                for record in &bytes {
                    let record = Record::parse(record).unwrap_or_else(|e| panic!("no record: {e}"));
                    let known = self.note(&record);
                    let is_there = known.place == (topic.clone(), queue.key().queue.0);
                    assert!(is_there, "{known:?} was found in {}", queue.key());
                    expected = self.after_holes(node, &queue, expected, known.offset);
                    assert!(known.offset == expected, "{known:?} stands where {expected} belongs");
                    expected += 1;
                    found.insert((known.place, known.offset), record.log_offset().0);
                }
                expected = self.after_holes(node, &queue, expected, next);
                assert!(expected == next, "{} ends at {expected}, not at {next}", queue.key());
            }
        }
        let lost = self.queues.iter().find(|(at, start)| found.get(at) != Some(start));
        if let Some((at, start)) = lost {
            panic!("lost: {:?}, at {at:?} is {:?}", self.book.get(start), found.get(at));
        }
        self.latest.check(node, self.durability);
        self.retries.check();
        self.settings.check(node);
        self.progress.check(node);
        self.retained(node.store.watermarks().start.get(), now);
        self.light_entries =
            light::check(&self.book, node, |queue, from, to| self.after_holes(node, queue, from, to));
    }

    /// Passes over the marks of what a power cut took.
    fn after_holes(&self, node: &Node, queue: &QueueRef, from: u64, to: u64) -> u64 {
        let is_hole = |at: &u64| {
            let entries = node.store.entries(queue, QueueOffset(*at), 1);
            !self.damaged.is_empty() && entries.first().is_some_and(Entry::is_hole)
        };
        (from..to).find(|at| !is_hole(at)).unwrap_or(to.max(from))
    }

    /// After a crash and an audit, what was open and not found never happened.
    pub(crate) fn resolve(&mut self) {
        self.latest.resolve();
        for (number, attempt) in self.attempts.iter_mut().enumerate() {
            let may_come = attempt.is_half && self.transactions.is_alive(number as u64);
            if attempt.state == State::Open && !may_come {
                attempt.state = State::Gone;
            }
        }
    }
}
