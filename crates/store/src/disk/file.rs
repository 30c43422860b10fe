// SPDX-License-Identifier: Apache-2.0
//! The machine's own disk: positioned reads and writes, file mappings for regions and tapes.
//! Invariant: a mapping is only made over bytes whose room has been taken, so that a full disk is an error of
//! `allocate` and not a signal in the middle of a store.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, FlockOperation, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags};

use crate::disk::memory::{Backing, Memory, TAPE_HEADER};
use crate::disk::{DirEntry, DirLock, Disk, DiskFile, OpenMode, Region, Space, Tape, assert_direct};

/// The file systems of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileDisk;

impl Disk for FileDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenFile { file: open(path, mode)?, direct: OnceLock::new(), path: path.to_owned() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir).map_err(|e| at(dir, e))? {
            let entry = entry?;
            let meta = entry.metadata()?;
            let is_dir = meta.is_dir();
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir, len: if is_dir { 0 } else { meta.len() } });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.create_dir(parent)?;
        match fs::create_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            other => other.map_err(|e| at(dir, e))?,
        }
        self.sync_dir(parent)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to).map_err(|e| at(from, e))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path).map_err(|e| at(path, e))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir).map_err(|e| at(dir, e))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir).and_then(|handle| handle.sync_all()).map_err(|e| at(dir, e))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path).map_err(|e| at(path, e.into()))?;
        // Blocks kept for root count as used, or a disk could be full at 95 %.
        let reserved = stat.f_bfree.saturating_sub(stat.f_bavail);
        let total = stat.f_blocks.saturating_sub(reserved);
        Ok(Space {
            total: total.saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        let path = dir.join("lock");
        let file = open(&path, OpenMode::Create)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| at(&path, e.into()))?;
        Ok(Box::new(FileLock(file)))
    }

    fn boot_id(&self) -> [u8; 16] {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut id = [0; 16];
        let mut digits = text.bytes().filter_map(|b| (b as char).to_digit(16));
        for byte in &mut id {
            let (Some(high), Some(low)) = (digits.next(), digits.next()) else { break };
            *byte = (high * 16 + low) as u8;
        }
        id
    }

    fn create_tape(&self, path: &Path, capacity: usize) -> io::Result<Tape> {
        let file = open(path, OpenMode::Replace)?;
        let len = (TAPE_HEADER + capacity).next_multiple_of(4096);
        // Without this, a full tmpfs would be a bus error in the middle of a copy.
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len as u64)
            .map_err(|e| at(path, e.into()))?;
        map_tape(&file, len)
    }

    fn open_tape(&self, path: &Path) -> io::Result<Tape> {
        let file = open(path, OpenMode::Write)?;
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        if !(TAPE_HEADER..=MAX_TAPE).contains(&len) {
            return Err(at(
                path,
                io::Error::new(io::ErrorKind::InvalidData, format!("{len} bytes are no tape")),
            ));
        }
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len as u64)
            .map_err(|e| at(path, e.into()))?;
        map_tape(&file, len)
    }
}

/// A tape file larger than this was not made by us.
const MAX_TAPE: usize = 1 << 30;

fn map_tape(file: &File, len: usize) -> io::Result<Tape> {
    let map = MmapOptions::new().len(len).map_raw(file).map_err(no_mapping)?;
    if map.advise(Advice::PopulateWrite).is_err() {
        touch(&map);
    }
    Ok(Tape::new(memory(map)))
}

/// Makes the pages resident where the kernel has no call for it.
fn touch(map: &MmapRaw) {
    for page in (0..map.len()).step_by(4096) {
        // SAFETY: in bounds; the memory is not shared with anyone yet, and the stored value is the one read.
        unsafe {
            let byte = map.as_mut_ptr().add(page);
            byte.write_volatile(byte.read_volatile());
        }
    }
}

fn memory(map: MmapRaw) -> Memory {
    let base = NonNull::new(map.as_mut_ptr()).expect("a mapping is not at address zero");
    let len = map.len();
    // SAFETY: the mapping lives in the backing, is page aligned, its file was allocated to its end, and the raw
    // pointer is handed to nobody else.
    unsafe { Memory::new(base, len, Arc::new(Mapping(map)), false) }
}

