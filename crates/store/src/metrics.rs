// SPDX-License-Identifier: Apache-2.0
//! Counters of rare events; what the watermarks tell is not counted again. Read by the broker's statistics.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a store counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Appends refused because the disk is behind.
    pub busy: Counter,
    /// Syncs of the log.
    pub flushes: Counter,
    /// Reads handed to the reader threads.
    pub cold_reads: Counter,
    /// Records that were looked into because the filter of a reader asks for properties, and nothing was remembered of them.
    pub looks: Counter,
    /// Messages that a reader came by and did not get because their time was over.
    pub expired: Counter,
    /// Checkpoints of the views.
    pub checkpoints: Counter,
    /// Segments that retention removed.
    pub segments_removed: Counter,
}
