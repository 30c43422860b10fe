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

/// Kinds of requests that are limited together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Stores messages.
    Send,
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
            Class::Client | Class::Control => 100,
        }
    }

    /// A parked reader is bounded by its slot: its frame is small and its answer does not exist yet.
    fn holds_bytes(self) -> bool {
        self != Class::Pull
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
        let weight = if class.holds_bytes() { bytes } else { 0 };
        if self.held.slots >= self.allowed.slots || !fits(self.held.bytes, weight, self.allowed.bytes, 100) {
            return Err(Busy::Connection);
        }
        let shared = &self.budget;
        if !fits(shared.slots(), 1, shared.allowed.slots, class.share())
            || !fits(shared.bytes(), weight, shared.allowed.bytes, class.share())
        {
            return Err(Busy::Server);
        }
        let expires = class.holds_bytes().then(|| now + self.patience);
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
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.budget.slots.fetch_sub(self.held.slots, Ordering::Relaxed);
        self.budget.bytes.fetch_sub(self.held.bytes, Ordering::Relaxed);
        self.budget.stuck.fetch_sub(self.stuck, Ordering::Relaxed);
    }
}

/// One request larger than the allowance may still enter an empty house: the frame limit bounds it.
fn fits(held: usize, more: usize, allowed: usize, percent: usize) -> bool {
    held == 0 || held.saturating_add(more) <= allowed / 100 * percent + allowed % 100 * percent / 100
}
