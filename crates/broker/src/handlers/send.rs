// SPDX-License-Identifier: Apache-2.0
//! Faces of 10, 310 and 320: header and body become a `SendInput`, a `Sent` becomes an answer.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use protocol::codes::ResponseCode;
use protocol::ids::OffsetId;
use protocol::names::ByteStr;
use protocol::send::{SendBatchMessage, SendHeader, SendMessage, SendMessageV2, SendReply};
use remoting::{Ctx, Refusal, Reply};
use store::Settled;

use super::UNIT_SUBSCRIBED;
use crate::Broker;
use crate::ops::send::{SendInput, Sent};
use crate::topics::Template;

/// Set in the flags of a topic that clients of a unit send to.
const UNIT: i32 = 0x1;

pub(crate) fn send_message(broker: Arc<Broker>, ctx: Ctx, request: SendMessage, body: Bytes) -> impl Answer {
    send(broker, ctx, request.0, body)
}

pub(crate) fn send_message_v2(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: SendMessageV2,
    body: Bytes,
) -> impl Answer {
    send(broker, ctx, request.0, body)
}

pub(crate) fn send_batch(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: SendBatchMessage,
    body: Bytes,
) -> impl Answer {
    send(broker, ctx, SendHeader { batch: true, ..request.0 }, body)
}

/// The future of an answer to a send.
pub(crate) trait Answer: Future<Output = Result<Reply<SendReply>, Refusal>> + Send + 'static {}

impl<T: Future<Output = Result<Reply<SendReply>, Refusal>> + Send + 'static> Answer for T {}

fn send(broker: Arc<Broker>, ctx: Ctx, header: SendHeader, body: Bytes) -> impl Answer {
    let input = from_wire(header, body, &ctx, &broker);
    let sent = broker.send(input, ctx.now);
    async move { Ok(to_wire(sent.await?, &broker)) }
}

fn from_wire(header: SendHeader, body: Bytes, ctx: &Ctx, broker: &Broker) -> SendInput {
    let sys_flag = match (header.unit, header.topic.is_retry()) {
        (false, _) => 0,
        (true, false) => UNIT,
        (true, true) => UNIT_SUBSCRIBED,
    };
    SendInput {
        template: Template { topic: header.default_topic, queues: header.default_queues, sys_flag },
        topic: header.topic,
        queue: header.queue,
        flag: header.flag,
        sys_flag: header.sys_flag,
        born_at: header.born_at,
        born_host: ctx.peer,
        store_host: broker.address(ctx.local),
        reconsumed: header.reconsume,
        reconsume_max: header.max_reconsume,
        properties: header.properties.into_text(),
        body,
        batch: header.batch,
    }
}

/// The ids of all messages, joined by commas.
fn message_ids(sent: &Sent) -> ByteStr {
    let digits = if sent.store_host.ip().to_canonical().is_ipv6() { 56 } else { 32 };
    // Exactly as long as it gets: a text with room to spare is copied when it becomes shared.
    let mut ids = String::with_capacity(sent.starts().len() * (digits + 1) - 1);
    for offset in sent.starts() {
        let comma = if ids.is_empty() { "" } else { "," };
        write!(ids, "{comma}{}", OffsetId { host: sent.store_host, offset }).expect("text takes text");
    }
    ByteStr::from(ids)
}

fn to_wire(sent: Sent, broker: &Broker) -> Reply<SendReply> {
    let header = SendReply {
        message_id: message_ids(&sent),
        queue: sent.queue,
        queue_offset: sent.queue_offset,
        transaction_id: sent.unique,
        batch_id: None,
        recall_handle: None,
        region: Some(broker.region.clone()),
        trace: Some(broker.config().identity.trace_on),
    };
    match sent.settled {
        Settled::Done => Reply::ok(header),
        Settled::FlushTimeout => Reply::ok(header).with_code(ResponseCode::FLUSH_DISK_TIMEOUT),
        // Nobody knows whether it lasts. Refusing makes the producer send it again elsewhere, which may store it
        // twice; answering success may lose it.
        Settled::Poisoned(why) => Reply::ok(header)
            .with_code(ResponseCode::SERVICE_NOT_AVAILABLE)
            .with_remark(format!("service not available now: the store is poisoned: {why}")),
    }
}
