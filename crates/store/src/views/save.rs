// SPDX-License-Identifier: Apache-2.0
//! Saving the views. A checkpoint is taken in two steps: what changed is copied at one point of the log, under the
//! lock that dispatch takes; it is written once the log is durable to that point, without any lock of dispatch.
//! Invariants: entries are lasting before the checkpoint that names them, runs likewise; parts and runs that are given
//! up stay untouched until no lasting checkpoint names them; after a failure nothing is continued, the next attempt is a
//! full checkpoint in a new file.

use std::sync::Arc;

use protocol::names::LogOffset;

use super::{Applied, ViewError, Views};
use crate::checkpoint::item::{Commit, Item};
use crate::checkpoint::{self, CheckpointFile, FRAME_AIM};
use crate::disk::is_shortage;
use crate::keys::{KeyEntry, run};
use crate::queue::{Queue, QueueRef};
use crate::timer::Slot;
use crate::timer::pending::Change;
use crate::timer::restore::in_order;

/// The state of saving.
pub(super) struct Saver {
    /// The file that changes are added to.
    file: Option<CheckpointFile>,
    /// The file that holds the lasting checkpoint.
    lasting: Option<u64>,
    next_generation: u64,
    next_run: u64,
    /// The lasting checkpoint holds the log below this.
    pub(super) saved: LogOffset,
    /// Runs taken out of use whose files the lasting checkpoint may still name.
    pub(super) dropped_runs: Vec<u64>,
    /// Runs that stand for others, which no checkpoint names so far.
    merged_runs: Vec<(u64, Vec<u64>)>,
    /// A run cannot be read: look-ups say so, and nothing is merged until the next start.
    keeps_runs: bool,
    /// Arena files whose names are lasting.
    synced_files: usize,
    pending: Option<Pending>,
}

/// A checkpoint that was taken and is not written yet.
struct Pending {
    commit: Commit,
    frames: Vec<Vec<u8>>,
    /// The file to begin with it; otherwise it continues the current one.
    begins: Option<CheckpointFile>,
    sealed: Option<(u64, Vec<KeyEntry>)>,
    /// What changed among the messages that wait.
    timers: Vec<Change>,
    dropped_runs: usize,
    /// Parts of the arena that the checkpoint does not name any more.
    withheld: usize,
    arena_files: usize,
}

impl Saver {
    /// Goes on where `commit`, the last of `file`, left off.
    pub(super) fn new(file: Option<CheckpointFile>, next_generation: u64, commit: &Commit) -> Saver {
        Saver {
            lasting: file.as_ref().map(CheckpointFile::generation),
            file,
            next_generation,
            next_run: commit.next_run,
            saved: commit.upto,
            dropped_runs: Vec::new(),
            merged_runs: Vec::new(),
            keeps_runs: false,
            synced_files: commit.arena_files as usize,
            pending: None,
        }
    }

    /// Bytes of the checkpoint file, and of the full checkpoint it began with.
    pub(super) fn file_bytes(&self) -> (u64, u64) {
        self.file.as_ref().map_or((0, 0), |file| (file.len(), file.full_len()))
    }
}

/// Collects items into frames.
#[derive(Default)]
struct Frames {
    full: Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl Frames {
    fn push(&mut self, item: &Item<'_>) {
        item.encode(&mut self.open);
        if self.open.len() >= FRAME_AIM {
            self.full.push(std::mem::take(&mut self.open));
        }
    }

    /// All frames; the last, which may be empty, is for the commit.
    fn finish(mut self) -> Vec<Vec<u8>> {
        self.full.push(self.open);
        self.full
    }
}

impl Views {
    /// Saves the views as they are, once the log below `durable` covers them; until then it keeps what it took and
    /// writes it in a later call. Answers up to where the lasting checkpoint reaches. To be called every few seconds,
    /// from one thread, and before a close when all is durable. After an error of a full disk it may be called again.
    pub(crate) fn checkpoint(&self, durable: LogOffset) -> Result<LogOffset, ViewError> {
        let merged = self.merge_runs();
        let mut saver = self.saver.lock();
        let prepared = merged.and_then(|()| self.arena.prepare());
        let outcome = prepared.and_then(|()| self.save(&mut saver, durable));
        if outcome.is_err() {
            saver.file = None;
            saver.pending = None;
            CheckpointFile::abandon(&self.config.dir, &self.disk, saver.next_generation - 1);
        }
        outcome.map(|()| saver.saved)
    }

    /// Keeps the runs of the key index few. Without room on the disk they stay as they are. It may take seconds, in
    /// which whoever wants to know what the views take is not held up.
    fn merge_runs(&self) -> Result<(), ViewError> {
        let Some(range) = self.keys.mergeable(self.config.run_entries) else { return Ok(()) };
        let id = {
            let mut saver = self.saver.lock();
            if saver.keeps_runs {
                return Ok(());
            }
            saver.next_run += 1;
            saver.next_run - 1
        };
        match self.keys.merge(id, range) {
            Ok(gone) => {
                self.disk.sync_dir(&self.config.dir).map_err(ViewError::disk("sync", &self.config.dir))?;
                let mut saver = self.saver.lock();
                saver.dropped_runs.extend(&gone);
                saver.merged_runs.push((id, gone));
                Ok(())
            }
            Err(ViewError::Disk { source, .. }) if is_shortage(&source) => self.remove_file(&run::name(id)),
            Err(error @ ViewError::Damaged { .. }) => {
                tracing::error!(%error, "the runs of the key index are not merged");
                self.saver.lock().keeps_runs = true;
                self.remove_file(&run::name(id))
            }
            Err(error) => Err(error),
        }
    }

