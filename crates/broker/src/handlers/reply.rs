// SPDX-License-Identifier: Apache-2.0
//! Faces of 324 and 325: a reply is spelled like a send and answered like one.

use std::sync::Arc;

use bytes::Bytes;
use protocol::names::{ByteStr, QueueOffset};
use protocol::send::{SendHeader, SendReply, SendReplyMessage, SendReplyMessageV2};
use remoting::{Ctx, Refusal, Reply};

use super::send::{input, message_ids};
use crate::Broker;
use crate::ops::reply::Replied;

pub(crate) async fn send_reply(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: SendReplyMessage,
    body: Bytes,
) -> Result<Reply<SendReply>, Refusal> {
    reply(broker, ctx, request.0, body).await
}

pub(crate) async fn send_reply_v2(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: SendReplyMessageV2,
    body: Bytes,
) -> Result<Reply<SendReply>, Refusal> {
    reply(broker, ctx, request.0, body).await
}

async fn reply(
    broker: Arc<Broker>,
    ctx: Ctx,
    header: SendHeader,
    body: Bytes,
) -> Result<Reply<SendReply>, Refusal> {
    let store_host = broker.address(ctx.local);
    let sent = input(SendHeader { batch: false, ..header.clone() }, body, ctx.peer, store_host);
    let replied = broker.reply(header, sent, ctx.now).await?;
    Ok(Reply::ok(to_wire(&replied, &broker)))
}

/// COMPAT: a reply that is not stored has the id "0", which clients can read.
fn to_wire(replied: &Replied, broker: &Broker) -> SendReply {
    let stored = replied.stored.as_ref();
    SendReply {
        message_id: stored.map_or_else(|| ByteStr::from("0"), message_ids),
        queue: replied.queue,
        queue_offset: stored.map_or(QueueOffset(0), |sent| sent.queue_offset),
        transaction_id: None,
        batch_id: None,
        recall_handle: None,
        region: Some(broker.region.clone()),
        trace: Some(broker.config().identity.trace_on),
    }
}
