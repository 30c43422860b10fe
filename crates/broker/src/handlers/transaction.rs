// SPDX-License-Identifier: Apache-2.0
//! Face of 37.

use std::net::SocketAddr;
use std::sync::Arc;

use protocol::codes::ResponseCode;
use protocol::names::{LogOffset, QueueOffset};
use protocol::transaction::{COMMIT, EndTransaction, ROLLBACK};
use remoting::{Answer, Asked, Refusal, Reply, Turn};
use store::Settled;

use crate::Broker;
use crate::ops::transaction::{EndInput, EndRefused, Ended, Ending};
use crate::transaction::Decision;

pub(crate) fn end_transaction(
    broker: &Arc<Broker>,
    turn: &Turn,
    asked: &mut Vec<Asked<EndTransaction>>,
    answers: &mut Vec<Answer<()>>,
) {
    let from =
        asked.iter().map(|asked| Asker { peer: turn.peer, one_way: asked.one_way }).collect::<Vec<_>>();
    let inputs: Vec<Option<EndInput>> = asked.drain(..).map(|asked| input(asked.request)).collect();
    let is_decision: Vec<bool> = inputs.iter().map(Option::is_some).collect();
    let mut endings = broker.end_together(inputs.into_iter().flatten().collect(), turn.now).into_iter();
    answers.extend(from.into_iter().zip(is_decision).map(|(asker, is_decision)| {
        match is_decision.then(|| endings.next()).flatten() {
            // The producer does not know; it will be asked.
            None => Answer::Now(Ok(Reply::ok(()))),
            Some(Ending::Done(ended)) => Answer::Now(asker.told(ended)),
            Some(Ending::Waits(ended)) => Answer::Later(Box::pin(async move { asker.told(ended.await) })),
        }
    }));
}

/// The decision of a request; `None` when it has none.
fn input(request: EndTransaction) -> Option<EndInput> {
    let decision = match request.decision {
        COMMIT => Decision::Commit,
        ROLLBACK => Decision::Rollback,
        _ => return None,
    };
    let offset = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    Some(EndInput {
        id: LogOffset(offset(request.log_offset)),
        queue_offset: QueueOffset(offset(request.half_offset)),
        group: Some(request.group),
        unique: [request.transaction_id, request.message_id],
        decision,
        audit: None,
    })
}

/// Who decided.
struct Asker {
    peer: SocketAddr,
    one_way: bool,
}

impl Asker {
    /// What it is told. A refusal that nobody hears is written down.
    fn told(&self, ended: Result<Ended, EndRefused>) -> Result<Reply<()>, Refusal> {
        match ended {
            Ok(ended) => answer(ended.settled),
            Err(refused) => {
                if self.one_way {
                    tracing::warn!(peer = %self.peer, %refused, "a decision about a transaction is refused");
                }
                Err(refused.into())
            }
        }
    }
}

/// A decision that is in the log but not yet flushed is a decision.
pub(super) fn answer(settled: Settled) -> Result<Reply<()>, Refusal> {
    match settled {
        Settled::Done | Settled::FlushTimeout => Ok(Reply::ok(())),
        Settled::Poisoned(why) => Err(Refusal::new(
            ResponseCode::SERVICE_NOT_AVAILABLE,
            format!("service not available now: the store is poisoned: {why}"),
        )),
    }
}

impl From<EndRefused> for Refusal {
    fn from(refused: EndRefused) -> Refusal {
        let code = match refused {
            EndRefused::Send(refused) => return refused.into(),
            EndRefused::Read(error) => return crate::refusal::read(&error),
            EndRefused::Contrary { .. } => ResponseCode::ILLEGAL_OPERATION,
            EndRefused::NotThere { .. }
            | EndRefused::OtherGroup
            | EndRefused::OtherOffset
            | EndRefused::Lost { .. } => ResponseCode::SYSTEM_ERROR,
        };
        Refusal::new(code, refused.to_string())
    }
}
