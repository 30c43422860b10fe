// SPDX-License-Identifier: Apache-2.0
//! Log lines that a hostile peer can cause, at most one a second a site. Used where a connection gives up on its peer.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use stdx::Timestamp;

const PAUSE: Duration = Duration::from_secs(1);

/// One site that logs.
pub(crate) struct Quiet {
    next: AtomicI64,
    unsaid: AtomicU64,
}

impl Quiet {
    pub(crate) const fn new() -> Quiet {
        Quiet { next: AtomicI64::new(i64::MIN), unsaid: AtomicU64::new(0) }
    }

    /// Returns how many lines were left out since the last one, or `None` when this one is left out too.
    pub(crate) fn speak(&self, now: Timestamp) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let claim =
            || self.next.compare_exchange(next, (now + PAUSE).0, Ordering::Relaxed, Ordering::Relaxed);
        if now.0 < next || claim().is_err() {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_once_a_second_and_counts_the_rest() {
        let quiet = Quiet::new();
        let spoken: Vec<_> = [0, 1, 999, 1000, 1001, 5000].map(|ms| quiet.speak(Timestamp(ms))).into();
        assert_eq!(spoken, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
