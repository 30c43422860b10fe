// SPDX-License-Identifier: Apache-2.0
//! Memory that is a file. [`Region`] is a window of words that many threads may read while one writes;
//! [`Tape`] is written once from its start to its end and leased to readers without a copy.
//!
//! Invariants: a tape's bytes below `published` never change while the tape is shared; only its one writer touches
//! bytes above it; a lease covers published bytes only and keeps the memory mapped. Everything in a region is
//! accessed by relaxed atomic words, so a reader that races with the writer sees old or new words, never a fault
//! of the memory model; order comes from the caller's own release and acquire.

use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;

/// Bytes of a tape in front of its data: 8-byte words, of which the first is the published length.
pub(crate) const TAPE_HEADER: usize = 4096;

/// What keeps a piece of memory alive, and in a simulation counts the stores into it.
pub(crate) trait Backing: Send + Sync {
    /// Called before each store; false drops the store because the simulated process is dead.
    fn admits_store(&self) -> bool {
        true
    }
}

/// A piece of memory at a fixed address.
pub(crate) struct Memory {
    base: NonNull<u8>,
    len: usize,
    backing: Arc<dyn Backing>,
    /// True when `backing` wants to hear of stores; spares production the virtual call.
    watched: bool,
}

// SAFETY: the memory is reached only through atomics, through the one `TapeWriter`, and through leases of bytes
// that no longer change; `backing` is Send and Sync and keeps the address valid.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// # Safety
    /// `base..base + len` must stay valid for reads and writes while `backing` lives, be aligned to 8 bytes, and
    /// be reached by nobody but through this value, other than by atomics or by the kernel.
    pub(crate) unsafe fn new(
        base: NonNull<u8>,
        len: usize,
        backing: Arc<dyn Backing>,
        watched: bool,
    ) -> Memory {
        assert!(base.as_ptr().addr().is_multiple_of(8), "mapped memory is aligned");
        Memory { base, len, backing, watched }
    }

    fn admits_store(&self) -> bool {
        !self.watched || self.backing.admits_store()
    }

    fn words(&self) -> &[AtomicU32] {
        // SAFETY: valid for `len` bytes and aligned by `new`; AtomicU32 allows shared access.
        unsafe { slice::from_raw_parts(self.base.as_ptr().cast::<AtomicU32>(), self.len / 4) }
    }

    fn long(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.len, "word {at} lies outside {} bytes", self.len);
        // SAFETY: in bounds and aligned by the assertion and by `new`.
        unsafe { &*self.base.as_ptr().add(at).cast::<AtomicU64>() }
    }
}

/// A mapped window of a file. Offsets and lengths are multiples of 4.
/// What is stored is lasting after `sync_data` of the file.
pub struct Region(Memory);

impl Region {
    pub(crate) fn new(memory: Memory) -> Region {
        Region(memory)
    }

    /// The bytes in the window.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// True for an empty window.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Copies out of the window.
    pub fn read_at(&self, out: &mut [u8], at: usize) {
        let words = &self.0.words()[span(at, out.len())];
        for (word, out) in words.iter().zip(out.chunks_exact_mut(4)) {
            out.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
    }

    /// Copies into the window. One writer at a time, kept by the caller.
    pub fn write_at(&self, data: &[u8], at: usize) {
        let words = &self.0.words()[span(at, data.len())];
        if !self.0.admits_store() {
            return;
        }
        for (word, data) in words.iter().zip(data.chunks_exact(4)) {
            let data = data.try_into().expect("chunks of four bytes");
            word.store(u32::from_ne_bytes(data), Ordering::Relaxed);
        }
    }
}

fn span(at: usize, len: usize) -> Range<usize> {
    assert!(at.is_multiple_of(4) && len.is_multiple_of(4), "{len} bytes at {at} are not whole words");
    at / 4..(at + len) / 4
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({} bytes)", self.len())
    }
}

/// Memory in a file that is filled once from its start to its end. Cloning is cheap and shares it.
#[derive(Clone)]
pub struct Tape(Arc<TapeState>);

struct TapeState {
    memory: Memory,
    has_writer: AtomicBool,
}

impl Tape {
    pub(crate) fn new(memory: Memory) -> Tape {
        assert!(memory.len >= TAPE_HEADER, "a tape has room for its header");
        Tape(Arc::new(TapeState { memory, has_writer: AtomicBool::new(false) }))
    }

    /// Bytes that fit behind the header.
    pub fn capacity(&self) -> usize {
        self.0.memory.len - TAPE_HEADER
    }

    /// Bytes that are written and will not change.
    pub fn published(&self) -> usize {
        let published = self.0.memory.long(0).load(Ordering::Acquire);
        usize::try_from(published).map_or(self.capacity(), |len| len.min(self.capacity()))
    }

