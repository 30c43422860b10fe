// SPDX-License-Identifier: Apache-2.0
//! Where queue entries lie: a few large files, mapped, shared by all queues. Called by [`crate::queue`] to store and
//! read entries and by [`crate::views`] to take, give back and make them lasting. It knows nothing of queues.
//! Invariants: a file's place in the address space depends on its number only; a part that was given back is not
//! handed out again before [`Arena::release`], which the checkpoint calls once no file on disk names it.
//! Layout: `docs/format/queue.md`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, OpenMode, Region, read_exact_at};
use crate::queue::Entry;
use crate::views::ViewError;

pub(crate) mod buddy;

use buddy::{Buddy, CLASSES};

/// Entries in the smallest part.
pub(crate) const UNIT_ENTRIES: u32 = 4;
const UNIT_BYTES: usize = UNIT_ENTRIES as usize * Entry::LEN;
const HEADER: usize = 4096;
const MAGIC: &[u8; 8] = b"KIRARENA";
const VERSION: u32 = 1;
const FILES_MAX: usize = 400;
/// No more than this is kept free ahead: 64 MiB, the entries of some gigabytes of log.
const RESERVE_UNITS: u64 = (64 << 20) / UNIT_BYTES as u64;

/// The least top class: its parts are whole pages, and so are files made of them.
const TOP_MIN: u8 = 8;
const _: () = assert!((UNIT_BYTES << TOP_MIN).is_multiple_of(4096) && HEADER.is_multiple_of(4096));

/// How the arena grows. Part of the disk format of one data directory. A block is a part of the top class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaShape {
    /// Class of the largest parts: they hold `4 << top_class` entries of 20 bytes.
    pub top_class: u8,
    /// Blocks of the first file; each next file has twice as many.
    pub first_blocks: u32,
    /// Blocks of the largest file.
    pub max_blocks: u32,
}

impl Default for ArenaShape {
    fn default() -> ArenaShape {
        ArenaShape { top_class: 14, first_blocks: 12, max_blocks: 768 }
    }
}

impl ArenaShape {
    pub(crate) fn is_possible(self) -> bool {
        (TOP_MIN..CLASSES).contains(&self.top_class)
            && self.first_blocks > 0
            && self.max_blocks >= self.first_blocks
            && self.max_blocks <= 1 << 12
    }

    fn blocks(self, file: usize) -> u32 {
        let doubled = u64::from(self.first_blocks) << file.min(31);
        doubled.min(u64::from(self.max_blocks)) as u32
    }
}

/// A piece of the arena: `1 << class` units at `unit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) unit: u32,
    pub(crate) class: u8,
}

impl Part {
    /// Entries that fit.
    pub(crate) fn entries(self) -> u32 {
        buddy::units(self.class) * UNIT_ENTRIES
    }
}

/// All files of the arena.
pub(crate) struct Arena {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    /// First unit of each file that may come to be, and the end of the last.
    starts: Vec<u32>,
    shape: ArenaShape,
    files: Box<[OnceLock<ArenaFile>]>,
    /// How many files there are, for finding one without a lock.
    open: AtomicUsize,
    space: Mutex<Space>,
}

struct Space {
    buddy: Buddy,
    /// Given back, but perhaps still named by the checkpoint on disk.
    withheld: Vec<Part>,
    count: usize,
}

struct ArenaFile {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    region: Region,
    is_dirty: AtomicBool,
}

/// What the arena takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArenaUsage {
    /// Files, each with one descriptor and one mapping.
    pub files: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes in parts that no queue holds.
    pub free_bytes: u64,
    /// Bytes given back that wait for a checkpoint.
    pub withheld_bytes: u64,
}

impl Arena {
    /// Opens the first `count` files, those the checkpoint names; any other is made anew when it is needed.
    /// Every part is free until [`Arena::set_used`].
    pub(crate) fn open(
        dir: &Path,
        disk: &Arc<dyn Disk>,
        shape: ArenaShape,
        count: usize,
    ) -> Result<Arena, ViewError> {
        let arena = Arena {
            dir: dir.to_path_buf(),
            disk: disk.clone(),
            starts: starts(shape),
            shape,
            files: (0..FILES_MAX).map(|_| OnceLock::new()).collect(),
            open: AtomicUsize::new(count),
            space: Mutex::new(Space { buddy: unused(shape, 0), withheld: Vec::new(), count: 0 }),
        };
        if count >= arena.starts.len() {
            return Err(ViewError::damaged(dir, format!("{count} arena files cannot be")));
        }
        for index in 0..count {
            let file = arena.open_file(index, OpenMode::Write)?;
            assert!(arena.files[index].set(file).is_ok(), "arena files are opened once");
        }
        let end = arena.starts[count];
        *arena.space.lock() = Space { buddy: unused(shape, end), withheld: Vec::new(), count };
        Ok(arena)
    }

