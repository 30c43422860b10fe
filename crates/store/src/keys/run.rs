// SPDX-License-Identifier: Apache-2.0
//! One sealed run of the key index: an immutable file of entries sorted by hash, newest first within a hash.
//! Written by the checkpoint, read one block at a time by look-ups, which open the file for that moment only, so
//! that any number of runs costs no descriptor. Every block has its own checksum. Layout: `docs/format/keys.md`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::names::LogOffset;

use crate::disk::{Disk, DiskFile, OpenMode, read_exact_at};
use crate::keys::{KeyEntry, TimeRange};
use crate::views::ViewError;

const MAGIC: &[u8; 8] = b"KIRUKEYS";
const VERSION: u32 = 1;
const HEADER: usize = 64;
const ENTRY: usize = 20;
const BLOCK_ENTRIES: usize = 256;
const FENCE: usize = 12;
/// More entries than a run ever has; a file that claims more is damaged.
pub(super) const COUNT_MAX: u32 = 1 << 28;
/// A run is written in pieces of about so many bytes.
const PIECE: usize = 256 << 10;

/// A run, its fences in memory.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: u64,
    path: PathBuf,
    head: Head,
    fences: Vec<Fence>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    count: u32,
    /// A whole second, so that runs can be merged without another cut.
    time_first: i64,
    time_last: i64,
    log_first: u64,
    log_last: u64,
}

/// First hash and checksum of a block. The hash is cut to its high half: a fence only tells where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fence {
    hash: u32,
    crc: u32,
}

/// The name of run `id`.
pub(crate) fn name(id: u64) -> String {
    format!("keys-{id:016x}")
}

impl Run {
    /// Writes a new run; it is lasting once its directory is synced.
    pub(crate) fn create(
        dir: &Path,
        disk: &Arc<dyn Disk>,
        id: u64,
        entries: &mut Vec<KeyEntry>,
    ) -> Result<Run, ViewError> {
        entries.sort_unstable_by_key(|entry| (entry.hash, std::cmp::Reverse(entry.log), entry.stored_at));
        entries.dedup();
        Run::write(dir, disk, id, Head::of(entries), entries.iter().map(|entry| Ok(*entry)))
    }

    /// Writes a run of entries in order.
    pub(super) fn write(
        dir: &Path,
        disk: &Arc<dyn Disk>,
        id: u64,
        head: Head,
        entries: impl Iterator<Item = Result<KeyEntry, ViewError>>,
    ) -> Result<Run, ViewError> {
        let path = dir.join(name(id));
        let file = disk.open(&path, OpenMode::Replace).map_err(ViewError::disk("create", &path))?;
        let mut writer = Writer::new(&*file, &path, id, head)?;
        for entry in entries {
            writer.add(&entry?)?;
        }
        let fences = writer.finish()?;
        file.sync_data().map_err(ViewError::disk("sync", &path))?;
        Ok(Run { id, path, head, fences })
    }

    /// Reads head and fences of a run that a checkpoint names.
    pub(crate) fn open(dir: &Path, disk: &Arc<dyn Disk>, id: u64) -> Result<Run, ViewError> {
        let path = dir.join(name(id));
        let file = disk.open(&path, OpenMode::Read).map_err(ViewError::disk("open", &path))?;
        let mut head = [0; HEADER];
        read_exact_at(&*file, &mut head, 0).map_err(|error| ViewError::damaged(&path, error.to_string()))?;
        let head =
            Head::decode(&head, id).ok_or_else(|| ViewError::damaged(&path, "its head is unreadable"))?;
        let mut tail = vec![0; head.blocks() * FENCE + 4];
        read_exact_at(&*file, &mut tail, head.fences_at())
            .map_err(|error| ViewError::damaged(&path, error.to_string()))?;
        let (list, crc) = tail.split_at(tail.len() - 4);
        if crc32fast::hash(list).to_be_bytes() != crc {
            return Err(ViewError::damaged(&path, "its fences fail their checksum"));
        }
        let fences = list.chunks_exact(FENCE).map(Fence::decode).collect();
        Ok(Run { id, path, head, fences })
    }

    /// The newest record it points to.
    pub(crate) fn log_last(&self) -> LogOffset {
        LogOffset(self.head.log_last)
    }

    /// Entries in it.
    pub(crate) fn count(&self) -> u32 {
        self.head.count
    }

    /// Entries in it, if it can be merged with others: its times are cut at whole seconds. Those of early versions were
    /// not, and go with the log.
    pub(super) fn mergeable(&self) -> Option<u64> {
        (self.head.time_first % 1000 == 0).then_some(u64::from(self.head.count))
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.head.fences_at() + (self.fences.len() * FENCE) as u64 + 4
    }

