// SPDX-License-Identifier: Apache-2.0
//! Faces of 11 and 361: flags become a `PullInput`, an outcome becomes a code with the offsets to go on from.

use std::sync::Arc;

use bytes::Bytes;
use protocol::codes::ResponseCode;
use protocol::filter;
use protocol::names::ByteStr;
use protocol::pull::{
    BEFORE_ALL, COMMIT_OFFSET, LitePullMessage, NO_QUEUE, PullMessage, PullReply, SUBSCRIPTION, SUSPEND,
};
use remoting::{Answer, Body, Ctx, Refusal, Reply};
use store::Slices;

use crate::Broker;
use crate::config::Reading;
use crate::ops::pull::{Outcome, PullInput, Pulled, Pulling};

pub(crate) fn pull_message(
    broker: &Arc<Broker>,
    ctx: Ctx,
    request: PullMessage,
    _body: Bytes,
) -> Answer<PullReply> {
    pull(broker, &ctx, request, false)
}

pub(crate) fn lite_pull_message(
    broker: &Arc<Broker>,
    ctx: Ctx,
    request: LitePullMessage,
    _body: Bytes,
) -> Answer<PullReply> {
    pull(broker, &ctx, request.0, true)
}

fn pull(broker: &Arc<Broker>, ctx: &Ctx, request: PullMessage, lite: bool) -> Answer<PullReply> {
    if (request.queue == NO_QUEUE || request.from == BEFORE_ALL)
        && let Err(refusal) = all_there(ctx)
    {
        return Answer::Now(Err(refusal));
    }
    let input = from_wire(request, ctx, lite, &broker.config().reading);
    match broker.pull_begun(input, ctx.now) {
        Pulling::Done(pulled) => Answer::Now(pulled.map(to_wire).map_err(Refusal::from)),
        Pulling::Waits(pulled) => Answer::Later(Box::pin(async move { Ok(to_wire(pulled.await?)) })),
    }
}

/// Numbers below 0 are an odd place, which is answered; none at all are a broken header.
fn all_there(ctx: &Ctx) -> Result<(), Refusal> {
    match ["queueId", "queueOffset"].into_iter().find(|name| ctx.fields.get(name).is_none()) {
        Some(name) => {
            Err(Refusal::new(ResponseCode::SYSTEM_ERROR, format!("required field {name} is missing")))
        }
        None => Ok(()),
    }
}

fn from_wire(request: PullMessage, ctx: &Ctx, lite: bool, reading: &Reading) -> PullInput {
    let has = |flag: i32| request.sys_flag & flag != 0;
    let patience = if reading.long_poll { request.suspend.unwrap_or_default() } else { reading.short_poll };
    PullInput {
        from: (request.from != BEFORE_ALL).then_some(request.from),
        queue: request.queue,
        messages: usize::try_from(request.max_messages).unwrap_or(1),
        bytes: request.max_bytes.map(|bytes| bytes as usize),
        wait: has(SUSPEND).then(|| patience.min(reading.long_poll_max)),
        commit: request.commit.filter(|_| has(COMMIT_OFFSET)),
        filter: has(SUBSCRIPTION).then(|| {
            let text = |text: Option<ByteStr>| text.unwrap_or_default();
            (text(request.expression_type.clone()), text(request.subscription.clone()))
        }),
        kind: request.expression_type.filter(|kind| !filter::is_tag_kind(kind)),
        sub_version: request.sub_version,
        connection: ctx.connection.id(),
        lite,
        group: request.group,
        topic: request.topic,
    }
}

fn to_wire(pulled: Pulled) -> Reply<PullReply> {
    let header = PullReply {
        suggested_broker: 0,
        next: pulled.next,
        min: pulled.first,
        max: pulled.end,
        offset_delta: None,
        topic_sys_flag: Some(pulled.topic_flag),
        group_sys_flag: Some(pulled.group_flag),
        forbidden: None,
    };
    let (code, remark, body) = match pulled.outcome {
        Outcome::Found(batch) => (ResponseCode::SUCCESS, "FOUND", body(batch.slices)),
        Outcome::AtTail => (ResponseCode::PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", Body::Empty),
        Outcome::Empty => (ResponseCode::PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE", Body::Empty),
        Outcome::Filtered => (ResponseCode::PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", Body::Empty),
        Outcome::TooSmall => (ResponseCode::PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", Body::Empty),
        Outcome::TooLarge => (ResponseCode::PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", Body::Empty),
        Outcome::NoMessages => (ResponseCode::PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE", Body::Empty),
        Outcome::Reset => (ResponseCode::PULL_OFFSET_MOVED, "OFFSET_RESET", Body::Empty),
    };
    Reply::ok(header).with_code(code).with_remark(remark).with_body(body)
}

fn body(slices: Slices) -> Body {
    match slices {
        Slices::None => Body::Empty,
        Slices::One(piece) => Body::One(piece),
        Slices::Many(all) => Body::Many(all),
    }
}
