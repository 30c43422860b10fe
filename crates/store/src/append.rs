// SPDX-License-Identifier: Apache-2.0
//! The sequencer: the only lock on the write path. Called by `Store::append`; decides the order of everything.
//!
//! Under the lock there is no system call and no page fault, and in the steady state no allocation: queue offsets
//! and log offsets are reserved, the encoded records are completed and copied into the stage. Encoding and its
//! checksum happen before, in a buffer of the calling thread; waking others happens after.
//!
//! Invariants: the records of one append are adjacent, in one stage and in one segment, and are published
//! together; a queue's offsets, also those of light queues, are handed out in log order, gapless; store times never fall along the log;
//! after the last record of a segment there is room for a filler.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use protocol::names::{LogOffset, QueueOffset};
use protocol::record;
use stdx::Timestamp;

use crate::disk::TapeWriter;
use crate::error::AppendError;
use crate::hints::{Hint, Hints, Said};
use crate::log::Log;
use crate::metrics::Watch;
use crate::queue::QueueRef;
use crate::stage::Stage;

mod inner;
mod light;
mod numbers;

pub(crate) use numbers::Counted;
use numbers::Numbers;

/// One message on its way to a queue. One whose flag says that it is an inner batch takes as many offsets as it holds
/// messages.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Where it goes.
    pub queue: &'a QueueRef,
    /// What goes there. Topic and queue id are the queue's.
    pub message: record::Message<'a>,
}

/// Where appended messages went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The first record.
    pub start: LogOffset,
    /// One past the last record: what to wait for.
    pub end: LogOffset,
    /// The offset of the first message in its queue.
    pub first_queue_offset: QueueOffset,
    /// When, by the store's clock.
    pub stored_at: Timestamp,
    rest: Vec<(LogOffset, QueueOffset)>,
}

impl Appended {
    /// The start of every record, in the order of the drafts.
    pub fn starts(&self) -> impl Iterator<Item = LogOffset> + '_ {
        self.places().map(|(start, _)| start)
    }

    /// The start of every record and its offset in its queue, in the order of the drafts.
    pub fn places(&self) -> impl Iterator<Item = (LogOffset, QueueOffset)> + '_ {
        iter::once((self.start, self.first_queue_offset)).chain(self.rest.iter().copied())
    }
}

/// Encoded records, one behind the other.
#[derive(Default)]
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    /// One past each record, and its offset in its queue once that is known.
    ends: Vec<(usize, QueueOffset)>,
    /// The offsets that are still to be written into them.
    numbers: Numbers,
    /// What the plain ones among them say.
    said: Vec<Said>,
}

/// A buffer larger than this is given back after use.
const KEEP: usize = 1 << 20;

thread_local! {
    static ENCODED: RefCell<Encoded> = RefCell::default();
}

/// Lends `with` an empty buffer of this thread.
pub(crate) fn with_buffer<T>(with: impl FnOnce(&mut Encoded) -> T) -> T {
    ENCODED.with_borrow_mut(|encoded| {
        // Before, too: a panic may have ended the last use.
        encoded.clear();
        let out = with(encoded);
        encoded.clear();
        encoded.bytes.shrink_to(KEEP);
        encoded.ends.shrink_to(KEEP / 64);
        encoded.said.shrink_to(KEEP / 64);
        out
    })
}

impl Encoded {
    /// Adds a message with holes for what only the log knows.
    pub(crate) fn push(&mut self, message: &record::Message<'_>) -> Result<(), AppendError> {
        record::encode(message, &mut self.bytes)?;
        self.ends.push((self.bytes.len(), QueueOffset(0)));
        Ok(())
    }

    /// Adds a message that goes where `queue` is, of which dispatch may be told.
    pub(crate) fn push_plain(
        &mut self,
        message: &record::Message<'_>,
        queue: &QueueRef,
    ) -> Result<(), AppendError> {
        let said = Said::of(message, queue, self.ends.len());
        self.push(message)?;
        self.said.extend(said);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.numbers.clear();
        self.said.clear();
    }

    fn complete(&mut self, index: usize, log: LogOffset, queue: QueueOffset, now: Timestamp) {
        let start = index.checked_sub(1).map_or(0, |previous| self.ends[previous].0);
        let end = &mut self.ends[index];
        end.1 = queue;
        record::patch(&mut self.bytes[start..end.0], log, queue, now);
    }
}

/// Why an append has to be tried again after something slow was done outside the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// No spare stage is prepared.
    Stage,
    /// No next segment is prepared.
    Segment,
}

/// What came of one try.
pub(crate) enum Outcome {
    Appended(Appended),
    Removed,
    /// Queues are no longer where the records were encoded for.
    Stale,
    Needs(Needs),
}

pub(crate) struct Sequencer {
    head: Mutex<Head>,
    hints: Hints,
}

struct Head {
    stage: Arc<Stage>,
    writer: TapeWriter,
    /// Where the next record goes.
    next: u64,
    segment_end: u64,
    last_stored: Timestamp,
}

impl Sequencer {
    /// Continues the log at `next`, in a stage that begins there, in a segment that ends at `segment_end`.
    pub(crate) fn new(
        (writer, stage): (TapeWriter, Arc<Stage>),
        next: u64,
        segment_end: u64,
        last_stored: Timestamp,
    ) -> Sequencer {
        assert_eq!(stage.base(), next, "the first stage begins at the end of the log");
        let head = Head { stage, writer, next, segment_end, last_stored };
        Sequencer { head: Mutex::new(head), hints: Hints::default() }
    }

