// SPDX-License-Identifier: Apache-2.0
//! What keeps a store going: each step does a bounded piece of work once, and a loop runs it. Tests and the simulator
//! call the steps themselves.
//!
//! Invariants: whoever meets a failed write or sync poisons the store; a full disk is waited out; segments go only
//! below the point that a lasting checkpoint of the views covers, after everything they alone proved was written
//! again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::names::LogOffset;
use protocol::record::Record;
use stdx::{Stop, Threads, Timestamp};

use super::{Store, open};
use crate::config::{Durability, RetentionConfig};
use crate::disk::{Space, is_shortage};
use crate::error::AppendError;
use crate::retention::{self, Decision, Oldest};
use crate::stage;
use crate::views::{ViewError, ViewsUsage};

/// How much one drain step writes.
const DRAIN_MAX: u64 = 1 << 20;
/// How long the drain lets bytes gather before it writes them.
const GATHER: Duration = Duration::from_millis(5);
/// How long an idle loop waits before it looks again.
const IDLE: Duration = Duration::from_millis(500);
/// How often retention looks at the disk.
const LOOK: Duration = Duration::from_secs(1);

/// How often what is not the latest of its key is looked for.
const COMPACT: Duration = Duration::from_secs(60);

/// What the upkeep loop remembers.
pub(super) struct Upkeep {
    checkpoint_at: Timestamp,
    /// The lasting checkpoint of the views holds the log below this.
    saved: u64,
    /// When the last record of the oldest segment was stored, once it was asked.
    oldest: Option<(u64, Timestamp)>,
    is_too_full: bool,
    /// No half message was written again behind this. A segment goes only when the checkpoint is there: a replay that
    /// began before it would not know which of them had been decided.
    moved_to: u64,
    /// Up to here latest messages of keys may have been written again.
    pub(super) kept_to: u64,
}

impl Upkeep {
    pub(super) fn new(now: Timestamp, saved: u64, written: u64) -> Upkeep {
        Upkeep {
            checkpoint_at: now,
            saved,
            oldest: None,
            is_too_full: false,
            moved_to: written,
            kept_to: written,
        }
    }
}

/// What a store takes and where it stands.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The first byte that is kept, and one past the last.
    pub log: (LogOffset, LogOffset),
    /// Bytes of segment files, room taken ahead included.
    pub log_bytes: u64,
    /// Segment files.
    pub segments: usize,
    /// Bytes of memory in stages.
    pub stage_memory: u64,
    /// Where the stages live.
    pub stage_dir: PathBuf,
    /// The disk of the data directory.
    pub disk: Option<Space>,
    /// What the views take.
    pub views: ViewsUsage,
}

impl Store {
    /// Moves some appended bytes to the log's files; returns how many.
    pub fn drain_step(&self) -> u64 {
        let outcome = self.drain.step(&self.log, &self.marks, &self.health, self.watch(), DRAIN_MAX);
        self.met(outcome).unwrap_or(0)
    }

    /// Makes the next stage and the next segment ahead of their need.
    pub fn prepare_step(&self) {
        if self.health.poisoned().is_some() {
            return;
        }
        if let Err(e) = self.log.stages().prepare(self.past_stages()) {
            tracing::debug!(error = %e, "no stage is made ahead");
        }
        match self.log.prepare_segment(self.marks.written.get()) {
            // There may be room again before the segment is needed.
            Err(e) if is_shortage(&e) => {}
            outcome => _ = self.met(outcome),
        }
    }

    /// Makes everything lasting that was moved to the log's files. Returns true when there was something.
    pub fn flush_step(&self) -> bool {
        if self.health.poisoned().is_some() {
            return false;
        }
        let flushed = self.met(self.flush.step(&self.log, &self.marks, self.watch())).unwrap_or(false);
        self.metrics.flushes.add(flushed.into());
        flushed
    }

