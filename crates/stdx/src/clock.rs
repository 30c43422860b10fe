// SPDX-License-Identifier: Apache-2.0
//! Time as a handle. Cores take `now` as an argument; shells read it here, once per request.
//! Invariant: a waker handed to `wake_at` is woken at or after its time, or forgotten by `cancel`.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::{Add, Sub};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

/// Milliseconds since the Unix epoch, as they stand on the wire and on disk.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns the time passed since `earlier`, zero when the clock stepped back.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, rhs: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(rhs.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, rhs: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(rhs.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where time comes from. Production uses [`SystemClock`], tests and the simulator bring their own.
pub trait Clock: Send + Sync + 'static {
    /// Reads the wall clock.
    fn now(&self) -> Timestamp;
    /// Nanoseconds of a clock that nobody sets, counted from anywhere: to measure how long something took, and nothing
    /// else. Where time is made up, what takes none takes none.
    fn tick(&self) -> u64 {
        u64::try_from(self.now().0).unwrap_or(0).saturating_mul(1_000_000)
    }
    /// Asks for `waker` to be woken once `at` has come. The returned ticket cancels it.
    fn wake_at(&self, at: Timestamp, waker: Waker) -> u64;
    /// Forgets a wake-up that is no longer wanted.
    fn cancel(&self, at: Timestamp, ticket: u64);
}

/// Resolves to the inner future's output, or to `None` once the clock has passed `at`.
pub fn deadline<F: Future>(clock: &Arc<dyn Clock>, at: Timestamp, future: F) -> Deadline<F> {
    Deadline { future: Box::pin(future), clock: clock.clone(), at, ticket: None }
}

/// Future of [`deadline`].
pub struct Deadline<F> {
    future: Pin<Box<F>>,
    clock: Arc<dyn Clock>,
    at: Timestamp,
    ticket: Option<u64>,
}

impl<F: Future> Future for Deadline<F> {
    type Output = Option<F::Output>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(out) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Some(out));
        }
        if self.clock.now() >= self.at {
            return Poll::Ready(None);
        }
        if let Some(ticket) = self.ticket.take() {
            self.clock.cancel(self.at, ticket);
        }
        self.ticket = Some(self.clock.wake_at(self.at, cx.waker().clone()));
        Poll::Pending
    }
}

impl<F> Drop for Deadline<F> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.clock.cancel(self.at, ticket);
        }
    }
}

/// The machine's clock with one timer thread of its own.
pub struct SystemClock {
    timers: Arc<Timers>,
    started: Instant,
}

#[derive(Default)]
struct Timers {
    state: Mutex<TimerState>,
    changed: Condvar,
}

#[derive(Default)]
struct TimerState {
    wakers: BTreeMap<(Timestamp, u64), Waker>,
    next_ticket: u64,
    closed: bool,
}

impl SystemClock {
    /// Starts the timer thread.
    #[expect(clippy::new_ret_no_self, reason = "the clock is only ever used as a handle")]
    pub fn new() -> Arc<dyn Clock> {
        let timers = Arc::new(Timers::default());
        let thread = timers.clone();
        std::thread::Builder::new()
            .name("clock".into())
            .spawn(move || thread.run())
            .expect("the process can start its clock thread");
        Arc::new(SystemClock { timers, started: Instant::now() })
    }
}

fn system_now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        system_now()
    }

    fn tick(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn wake_at(&self, at: Timestamp, waker: Waker) -> u64 {
        let mut state = self.timers.state.lock();
        state.next_ticket += 1;
        let ticket = state.next_ticket;
        let is_first = state.wakers.first_key_value().is_none_or(|(&(first, _), _)| at < first);
        state.wakers.insert((at, ticket), waker);
        if is_first {
            self.timers.changed.notify_one();
        }
        ticket
    }

    fn cancel(&self, at: Timestamp, ticket: u64) {
        self.timers.state.lock().wakers.remove(&(at, ticket));
    }
}

impl Drop for SystemClock {
    fn drop(&mut self) {
        self.timers.state.lock().closed = true;
        self.timers.changed.notify_one();
    }
}

impl Timers {
    fn run(&self) {
        let mut state = self.state.lock();
        while !state.closed {
            let now = system_now();
            let later = state.wakers.split_off(&(Timestamp(now.0.saturating_add(1)), 0));
            let due = std::mem::replace(&mut state.wakers, later);
            if !due.is_empty() {
                parking_lot::MutexGuard::unlocked(&mut state, || due.into_values().for_each(Waker::wake));
                continue;
            }
            match state.wakers.first_key_value().map(|(&(at, _), _)| at) {
                // A wait is capped so that a wall clock stepped forward is noticed.
                Some(at) => {
                    let wait = at.since(now).clamp(Duration::from_millis(1), Duration::from_secs(1));
                    self.changed.wait_for(&mut state, wait);
                }
                None => self.changed.wait(&mut state),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::sync::mpsc;
    use std::task::Wake;

    struct Notify(Mutex<mpsc::Sender<()>>);
    impl Wake for Notify {
        fn wake(self: Arc<Self>) {
            let _ = self.0.lock().send(());
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let (sender, receiver) = mpsc::channel();
        let waker = Waker::from(Arc::new(Notify(Mutex::new(sender))));
        let mut future = Box::pin(future);
        loop {
            if let Poll::Ready(out) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return out;
            }
            receiver.recv().expect("the waker is alive");
        }
    }

    #[test]
    fn a_deadline_ends_a_future_that_never_does() {
        let clock = SystemClock::new();
        let at = clock.now() + Duration::from_millis(5);
        assert_eq!(block_on(deadline(&clock, at, pending::<()>())), None);
        assert!(clock.now() >= at);
        assert_eq!(block_on(deadline(&clock, at, ready(7))), Some(7));
    }

    #[test]
    fn ticks_are_nanoseconds() {
        let clock = SystemClock::new();
        let (at, before) = (clock.now() + Duration::from_millis(20), clock.tick());
        block_on(deadline(&clock, at, pending::<()>()));
        let took = clock.tick() - before;
        assert!((18_000_000..5_000_000_000).contains(&took), "{took}");
    }

    #[test]
    fn times_saturate() {
        assert_eq!(Timestamp(i64::MAX) + Duration::from_secs(1), Timestamp(i64::MAX));
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }
}
