// SPDX-License-Identifier: Apache-2.0
//! Face of 370.

use std::sync::Arc;

use bytes::Bytes;
use protocol::ids::RecallHandle;
use protocol::names::ByteStr;
use protocol::send::{RecallMessage, RecallReply};
use remoting::{Ctx, Refusal, Reply};
use stdx::Timestamp;

use crate::Broker;
use crate::ops::recall::{Outcome, RecallRefused, Which, Wish};

pub(crate) async fn recall(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: RecallMessage,
    _body: Bytes,
) -> Result<Reply<RecallReply>, Refusal> {
    let region = Some(broker.region.clone());
    Ok(match take_back(&broker, request, ctx.now).await {
        Ok(message_id) => Reply::ok(RecallReply { message_id: Some(message_id), region }),
        // A refusal names the region, too.
        Err(refused) => {
            let Refusal { code, remark } = refused.into();
            Reply::ok(RecallReply { message_id: None, region }).with_code(code).with_remark(remark)
        }
    })
}

/// COMPAT: Apache says success when the wish is stored, whatever comes of it; here success means that the message will not
/// be delivered. That is so, too, of a message that nobody knows, as long as its time has not come: Apache's clients count
/// on success there. The tools' code tells it from one that was taken back.
async fn take_back(
    broker: &Arc<Broker>,
    request: RecallMessage,
    now: Timestamp,
) -> Result<ByteStr, RecallRefused> {
    if !broker.config().sending.recall {
        return Err(RecallRefused::Forbidden);
    }
    let topic = request.topic;
    if broker.topics.get(&topic).is_none() {
        return Err(RecallRefused::NoTopic { topic });
    }
    let handle = RecallHandle::parse(&request.handle).map_err(|_| RecallRefused::BadHandle)?;
    if handle.topic != *topic {
        return Err(RecallRefused::OtherTopic);
    }
    if handle.broker != broker.config().identity.name {
        return Err(RecallRefused::OtherBroker { broker: handle.broker });
    }
    let lies_ahead = handle.due > now;
    let message_id = ByteStr::from(handle.unique);
    match broker.change_timed(&topic, Which::Id(message_id.clone()), Wish::Cancel, now).await? {
        Outcome::Cancelled | Outcome::Moved => Ok(message_id),
        Outcome::Unknown if lies_ahead => Ok(message_id),
        Outcome::TooLate => Err(RecallRefused::TooLate),
        Outcome::Unknown => Err(RecallRefused::Unknown),
    }
}