    fn save(&self, saver: &mut Saver, durable: LogOffset) -> Result<(), ViewError> {
        // Twice: what was taken earlier, then what came since.
        for _ in 0..2 {
            if saver.pending.is_none() {
                saver.pending = self.take(saver)?;
            }
            match saver.pending.take() {
                Some(pending) if pending.commit.upto <= durable => self.write(saver, pending)?,
                pending => {
                    saver.pending = pending;
                    break;
                }
            }
        }
        Ok(())
    }

    /// True when so much has changed since the last checkpoint that memory asks for one.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.keys.in_memory() >= 2 * self.config.run_entries
            || self.applied.lock().dirty.len() >= 1 << 17
            || self.timers.with(|pending| pending.changed()) >= 1 << 20
    }

    fn take(&self, saver: &mut Saver) -> Result<Option<Pending>, ViewError> {
        let mut begins = None;
        if self.wants_full(saver) {
            begins = Some(self.write_full(saver)?);
        }
        let generation = match (&begins, &saver.file) {
            (Some(file), _) | (None, Some(file)) => file.generation(),
            (None, None) => unreachable!("without a file a full checkpoint is wanted"),
        };
        let mut applied = self.applied.lock();
        let is_idle = applied.dirty.is_empty() && applied.dropped.is_empty() && applied.upto == saver.saved;
        if begins.is_none() && is_idle && saver.dropped_runs.is_empty() {
            return Ok(None);
        }
        let mut frames = Frames::default();
        self.take_queues(&mut applied, generation, &mut frames);
        for fact in self.facts.images() {
            frames.push(&Item::Fact(fact));
        }
        let (topics, timers) = self.timers.with(|pending| pending.take_changes(begins.is_some()));
        push_topics(&topics, &mut frames);
        let sealed = self.take_keys(saver, begins.is_some(), &mut frames);
        let arena_files = self.arena.usage().files;
        let commit = Commit {
            upto: applied.upto,
            first: applied.first,
            arena_files: arena_files as u64,
            next_slot: applied.next_slot,
            next_run: saver.next_run,
        };
        frames.push(&Item::Commit(commit));
        Ok(Some(Pending {
            commit,
            frames: frames.finish(),
            begins,
            sealed,
            timers,
            dropped_runs: saver.dropped_runs.len(),
            withheld: self.arena.withheld(),
            arena_files,
        }))
    }

    fn take_queues(&self, applied: &mut Applied, generation: u64, frames: &mut Frames) {
        for slot in std::mem::take(&mut applied.dropped) {
            frames.push(&Item::DropQueue { slot });
        }
        let dirty = std::mem::take(&mut applied.dirty);
        for queue in &dirty {
            push_queue(&queue.0, generation, false, &mut applied.next_slot, frames);
        }
        // The next changes will be about as many.
        applied.dirty.reserve(dirty.len().min(1 << 16));
    }

    fn take_keys(&self, saver: &mut Saver, full: bool, frames: &mut Frames) -> Option<(u64, Vec<KeyEntry>)> {
        let merged = std::mem::take(&mut saver.merged_runs);
        if full {
            self.keys.runs().iter().for_each(|run| frames.push(&Item::Run { id: run.id }));
        } else {
            merged.into_iter().for_each(|(id, from)| frames.push(&Item::MergedRun { id, from }));
            saver.dropped_runs.iter().for_each(|&id| frames.push(&Item::DropRun { id }));
        }
        let image = self.keys.image(full, self.config.run_entries);
        for entries in image.entries.chunks(4096) {
            frames.push(&Item::Keys(entries.to_vec()));
        }
        let entries = image.sealed?;
        let id = saver.next_run;
        saver.next_run += 1;
        frames.push(&Item::Run { id });
        Some((id, entries))
    }

    /// A full checkpoint begins a new file: when there is none, when changes outweigh it, or when much of the arena
    /// waits to be released.
    fn wants_full(&self, saver: &Saver) -> bool {
        let Some(file) = &saver.file else { return true };
        let usage = self.arena.usage();
        let changes = file.len() - file.full_len();
        changes > self.config.delta_bytes.max(file.full_len())
            || usage.withheld_bytes > (usage.bytes / 4).max(self.config.delta_bytes)
    }

