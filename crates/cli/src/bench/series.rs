// SPDX-License-Identifier: Apache-2.0
//! What a run measured tick by tick, so that a stall shows when it was and not only that it was. Filled by `load` while it
//! runs. Invariant: points follow each other without a hole from the beginning of the span to its last answer.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// One tick of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    /// Seconds from the beginning of the measured time to the end of the tick.
    pub(super) at: f64,
    /// How long it was; the last one may be shorter than the others.
    pub(super) seconds: f64,
    pub(super) messages: u64,
    pub(super) errors: u64,
    /// Median, 99th percentile and maximum in nanoseconds; none where nothing was answered.
    pub(super) latency: Option<[u64; 3]>,
}

/// The ticks so far and the one that is under way.
pub(super) struct Series {
    begin: Instant,
    tick: Duration,
    /// Number of the tick under way.
    at: u32,
    messages: u64,
    errors: u64,
    latency: Histogram<u64>,
    points: Vec<Point>,
}

impl Series {
    pub(super) fn new(begin: Instant, tick: Duration) -> Series {
        Series {
            begin,
            tick,
            at: 0,
            messages: 0,
            errors: 0,
            // Two digits: it is emptied at each tick and only three of its values are looked at.
            latency: Histogram::new_with_bounds(1_000, 60_000_000_000, 2).expect("the bounds are in order"),
            points: Vec::new(),
        }
    }

    /// Notes messages that were answered at `now`.
    pub(super) fn note(&mut self, now: Instant, nanos: u64, messages: u64) {
        self.roll(now);
        self.latency.saturating_record(nanos);
        self.messages += messages;
    }

    /// Notes failures that were told at `now`.
    pub(super) fn failed(&mut self, now: Instant, count: u64) {
        self.roll(now);
        self.errors += count;
    }

    /// All ticks up to `end`, and beyond it those that have an answer.
    pub(super) fn points(mut self, end: Instant) -> Vec<Point> {
        self.roll(end);
        let rest = (end.saturating_duration_since(self.begin)).saturating_sub(self.tick * self.at);
        let is_empty = self.latency.is_empty() && self.errors == 0;
        if !is_empty || rest > Duration::ZERO {
            // What came after the end fills the tick it came in.
            let length = if rest > Duration::ZERO { rest.min(self.tick) } else { self.tick };
            self.close(length);
        }
        self.points
    }

    fn roll(&mut self, now: Instant) {
        while now.saturating_duration_since(self.begin) >= self.tick * (self.at + 1) {
            self.close(self.tick);
        }
    }

    fn close(&mut self, length: Duration) {
        let at = |quantile| self.latency.value_at_quantile(quantile);
        let latency = (!self.latency.is_empty()).then(|| [at(0.5), at(0.99), self.latency.max()]);
        self.points.push(Point {
            at: (self.tick * self.at + length).as_secs_f64(),
            seconds: length.as_secs_f64(),
            messages: std::mem::take(&mut self.messages),
            errors: std::mem::take(&mut self.errors),
            latency,
        });
        self.latency.reset();
        self.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    fn shape(points: &[Point]) -> Vec<(u64, u64, u64, bool)> {
        points
            .iter()
            .map(|point| {
                let millis = (point.at * 1000.0).round() as u64;
                (millis, point.messages, point.errors, point.latency.is_some())
            })
            .collect()
    }

    #[test]
    fn ticks_follow_each_other_without_a_hole() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut series = Series::new(begin, TICK);
        series.note(at(5), 1_000_000, 2);
        series.note(at(99), 3_000_000, 1);
        series.failed(at(310), 4);
        let points = series.points(at(450));
        let expected = vec![
            (100, 3, 0, true),
            (200, 0, 0, false),
            (300, 0, 0, false),
            (400, 0, 4, false),
            (450, 0, 0, false),
        ];
        assert_eq!(shape(&points), expected);
        let [median, p99, most] = points[0].latency.expect("something was answered");
        assert!((990_000..1_020_000).contains(&median), "{median}");
        assert!(p99 == most && (2_990_000..3_050_000).contains(&p99), "{p99} {most}");
        assert!((points[4].seconds - 0.05).abs() < 1e-9);
    }

    #[test]
    fn what_is_answered_behind_the_end_has_its_tick_and_an_end_on_a_tick_adds_none() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        assert_eq!(
            shape(&Series::new(begin, TICK).points(at(200))),
            [(100, 0, 0, false), (200, 0, 0, false)]
        );
        assert_eq!(shape(&Series::new(begin, TICK).points(at(0))), []);
        let mut series = Series::new(begin, TICK);
        series.note(at(230), 1_000_000, 7);
        assert_eq!(
            shape(&series.points(at(200))),
            [(100, 0, 0, false), (200, 0, 0, false), (300, 7, 0, true)]
        );
    }
}
