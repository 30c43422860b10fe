// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. How many timed messages may go now, so that a million due in one second neither fill the stages nor stand
//! in the way of plain sends. In: the time, how many a second. Out: how many, or when to ask again.
//! Invariant: no window of time gets more than its share, however often it is asked, and whichever way the clock goes.

use std::time::Duration;

use stdx::Timestamp;

/// Shares are given for windows of this length.
const WINDOW_MS: i64 = 10;

/// What of the current window is spent.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    window: i64,
    spent: usize,
}

impl Pace {
    /// Gives up to `want`. `rate` is the most in a second, 0 stands for no limit.
    pub(crate) fn take(&mut self, now: Timestamp, rate: u32, want: usize) -> usize {
        if rate == 0 {
            return want;
        }
        let window = now.0.div_euclid(WINDOW_MS);
        if window != self.window {
            *self = Pace { window, spent: 0 };
        }
        let share = (rate as usize).div_ceil(1000 / WINDOW_MS as usize);
        let given = want.min(share.saturating_sub(self.spent));
        self.spent += given;
        given
    }

    /// Takes back what was given and not used.
    pub(crate) fn give_back(&mut self, count: usize) {
        self.spent = self.spent.saturating_sub(count);
    }

    /// When the next share is given.
    pub(crate) fn next(&self) -> Timestamp {
        Timestamp(self.window.saturating_mul(WINDOW_MS)) + Duration::from_millis(WINDOW_MS as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_has_its_share() {
        let mut pace = Pace::default();
        let mut take = |now: i64, want| pace.take(Timestamp(now), 1000, want);
        assert_eq!((take(100, 4), take(109, 64), take(109, 1)), (4, 6, 0));
        assert_eq!((take(110, 64), take(119, 1)), (10, 0));
        assert_eq!(take(50, 64), 10, "the clock went back");
        assert_eq!(pace.next(), Timestamp(60));
        pace.give_back(3);
        assert_eq!(pace.take(Timestamp(55), 1000, 64), 3);
        assert_eq!(pace.take(Timestamp(55), 0, 64), 64, "no limit");
        assert_eq!(Pace::default().take(Timestamp(1), 1, 64), 1, "a low rate is not none");
    }
}
