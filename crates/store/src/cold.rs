// SPDX-License-Identifier: Apache-2.0
//! The store's own threads for work that waits for the device, so that no one else has to. Jobs come from cold reads
//! and queries; answers go back through a future.
//! Invariants: at most [`LIMIT`] jobs wait; every job is answered or, when the store closes, its future says so; a
//! job whose future was dropped is not begun.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use stdx::Stop;

use crate::error::ReadError;

/// How many jobs wait at most.
pub(crate) const LIMIT: usize = 4096;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(crate) struct Readers {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Readers {
    /// Hands over a job.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
    ) -> Answer<T> {
        let slot = Arc::new(Mutex::new(Slot::Waiting(None)));
        let guard = Given { slot: Arc::downgrade(&slot) };
        let run: Job = Box::new(move || guard.run(job));
        let mut queue = self.queue.lock();
        if queue.closed {
            *slot.lock() = Slot::Answered(Err(ReadError::Closed));
        } else if queue.jobs.len() >= LIMIT {
            let busy = ReadError::Busy { retry_after: Duration::from_millis(20) };
            *slot.lock() = Slot::Answered(Err(busy));
        } else {
            queue.jobs.push_back(run);
            self.changed.notify_one();
        }
        Answer { slot }
    }

    /// Does jobs until stopped.
    pub(crate) fn run(&self, stop: &Stop) {
        let mut queue = self.queue.lock();
        while !stop.is_set() && !queue.closed {
            match queue.jobs.pop_front() {
                Some(job) => parking_lot::MutexGuard::unlocked(&mut queue, job),
                None => _ = self.changed.wait_for(&mut queue, Duration::from_millis(500)),
            }
        }
    }

    /// Does the jobs that wait now; for tests and the simulator, which have no threads.
    pub(crate) fn step(&self) -> usize {
        let jobs = std::mem::take(&mut self.queue.lock().jobs);
        let count = jobs.len();
        jobs.into_iter().for_each(|job| job());
        count
    }

    /// Answers everyone that the store is closed.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        let jobs = std::mem::take(&mut queue.jobs);
        drop(queue);
        // Dropping a job answers it.
        drop(jobs);
        self.changed.notify_all();
    }
}

enum Slot<T> {
    Waiting(Option<Waker>),
    Answered(Result<T, ReadError>),
    Taken,
}

/// A job's side of its answer. Dropped without an answer, it says that the store is closed.
struct Given<T> {
    slot: Weak<Mutex<Slot<T>>>,
}

impl<T> Given<T> {
    fn run(self, job: impl FnOnce() -> Result<T, ReadError>) {
        // Nobody waits any more.
        if self.slot.strong_count() > 0 {
            self.answer(job());
        }
    }

    fn answer(&self, answer: Result<T, ReadError>) {
        let Some(slot) = self.slot.upgrade() else { return };
        let before = {
            let mut slot = slot.lock();
            if !matches!(*slot, Slot::Waiting(_)) {
                return;
            }
            std::mem::replace(&mut *slot, Slot::Answered(answer))
        };
        if let Slot::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<T> Drop for Given<T> {
    fn drop(&mut self) {
        self.answer(Err(ReadError::Closed));
    }
}

/// The answer to a job. Dropping it withdraws a job that was not begun.
pub struct Answer<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

impl<T> Future for Answer<T> {
    type Output = Result<T, ReadError>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.slot.lock();
        match std::mem::replace(&mut *slot, Slot::Taken) {
            Slot::Answered(answer) => Poll::Ready(answer),
            Slot::Taken => panic!("an answer is taken once"),
            Slot::Waiting(_) => {
                *slot = Slot::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll<T>(answer: &mut Answer<T>) -> Poll<Result<T, ReadError>> {
        Pin::new(answer).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn every_job_is_answered() {
        let readers = Readers::default();
        let mut first = readers.submit(|| Ok(1));
        assert!(poll(&mut first).is_pending());
        let withdrawn = readers.submit(|| -> Result<(), _> { panic!("nobody wants this") });
        drop(withdrawn);
        readers.step();
        assert_eq!(poll(&mut first), Poll::Ready(Ok(1)));
        let mut late = readers.submit(|| Ok(2));
        readers.close();
        assert_eq!(poll(&mut late), Poll::Ready(Err(ReadError::Closed)));
        assert_eq!(poll(&mut readers.submit(|| Ok(3))), Poll::Ready(Err(ReadError::Closed)));
    }

    #[test]
    fn too_many_jobs_are_refused() {
        let readers = Readers::default();
        let waiting: Vec<_> = (0..LIMIT).map(|n| readers.submit(move || Ok(n))).collect();
        assert!(matches!(poll(&mut readers.submit(|| Ok(0))), Poll::Ready(Err(ReadError::Busy { .. }))));
        drop(waiting);
    }
}
