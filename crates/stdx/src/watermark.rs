// SPDX-License-Identifier: Apache-2.0
//! A number that only rises, and those who wait for it.
//! Invariant: the value never falls; a waiter is woken exactly when its target is reached, in order of target,
//! or when the watermark is closed because its owner can make no more promises.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The owner closed the watermark: the target will never be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// A rising number with waiters.
#[derive(Default)]
pub struct Watermark {
    value: AtomicU64,
    closed: AtomicBool,
    /// Tasks and threads that wait; zero lets `advance` skip the lock.
    waiting: AtomicUsize,
    waiters: Mutex<Waiters>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiters {
    by_target: BTreeMap<(u64, u64), Waker>,
    next_id: u64,
}

impl Watermark {
    /// Starts at `value`.
    pub fn new(value: u64) -> Watermark {
        Watermark { value: AtomicU64::new(value), ..Watermark::default() }
    }

    /// Reads the value.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    /// Raises the value and wakes those it satisfied; a lower value changes nothing.
    pub fn advance(&self, to: u64) {
        if self.value.fetch_max(to, Ordering::AcqRel) >= to {
            return;
        }
        // Pairs with the fence in `enter`: either this sees the waiter or the waiter sees the value.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.wake(to);
        }
    }

    /// Wakes everyone with [`Closed`]; no later target is ever reached.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.wake(u64::MAX);
    }

    /// Resolves once the value is at least `target`.
    pub fn reached(&self, target: u64) -> Reached<'_> {
        Reached { watermark: self, target, id: None }
    }

    /// Blocks a loop's own thread until the value exceeds `seen`, the time is over, or it is closed or nudged.
    pub fn wait_past(&self, seen: u64, time: Duration) -> u64 {
        let mut waiters = self.waiters.lock();
        self.enter();
        if self.get() <= seen && !self.closed.load(Ordering::SeqCst) {
            self.changed.wait_for(&mut waiters, time);
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.get()
    }

    /// Wakes loop threads in `wait_past` without a change, for example to stop them.
    pub fn nudge(&self) {
        let _guard = self.waiters.lock();
        self.changed.notify_all();
    }

    fn enter(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    fn wake(&self, upto: u64) {
        let mut waiters = self.waiters.lock();
        let later = upto.checked_add(1).map(|next| waiters.by_target.split_off(&(next, 0)));
        let due = std::mem::replace(&mut waiters.by_target, later.unwrap_or_default());
        self.waiting.fetch_sub(due.len(), Ordering::Relaxed);
        self.changed.notify_all();
        drop(waiters);
        due.into_values().for_each(Waker::wake);
    }
}

/// Future of [`Watermark::reached`]; dropping it forgets the waiter.
pub struct Reached<'a> {
    watermark: &'a Watermark,
    target: u64,
    id: Option<u64>,
}

impl Reached<'_> {
    fn outcome(&self) -> Option<Result<(), Closed>> {
        if self.watermark.get() >= self.target {
            Some(Ok(()))
        } else if self.watermark.closed.load(Ordering::SeqCst) {
            Some(Err(Closed))
        } else {
            None
        }
    }
}

impl Future for Reached<'_> {
    type Output = Result<(), Closed>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        let mut waiters = self.watermark.waiters.lock();
        let id = match self.id {
            Some(id) => id,
            None => {
                waiters.next_id += 1;
                waiters.next_id
            }
        };
        if waiters.by_target.insert((self.target, id), cx.waker().clone()).is_none() {
            self.watermark.enter();
        }
        self.id = Some(id);
        drop(waiters);
        // The value may have moved between the first look and the registration.
        match self.outcome() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id
            && self.watermark.waiters.lock().by_target.remove(&(self.target, id)).is_some()
        {
            self.watermark.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicU32);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll(future: &mut Reached<'_>, count: &Arc<Count>) -> Poll<Result<(), Closed>> {
        let waker = Waker::from(count.clone());
        Pin::new(future).poll(&mut Context::from_waker(&waker))
    }

    #[test]
    fn wakes_exactly_those_it_satisfied() {
        let mark = Watermark::new(10);
        let (early, late) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let (mut a, mut b) = (mark.reached(20), mark.reached(30));
        assert!(poll(&mut a, &early).is_pending());
        assert!(poll(&mut b, &late).is_pending());
        mark.advance(20);
        assert_eq!((early.0.load(Ordering::SeqCst), late.0.load(Ordering::SeqCst)), (1, 0));
        assert_eq!(poll(&mut a, &early), Poll::Ready(Ok(())));
        mark.advance(5);
        assert_eq!(mark.get(), 20);
        mark.close();
        assert_eq!(poll(&mut b, &late), Poll::Ready(Err(Closed)));
        drop((a, b));
        assert_eq!(mark.waiting.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_dropped_waiter_is_forgotten() {
        let mark = Watermark::default();
        let count = Arc::new(Count::default());
        let mut waiter = mark.reached(1);
        assert!(poll(&mut waiter, &count).is_pending());
        drop(waiter);
        mark.advance(1);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        assert_eq!(mark.waiting.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_thread_sees_every_advance() {
        let mark = Arc::new(Watermark::default());
        let seen = mark.clone();
        let reader = std::thread::Builder::new()
            .spawn(move || {
                let mut last = 0;
                while last < 1000 {
                    last = seen.wait_past(last, Duration::from_secs(5));
                }
            })
            .expect("a thread starts");
        (1..=1000).for_each(|n| mark.advance(n));
        reader.join().expect("the reader ends");
    }
}