struct Mapping(#[expect(dead_code, reason = "held so that the memory stays mapped")] MmapRaw);
impl Backing for Mapping {}

struct FileLock(#[expect(dead_code, reason = "held for its lock, which ends when it is closed")] File);
impl DirLock for FileLock {}

fn open(path: &Path, mode: OpenMode) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    match mode {
        OpenMode::Read => {}
        OpenMode::Write => _ = options.write(true),
        OpenMode::Create => _ = options.write(true).create(true).truncate(false),
        OpenMode::Replace => _ = options.write(true).create(true).truncate(true),
    }
    options.open(path).map_err(|e| at(path, e))
}

/// Adds the path to an error and keeps its kind and, for the reader, its number.
fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(kind(&error), format!("{}: {error}", path.display()))
}

/// The kind of an error; a process or a machine without descriptors is one that is out of its quota.
fn kind(error: &io::Error) -> io::ErrorKind {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => io::ErrorKind::QuotaExceeded,
        _ => error.kind(),
    }
}

/// Names what a mapping that cannot be made lacks: nothing was lost with it.
fn no_mapping(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::OutOfMemory => {
            let why = format!("no further mapping can be made (vm.max_map_count, or memory): {error}");
            io::Error::new(io::ErrorKind::QuotaExceeded, why)
        }
        _ => error,
    }
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    /// The same file, for writes past the system's memory; `None` where it cannot be had.
    direct: OnceLock<Option<File>>,
    path: PathBuf,
}

impl OpenFile {
    fn named<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|e| at(&self.path, e))
    }

    fn direct(&self) -> Option<&File> {
        if self.direct.get().is_none() {
            match OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(&self.path) {
                // Not for good: the next write may have one.
                Err(e) if kind(&e) == io::ErrorKind::QuotaExceeded => return None,
                opened => _ = self.direct.set(opened.ok()),
            }
        }
        self.direct.get()?.as_ref()
    }

    fn read_full(
        &self,
        out: &mut [u8],
        start: u64,
        read: impl Fn(&File, &mut [u8], u64) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut done = 0;
        while done < out.len() {
            match read(&self.file, &mut out[done..], start + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return self.named(Err(e)),
            }
        }
        Ok(done)
    }
}

impl DiskFile for OpenFile {
    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        self.read_full(out, at, |file, out, at| file.read_at(out, at))
    }

    fn read_cached_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        self.read_full(out, at, |file, out, at| {
            let mut slices = [io::IoSliceMut::new(out)];
            match rustix::io::preadv2(file, &mut slices, at, ReadWriteFlags::NOWAIT) {
                // A file system that cannot tell cached bytes from others.
                Err(Errno::OPNOTSUPP) => Err(io::ErrorKind::WouldBlock.into()),
                other => Ok(other?),
            }
        })
    }

    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.named(self.file.write_all_at(data, at))
    }

    fn write_direct_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        assert_direct(data, at);
        let written = match self.direct().map(|file| file.write_at(data, at)) {
            Some(Ok(written)) => written,
            // A device with larger blocks, or a file system that has no such writes.
            Some(Err(e)) if e.kind() == io::ErrorKind::InvalidInput => 0,
            Some(Err(e)) if e.kind() == io::ErrorKind::Interrupted => 0,
            Some(Err(e)) => return self.named(Err(e)),
            None => 0,
        };
        self.write_at(&data[written..], at + written as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.named(self.file.sync_data())
    }

    fn start_writeback(&self, at: u64, len: u64) -> io::Result<()> {
        let range = (i64::try_from(at), i64::try_from(len));
        let (Ok(at), Ok(len)) = range else { return Err(io::ErrorKind::InvalidInput.into()) };
        // SAFETY: a call on an open descriptor that touches no memory of ours.
        let done =
            unsafe { libc::sync_file_range(self.file.as_raw_fd(), at, len, libc::SYNC_FILE_RANGE_WRITE) };
        if done == 0 { Ok(()) } else { self.named(Err(io::Error::last_os_error())) }
    }

    fn uncache(&self, at: u64, len: u64) -> io::Result<()> {
        let done = rustix::fs::fadvise(&self.file, at, NonZeroU64::new(len), rustix::fs::Advice::DontNeed);
        self.named(done.map_err(io::Error::from))
    }

    fn len(&self) -> io::Result<u64> {
        self.named(self.file.metadata().map(|meta| meta.len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.named(self.file.set_len(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Err(Errno::OPNOTSUPP) => self.named(write_zeros(&self.file, len)),
            other => self.named(other.map_err(io::Error::from)),
        }
    }

    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(self.file.as_fd(), SeekFrom::Data(at)) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL) => Ok((at < self.len()?).then_some(at)),
            Err(e) => self.named(Err(e.into())),
        }
    }

    fn map(&self, start: u64, len: usize) -> io::Result<Region> {
        if self.len()? < start + len as u64 {
            return self.named(Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{len} bytes at {start} are not allocated"),
            )));
        }
        let map = MmapOptions::new().offset(start).len(len).map_raw(&self.file);
        let map = self.named(map.map_err(no_mapping))?;
        // Read-ahead of a sparsely read file would fill memory with what nobody asked for.
        self.named(map.advise(Advice::Random))?;
        Ok(Region::new(memory(map)))
    }
}

