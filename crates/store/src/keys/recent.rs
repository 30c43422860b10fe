// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The newest entries of the key index, in the order of the log, before a checkpoint seals them into a run.
//! They lie in blocks; a block that somebody looks for a key in gets a sieve first, which tells for nearly every
//! other key that it is not there. Nobody who adds entries pays for that.
//! In: entries. Out: those of a hash, and copies for a checkpoint.
//! Invariant: a sieve lets every hash of its block through.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use super::KeyEntry;

pub(super) const BLOCK: usize = 4096;
/// Blocks that are kept for new use. They are needed again at the next seal: memory that is given back and taken again
/// costs more than the index itself.
pub(super) const SPARE: usize = 128;
/// Words of a sieve: 16 bits for an entry.
const WORDS: usize = BLOCK * 16 / 64;

/// Entries that do not change any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    entries: Vec<KeyEntry>,
    sieve: OnceLock<Box<[u64]>>,
}

impl Block {
    /// The entries of a hash, newest first.
    pub(super) fn find(&self, hash: u64) -> impl Iterator<Item = &KeyEntry> {
        let (word, bits) = place(hash);
        let sieve = self.sieve.get_or_init(|| {
            let mut words = vec![0; WORDS];
            for entry in &self.entries {
                let (word, bits) = place(entry.hash);
                words[word] |= bits;
            }
            words.into()
        });
        let entries = if sieve[word] & bits == bits { &self.entries[..] } else { &[] };
        entries.iter().rev().filter(move |entry| entry.hash == hash)
    }
}

/// The word of a hash in a sieve, and its bits there.
fn place(hash: u64) -> (usize, u64) {
    let bit = |shift: u32| 1 << (hash >> shift & 63);
    ((hash >> 18) as usize % WORDS, bit(0) | bit(6) | bit(12))
}

#[derive(Default)]
pub(super) struct Recent {
    /// Full blocks, oldest first; the first may lack what is in a run already.
    pub(super) blocks: VecDeque<Arc<Block>>,
    pub(super) open: Vec<KeyEntry>,
    /// Empty blocks.
    spare: Vec<Vec<KeyEntry>>,
    /// Entries that the checkpoint in work has.
    pub(super) saved: usize,
}

impl Recent {
    pub(super) fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.entries.len()).sum::<usize>() + self.open.len()
    }

    pub(super) fn extend(&mut self, entries: impl Iterator<Item = KeyEntry>) {
        for entry in entries {
            if self.open.len() == BLOCK {
                let block = self.spare.pop().unwrap_or_default();
                let entries = std::mem::replace(&mut self.open, block);
                self.blocks.push_back(Arc::new(Block { entries, sieve: OnceLock::new() }));
                self.open.reserve_exact(BLOCK);
            }
            self.open.push(entry);
        }
    }

    /// Appends all but the oldest `from` entries to `out`.
    pub(super) fn since(&self, from: usize, out: &mut Vec<KeyEntry>) {
        let mut skip = from;
        out.reserve_exact(self.len() - from);
        for block in self.blocks.iter().map(|block| &block.entries[..]).chain([self.open.as_slice()]) {
            let skipped = skip.min(block.len());
            out.extend_from_slice(&block[skipped..]);
            skip -= skipped;
        }
    }

    pub(super) fn drop_oldest(&mut self, count: usize) {
        self.saved = self.saved.checked_sub(count).expect("only saved entries are sealed");
        let mut left = count;
        while let Some(block) = self.blocks.pop_front_if(|block| block.entries.len() <= left) {
            left -= block.entries.len();
            // A look-up may still go through it.
            if let Ok(Block { mut entries, .. }) = Arc::try_unwrap(block)
                && self.spare.len() < SPARE
            {
                entries.clear();
                self.spare.push(entries);
            }
        }
        match self.blocks.front_mut() {
            Some(first) => _ = Arc::make_mut(first).entries.drain(..left),
            None => _ = self.open.drain(..left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(range: std::ops::Range<u64>, hash: impl Fn(u64) -> u64) -> Vec<KeyEntry> {
        range.map(|log| KeyEntry { hash: hash(log), log, stored_at: 0 }).collect()
    }

    /// Any number of the oldest entries may go, with more arriving between: what is left is the rest, in order.
    #[test]
    fn what_is_sealed_leaves_memory_and_nothing_else_does() {
        let entries = |range| entries(range, |log| log % 7);
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

    #[test]
    fn a_sieve_hides_nothing_and_spares_nearly_all() {
        let mut rng = stdx::Rng::new(3);
        let hashes: Vec<u64> = (0..BLOCK).map(|_| rng.next()).collect();
        let block =
            Block { entries: entries(0..BLOCK as u64, |log| hashes[log as usize]), sieve: OnceLock::new() };
        for (log, hash) in hashes.iter().enumerate() {
            assert_eq!(block.find(*hash).map(|entry| entry.log).collect::<Vec<_>>(), [log as u64]);
        }
        let sieve = block.sieve.get().expect("it was made by the first look-up");
        let is_let_through = |hash| {
            let (word, bits) = place(hash);
            sieve[word] & bits == bits
        };
        let through = (0..100_000).filter(|_| is_let_through(rng.next())).count();
        assert!(through < 2000, "{through} of 100,000 other hashes pass the sieve");
        // The newest of one hash comes first.
        let twice = Block { entries: entries(0..3, |_| 5), sieve: OnceLock::new() };
        assert_eq!(twice.find(5).map(|entry| entry.log).collect::<Vec<_>>(), [2, 1, 0]);
    }
}
