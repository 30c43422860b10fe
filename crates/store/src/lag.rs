// SPDX-License-Identifier: Apache-2.0
//! How far dispatch is behind in time. An append leaves a mark when there is none; dispatch takes it once it has come
//! that far. So the record that is watched is always the first one appended since dispatch came by: the one that waited longest.
//! Invariant: marks are left by one thread at a time (under the lock of the sequencer) and taken by one at a time (under that of
//! dispatch).

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub(crate) struct Lag {
    /// One past the record that is watched; 0 when none is.
    end: AtomicU64,
    /// When it was appended.
    at: AtomicU64,
}

impl Lag {
    /// A record that ends at `end` is appended at `at`.
    pub(crate) fn appended(&self, end: u64, at: u64) {
        if self.end.load(Ordering::Acquire) == 0 {
            self.at.store(at, Ordering::Relaxed);
            self.end.store(end, Ordering::Release);
        }
    }

    /// Dispatch has come to `dispatched`: when the record that was watched is below, tells when it was appended.
    pub(crate) fn passed(&self, dispatched: u64) -> Option<u64> {
        let end = self.end.load(Ordering::Acquire);
        let at = self.at.load(Ordering::Relaxed);
        (end != 0 && end <= dispatched).then(|| {
            self.end.store(0, Ordering::Release);
            at
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_since_the_last_look_is_watched() {
        let lag = Lag::default();
        assert_eq!(lag.passed(100), None);
        lag.appended(200, 7);
        lag.appended(300, 9);
        assert_eq!((lag.passed(199), lag.passed(250), lag.passed(300)), (None, Some(7), None));
        lag.appended(400, 11);
        assert_eq!(lag.passed(u64::MAX), Some(11));
    }
}