    /// Saves the views when it is due, or when told to, so that the next open has little to replay.
    pub fn checkpoint_step(&self, force: bool) {
        let mut upkeep = self.upkeep.lock();
        let now = self.clock.now();
        let behind = self.marks.dispatched.get().saturating_sub(upkeep.saved);
        let is_due = behind >= self.config.checkpoint_bytes
            || (behind > 0 && now.since(upkeep.checkpoint_at) >= self.config.checkpoint_interval)
            || self.views.wants_checkpoint();
        if self.health.poisoned().is_some() || !(is_due || force) {
            return;
        }
        let begun = self.clock.tick();
        // The views note what they hold now; it is saved once the log below it is lasting.
        if !self.save_views(&mut upkeep, now) {
            return;
        }
        let wanted = self.marks.dispatched.get();
        while self.marks.drained.get() < wanted && self.drain_step() > 0 {}
        self.flush_step();
        self.save_views(&mut upkeep, now);
        self.metrics.checkpoints.add(1);
        self.metrics.stages.checkpoint.record(self.clock.tick().saturating_sub(begun), 1);
    }

    /// Does the reads that wait for a reader thread, for those who run no threads; returns how many.
    pub fn reader_step(&self) -> usize {
        self.readers.step()
    }

    /// Saves what the views noted earlier, if the log allows it, and has them note what they hold now.
    fn save_views(&self, upkeep: &mut Upkeep, now: Timestamp) -> bool {
        if self.health.poisoned().is_some() {
            return false;
        }
        match self.views.checkpoint(LogOffset(self.marks.durable.get())) {
            Ok(saved) => (upkeep.saved, upkeep.checkpoint_at) = (saved.0, now),
            Err(ViewError::Disk { source, .. }) if is_shortage(&source) => {
                self.health.set_full(Some(source.to_string()));
                return false;
            }
            Err(e) => {
                self.poison(&e.to_string());
                return false;
            }
        }
        true
    }

    /// Below this offset every consumer has read everything.
    pub fn set_unread_floor(&self, floor: LogOffset) {
        self.unread_floor.store(floor.0, Ordering::Release);
    }

    /// Has `owed` asked before a segment goes because of its age: it stays while messages in it are owed, those that wait for
    /// a delay level among them. Whoever asks for it last counts. It is asked without a lock that it could want.
    pub fn keep_owed(&self, owed: impl Fn() -> LogOffset + Send + Sync + 'static) {
        *self.owed.lock() = Some(Arc::new(owed));
    }

    fn is_owed(&self, end: u64) -> bool {
        let owed = self.owed.lock().clone();
        owed.is_some_and(|owed| owed().0 < end)
    }

    /// Looks at the disk; refuses or takes appends again, and removes at most one segment. Returns true when it did.
    pub fn retain_step(&self) -> bool {
        self.retain(&self.config.retention)
    }

    /// Removes at most one segment whose time is over, whatever the hour is: an operator asks for it.
    pub fn retain_on_demand(&self) -> bool {
        self.retain(&RetentionConfig { delete_when: Vec::new(), ..self.config.retention.clone() })
    }

    fn retain(&self, rules: &RetentionConfig) -> bool {
        if self.health.poisoned().is_some() {
            return false;
        }
        let mut upkeep = self.upkeep.lock();
        let Ok(space) = self.disk.space(&self.config.dir) else { return false };
        self.judge_room(&mut upkeep, space);
        let Some(oldest) = self.oldest(&mut upkeep) else { return false };
        let floor = self.unread_floor.load(Ordering::Acquire);
        let now = self.clock.now();
        match retention::decide(rules, now, space.used_ratio(), oldest, floor) {
            Decision::Keep | Decision::Unread => false,
            Decision::Expired | Decision::MakeRoom if oldest.end > upkeep.saved => false,
            Decision::Expired if self.is_owed(oldest.end) => false,
            Decision::Expired | Decision::MakeRoom => {
                self.carry_timers(oldest.end)
                    && self.latest_are_behind(&mut upkeep, oldest.end)
                    && self.watch().time(
                        &self.metrics.stages.remove,
                        || self.remove_oldest(&mut upkeep, oldest.end),
                        |removed| *removed,
                    )
            }
        }
    }