    /// Takes over what the checkpoint says is used; `withheld` may still be named by an older part of it.
    pub(crate) fn set_used(&self, mut used: Vec<Part>, withheld: Vec<Part>) -> Result<(), ViewError> {
        let mut space = self.space.lock();
        used.extend(&withheld);
        let mut used: Vec<(u32, u8)> = used.into_iter().map(|part| (part.unit, part.class)).collect();
        space.buddy = Buddy::with_used(self.shape.top_class, self.starts[space.count], &mut used)
            .map_err(|overlap| ViewError::damaged(&self.dir, overlap.to_string()))?;
        space.withheld = withheld;
        Ok(())
    }

    /// Takes a part of `class`, or of the top class where that is smaller, growing the arena by a file if none is
    /// free.
    pub(crate) fn take(&self, class: u8) -> Result<Part, ViewError> {
        let class = class.min(self.shape.top_class);
        let mut space = self.space.lock();
        if let Some(unit) = space.buddy.take(class) {
            return Ok(Part { unit, class });
        }
        self.grow(&mut space)?;
        let unit = space.buddy.take(class).ok_or(ViewError::ArenaFull)?;
        Ok(Part { unit, class })
    }

    /// Grows the arena before it has to, so that a full disk is met here and not by dispatch.
    pub(crate) fn prepare(&self) -> Result<(), ViewError> {
        let mut space = self.space.lock();
        let Some(last) = space.count.checked_sub(1) else { return Ok(()) };
        let last_units = u64::from(self.starts[last + 1] - self.starts[last]);
        if space.buddy.free_units() < (last_units / 2).min(RESERVE_UNITS) {
            self.grow(&mut space)?;
        }
        Ok(())
    }

    /// Gives parts back; they rest until [`Arena::release`].
    pub(crate) fn give(&self, parts: &[Part]) {
        self.space.lock().withheld.extend_from_slice(parts);
    }

    /// Gives back parts that were taken and never used: nothing names them.
    pub(crate) fn untake(&self, parts: &[Part]) {
        let mut space = self.space.lock();
        parts.iter().for_each(|part| space.buddy.give(part.unit, part.class));
    }

    /// How many parts rest now: those may be released once a checkpoint that names none of them is lasting.
    pub(crate) fn withheld(&self) -> usize {
        self.space.lock().withheld.len()
    }

    /// Frees the `count` parts that were given back first.
    pub(crate) fn release(&self, count: usize) {
        let mut space = self.space.lock();
        let parts: Vec<Part> = space.withheld.drain(..count).collect();
        for part in parts {
            space.buddy.give(part.unit, part.class);
        }
    }

    /// Stores an entry in slot `slot` of `part`.
    pub(crate) fn write(&self, part: Part, slot: u32, entry: &Entry) {
        assert!(slot < part.entries(), "slot {slot} lies outside its part");
        let (file, at) = self.locate(part, slot);
        file.region.write_at(&entry.to_bytes(), at);
        if !file.is_dirty.load(Ordering::Relaxed) {
            file.is_dirty.store(true, Ordering::Release);
        }
    }

    /// Reads slots of `part` until `out` is full.
    pub(crate) fn read(&self, part: Part, slot: u32, out: &mut [Entry]) {
        assert!(slot as usize + out.len() <= part.entries() as usize, "slots lie outside their part");
        const BATCH: usize = 64;
        let mut bytes = [0; BATCH * Entry::LEN];
        let (file, at) = self.locate(part, slot);
        for (index, entries) in out.chunks_mut(BATCH).enumerate() {
            let bytes = &mut bytes[..entries.len() * Entry::LEN];
            file.region.read_at(bytes, at + index * BATCH * Entry::LEN);
            for (entry, bytes) in entries.iter_mut().zip(bytes.chunks_exact(Entry::LEN)) {
                *entry = Entry::from_bytes(bytes.try_into().expect("chunks of one entry"));
            }
        }
    }

