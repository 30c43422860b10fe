// SPDX-License-Identifier: Apache-2.0
//! A queue this consumer holds, as the member loop, the queue's worker and its handlers share it.
//! Invariants: a message finished after the queue was rewound changes nothing; once stopped, never running again.

use parking_lot::Mutex;
use protocol::names::QueueOffset;
use stdx::Timestamp;
use tokio::sync::Notify;

use crate::consumer::received::Received;
use crate::consumer::window::{Window, WindowLimits};
use crate::queue::Queue;

pub(crate) struct Held {
    pub(crate) queue: Queue,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// Absent until the first offset is known.
    window: Option<Window<Received>>,
    /// Counts rewinds.
    round: u64,
    rewind: Option<QueueOffset>,
    stop: Option<Stop>,
    committed: Option<QueueOffset>,
    locked_until: Timestamp,
    last_pull: Timestamp,
    last_delivery: Timestamp,
}

/// Why a worker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The queue goes to another member: keep the progress, give back the lock.
    GivenUp,
    /// The lock is already somebody else's: leave everything as it is.
    LockLost,
    /// The consumer shuts down: let the listener finish, then as for `GivenUp`.
    Leaving,
}

/// Messages for one call of the listener.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) round: u64,
    pub(crate) messages: Vec<Received>,
}

/// What servers' tools want to know of a queue.
pub(crate) struct HeldStatus {
    pub(crate) committable: u64,
    pub(crate) span: Option<(u64, u64)>,
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) locked: bool,
    pub(crate) stopped: bool,
    pub(crate) last_pull: Timestamp,
    pub(crate) last_delivery: Timestamp,
}

