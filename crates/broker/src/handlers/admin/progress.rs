// SPDX-License-Identifier: Apache-2.0
//! Faces of 208, 303, 308, 314 and 317.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::admin::progress::{
    CloneGroupOffset, GetBrokerConsumeStats, GetConsumeStats, QueryConsumeTimeSpan, QueryCorrectionOffset,
};
use protocol::body::{ConsumeStatsList, QueryConsumeTimeSpanBody, QueryCorrectionOffsetBody};
use protocol::names::{Group, TopicName};
use remoting::{Ctx, Refusal, Reply};

use super::show;
use crate::Broker;
use crate::ops::admin::progress::Wanted;

pub(crate) async fn consume_stats(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: GetConsumeStats,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let listed = request.topics.as_deref().unwrap_or_default().split(';').filter(|topic| !topic.is_empty());
    let listed: Vec<TopicName> = listed.map(TopicName::stored).collect();
    let wanted = match request.topic.filter(|topic| !topic.trim().is_empty()) {
        _ if !listed.is_empty() => Wanted::These(listed),
        Some(topic) => Wanted::One(topic),
        None => Wanted::All,
    };
    show((), &broker.consume_stats(&request.group, wanted, ctx.now))
}

pub(crate) async fn broker_consume_stats(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: GetBrokerConsumeStats,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let overview = broker.consume_overview(request.order, ctx.now);
    let entry = |(group, stats)| BTreeMap::from([(group, stats)]);
    let body = ConsumeStatsList {
        broker_addr: Some(broker.address(ctx.local).to_string()),
        consume_stats_list: overview.groups.into_iter().map(entry).collect(),
        total_diff: overview.behind,
        total_inflight_diff: overview.in_flight,
    };
    show((), &body)
}

pub(crate) async fn time_spans(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: QueryConsumeTimeSpan,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let consume_time_span_set = broker.time_spans(&request.group, &request.topic, ctx.now)?;
    show((), &QueryConsumeTimeSpanBody { consume_time_span_set })
}

pub(crate) async fn correction_offsets(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: QueryCorrectionOffset,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let left_out =
        request.filter_groups.as_deref().unwrap_or_default().split(',').filter(|name| !name.is_empty());
    let left_out: Vec<Group> = left_out.map(Group::stored).collect();
    let correction_offsets = broker.correction_offsets(&request.topic, &left_out, &request.compare_group);
    show((), &QueryCorrectionOffsetBody { correction_offsets })
}

pub(crate) async fn clone_progress(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: CloneGroupOffset,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let topic = request.topic.filter(|topic| !topic.trim().is_empty());
    broker.clone_progress(&request.source, &request.target, topic.as_ref(), request.offline);
    Ok(Reply::ok(()))
}
