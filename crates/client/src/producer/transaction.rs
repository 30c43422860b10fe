// SPDX-License-Identifier: Apache-2.0
//! The producer of transactions: a message is stored half, a local transaction runs, and its outcome delivers or drops
//! the message. Where the broker did not learn the outcome, it asks, and the listener answers.
//!
//! Invariants: the half message is stored before the local transaction begins; what the local transaction says is
//! told to the broker that holds the half message, again and again while time lasts, and to no other.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use protocol::filter::Filter;
use protocol::ids::OffsetId;
use protocol::names::{BrokerName, ByteStr};
use protocol::properties::{CHECK_IMMUNITY_TIME_IN_SECONDS, PGROUP, TRAN_MSG};
use protocol::transaction::{COMMIT, CheckTransactionState, EndTransaction, ROLLBACK};
use remoting::{CallError, Connection, Ctx, Refusal, Reply, Router};
use stdx::Timestamp;

use super::request::Desk;
use super::{Producer, ProducerConfig, SendError, Sent, Shared};
use crate::consumer::Received;
use crate::message::Message;
use crate::retry::may_pass;
use crate::session::StartError;

/// What became of a local transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds: deliver the message.
    Commit,
    /// It does not: forget the message.
    Rollback,
    /// Not known yet: ask later.
    Unknown,
}

/// A message whose transaction has run.
#[derive(Debug)]
pub struct Ended {
    /// The half message.
    pub half: Sent,
    /// What the local transaction said.
    pub outcome: Outcome,
    /// Whether the broker confirmed that; where it did not, it asks the listener.
    pub told: Result<(), CallError>,
}

pub(super) type Answer = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Answers the questions of brokers.
pub(super) type Check = Box<dyn Fn(Received) -> Answer + Send + Sync>;

/// A running producer of transactions. Every producer of its group is asked about the messages of each.
pub struct TransactionProducer {
    producer: Producer,
}

/// Where a half message lies.
struct HalfRef {
    queue_offset: i64,
    log_offset: i64,
    message_id: Option<ByteStr>,
    transaction_id: Option<ByteStr>,
}

impl TransactionProducer {
    /// Connects to a name server. `check` is asked what became of a transaction whose outcome a broker does not know;
    /// it may be asked about messages of other producers of the group.
    pub async fn start<C, F>(config: ProducerConfig, check: C) -> Result<TransactionProducer, StartError>
    where
        C: Fn(Received) -> F + Send + Sync + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let check: Check = Box::new(move |message| Box::pin(check(message)) as Answer);
        let desk = Desk::asked(check);
        Ok(TransactionProducer { producer: Producer::open(config, Router::new().on(answer), desk).await? })
    }

    /// Stores a message half, runs the local transaction, and tells the broker its outcome. A message whose half was not
    /// stored runs nothing. Dropping the future leaves the outcome to the check.
    pub async fn send<L, F>(&self, message: Message, local: L) -> Result<Ended, SendError>
    where
        L: FnOnce(&Sent) -> F,
        F: Future<Output = Outcome>,
    {
        let shared = &self.producer.shared;
        let message = message.set(TRAN_MSG, "true").set(PGROUP, &shared.config.group);
        let draft = shared.draft(message)?;
        let half = shared.send_anywhere(&draft).await?;
        let outcome = local(&half).await;
        let told = match outcome {
            Outcome::Unknown => Ok(()),
            outcome => shared.end(&half, outcome).await,
        };
        if let Err(error) = &told {
            tracing::warn!(id = half.id, ?outcome, %error, "the broker was not told how a transaction ended; it will ask");
        }
        Ok(Ended { half, outcome, told })
    }

    /// The plain producer underneath, for messages without a transaction.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Leaves the group and closes the connections. Transactions that are under way are asked about later.
    pub async fn shutdown(self) {
        self.producer.shutdown().await;
    }
}

impl Message {
    /// Keeps brokers from asking about the transaction of this message for so many seconds.
    pub fn check_immunity(self, seconds: u32) -> Message {
        self.set(CHECK_IMMUNITY_TIME_IN_SECONDS, &seconds.to_string())
    }
}

impl Shared {
    /// Tells the broker of a half message the outcome, for as long as a send may take.
    async fn end(&self, half: &Sent, outcome: Outcome) -> Result<(), CallError> {
        let log_offset = half.offset_ids.first().and_then(|id| OffsetId::parse(id).ok()).map(|id| id.offset);
        let place = HalfRef {
            queue_offset: half.offset.0 as i64,
            log_offset: log_offset.map_or(-1, |offset| offset.0 as i64),
            message_id: Some(ByteStr::from(half.id.as_str())),
            transaction_id: Some(ByteStr::from(half.id.as_str())),
        };
        let request = self.ending(&place, outcome, false);
        let limits = self.config.retry;
        let deadline = self.session.now() + limits.timeout;
        loop {
            let address = self.session.master(&half.queue.broker).unwrap_or_default();
            let left = deadline.since(self.session.now());
            let told = self.session.call(&address, &request, (), left).await;
            let error = match told.and_then(|response| response.ok()) {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if !error.refusal().is_none_or(may_pass) || self.is_over(deadline) {
                return Err(error);
            }
            self.session.sleep(PAUSE.min(deadline.since(self.session.now()))).await;
        }
    }

    fn is_over(&self, deadline: Timestamp) -> bool {
        self.session.now() >= deadline
    }

    fn ending(&self, half: &HalfRef, outcome: Outcome, from_check: bool) -> EndTransaction {
        EndTransaction {
            topic: None,
            group: self.config.group.clone(),
            half_offset: half.queue_offset,
            log_offset: half.log_offset,
            decision: if outcome == Outcome::Commit { COMMIT } else { ROLLBACK },
            from_check,
            message_id: half.message_id.clone(),
            transaction_id: half.transaction_id.clone(),
        }
    }
}

/// The time between two attempts to tell a broker.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Answers a broker that asks about the half message in `body`, over the connection it asked on.
async fn answer(
    desk: Arc<Desk>,
    ctx: Ctx,
    question: CheckTransactionState,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let shared = desk.shared.get().and_then(Weak::upgrade);
    let Some((shared, check)) = shared.zip(desk.check.as_ref()) else { return Ok(Reply::ok(())) };
    let broker = question.broker.as_deref().map(BrokerName::stored).unwrap_or_default();
    let message = match Received::list(&body, &broker, &Filter::All) {
        Ok(mut messages) if !messages.is_empty() => messages.swap_remove(0),
        read => {
            tracing::warn!(peer = %ctx.peer, error = ?read.err(), "a broker asks about a message that cannot be read");
            return Ok(Reply::ok(()));
        }
    };
    let outcome = check(message).await;
    if outcome == Outcome::Unknown {
        return Ok(Reply::ok(()));
    }
    let place = HalfRef {
        queue_offset: question.half_offset,
        log_offset: question.log_offset,
        message_id: question.message_id,
        transaction_id: question.transaction_id,
    };
    tell(&ctx.connection, &shared.ending(&place, outcome, true), ctx.peer);
    Ok(Reply::ok(()))
}

/// One way: a broker that misses it asks again.
fn tell(connection: &Connection, request: &EndTransaction, peer: std::net::SocketAddr) {
    if let Err(error) = connection.notify(request, ()) {
        tracing::warn!(%peer, %error, "a broker's question could not be answered; it will ask again");
    }
}
