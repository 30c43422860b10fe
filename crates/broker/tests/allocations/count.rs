// SPDX-License-Identifier: Apache-2.0
//! An allocator that counts, for each thread by itself, how often it is asked for memory. The libraries that do so count
//! the whole process, or a closure on one thread; here turns of the server's own thread are counted from outside.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;

/// The system's allocator, with a count.
pub(crate) struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
    static IS_SHOWN: Cell<bool> = const { Cell::new(false) };
}

/// How often this thread has asked for memory, or for more of it.
pub(crate) fn asked() -> u64 {
    ASKED.get()
}

/// From now on each time that this thread asks is printed with where it does, or no longer.
pub(crate) fn show(is_shown: bool) {
    IS_SHOWN.set(is_shown);
}

fn note(bytes: usize) {
    // A thread that ends frees its variables first.
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
    if IS_SHOWN.try_with(|shown| shown.replace(false)).unwrap_or(false) {
        eprintln!("{bytes} bytes\n{}", Backtrace::force_capture());
        show(true);
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(old, layout) }
    }
}
