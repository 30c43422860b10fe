// SPDX-License-Identifier: Apache-2.0
//! Faces of 34, 35, 38 and 46.

use std::sync::Arc;

use bytes::Bytes;
use protocol::body::{
    CheckClientRequestBody, ConsumerData, GetConsumerListByGroupResponseBody, HeartbeatData,
};
use protocol::heartbeat::{
    CheckClientConfig, GetConsumerListByGroup, Heartbeat, HeartbeatReply, UnregisterClient,
};
use protocol::json;
use protocol::names::ByteStr;
use remoting::{Ctx, Refusal, Reply};

use super::UNIT_SUBSCRIBED;
use crate::clients::Manner;
use crate::ops::heartbeat::{ConsumerInput, HeartbeatInput};
use crate::{Broker, bodies};

pub(crate) async fn heartbeat(
    broker: Arc<Broker>,
    ctx: Ctx,
    _request: Heartbeat,
    body: Bytes,
) -> Result<Reply<HeartbeatReply>, Refusal> {
    let data: HeartbeatData = bodies::HEARTBEAT.read(&body)?;
    // COMPAT: a client of the older kind, which always sends everything, is told that it changed.
    let always = data.heartbeat_fingerprint == 0;
    let noted = broker.heartbeat(&ctx.connection, from_wire(data, &ctx), ctx.now);
    if noted.made_topic {
        broker.announced(ctx.now).await;
    }
    let changed = Some(always || noted.unknown);
    Ok(Reply::ok(HeartbeatReply { without_subscriptions: Some(true), changed }))
}

fn from_wire(data: HeartbeatData, ctx: &Ctx) -> HeartbeatInput {
    let consumer = |data: ConsumerData| ConsumerInput {
        group: data.group_name,
        manner: Manner {
            consume_type: data.consume_type,
            model: data.message_model,
            from: data.consume_from_where,
        },
        subscriptions: data.subscription_data_set,
        topic_flag: if data.unit_mode { UNIT_SUBSCRIBED } else { 0 },
    };
    HeartbeatInput {
        client: ByteStr::from(data.client_id),
        language: ctx.language,
        version: ctx.version,
        peer: ctx.peer,
        consumers: data.consumer_data_set.into_iter().map(consumer).collect(),
        producers: data.producer_data_set.into_iter().map(|data| data.group_name).collect(),
        fingerprint: data.heartbeat_fingerprint,
        without_subscriptions: data.without_sub && data.heartbeat_fingerprint != 0,
    }
}

pub(crate) async fn unregister_client(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: UnregisterClient,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    broker.unregister(&ctx.connection, request.producer_group.as_ref(), request.consumer_group.as_ref());
    Ok(Reply::ok(()))
}

pub(crate) async fn consumer_list(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: GetConsumerListByGroup,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let ids = broker.consumer_ids(&request.group)?;
    let answer = GetConsumerListByGroupResponseBody {
        consumer_id_list: ids.iter().map(|id| id.to_string()).collect(),
    };
    Ok(Reply::ok(()).with_body(json::to_vec(&answer)))
}

pub(crate) async fn check_client_config(
    broker: Arc<Broker>,
    _ctx: Ctx,
    _request: CheckClientConfig,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let wanted: CheckClientRequestBody = bodies::FILTER.read(&body)?;
    broker.check_filter(&wanted.subscription_data)?;
    Ok(Reply::ok(()))
}
