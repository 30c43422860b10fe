// SPDX-License-Identifier: Apache-2.0
//! Futures that are polled when the scheduler says so, and only after they were woken: a wake-up that is forgotten
//! leaves its future waiting, as it would in production.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use stdx::Timestamp;

/// The operations under way; `L` tells what each is, `T` what comes of it.
pub(crate) struct Tasks<L, T> {
    tasks: BTreeMap<u64, Task<L, T>>,
    started: u64,
}

/// One operation under way.
pub(crate) struct Task<L, T> {
    pub(crate) label: L,
    /// It must have ended by then, if loops are not late.
    pub(crate) until: Timestamp,
    future: Pin<Box<dyn Future<Output = T>>>,
    woken: Arc<Flag>,
    /// When it was first seen to be ready.
    since: Option<Timestamp>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<L, T> Default for Tasks<L, T> {
    fn default() -> Tasks<L, T> {
        Tasks { tasks: BTreeMap::new(), started: 0 }
    }
}

impl<L, T> Tasks<L, T> {
    /// Takes an operation in; it is ready at once.
    pub(crate) fn start(
        &mut self,
        label: L,
        until: Timestamp,
        future: impl Future<Output = T> + 'static,
    ) -> u64 {
        self.started += 1;
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        let task = Task { label, until, future: Box::pin(future), woken, since: None };
        self.tasks.insert(self.started, task);
        self.started
    }

    /// Those that were woken, and since when that is known.
    pub(crate) fn ready(&mut self, now: Timestamp) -> Vec<(u64, Timestamp)> {
        let ready = self.tasks.iter_mut().filter(|(_, task)| task.is_ready());
        ready.map(|(id, task)| (*id, *task.since.get_or_insert(now))).collect()
    }

    /// Polls one; what comes of it, once it has ended.
    pub(crate) fn poll(&mut self, id: u64) -> Option<(L, T)> {
        let task = self.tasks.get_mut(&id).expect("the scheduler chooses among those that are there");
        task.woken.0.store(false, Ordering::SeqCst);
        task.since = None;
        let waker = Waker::from(task.woken.clone());
        match task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => None,
            Poll::Ready(out) => self.tasks.remove(&id).map(|task| (task.label, out)),
        }
    }

    /// All that have not ended.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (u64, &Task<L, T>)> {
        self.tasks.iter().map(|(id, task)| (*id, task))
    }

    /// Drops them all, as the death of a process does.
    pub(crate) fn clear(&mut self) {
        self.tasks.clear();
    }

    /// Drops one, as a client does that goes away.
    pub(crate) fn abandon(&mut self, id: u64) {
        self.tasks.remove(&id);
    }
}

impl<L, T> Task<L, T> {
    /// True when it was woken and not polled since.
    pub(crate) fn is_ready(&self) -> bool {
        self.woken.0.load(Ordering::SeqCst)
    }
}
