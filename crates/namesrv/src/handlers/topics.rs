// SPDX-License-Identifier: Apache-2.0
//! Faces of topic lists (206, 224, 304, 311 to 313), of single topics (216, 217) and of write permissions (205, 327).

use std::sync::Arc;

use bytes::Bytes;
use protocol::body::{TopicList, TopicRouteData};
use protocol::codes::ResponseCode;
use protocol::json;
use protocol::names::TopicName;
use protocol::route::{
    AddWritePermission, AddWritePermissionReply, DeleteTopicInNameServer, GetAllTopicListFromNameServer,
    GetHasUnitSubTopicList, GetHasUnitSubUnunitTopicList, GetSystemTopicListFromNameServer,
    GetTopicsByCluster, GetUnitTopicList, RegisterTopic, WipeWritePermission, WipeWritePermissionReply,
};
use remoting::{Ctx, Refusal, Reply};

use crate::address;
use crate::bodies;
use crate::config::NameServerConfig;
use crate::handlers::fitting;
use crate::registration::queues;
use crate::server::NameServer;
use crate::table::TopicSet;

pub(crate) async fn all_topics(
    server: Arc<NameServer>,
    ctx: Ctx,
    _: GetAllTopicListFromNameServer,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    list(&server, &ctx, TopicSet::All, |config| config.list_all_topics)
}

pub(crate) async fn topics_of_cluster(
    server: Arc<NameServer>,
    ctx: Ctx,
    request: GetTopicsByCluster,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    list(&server, &ctx, TopicSet::Cluster(&request.cluster), |config| config.list_topics)
}

pub(crate) async fn unit_topics(
    server: Arc<NameServer>,
    ctx: Ctx,
    _: GetUnitTopicList,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    list(&server, &ctx, TopicSet::Unit, |config| config.list_topics)
}

pub(crate) async fn unit_subscription_topics(
    server: Arc<NameServer>,
    ctx: Ctx,
    _: GetHasUnitSubTopicList,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    list(&server, &ctx, TopicSet::UnitSubscription, |config| config.list_topics)
}

pub(crate) async fn unit_subscription_only_topics(
    server: Arc<NameServer>,
    ctx: Ctx,
    _: GetHasUnitSubUnunitTopicList,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    list(&server, &ctx, TopicSet::UnitSubscriptionOnly, |config| config.list_topics)
}

fn list(
    server: &NameServer,
    ctx: &Ctx,
    set: TopicSet<'_>,
    is_open: impl FnOnce(&NameServerConfig) -> bool,
) -> Result<Reply<()>, Refusal> {
    if !server.config(is_open) {
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, "disable"));
    }
    let topics = server.look(ctx.now, |table| table.topics(set));
    let body =
        TopicList { topic_list: topics.into_iter().map(TopicName::stored).collect(), broker_addr: None };
    fitting((), json::to_vec_fastjson(&body), "the list of topics")
}

/// Answers the names of clusters and brokers, which are topics too, and one broker that can list the others.
pub(crate) async fn system_topics(
    server: Arc<NameServer>,
    ctx: Ctx,
    _: GetSystemTopicListFromNameServer,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    let all = server.look(ctx.now, |table| table.all_members());
    let first = all.first().and_then(|members| members.addresses.values().next());
    let broker_addr = first.map(|announced| address::reachable(announced, ctx.local));
    let names = all.iter().flat_map(|members| [&members.cluster, &members.broker]);
    let body = TopicList { topic_list: names.map(TopicName::stored).collect(), broker_addr };
    fitting((), json::to_vec_fastjson(&body), "the list of system topics")
}

pub(crate) async fn delete_topic(
    server: Arc<NameServer>,
    ctx: Ctx,
    request: DeleteTopicInNameServer,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    let cluster = request.cluster.as_deref().filter(|cluster| !cluster.is_empty());
    tracing::info!(topic = %request.topic, cluster, peer = %ctx.peer, "topic deleted from the routes");
    server.change(ctx.now, |table| table.delete_topic(request.topic.as_str(), cluster));
    Ok(Reply::ok(()))
}

pub(crate) async fn register_topic(
    server: Arc<NameServer>,
    ctx: Ctx,
    request: RegisterTopic,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let route: TopicRouteData = bodies::ROUTE.read(&body)?;
    let announced: Vec<_> = route.queue_datas.iter().map(queues).collect();
    let is_known = server.change(ctx.now, |table| table.register_topic(request.topic.as_str(), &announced));
    if !is_known && !announced.is_empty() {
        tracing::warn!(topic = %request.topic, peer = %ctx.peer, "topic announced for brokers that are not registered");
    }
    Ok(Reply::ok(()))
}

pub(crate) async fn wipe_write_permission(
    server: Arc<NameServer>,
    ctx: Ctx,
    request: WipeWritePermission,
    _: Bytes,
) -> Result<Reply<WipeWritePermissionReply>, Refusal> {
    let topics = set_wiped(&server, &ctx, request.broker.as_str(), true);
    Ok(Reply::ok(WipeWritePermissionReply { topics }))
}

/// COMPAT: Apache makes every topic of the broker readable and writable; here each gets back what the broker announced.
pub(crate) async fn add_write_permission(
    server: Arc<NameServer>,
    ctx: Ctx,
    request: AddWritePermission,
    _: Bytes,
) -> Result<Reply<AddWritePermissionReply>, Refusal> {
    let topics = set_wiped(&server, &ctx, request.broker.as_str(), false);
    Ok(Reply::ok(AddWritePermissionReply { topics }))
}

fn set_wiped(server: &NameServer, ctx: &Ctx, broker: &str, wiped: bool) -> i32 {
    let topics = server.change(ctx.now, |table| table.set_wiped(broker, wiped));
    tracing::info!(broker, wiped, topics, peer = %ctx.peer, "write permission of a broker changed");
    topics
}
