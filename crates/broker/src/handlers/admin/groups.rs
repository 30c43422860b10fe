// SPDX-License-Identifier: Apache-2.0
//! Faces of 200, 201, 207, 225, 352 and 353.

use std::sync::Arc;

use bytes::Bytes;
use protocol::admin::group::{
    DeleteSubscriptionGroup, GetAllSubscriptionGroupConfig, GetAllSubscriptionGroupConfigReply,
    GetSubscriptionGroupConfig, UpdateAndCreateSubscriptionGroup, UpdateAndCreateSubscriptionGroupList,
    UpdateAndGetGroupForbidden,
};
use protocol::body::{SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper};
use protocol::names::{Group, TopicName};
use remoting::{Ctx, Refusal, Reply};
use serde::Serialize;

use super::{page, show};
use crate::refusal::append;
use crate::{Broker, bodies};

/// The bit of what is forbidden that stands for reading.
const READING: i32 = 1 << 2;

pub(crate) async fn set_group(
    broker: Arc<Broker>,
    ctx: Ctx,
    _request: UpdateAndCreateSubscriptionGroup,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let config: SubscriptionGroupConfig = bodies::GROUP.read(&body)?;
    tracing::info!(group = %config.group_name, peer = %ctx.peer, "group is to be set");
    broker.set_group(&config, ctx.now)?;
    Ok(Reply::ok(()))
}

pub(crate) async fn set_groups(
    broker: Arc<Broker>,
    ctx: Ctx,
    _request: UpdateAndCreateSubscriptionGroupList,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let list: SubscriptionGroupList = bodies::GROUPS.read(&body)?;
    tracing::info!(groups = list.group_config_list.len(), peer = %ctx.peer, "groups are to be set");
    broker.set_groups(&list.group_config_list, ctx.now)?;
    Ok(Reply::ok(()))
}

pub(crate) async fn delete_group(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: DeleteSubscriptionGroup,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    tracing::info!(group = %request.group, peer = %ctx.peer, "group is to be deleted");
    broker.delete_group(&request.group, request.clean_offset, ctx.now)?;
    Ok(Reply::ok(()))
}

pub(crate) async fn all_groups(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: GetAllSubscriptionGroupConfig,
    _body: Bytes,
) -> Result<Reply<GetAllSubscriptionGroupConfigReply>, Refusal> {
    let page = page(request.from, request.max, request.data_version.as_ref());
    let groups = broker.group_page(page);
    let total = if page.is_some() { broker.groups().all().len() } else { groups.len() };
    let bits = |(group, topics): (Group, std::collections::BTreeSet<TopicName>)| {
        (group, topics.into_iter().map(|topic| (topic, READING)).collect())
    };
    let body = SubscriptionGroupWrapper {
        data_version: broker.groups().version(),
        forbidden_table: broker.forbidden.all().into_iter().map(bits).collect(),
        subscription_group_table: groups
            .iter()
            .map(|group| (group.group_name.clone(), SubscriptionGroupConfig::clone(group)))
            .collect(),
    };
    show(GetAllSubscriptionGroupConfigReply { total: i32::try_from(total).ok() }, &body)
}

pub(crate) async fn group_config(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: GetSubscriptionGroupConfig,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    show((), &*broker.group(&request.group)?)
}

/// Whether a group may read a topic.
#[derive(Serialize)]
struct GroupForbidden {
    group: Group,
    readable: bool,
    topic: TopicName,
}

pub(crate) async fn set_readable(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: UpdateAndGetGroupForbidden,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let UpdateAndGetGroupForbidden { group, topic, readable } = request;
    let readable = broker.set_readable(&group, &topic, readable).map_err(|error| append(&error))?;
    show((), &GroupForbidden { group, readable, topic })
}
