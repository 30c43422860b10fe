// SPDX-License-Identifier: Apache-2.0
//! The key index: from the hash of a topic and a key to the records that carry it. Newest entries lie in memory in
//! the order of the log; the checkpoint seals them into sorted runs, and makes one of many small runs. Answers are
//! candidates: whoever asks compares the record, so a collision never shows.
//! Invariants: an entry is in memory or in exactly one run, and leaves memory only once its run is in a lasting
//! checkpoint; look-ups go from the newest entry to the oldest.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use protocol::names::LogOffset;
use stdx::Timestamp;

use crate::disk::Disk;
use crate::views::ViewError;

pub(crate) mod hash;
mod merge;
mod recent;
pub(crate) mod run;

use recent::{BLOCK, Recent, SPARE};
use run::Run;

/// Entries whose room is kept.
const SCRATCH: usize = SPARE * BLOCK;

/// One key of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyEntry {
    pub(crate) hash: u64,
    pub(crate) log: u64,
    pub(crate) stored_at: i64,
}

/// Store times that are asked for, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeRange {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

impl TimeRange {
    fn overlaps(&self, first: i64, last: i64) -> bool {
        first <= self.to.0 && self.from.0 <= last
    }
}

/// The key index.
pub(crate) struct Keys {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    recent: Mutex<Recent>,
    /// Oldest first.
    runs: RwLock<Vec<Arc<Run>>>,
    /// Room for the entries of the next run.
    scratch: Mutex<Vec<KeyEntry>>,
}

/// What a checkpoint takes of the index.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeysImage {
    /// When set, all of memory becomes a run and `entries` is empty.
    pub(crate) sealed: Option<Vec<KeyEntry>>,
    /// Entries to be written beside those the checkpoint has.
    pub(crate) entries: Vec<KeyEntry>,
}

impl Keys {
    pub(crate) fn new(dir: &Path, disk: &Arc<dyn Disk>) -> Keys {
        Keys {
            dir: dir.to_path_buf(),
            disk: disk.clone(),
            recent: Mutex::default(),
            runs: RwLock::default(),
            scratch: Mutex::default(),
        }
    }

    /// Adds the keys of one record, which lies behind all before.
    pub(crate) fn push(&self, entries: impl Iterator<Item = KeyEntry>) {
        self.recent.lock().extend(entries);
    }

    /// Takes over what a checkpoint holds.
    pub(crate) fn restore(&self, runs: &[u64], entries: Vec<KeyEntry>) -> Result<(), ViewError> {
        let opened = runs.iter().map(|&id| Run::open(&self.dir, &self.disk, id).map(Arc::new));
        *self.runs.write() = opened.collect::<Result<Vec<_>, _>>()?;
        let mut recent = self.recent.lock();
        recent.extend(entries.into_iter());
        recent.saved = recent.len();
        Ok(())
    }

    /// Visits candidates, newest first, until told to stop.
    pub(crate) fn visit(
        &self,
        hash: u64,
        range: TimeRange,
        visit: &mut dyn FnMut(LogOffset) -> ControlFlow<()>,
    ) -> Result<(), ViewError> {
        let (runs, blocks, open) = {
            // One moment for both: an entry may be on its way from memory to a run.
            let runs = self.runs.read();
            let recent = self.recent.lock();
            (runs.clone(), recent.blocks.clone(), recent.open.clone())
        };
        let open = open.iter().rev().filter(|entry| entry.hash == hash);
        let mut last = None;
        for entry in open.chain(blocks.iter().rev().flat_map(|block| block.find(hash))) {
            // A record that names a key twice is one candidate.
            let is_repeated = last.replace(entry.log) == Some(entry.log);
            if is_repeated || !range.overlaps(entry.stored_at, entry.stored_at) {
                continue;
            }
            if visit(LogOffset(entry.log)).is_break() {
                return Ok(());
            }
        }
        for run in runs.iter().rev() {
            if run.visit(&self.disk, hash, range, visit)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes what the checkpoint lacks: everything in memory when `full`; as a run when that is `seal_at` or more.
    pub(crate) fn image(&self, full: bool, seal_at: usize) -> KeysImage {
        let mut recent = self.recent.lock();
        let from = if full || recent.len() >= seal_at { 0 } else { recent.saved };
        let is_sealed = recent.len() >= seal_at && recent.len() > from;
        let mut entries = if is_sealed { std::mem::take(&mut *self.scratch.lock()) } else { Vec::new() };
        recent.since(from, &mut entries);
        recent.saved = recent.len();
        if is_sealed {
            KeysImage { sealed: Some(entries), entries: Vec::new() }
        } else {
            KeysImage { sealed: None, entries }
        }
    }

    /// Writes the run of an image; look-ups use it after [`Keys::adopt`].
    pub(crate) fn seal(&self, id: u64, mut entries: Vec<KeyEntry>) -> Result<Run, ViewError> {
        let run = Run::create(&self.dir, &self.disk, id, &mut entries)?;
        if entries.capacity() <= SCRATCH {
            entries.clear();
            *self.scratch.lock() = entries;
        }
        Ok(run)
    }

    /// Replaces the oldest `count` entries in memory by the run made of them.
    pub(crate) fn adopt(&self, run: Run, count: usize) {
        let mut runs = self.runs.write();
        self.recent.lock().drop_oldest(count);
        runs.push(Arc::new(run));
    }

    /// Runs that lie one behind the other and are to become one: a look-up reads from each run. `unit` is what a small
    /// run has.
    pub(crate) fn mergeable(&self, unit: usize) -> Option<Range<usize>> {
        let counts: Vec<Option<u64>> = self.runs.read().iter().map(|run| run.mergeable()).collect();
        merge::choose(&counts, unit as u64)
    }

    /// Makes them one run, `id`, which look-ups use at once; returns the numbers of those it stands for. Nobody else adds
    /// or takes away runs meanwhile: checkpoints and retention take turns.
    pub(crate) fn merge(&self, id: u64, range: Range<usize>) -> Result<Vec<u64>, ViewError> {
        let runs = self.runs()[range.clone()].to_vec();
        let merged = merge::merge(&self.dir, &self.disk, id, &runs)?;
        self.runs.write().splice(range, [Arc::new(merged)]);
        Ok(runs.iter().map(|run| run.id).collect())
    }

    /// Takes out the runs that point below `first` only, and returns their numbers.
    pub(crate) fn retain(&self, first: LogOffset) -> Vec<u64> {
        let mut runs = self.runs.write();
        let gone = runs.iter().filter(|run| run.log_last() < first).map(|run| run.id).collect();
        runs.retain(|run| run.log_last() >= first);
        gone
    }

    /// The runs, oldest first.
    pub(crate) fn runs(&self) -> Vec<Arc<Run>> {
        self.runs.read().clone()
    }

    /// Entries in memory.
    pub(crate) fn in_memory(&self) -> usize {
        self.recent.lock().len()
    }

    /// Visits every key of every record, each once, for comparison.
    pub(crate) fn each_once(&self, visit: &mut dyn FnMut(KeyEntry)) -> Result<(), ViewError> {
        let (runs, mut entries) = {
            let runs = self.runs.read();
            let mut entries = Vec::new();
            self.recent.lock().since(0, &mut entries);
            (runs.clone(), entries)
        };
        entries.sort_unstable();
        entries.dedup();
        entries.into_iter().for_each(&mut *visit);
        runs.iter().try_for_each(|run| run.each(&self.disk, visit))
    }
}
