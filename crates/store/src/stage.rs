// SPDX-License-Identifier: Apache-2.0
//! Stages: where appended records lie first, in memory that outlives the process. Taken by the sequencer, emptied
//! into segments by the drain, read by everyone who reads the tail of the log, found again by recovery.
//! Layout: `docs/format/stage.md`.
//!
//! Invariants: a stage holds one gapless piece of the log, within one segment, from `base` to `limit`, and records
//! never straddle stages; live stages are sorted by base and do not overlap; only the last one is written; a stage
//! is emptied for new use only when it is drained and nobody holds a lease of it.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::disk::{DIRECT_ALIGN, Disk, Tape, TapeWriter, is_shortage};

const MAGIC: u64 = u64::from_le_bytes(*b"KIRSTG02");
const NO_BASE: u64 = u64::MAX;

/// Tape and segment have the same bytes at the same place of a block, so that whole blocks can go to the device as they are.
const BLOCK: u64 = DIRECT_ALIGN as u64;

const WORD_MAGIC: usize = 1;
const WORD_BASE: usize = 2;
const WORD_DRAINED: usize = 3;
const WORD_BOOT: usize = 4;
const WORD_STORE: usize = 6;

/// Who may believe a stage: the store that wrote it, while the machine has not restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) boot: [u8; 16],
    pub(crate) store: [u8; 16],
}

/// One piece of the log in memory.
pub(crate) struct Stage {
    base: u64,
    number: u32,
    tape: Tape,
}

impl Stage {
    /// The log offset of its first byte.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// The log offset of the first place on the tape, below `base`: the same block of the segment as on the tape.
    fn origin(&self) -> u64 {
        self.base - self.base % BLOCK
    }

    /// One past its last byte that may be read.
    pub(crate) fn limit(&self) -> u64 {
        // What lies in front of the base is published with it, unless the process died between.
        self.base.max(self.origin() + self.tape.published() as u64)
    }

    pub(crate) fn tape(&self) -> &Tape {
        &self.tape
    }

    /// The bytes from `from` on, none when the stage ends there.
    pub(crate) fn bytes_from(&self, from: u64) -> &[u8] {
        self.tape.bytes().get(self.at(from)..).unwrap_or_default()
    }

    /// Turns a log offset into a place on the tape.
    pub(crate) fn at(&self, offset: u64) -> usize {
        usize::try_from(offset - self.origin()).expect("a stage is smaller than memory")
    }

    /// Notes for the next process that bytes below `to` are in the log's files.
    pub(crate) fn note_drained(&self, to: u64) {
        self.tape.set_word(WORD_DRAINED, to);
    }

    /// Where the previous process stood with handing over.
    pub(crate) fn drained(&self) -> u64 {
        self.tape.word(WORD_DRAINED).clamp(self.base, self.limit())
    }
}

/// All stages of a store.
pub(crate) struct Stages {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    owner: Owner,
    capacity: usize,
    live: RwLock<VecDeque<Arc<Stage>>>,
    pool: Mutex<Pool>,
    /// Held while stages are made or recycled, which takes too long to hold `pool`.
    making: Mutex<()>,
    pressed: AtomicBool,
}

struct Pool {
    spares: Vec<Spare>,
    /// Drained stages that readers still hold; they come back when the leases end.
    leased: Vec<Spare>,
    made: usize,
    next_number: u32,
    max: usize,
}

struct Spare {
    number: u32,
    tape: Tape,
}

