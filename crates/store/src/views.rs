// SPDX-License-Identifier: Apache-2.0
//! Everything that is derived from the log: queues, key index, facts, timers. One thread applies records in the order of the
//! log, at start as a replay and then as they pass the gate; any thread reads. A checkpoint saves the views so that
//! a replay is short; without one they are built anew from the log's start, and are then the same.
//! Called by the store (dispatch, recovery, read, retention); never reads the log itself.
//! Invariants, asserted: each record is applied exactly once, in order; queue offsets follow each other, and only a
//! replay may find some missing; a checkpoint holds exactly the log below its point, and never more than is durable.

use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::inner;
use protocol::names::{LogOffset, QueueId, QueueOffset, TopicName};
use protocol::record::{self, Record};
use stdx::Timestamp;

use crate::arena::{Arena, ArenaShape};
use crate::disk::Disk;
use crate::facts::change::{self, Change};
use crate::facts::{FACTS_TOPIC, FactChange, FactKind, Facts};
use crate::hints::Hint;
use crate::keys::{KeyEntry, Keys, TimeRange, hash};
use crate::latest;
use crate::queue::{Boundary, Entry, QueueRef};
use crate::queues::{QueueLimit, Queues};
use crate::timer::Timers;

mod error;
mod halves;
mod latest_messages;
mod light;
mod load;
pub(crate) mod marks;
mod retain;
mod save;
mod usage;
mod verify;

pub use error::ViewError;
use marks::Marks;
use save::Saver;
pub use usage::ViewsUsage;
pub use verify::Difference;

/// Where the views live and how large they may get.
#[derive(Clone, Debug)]
pub(crate) struct ViewsConfig {
    /// Their directory.
    pub(crate) dir: PathBuf,
    /// How the queue arena grows; a directory keeps the shape it was made with.
    pub(crate) arena: ArenaShape,
    /// Key entries in memory from which a checkpoint seals them into a run.
    pub(crate) run_entries: usize,
    /// Queues that may exist.
    pub(crate) queue_limit: usize,
    /// Bytes of changes behind a full checkpoint that are always fine; beyond them a new full one is written when
    /// the changes outweigh the old.
    pub(crate) delta_bytes: u64,
}

impl ViewsConfig {
    /// The usual sizes.
    pub(crate) fn new(dir: impl Into<PathBuf>) -> ViewsConfig {
        ViewsConfig {
            dir: dir.into(),
            arena: ArenaShape::default(),
            run_entries: 1 << 18,
            queue_limit: 4_000_000,
            delta_bytes: 8 << 20,
        }
    }
}

/// A message became visible.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its queue.
    pub queue: QueueRef,
    /// One past its last queue offset.
    pub next: QueueOffset,
    /// Hash of its tag.
    pub tag_hash: i64,
}

/// The views of one log.
pub(crate) struct Views {
    config: ViewsConfig,
    disk: Arc<dyn Disk>,
    queues: Queues,
    arena: Arena,
    keys: Keys,
    facts: Facts,
    timers: Timers,
    applied: Mutex<Applied>,
    saver: Mutex<Saver>,
}

/// What the dispatching thread is at.
struct Applied {
    /// Records below this are in the views.
    upto: LogOffset,
    /// The log's start as retention last said.
    first: LogOffset,
    /// True once the replay is over: from here on a missing queue offset is an error.
    is_live: bool,
    /// Queues changed since the last checkpoint.
    dirty: Vec<QueueRef>,
    /// Slots of queues removed since the last checkpoint.
    dropped: Vec<u64>,
    /// The next slot that was never used.
    next_slot: u64,
    /// Facts records that could not be read, and were passed over.
    unreadable: u64,
    /// Half messages from before the log's start that a replay found decided.
    ended: HashSet<LogOffset>,
    /// Queues of the records before, and the hashes of their topics: mostly the next record is for one of them.
    recent: [Option<(QueueRef, u64)>; RECENT],
    /// Of the record there, so many queues have their entry: it is tried again when there was no room for the next one.
    entered: (LogOffset, usize),
    /// What is replayed lies behind damage.
    is_torn: bool,
    /// Room for the keys of a few records.
    keys: Vec<KeyEntry>,
}

/// Queues that are brought near together.
const NEAR: usize = 16;

