// SPDX-License-Identifier: Apache-2.0
//! Counters of rare events, and how long the stages of the store take; what the watermarks tell is not counted again.
//! Read by the broker's statistics and by the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};

use stdx::{Clock, Histogram};

use crate::lag::Lag;

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
    /// How long things took.
    pub stages: Stages,
}

/// How long the stages of the store take.
#[derive(Debug, Default)]
pub struct Stages {
    /// Waiting for the lock of the log, of each record; nothing where it was free.
    pub append_wait: Histogram,
    /// Holding that lock, of each record that went into the log with it: those of one append have the time of all.
    pub append: Histogram,
    /// The same of each append that began a segment of the log.
    pub roll: Histogram,
    /// Making a stage or a segment in the middle of an append, because none was made ahead.
    pub make_room: Histogram,
    /// Waiting until the promised durability holds, of those who had to wait.
    pub settle: Histogram,
    /// Each write of the log to its files.
    pub drain: Histogram,
    /// Each sync of the log.
    pub flush: Histogram,
    /// From the append to the dispatch, of the record that waited longest each time dispatch came by.
    pub dispatch: Histogram,
    /// Reading on the threads for what is not in memory, waiting for one of them included.
    pub cold_read: Histogram,
    /// Each checkpoint of the views.
    pub checkpoint: Histogram,
    /// Removing a segment.
    pub remove: Histogram,
}

/// With what the parts of a store note how long they take.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    pub(crate) clock: &'a dyn Clock,
    pub(crate) stages: &'a Stages,
    pub(crate) lag: &'a Lag,
}

impl Watch<'_> {
    /// Notes how long `work` took, if it did anything.
    pub(crate) fn time<T>(
        self,
        stage: &Histogram,
        work: impl FnOnce() -> T,
        counts: impl FnOnce(&T) -> bool,
    ) -> T {
        let begun = self.clock.tick();
        let out = work();
        if counts(&out) {
            stage.record(self.clock.tick().saturating_sub(begun), 1);
        }
        out
    }
}
