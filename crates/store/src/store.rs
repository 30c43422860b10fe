// SPDX-License-Identifier: Apache-2.0
//! The store: one log and what is derived from it. Opened by the cli, used by the broker.
//!
//! `append` puts records into the log and says where; `settled` waits for the promised durability; `dispatch_step`
//! makes them visible; `read` finds them. The rest keeps that going: the loops in [`steps`], the facts in [`facts`],
//! the tools in [`offline`].
//! Invariants: those of [`crate::watermarks`]; after the first failed write or sync no append succeeds.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use protocol::filter::Filter;
use protocol::names::{LogOffset, QueueId, QueueOffset, TopicName};
use protocol::record::{self, Record};
use stdx::{Clock, Timestamp};

use crate::append::{self, Appended, Draft, Encoded, Needs, Outcome, Sequencer};
use crate::cold::{Answer, Readers};
use crate::config::StoreConfig;
use crate::digest::Digests;
use crate::disk::{DirLock, Disk};
use crate::dispatch::{Dispatch, Stuck, Ways};
use crate::drain::Drain;
use crate::error::{AppendError, ReadError, Settled};
use crate::flush::Flush;
use crate::health::{BUSY_RETRY, Health};
use crate::lag::Lag;
use crate::latest;
use crate::lock::StageHome;
use crate::log::{Access, Log};
use crate::metrics::{Metrics, Watch};
use crate::queue::latest::Latest;
use crate::queue::{Boundary, Entry, QueueRef};
use crate::queues::QueueLimit;
use crate::read::{self, Read, ReadLimit};
use crate::recovery::Opened;
use crate::timer::Timers;
use crate::views::{Arrival, Views};
use crate::watermarks::Watermarks;

mod carry;
mod facts;
mod find;
mod halves;
mod keep;
mod light;
mod near;
mod offline;
mod open;
mod steps;

pub use near::Near;
pub use offline::{Inspection, SegmentSummary, Verification};
use steps::Upkeep;
pub use steps::Usage;

/// One log, its views, and the promises made about them.
pub struct Store {
    config: StoreConfig,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    log: Log,
    marks: Watermarks,
    health: Health,
    views: Views,
    sequencer: Sequencer,
    drain: Drain,
    flush: Flush,
    dispatch: Dispatch,
    /// Held by whoever appends facts, so that their order in the log is their order in the table.
    facts: Mutex<FactsTail>,
    /// Taken behind `facts`.
    ends: Mutex<halves::Ends>,
    /// What reads have seen of records, for those to come.
    digests: Mutex<Digests>,
    readers: Readers,
    upkeep: Mutex<Upkeep>,
    unread_floor: AtomicU64,
    /// Says from where on messages are still owed to somebody.
    owed: Mutex<Option<Owed>>,
    /// Dispatch has no room for what it met last.
    is_stuck: AtomicBool,
    /// Messages go to the light queues that they list.
    is_light: AtomicBool,
    metrics: Metrics,
    lag: Lag,
    opened: Opened,
    home: Mutex<StageHome>,
    _lock: Box<dyn DirLock>,
}

/// Says from where in the log on messages are still owed to somebody.
type Owed = Arc<dyn Fn() -> LogOffset + Send + Sync>;

/// Where the last facts record ends.
#[derive(Default)]
struct FactsTail {
    end: u64,
}

impl Store {
    /// What opening found.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The configuration it was opened with.
    pub fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// How far the log has come.
    pub fn watermarks(&self) -> &Watermarks {
        &self.marks
    }

    /// Why the store takes no more appends, once it does not.
    pub fn poisoned(&self) -> Option<Arc<str>> {
        self.health.poisoned()
    }