    /// Reads header word `index`, 1 to 511.
    pub fn word(&self, index: usize) -> u64 {
        self.header(index).load(Ordering::Acquire)
    }

    /// Sets header word `index`, 1 to 511; later stores of this thread are not seen before it.
    pub fn set_word(&self, index: usize, value: u64) {
        if self.0.memory.admits_store() {
            self.header(index).store(value, Ordering::Release);
        }
    }

    fn header(&self, index: usize) -> &AtomicU64 {
        assert!((1..TAPE_HEADER / 8).contains(&index), "header word {index} is not the caller's");
        self.0.memory.long(index * 8)
    }

    /// The published bytes `range`, shared, not copied: the memory stays while they live.
    pub fn lease(&self, range: Range<usize>) -> Bytes {
        assert!(range.start <= range.end && range.end <= self.published(), "{range:?} is not published");
        Bytes::from_owner(Lease { tape: self.clone(), range })
    }

    /// The published bytes.
    pub fn bytes(&self) -> &[u8] {
        self.published_slice(0..self.published())
    }

    fn published_slice(&self, range: Range<usize>) -> &[u8] {
        // SAFETY: the callers keep `range` below `published`, those bytes were stored before the release that the
        // acquire in `published` saw, and nobody stores to them while the tape is shared.
        unsafe {
            slice::from_raw_parts(self.0.memory.base.as_ptr().add(TAPE_HEADER + range.start), range.len())
        }
    }

    /// Takes the right to write, once for each tape.
    pub fn writer(&self) -> Option<TapeWriter> {
        let is_first = !self.0.has_writer.swap(true, Ordering::AcqRel);
        is_first.then(|| TapeWriter { end: self.published(), tape: self.clone() })
    }

    /// Empties the tape for new use, when no one else shares it; gives it back otherwise.
    pub fn recycle(mut self) -> Result<Tape, Tape> {
        match Arc::get_mut(&mut self.0) {
            Some(state) => {
                *state.has_writer.get_mut() = false;
                if state.memory.admits_store() {
                    state.memory.long(0).store(0, Ordering::Release);
                }
                Ok(self)
            }
            None => Err(self),
        }
    }
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tape({} of {} bytes)", self.published(), self.capacity())
    }
}

struct Lease {
    tape: Tape,
    range: Range<usize>,
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self.tape.published_slice(self.range.clone())
    }
}

/// The one hand that writes a tape.
pub struct TapeWriter {
    tape: Tape,
    end: usize,
}

impl TapeWriter {
    /// The tape it writes.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.tape.capacity() - self.end
    }

    /// Where the next byte goes.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Adds bytes behind the last ones; nobody sees them yet. The caller checked `room`.
    pub fn write(&mut self, data: &[u8]) {
        assert!(data.len() <= self.room(), "{} bytes do not fit in {}", data.len(), self.room());
        let memory = &self.tape.0.memory;
        if memory.admits_store() {
            // SAFETY: in bounds by the assertion; unpublished bytes belong to this writer alone, `data` cannot
            // overlap them because no reference to them exists.
            unsafe {
                let target = memory.base.as_ptr().add(TAPE_HEADER + self.end);
                std::ptr::copy_nonoverlapping(data.as_ptr(), target, data.len());
            }
        }
        self.end += data.len();
    }

    /// Shows all bytes written so far to readers, and to the next process should this one die.
    pub fn publish(&mut self) {
        if self.tape.0.memory.admits_store() {
            self.tape.0.memory.long(0).store(self.end as u64, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::disk::{Disk, FileDisk};

    /// A reader beside the writer never sees a published byte that is not written yet.
    #[test]
    fn what_is_published_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let over = AtomicBool::new(false);
        let piece = |n: usize| [(n % 251) as u8 + 1; 64];
        for round in 0..20 {
            let tape = FileDisk.create_tape(&dir.path().join(format!("{round}")), 1 << 20).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut checked = 0;
                    while !over.load(Ordering::Acquire) || checked < tape.published() {
                        let end = tape.published();
                        // Newest first: that is where a race would show.
                        for at in (checked..end).step_by(64).rev() {
                            assert_eq!(tape.lease(at..at + 64)[..], piece(at / 64), "at {at} of {end}");
                        }
                        checked = end;
                    }
                });
                let mut writer = tape.writer().unwrap();
                for n in 0..tape.capacity() / 64 {
                    writer.write(&piece(n));
                    writer.publish();
                }
                over.store(true, Ordering::Release);
            });
            over.store(false, Ordering::Release);
        }
    }
}
