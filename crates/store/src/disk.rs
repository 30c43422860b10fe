// SPDX-License-Identifier: Apache-2.0
//! The seam to the machine's disk: files, names and mapped memory, object-safe, so that the same store runs on
//! [`FileDisk`] and, in tests, on the simulated [`sim::SimDisk`] that loses power. Called by every part of the
//! store that keeps bytes; it never retries and never hides an error.
//!
//! What a caller may rely on, and what `SimDisk` breaks when the caller relied on more:
//! * a process that dies loses nothing that a finished call wrote (files, names, regions, tapes);
//! * a machine that dies keeps file bytes up to the last finished `sync_data` of that file, and names up to the
//!   last finished `sync_dir` of their directory; later bytes may be there, missing or torn, in any order;
//! * tapes do not outlive the machine: `boot_id` tells whether it is still the same one.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

mod file;
mod memory;
pub mod sim;

pub use file::FileDisk;
pub use memory::{Region, Tape, TapeWriter};

/// Places, lengths and memory of direct writes are multiples of it.
pub const DIRECT_ALIGN: usize = 4096;

/// How [`Disk::open`] treats a file that is there or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; made when absent. The name lasts only after `sync_dir`.
    Create,
    /// As `Create`, and an existing file is cut to nothing.
    Replace,
}

/// True for a lack of room, of descriptors or of mappings: nothing was done, nothing is lost, and it may pass.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The last part of the path.
    pub name: String,
    /// True for a directory.
    pub is_dir: bool,
    /// Bytes of a file, 0 for a directory.
    pub len: u64,
}

/// The room on the file system that holds a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All bytes.
    pub total: u64,
    /// Bytes this process may still use.
    pub free: u64,
}

impl Space {
    /// The used part, 0.0 to 1.0.
    pub fn used_ratio(&self) -> f64 {
        if self.total == 0 { 0.0 } else { 1.0 - self.free as f64 / self.total as f64 }
    }
}

/// Keeps a directory locked while it lives.
pub trait DirLock: Send + Sync {}

/// A place for files.
pub trait Disk: Send + Sync + Debug + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Lists a directory, sorted by name. `NotFound` when it is absent.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Makes a directory and its parents; no error when it is there. Syncs the parents of what it made.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Gives a file another name, replacing what had it. Lasting after `sync_dir` of the directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Handles and regions that are open stay valid.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names of a directory lasting.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The room where `path` (which must exist) lies.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Takes the exclusive lock of a directory; `WouldBlock` when another process has it. Ends with the process.
    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirLock>>;
    /// Names the run of the machine: changes when it restarts.
    fn boot_id(&self) -> [u8; 16];
    /// Makes a tape with `capacity` bytes after its header, its memory resident; an error, never a fault, when
    /// there is no room. An existing file of that name is replaced.
    fn create_tape(&self, path: &Path, capacity: usize) -> io::Result<Tape>;
    /// Maps a tape that an earlier process made.
    fn open_tape(&self, path: &Path) -> io::Result<Tape>;
}

/// An open file. All offsets are absolute; there is no cursor, and `&self` may be used by many threads.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads until `out` is full or the file ends; returns the bytes read.
    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize>;
    /// As `read_at`, but answers `WouldBlock` rather than wait for the device.
    fn read_cached_at(&self, out: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all of `data`.
    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()>;
    /// As `write_at`, past the system's memory where the file system can. All of [`DIRECT_ALIGN`].
    fn write_direct_at(&self, data: &[u8], at: u64) -> io::Result<()>;
    /// Makes all written bytes, the length and what was stored through regions of this file lasting.
    fn sync_data(&self) -> io::Result<()>;
    /// Asks the device to begin with these bytes; promises nothing.
    fn start_writeback(&self, at: u64, len: u64) -> io::Result<()>;
    /// Lets the system use the memory that it keeps these bytes in for something else; promises nothing.
    fn uncache(&self, at: u64, len: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True when the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeros, taking no room).
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Extends to at least `len` with zeros and takes the room now, so that later writes and stores below `len`
    /// cannot fail for lack of room.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// The first offset at or after `at` that may hold a byte other than zero, `None` when all is zero to the end.
    fn next_data(&self, at: u64) -> io::Result<Option<u64>>;
    /// Maps `len` bytes at `at` (a multiple of 4096) of the file, which must already be allocated that far.
    fn map(&self, at: u64, len: usize) -> io::Result<Region>;
}

fn assert_direct(data: &[u8], at: u64) {
    let aligned = data.as_ptr().addr() | data.len() | at as usize;
    assert!(aligned.is_multiple_of(DIRECT_ALIGN), "{} bytes at {at} are not whole blocks", data.len());
}

/// Reads exactly `out.len()` bytes or says that the file ended.
pub fn read_exact_at(file: &dyn DiskFile, out: &mut [u8], at: u64) -> io::Result<()> {
    match file.read_at(out, at)? {
        n if n == out.len() => Ok(()),
        n => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("wanted {} bytes at {at}, the file ended after {n}", out.len()),
        )),
    }
}
