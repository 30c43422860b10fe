// SPDX-License-Identifier: Apache-2.0
//! What operators see of transactions, and what they can do about those that nobody decides: decide them, with their
//! name and reason in the log, or have the producers asked again. Called by the faces of 323 and 30020 to 30022.
//! Invariant: a decision by hand goes the way of any other.

use std::sync::Arc;

use bytes::Bytes;
use protocol::ids::OffsetId;
use protocol::names::{Group, HALF_TOPIC, LogOffset, TopicName};
use protocol::record::Record;
use stdx::Timestamp;
use store::{AppendError, Half, ReadError, Store};

use crate::Broker;
use crate::ops::transaction::{EndInput, EndRefused, Ended, Past, past};
use crate::transaction::{Audit, Decision, Limits, Open};

/// The most transactions of one answer.
const LIST_MAX: usize = 1000;

/// Which transactions are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this topic.
    pub topic: Option<TopicName>,
    /// Of this producer group.
    pub group: Option<Group>,
    /// Only parked ones.
    pub parked: bool,
    /// Behind this one.
    pub after: Option<LogOffset>,
    /// How many at most.
    pub max: usize,
}

/// Undecided transactions.
#[derive(Clone, Debug)]
pub struct Listed {
    /// How many there are, and how many of them are parked.
    pub count: (usize, usize),
    /// Those that were wanted, each with its half message where that can be read.
    pub page: Vec<(Open, Option<Bytes>)>,
}

/// One transaction.
#[derive(Clone, Debug)]
pub enum Seen {
    /// It waits for a decision.
    Open(Open, Option<Bytes>),
    /// It does not any more.
    Past(Past),
}

/// Why an operator is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionRefused {
    /// Nothing has that id.
    #[error("no transaction is known by {id}")]
    NotThere {
        /// The id.
        id: String,
    },
    /// It does not wait for a decision.
    #[error("the transaction {id} is decided already")]
    NotOpen {
        /// The id.
        id: String,
    },
    /// Whoever decides by hand says who and why.
    #[error("a decision by hand needs a name and a reason")]
    NoAudit,
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing could be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// It is not decided as asked.
    #[error(transparent)]
    End(#[from] EndRefused),
}

impl Broker {
    /// Lists transactions that wait for a decision, the oldest first.
    pub async fn transactions(self: &Arc<Broker>, wanted: Wanted) -> Result<Listed, TransactionRefused> {
        let fits = |open: &Open| {
            wanted.topic.as_ref().is_none_or(|topic| *topic == open.half.topic)
                && wanted.group.as_ref().is_none_or(|group| *group == open.half.group)
                && (!wanted.parked || open.half.parked)
        };
        let (count, some): (_, Vec<Open>) = {
            let ledger = self.transactions.ledger();
            let some = ledger.list(wanted.after).filter(fits).take(wanted.max.min(LIST_MAX));
            (ledger.count(), some.collect())
        };
        let read =
            |store: &Store| some.into_iter().map(|open| Ok((data(store, &open.half)?, open))).collect();
        let page: Vec<(Option<Bytes>, Open)> = self.store.query(read).await?;
        Ok(Listed { count, page: page.into_iter().map(|(raw, open)| (open, raw)).collect() })
    }

    /// Tells what is known of one transaction.
    pub async fn transaction(self: &Arc<Broker>, id: &str) -> Result<Seen, TransactionRefused> {
        let at = self.resolve(id).await?;
        let open = self.transactions.ledger().get(at);
        if let Some(open) = open {
            let half = open.half.clone();
            let raw = self.store.query(move |store| data(store, &half)).await?;
            return Ok(Seen::Open(open, raw));
        }
        let past = self.store.query(move |store| past(store, at)).await?;
        past.map(Seen::Past).ok_or_else(|| TransactionRefused::NotThere { id: id.to_owned() })
    }

    /// Decides a transaction by hand.
    pub async fn decide_by_hand(
        self: &Arc<Broker>,
        id: &str,
        decision: Decision,
        audit: Audit,
        now: Timestamp,
    ) -> Result<Ended, TransactionRefused> {
        if audit.by.trim().is_empty() || audit.why.trim().is_empty() {
            return Err(TransactionRefused::NoAudit);
        }
        let half = match self.transaction(id).await? {
            Seen::Open(open, _) => open.half,
            Seen::Past(past) => past.half,
        };
        let input = EndInput {
            id: half.id,
            queue_offset: half.queue_offset,
            group: None,
            unique: [None, None],
            decision,
            audit: Some(audit),
        };
        Ok(self.end_transaction(input, now).await?)
    }

    /// Has the producers of a transaction asked again from the beginning.
    pub async fn ask_again(self: &Arc<Broker>, id: &str, now: Timestamp) -> Result<(), TransactionRefused> {
        let at = self.resolve(id).await?;
        let mut ledger = self.transactions.ledger();
        let Some(open) = ledger.get(at) else {
            return Err(TransactionRefused::NotOpen { id: id.to_owned() });
        };
        // Under the lock of the book: a decision that came before would otherwise lie in front of it.
        if open.half.parked {
            self.store.put_half(&Half { parked: false, ..open.half })?;
        }
        ledger.resume(at, now);
        drop(ledger);
        self.transactions.count(at, None);
        self.transactions.ring();
        Ok(())
    }

    /// Finds the half message that somebody means.
    async fn resolve(self: &Arc<Broker>, id: &str) -> Result<LogOffset, TransactionRefused> {
        let place = id.parse().map(LogOffset).ok();
        let place = place.or_else(|| OffsetId::parse(id).ok().map(|id| id.offset));
        if let Some(place) = place {
            if self.transactions.ledger().get(place).is_some() {
                return Ok(place);
            }
            let found = self.store.query(move |store| name_at(store, place)).await?;
            if let Some(found) = found {
                return Ok(found);
            }
        }
        // One that was stored a moment ago may not be in the index yet.
        self.dispatch_answered();
        let wanted = id.to_owned();
        let find = move |store: &Store| {
            let (topic, all) = (TopicName::stored(HALF_TOPIC), (Timestamp(0), Timestamp(i64::MAX)));
            let newest = store.by_unique_id(&topic, &wanted, 1, all.0, all.1)?;
            Ok(newest.first().and_then(|raw| name_of(raw)))
        };
        let found = self.store.query(find).await?;
        found.ok_or_else(|| TransactionRefused::NotThere { id: id.to_owned() })
    }

    /// Asserts what holds of the book at any time.
    pub fn check_transactions(&self) {
        self.transactions.ledger().check();
    }

    /// When and how often is asked.
    pub(crate) fn transaction_limits(&self) -> Limits {
        Limits::of(&self.config().transactional)
    }
}

/// The half message that a record is, or that it is a copy of.
fn name_of(raw: &[u8]) -> Option<LogOffset> {
    let record = Record::parse(raw).ok()?;
    let is_half = record.topic() == HALF_TOPIC;
    let first = if is_half && record.prepared().0 == 0 { record.log_offset() } else { record.prepared() };
    (first.0 != 0).then_some(first)
}

fn name_at(store: &Store, place: LogOffset) -> Result<Option<LogOffset>, ReadError> {
    Ok(store.record_at(place)?.and_then(|raw| name_of(&raw)))
}

fn data(store: &Store, half: &Half) -> Result<Option<Bytes>, ReadError> {
    let now = store.half(half.id).map_or(half.log, |known| known.log);
    store.record_at(now)
}
