// SPDX-License-Identifier: Apache-2.0
//! One queue: its counters, and where its entries lie. The sequencer raises `next` under the append lock, the one
//! dispatching thread appends entries and raises `dispatched`, retention raises `first`; readers are any threads.
//! Invariants, asserted: `first ≤ dispatched ≤ next` in a live store; entries exist for `first..dispatched`, and
//! an entry below `dispatched` never changes.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use protocol::names::{LogOffset, QueueKey, QueueOffset};

use crate::arena::{Arena, Part};
use crate::keys::hash;
use crate::views::ViewError;

mod batches;
mod entry;
pub(crate) mod extents;
pub(crate) mod latest;
mod time;

use batches::take_parts;
pub use entry::Entry;
use extents::{Extent, Extents};
use latest::Latest;
pub use time::Boundary;

/// A handle of one queue; cloning is cheap.
#[derive(Clone)]
pub struct QueueRef(pub(crate) Arc<Queue>);

/// See [`QueueRef`].
pub(crate) struct Queue {
    key: QueueKey,
    /// The hash of its topic for keys; 0 where records say more than plain messages do.
    plain_topic: u64,
    next: AtomicU64,
    first: AtomicU64,
    dispatched: AtomicU64,
    /// Messages from here on do not expire.
    expiring: AtomicU64,
    /// Records from here on have one offset each.
    batched: AtomicU64,
    is_detached: AtomicBool,
    /// Which messages are the latest of their key, where those are kept for ever.
    latest: OnceLock<Box<Latest>>,
    state: Mutex<State>,
}

/// Slot of a queue that no checkpoint may name again.
const GONE: u64 = u64::MAX;

#[derive(Default)]
struct State {
    extents: Extents,
    /// The newest record that proves `next`: the last message, or a fact that carried it forward.
    anchor: LogOffset,
    /// Number in the checkpoint, 0 before the first, [`GONE`] once the topic's removal was dispatched.
    slot: u64,
    /// The checkpoint file that knows the queue.
    known_to: u64,
    /// `dispatched` as the checkpoint in work has it; extents from here on are new to it.
    saved: u64,
    is_dirty: bool,
}

/// What a checkpoint holds of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueImage {
    pub(crate) slot: u64,
    pub(crate) first: u64,
    pub(crate) next: u64,
    pub(crate) anchor: LogOffset,
    /// Extents that no earlier image in the same file has.
    pub(crate) extents: Vec<Extent>,
}

impl QueueRef {
    /// Topic and number.
    pub fn key(&self) -> &QueueKey {
        &self.0.key
    }

    /// The queue offset the next message gets.
    pub fn next(&self) -> QueueOffset {
        QueueOffset(self.0.next.load(Ordering::Acquire))
    }

    /// The first queue offset that is still there.
    pub fn first(&self) -> QueueOffset {
        let first = self.dense_first();
        self.0.latest().map_or(first, |latest| first.min(QueueOffset(latest.first())))
    }

    /// The first queue offset from which on every message is still there.
    pub(crate) fn dense_first(&self) -> QueueOffset {
        QueueOffset(self.0.first.load(Ordering::Acquire))
    }

    /// Says that, of what is appended from now on, the latest message of each key is kept for ever.
    pub fn keep_latest(&self) {
        self.0.latest_or_new();
    }

    /// True where the latest message of each key is kept for ever.
    pub fn keeps_latest(&self) -> bool {
        self.0.latest.get().is_some()
    }

    /// One past the last message that readers may see.
    pub fn dispatched(&self) -> QueueOffset {
        QueueOffset(self.0.dispatched.load(Ordering::Acquire))
    }

    /// True when messages from `from` on may expire: then each has to be looked at. A queue that a checkpoint brought back
    /// does not know, and looks.
    pub(crate) fn may_expire(&self, from: QueueOffset) -> bool {
        from.0 < self.0.expiring.load(Ordering::Acquire)
    }

    /// True when records from `from` on may have several offsets. A queue that a checkpoint brought back does not know, and
    /// looks.
    pub(crate) fn may_batch(&self, from: QueueOffset) -> bool {
        from.0 < self.0.batched.load(Ordering::Acquire)
    }

    /// True once the topic was removed: nothing may be appended through this handle, look the queue up again.
    pub fn is_detached(&self) -> bool {
        self.0.is_detached.load(Ordering::Acquire)
    }

