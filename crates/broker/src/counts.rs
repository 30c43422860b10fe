// SPDX-License-Identifier: Apache-2.0
//! What went in and out since the start. Counted by sends and pulls, read by whoever shows figures.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one broker; each only rises.
#[derive(Debug, Default)]
pub struct Counts {
    sent_messages: AtomicU64,
    sent_bytes: AtomicU64,
    pulls_found: AtomicU64,
    pulls_missed: AtomicU64,
    pulled_messages: AtomicU64,
    pulled_bytes: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountsNow {
    /// Messages stored for clients.
    pub sent_messages: u64,
    /// Bytes of their records.
    pub sent_bytes: u64,
    /// Pulls that gave messages.
    pub pulls_found: u64,
    /// Pulls that gave none.
    pub pulls_missed: u64,
    /// Messages given to consumers.
    pub pulled_messages: u64,
    /// Bytes of their records.
    pub pulled_bytes: u64,
}

impl Counts {
    pub(crate) fn sent(&self, messages: usize, bytes: usize) {
        self.sent_messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn pulled(&self, messages: usize, bytes: usize) {
        self.pulls_found.fetch_add(1, Ordering::Relaxed);
        self.pulled_messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.pulled_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn missed(&self) {
        self.pulls_missed.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads all counters.
    pub fn now(&self) -> CountsNow {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CountsNow {
            sent_messages: read(&self.sent_messages),
            sent_bytes: read(&self.sent_bytes),
            pulls_found: read(&self.pulls_found),
            pulls_missed: read(&self.pulls_missed),
            pulled_messages: read(&self.pulled_messages),
            pulled_bytes: read(&self.pulled_bytes),
        }
    }
}
