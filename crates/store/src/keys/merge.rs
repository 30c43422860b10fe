// SPDX-License-Identifier: Apache-2.0
//! Makes one run of many. Every look-up reads a block of every run, so their number has to stay small: runs of about
//! one size that lie one behind the other become one as soon as there are enough of them, so that each entry is
//! written a few times in all, however many there are.
//! Called by the checkpoint, through `Keys`. Invariant: what is merged is one stretch of the log without a gap, so
//! that runs still follow one another.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::KeyEntry;
use super::run::{COUNT_MAX, Head, Run};
use crate::disk::Disk;
use crate::views::ViewError;

/// So many runs of one size become one.
const TOGETHER: usize = 12;

/// Which runs to merge, of which `counts` says how many entries they have, oldest first, where they can be merged. The
/// smallest have `unit`.
pub(super) fn choose(counts: &[Option<u64>], unit: u64) -> Option<Range<usize>> {
    let level = |count: u64| (count / unit.max(1)).checked_ilog(TOGETHER as u64).unwrap_or(0);
    let starts = 0..(counts.len() + 1).saturating_sub(TOGETHER);
    starts.map(|start| start..start + TOGETHER).find(|range| {
        let Some(runs) = counts[range.clone()].iter().copied().collect::<Option<Vec<u64>>>() else {
            return false;
        };
        let is_one_size = runs.iter().all(|count| level(*count) == level(runs[0]));
        is_one_size && runs.iter().sum::<u64>() <= u64::from(COUNT_MAX)
    })
}

/// Writes the run that holds what `runs` hold. It is lasting once its directory is synced.
pub(super) fn merge(dir: &Path, disk: &Arc<dyn Disk>, id: u64, runs: &[Arc<Run>]) -> Result<Run, ViewError> {
    let heads = runs.iter().map(|run| run.head());
    let head = heads.reduce(Head::and).expect("something is merged");
    let mut sources = runs.iter().map(|run| run.entries(disk)).collect::<Result<Vec<_>, _>>()?;
    // The next of each, the first in the order of a run on top.
    let mut next = BinaryHeap::with_capacity(sources.len());
    let key = |entry: &KeyEntry| (entry.hash, Reverse(entry.log), entry.stored_at);
    for (source, entries) in sources.iter_mut().enumerate() {
        if let Some(entry) = entries.next().transpose()? {
            next.push(Reverse((key(&entry), source)));
        }
    }
    let entries = std::iter::from_fn(|| {
        let mut top = next.peek_mut()?;
        let Reverse(((hash, Reverse(log), stored_at), source)) = *top;
        match sources[source].next() {
            Some(Ok(entry)) => *top = Reverse((key(&entry), source)),
            Some(Err(error)) => return Some(Err(error)),
            None => _ = std::collections::binary_heap::PeekMut::pop(top),
        }
        Some(Ok(KeyEntry { hash, log, stored_at }))
    });
    Run::write(dir, disk, id, head, entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;

    #[test]
    fn as_many_of_one_size_become_one() {
        let all = |count: u64, runs| vec![Some(count); runs];
        assert_eq!(choose(&[], 8), None);
        assert_eq!(choose(&all(8, 11), 8), None);
        assert_eq!(choose(&all(8, 12), 8), Some(0..12));
        // A large one before them stays, as do those behind.
        assert_eq!(choose(&[all(100, 1), all(95, 13)].concat(), 8), Some(1..13));
        assert_eq!(choose(&[all(95, 6), all(100, 1), all(8, 11)].concat(), 8), None);
        // One of an early version is between them.
        assert_eq!(choose(&[all(8, 11), vec![None], all(8, 12)].concat(), 8), Some(12..24));
        // Together they would be too many.
        assert_eq!(choose(&all(u64::from(COUNT_MAX / 8), 12), 8), None);
    }

    #[test]
    fn a_merged_run_holds_the_same_in_the_same_order() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
        let dir = Path::new("/keys");
        disk.create_dir(dir).unwrap();
        let mut rng = stdx::Rng::new(5);
        let (mut runs, mut all) = (Vec::new(), Vec::new());
        for id in 0..12u64 {
            let mut entries: Vec<KeyEntry> = (0..700)
                .map(|at| KeyEntry {
                    hash: (rng.next() % 900) << 40,
                    log: id * 1000 + at,
                    stored_at: (1_000_000 + id * 7_300 + at) as i64,
                })
                .collect();
            all.extend(entries.iter().map(|entry| (entry.hash, Reverse(entry.log))));
            runs.push(Arc::new(Run::create(dir, &disk, id, &mut entries).unwrap()));
        }
        all.sort_unstable();
        merge(dir, &disk, 99, &runs).unwrap();
        let merged = Run::open(dir, &disk, 99).unwrap();
        let mut found = Vec::new();
        let mut times = Vec::new();
        merged
            .each(&disk, &mut |entry| {
                found.push((entry.hash, Reverse(entry.log)));
                times.push((entry.log, entry.stored_at));
            })
            .unwrap();
        assert_eq!(found, all);
        for (log, stored_at) in times {
            let exact = (1_000_000 + log / 1000 * 7_300 + log % 1000) as i64;
            assert!((stored_at..stored_at + 1000).contains(&exact), "{log}: {stored_at} for {exact}");
        }
    }
}
