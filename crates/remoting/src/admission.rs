// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Who may enter: classes, byte budgets, shedding at the door, before a header is decoded.
//! In: enter, park, leave. Out: a permit or `Busy`. Each connection has a `Gate`; all gates of a server share a `Budget`.
//! Requests that are answered at once cost a comparison; only one that waits is counted in the shared budget.
//! Invariant: the budget is the sum of what its gates hold, and a dropped gate holds nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stdx::Timestamp;

/// So much of an unfinished frame or an unread answer is every connection's own affair.
const STUCK_A_LITTLE: usize = 64 << 10;

/// A long poll up to this size holds no bytes.
const SMALL_POLL: usize = 4 << 10;

/// Kinds of requests that are limited together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Stores messages.
    Send,
    /// Decides about what is stored already. Goes on where sends have to wait: each one makes room.
    Settle,
    /// Reads messages; may wait for them for long, and then holds a slot but no bytes.
    Pull,
    /// Keeps a client working: heartbeats, progress, locks, routes.
    Client,
    /// Operators' work.
    Admin,
    /// What servers tell each other.
    Control,
}

impl Class {
    /// The part of the shared budget, in percent, that this class may fill: data gives way to what keeps clients alive.
    fn share(self) -> usize {
        match self {
            Class::Send => 80,
            Class::Pull | Class::Admin => 90,
            Class::Settle | Class::Client | Class::Control => 100,
        }
    }

    /// The part of a connection's own allowance, in percent. What settles has room when sends have filled it.
    fn own_share(self) -> usize {
        if self == Class::Settle { 125 } else { 100 }
    }

    /// What a waiting request of `bytes` counts. A parked reader is bounded by its slot: its frame is small, unless
    /// somebody plays tricks, and its answer does not exist yet.
    fn weight(self, bytes: usize) -> usize {
        if self == Class::Pull && bytes <= SMALL_POLL { 0 } else { bytes }
    }
}

/// What may wait at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// Bytes of waiting requests.
    pub(crate) bytes: usize,
    /// Waiting requests.
    pub(crate) slots: usize,
}

/// What all connections of a server hold together.
pub(crate) struct Budget {
    allowed: Allowance,
    bytes: AtomicUsize,
    slots: AtomicUsize,
    /// Bytes that no reader takes and bytes of frames that do not get finished.
    stuck_allowed: usize,
    stuck: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(allowed: Allowance, stuck_allowed: usize) -> Arc<Budget> {
        Arc::new(Budget {
            allowed,
            bytes: AtomicUsize::new(0),
            slots: AtomicUsize::new(0),
            stuck_allowed,
            stuck: AtomicUsize::new(0),
        })
    }

    /// Bytes of waiting requests.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waiting requests.
    pub(crate) fn slots(&self) -> usize {
        self.slots.load(Ordering::Relaxed)
    }
}

/// The right to work on one request. Given back with [`Gate::leave`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Permit {
    class: Class,
    bytes: usize,
    parked: bool,
    expires: Option<Timestamp>,
}

impl Permit {
    /// When the door gives up on the request if it still waits. Long polls end by their own deadline.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }
}

/// Why a request may not enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// The connection holds its own share already; another server would not help.
    Connection,
    /// The server is full; another one may help.
    Server,
}

/// The door of one connection.
pub(crate) struct Gate {
    budget: Arc<Budget>,
    allowed: Allowance,
    patience: Duration,
    held: Allowance,
    stuck: usize,
}

impl Gate {
    pub(crate) fn new(budget: Arc<Budget>, allowed: Allowance, patience: Duration) -> Gate {
        Gate { budget, allowed, patience, held: Allowance { bytes: 0, slots: 0 }, stuck: 0 }
    }

    /// Lets a request of `bytes` in, or says who is busy.
    pub(crate) fn enter(&self, class: Class, bytes: usize, now: Timestamp) -> Result<Permit, Busy> {
        let weight = class.weight(bytes);
        let own = class.own_share();
        if self.held.slots >= part(self.allowed.slots, own)
            || !fits(self.held.bytes, weight, self.allowed.bytes, own)
        {
            return Err(Busy::Connection);
        }
        let shared = &self.budget;
        if !fits(shared.slots(), 1, shared.allowed.slots, class.share())
            || !fits(shared.bytes(), weight, shared.allowed.bytes, class.share())
        {
            return Err(Busy::Server);
        }
        let expires = (class != Class::Pull).then(|| now + self.patience);
        Ok(Permit { class, bytes: weight, parked: false, expires })
    }

