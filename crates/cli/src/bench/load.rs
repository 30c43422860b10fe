// SPDX-License-Identifier: Apache-2.0
//! The two shapes of load over any kind of call: closed loop (a fixed number outstanding) and open loop (a rate).
//! A refused or failed call counts as an error, never as a message. Nothing here knows what is being called.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use hdrhistogram::Histogram;
use protocol::request::Header;
use remoting::{Call, CallError, Response};

/// What was measured.
pub(super) struct Measured {
    /// Latency in nanoseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// How often each kind of failure came.
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) elapsed: Duration,
}

impl Default for Measured {
    fn default() -> Measured {
        let latency = Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are in order");
        Measured { latency, messages: 0, bytes: 0, errors: BTreeMap::new(), elapsed: Duration::ZERO }
    }
}

impl Measured {
    /// Adds what another connection measured at the same time.
    pub(super) fn merge(&mut self, other: &Measured) {
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.elapsed = self.elapsed.max(other.elapsed);
        for (error, count) in &other.errors {
            *self.errors.entry(error.clone()).or_default() += count;
        }
    }

    pub(super) fn note(&mut self, due: Instant, messages: u64, bytes: u64) {
        let nanos = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record(nanos);
        self.messages += messages;
        self.bytes += bytes;
    }

    pub(super) fn failed(&mut self, error: &CallError) {
        let kind = match error {
            CallError::Refused { refusal, .. } => format!("code {}", refusal.0),
            CallError::Timeout { .. } => "timeout".to_owned(),
            other => other.to_string(),
        };
        *self.errors.entry(kind).or_default() += 1;
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

/// Keeps `outstanding` calls under way until the end. `start` makes the next call; `count` says how many messages and
/// bytes an answer stands for.
pub(super) async fn closed_loop<H: Header>(
    span: Span,
    outstanding: usize,
    mut start: impl FnMut() -> Call<H>,
    mut count: impl FnMut(Response<H>) -> Result<(u64, u64), CallError>,
) -> Measured {
    let mut measured = Measured::default();
    let mut under_way = FuturesUnordered::new();
    for _ in 0..outstanding {
        under_way.push(timed(Instant::now(), start()));
    }
    while let Some((due, answer)) = under_way.next().await {
        let now = Instant::now();
        if now >= span.end {
            break;
        }
        let outcome = answer.and_then(&mut count);
        if now >= span.begin {
            match &outcome {
                Ok((messages, bytes)) => measured.note(due, *messages, *bytes),
                Err(error) => measured.failed(error),
            }
        }
        if outcome.is_err() {
            // A server that refuses at once must not be hammered by a spinning loop.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        under_way.push(timed(Instant::now(), start()));
    }
    measured.elapsed = span.end - span.begin;
    measured
}

/// Starts a call each time one is due, however many are under way, and counts its latency from then. `start` is told
/// when that was.
pub(super) async fn open_loop<H: Header>(
    span: Span,
    rate: f64,
    mut start: impl FnMut(Instant) -> Call<H>,
    mut count: impl FnMut(Response<H>) -> Result<(u64, u64), CallError>,
) -> Measured {
    let mut measured = Measured::default();
    let mut under_way = FuturesUnordered::new();
    let first = Instant::now();
    let interval = Duration::from_secs_f64(1.0 / rate);
    let mut sent = 0u32;
    loop {
        let now = Instant::now();
        while first + interval * sent <= now && now < span.end {
            let due = first + interval * sent;
            under_way.push(timed(due, start(due)));
            sent += 1;
        }
        if now >= span.end && (under_way.is_empty() || now > span.end + super::target::PATIENCE) {
            break;
        }
        // A timer sleeps a millisecond at least; looking again at once keeps the pace exact.
        match futures_util::future::poll_immediate(under_way.next()).await {
            Some(Some((due, answer))) if due >= span.begin => match answer.and_then(&mut count) {
                Ok((messages, bytes)) => measured.note(due, messages, bytes),
                Err(error) => measured.failed(&error),
            },
            Some(Some(_)) => {}
            _ => tokio::task::yield_now().await,
        }
    }
    measured.elapsed = span.end - span.begin;
    measured
}

async fn timed<H: Header>(due: Instant, call: Call<H>) -> (Instant, Result<Response<H>, CallError>) {
    (due, call.await)
}