    /// Counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.config.dir
    }

    /// Finds a queue or makes its handle.
    pub fn queue(&self, topic: &TopicName, queue: QueueId) -> Result<QueueRef, QueueLimit> {
        self.views.queue(topic, queue)
    }

    /// Finds a queue.
    pub fn find_queue(&self, topic: &str, queue: QueueId) -> Option<QueueRef> {
        self.views.find_queue(topic, queue)
    }

    /// The queues of a topic that have handles, by number.
    pub fn queues_of(&self, topic: &str) -> Vec<QueueRef> {
        self.views.queues_of(topic)
    }

    /// The messages that wait for their time.
    pub fn timers(&self) -> &Timers {
        self.views.timers()
    }

    /// Puts messages into the log, one behind the other, all or none. They are visible once dispatched.
    /// Returns before any promise holds that a process crash can break; wait for [`Store::settled`].
    pub fn append(&self, drafts: &[Draft<'_>]) -> Result<Appended, AppendError> {
        if drafts.iter().any(Draft::is_batch) {
            return self.append_numbered(drafts, false);
        }
        self.append_by(drafts, Store::append_drafts)
    }

    fn append_by(
        &self,
        drafts: &[Draft<'_>],
        append: impl Fn(&Store, &[Draft<'_>]) -> Result<Appended, AppendError>,
    ) -> Result<Appended, AppendError> {
        assert!(!drafts.is_empty(), "an append has something to append");
        self.health.admit()?;
        let is_end = drafts.iter().any(|draft| crate::halves::may_end(&draft.message).is_some());
        if !is_end {
            return append(self, drafts);
        }
        let mut ends = self.ends.lock();
        let appended = append(self, drafts)?;
        ends.note(drafts, appended.end, self.marks.dispatched.get());
        Ok(appended)
    }

    fn append_drafts(&self, drafts: &[Draft<'_>]) -> Result<Appended, AppendError> {
        append::with_buffer(|encoded| {
            for draft in drafts {
                check_queue(draft);
                match draft.queue.keeps_latest() {
                    false => encoded.push_plain(&draft.message, draft.queue)?,
                    true => encoded.push(&latest::marked(draft.message))?,
                }
            }
            self.sequence(encoded, drafts.iter().map(|draft| draft.queue), |_| {})
        })
    }

    fn sequence<'q>(
        &self,
        encoded: &mut Encoded,
        queues: impl Iterator<Item = &'q QueueRef> + Clone,
        under_lock: impl Fn(&Appended),
    ) -> Result<Appended, AppendError> {
        let appended = self.try_sequence(encoded, queues, under_lock)?;
        Ok(appended.expect("only numbers in records go stale, and there are none"))
    }

    /// Answers `None` when the records have to be encoded anew.
    fn try_sequence<'q>(
        &self,
        encoded: &mut Encoded,
        queues: impl Iterator<Item = &'q QueueRef> + Clone,
        under_lock: impl Fn(&Appended),
    ) -> Result<Option<Appended>, AppendError> {
        let max = self.log.append_max();
        if encoded.len() > max {
            return Err(AppendError::TooLarge { size: encoded.len(), max });
        }
        loop {
            let at = (self.clock.now(), self.watch());
            match self.sequencer.append(&self.log, encoded, queues.clone(), at, &under_lock) {
                Outcome::Appended(appended) => {
                    self.marks.advance_written(appended.end.0);
                    return Ok(Some(appended));
                }
                Outcome::Removed => return Err(AppendError::Removed),
                Outcome::Stale => return Ok(None),
                Outcome::Needs(needs) => {
                    let stage = &self.metrics.stages.make_room;
                    self.watch().time(stage, || self.provide(needs), |_| true)?;
                }
            }
        }
    }

    /// With what parts note how long they take.
    fn watch(&self) -> Watch<'_> {
        Watch { clock: &*self.clock, stages: &self.metrics.stages, lag: &self.lag }
    }

    /// Makes what the loops should have made ahead.
    #[cold]
    fn provide(&self, needs: Needs) -> Result<(), AppendError> {
        match needs {
            Needs::Stage => match self.log.stages().prepare(self.past_stages()) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    self.metrics.busy.add(1);
                    Err(AppendError::Busy { retry_after: BUSY_RETRY })
                }
                Err(e) => {
                    tracing::warn!(error = %e, "no further stage can be made");
                    Err(AppendError::Busy { retry_after: BUSY_RETRY })
                }
            },
            Needs::Segment => self.provide_segment(),
        }
    }

    /// Below it nobody needs the stages any more: it is in files, and dispatch has passed it or may not yet. A dispatch that
    /// fell behind the stages would have to read what it was ahead of a moment ago, and fall further behind: on a machine without a
    /// free core it took a third of all processor time to do so. Senders wait for it, as they wait for the disk.
    fn past_stages(&self) -> u64 {
        let (drained, dispatched) = (self.marks.drained.get(), self.marks.dispatched.get());
        if dispatched < self.marks.gate.get() { drained.min(dispatched) } else { drained }
    }

    fn provide_segment(&self) -> Result<(), AppendError> {
        let outcome = self.log.make_ready(self.log.ready_end());
        self.met(outcome).map(drop)?;
        self.health.admit()
    }

    /// Waits, after [`AppendError::Busy`], until the disk has taken some of what waits for it, or `deadline` has passed.
    /// Where nothing waits for the disk, readers hold the memory: then it waits a moment.
    pub async fn roomier(&self, deadline: Timestamp) {
        let (drained, written) = (self.marks.drained.get(), self.marks.written.get());
        // Whether it came in time or not: the caller tries again, or gives up by its own clock.
        if drained < written {
            let target = written.min(drained + self.config.stage_size as u64);
            let _ = stdx::deadline(&self.clock, deadline, self.marks.drained.reached(target)).await;
        } else {
            let soon = deadline.min(self.clock.now() + BUSY_RETRY);
            let _ = stdx::deadline(&self.clock, soon, std::future::pending::<()>()).await;
        }
    }

    /// Waits until the promised durability holds up to `end`, or `deadline` has passed.
    pub async fn settled(&self, end: LogOffset, deadline: Timestamp) -> Settled {
        if self.marks.gate.get() >= end.0 {
            return Settled::Done;
        }
        let begun = self.clock.tick();
        match stdx::deadline(&self.clock, deadline, self.marks.gate.reached(end.0)).await {
            Some(Ok(())) => {
                self.metrics.stages.settle.record(self.clock.tick().saturating_sub(begun), 1);
                Settled::Done
            }
            None => Settled::FlushTimeout,
            Some(Err(stdx::Closed)) => {
                Settled::Poisoned(self.health.poisoned().unwrap_or_else(|| "the store is closed".into()))
            }
        }
    }

    /// Makes up to `max` more records visible; returns how many. `arrivals` tells of each.
    pub fn dispatch_step(&self, max: usize, arrivals: &mut Vec<Arrival>) -> usize {
        if self.health.poisoned().is_some() {
            return 0;
        }
        let Store { log, marks, views, sequencer, .. } = self;
        let (applied, stuck) = self.dispatch.step(Ways { log, marks, views, sequencer }, max, arrivals);
        self.is_stuck.store(matches!(stuck, Some(Stuck::Full(_))), Ordering::Release);
        if applied > 0 {
            self.note_lag();
        }
        match stuck {
            None => {}
            Some(Stuck::Full(why)) => self.health.set_full(Some(why)),
            Some(Stuck::Broken(cause)) => self.poison(&cause),
        }
        applied
    }

    fn note_lag(&self) {
        if let Some(appended) = self.lag.passed(self.marks.dispatched.get()) {
            self.metrics.stages.dispatch.record(self.clock.tick().saturating_sub(appended), 1);
        }
    }

    /// Reads messages without waiting for the device; [`ReadError::Cold`] when that cannot be.
    pub fn read(
        &self,
        queue: &QueueRef,
        from: QueueOffset,
        limit: ReadLimit,
        filter: &Filter,
    ) -> Result<Read, ReadError> {
        read::read(self.source(Access::Cached), queue, from, limit, filter)
    }

    /// Reads messages on one of the store's reader threads, from the device where it has to be.
    pub fn read_cold(
        self: &Arc<Store>,
        queue: &QueueRef,
        from: QueueOffset,
        limit: ReadLimit,
        filter: &Filter,
    ) -> Answer<Read> {
        let (store, queue, filter) = (self.clone(), queue.clone(), filter.clone());
        self.metrics.cold_reads.add(1);
        let asked = self.clock.tick();
        self.readers.submit(move || {
            let read = read::read(store.source(Access::Device), &queue, from, limit, &filter);
            store.metrics.stages.cold_read.record(store.clock.tick().saturating_sub(asked), 1);
            read
        })
    }

    fn source(&self, access: Access) -> read::Source<'_> {
        let Store { log, views, digests, metrics, .. } = self;
        read::Source {
            log,
            views,
            digests,
            expired: &metrics.expired,
            looks: &metrics.looks,
            now: self.clock.now(),
            access,
        }
    }

    /// True when the message at `from`, or the next one to come, is in the store's own memory.
    pub fn is_hot(&self, queue: &QueueRef, from: QueueOffset) -> bool {
        match self.entries(queue, from, 1).first() {
            Some(entry) => self.log.stages().find(entry.log.0).is_some(),
            None => true,
        }
    }

    /// The first offset that is still there.
    pub fn first_offset(&self, queue: &QueueRef) -> QueueOffset {
        queue.first()
    }

    /// One past the last offset that may be read.
    pub fn next_offset(&self, queue: &QueueRef) -> QueueOffset {
        queue.dispatched()
    }

    /// Up to `count` consume-queue entries from `from` on.
    pub fn entries(&self, queue: &QueueRef, from: QueueOffset, count: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.views.entries(queue, from, count, &mut entries);
        entries
    }

    /// The offset that belongs to a time. May wait for the device.
    pub fn offset_by_time(&self, queue: &QueueRef, time: Timestamp, boundary: Boundary) -> QueueOffset {
        let found = self.views.offset_by_time(queue, time, boundary, &mut |at| self.stored_at_log(at));
        let kept = queue.0.latest().filter(|_| found <= queue.dense_first());
        let Some(newest) = kept.and_then(Latest::newest) else { return found };
        // What is kept beyond its time is older than all the rest; where it is all there is, it has an end.
        let is_end = found == queue.dispatched();
        let is_past = is_end && self.stored_at_log(newest).is_some_and(|stored| stored < time);
        if is_past { found } else { found.min(queue.first()) }
    }

    /// When the message at an offset was stored; `None` when it is not there. May wait for the device.
    pub fn stored_at(&self, queue: &QueueRef, offset: QueueOffset) -> Option<Timestamp> {
        let entry = *self.entries(queue, offset, 1).first().filter(|entry| !entry.is_hole())?;
        self.stored_at_log(entry.log)
    }

    fn stored_at_log(&self, at: LogOffset) -> Option<Timestamp> {
        let bytes = self.record_at(at).ok().flatten()?;
        Record::parse(&bytes).ok().map(|record| record.stored_at())
    }

    /// The record that starts at `at`, if one does. May wait for the device.
    pub fn record_at(&self, at: LogOffset) -> Result<Option<bytes::Bytes>, ReadError> {
        self.record_by(at, Access::Device)
    }

    /// The record that starts at `at`; [`ReadError::Cold`] when that would have to wait for the device.
    pub fn record_now(&self, at: LogOffset) -> Result<Option<bytes::Bytes>, ReadError> {
        self.record_by(at, Access::Cached)
    }

    /// The record that starts at `at`, read on one of the store's threads when it is not in memory.
    pub async fn record(self: &Arc<Store>, at: LogOffset) -> Result<Option<bytes::Bytes>, ReadError> {
        match self.record_by(at, Access::Cached) {
            Err(ReadError::Cold) => self.query(move |store| store.record_at(at)).await,
            found => found,
        }
    }

    fn record_by(&self, at: LogOffset, access: Access) -> Result<Option<bytes::Bytes>, ReadError> {
        let is_inside = at.0 >= self.marks.start.get() && at.0 < self.marks.written.get();
        if !is_inside || self.marks.written.get() - at.0 < record::MIN_LEN as u64 {
            return Ok(None);
        }
        // An offset from outside may point into the middle of anything.
        let whole = |bytes: &[u8]| {
            let record = Record::parse(bytes).ok().filter(|record| record.log_offset() == at);
            record.map(|record| record.len())
        };
        if let Some(hot) = self.log.hot(at.0) {
            return Ok(whole(&hot).map(|len| hot.slice(..len)));
        }
        let head = match self.log.slice(at.0, record::MIN_LEN, access) {
            // Too near the end of a stage or a segment to be the start of a record.
            Err(ReadError::Damaged { .. }) => return Ok(None),
            other => other?,
        };
        let len = u32::from_be_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let is_length = (record::MIN_LEN..=record::MAX_LEN).contains(&len);
        if !is_length || at.0 + len as u64 > self.marks.written.get() {
            return Ok(None);
        }
        let bytes = match self.log.slice(at.0, len, access) {
            Err(ReadError::Damaged { .. }) => return Ok(None),
            other => other?,
        };
        Ok(whole(&bytes).map(|_| bytes))
    }
}

fn check_queue(draft: &Draft<'_>) {
    let key = draft.queue.key();
    assert!(
        key.queue == draft.message.queue && key.topic == *draft.message.topic,
        "a message for {key} names another queue"
    );
}