    /// Counts a request that has to wait.
    pub(crate) fn park(&mut self, permit: &mut Permit) {
        permit.parked = true;
        self.held.slots += 1;
        self.held.bytes += permit.bytes;
        self.budget.slots.fetch_add(1, Ordering::Relaxed);
        self.budget.bytes.fetch_add(permit.bytes, Ordering::Relaxed);
    }

    /// Ends a request.
    pub(crate) fn leave(&mut self, permit: Permit) {
        if permit.parked {
            self.held.slots -= 1;
            self.held.bytes -= permit.bytes;
            self.budget.slots.fetch_sub(1, Ordering::Relaxed);
            self.budget.bytes.fetch_sub(permit.bytes, Ordering::Relaxed);
        }
    }

    /// Says how many bytes this connection keeps for a peer that neither reads nor finishes its frame. False when all
    /// such peers together keep too much and this one more than a little: then it has to go.
    pub(crate) fn stuck(&mut self, bytes: usize) -> bool {
        let before = std::mem::replace(&mut self.stuck, bytes);
        if bytes <= before {
            if bytes < before {
                self.budget.stuck.fetch_sub(before - bytes, Ordering::Relaxed);
            }
            return true;
        }
        let more = bytes - before;
        let sum = self.budget.stuck.fetch_add(more, Ordering::Relaxed) + more;
        bytes <= STUCK_A_LITTLE || sum <= self.budget.stuck_allowed
    }

    /// Gives everything back.
    pub(crate) fn close(&mut self) {
        let held = std::mem::replace(&mut self.held, Allowance { bytes: 0, slots: 0 });
        self.budget.slots.fetch_sub(held.slots, Ordering::Relaxed);
        self.budget.bytes.fetch_sub(held.bytes, Ordering::Relaxed);
        self.budget.stuck.fetch_sub(std::mem::take(&mut self.stuck), Ordering::Relaxed);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
    }
}

/// One request larger than the allowance may still enter an empty house: the frame limit bounds it.
fn fits(held: usize, more: usize, allowed: usize, percent: usize) -> bool {
    held == 0 || held.saturating_add(more) <= part(allowed, percent)
}

