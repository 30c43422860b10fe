// SPDX-License-Identifier: Apache-2.0
//! Mapped memory of a simulated disk: plain memory whose stores are counted as steps.
//! Tests that crash in the middle of stores run in one thread; others only read what was published.

use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::{SimDisk, World};
use crate::disk::memory::{Backing, Memory};

#[derive(Clone)]
pub(super) struct SimMemory(Arc<Words>);

/// As a mapping, it begins with a page.
#[repr(align(4096))]
struct Block(#[expect(dead_code, reason = "reached by its address")] UnsafeCell<[u8; 4096]>);

struct Words {
    blocks: Box<[Block]>,
    len: usize,
    world: Weak<World>,
    /// Something was stored since the disk last looked.
    changed: AtomicBool,
}

// SAFETY: the words are reached through `Memory`, which keeps to its own rules of sharing, and by the simulated
// disk, which copies them as the kernel would.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Backing for Words {
    fn admits_store(&self) -> bool {
        let Some(world) = self.world.upgrade() else { return false };
        let is_admitted = world.state.lock().whole_step().is_ok();
        self.changed.fetch_or(is_admitted, Ordering::AcqRel);
        is_admitted
    }
}

impl SimMemory {
    pub(super) fn new(disk: &SimDisk, bytes: &[u8]) -> SimMemory {
        let blocks = (0..bytes.len().div_ceil(4096)).map(|_| Block(UnsafeCell::new([0; 4096]))).collect();
        let memory = SimMemory(Arc::new(Words {
            blocks,
            len: bytes.len(),
            world: Arc::downgrade(&disk.0),
            changed: AtomicBool::new(false),
        }));
        memory.write(bytes, 0);
        memory
    }

    pub(super) fn len(&self) -> usize {
        self.0.len
    }

    fn base(&self) -> NonNull<u8> {
        NonNull::new(self.0.blocks.as_ptr().cast_mut().cast()).expect("a box is not at address zero")
    }

    /// The memory as the store uses it.
    pub(super) fn shared(&self) -> Memory {
        // SAFETY: the words live in the backing and are page aligned; only the disk reaches them besides.
        unsafe { Memory::new(self.base(), self.0.len, self.0.clone(), true) }
    }

    /// Its bytes if something was stored since the last call.
    pub(super) fn take_changed(&self) -> Option<Vec<u8>> {
        self.0.changed.swap(false, Ordering::AcqRel).then(|| self.bytes())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        // SAFETY: in bounds of the words; see the note on threads above.
        unsafe { slice::from_raw_parts(self.base().as_ptr(), self.0.len) }.to_vec()
    }

    pub(super) fn write(&self, data: &[u8], at: usize) {
        assert!(at + data.len() <= self.0.len, "a write into mapped memory stays inside");
        // SAFETY: in bounds; `data` is not part of the words.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.base().as_ptr().add(at), data.len()) };
    }
}
