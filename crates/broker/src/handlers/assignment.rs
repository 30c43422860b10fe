// SPDX-License-Identifier: Apache-2.0
//! Faces of 400, 401 and 402.

use std::sync::Arc;

use bytes::Bytes;
use protocol::assignment::{GetAllMessageRequestMode, QueryAssignment, SetMessageRequestMode};
use protocol::body::{
    MessageQueueAssignment, MessageRequestModeSerializeWrapper, QueryAssignmentRequestBody,
    QueryAssignmentResponseBody, SetMessageRequestModeRequestBody,
};
use protocol::json;
use remoting::{Ctx, Refusal, Reply};

use crate::ops::assignment::Assigned;
use crate::{Broker, bodies};

pub(crate) async fn query_assignment(
    broker: Arc<Broker>,
    ctx: Ctx,
    _request: QueryAssignment,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let request: QueryAssignmentRequestBody = bodies::ASSIGNMENT.read(&body)?;
    let assigned = broker.assign(&request, ctx.now).await;
    let answer = QueryAssignmentResponseBody { message_queue_assignments: assigned.map(to_wire) };
    Ok(Reply::ok(()).with_body(json::to_vec(&answer)))
}

fn to_wire(assigned: Assigned) -> Vec<MessageQueueAssignment> {
    let Assigned { queues, mode } = assigned;
    let one = |message_queue| MessageQueueAssignment { attachments: None, message_queue, mode };
    queues.into_iter().map(one).collect()
}

pub(crate) async fn set_mode(
    broker: Arc<Broker>,
    ctx: Ctx,
    _request: SetMessageRequestMode,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let wanted: SetMessageRequestModeRequestBody = bodies::MODE.read(&body)?;
    tracing::info!(group = %wanted.consumer_group, topic = %wanted.topic, peer = %ctx.peer, "consumption is to be set");
    broker.set_mode(&wanted, ctx.now)?;
    Ok(Reply::ok(()))
}

pub(crate) async fn all_modes(
    broker: Arc<Broker>,
    _ctx: Ctx,
    _request: GetAllMessageRequestMode,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let all = MessageRequestModeSerializeWrapper { message_request_mode_map: broker.modes() };
    Ok(Reply::ok(()).with_body(json::to_vec(&all)))
}