/// Queues that dispatch finds without the table.
const RECENT: usize = 16;

impl Applied {
    fn entered_of(&self, at: LogOffset) -> usize {
        if self.entered.0 == at { self.entered.1 } else { 0 }
    }
}

impl Views {
    /// Applies the record that lies at `at`. In the order of the log, each record once; after an error the views are
    /// not to be used.
    pub(crate) fn apply(
        &self,
        record: &Record<'_>,
        at: LogOffset,
        mut arrivals: Option<&mut Vec<Arrival>>,
    ) -> Result<(), ViewError> {
        let mut applied = self.applied.lock();
        if at < applied.upto {
            return Err(ViewError::Repeated { at, upto: applied.upto });
        }
        let (queue, topic_hash) = self.queue_of(&mut applied, record);
        let marks = Marks::of(record.properties());
        let entry = Entry { log: at, size: record.len() as u32, tag_hash: marks.tag_hash() };
        // What was written again has its place in the queue since it was sent.
        let is_again = latest::is_again(record);
        if !is_again && (has_queue_slot(record, &queue) || applied.entered_of(at) > 0) {
            let offset = record.queue_offset();
            if marks.expires() {
                queue.0.note_expiring(offset);
            }
            self.enter(&mut applied, &queue, (offset, inner::taken(record)), &entry, 0)?;
            if let Some(list) = marks.light() {
                self.apply_light(&mut applied, record, &list, &entry, arrivals.as_deref_mut())?;
            }
        }
        if marks.has_keys() {
            self.keys.push(marks.key_entries(record, topic_hash, at.0));
        }
        let upto = LogOffset(at.0 + record.len() as u64);
        if record.topic() == FACTS_TOPIC {
            self.apply_facts(&mut applied, record.body(), at)?;
            self.facts.applied(upto);
        } else if self.apply_half(&mut applied, record, at) | self.apply_latest(record, &queue, entry) {
            self.facts.applied(upto);
        }
        self.timers.apply(record, &marks.times(), at);
        applied.upto = upto;
        if let Some(arrivals) = arrivals.filter(|_| !is_again) {
            arrivals.push(Arrival { next: queue.dispatched(), queue, tag_hash: entry.tag_hash });
        }
        Ok(())
    }

    /// Applies the first `count` hints, whose records follow each other and what was applied before, and takes those away
    /// that it applied: one arrival for each.
    pub(crate) fn apply_hints(
        &self,
        hints: &mut VecDeque<Hint>,
        count: usize,
        arrivals: &mut Vec<Arrival>,
    ) -> Result<(), ViewError> {
        let mut applied = self.applied.lock();
        let mut keys = std::mem::take(&mut applied.keys);
        let mut outcome = Ok(());
        for index in 0..count {
            if index % NEAR == 0 {
                hints.iter().take(NEAR).for_each(|hint| hint.queue().bring_near());
            }
            let Some(hint) = hints.front() else { break };
            if let Err(error) = self.apply_hint(&mut applied, hint) {
                outcome = Err(error);
                break;
            }
            keys.extend(hint.keys());
            applied.upto = hint.end();
            let (next, tag_hash) = (QueueOffset(hint.offset.0 + 1), hint.entry().tag_hash);
            let queue = hints.pop_front().expect("it was just looked at").into_queue();
            arrivals.push(Arrival { queue, next, tag_hash });
        }
        self.keys.push(keys.drain(..));
        applied.keys = keys;
        outcome
    }

    fn apply_hint(&self, applied: &mut Applied, hint: &Hint) -> Result<(), ViewError> {
        if hint.at < applied.upto {
            return Err(ViewError::Repeated { at: hint.at, upto: applied.upto });
        }
        if hint.queue().0.push(&self.arena, (hint.offset, 1), &hint.entry(), false)? {
            applied.dirty.push(hint.queue().clone());
        }
        Ok(())
    }

    /// Applies a record of a log that is opened. Behind damage, `is_torn`, an offset that goes back says that its topic
    /// was removed and began again, and that the damage took the record that said so.
    pub(crate) fn replay(&self, record: &Record<'_>, at: LogOffset, is_torn: bool) -> Result<(), ViewError> {
        self.applied.lock().is_torn = is_torn;
        match self.apply(record, at, None) {
            Err(ViewError::NotContiguous { expected, found, .. }) if is_torn && found < expected => {
                tracing::warn!(offset = at.0, topic = record.topic(), "damage took the removal of a topic");
                self.remove_topic(&mut self.applied.lock(), record.topic(), at);
                self.apply(record, at, None)
            }
            outcome => outcome,
        }
    }