/// Takes room by writing where the file system has no call for it; keeps what is there.
fn write_zeros(file: &File, len: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 16];
    let mut at = file.metadata()?.len();
    while at < len {
        let part = usize::try_from(len - at).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(&zeros[..part], at)?;
        at += part as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_names_and_locks() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, deep) = (FileDisk, dir.path().join("a/b"));
        disk.create_dir(&deep).unwrap();
        disk.create_dir(&deep).unwrap();
        let file = disk.open(&deep.join("x"), OpenMode::Create).unwrap();
        file.allocate(1 << 20).unwrap();
        assert_eq!(file.len().unwrap(), 1 << 20);
        file.write_at(b"hello", 70_000).unwrap();
        file.sync_data().unwrap();
        let mut out = [0; 5];
        assert_eq!(file.read_at(&mut out, 70_000).unwrap(), 5);
        assert_eq!(&out, b"hello");
        assert_eq!(file.read_at(&mut out, (1 << 20) - 2).unwrap(), 2);
        assert!(file.next_data(0).unwrap().is_some_and(|at| at <= 70_000));
        disk.rename(&deep.join("x"), &deep.join("y")).unwrap();
        disk.sync_dir(&deep).unwrap();
        let names: Vec<_> = disk.list(&deep).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["y"]);
        let lock = disk.lock_dir(&deep).unwrap();
        assert_eq!(disk.lock_dir(&deep).err().map(|e| e.kind()), Some(io::ErrorKind::WouldBlock));
        drop(lock);
        disk.lock_dir(&deep).unwrap();
        assert!(disk.space(&deep).unwrap().used_ratio() < 1.0);
        assert_eq!(disk.list(Path::new("/nowhere/at/all")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_tape_outlives_its_maker_and_its_leases() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tape");
        let tape = FileDisk.create_tape(&path, 10_000).unwrap();
        let mut writer = tape.writer().unwrap();
        assert!(tape.writer().is_none());
        writer.write(b"abcdef");
        assert_eq!(tape.bytes(), b"");
        writer.publish();
        tape.set_word(3, 77);
        let lease = tape.lease(2..4);
        drop(writer);
        let tape = tape.recycle().expect_err("a lease holds it");
        drop(tape);
        assert_eq!(&lease[..], b"cd");
        drop(lease);
        let again = FileDisk.open_tape(&path).unwrap();
        assert_eq!((again.bytes(), again.word(3)), (&b"abcdef"[..], 77));
        assert_eq!(again.recycle().expect("nobody shares it").published(), 0);
    }

    #[test]
    fn a_region_is_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = FileDisk.open(&dir.path().join("x"), OpenMode::Create).unwrap();
        assert!(file.map(0, 4096).is_err());
        file.allocate(8192).unwrap();
        let region = file.map(4096, 4096).unwrap();
        region.write_at(&[1, 2, 3, 4, 5, 6, 7, 8], 8);
        let mut out = [0; 4];
        region.read_at(&mut out, 12);
        assert_eq!(out, [5, 6, 7, 8]);
        file.read_at(&mut out, 4096 + 8).unwrap();
        assert_eq!(out, [1, 2, 3, 4]);
    }
}
