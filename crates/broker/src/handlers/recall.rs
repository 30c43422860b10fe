// SPDX-License-Identifier: Apache-2.0
//! Face of 370.

use std::sync::Arc;

use bytes::Bytes;
use protocol::ids::RecallHandle;
use protocol::names::ByteStr;
use protocol::send::{RecallMessage, RecallReply};
use remoting::{Ctx, Refusal, Reply};

use crate::Broker;
use crate::ops::recall::{Outcome, RecallRefused, Which, Wish};

/// COMPAT: Apache says success when the wish is stored, whatever comes of it; here success means that the message will not
/// be delivered.
pub(crate) async fn recall(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: RecallMessage,
    _body: Bytes,
) -> Result<Reply<RecallReply>, Refusal> {
    if !broker.config().sending.recall {
        return Err(RecallRefused::Forbidden.into());
    }
    let topic = request.topic;
    if broker.topics.get(&topic).is_none() {
        return Err(RecallRefused::NoTopic { topic }.into());
    }
    let handle = RecallHandle::parse(&request.handle).map_err(|_| RecallRefused::BadHandle)?;
    if handle.topic != *topic {
        return Err(RecallRefused::OtherTopic.into());
    }
    if handle.broker != broker.config().identity.name {
        return Err(RecallRefused::OtherBroker { broker: handle.broker }.into());
    }
    let message_id = ByteStr::from(handle.unique);
    let which = Which::Id(message_id.clone());
    match broker.change_timed(&topic, which, Wish::Cancel, ctx.now).await? {
        Outcome::Cancelled | Outcome::Moved => Ok(Reply::ok(RecallReply { message_id })),
        Outcome::TooLate => Err(RecallRefused::TooLate.into()),
        Outcome::Unknown => Err(RecallRefused::Unknown.into()),
    }
}
