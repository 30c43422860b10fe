// SPDX-License-Identifier: Apache-2.0
//! How long things took, counted on the hot path and read by whoever shows figures. Recording takes two additions and a
//! comparison, no lock and no memory; threads that record at the same time mostly do so in different places.
//! Invariants: nothing that was recorded is lost; a time is at most 1/32 shorter than the bound of the bucket it is
//! counted in, and never longer, up to [`LONGEST`].

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Each power of two is cut into two to the power of this.
const CUT: u32 = 5;
/// Times from two to the power of this on, in nanoseconds, are counted together: a bit more than two minutes.
const POWERS: u32 = 37;
const BUCKETS: usize = ((POWERS - CUT + 1) << CUT) as usize;
/// The longest time that is told apart from longer ones, in nanoseconds.
pub const LONGEST: u64 = (1 << POWERS) - 1;
/// More threads than this share their places.
const SHARDS_MAX: usize = 8;

/// Counts of times in nanoseconds, by how long they are.
pub struct Histogram {
    shards: Box<[Shard]>,
}

#[repr(align(128))]
struct Shard {
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    longest: AtomicU64,
}

thread_local! {
    /// Which shard is this thread's, where there are enough of them.
    static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    PLACE.with(|place| {
        if place.get() == usize::MAX {
            place.set(NEXT.fetch_add(1, Relaxed));
        }
        place.get()
    })
}

/// The bucket of a time.
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.min(LONGEST);
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(CUT + 1);
    ((u64::from(shift) << CUT) + (nanos >> shift)) as usize
}

/// The longest time that is counted in a bucket.
fn bound(bucket: usize) -> u64 {
    let (row, column) = ((bucket >> CUT) as u64, (bucket & ((1 << CUT) - 1)) as u64);
    match row.checked_sub(1) {
        None => column,
        Some(shift) => (((1 << CUT) + column + 1) << shift) - 1,
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = threads.next_power_of_two().min(SHARDS_MAX);
        let zero = || AtomicU64::new(0);
        let shard = |_| Shard { counts: std::array::from_fn(|_| zero()), sum: zero(), longest: zero() };
        Histogram { shards: (0..shards).map(shard).collect() }
    }
}

impl Histogram {
    /// Counts `times` things that took so long each.
    pub fn record(&self, nanos: u64, times: usize) {
        let times = times as u64;
        let shard = &self.shards[place() & (self.shards.len() - 1)];
        shard.counts[bucket(nanos)].fetch_add(times, Relaxed);
        shard.sum.fetch_add(nanos.wrapping_mul(times), Relaxed);
        // mostly it is not the longest, and then nothing is written
        if nanos > shard.longest.load(Relaxed) && times > 0 {
            shard.longest.fetch_max(nanos, Relaxed);
        }
    }

    /// What was counted until now.
    pub fn read(&self) -> Times {
        let mut times = Times { counts: vec![0; BUCKETS], sum: 0, longest: 0 };
        for shard in &self.shards {
            for (all, count) in times.counts.iter_mut().zip(&shard.counts) {
                *all += count.load(Relaxed);
            }
            times.sum = times.sum.wrapping_add(shard.sum.load(Relaxed));
            times.longest = times.longest.max(shard.longest.load(Relaxed));
        }
        times
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let times = self.read();
        write!(f, "Histogram({} times, {} ns together)", times.count(), times.sum)
    }
}

/// What a [`Histogram`] held at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    counts: Vec<u64>,
    sum: u64,
    longest: u64,
}

impl Times {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long all took together, in nanoseconds.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How long the longest took, in nanoseconds.
    pub fn longest(&self) -> u64 {
        self.longest
    }

