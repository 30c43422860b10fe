// SPDX-License-Identifier: Apache-2.0
//! Messages that wait for their time: a view of the log like the queues. The shell of `pending`, which keeps them (in a
//! `table`; `restore` puts it together from a checkpoint), and `hop`, which reads what a record says of them. Dispatch and replay apply records; the broker's timer, recalls and
//! retention take slots in hand before they write what ends or replaces a waiting record.
//! Invariants: what is in here follows from the log below the dispatched point; a hold is memory only, and a process
//! that dies lets go of all: either the record that it wrote is in the log, and the slot is over, or it is not, and the
//! slot waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use protocol::names::LogOffset;
use protocol::record::Record;
use stdx::Timestamp;

pub(crate) mod hop;
pub(crate) mod pending;
pub(crate) mod restore;
mod table;

use hop::{Hop, Times};
pub use pending::{Hold, Slot};
use pending::{Pending, Was};

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// When it is due and where its record lies.
    pub slot: Slot,
    /// The topic it is for.
    pub topic: Arc<str>,
}

/// The messages that wait for their time.
#[derive(Debug)]
pub struct Timers {
    pending: Mutex<Pending>,
    /// When the next one is due: to see without the lock whether something earlier came.
    next_due: AtomicI64,
}

/// Nothing waits.
const NEVER: i64 = i64::MAX;
/// How many slots are looked at under the lock.
const LOOK: usize = 1 << 15;

impl Default for Timers {
    fn default() -> Timers {
        Timers::new(Pending::default())
    }
}

impl Timers {
    pub(crate) fn new(pending: Pending) -> Timers {
        let next_due = AtomicI64::new(pending.next_due().map_or(NEVER, |due| due.0));
        Timers { pending: Mutex::new(pending), next_due }
    }

    /// Applies the record at `at`, whose properties say `times`, in the order of the log.
    pub(crate) fn apply<'a>(&self, record: &Record<'a>, times: &Times<'a>, at: LogOffset) {
        let Some(hop) = hop::of(record, times) else { return };
        let mut pending = self.pending.lock();
        let over = match hop {
            Hop::Over(slot) => Some(slot),
            Hop::Waits { due, topic, instead } => {
                pending.add(Slot { due, at }, topic);
                self.next_due.fetch_min(due.0, Ordering::AcqRel);
                instead
            }
        };
        // One that was held was not the next one: a million that end need not look for the next each time.
        if over.and_then(|slot| pending.remove(slot)) == Some(Was::Free) {
            self.note(&pending);
        }
    }

    fn note(&self, pending: &Pending) {
        self.next_due.store(pending.next_due().map_or(NEVER, |due| due.0), Ordering::Release);
    }

    /// When the next one is due that nobody holds.
    pub fn next_due(&self) -> Option<Timestamp> {
        Some(self.next_due.load(Ordering::Acquire)).filter(|due| *due != NEVER).map(Timestamp)
    }

    /// Takes up to `max` in hand that are due, in due order.
    pub fn hold_due(&self, now: Timestamp, max: usize) -> Vec<Slot> {
        let mut pending = self.pending.lock();
        let held = pending.hold_due(now, max);
        self.note(&pending);
        held
    }

    /// Takes one in hand.
    pub fn hold(&self, slot: Slot) -> Hold {
        let mut pending = self.pending.lock();
        let hold = pending.hold(slot);
        self.note(&pending);
        hold
    }

    /// Lets go of some with which nothing was done.
    pub fn release(&self, slots: &[Slot]) {
        let mut pending = self.pending.lock();
        slots.iter().for_each(|slot| pending.release(*slot));
        self.note(&pending);
    }

    /// Forgets one whose record cannot be read.
    pub fn forget(&self, slot: Slot) {
        self.pending.lock().remove(slot);
    }

    /// Whether it waits, in somebody's hand or not.
    pub fn is_waiting(&self, slot: Slot) -> bool {
        self.pending.lock().contains(slot)
    }

    /// How many wait, and how many of them are in somebody's hand.
    pub fn count(&self) -> (usize, usize) {
        let pending = self.pending.lock();
        (pending.len(), pending.held())
    }

    /// The topics that messages wait for, and how many.
    pub fn topics(&self) -> Vec<(Arc<str>, u64)> {
        self.pending.lock().topics()
    }

    /// Visits those from `from` on in due order, for one topic or all, until told to stop. What comes or goes meanwhile
    /// may be visited or not.
    pub fn visit(&self, from: Slot, topic: Option<&str>, visit: &mut dyn FnMut(Waiting) -> bool) {
        let mut next = Some(from);
        while let Some(from) = next {
            let found: Vec<Waiting> = {
                let mut pending = self.pending.lock();
                let number = topic.map(|topic| pending.find_topic(topic));
                if number == Some(None) {
                    return;
                }
                let page = pending.page(from, number.flatten(), LOOK, LOOK);
                next = page.next;
                let waiting = |(slot, number)| Waiting { slot, topic: pending.topic_name(number).clone() };
                page.found.into_iter().map(waiting).collect()
            };
            if !found.into_iter().all(&mut *visit) {
                return;
            }
        }
    }

    /// Those whose records lie below `end`, in the order of the log.
    pub(crate) fn below(&self, end: LogOffset) -> Vec<Slot> {
        self.pending.lock().below(end)
    }

    /// Forgets those whose records lie below `first`, where the log begins now; says how many there were.
    pub(crate) fn retain(&self, first: LogOffset) -> usize {
        let mut pending = self.pending.lock();
        let lost = pending.below(first);
        for slot in &lost {
            pending.remove(*slot);
        }
        self.note(&pending);
        lost.len()
    }

    /// Lends what waits: for checkpoints and checks.
    pub(crate) fn with<T>(&self, with: impl FnOnce(&mut Pending) -> T) -> T {
        with(&mut self.pending.lock())
    }
}