    fn judge_room(&self, upkeep: &mut Upkeep, space: Space) {
        upkeep.is_too_full =
            retention::refuses(&self.config.retention, space.used_ratio(), upkeep.is_too_full);
        if upkeep.is_too_full {
            let used = space.used_ratio() * 100.0;
            self.health.set_full(Some(format!("{used:.1} % of {} are used", stdx::ByteSize(space.total))));
        } else if self.health.is_full() && !self.is_stuck.load(Ordering::Acquire) {
            // Full for want of room for a segment: try again to take it. While dispatch has no room for what is stored,
            // nothing more is taken: nobody would see it.
            if self.log.prepare_segment(self.marks.written.get()).is_ok() {
                self.health.set_full(None);
            }
        }
    }

    fn oldest(&self, upkeep: &mut Upkeep) -> Option<Oldest> {
        let segments = self.log.segments();
        let first = segments.first()?;
        let is_active = first.end() > self.marks.dispatched.get() || segments.len() < 2;
        let last_stored = match upkeep.oldest {
            Some((base, stored)) if base == first.base => stored,
            // The first record behind it is hardly younger than its last one.
            _ if is_active => self.clock.now(),
            _ => {
                let stored = self.stored_at_or_after(first.end())?;
                upkeep.oldest = Some((first.base, stored));
                stored
            }
        };
        Some(Oldest { end: first.end(), last_stored, is_active })
    }

    fn stored_at_or_after(&self, base: u64) -> Option<Timestamp> {
        if base == self.marks.written.get() {
            return Some(self.clock.now());
        }
        let bytes = self.record_at(LogOffset(base)).ok()??;
        Record::parse(&bytes).ok().map(|record| record.stored_at())
    }

    /// Writes again what only the oldest segment proves, then removes it.
    fn remove_oldest(&self, upkeep: &mut Upkeep, end: u64) -> bool {
        let mut tail = self.facts.lock();
        // The views know facts up to `dispatched`: none may be on its way.
        if self.marks.dispatched.get() < tail.end {
            return false;
        }
        let moved_all = self.halves_moved(end);
        if !moved_all {
            upkeep.moved_to = self.marks.written.get();
        }
        if !moved_all || upkeep.saved < upkeep.moved_to {
            return false;
        }
        let carried = self.views.carry(LogOffset(end));
        for changes in carried.chunks(CARRY) {
            match self.append_facts(changes, |at| self.views.put_facts_ahead(changes, at)) {
                Ok(appended) => tail.end = appended.end.0,
                Err(_) => return false,
            }
        }
        // What is not written again is proved by a later record: with Memory durability that one may be visible and
        // not lasting yet.
        let proved_to = tail.end.max(self.marks.dispatched.get());
        drop(tail);
        while self.marks.drained.get() < proved_to && self.drain_step() > 0 {}
        self.flush_step();
        if self.marks.durable.get() < proved_to {
            return false;
        }
        let removed = match self.met(self.log.remove_first()) {
            Ok(Some(start)) => start,
            Ok(None) | Err(_) => return false,
        };
        self.marks.advance_start(removed);
        self.views.retain(LogOffset(removed));
        self.metrics.segments_removed.add(1);
        upkeep.oldest = None;
        tracing::info!(start = removed, "a segment was removed");
        true
    }

    /// Passes an outcome of the disk on. A full disk refuses appends for now, any other failure for ever.
    pub(super) fn met<T>(&self, outcome: io::Result<T>) -> Result<T, AppendError> {
        outcome.map_err(|e| {
            if is_shortage(&e) {
                let why: Arc<str> = e.to_string().into();
                self.health.set_full(Some(why.to_string()));
                return AppendError::DiskFull { why };
            }
            let cause = e.to_string();
            self.poison(&cause);
            AppendError::Poisoned(cause.into())
        })
    }

