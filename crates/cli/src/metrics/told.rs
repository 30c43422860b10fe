// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. How long requests spend where, as it travels from the metrics port to `kiruna stages`: counts by time, so that whoever
//! has asked twice can tell what was between.

use serde::{Deserialize, Serialize};
use stdx::Times;

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) stage: String,
    /// The longest there ever was, in nanoseconds.
    pub(crate) longest: u64,
    /// The longest time of each bucket in nanoseconds, and how many are in it.
    pub(crate) buckets: Vec<(u64, u64)>,
}

impl Told {
    pub(crate) fn new(stage: &str, times: &Times) -> Told {
        Told { stage: stage.to_owned(), longest: times.longest(), buckets: times.buckets().collect() }
    }

    /// What came since `earlier`. The longest is then told by its bucket, where it is not the longest there ever was.
    pub(crate) fn since(&self, earlier: &Told) -> Told {
        let before =
            |bound| earlier.buckets.iter().find(|bucket| bucket.0 == bound).map_or(0, |bucket| bucket.1);
        let counts = self.buckets.iter().map(|(bound, count)| (*bound, count.saturating_sub(before(*bound))));
        let buckets: Vec<(u64, u64)> = counts.filter(|(_, count)| *count > 0).collect();
        let last = buckets.last().map_or(0, |bucket| bucket.0);
        let is_new = self.longest > earlier.longest;
        Told { stage: self.stage.clone(), longest: if is_new { self.longest } else { last }, buckets }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// How long this share of them took at most, in nanoseconds.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut passed = 0;
        let reached = self.buckets.iter().find(|(_, count)| {
            passed += count;
            passed >= wanted
        });
        reached.map_or(0, |(bound, _)| (*bound).min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_between_is_what_is_more() {
        let histogram = stdx::Histogram::default();
        histogram.record(1_000, 90);
        histogram.record(9_000_000, 1);
        let earlier = Told::new("s", &histogram.read());
        histogram.record(2_000, 9_998);
        histogram.record(5_000, 2);
        let times = histogram.read();
        let later = Told::new("s", &times);
        assert_eq!((later.quantile(0.5), later.quantile(1.0)), (times.quantile(0.5), 9_000_000));
        let between = later.since(&earlier);
        assert_eq!(between.count(), 10_000);
        assert!((2_000..2_063).contains(&between.quantile(0.999)), "{between:?}");
        assert!((5_000..5_157).contains(&between.quantile(0.9999)), "{between:?}");
        assert!((5_000..5_157).contains(&between.longest), "the longest was before");
        histogram.record(10_000_000, 1);
        assert_eq!(Told::new("s", &histogram.read()).since(&later).longest, 10_000_000);
        assert_eq!((later.since(&later).count(), later.since(&later).quantile(0.5)), (0, 0));
    }
}