    /// Adds the entry of a record to the queue that is the `index`th of its queues, at an offset and as often as it takes
    /// offsets, once however often it is tried.
    fn enter(
        &self,
        applied: &mut Applied,
        queue: &QueueRef,
        (offset, count): (QueueOffset, u64),
        entry: &Entry,
        index: usize,
    ) -> Result<(), ViewError> {
        if index < applied.entered_of(entry.log) {
            return Ok(());
        }
        // A light queue takes what the record says, live as in a replay, so that both hold the same.
        let may_skip = !applied.is_live || index > 0;
        if queue.0.push(&self.arena, (offset, count), entry, may_skip)? {
            applied.dirty.push(queue.clone());
        }
        applied.entered = (entry.log, index + 1);
        Ok(())
    }

    fn queue_of(&self, applied: &mut Applied, record: &Record<'_>) -> (QueueRef, u64) {
        let place = record.queue().0 as usize % RECENT;
        if let Some((queue, topic_hash)) = &applied.recent[place] {
            let key = queue.key();
            // A handle that was detached may still be right, but then it has to be looked up.
            if key.queue == record.queue() && *key.topic == *record.topic() && !queue.is_detached() {
                return (queue.clone(), *topic_hash);
            }
        }
        let queue = self.queues.for_dispatch(record.topic(), record.queue());
        let topic_hash = hash::of_topic(record.topic());
        applied.recent[place] = Some((queue.clone(), topic_hash));
        (queue, topic_hash)
    }

    /// A body that cannot be read is passed over: the record is there for good, and stopping would not mend it.
    fn apply_facts(&self, applied: &mut Applied, body: &[u8], at: LogOffset) -> Result<(), ViewError> {
        match change::decode(body) {
            Ok(changes) => changes.iter().try_for_each(|change| self.apply_change(applied, change, at)),
            Err(error) => {
                tracing::error!(offset = at.0, %error, "facts record passed over");
                applied.unreadable += 1;
                Ok(())
            }
        }
    }

    fn apply_change(
        &self,
        applied: &mut Applied,
        change: &Change<'_>,
        at: LogOffset,
    ) -> Result<(), ViewError> {
        match change.kind {
            FactKind::REMOVE_TOPIC => {
                if let Ok(topic) = str::from_utf8(change.key) {
                    self.remove_topic(applied, topic, at);
                }
            }
            FactKind::QUEUE_NEXT => {
                if let Some((topic, queue, next)) = change::decode_queue_next(change) {
                    let queue = self.queues.for_dispatch(topic, QueueId(queue));
                    if queue.0.carry(QueueOffset(next), at, !applied.is_live)? {
                        applied.dirty.push(queue);
                    }
                }
            }
            FactKind::HALF => self.change_half(change.key, change.value, at),
            kind if kind.is_reserved() => {}
            kind => self.facts.apply(kind, change.key, change.value, at),
        }
        Ok(())
    }

    fn remove_topic(&self, applied: &mut Applied, topic: &str, at: LogOffset) {
        if topic == FACTS_TOPIC {
            return;
        }
        self.forget_latest(topic, at);
        let Some(removed) = self.queues.remove(topic) else { return };
        let mut freed = Vec::new();
        for queue in removed.queues() {
            let slot = queue.0.empty(&mut freed);
            if slot != 0 {
                applied.dropped.push(slot);
            }
        }
        self.arena.give(&freed);
        applied.recent = Default::default();
    }

    /// Ends the replay: from here on a missing queue offset is an error, not damage to be bridged.
    pub(crate) fn go_live(&self) {
        let mut applied = self.applied.lock();
        (applied.is_live, applied.is_torn) = (true, false);
        applied.ended = HashSet::new();
    }

    /// Records below this are in the views.
    #[cfg(test)]
    pub(crate) fn applied(&self) -> LogOffset {
        self.applied.lock().upto
    }

    /// How the arena grows.
    pub(crate) fn arena_shape(&self) -> ArenaShape {
        self.config.arena
    }

