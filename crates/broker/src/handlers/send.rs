// SPDX-License-Identifier: Apache-2.0
//! Faces of 10, 310 and 320: header and body become a `SendInput`, a `Sent` becomes an answer.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use protocol::codes::ResponseCode;
use protocol::ids::{OffsetId, RecallHandle};
use protocol::names::ByteStr;
use protocol::send::{SendBatchMessage, SendHeader, SendMessage, SendMessageV2, SendReply};
use remoting::{Answer, Asked, Refusal, Reply, Turn};
use store::Settled;

use super::UNIT_SUBSCRIBED;
use crate::Broker;
use crate::config::BrokerConfig;
use crate::ops::send::{SendInput, Sending, Sent};
use crate::topics::Template;

/// Set in the flags of a topic that clients of a unit send to.
const UNIT: i32 = 0x1;

pub(crate) fn send_message(
    broker: &Arc<Broker>,
    turn: &Turn,
    asked: &mut Vec<Asked<SendMessage>>,
    answers: &mut Vec<Answer<SendReply>>,
) {
    send(broker, turn, asked.drain(..).map(|asked| (asked.request.0, asked.body)), answers);
}

pub(crate) fn send_message_v2(
    broker: &Arc<Broker>,
    turn: &Turn,
    asked: &mut Vec<Asked<SendMessageV2>>,
    answers: &mut Vec<Answer<SendReply>>,
) {
    send(broker, turn, asked.drain(..).map(|asked| (asked.request.0, asked.body)), answers);
}

pub(crate) fn send_batch(
    broker: &Arc<Broker>,
    turn: &Turn,
    asked: &mut Vec<Asked<SendBatchMessage>>,
    answers: &mut Vec<Answer<SendReply>>,
) {
    let batches = asked.drain(..).map(|asked| (SendHeader { batch: true, ..asked.request.0 }, asked.body));
    send(broker, turn, batches, answers);
}

fn send(
    broker: &Arc<Broker>,
    turn: &Turn,
    asked: impl ExactSizeIterator<Item = (SendHeader, Bytes)>,
    answers: &mut Vec<Answer<SendReply>>,
) {
    let store_host = broker.address(turn.local);
    let mut inputs = asked.map(|(header, body)| input(header, body, turn.peer, store_host));
    let config = broker.config();
    let answer = |sending| match sending {
        Sending::Done(sent) => {
            Answer::Now(sent.map(|sent| to_wire(sent, broker, &config)).map_err(Refusal::from))
        }
        Sending::Waits(sent) => {
            let broker = broker.clone();
            Answer::Later(Box::pin(async move {
                let sent = sent.await?;
                let config = broker.config();
                Ok(to_wire(sent, &broker, &config))
            }))
        }
    };
    // One that came alone needs no list.
    if inputs.len() == 1 {
        answers.extend(inputs.next().map(|input| answer(broker.send_begun(input, turn.now))));
    } else {
        answers.extend(broker.send_together(inputs.collect(), turn.now).into_iter().map(answer));
    }
}

/// What a client at `peer` asks.
pub(super) fn input(header: SendHeader, body: Bytes, peer: SocketAddr, store_host: SocketAddr) -> SendInput {
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
        born_host: peer,
        store_host,
        reconsumed: header.reconsume,
        reconsume_max: header.max_reconsume,
        properties: header.properties.into_text(),
        body,
        batch: header.batch,
    }
}

/// The ids of all messages, joined by commas.
pub(super) fn message_ids(sent: &Sent) -> ByteStr {
    let digits = if sent.store_host.ip().to_canonical().is_ipv6() { 56 } else { 32 };
    let write = |out: &mut BytesMut| {
        sent.starts().all(|offset| {
            if !out.is_empty() {
                out.put_u8(b',');
            }
            OffsetId { host: sent.store_host, offset }.write(out).is_ok()
        })
    };
    ByteStr::brief(sent.starts().len() * (digits + 1), write).expect("digits are text")
}

/// What a timed message is taken back with. Retries have none, as in RocketMQ.
fn recall_handle(sent: &Sent, config: &BrokerConfig) -> Option<ByteStr> {
    let timed = sent.timed.as_ref()?;
    let unique = sent.unique.as_deref()?;
    let handle = RecallHandle::encode(&timed.topic, &config.identity.name, timed.due, unique);
    Some(ByteStr::from(handle))
}

fn to_wire(sent: Sent, broker: &Broker, config: &BrokerConfig) -> Reply<SendReply> {
    let header = SendReply {
        message_id: message_ids(&sent),
        queue: sent.queue,
        queue_offset: sent.queue_offset,
        recall_handle: recall_handle(&sent, config),
        batch_id: sent.unique.clone().filter(|_| sent.is_inner),
        transaction_id: sent.unique,
        region: Some(broker.region.clone()),
        trace: Some(config.identity.trace_on),
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