impl Stages {
    /// Begins without stages. `dir` exists and belongs to this store.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        owner: Owner,
        capacity: usize,
        max: usize,
    ) -> Stages {
        let pool = Pool { spares: Vec::new(), leased: Vec::new(), made: 0, next_number: 0, max };
        Stages {
            disk,
            dir,
            owner,
            capacity,
            live: RwLock::new(VecDeque::with_capacity(2 * max)),
            pool: Mutex::new(pool),
            making: Mutex::new(()),
            pressed: AtomicBool::new(false),
        }
    }

    /// The most bytes that fit one stage.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Takes a prepared stage for the log from `base` on; `None` when none is prepared.
    /// Called under the append lock: no disk, no allocation.
    pub(crate) fn next(&self, base: u64) -> Option<(TapeWriter, Arc<Stage>)> {
        let spare = self.pool.lock().spares.pop()?;
        spare.tape.set_word(WORD_DRAINED, base);
        spare.tape.set_word(WORD_BASE, base);
        let mut writer = spare.tape.writer().expect("a spare tape has no writer yet");
        writer.write(&[0; BLOCK as usize][..(base % BLOCK) as usize]);
        writer.publish();
        let stage = Arc::new(Stage { base, number: spare.number, tape: spare.tape });
        let mut live = self.live.write();
        assert!(live.back().is_none_or(|last| last.limit() <= base), "stages are in log order");
        live.push_back(stage.clone());
        Some((writer, stage))
    }

    /// Makes sure that a spare stage is there. `Ok(false)` when all stages are in use.
    /// `drained` is the log offset below which stages are no longer needed.
    pub(crate) fn prepare(&self, drained: u64) -> io::Result<bool> {
        let _making = self.making.lock();
        let (has_spare, may_make, may_exceed, held_max) = {
            let mut pool = self.pool.lock();
            self.reclaim_leased(&mut pool);
            let held_max = (pool.max / 2).saturating_sub(pool.leased.len());
            (!pool.spares.is_empty(), pool.made < pool.max, pool.made < 2 * pool.max, held_max)
        };
        if has_spare || (may_make && self.make()?) {
            return Ok(true);
        }
        if let Some(spare) = self.recycle(drained) {
            self.pool.lock().spares.push(spare);
            return Ok(true);
        }
        // Readers hold half of the stages and all that is drained: writers get twice the memory before they feel it.
        if may_exceed && let Some(leased) = self.evict(drained, held_max) {
            self.pressed.store(true, Ordering::Relaxed);
            self.pool.lock().leased.push(leased);
            return self.make();
        }
        Ok(false)
    }

    fn reclaim_leased(&self, pool: &mut Pool) {
        for Spare { number, tape } in std::mem::take(&mut pool.leased) {
            match tape.recycle() {
                Ok(tape) => pool.spares.push(Spare { number, tape }),
                Err(tape) => pool.leased.push(Spare { number, tape }),
            }
        }
        self.pressed.store(!pool.leased.is_empty(), Ordering::Relaxed);
    }

    /// Makes one more stage; false when there is no room for it and we can live with what we have.
    fn make(&self) -> io::Result<bool> {
        let (number, made) = {
            let mut pool = self.pool.lock();
            pool.next_number += 1;
            (pool.next_number, pool.made)
        };
        let path = self.dir.join(file_name(number));
        let tape = match self.disk.create_tape(&path, self.capacity + BLOCK as usize) {
            Ok(tape) => tape,
            Err(e) => {
                // What there is of it would take its room for good.
                let _ = self.disk.remove(&path);
                if made < 2 || !is_shortage(&e) {
                    return Err(e);
                }
                if e.kind() == io::ErrorKind::StorageFull {
                    self.pool.lock().max = made;
                }
                return Ok(false);
            }
        };
        tape.set_word(WORD_BASE, NO_BASE);
        set_bytes(&tape, WORD_BOOT, self.owner.boot);
        set_bytes(&tape, WORD_STORE, self.owner.store);
        tape.set_word(WORD_MAGIC, MAGIC);
        let mut pool = self.pool.lock();
        pool.spares.push(Spare { number, tape });
        pool.made += 1;
        Ok(true)
    }

    /// Empties the oldest drained stage that nobody holds.
    fn recycle(&self, drained: u64) -> Option<Spare> {
        let mut live = self.live.write();
        for index in 0..live.len().saturating_sub(1) {
            if live[index].limit() > drained {
                return None;
            }
            let stage = live.remove(index).expect("the index is below the length");
            let number = stage.number;
            match Arc::try_unwrap(stage) {
                Ok(Stage { base, tape, .. }) => match tape.recycle() {
                    Ok(tape) => return Some(Spare { number, tape }),
                    Err(tape) => live.insert(index, Arc::new(Stage { base, number, tape })),
                },
                Err(stage) => live.insert(index, stage),
            }
        }
        None
    }

    /// Takes the oldest drained stage away from readers to come, though some still hold it, when at least `held` are
    /// drained; fewer are only held for the moment.
    fn evict(&self, drained: u64, held: usize) -> Option<Spare> {
        let mut live = self.live.write();
        let past = live.len().saturating_sub(1);
        let count = live.iter().take(past).take_while(|stage| stage.limit() <= drained).count();
        if count < held.max(1) {
            return None;
        }
        let stage = live.pop_front().expect("the front was there");
        Some(Spare { number: stage.number, tape: stage.tape.clone() })
    }

    /// The stage that holds the byte at `offset`.
    pub(crate) fn find(&self, offset: u64) -> Option<Arc<Stage>> {
        let live = self.live.read();
        let index = live.partition_point(|stage| stage.base <= offset).checked_sub(1)?;
        let stage = &live[index];
        (offset < stage.limit()).then(|| stage.clone())
    }

    /// The first stage with bytes at or after `offset`.
    pub(crate) fn from(&self, offset: u64) -> Option<Arc<Stage>> {
        let live = self.live.read();
        let index = live.partition_point(|stage| stage.limit() <= offset);
        live.get(index).cloned()
    }

    /// True while readers hold so much that new readers should copy rather than lease.
    pub(crate) fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// Bytes of memory in stages.
    pub(crate) fn memory(&self) -> u64 {
        (self.pool.lock().made * self.capacity) as u64
    }
}

fn file_name(number: u32) -> String {
    format!("stage-{number:04}")
}