impl Held {
    pub(crate) fn new(queue: Queue, locked_until: Timestamp) -> Held {
        let state = State {
            window: None,
            round: 0,
            rewind: None,
            stop: None,
            committed: None,
            locked_until,
            last_pull: Timestamp(0),
            last_delivery: Timestamp(0),
        };
        Held { queue, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Begins at an offset; `committed` is what the broker knows already.
    pub(crate) fn begin(&self, from: QueueOffset, committed: Option<QueueOffset>) {
        let mut state = self.state.lock();
        state.window = Some(Window::new(from.0));
        state.committed = committed;
    }

    /// Asks the worker to end.
    pub(crate) fn stop(&self, why: Stop) {
        self.state.lock().stop.get_or_insert(why);
        self.changed.notify_waiters();
    }

    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.state.lock().stop
    }

    /// Resolves once the worker was asked to end.
    pub(crate) async fn until_stopped(&self) {
        self.until(|state| state.stop.is_some()).await;
    }

    /// Asks the worker to go on somewhere else.
    pub(crate) fn ask_rewind(&self, to: QueueOffset) {
        self.state.lock().rewind = Some(to);
        self.changed.notify_waiters();
    }

    /// Resolves once the worker was asked for something.
    pub(crate) async fn until_asked(&self) {
        self.until(|state| state.stop.is_some() || state.rewind.is_some()).await;
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Registered before the look, so that nothing slips between.
            changed.as_mut().enable();
            if holds(&self.state.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// Takes the place to go on at, if the worker was asked to.
    pub(crate) fn take_rewind(&self) -> Option<QueueOffset> {
        self.state.lock().rewind.take()
    }

    /// Goes on at an offset, forward or back. What was handed over before does not count any more.
    pub(crate) fn rewind(&self, to: QueueOffset) {
        let mut state = self.state.lock();
        state.window = Some(Window::new(to.0));
        state.round += 1;
        state.committed = None;
    }

    /// The offset to pull next, unless the window is full.
    pub(crate) fn next_pull(&self, limits: &WindowLimits) -> Option<QueueOffset> {
        let state = self.state.lock();
        let window = state.window.as_ref().filter(|window| window.has_room(limits))?;
        Some(QueueOffset(window.next()))
    }

    /// Takes in what a pull brought.
    pub(crate) fn pulled(&self, next: QueueOffset, messages: Vec<Received>, now: Timestamp) {
        let mut state = self.state.lock();
        state.last_pull = now;
        if let Some(window) = &mut state.window {
            window.pulled(next.0, messages.into_iter().map(|m| (m.offset.0, m.body.len(), m)));
        }
    }

    /// True when a message waits to be handed over.
    pub(crate) fn has_waiting(&self) -> bool {
        self.state.lock().window.as_ref().is_some_and(Window::has_waiting)
    }

    /// Takes messages for the listener.
    pub(crate) fn take(&self, max: usize, now: Timestamp) -> Option<Batch> {
        let mut state = self.state.lock();
        let messages: Vec<Received> = state.window.as_mut()?.take(max).into_iter().map(|(_, m)| m).collect();
        if messages.is_empty() {
            return None;
        }
        state.last_delivery = now;
        Some(Batch { round: state.round, messages })
    }

    /// Marks messages of a round as dealt with.
    pub(crate) fn finish(&self, round: u64, offsets: impl IntoIterator<Item = QueueOffset>) {
        let mut state = self.state.lock();
        if state.round == round
            && let Some(window) = &mut state.window
        {
            offsets.into_iter().for_each(|offset| window.finish(offset.0));
        }
    }

    /// The offset to commit, when it is news.
    pub(crate) fn uncommitted(&self) -> Option<QueueOffset> {
        let state = self.state.lock();
        let committable = QueueOffset(state.window.as_ref()?.committable());
        (state.committed != Some(committable)).then_some(committable)
    }

    /// Notes what the broker knows now.
    pub(crate) fn committed(&self, offset: QueueOffset) {
        self.state.lock().committed = Some(offset);
    }

    /// Notes that the broker granted the lock.
    pub(crate) fn locked(&self, until: Timestamp) {
        self.state.lock().locked_until = until;
        self.changed.notify_waiters();
    }

    pub(crate) fn locked_until(&self) -> Timestamp {
        self.state.lock().locked_until
    }

    /// Resolves once the lock is good at `now()` or the worker shall end.
    pub(crate) async fn until_locked(&self, now: impl Fn() -> Timestamp) {
        self.until(|state| state.stop.is_some() || now() < state.locked_until).await;
    }

    pub(crate) fn status(&self, now: Timestamp) -> HeldStatus {
        let state = self.state.lock();
        let window = state.window.as_ref();
        HeldStatus {
            committable: window.map_or(0, Window::committable),
            span: window.and_then(Window::span),
            messages: window.map_or(0, Window::len),
            bytes: window.map_or(0, Window::bytes),
            locked: now < state.locked_until,
            stopped: state.stop.is_some(),
            last_pull: state.last_pull,
            last_delivery: state.last_delivery,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::received::tests::stored;
    use futures_util::FutureExt;
    use protocol::filter::Filter;
    use protocol::names::{BrokerName, TopicName};

    fn held(offsets: std::ops::Range<u64>) -> Held {
        let (topic, broker) = (TopicName::stored("t"), BrokerName::stored("b"));
        let held = Held::new(Queue::new(topic, broker.clone(), 1), Timestamp(100));
        held.begin(QueueOffset(offsets.start), None);
        pull(&held, offsets);
        held
    }

    fn pull(held: &Held, offsets: std::ops::Range<u64>) {
        let bytes: Vec<u8> = offsets.clone().flat_map(|o| stored("t", o, 0, b"x", "")).collect();
        let messages = Received::list(&bytes.into(), &held.queue.broker, &Filter::All).unwrap();
        held.pulled(QueueOffset(offsets.end), messages, Timestamp(1));
    }

    fn offsets(batch: &Batch) -> Vec<QueueOffset> {
        batch.messages.iter().map(|m| m.offset).collect()
    }

    #[test]
    fn a_message_finished_after_a_rewind_changes_nothing() {
        let held = held(5..8);
        let old = held.take(3, Timestamp(1)).unwrap();
        held.rewind(QueueOffset(6));
        pull(&held, 6..8);
        let new = held.take(3, Timestamp(1)).unwrap();
        assert_eq!((offsets(&new).len(), held.uncommitted()), (2, Some(QueueOffset(6))));
        held.finish(old.round, offsets(&old));
        assert_eq!(held.uncommitted(), Some(QueueOffset(6)));
        held.finish(new.round, offsets(&new));
        assert_eq!(held.uncommitted(), Some(QueueOffset(8)));
        held.committed(QueueOffset(8));
        assert_eq!(held.uncommitted(), None);
    }

    #[test]
    fn the_first_reason_to_stop_counts_and_ends_every_wait() {
        let held = held(0..0);
        assert!(held.until_asked().now_or_never().is_none());
        assert!(held.until_locked(|| Timestamp(99)).now_or_never().is_some());
        assert!(held.until_locked(|| Timestamp(100)).now_or_never().is_none());
        held.ask_rewind(QueueOffset(3));
        assert!(held.until_asked().now_or_never().is_some());
        assert_eq!((held.take_rewind(), held.take_rewind()), (Some(QueueOffset(3)), None));
        held.stop(Stop::LockLost);
        held.stop(Stop::GivenUp);
        assert_eq!(held.stopped(), Some(Stop::LockLost));
        assert!(held.until_locked(|| Timestamp(100)).now_or_never().is_some());
        assert!(held.until_stopped().now_or_never().is_some());
    }
}
