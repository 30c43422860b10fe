// SPDX-License-Identifier: Apache-2.0
//! Face of 37.

use std::sync::Arc;

use bytes::Bytes;
use protocol::codes::ResponseCode;
use protocol::names::{LogOffset, QueueOffset};
use protocol::transaction::{COMMIT, EndTransaction, ROLLBACK};
use remoting::{Ctx, Refusal, Reply};
use store::Settled;

use crate::Broker;
use crate::ops::transaction::{EndInput, EndRefused};
use crate::transaction::Decision;

pub(crate) async fn end_transaction(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: EndTransaction,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let decision = match request.decision {
        COMMIT => Decision::Commit,
        ROLLBACK => Decision::Rollback,
        // The producer does not know; it will be asked.
        _ => return Ok(Reply::ok(())),
    };
    let offset = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    let input = EndInput {
        id: LogOffset(offset(request.log_offset)),
        queue_offset: QueueOffset(offset(request.half_offset)),
        group: Some(request.group),
        unique: [request.transaction_id, request.message_id],
        decision,
        audit: None,
    };
    match broker.end_transaction(input, ctx.now).await {
        Ok(ended) => answer(ended.settled),
        Err(refused) => {
            if ctx.one_way {
                tracing::warn!(peer = %ctx.peer, %refused, "a decision about a transaction is refused");
            }
            Err(refused.into())
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