    /// How long this share of them took at most, in nanoseconds; zero where there are none. At most 1/32 too long.
    pub fn quantile(&self, share: f64) -> u64 {
        let count = self.count();
        let wanted = ((count as f64 * share).ceil() as u64).clamp(1, count.max(1));
        let mut passed = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            passed += count;
            if passed >= wanted {
                let is_open = bucket == BUCKETS - 1;
                return if is_open { self.longest } else { bound(bucket).min(self.longest) };
            }
        }
        0
    }

    /// How many took up to `nanos`: of those in the bucket of `nanos`, all are counted when it ends there, else none.
    pub fn up_to(&self, nanos: u64) -> u64 {
        let end = bucket(nanos.saturating_add(1));
        self.counts[..end].iter().sum()
    }

    /// The longest time of each bucket that is not empty, and how many it holds, the shortest first.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(bucket, count)| (bound(bucket), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::{Arc, Barrier};

    fn of(nanos: &[u64]) -> Times {
        let histogram = Histogram::default();
        nanos.iter().for_each(|nanos| histogram.record(*nanos, 1));
        histogram.read()
    }

    #[test]
    fn buckets_begin_where_the_last_one_ends() {
        assert_eq!([0, 1, 31, 32, 63, 64, 65, 66].map(bucket), [0, 1, 31, 32, 63, 64, 64, 65]);
        let mut begin = 0;
        for number in 0..BUCKETS {
            assert_eq!((bucket(begin), bucket(bound(number))), (number, number), "{begin}");
            let width = bound(number) + 1 - begin;
            assert!(width == 1 || width * 32 <= begin, "a bucket is narrow");
            begin = bound(number) + 1;
        }
        assert_eq!(begin, LONGEST + 1);
        assert_eq!([LONGEST, LONGEST + 1, u64::MAX].map(bucket), [BUCKETS - 1; 3]);
    }

    #[test]
    fn shares_are_told_by_the_longest_of_them() {
        let even: Vec<u64> = (1..=1000).map(|n| n * 1000).collect();
        let times = of(&even);
        for (share, truth) in [(0.5, 500_000), (0.99, 990_000), (0.999, 999_000), (0.0, 1000)] {
            let told = times.quantile(share);
            assert!(told >= truth && told <= truth + truth / 32, "{share}: {told}");
        }
        assert_eq!((times.quantile(1.0), times.longest(), times.count()), (1_000_000, 1_000_000, 1000));
        assert_eq!(times.sum(), 500_500_000);
        assert_eq!((of(&[]).quantile(0.5), of(&[]).count(), of(&[7]).quantile(0.5)), (0, 0, 7));
        assert_eq!(of(&[u64::MAX / 2]).quantile(0.5), u64::MAX / 2, "longer than any bucket");
    }

    #[test]
    fn what_ends_a_bucket_parts_it_from_the_next() {
        let times = of(&[1, 1023, 1024, 2047, 2048, LONGEST + 5]);
        assert_eq!([0, 1, 1023, 2047, 4095, u64::MAX].map(|nanos| times.up_to(nanos)), [0, 1, 2, 4, 5, 5]);
        let all: Vec<(u64, u64)> = times.buckets().collect();
        assert_eq!((all[0], all.len(), all[5].0), ((1, 1), 6, LONGEST));
    }

    #[test]
    fn threads_lose_nothing_to_each_other() {
        const THREADS: u64 = 12;
        const EACH: u64 = 200_000;
        let histogram = Arc::new(Histogram::default());
        let mut threads = crate::Threads::default();
        let start = Arc::new(Barrier::new(THREADS as usize));
        for thread in 0..THREADS {
            let (histogram, start) = (histogram.clone(), start.clone());
            let record = move |_| {
                start.wait();
                (0..EACH).for_each(|n| histogram.record(n % 7 + thread, 2));
            };
            threads.spawn("recorder", record).expect("a thread starts");
        }
        threads.join();
        let times = histogram.read();
        assert_eq!(times.count(), THREADS * EACH * 2);
        let each = (0..EACH).map(|n| n % 7).sum::<u64>() * THREADS + EACH * (0..THREADS).sum::<u64>();
        assert_eq!((times.sum(), times.longest()), (each * 2, 6 + THREADS - 1));
    }

    proptest! {
        #[test]
        fn a_time_is_counted_where_it_belongs(nanos in 0u64..=LONGEST) {
            let bound = bound(bucket(nanos));
            prop_assert!(bound >= nanos && bound - nanos <= nanos / 32);
        }
    }
}