    pub(super) fn poison(&self, cause: &str) {
        if self.health.poison(cause) {
            self.marks.close();
        }
    }

    /// Starts the loops. The dispatch loop is the caller's.
    pub fn start(self: &Arc<Store>, threads: &mut Threads) -> io::Result<()> {
        let store = self.clone();
        threads.spawn("store-drain", move |stop| store.drain_loop(&stop))?;
        let store = self.clone();
        threads.spawn("store-flush", move |stop| store.flush_loop(&stop))?;
        let store = self.clone();
        threads.spawn("store-upkeep", move |stop| store.upkeep_loop(&stop))?;
        for number in 0..self.config.readers {
            let store = self.clone();
            threads.spawn(&format!("store-read-{number}"), move |stop| store.readers.run(&stop))?;
        }
        Ok(())
    }

    fn drain_loop(&self, stop: &Stop) {
        while !stop.is_set() {
            let drained = self.drain_step();
            self.prepare_step();
            let is_behind = drained >= DRAIN_MAX && self.health.poisoned().is_none();
            if is_behind {
                continue;
            }
            let seen = self.marks.drained.get();
            let is_idle = seen == self.marks.written.get();
            if is_idle {
                self.marks.written.wait_past(seen, IDLE);
            }
            stop.wait(if self.health.poisoned().is_some() { IDLE } else { GATHER });
        }
    }

    fn flush_loop(&self, stop: &Stop) {
        while !stop.is_set() {
            match self.marks.durability() {
                Durability::Memory => {
                    self.flush_step();
                    stop.wait(self.config.flush_interval);
                }
                Durability::Disk => {
                    let seen = self.marks.durable.get();
                    if self.health.poisoned().is_some() {
                        stop.wait(IDLE);
                    } else if self.marks.written.wait_past(seen, IDLE) > seen {
                        while self.drain_step() >= DRAIN_MAX {}
                        self.flush_step();
                    }
                }
            }
        }
    }

    fn upkeep_loop(&self, stop: &Stop) {
        let (mut looked_at, mut compacted_at) = (Timestamp(0), Timestamp(0));
        while !stop.wait(self.config.retention.pace.min(LOOK)) {
            self.checkpoint_step(false);
            let now = self.clock.now();
            if now.since(compacted_at) >= COMPACT.min(self.config.compact_after) {
                self.compact_step();
                compacted_at = now;
            }
            if now.since(looked_at) >= LOOK {
                // One after another, at this loop's pace.
                if !self.retain_step() {
                    looked_at = now;
                }
            }
        }
    }

    /// What the store takes and where it stands. Visits every queue: not for a hot path.
    pub fn usage(&self) -> Usage {
        let segments = self.log.segments();
        Usage {
            log: (LogOffset(self.marks.start.get()), LogOffset(self.marks.written.get())),
            log_bytes: segments.iter().map(|segment| segment.size).sum(),
            segments: segments.len(),
            stage_memory: self.log.stages().memory(),
            stage_dir: self.home.lock().dir.clone(),
            disk: self.disk.space(&self.config.dir).ok(),
            views: self.views.usage(),
        }
    }

    /// Takes no further append, writes everything down lastingly, and leaves no stage behind. The loops are to be
    /// stopped before, and the last dispatch step done.
    pub fn close(&self) {
        if self.health.is_closed() {
            return;
        }
        self.health.close();
        self.readers.close();
        while self.drain_step() > 0 {}
        self.flush_step();
        self.checkpoint_step(true);
        self.marks.close();
        let is_whole = self.marks.durable.get() == self.marks.written.get();
        if is_whole && self.health.poisoned().is_none() {
            let mut home = self.home.lock();
            let disowned = home.disown(&*self.disk);
            if disowned.and_then(|()| stage::remove_all(&*self.disk, &home.dir)).is_ok() {
                open::remove_home(&*self.disk, &home.dir);
            }
        }
    }
}

/// Facts that are written again in one record.
const CARRY: usize = 256;
