// SPDX-License-Identifier: Apache-2.0
//! Faces of 14, 15 and 29 to 32.

use std::sync::Arc;

use bytes::Bytes;
use protocol::offset::{
    Boundary as WireBoundary, GetEarliestStoreTime, GetMaxOffset, GetMinOffset, OffsetReply,
    QueryConsumerOffset, SearchOffset, StoreTimeReply, UpdateConsumerOffset,
};
use remoting::{Ctx, Refusal, Reply};
use stdx::Timestamp;
use store::Boundary;

use crate::Broker;
use crate::offsets::Committed;
use crate::ops::offset::PlaceInput;

pub(crate) async fn query_consumer_offset(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: QueryConsumerOffset,
    _body: Bytes,
) -> Result<Reply<OffsetReply>, Refusal> {
    let zero = request.zero_if_not_found.unwrap_or(true);
    let place = PlaceInput { group: request.group, topic: request.topic, queue: request.queue };
    Ok(Reply::ok(OffsetReply { offset: broker.query_offset(&place, zero)? }))
}

pub(crate) async fn update_consumer_offset(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: UpdateConsumerOffset,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let place = PlaceInput { group: request.group, topic: request.topic, queue: request.queue };
    let asker = (!ctx.one_way).then(|| ctx.connection.id());
    let reply = Reply::ok(());
    Ok(match broker.update_offset(&place, request.commit, asker)? {
        Committed::MovePending => reply.with_remark("Offset has been previously reset"),
        Committed::Moved | Committed::Behind { .. } | Committed::TooMany => reply,
    })
}

pub(crate) async fn search_offset(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: SearchOffset,
    _body: Bytes,
) -> Result<Reply<OffsetReply>, Refusal> {
    let boundary = match request.boundary {
        WireBoundary::Lower => Boundary::Lower,
        WireBoundary::Upper => Boundary::Upper,
    };
    let offset = broker.offset_at(&request.topic, request.queue, request.at, boundary);
    Ok(Reply::ok(OffsetReply { offset }))
}

pub(crate) async fn max_offset(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: GetMaxOffset,
    _body: Bytes,
) -> Result<Reply<OffsetReply>, Refusal> {
    let committed = request.committed.unwrap_or(true);
    Ok(Reply::ok(OffsetReply { offset: broker.queue_end(&request.topic, request.queue, committed) }))
}

pub(crate) async fn min_offset(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: GetMinOffset,
    _body: Bytes,
) -> Result<Reply<OffsetReply>, Refusal> {
    Ok(Reply::ok(OffsetReply { offset: broker.queue_start(&request.topic, request.queue) }))
}

pub(crate) async fn earliest_store_time(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: GetEarliestStoreTime,
    _body: Bytes,
) -> Result<Reply<StoreTimeReply>, Refusal> {
    let at = broker.first_stored_at(&request.topic, request.queue)?;
    Ok(Reply::ok(StoreTimeReply { at: at.unwrap_or(Timestamp(-1)) }))
}
