// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. How long the hiccup meter sleeps: briefly while there is work to be disturbed, much longer while there is none,
//! because nobody waits then, and a processor that sleeps deeply is dear to wake: 40 times a second were 0.4 % of a core. In: how much was done so far. Out: how long to sleep.

use std::time::Duration;

/// While requests come.
pub(crate) const BRIEF: Duration = Duration::from_millis(1);
/// While few do.
pub(crate) const LONG: Duration = Duration::from_millis(250);
/// So many requests a second are worth a closer look.
const MANY: u64 = 200;
/// How often it is decided to look less closely.
const SECOND: u64 = 1_000_000_000;

/// The pace of the meter.
pub(crate) struct Pace {
    sleep: Duration,
    /// What was done when it was looked last, and when that was.
    done: u64,
    at: u64,
}

impl Pace {
    pub(crate) fn new(done: u64, at: u64) -> Pace {
        Pace { sleep: LONG, done, at }
    }

    /// How long to sleep now that `done` requests were served, at `at` nanoseconds.
    pub(crate) fn next(&mut self, done: u64, at: u64) -> Duration {
        let passed = at.saturating_sub(self.at);
        if self.sleep == LONG || passed >= SECOND {
            let is_much = done.saturating_sub(self.done).saturating_mul(SECOND) >= MANY * passed.max(1);
            self.sleep = if is_much { BRIEF } else { LONG };
            (self.done, self.at) = (done, at);
        }
        self.sleep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_makes_it_quick_at_once_and_rest_slow_after_a_second() {
        let ms = 1_000_000;
        let mut pace = Pace::new(0, 0);
        assert_eq!(pace.next(40, 250 * ms), LONG, "160 a second");
        assert_eq!(pace.next(100, 500 * ms), BRIEF);
        assert_eq!(pace.next(100, 501 * ms), BRIEF, "one quiet moment");
        assert_eq!(pace.next(240, 1499 * ms), BRIEF);
        assert_eq!(pace.next(240, 1500 * ms), LONG, "140 in the last second");
        assert_eq!(pace.next(240, 1750 * ms), LONG);
        assert_eq!(pace.next(u64::MAX, 1750 * ms), BRIEF);
    }
}