    /// Reads a little of what appending and dispatching work on, so that the processor fetches it. To be called for several
    /// queues one after the other: it fetches for all of them at once, and waits once in place of once for each.
    pub fn bring_near(&self) {
        let name = self.0.key.topic.as_bytes().first().copied().unwrap_or_default();
        let near = self.0.next.load(Ordering::Relaxed) ^ self.0.dispatched.load(Ordering::Relaxed);
        let owned = Arc::strong_count(&self.0) ^ usize::from(self.0.state.is_locked()) ^ usize::from(name);
        std::hint::black_box(near ^ owned as u64);
    }

    /// Assigns `count` queue offsets and returns the first. For the sequencer, under the append lock.
    pub(crate) fn reserve(&self, count: u64) -> QueueOffset {
        QueueOffset(self.0.next.fetch_add(count, Ordering::AcqRel))
    }

    /// Tells live queues apart; once a queue is gone another one may get its address.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// True when both are handles of the same queue.
    pub fn is_same(&self, other: &QueueRef) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for QueueRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, dispatched, next) = (self.first(), self.dispatched(), self.next());
        write!(f, "{}/{} {}..{} next {}", self.0.key.topic, self.0.key.queue.0, first.0, dispatched.0, next.0)
    }
}

impl Queue {
    pub(crate) fn new(key: QueueKey) -> Queue {
        let plain_topic = if key.topic.is_system() { 0 } else { hash::of_topic(&key.topic) };
        Queue {
            key,
            plain_topic,
            next: AtomicU64::new(0),
            first: AtomicU64::new(0),
            dispatched: AtomicU64::new(0),
            expiring: AtomicU64::new(0),
            batched: AtomicU64::new(0),
            is_detached: AtomicBool::new(false),
            latest: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    /// A queue of that name for one message that has its offset already: the sequencer hands out just that one. The
    /// messages of the real queue do not know of it.
    pub(crate) fn stand_in(key: QueueKey, offset: QueueOffset) -> Queue {
        let queue = Queue::new(key);
        queue.next.store(offset.0, Ordering::Release);
        queue
    }

    pub(crate) fn key(&self) -> &QueueKey {
        &self.key
    }

    /// The hash of its topic for keys, if its messages may be plain: those of system topics say something to dispatch.
    pub(crate) fn plain_topic(&self) -> Option<u64> {
        (self.plain_topic != 0).then_some(self.plain_topic)
    }

    /// The message that is about to be added expires.
    pub(crate) fn note_expiring(&self, offset: QueueOffset) {
        self.expiring.fetch_max(offset.0.saturating_add(1), Ordering::AcqRel);
    }

    /// Which messages are the latest of their key, where those are kept.
    pub(crate) fn latest(&self) -> Option<&Latest> {
        self.latest.get().map(Box::as_ref)
    }

    pub(crate) fn latest_or_new(&self) -> &Latest {
        self.latest.get_or_init(Box::default)
    }

    pub(crate) fn detach(&self) {
        self.is_detached.store(true, Ordering::Release);
    }

    /// Adds the entry of a record at the end, as often as the record takes offsets; all of them become visible together.
    /// Offsets that were skipped become holes when `may_skip`.
    /// Answers true when this is the first change since the last checkpoint.
    pub(crate) fn push(
        &self,
        arena: &Arena,
        (offset, count): (QueueOffset, u64),
        entry: &Entry,
        may_skip: bool,
    ) -> Result<bool, ViewError> {
        let mut state = self.state.lock();
        let end = self.dispatched.load(Ordering::Relaxed);
        let is_due = offset.0 == end || may_skip && offset.0 > end;
        let next = offset.0.checked_add(count).filter(|_| is_due);
        let next = next.ok_or_else(|| self.not_contiguous(entry.log, end, offset))?;
        let room = if offset.0 == end { state.extents.room(end) } else { None };
        match room {
            Some((part, slot)) if count == 1 => arena.write(part, slot, entry),
            room => {
                // First of all, because it may fail, and the record is then tried again.
                let parts = take_parts(arena, &state.extents, room, count)?;
                if offset.0 > end {
                    self.skip(&mut state.extents, end, offset.0);
                }
                state.extents.write(arena, (room, &parts), offset.0..next, entry);
            }
        }
        state.anchor = entry.log;
        if count > 1 {
            // Before any reader can come here.
            self.batched.fetch_max(next, Ordering::AcqRel);
        }
        if self.next.load(Ordering::Acquire) < next {
            // Only a replay finds offsets that this process did not assign.
            self.next.fetch_max(next, Ordering::AcqRel);
        }
        self.dispatched.store(next, Ordering::Release);
        Ok(!std::mem::replace(&mut state.is_dirty, true))
    }

    /// A queue without any entry starts where the log has it; in any other the offsets between become a hole.
    fn skip(&self, extents: &mut Extents, end: u64, to: u64) {
        if self.first.load(Ordering::Relaxed) == end {
            assert!(extents.list().is_empty(), "an empty queue has no extents");
            self.first.store(to, Ordering::Release);
        } else {
            extents.push(Extent { base: end, part: None });
        }
    }

    /// Learns from a fact that offsets below `next` were used by messages that are gone by now.
    /// Answers true when this is the first change since the last checkpoint.
    pub(crate) fn carry(&self, next: QueueOffset, at: LogOffset, may_skip: bool) -> Result<bool, ViewError> {
        let mut state = self.state.lock();
        let end = self.dispatched.load(Ordering::Relaxed);
        state.anchor = state.anchor.max(at);
        if next.0 > end {
            if !may_skip {
                return Err(self.not_contiguous(at, end, next));
            }
            let next = next.0;
            self.skip(&mut state.extents, end, next);
            self.next.fetch_max(next, Ordering::AcqRel);
            self.dispatched.store(next, Ordering::Release);
        }
        Ok(!std::mem::replace(&mut state.is_dirty, true))
    }

    fn not_contiguous(&self, at: LogOffset, end: u64, found: QueueOffset) -> ViewError {
        let queue = format!("{}/{}", self.key.topic, self.key.queue.0);
        ViewError::NotContiguous { at, queue, expected: QueueOffset(end), found }
    }

    /// Appends up to `count` entries from `from` on to `out`; fewer at the end of the queue.
    pub(crate) fn entries(&self, arena: &Arena, from: QueueOffset, count: usize, out: &mut Vec<Entry>) {
        let state = self.state.lock();
        let end = self.dispatched.load(Ordering::Acquire);
        let mut at = from.0.max(self.first.load(Ordering::Acquire));
        if at != from.0 {
            return;
        }
        let mut left = count as u64;
        while left > 0 {
            let Some(span) = state.extents.span(at, end) else { return };
            let take = left.min(span.to - span.from) as usize;
            let start = out.len();
            out.resize(start + take, Entry::HOLE);
            if let Some(part) = span.part {
                arena.read(part, span.slot, &mut out[start..]);
            }
            at += take as u64;
            left -= take as u64;
        }
    }

    /// The first entry at or after `from` that is no hole.
    pub(crate) fn entry_at_or_after(&self, arena: &Arena, from: u64) -> Option<(u64, Entry)> {
        let state = self.state.lock();
        let end = self.dispatched.load(Ordering::Acquire);
        let mut at = from;
        loop {
            let span = state.extents.span(at, end)?;
            if let Some(part) = span.part {
                let mut entry = [Entry::HOLE];
                arena.read(part, span.slot, &mut entry);
                return Some((at, entry[0]));
            }
            at = span.to;
        }
    }

    /// Raises `first` past every entry whose record lies below `log`, and gives parts that became free to `freed`.
    /// Answers whether anything changed, and whether that is the first change since the last checkpoint.
    pub(crate) fn retain(&self, arena: &Arena, log: LogOffset, freed: &mut Vec<Part>) -> Retained {
        let (first, end) = (self.first.load(Ordering::Acquire), self.dispatched.load(Ordering::Acquire));
        match self.entry_at_or_after(arena, first) {
            None if first == end => return Retained::Unchanged,
            Some((_, entry)) if entry.log >= log => return Retained::Unchanged,
            _ => {}
        }
        let target = self.search(arena, first, end, |_, entry| entry.log >= log);
        // Holes in front are worth nothing, and a replay from the new start would not know of them.
        let target = self.entry_at_or_after(arena, target).map_or(end, |(at, _)| at.min(end));
        let mut state = self.state.lock();
        // Dispatch may have added entries meanwhile; they are newer than what is dropped.
        let end = self.dispatched.load(Ordering::Acquire);
        let target = self.first.fetch_max(target, Ordering::AcqRel).max(target);
        state.extents.drop_below(target, end, freed);
        if std::mem::replace(&mut state.is_dirty, true) { Retained::Changed } else { Retained::Dirtied }
    }

    /// The lowest offset in `from..to` whose first entry at or after it is `past`; `to` if none is. The caller
    /// knows that entries which are `past` are followed by such only.
    pub(crate) fn search(
        &self,
        arena: &Arena,
        from: u64,
        to: u64,
        mut past: impl FnMut(u64, &Entry) -> bool,
    ) -> u64 {
        let (mut low, mut high) = (from, to);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry_at_or_after(arena, middle) {
                Some((at, _)) if at >= high => high = middle,
                Some((at, entry)) if past(at, &entry) => high = middle,
                Some((at, _)) => low = at + 1,
                None => high = middle,
            }
        }
        low
    }

    /// The newest record that proves `next`.
    pub(crate) fn anchor(&self) -> LogOffset {
        self.state.lock().anchor
    }

    /// Takes what checkpoint file `generation` lacks, and whether it never heard of the queue. `None` when there is
    /// nothing to say, or when `unknown_only` and it is known.
    pub(crate) fn image(
        &self,
        generation: u64,
        unknown_only: bool,
        slot: impl FnOnce() -> u64,
    ) -> Option<(QueueImage, bool)> {
        let mut state = self.state.lock();
        let is_new = state.known_to != generation;
        let next = self.dispatched.load(Ordering::Acquire);
        let is_untouched = next == 0 && state.anchor == LogOffset(0);
        if state.slot == GONE || unknown_only && !is_new || is_untouched && state.slot == 0 {
            return None;
        }
        if state.slot == 0 {
            state.slot = slot();
        }
        let saved = if is_new { 0 } else { state.saved };
        let list = state.extents.list();
        let image = QueueImage {
            slot: state.slot,
            first: self.first.load(Ordering::Acquire),
            next,
            anchor: state.anchor,
            extents: list[list.partition_point(|extent| extent.base < saved)..].to_vec(),
        };
        state.saved = next;
        state.known_to = generation;
        state.is_dirty = false;
        Some((image, is_new))
    }

    /// Adds what a checkpoint file says of the queue; parts it no longer holds go to `freed`.
    /// False when the extents cannot follow those before.
    pub(crate) fn restore(&self, image: QueueImage, generation: u64, freed: &mut Vec<Part>) -> bool {
        let mut state = self.state.lock();
        for extent in image.extents {
            if !state.extents.try_push(extent) {
                return false;
            }
        }
        state.extents.drop_below(image.first, image.next, freed);
        state.anchor = image.anchor;
        state.slot = image.slot;
        state.saved = image.next;
        state.known_to = generation;
        self.first.store(image.first, Ordering::Release);
        self.next.store(image.next, Ordering::Release);
        self.expiring.store(image.next, Ordering::Release);
        self.batched.store(image.next, Ordering::Release);
        self.dispatched.store(image.next, Ordering::Release);
        true
    }

    /// Holds at rest, between two records.
    pub(crate) fn is_sound(&self) -> bool {
        let state = self.state.lock();
        let (first, end) = (self.first.load(Ordering::Acquire), self.dispatched.load(Ordering::Acquire));
        first <= end && end <= self.next.load(Ordering::Acquire) && state.extents.covers(first, end)
    }

    /// Empties a queue whose topic was removed: readers find nothing any more. Returns its slot, 0 without one.
    pub(crate) fn empty(&self, freed: &mut Vec<Part>) -> u64 {
        let mut state = self.state.lock();
        let end = self.dispatched.load(Ordering::Acquire);
        self.first.store(end, Ordering::Release);
        state.extents.drop_below(end, end, freed);
        if let Some(latest) = self.latest() {
            latest.clear();
        }
        std::mem::replace(&mut state.slot, GONE)
    }

    /// The parts it holds.
    pub(crate) fn parts(&self, out: &mut Vec<Part>) {
        out.extend(self.state.lock().extents.list().iter().filter_map(|extent| extent.part));
    }

    /// Bytes of memory besides the handle itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.state.lock().extents.heap_bytes()
    }
}

/// What [`Queue::retain`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retained {
    Unchanged,
    Changed,
    /// Changed, for the first time since the last checkpoint.
    Dirtied,
}