    /// Finds a queue or makes its handle.
    pub(crate) fn queue(&self, topic: &TopicName, queue: QueueId) -> Result<QueueRef, QueueLimit> {
        self.queues.find_or_create(topic, queue)
    }

    /// Finds a queue.
    pub(crate) fn find_queue(&self, topic: &str, queue: QueueId) -> Option<QueueRef> {
        self.queues.find(topic, queue)
    }

    /// The queues of a topic that have handles, by number.
    pub(crate) fn queues_of(&self, topic: &str) -> Vec<QueueRef> {
        self.queues.of_topic(topic)
    }

    /// Detaches the queues of a topic: new look-ups find new queues that begin at 0. To be called under the append
    /// lock, together with the append of [`FactChange::remove_topic`].
    pub(crate) fn detach_topic(&self, topic: &str) {
        assert!(topic != FACTS_TOPIC, "facts are never removed as a topic");
        self.queues.detach(topic);
    }

    /// Appends up to `count` entries of a queue from `from` on to `out`; none below its first offset.
    pub(crate) fn entries(&self, queue: &QueueRef, from: QueueOffset, count: usize, out: &mut Vec<Entry>) {
        queue.0.entries(&self.arena, from, count, out);
    }

    /// The first offset of the record that has offset `at`: an inner batch has several.
    pub(crate) fn batch_start(&self, queue: &QueueRef, at: QueueOffset) -> QueueOffset {
        QueueOffset(queue.0.batch_start(&self.arena, at.0))
    }

    /// One past the last offset of the record that has offset `at`.
    pub(crate) fn batch_end(&self, queue: &QueueRef, at: QueueOffset) -> QueueOffset {
        QueueOffset(queue.0.batch_end(&self.arena, at.0))
    }

    /// Finds the offset for a time; `stored_at` asks the log for a record's store time.
    pub(crate) fn offset_by_time(
        &self,
        queue: &QueueRef,
        time: Timestamp,
        boundary: Boundary,
        stored_at: &mut dyn FnMut(LogOffset) -> Option<Timestamp>,
    ) -> QueueOffset {
        queue.0.offset_by_time(&self.arena, time, boundary, stored_at)
    }

    /// Visits the records that may carry `key` and were stored between `from` and `to`, newest first, until told to
    /// stop. Hashes collide: the visitor compares the record.
    pub(crate) fn by_key(
        &self,
        topic: &str,
        key: &str,
        from: Timestamp,
        to: Timestamp,
        visit: &mut dyn FnMut(LogOffset) -> ControlFlow<()>,
    ) -> Result<(), ViewError> {
        let first = self.applied.lock().first;
        let hash = hash::of_key(hash::of_topic(topic), key.as_bytes());
        let mut above_start = |at: LogOffset| if at < first { ControlFlow::Continue(()) } else { visit(at) };
        self.keys.visit(hash, TimeRange { from, to }, &mut above_start)
    }

    /// The messages that wait for their time.
    pub(crate) fn timers(&self) -> &Timers {
        &self.timers
    }

    /// The value of a fact.
    pub(crate) fn fact(&self, kind: FactKind, key: &[u8]) -> Option<Bytes> {
        self.facts.get(kind, key)
    }

    /// All facts of a kind, by key.
    pub(crate) fn facts(&self, kind: FactKind) -> Vec<(Vec<u8>, Bytes)> {
        self.facts.list(kind)
    }

    /// Shows the changes of the facts record that was just appended at `at`, before it is dispatched.
    pub(crate) fn put_facts_ahead(&self, changes: &[FactChange], at: LogOffset) {
        self.facts.put_ahead(changes, at);
    }
}

#[cfg(test)]
mod tests;

/// Apache gives prepared and rolled-back transaction records of old stores no place in a queue. Ours always have
/// one, so the record takes its slot exactly when it fits.
fn has_queue_slot(record: &Record<'_>, queue: &QueueRef) -> bool {
    const PREPARED: i32 = 0x4;
    let is_outside = record.transaction() & PREPARED != 0;
    !is_outside || record.queue_offset() == queue.dispatched()
}

// An entry holds the size of a record in four bytes.
const _: () = assert!(record::MAX_LEN <= u32::MAX as usize);