    /// Bytes in memory.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Run>() + self.fences.capacity() * size_of::<Fence>() + self.path.capacity()
    }

    /// Visits the records of a hash, newest first, that may lie in `range`.
    pub(crate) fn visit(
        &self,
        disk: &Arc<dyn Disk>,
        hash: u64,
        range: TimeRange,
        visit: &mut dyn FnMut(LogOffset) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ViewError> {
        if !range.overlaps(self.head.time_first, self.head.time_last) {
            return Ok(ControlFlow::Continue(()));
        }
        let high = (hash >> 32) as u32;
        // The block before the first fence at or above may end with the hash.
        let start = self.fences.partition_point(|fence| fence.hash < high).saturating_sub(1);
        let mut file = None;
        for block in start..self.fences.len() {
            if self.fences[block].hash > high {
                break;
            }
            let file = match &file {
                Some(file) => file,
                None => file.insert(
                    disk.open(&self.path, OpenMode::Read).map_err(ViewError::disk("open", &self.path))?,
                ),
            };
            for entry in self.block(file, block)? {
                if entry.hash == hash && range.overlaps(entry.stored_at, entry.stored_at + 999) {
                    let flow = visit(LogOffset(entry.log));
                    if flow.is_break() {
                        return Ok(flow);
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Goes through all entries, in order, a block in memory at a time.
    pub(super) fn entries(
        &self,
        disk: &Arc<dyn Disk>,
    ) -> Result<impl Iterator<Item = Result<KeyEntry, ViewError>> + '_, ViewError> {
        let file = disk.open(&self.path, OpenMode::Read).map_err(ViewError::disk("open", &self.path))?;
        let blocks = (0..self.fences.len()).map(move |block| self.block(&file, block));
        Ok(blocks.flat_map(|block| match block {
            Ok(entries) => Opened::Entries(entries.into_iter()),
            Err(error) => Opened::Failed(Some(error)),
        }))
    }

    /// Visits every entry, for comparison.
    pub(crate) fn each(
        &self,
        disk: &Arc<dyn Disk>,
        visit: &mut dyn FnMut(KeyEntry),
    ) -> Result<(), ViewError> {
        let file = disk.open(&self.path, OpenMode::Read).map_err(ViewError::disk("open", &self.path))?;
        for block in 0..self.fences.len() {
            self.block(&file, block)?.into_iter().for_each(&mut *visit);
        }
        Ok(())
    }

    fn block(&self, file: &Arc<dyn DiskFile>, block: usize) -> Result<Vec<KeyEntry>, ViewError> {
        let from = block * BLOCK_ENTRIES;
        let count = (self.head.count as usize - from).min(BLOCK_ENTRIES);
        let mut bytes = vec![0; count * ENTRY];
        read_exact_at(&**file, &mut bytes, (HEADER + from * ENTRY) as u64)
            .map_err(ViewError::disk("read", &self.path))?;
        if crc32fast::hash(&bytes) != self.fences[block].crc {
            return Err(ViewError::damaged(&self.path, format!("block {block} fails its checksum")));
        }
        Ok(bytes.chunks_exact(ENTRY).map(|entry| self.head.entry(entry)).collect())
    }
}

impl Head {
    fn of(entries: &[KeyEntry]) -> Head {
        let times = || entries.iter().map(|entry| entry.stored_at);
        let logs = || entries.iter().map(|entry| entry.log);
        Head {
            count: u32::try_from(entries.len()).expect("a run is sealed long before"),
            time_first: whole_second(times().min().unwrap_or(0)),
            time_last: times().max().unwrap_or(0),
            log_first: logs().min().unwrap_or(0),
            log_last: logs().max().unwrap_or(0),
        }
    }

    /// The head of what two runs hold together.
    pub(super) fn and(self, other: Head) -> Head {
        Head {
            count: self.count.checked_add(other.count).expect("runs are merged while they are small"),
            time_first: self.time_first.min(other.time_first),
            time_last: self.time_last.max(other.time_last),
            log_first: self.log_first.min(other.log_first),
            log_last: self.log_last.max(other.log_last),
        }
    }

    fn encode(&self, id: u64) -> [u8; HEADER] {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend(self.count.to_be_bytes());
        bytes.extend(id.to_be_bytes());
        bytes.extend(self.time_first.to_be_bytes());
        bytes.extend(self.time_last.to_be_bytes());
        bytes.extend(self.log_first.to_be_bytes());
        bytes.extend(self.log_last.to_be_bytes());
        bytes.resize(HEADER - 4, 0);
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes.try_into().expect("the head is as long as the head")
    }

    fn decode(bytes: &[u8; HEADER], id: u64) -> Option<Head> {
        let long = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let count = u32::from_be_bytes(bytes[12..16].try_into().expect("four bytes"));
        let head = Head {
            count,
            time_first: long(24) as i64,
            time_last: long(32) as i64,
            log_first: long(40),
            log_last: long(48),
        };
        (count <= COUNT_MAX && head.encode(id) == *bytes).then_some(head)
    }

    fn blocks(&self) -> usize {
        (self.count as usize).div_ceil(BLOCK_ENTRIES)
    }

    fn fences_at(&self) -> u64 {
        (HEADER + self.count as usize * ENTRY) as u64
    }

    /// Times are kept in whole seconds since the first, so an entry covers a second.
    fn entry(&self, bytes: &[u8]) -> KeyEntry {
        let long = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let seconds = u32::from_be_bytes(bytes[16..20].try_into().expect("four bytes"));
        let stored_at = self.time_first.saturating_add(i64::from(seconds) * 1000);
        KeyEntry { hash: long(0), log: long(8), stored_at }
    }
}

fn whole_second(time: i64) -> i64 {
    time.saturating_sub(time.rem_euclid(1000))
}

impl Fence {
    fn decode(bytes: &[u8]) -> Fence {
        let hash = u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"));
        let crc = u32::from_be_bytes(bytes[8..12].try_into().expect("four bytes"));
        Fence { hash: (hash >> 32) as u32, crc }
    }
}

/// The entries of a block, or why they cannot be read.
enum Opened {
    Entries(std::vec::IntoIter<KeyEntry>),
    Failed(Option<ViewError>),
}

impl Iterator for Opened {
    type Item = Result<KeyEntry, ViewError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Opened::Entries(entries) => entries.next().map(Ok),
            Opened::Failed(error) => error.take().map(Err),
        }
    }
}

/// Writes all of a run, with little of it in memory at once.
struct Writer<'a> {
    file: &'a dyn DiskFile,
    path: &'a Path,
    time_first: i64,
    fences: Vec<Fence>,
    tail: Vec<u8>,
    piece: Vec<u8>,
    written: u64,
    /// Where the open block begins in `piece`, its first hash, and how many entries it has.
    block: (usize, u64, usize),
    left: u32,
}

impl<'a> Writer<'a> {
    fn new(file: &'a dyn DiskFile, path: &'a Path, id: u64, head: Head) -> Result<Writer<'a>, ViewError> {
        let mut piece = Vec::with_capacity(PIECE + BLOCK_ENTRIES * ENTRY);
        piece.extend(head.encode(id));
        Ok(Writer {
            file,
            path,
            time_first: head.time_first,
            fences: Vec::with_capacity(head.blocks()),
            tail: Vec::with_capacity(head.blocks() * FENCE + 4),
            block: (piece.len(), 0, 0),
            piece,
            written: 0,
            left: head.count,
        })
    }

    fn add(&mut self, entry: &KeyEntry) -> Result<(), ViewError> {
        self.left = self.left.checked_sub(1).expect("the head has counted the entries");
        if self.block.2 == 0 {
            if self.piece.len() >= PIECE {
                self.flush()?;
            }
            self.block = (self.piece.len(), entry.hash, 0);
        }
        let seconds = entry.stored_at.saturating_sub(self.time_first) / 1000;
        self.piece.extend(entry.hash.to_be_bytes());
        self.piece.extend(entry.log.to_be_bytes());
        self.piece.extend(u32::try_from(seconds).unwrap_or(u32::MAX).to_be_bytes());
        self.block.2 += 1;
        if self.block.2 == BLOCK_ENTRIES {
            self.close();
        }
        Ok(())
    }

    fn close(&mut self) {
        let (start, hash, _) = self.block;
        let crc = crc32fast::hash(&self.piece[start..]);
        self.tail.extend(hash.to_be_bytes());
        self.tail.extend(crc.to_be_bytes());
        self.fences.push(Fence { hash: (hash >> 32) as u32, crc });
        self.block.2 = 0;
    }

    fn flush(&mut self) -> Result<(), ViewError> {
        self.file.write_at(&self.piece, self.written).map_err(ViewError::disk("write", self.path))?;
        self.written += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Fence>, ViewError> {
        assert!(self.left == 0, "{} entries are missing from run {}", self.left, self.path.display());
        if self.block.2 > 0 {
            self.close();
        }
        let crc = crc32fast::hash(&self.tail);
        self.tail.extend(crc.to_be_bytes());
        self.piece.append(&mut self.tail);
        self.flush()?;
        Ok(self.fences)
    }
}
