// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Time series of rising counts, thinned as they age: seconds for ten minutes, ten seconds for a minute, ten
//! minutes for an hour, hours for a day. In: samples. Out: rates. Used by the rates only.
//! Invariant: a series keeps a fixed number of samples, oldest first, and always one to compare with.

use std::collections::VecDeque;
use std::time::Duration;

use stdx::Timestamp;

/// The shortest step of a history.
pub(super) const STEP: Duration = Duration::from_secs(10);

/// How far a rate looks back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    Minute,
    Hour,
    Day,
}

/// What happened in a span.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    pub(crate) sum: u64,
    pub(crate) per_second: f64,
    pub(crate) per_call: f64,
}

/// The counts at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) at: Timestamp,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) calls: u64,
}

/// The samples of one counter.
#[derive(Debug)]
pub(crate) struct History {
    minute: Window,
    hour: Window,
    day: Window,
}

#[derive(Debug)]
struct Window {
    every: Duration,
    keep: usize,
    samples: VecDeque<Sample>,
}

impl History {
    /// A history that starts with nothing at `now`.
    pub(crate) fn new(now: Timestamp) -> History {
        let first = Sample { at: now, messages: 0, bytes: 0, calls: 0 };
        let window =
            |every, keep| Window { every: Duration::from_secs(every), keep, samples: [first].into() };
        History { minute: window(STEP.as_secs(), 7), hour: window(600, 7), day: window(3600, 25) }
    }

    /// Takes a sample into those windows whose step has passed.
    pub(crate) fn push(&mut self, sample: Sample) {
        [&mut self.minute, &mut self.hour, &mut self.day].into_iter().for_each(|window| window.push(sample));
    }

    /// What happened between the oldest sample of the span and `now`.
    pub(crate) fn rate(&self, span: Span, now: Sample, count: fn(&Sample) -> u64) -> Rate {
        let window = match span {
            Span::Minute => &self.minute,
            Span::Hour => &self.hour,
            Span::Day => &self.day,
        };
        let Some(first) = window.samples.front() else { return Rate::default() };
        let sum = count(&now).saturating_sub(count(first));
        let calls = now.calls.saturating_sub(first.calls);
        let seconds = now.at.since(first.at).as_secs_f64();
        let per = |of: f64| if of > 0.0 { sum as f64 / of } else { 0.0 };
        Rate { sum, per_second: per(seconds), per_call: per(calls as f64) }
    }
}

impl Window {
    fn push(&mut self, sample: Sample) {
        if self.samples.back().is_some_and(|last| sample.at.since(last.at) < self.every) {
            return;
        }
        self.samples.push_back(sample);
        while self.samples.len() > self.keep {
            self.samples.pop_front();
        }
    }
}

/// The broker's own counts second by second: stored, found, missed, given.
#[derive(Debug)]
pub(crate) struct Seconds {
    samples: VecDeque<(Timestamp, [u64; 4])>,
    morning: Morning,
}

/// Messages stored and given by the last two midnights (UTC).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Morning {
    day: i64,
    /// Stored and given by the midnight of yesterday.
    pub(crate) yesterday: (u64, u64),
    /// Stored and given by the midnight of today.
    pub(crate) today: (u64, u64),
}

const SECONDS: usize = 601;
const DAY_MILLIS: i64 = 86_400_000;

impl Seconds {
    pub(crate) fn new(now: Timestamp) -> Seconds {
        let morning = Morning { day: now.0.div_euclid(DAY_MILLIS), ..Morning::default() };
        Seconds { samples: [(now, [0; 4])].into(), morning }
    }

    pub(crate) fn push(&mut self, now: Timestamp, counts: [u64; 4]) {
        let day = now.0.div_euclid(DAY_MILLIS);
        if day > self.morning.day {
            let today = (counts[0], counts[3]);
            self.morning = Morning { day, yesterday: self.morning.today, today };
        }
        self.samples.push_back((now, counts));
        while self.samples.len() > SECONDS {
            self.samples.pop_front();
        }
    }

    /// Counts at the last two midnights.
    pub(crate) fn morning(&self) -> Morning {
        self.morning
    }

    /// Messages stored a second, over this many seconds; `None` while there are not so many yet.
    pub(crate) fn puts(&self, seconds: usize) -> Option<f64> {
        self.rate(0, seconds)
    }

    /// Pulls a second that found something.
    pub(crate) fn found(&self, seconds: usize) -> Option<f64> {
        self.rate(1, seconds)
    }

    /// Pulls a second that found nothing.
    pub(crate) fn missed(&self, seconds: usize) -> Option<f64> {
        self.rate(2, seconds)
    }

    /// Messages given a second.
    pub(crate) fn given(&self, seconds: usize) -> Option<f64> {
        self.rate(3, seconds)
    }

    fn rate(&self, count: usize, seconds: usize) -> Option<f64> {
        let (last_at, last) = self.samples.back()?;
        let index = self.samples.len().checked_sub(seconds + 1)?;
        let (first_at, first) = self.samples.get(index)?;
        let time = last_at.since(*first_at).as_secs_f64();
        let sum = last[count].saturating_sub(first[count]) as f64;
        Some(if time > 0.0 { sum / time } else { 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_that_begins_moves_the_mornings_on() {
        let mut seconds = Seconds::new(Timestamp(DAY_MILLIS - 1000));
        seconds.push(Timestamp(DAY_MILLIS - 500), [7, 0, 0, 3]);
        assert_eq!(seconds.morning().today, (0, 0));
        seconds.push(Timestamp(DAY_MILLIS), [9, 0, 0, 4]);
        seconds.push(Timestamp(2 * DAY_MILLIS), [20, 0, 0, 10]);
        assert_eq!((seconds.morning().yesterday, seconds.morning().today), ((9, 4), (20, 10)));
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_negative_rates() {
        let mut history = History::new(Timestamp(10_000));
        let sample = |at, messages| Sample { at: Timestamp(at), messages, bytes: 0, calls: 1 };
        history.push(sample(5_000, 5));
        let rate = history.rate(Span::Minute, sample(4_000, 6), |sample| sample.messages);
        assert_eq!((rate.sum, rate.per_second), (6, 0.0));
    }
}
