// SPDX-License-Identifier: Apache-2.0
//! Transactions: the shell of the ledger, and what of it is kept as facts: how often was asked. Called by the send of a
//! half message, by the operations on transactions and by the loop that asks. Never decides anything itself.
//! Invariants: what is open is what the log says; a count that is lost with a process makes for one question more.

mod ledger;
pub(crate) mod records;

use std::sync::OnceLock;

use parking_lot::{Mutex, MutexGuard};
use protocol::names::{HALF_OP_TOPIC, HALF_TOPIC, LogOffset, QueueId, TopicName};
use stdx::{Timestamp, Watermark};
use store::{AppendError, FactChange, Half, QueueLimit, QueueRef, Store};

pub use self::ledger::{Decision, Open};
pub(crate) use self::ledger::{Due, Judged, Ledger, Limits};
pub use self::records::Audit;
use crate::facts;

/// All transactions of a broker.
#[derive(Default)]
pub(crate) struct Transactions {
    ledger: Mutex<Ledger>,
    /// How often was asked, changed since it was last saved; `None` takes the count away.
    counts: Mutex<Vec<Counted>>,
    alarm: Watermark,
    /// The queue of half messages, and that of the notes of decisions, from their first use on.
    halves: OnceLock<QueueRef>,
    notes: OnceLock<QueueRef>,
}

impl Transactions {
    /// Takes up what the log leaves open.
    pub(crate) fn open(store: &Store, limits: &Limits) -> Transactions {
        let counted = |value: &[u8]| {
            let (checks, at) = value.split_first_chunk::<4>()?;
            Some((u32::from_be_bytes(*checks), Timestamp(i64::from_be_bytes(at.try_into().ok()?))))
        };
        let mut ledger = Ledger::default();
        for half in store.halves() {
            let count = store.fact(facts::CHECKS, &key(half.id));
            ledger.open(half, count.as_deref().and_then(counted), limits);
        }
        // Counts of transactions that ended with the process that would have taken them away.
        let ids = store.facts(facts::CHECKS).into_iter();
        let ids = ids.filter_map(|(key, _)| Some(LogOffset(u64::from_be_bytes(key.try_into().ok()?))));
        let stale = ids.filter(|id| ledger.get(*id).is_none()).map(|id| (id, None)).collect();
        Transactions { ledger: Mutex::new(ledger), counts: Mutex::new(stale), ..Transactions::default() }
    }

    /// The queue of half messages.
    pub(crate) fn half_queue(&self, store: &Store) -> Result<&QueueRef, QueueLimit> {
        known(&self.halves, HALF_TOPIC, store)
    }

    /// The queue of the notes of decisions.
    pub(crate) fn note_queue(&self, store: &Store) -> Result<&QueueRef, QueueLimit> {
        known(&self.notes, HALF_OP_TOPIC, store)
    }

    /// The book. Held while a decision goes into the log, so that the first one there is the first one here.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock()
    }

    /// Rises when something may be due earlier than thought.
    pub(crate) fn alarm(&self) -> &Watermark {
        &self.alarm
    }

    /// Rings for the loop that asks.
    pub(crate) fn ring(&self) {
        self.alarm.advance(self.alarm.get() + 1);
    }

    /// Takes half messages in that were just stored.
    pub(crate) fn opened(&self, halves: impl IntoIterator<Item = Half>, limits: &Limits) {
        let mut ledger = self.ledger.lock();
        let is_first = ledger.next_due().is_none();
        halves.into_iter().for_each(|half| ledger.open(half, None, limits));
        drop(ledger);
        if is_first {
            self.ring();
        }
    }

    /// Remembers how often was asked, for [`Transactions::save`].
    pub(crate) fn count(&self, id: LogOffset, count: Option<(u32, Timestamp)>) {
        self.counts.lock().push((id, count));
    }

    /// Makes the counts facts, all that changed in one record.
    pub(crate) fn save(&self, store: &Store) -> Result<(), AppendError> {
        let mut counts = self.counts.lock();
        if counts.is_empty() {
            return Ok(());
        }
        let value =
            |(checks, at): (u32, Timestamp)| [&checks.to_be_bytes()[..], &at.0.to_be_bytes()].concat();
        let change = |(id, count): &Counted| FactChange {
            kind: facts::CHECKS,
            key: key(*id),
            value: count.map(value),
        };
        for some in counts.chunks(SAVED_TOGETHER) {
            store.put_facts(&some.iter().map(change).collect::<Vec<_>>())?;
        }
        counts.clear();
        Ok(())
    }
}

/// How often was asked about a transaction, and when last.
type Counted = (LogOffset, Option<(u32, Timestamp)>);

/// How many counts one record takes.
const SAVED_TOGETHER: usize = 4096;

fn key(id: LogOffset) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

/// The only queue of a topic that is never removed.
fn known<'a>(place: &'a OnceLock<QueueRef>, topic: &str, store: &Store) -> Result<&'a QueueRef, QueueLimit> {
    if let Some(known) = place.get() {
        return Ok(known);
    }
    let found = store.queue(&TopicName::stored(topic), QueueId(0))?;
    Ok(place.get_or_init(|| found))
}
