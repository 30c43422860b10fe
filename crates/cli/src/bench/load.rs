// SPDX-License-Identifier: Apache-2.0
//! The two shapes of load over any kind of call: closed loop (a fixed number under way) and open loop (a rate).
//! One thread drives all connections: it writes all that is due, waits for the sockets, and takes all answers.
//! A refused or failed call counts as an error, never as a message. Nothing here knows what is being called.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use protocol::frame::Frame;
use stdx::Stop;

use super::pipe::Pipe;
use super::series::{Point, Series};
use super::target::PATIENCE;

/// What was measured.
pub(super) struct Measured {
    /// Latency in nanoseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// How often each kind of failure came.
    pub(super) errors: BTreeMap<String, u64>,
    /// The part of the run that counts; it ends earlier than was wanted when the run was stopped.
    pub(super) span: Span,
    /// The same tick by tick, where that was wanted.
    pub(super) points: Vec<Point>,
    series: Option<Series>,
    /// When the answers now looked at were read.
    now: Instant,
}

impl Measured {
    fn new(span: Span, tick: Option<Duration>) -> Measured {
        Measured {
            latency: Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are in order"),
            messages: 0,
            bytes: 0,
            errors: BTreeMap::new(),
            span,
            points: Vec::new(),
            series: tick.map(|tick| Series::new(span.begin, tick)),
            now: Instant::now(),
        }
    }

    /// Notes messages that were due then and have just been answered for.
    pub(super) fn note(&mut self, due: Instant, messages: u64, bytes: u64) {
        if self.now < self.span.begin {
            return;
        }
        let nanos = u64::try_from((self.now - due).as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record(nanos);
        self.messages += messages;
        self.bytes += bytes;
        if let Some(series) = &mut self.series {
            series.note(self.now, nanos, messages);
        }
    }

    fn failed(&mut self, what: String, count: u64) {
        if self.now >= self.span.begin && count > 0 {
            *self.errors.entry(what).or_default() += count;
            if let Some(series) = &mut self.series {
                series.failed(self.now, count);
            }
        }
    }
}

/// When the measurement begins and ends.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) begin: Instant,
    pub(super) end: Instant,
}

impl Span {
    pub(super) fn starting_now(warmup: Duration, length: Duration) -> Span {
        let begin = Instant::now() + warmup;
        Span { begin, end: begin + length }
    }
}

/// What a run is held to besides its span.
#[derive(Clone, Default)]
pub(super) struct Terms {
    /// It is over when so many messages are counted.
    pub(super) enough: Option<u64>,
    /// It is over when this is set.
    pub(super) stop: Stop,
    /// It is also noted tick by tick.
    pub(super) tick: Option<Duration>,
}

/// What is asked over one connection, and what its answers mean.
pub(super) trait Talk {
    /// Appends the frame of the next request.
    fn ask(&mut self, number: i32, due: Instant, out: &mut Vec<u8>);
    /// Notes what an answer stands for; an error is a refusal, told by its kind.
    fn answered(&mut self, due: Instant, answer: Frame, measured: &mut Measured) -> Result<(), String>;
}

/// How fast requests follow each other.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// So many are under way, always.
    Closed(usize),
    /// One each interval, however many are under way.
    Open(Duration),
}

impl Pace {
    /// So many requests a second.
    pub(super) fn rate(per_second: f64) -> Pace {
        Pace::Open(Duration::from_secs_f64(1.0 / per_second))
    }
}

/// One connection under load.
pub(super) struct Lane {
    pipe: Pipe,
    talk: Box<dyn Talk>,
    pace: Pace,
    /// Open loop: when the next request is due. Closed loop: no request before then.
    next: Instant,
}

/// After a refusal a closed loop waits so long: a server that refuses at once must not be hammered.
const PAUSE: Duration = Duration::from_millis(1);

impl Lane {
    pub(super) fn new(pipe: Pipe, talk: Box<dyn Talk>, pace: Pace) -> Lane {
        Lane { pipe, talk, pace, next: Instant::now() }
    }

    /// Writes every request that is due.
    fn ask(&mut self, now: Instant, end: Instant) -> Result<()> {
        let Lane { pipe, talk, .. } = self;
        match self.pace {
            Pace::Closed(outstanding) if self.next <= now => {
                while pipe.under_way() < outstanding {
                    pipe.ask(now, |number, out| talk.ask(number, now, out));
                }
            }
            Pace::Closed(_) => {}
            Pace::Open(interval) => {
                while self.next <= now && self.next < end {
                    let due = self.next;
                    pipe.ask(due, |number, out| talk.ask(number, due, out));
                    self.next += interval;
                }
            }
        }
        pipe.flush()
    }

    /// Takes every answer that is there. False when there was none.
    fn take(&mut self, measured: &mut Measured) -> Result<bool> {
        if !self.pipe.read()? {
            return Ok(false);
        }
        measured.now = Instant::now();
        while let Some((due, answer)) = self.pipe.answer()? {
            if let Err(refusal) = self.talk.answered(due, answer, measured) {
                measured.failed(refusal, 1);
                if matches!(self.pace, Pace::Closed(_)) {
                    self.next = measured.now + PAUSE;
                }
            }
        }
        Ok(true)
    }

    fn is_open_loop(&self) -> bool {
        matches!(self.pace, Pace::Open(_))
    }
}

/// Drives the load until the end of `span`, or until its terms are met. Answers of an open loop are waited for: a queue
/// that the server has built up belongs to the figure.
pub(super) fn drive(mut lanes: Vec<Lane>, span: Span, terms: &Terms) -> Result<Measured> {
    let mut measured = Measured::new(span, terms.tick);
    // A timer is late by more than the latencies in question; an open loop looks at the clock instead.
    let exact = lanes.iter().any(Lane::is_open_loop);
    let patience = if exact { Duration::ZERO } else { PAUSE };
    let mut ready = Vec::new();
    loop {
        let now = Instant::now();
        let waits = lanes.iter().any(|lane| lane.is_open_loop() && lane.pipe.under_way() > 0);
        let over = now >= span.end && (!waits || now >= span.end + PATIENCE);
        if over || terms.enough.is_some_and(|enough| measured.messages >= enough) {
            break;
        }
        if terms.stop.is_set() {
            measured.span.end = now.clamp(span.begin, span.end);
            break;
        }
        for lane in &mut lanes {
            lane.ask(now, span.end)?;
        }
        Pipe::wait(lanes.iter().map(|lane| &lane.pipe), patience, &mut ready)?;
        let mut idle = true;
        for (lane, _) in lanes.iter_mut().zip(&ready).filter(|(_, ready)| **ready) {
            if lane.take(&mut measured)? {
                idle = false;
                // the next request leaves before other connections are looked at
                lane.ask(measured.now, span.end)?;
            }
        }
        if exact && idle {
            std::thread::yield_now();
        }
    }
    measured.now = Instant::now();
    for lane in &lanes {
        measured.failed("no answer".to_owned(), lane.pipe.older_than(measured.now - PATIENCE));
    }
    let series = measured.series.take();
    measured.points = series.map(|series| series.points(measured.span.end)).unwrap_or_default();
    Ok(measured)
}