fn part(allowed: usize, percent: usize) -> usize {
    (allowed / 100).saturating_mul(percent).saturating_add(allowed % 100 * percent / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn gate(budget: &Arc<Budget>, bytes: usize, slots: usize) -> Gate {
        Gate::new(budget.clone(), Allowance { bytes, slots }, PATIENCE)
    }

    fn enter(gate: &mut Gate, class: Class, bytes: usize) -> Result<Permit, Busy> {
        let mut permit = gate.enter(class, bytes, Timestamp(0))?;
        gate.park(&mut permit);
        Ok(permit)
    }

    #[test]
    fn decisions_enter_where_sends_have_to_wait() {
        let budget = Budget::new(Allowance { bytes: 1 << 20, slots: 100 }, 1 << 20);
        let mut gate = gate(&budget, 1 << 20, 8);
        while enter(&mut gate, Class::Send, 1).is_ok() {}
        assert_eq!(enter(&mut gate, Class::Send, 1).expect_err("full"), Busy::Connection);
        assert!(enter(&mut gate, Class::Settle, 1).is_ok(), "its own connection is full of sends");
        let mut others: Vec<Gate> = (0..20)
            .map(|_| super::Gate::new(budget.clone(), Allowance { bytes: 1 << 20, slots: 8 }, PATIENCE))
            .collect();
        for gate in &mut others {
            while enter(gate, Class::Send, 1).is_ok() {}
        }
        let mut last = others.pop().expect("there are some");
        assert_eq!(enter(&mut last, Class::Send, 1).expect_err("full"), Busy::Server);
        assert!(enter(&mut last, Class::Settle, 1).is_ok(), "the house is full of sends");
    }

    #[test]
    fn classes_fill_different_parts_of_the_house() {
        for (class, entered) in [
            (Class::Send, 80),
            (Class::Settle, 100),
            (Class::Pull, 90),
            (Class::Admin, 90),
            (Class::Client, 100),
            (Class::Control, 100),
        ] {
            let budget = Budget::new(Allowance { bytes: 1 << 20, slots: 100 }, 0);
            let mut gate = gate(&budget, 1 << 20, 1000);
            let busy = (0..).find_map(|n| enter(&mut gate, class, 1).err().map(|busy| (n, busy)));
            assert_eq!(busy, Some((entered, Busy::Server)), "{class:?}");
        }
    }

    #[test]
    fn who_is_busy_is_told_apart() {
        let budget = Budget::new(Allowance { bytes: 1000, slots: 1000 }, 0);
        let (mut one, mut other) = (gate(&budget, 500, 3), gate(&budget, 5000, 1000));
        let first = enter(&mut one, Class::Client, 400).expect("an empty house");
        assert_eq!(enter(&mut one, Class::Client, 101).err(), Some(Busy::Connection));
        assert_eq!(enter(&mut one, Class::Pull, SMALL_POLL + 1).err(), Some(Busy::Connection));
        let polls =
            [(), ()].map(|()| enter(&mut one, Class::Pull, SMALL_POLL).expect("a poll holds no bytes"));
        assert_eq!(enter(&mut one, Class::Pull, 0).err(), Some(Busy::Connection));
        assert_eq!(enter(&mut other, Class::Client, 601).err(), Some(Busy::Server));
        assert!(enter(&mut other, Class::Client, 600).is_ok());
        assert_eq!((budget.bytes(), budget.slots()), (1000, 4));
        one.leave(first);
        polls.into_iter().for_each(|poll| one.leave(poll));
        drop(other);
        assert_eq!((budget.bytes(), budget.slots()), (0, 0));
    }

    #[test]
    fn a_request_above_the_budget_enters_an_empty_house_only() {
        let budget = Budget::new(Allowance { bytes: 100, slots: 10 }, 0);
        let mut gate = gate(&budget, 100, 10);
        let large = enter(&mut gate, Class::Send, 5000).expect("nobody else is there");
        assert_eq!(enter(&mut gate, Class::Send, 1).err(), Some(Busy::Connection));
        gate.leave(large);
        assert!(enter(&mut gate, Class::Send, 1).is_ok());
    }

    #[test]
    fn long_polls_have_no_deadline_here_and_others_do() {
        let budget = Budget::new(Allowance { bytes: 100, slots: 10 }, 0);
        let gate = gate(&budget, 100, 10);
        let expires = |class| gate.enter(class, 1, Timestamp(5)).expect("room").expires();
        assert_eq!((expires(Class::Pull), expires(Class::Send)), (None, Some(Timestamp(5) + PATIENCE)));
    }

    #[test]
    fn stuck_bytes_are_shared_and_a_little_is_everyones_own() {
        let budget = Budget::new(Allowance { bytes: 0, slots: 0 }, 300 << 10);
        let [mut one, mut two, mut three] = [(), (), ()].map(|()| gate(&budget, 0, 0));
        assert!(one.stuck(200 << 10));
        assert!(two.stuck(100 << 10));
        assert!(three.stuck(60 << 10));
        assert!(!three.stuck(70 << 10));
        assert!(three.stuck(50 << 10));
        one.close();
        assert!(three.stuck(200 << 10));
    }

    proptest! {
        #[test]
        fn the_budget_is_what_the_gates_hold(steps in proptest::collection::vec((0..3usize, 0..5usize, 0..200usize, any::<bool>()), 1..200)) {
            let budget = Budget::new(Allowance { bytes: 1000, slots: 20 }, 0);
            let mut gates = [(), (), ()].map(|()| (gate(&budget, 600, 9), Vec::new()));
            let classes = [Class::Send, Class::Pull, Class::Client, Class::Admin, Class::Control];
            for (who, class, bytes, comes) in steps {
                let (gate, inside) = &mut gates[who];
                if comes {
                    inside.extend(enter(gate, classes[class], bytes).ok());
                } else if let Some(permit) = inside.pop() {
                    gate.leave(permit);
                }
                let held = |pick: fn(&Allowance) -> usize| gates.iter().map(|(gate, _)| pick(&gate.held)).sum::<usize>();
                prop_assert_eq!(budget.bytes(), held(|held| held.bytes));
                prop_assert_eq!(budget.slots(), held(|held| held.slots));
                prop_assert!(budget.slots() <= 20 && budget.bytes() <= 1000);
                let inside: usize = gates.iter().map(|(_, inside)| inside.len()).sum();
                prop_assert_eq!(budget.slots(), inside);
            }
            drop(gates);
            prop_assert_eq!((budget.bytes(), budget.slots()), (0, 0));
        }
    }
}