    /// Makes every entry stored so far lasting.
    pub(crate) fn sync(&self) -> Result<(), ViewError> {
        for file in self.files.iter().map_while(OnceLock::get) {
            if file.is_dirty.swap(false, Ordering::AcqRel) {
                file.file.sync_data().map_err(ViewError::disk("sync", &file.path))?;
            }
        }
        Ok(())
    }

    /// Says what the arena takes.
    pub(crate) fn usage(&self) -> ArenaUsage {
        let space = self.space.lock();
        let withheld: u64 = space.withheld.iter().map(|part| u64::from(part.entries())).sum();
        ArenaUsage {
            files: space.count,
            bytes: u64::from(space.buddy.end()) * UNIT_BYTES as u64 + (space.count * HEADER) as u64,
            free_bytes: space.buddy.free_units() * UNIT_BYTES as u64,
            withheld_bytes: withheld * Entry::LEN as u64,
        }
    }

    /// The shape its files were made with.
    pub(crate) fn shape(&self) -> ArenaShape {
        self.shape
    }

    fn locate(&self, part: Part, slot: u32) -> (&ArenaFile, usize) {
        let starts = &self.starts[..self.open.load(Ordering::Acquire)];
        let index = starts.partition_point(|&start| start <= part.unit) - 1;
        let file = self.files[index].get().expect("parts lie in files that exist");
        (file, (part.unit - self.starts[index]) as usize * UNIT_BYTES + slot as usize * Entry::LEN)
    }

    fn grow(&self, space: &mut Space) -> Result<(), ViewError> {
        let index = space.count;
        if index + 1 >= self.starts.len() {
            return Err(ViewError::ArenaFull);
        }
        let file = self.open_file(index, OpenMode::Replace)?;
        assert!(self.files[index].set(file).is_ok(), "arena files are made once");
        space.buddy.grow(self.starts[index + 1] - self.starts[index]);
        space.count += 1;
        self.open.store(space.count, Ordering::Release);
        Ok(())
    }

    fn open_file(&self, index: usize, mode: OpenMode) -> Result<ArenaFile, ViewError> {
        let path = self.dir.join(name(index));
        let bytes = (self.starts[index + 1] - self.starts[index]) as usize * UNIT_BYTES;
        let file = self.disk.open(&path, mode).map_err(ViewError::disk("open", &path))?;
        let header = header(self.shape, index);
        if mode == OpenMode::Replace {
            file.allocate((HEADER + bytes) as u64).map_err(ViewError::disk("allocate", &path))?;
            file.write_at(&header, 0).map_err(ViewError::disk("write", &path))?;
        } else {
            if file.len().map_err(ViewError::disk("measure", &path))? < (HEADER + bytes) as u64 {
                return Err(ViewError::damaged(&path, "it is shorter than it was made"));
            }
            let mut found = vec![0; header.len()];
            read_exact_at(&*file, &mut found, 0).map_err(ViewError::disk("read", &path))?;
            if found != header {
                return Err(ViewError::damaged(&path, "its header is not that of this arena"));
            }
        }
        let region = file.map(HEADER as u64, bytes).map_err(ViewError::disk("map", &path))?;
        Ok(ArenaFile { path, file, region, is_dirty: AtomicBool::new(mode == OpenMode::Replace) })
    }
}

/// The name of file `index`.
pub(crate) fn name(index: usize) -> String {
    format!("arena-{index:04}")
}

fn starts(shape: ArenaShape) -> Vec<u32> {
    assert!(shape.is_possible(), "an arena file has blocks");
    let mut starts = vec![0u32];
    for index in 0..FILES_MAX {
        let units = shape.blocks(index).checked_mul(buddy::units(shape.top_class));
        match units.and_then(|units| starts[index].checked_add(units)) {
            Some(end) => starts.push(end),
            None => break,
        }
    }
    starts
}

fn unused(shape: ArenaShape, end: u32) -> Buddy {
    Buddy::with_used(shape.top_class, end, &mut []).expect("nothing cannot overlap")
}

fn header(shape: ArenaShape, index: usize) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_be_bytes());
    header.extend((index as u32).to_be_bytes());
    header.extend(u32::from(shape.top_class).to_be_bytes());
    header.extend(shape.first_blocks.to_be_bytes());
    header.extend(shape.max_blocks.to_be_bytes());
    header.extend(crc32fast::hash(&header).to_be_bytes());
    header
}
