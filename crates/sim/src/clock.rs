// SPDX-License-Identifier: Apache-2.0
//! Time that stands still until it is moved. Invariant: it never moves back, and a waker is woken when its time comes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;
use stdx::{Clock, Timestamp};

/// When every simulation begins.
pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000);

/// The clock of a simulated machine.
pub(crate) struct VirtualClock(Mutex<Hands>);

struct Hands {
    now: Timestamp,
    wakers: BTreeMap<(Timestamp, u64), Waker>,
    tickets: u64,
}

impl VirtualClock {
    pub(crate) fn new() -> Arc<VirtualClock> {
        Arc::new(VirtualClock(Mutex::new(Hands { now: START, wakers: BTreeMap::new(), tickets: 0 })))
    }

    /// Moves on and wakes whoever waited for a time up to then.
    pub(crate) fn set(&self, now: Timestamp) {
        let mut hands = self.0.lock();
        assert!(now >= hands.now, "time does not run back");
        hands.now = now;
        let later = hands.wakers.split_off(&(Timestamp(now.0 + 1), 0));
        let due = std::mem::replace(&mut hands.wakers, later);
        drop(hands);
        due.into_values().for_each(Waker::wake);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().now
    }

    fn wake_at(&self, at: Timestamp, waker: Waker) -> u64 {
        let mut hands = self.0.lock();
        hands.tickets += 1;
        let ticket = hands.tickets;
        hands.wakers.insert((at, ticket), waker);
        ticket
    }

    fn cancel(&self, at: Timestamp, ticket: u64) {
        self.0.lock().wakers.remove(&(at, ticket));
    }
}
