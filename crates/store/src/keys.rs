// SPDX-License-Identifier: Apache-2.0
//! The key index: from the hash of a topic and a key to the records that carry it. Newest entries lie in memory in
//! the order of the log; the checkpoint seals them into sorted runs. Answers are candidates: whoever asks compares
//! the record, so a collision never shows.
//! Invariants: an entry is in memory or in exactly one run, and leaves memory only once its run is in a lasting
//! checkpoint; look-ups go from the newest entry to the oldest.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use protocol::names::LogOffset;
use stdx::Timestamp;

use crate::disk::Disk;
use crate::views::ViewError;

pub(crate) mod hash;
pub(crate) mod run;

use run::Run;

const BLOCK: usize = 4096;
/// Blocks that are kept for new use. They and `scratch` are needed again at the next seal: memory that is given back and
/// taken again costs more than the index itself.
const SPARE: usize = 96;
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

#[derive(Default)]
struct Recent {
    /// Full blocks, oldest first; the first may lack what is in a run already.
    blocks: VecDeque<Arc<Vec<KeyEntry>>>,
    open: Vec<KeyEntry>,
    /// Empty blocks.
    spare: Vec<Vec<KeyEntry>>,
    /// Entries that the checkpoint in work has.
    saved: usize,
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
        let memory = open.iter().rev().chain(blocks.iter().rev().flat_map(|block| block.iter().rev()));
        let mut last = None;
        for entry in memory.filter(|entry| entry.hash == hash) {
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

impl Recent {
    fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.len()).sum::<usize>() + self.open.len()
    }

    fn extend(&mut self, entries: impl Iterator<Item = KeyEntry>) {
        for entry in entries {
            if self.open.len() == BLOCK {
                let block = self.spare.pop().unwrap_or_default();
                self.blocks.push_back(Arc::new(std::mem::replace(&mut self.open, block)));
                self.open.reserve_exact(BLOCK);
            }
            self.open.push(entry);
        }
    }

    /// Appends all but the oldest `from` entries to `out`.
    fn since(&self, from: usize, out: &mut Vec<KeyEntry>) {
        let mut skip = from;
        out.reserve(self.len() - from);
        for block in self.blocks.iter().map(|block| block.as_slice()).chain([self.open.as_slice()]) {
            let skipped = skip.min(block.len());
            out.extend_from_slice(&block[skipped..]);
            skip -= skipped;
        }
    }

    fn drop_oldest(&mut self, count: usize) {
        self.saved = self.saved.checked_sub(count).expect("only saved entries are sealed");
        let mut left = count;
        while let Some(block) = self.blocks.pop_front_if(|block| block.len() <= left) {
            left -= block.len();
            // A look-up may still go through it.
            if let Ok(mut block) = Arc::try_unwrap(block)
                && self.spare.len() < SPARE
            {
                block.clear();
                self.spare.push(block);
            }
        }
        match self.blocks.front_mut() {
            Some(first) => _ = Arc::make_mut(first).drain(..left),
            None => _ = self.open.drain(..left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any number of the oldest entries may go, with more arriving between: what is left is the rest, in order.
    #[test]
    fn what_is_sealed_leaves_memory_and_nothing_else_does() {
        let entries = |range: std::ops::Range<u64>| {
            range.map(|log| KeyEntry { hash: log % 7, log, stored_at: 0 }).collect::<Vec<_>>()
        };
        let mut recent = Recent::default();
        let (mut first, mut next) = (0, 0);
        for (pushed, dropped) in
            [(10_000, 1), (1, BLOCK - 1), (9000, BLOCK), (0, 10_000), (5000, 0), (7000, 12_000)]
        {
            recent.extend(entries(next..next + pushed).into_iter());
            next += pushed;
            recent.saved = recent.len();
            let dropped = dropped.min(recent.len());
            recent.drop_oldest(dropped);
            first += dropped as u64;
            let mut left = Vec::new();
            recent.since(0, &mut left);
            assert_eq!(left, entries(first..next), "{dropped} of {next} dropped");
            assert_eq!((recent.len(), recent.saved), (left.len(), left.len()));
        }
        assert!(!recent.spare.is_empty(), "blocks are used again");
    }
}
