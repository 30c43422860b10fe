// SPDX-License-Identifier: Apache-2.0
//! What a connection does when nothing happens: it ends the calls, requests, writes and peers whose time has come, and
//! gives back the memory of a calm connection. One timer a connection, set anew only when it has to fire earlier.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use bytes::BytesMut;
use stdx::Timestamp;
use tokio::time::{Instant, Sleep};

use super::{End, Link, READ_LEAST};
use crate::handle::{Rest, Wish};

/// Buffers not used for this long are given back.
const CALM: Duration = Duration::from_secs(5);
/// Deadlines are not told apart below this.
const TICK: Duration = Duration::from_millis(5);
/// A timer with nothing to wait for.
const FAR: Duration = Duration::from_secs(3600);

/// The connection's timer.
pub(crate) struct Alarm {
    timer: Pin<Box<Sleep>>,
    /// When it fires, on our clock.
    armed: Timestamp,
}

impl Alarm {
    /// Belongs to the runtime it is made in.
    pub(crate) fn new() -> Alarm {
        Alarm { timer: Box::pin(tokio::time::sleep(FAR)), armed: Timestamp(i64::MAX) }
    }

    fn is_early_enough(&self, due: Timestamp) -> bool {
        due >= self.armed && !self.timer.is_elapsed()
    }

    fn arm(&mut self, due: Timestamp, now: Timestamp, cx: &mut Context<'_>) {
        self.armed = due;
        self.timer.as_mut().reset(Instant::now() + due.since(now).max(TICK));
        // Registers the waker; a timer just set has not fired.
        let _ = self.timer.as_mut().poll(cx);
    }
}

impl Link {
    /// Prepares to sleep. False when there is something to do after all.
    pub(super) fn rest(&mut self, wish: Wish, cx: &mut Context<'_>) -> Result<bool, End> {
        if !self.parked.stuck(self.stuck_bytes()) {
            return Err(End::Broken("too much is kept for peers that do not go on", String::new()));
        }
        let has_forgotten = self.reading.backlog && !self.is_choked();
        debug_assert!(!has_forgotten, "nothing would wake the task for what it has read already");
        let blocked = !self.writing.is_done();
        let Rest::Sleep(calls_due) = self.connection.rest(cx.waker(), wish, blocked) else {
            return Ok(false);
        };
        let due = self.next_due(calls_due);
        if self.alarm.is_early_enough(due) {
            return Ok(true);
        }
        let now = self.connection.clock().now();
        if due <= now {
            // Moves every deadline that has passed, so the next look arms the timer.
            self.on_alarm(now)?;
            return Ok(false);
        }
        self.alarm.arm(due, now, cx);
        Ok(true)
    }

    fn stuck_bytes(&self) -> usize {
        let input = &self.reading.input;
        // What is held counts, not what was filled of it: buffers double as they grow.
        let unfinished = if input.len() > READ_LEAST { input.capacity() } else { 0 };
        unfinished + self.writing.left()
    }

    fn next_due(&self, calls_due: Option<Timestamp>) -> Timestamp {
        let active = self.reading.active;
        let stalled = self.stall.as_ref().map(|stall| stall.since + self.limits.write_deadline);
        let idle = self.idle_limit().map(|idle| active + idle);
        let calm = self.reading.is_warm.then(|| active + CALM);
        let all = [stalled, idle, calm, calls_due, self.parked.overdue()];
        all.into_iter().flatten().min().unwrap_or(active + FAR)
    }

    /// A peer that waits for us is not idle.
    fn idle_limit(&self) -> Option<Duration> {
        self.limits.idle.filter(|_| self.parked.is_empty())
    }

    fn on_alarm(&mut self, now: Timestamp) -> Result<(), End> {
        let has_passed = |since: Timestamp, time: Duration| since + time <= now;
        if self.stall.as_ref().is_some_and(|stall| has_passed(stall.since, self.limits.write_deadline)) {
            let unsent = format!("{} bytes are unsent", self.connection.unsent());
            return Err(End::Broken("the peer does not read", unsent));
        }
        if self.idle_limit().is_some_and(|idle| has_passed(self.reading.active, idle)) {
            return Err(End::Idle);
        }
        self.connection.expire_calls(now);
        self.parked.sweep(now, &self.connection);
        if has_passed(self.reading.active, CALM) {
            self.release();
        }
        Ok(())
    }

    /// Gives back the memory of a calm connection.
    fn release(&mut self) {
        let left = std::mem::take(&mut self.reading.input);
        if !left.is_empty() {
            self.reading.input = BytesMut::from(&left[..]);
        }
        self.reading.want = READ_LEAST;
        self.reading.is_warm = false;
        self.writing.release();
        self.connection.release();
    }
}
