// SPDX-License-Identifier: Apache-2.0
//! Faces of 25, 26, 28, 306, 315, 316 and 329: the broker as a whole.

use std::sync::Arc;

use bytes::Bytes;
use protocol::admin::broker::{
    CleanExpiredConsumeQueue, CleanUnusedTopic, DeleteExpiredCommitLog, GetBrokerConfig,
    GetBrokerConfigReply, GetBrokerRuntimeInfo, UpdateBrokerConfig, ViewBrokerStatsData,
};
use protocol::body::KVTable;
use protocol::json;
use remoting::{Ctx, Refusal, Reply};

use super::show;
use crate::{Broker, bodies};

pub(crate) async fn change_settings(
    broker: Arc<Broker>,
    ctx: Ctx,
    _request: UpdateBrokerConfig,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    tracing::info!(peer = %ctx.peer, "settings are to be changed");
    broker.change_settings(&bodies::SETTINGS.text(&body)?, ctx.now)?;
    broker.announced(ctx.now).await;
    Ok(Reply::ok(()))
}

pub(crate) async fn settings(
    broker: Arc<Broker>,
    _ctx: Ctx,
    _request: GetBrokerConfig,
    _body: Bytes,
) -> Result<Reply<GetBrokerConfigReply>, Refusal> {
    let (text, version) = broker.print_settings();
    let version = String::from_utf8_lossy(&json::to_vec(&version)).into_owned();
    Ok(Reply::ok(GetBrokerConfigReply { version: version.into() }).with_body(text.into_bytes()))
}

pub(crate) async fn runtime(
    broker: Arc<Broker>,
    ctx: Ctx,
    _request: GetBrokerRuntimeInfo,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    show((), &KVTable { table: broker.runtime(ctx.now).await })
}

pub(crate) async fn figure(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: ViewBrokerStatsData,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    show((), &broker.figure(&request.name, &request.key, ctx.now)?)
}

/// Views follow the log by themselves: queue entries go with their segment.
pub(crate) async fn clean_queues(
    _broker: Arc<Broker>,
    _ctx: Ctx,
    _request: CleanExpiredConsumeQueue,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    Ok(Reply::ok(())
        .with_remark("queue entries go with the segments they point to; nothing was left to clean"))
}

/// A removed topic takes its queues along.
pub(crate) async fn clean_topics(
    _broker: Arc<Broker>,
    _ctx: Ctx,
    _request: CleanUnusedTopic,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    Ok(Reply::ok(()).with_remark("queues go with their topic; nothing was left to clean"))
}

pub(crate) async fn clean_log(
    broker: Arc<Broker>,
    ctx: Ctx,
    _request: DeleteExpiredCommitLog,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    tracing::info!(peer = %ctx.peer, "segments past their time are to be removed");
    Ok(Reply::ok(()).with_remark(format!("{} segments were removed", broker.retain())))
}