    /// Writes every queue and fact into a new file, a few at a time so that dispatch goes on between; what changes
    /// meanwhile is taken again at the end.
    fn write_full(&self, saver: &mut Saver) -> Result<CheckpointFile, ViewError> {
        const STRIDE: usize = 1024;
        let generation = saver.next_generation;
        saver.next_generation += 1;
        let mut file = CheckpointFile::create(&self.config.dir, &self.disk, generation, self.arena.shape())?;
        let mut outcome = Ok(());
        let mut batch = Vec::with_capacity(STRIDE);
        let mut flush = |batch: &mut Vec<QueueRef>| {
            if outcome.is_ok() {
                outcome = self.write_queues(&mut file, batch);
            }
            batch.clear();
        };
        self.queues.each_topic(|topic| {
            batch.extend(topic.queues());
            if batch.len() >= STRIDE {
                flush(&mut batch);
            }
        });
        flush(&mut batch);
        outcome?;
        let mut after = None;
        loop {
            let page = self.facts.page(after, STRIDE);
            let Some(last) = page.last() else { break };
            after = Some((last.kind.0, last.key.clone()));
            let mut frames = Frames::default();
            page.into_iter().for_each(|fact| frames.push(&Item::Fact(fact)));
            frames.finish().iter().try_for_each(|frame| file.add(frame))?;
        }
        self.write_timers(&mut file)?;
        Ok(file)
    }

    fn write_timers(&self, file: &mut CheckpointFile) -> Result<(), ViewError> {
        let mut frames = Frames::default();
        push_topics(&self.timers.with(|pending| pending.all_topics()), &mut frames);
        let mut next = Some(Slot::FIRST);
        while let Some(from) = next {
            let page = self.timers.with(|pending| pending.free_page(from, TIMERS_EACH));
            next = page.next;
            let waits = |(slot, topic)| Change { slot, topic: Some(topic) };
            if !page.found.is_empty() {
                frames.push(&Item::Timers(page.found.into_iter().map(waits).collect()));
            }
            let frames = std::mem::take(&mut frames).finish();
            frames.iter().filter(|frame| !frame.is_empty()).try_for_each(|frame| file.add(frame))?;
        }
        Ok(())
    }

    fn write_queues(&self, file: &mut CheckpointFile, queues: &[QueueRef]) -> Result<(), ViewError> {
        let mut frames = Frames::default();
        let generation = file.generation();
        {
            let mut applied = self.applied.lock();
            for queue in queues {
                push_queue(&queue.0, generation, true, &mut applied.next_slot, &mut frames);
            }
        }
        frames.finish().iter().try_for_each(|frame| file.add(frame))
    }

    fn write(&self, saver: &mut Saver, pending: Pending) -> Result<(), ViewError> {
        let dir = &self.config.dir;
        self.arena.sync()?;
        let sealed = match pending.sealed {
            Some((id, entries)) => {
                let count = entries.len();
                Some((self.keys.seal(id, entries)?, count))
            }
            None => None,
        };
        if sealed.is_some() || pending.begins.is_some() || pending.arena_files != saver.synced_files {
            self.disk.sync_dir(dir).map_err(ViewError::disk("sync", dir))?;
            saver.synced_files = pending.arena_files;
        }
        let is_full = pending.begins.is_some();
        let mut file = match pending.begins {
            Some(file) => file,
            None => saver.file.take().expect("a checkpoint that begins no file continues one"),
        };
        let (last, others) = pending.frames.split_last().expect("frames end with the commit");
        others.iter().try_for_each(|frame| file.add(frame))?;
        write_changes(&mut file, pending.timers)?;
        file.commit(last)?;
        saver.saved = pending.commit.upto;
        if let Some((run, count)) = sealed {
            self.keys.adopt(run, count);
        }
        let old = saver.lasting.replace(file.generation());
        saver.file = Some(file);
        for id in saver.dropped_runs.drain(..pending.dropped_runs) {
            self.remove_file(&run::name(id))?;
        }
        if is_full {
            self.arena.release(pending.withheld);
            if let Some(old) = old {
                self.remove_file(&checkpoint::name(old))?;
            }
        }
        Ok(())
    }

    fn remove_file(&self, name: &str) -> Result<(), ViewError> {
        let path = self.config.dir.join(name);
        match self.disk.remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ViewError::disk("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Slots that are written together.
const TIMERS_EACH: usize = 4096;

/// In due order, as which they are the smallest and the soonest taken over.
fn write_changes(file: &mut CheckpointFile, changes: Vec<Change>) -> Result<(), ViewError> {
    let mut frames = Frames::default();
    in_order(changes).chunks(TIMERS_EACH).for_each(|changes| frames.push(&Item::Timers(changes.to_vec())));
    frames.finish().iter().filter(|frame| !frame.is_empty()).try_for_each(|frame| file.add(frame))
}

fn push_topics(topics: &[(u32, Arc<str>)], frames: &mut Frames) {
    for (number, topic) in topics {
        frames.push(&Item::TimerTopic { number: *number, topic });
    }
}

fn push_queue(queue: &Queue, generation: u64, unknown_only: bool, next_slot: &mut u64, frames: &mut Frames) {
    let slot = || {
        *next_slot += 1;
        *next_slot - 1
    };
    if let Some((image, is_new)) = queue.image(generation, unknown_only, slot) {
        if is_new {
            let key = queue.key();
            frames.push(&Item::Queue { slot: image.slot, topic: &key.topic, queue: key.queue.0 });
        }
        frames.push(&Item::State(image));
    }
}
