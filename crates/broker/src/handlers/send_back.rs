// SPDX-License-Identifier: Apache-2.0
//! Face of 36.

use std::sync::Arc;

use bytes::Bytes;
use protocol::codes::ResponseCode;
use protocol::send::ConsumerSendMessageBack;
use remoting::{Ctx, Refusal, Reply};
use store::Settled;

use super::UNIT_SUBSCRIBED;
use crate::Broker;
use crate::ops::send_back::SendBackInput;

pub(crate) async fn send_back(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: ConsumerSendMessageBack,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let input = SendBackInput {
        group: request.group,
        offset: request.offset,
        id: request.message_id,
        delay_level: request.delay_level,
        max: request.max_reconsume,
        reconsumed: request.reconsumed,
        topic_flag: if request.unit { UNIT_SUBSCRIBED } else { 0 },
        store_host: broker.address(ctx.local),
    };
    match broker.send_back(input, ctx.now).await? {
        // COMPAT: a copy that is stored but not yet flushed is a success; the consumer would store it once more.
        Settled::Done | Settled::FlushTimeout => Ok(Reply::ok(())),
        Settled::Poisoned(why) => Err(Refusal::new(
            ResponseCode::SERVICE_NOT_AVAILABLE,
            format!("service not available now: the store is poisoned: {why}"),
        )),
    }
}
