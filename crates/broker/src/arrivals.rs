// SPDX-License-Identifier: Apache-2.0
//! Long polls: readers park here until a message arrives or their time is over. The async front of `waiters`.
//! Called by reads (park), by the dispatch loop (announce), by operators' moves (release) and by its own loop (expire). Never reads messages:
//! whoever is woken looks for itself. A reader parks *before* its last look, so nothing slips between.
//! Invariant: a reader has a slot while it is parked; no slot means it was woken, and dropping it forgets both.

pub(crate) mod waiters;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use protocol::filter::Filter;
use protocol::names::{QueueKey, QueueOffset};
use stdx::{Timestamp, Watermark};
use store::Arrival;

use self::waiters::{Full, WaiterId, Waiters};

/// Everyone who waits for a message.
pub(crate) struct Arrivals {
    state: Mutex<State>,
    /// How many are parked; zero lets an announcement skip the lock.
    parked: AtomicUsize,
    /// Rises when the earliest deadline changed, so that the loop can set its alarm anew.
    alarm: Watermark,
}

struct State {
    waiters: Waiters,
    slots: HashMap<WaiterId, Option<Waker>>,
}

impl Arrivals {
    /// Takes at most `max` waiting readers.
    pub(crate) fn new(max: usize) -> Arrivals {
        Arrivals {
            state: Mutex::new(State { waiters: Waiters::new(max), slots: HashMap::new() }),
            parked: AtomicUsize::new(0),
            alarm: Watermark::default(),
        }
    }

    /// Registers a reader that wants the message at `from` or a later one that matches `hint`.
    pub(crate) fn park(
        &self,
        key: &QueueKey,
        from: QueueOffset,
        hint: Arc<Filter>,
        until: Timestamp,
    ) -> Result<Parked<'_>, Full> {
        let mut state = self.state.lock();
        let first = state.waiters.next_deadline();
        let id = state.waiters.park(key.clone(), from, hint, until)?;
        state.slots.insert(id, None);
        self.parked.fetch_add(1, Ordering::Relaxed);
        drop(state);
        if first.is_none_or(|first| until < first) {
            self.alarm.advance(self.alarm.get() + 1);
        }
        // Pairs with the fence in `announce`: either it sees this reader, or the reader's next look sees the message.
        fence(Ordering::SeqCst);
        Ok(Parked { arrivals: self, id })
    }

    /// Wakes the readers that these messages are for. The messages can be read already.
    pub(crate) fn announce(&self, arrivals: &[Arrival]) {
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut woken = Vec::new();
        let mut state = self.state.lock();
        for arrival in arrivals {
            state.waiters.arrive(arrival.queue.key(), arrival.next, arrival.tag_hash, &mut woken);
        }
        self.wake(state, woken);
    }

    /// Wakes everyone who waits for a queue, to look around: something else than a message happened there.
    pub(crate) fn release(&self, key: &QueueKey) {
        let mut woken = Vec::new();
        let mut state = self.state.lock();
        state.waiters.release(key, &mut woken);
        self.wake(state, woken);
    }

    /// Wakes the readers whose time is over; returns when the next one's is.
    pub(crate) fn expire(&self, now: Timestamp) -> Option<Timestamp> {
        let mut woken = Vec::new();
        let mut state = self.state.lock();
        state.waiters.expire(now, &mut woken);
        let next = state.waiters.next_deadline();
        self.wake(state, woken);
        next
    }

    /// Rises when [`Arrivals::expire`] may have to run earlier than it said.
    pub(crate) fn alarm(&self) -> &Watermark {
        &self.alarm
    }

    /// Returns how many readers wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.parked.load(Ordering::Relaxed)
    }

    fn wake(&self, mut state: parking_lot::MutexGuard<'_, State>, woken: Vec<WaiterId>) {
        let wakers: Vec<Waker> = woken.iter().filter_map(|id| state.slots.remove(id).flatten()).collect();
        self.parked.fetch_sub(woken.len(), Ordering::Relaxed);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A registered reader; dropping it forgets it.
pub(crate) struct Parked<'a> {
    arrivals: &'a Arrivals,
    id: WaiterId,
}

impl Parked<'_> {
    /// Resolves when a message arrived or the time is over.
    pub(crate) fn woken(&mut self) -> Woken<'_> {
        Woken { arrivals: self.arrivals, id: self.id }
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        let mut state = self.arrivals.state.lock();
        if state.slots.remove(&self.id).is_some() {
            state.waiters.forget(self.id);
            self.arrivals.parked.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Future of [`Parked::woken`].
pub(crate) struct Woken<'a> {
    arrivals: &'a Arrivals,
    id: WaiterId,
}

impl Future for Woken<'_> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.arrivals.state.lock().slots.get_mut(&self.id) {
            None => Poll::Ready(()),
            Some(slot) => {
                if !slot.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    *slot = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::names::{QueueId, TopicName};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn key() -> QueueKey {
        QueueKey { topic: TopicName::stored("t"), queue: QueueId(0) }
    }

    fn all() -> Arc<Filter> {
        Arc::new(Filter::All)
    }

    #[test]
    fn a_reader_is_woken_once_and_forgotten_when_dropped() {
        let arrivals = Arrivals::new(2);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let mut parked = arrivals.park(&key(), QueueOffset(0), all(), Timestamp(10)).expect("there is room");
        let gone = arrivals.park(&key(), QueueOffset(0), all(), Timestamp(5)).expect("there is room");
        assert!(arrivals.park(&key(), QueueOffset(0), all(), Timestamp(5)).is_err());
        drop(gone);
        assert_eq!(arrivals.waiting(), 1);
        assert!(Pin::new(&mut parked.woken()).poll(&mut cx).is_pending());
        assert_eq!(arrivals.expire(Timestamp(9)), Some(Timestamp(10)));
        assert_eq!(arrivals.expire(Timestamp(10)), None);
        assert_eq!((count.0.load(Ordering::SeqCst), arrivals.waiting()), (1, 0));
        assert!(Pin::new(&mut parked.woken()).poll(&mut cx).is_ready());
        drop(parked);
        assert_eq!(arrivals.waiting(), 0);
    }

    #[test]
    fn an_earlier_deadline_rings_the_alarm() {
        let arrivals = Arrivals::new(9);
        let _late = arrivals.park(&key(), QueueOffset(0), all(), Timestamp(10));
        let rung = arrivals.alarm().get();
        let _later = arrivals.park(&key(), QueueOffset(0), all(), Timestamp(20));
        assert_eq!(arrivals.alarm().get(), rung);
        let _early = arrivals.park(&key(), QueueOffset(0), all(), Timestamp(5));
        assert!(arrivals.alarm().get() > rung);
    }
}
