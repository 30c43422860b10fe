// SPDX-License-Identifier: Apache-2.0
//! Faces of 12 and 33.

use std::sync::Arc;

use bytes::Bytes;
use protocol::query::{QueryMessage, QueryMessageReply, ViewMessageById};
use remoting::{Body, Ctx, Refusal, Reply};

use crate::Broker;
use crate::ops::query::QueryInput;

pub(crate) async fn query_message(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: QueryMessage,
    _body: Bytes,
) -> Result<Reply<QueryMessageReply>, Refusal> {
    let input = QueryInput {
        topic: request.topic,
        key: request.key,
        unique: request.unique,
        max: usize::try_from(request.max).unwrap_or(0),
        begin: request.begin,
        end: request.end,
    };
    let found = broker.query(input).await?;
    let header = QueryMessageReply { indexed_at: ctx.now, indexed_to: found.indexed_to };
    Ok(Reply::ok(header).with_body(Body::Many(found.records)))
}

pub(crate) async fn view_message(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: ViewMessageById,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    Ok(Reply::ok(()).with_body(broker.view(request.offset).await?))
}