fn set_bytes(tape: &Tape, word: usize, bytes: [u8; 16]) {
    let (low, high) = bytes.split_at(8);
    tape.set_word(word, u64::from_le_bytes(low.try_into().expect("eight bytes")));
    tape.set_word(word + 1, u64::from_le_bytes(high.try_into().expect("eight bytes")));
}

fn bytes_of(tape: &Tape, word: usize) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&tape.word(word).to_le_bytes());
    bytes[8..].copy_from_slice(&tape.word(word + 1).to_le_bytes());
    bytes
}

/// Finds the stages that an earlier process left in `dir` and that may be believed, in log order.
pub(crate) fn left_behind(disk: &dyn Disk, dir: &Path, owner: Owner) -> io::Result<Vec<Stage>> {
    let mut stages = Vec::new();
    for entry in files(disk, dir)? {
        let number = entry.strip_prefix("stage-").and_then(|text| text.parse().ok());
        // A file that is no tape was being made when its maker died: nothing is in it.
        let (Some(number), Ok(tape)) = (number, disk.open_tape(&dir.join(&entry))) else { continue };
        let base = tape.word(WORD_BASE);
        let is_ours = tape.word(WORD_MAGIC) == MAGIC
            && bytes_of(&tape, WORD_BOOT) == owner.boot
            && bytes_of(&tape, WORD_STORE) == owner.store;
        if is_ours && base != NO_BASE {
            stages.push(Stage { base, number, tape });
        }
    }
    stages.sort_by_key(Stage::base);
    Ok(stages)
}

/// Removes all stage files of `dir`.
pub(crate) fn remove_all(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    for name in files(disk, dir)? {
        disk.remove(&dir.join(name))?;
    }
    Ok(())
}

fn files(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<String>> {
    match disk.list(dir) {
        Ok(entries) => {
            Ok(entries.into_iter().map(|e| e.name).filter(|name| name.starts_with("stage-")).collect())
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FileDisk;

    const OWNER: Owner = Owner { boot: [1; 16], store: [2; 16] };

    fn stages(dir: &Path, max: usize) -> Stages {
        Stages::new(Arc::new(FileDisk), dir.to_owned(), OWNER, 8192, max)
    }

    #[test]
    fn the_pool_grows_recycles_and_waits_for_leases() {
        let dir = tempfile::tempdir().unwrap();
        let stages = stages(dir.path(), 2);
        assert!(stages.next(0).is_none());
        let mut base = 0;
        let mut held = Vec::new();
        for round in 0..4 {
            assert!(stages.prepare(base).unwrap(), "round {round}");
            let (mut writer, stage) = stages.next(base).unwrap();
            writer.write(&[round; 100]);
            writer.publish();
            held.push(stage.tape().lease(stage.at(base)..stage.at(base + 100)));
            base = stage.limit();
        }
        assert!(!stages.prepare(base).unwrap(), "twice the pool is held by readers");
        assert!(stages.is_pressed());
        assert!(stages.find(250).is_some());
        for (round, lease) in held.iter().enumerate() {
            assert_eq!(lease[..], [round as u8; 100]);
        }
        drop(held);
        assert!(stages.prepare(base).unwrap());
        assert!(!stages.is_pressed());
        assert!(stages.find(50).is_none());
    }

    #[test]
    fn an_undrained_stage_is_never_reused() {
        let dir = tempfile::tempdir().unwrap();
        let stages = stages(dir.path(), 2);
        for base in [0, 10] {
            assert!(stages.prepare(0).unwrap());
            let (mut writer, _) = stages.next(base).unwrap();
            writer.write(&[7; 10]);
            writer.publish();
        }
        assert!(!stages.prepare(9).unwrap());
        assert!(stages.prepare(10).unwrap());
        assert_eq!(stages.from(0).unwrap().base(), 10);
    }

    #[test]
    fn only_our_own_stages_of_this_boot_are_believed() {
        let dir = tempfile::tempdir().unwrap();
        let stages = stages(dir.path(), 4);
        for base in [500, 510] {
            stages.prepare(0).unwrap();
            let (mut writer, _) = stages.next(base).unwrap();
            writer.write(&[7; 10]);
            writer.publish();
        }
        stages.prepare(0).unwrap();
        std::fs::write(dir.path().join("stage-0099"), b"half made").unwrap();
        let left = |owner| left_behind(&FileDisk, dir.path(), owner).unwrap();
        let found: Vec<_> = left(OWNER).iter().map(|s| (s.base(), s.limit())).collect();
        assert_eq!(found, [(500, 510), (510, 520)]);
        assert!(left(Owner { boot: [9; 16], ..OWNER }).is_empty());
        assert!(left(Owner { store: [9; 16], ..OWNER }).is_empty());
        remove_all(&FileDisk, dir.path()).unwrap();
        assert!(left(OWNER).is_empty());
    }
}
