// SPDX-License-Identifier: Apache-2.0
//! Faces of 222 and 223.

use std::sync::Arc;

use bytes::Bytes;
use protocol::admin::reset::{InvokeBrokerToGetConsumerStatus, InvokeBrokerToResetOffset};
use protocol::body::ResetOffsetBody;
use remoting::{Ctx, Refusal, Reply};

use super::show;
use crate::Broker;
use crate::ops::admin::reset::ResetInput;

pub(crate) async fn reset_group(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: InvokeBrokerToResetOffset,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let InvokeBrokerToResetOffset { group, topic, queue, offset, at, force } = request;
    tracing::info!(%group, %topic, %at, peer = %ctx.peer, "group is to be moved");
    let offset_table = broker.reset_group(&ResetInput { group, topic, queue, offset, at, force })?;
    show((), &ResetOffsetBody { offset_table })
}

pub(crate) async fn consumer_status(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: InvokeBrokerToGetConsumerStatus,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let client = request.client.as_deref().filter(|client| !client.trim().is_empty());
    show((), &broker.consumer_status(&request.group, &request.topic, client).await?)
}