    /// Moves what is known of plain messages to `empty`: of all that was written before, and is not told yet.
    pub(crate) fn take_hints(&self, empty: &mut VecDeque<Hint>) {
        self.hints.take(empty);
    }

    /// Reserves, completes, copies and publishes. `under_lock` runs before anyone else can append.
    pub(crate) fn append<'q>(
        &self,
        log: &Log,
        encoded: &mut Encoded,
        queues: impl Iterator<Item = &'q QueueRef> + Clone,
        (now, watch): (Timestamp, Watch<'_>),
        under_lock: impl FnOnce(&Appended),
    ) -> Outcome {
        let (mut head, waited, held_from) = self.lock(watch);
        let segment_end = head.segment_end;
        if queues.clone().any(QueueRef::is_detached) {
            return Outcome::Removed;
        }
        if !encoded.numbers.fit() {
            return Outcome::Stale;
        }
        if let Err(needs) = head.make_room(log, encoded.len()) {
            return Outcome::Needs(needs);
        }
        let mut appended = head.reserve(encoded, queues, now);
        head.writer.write(&encoded.bytes);
        head.writer.publish();
        head.next = appended.end.0;
        self.hints.push(&appended, &encoded.ends, &mut encoded.said);
        under_lock(&appended);
        watch.lag.appended(appended.end.0, held_from);
        let is_roll = head.segment_end != segment_end;
        drop(head);
        note(watch, (waited, held_from), encoded.ends.len(), is_roll);
        let places = encoded.ends.iter().zip(&encoded.ends[1..]);
        let later =
            places.map(|((start, _), (_, queue))| (LogOffset(appended.start.0 + *start as u64), *queue));
        appended.rest.extend(later);
        Outcome::Appended(appended)
    }

    /// Takes the lock; tells how long that took, and since when it is held.
    fn lock(&self, watch: Watch<'_>) -> (MutexGuard<'_, Head>, u64, u64) {
        if let Some(head) = self.head.try_lock() {
            return (head, 0, watch.clock.tick());
        }
        let begun = watch.clock.tick();
        let head = self.head.lock();
        let held_from = watch.clock.tick();
        (head, held_from.saturating_sub(begun), held_from)
    }
}

/// Notes how long an append of so many records waited for the lock and held it.
fn note(watch: Watch<'_>, (waited, held_from): (u64, u64), records: usize, is_roll: bool) {
    let held = watch.clock.tick().saturating_sub(held_from);
    watch.stages.append_wait.record(waited, records);
    watch.stages.append.record(held, records);
    if is_roll {
        watch.stages.roll.record(held, 1);
    }
}

impl Head {
    /// Moves on to a stage and a segment with room for `len` bytes and a filler.
    fn make_room(&mut self, log: &Log, len: usize) -> Result<(), Needs> {
        let needed = len + record::BLANK_MIN;
        if self.next + needed as u64 > self.segment_end {
            let next_segment = log.segment(self.segment_end).ok_or(Needs::Segment)?;
            let stage = log.stages().next(self.segment_end).ok_or(Needs::Stage)?;
            self.fill_segment();
            (self.next, self.segment_end) = (next_segment.base, next_segment.end());
            self.enter(stage);
        } else if needed > self.writer.room() {
            let stage = log.stages().next(self.next).ok_or(Needs::Stage)?;
            self.enter(stage);
        }
        assert!(needed <= self.writer.room(), "the caller limits an append to a stage");
        Ok(())
    }

    /// Ends the segment as Apache does; the bytes behind the filler's head stay as they are, zero.
    fn fill_segment(&mut self) {
        let len = usize::try_from(self.segment_end - self.next).expect("a segment is below 2 GiB");
        self.writer.write(&record::blank(len));
        self.writer.publish();
    }

    fn enter(&mut self, (writer, stage): (TapeWriter, Arc<Stage>)) {
        (self.writer, self.stage) = (writer, stage);
        assert_eq!(self.stage.base(), self.next, "a stage begins where the last one ended");
    }

    /// Hands out queue offsets and log offsets in one order.
    fn reserve<'q>(
        &mut self,
        encoded: &mut Encoded,
        queues: impl Iterator<Item = &'q QueueRef>,
        now: Timestamp,
    ) -> Appended {
        let stored_at = now.max(self.last_stored);
        self.last_stored = stored_at;
        let mut appended = Appended {
            start: LogOffset(self.next),
            end: LogOffset(self.next + encoded.len() as u64),
            first_queue_offset: QueueOffset(0),
            stored_at,
            rest: Vec::new(),
        };
        let mut at = self.next;
        for (index, queue) in queues.enumerate() {
            let offset = queue.reserve(encoded.numbers.taken_by(index));
            encoded.complete(index, LogOffset(at), offset, stored_at);
            encoded.numbers.fill(index, offset, &mut encoded.bytes);
            if index == 0 {
                appended.first_queue_offset = offset;
            }
            at = self.next + encoded.ends[index].0 as u64;
        }
        assert_eq!(at, appended.end.0, "one queue for each record");
        appended
    }
}
