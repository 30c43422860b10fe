// SPDX-License-Identifier: Apache-2.0
//! Faces of 17, 18, 21, 202, 215, 300, 305, 321, 343 and 351.

use std::sync::Arc;

use bytes::Bytes;
use protocol::admin::topic::{
    DeleteTopicInBroker, GetAllTopicConfig, GetAllTopicConfigReply, GetSystemTopicListFromBroker,
    GetTopicConfig, GetTopicStatsInfo, QueryTopicConsumeByWho, QueryTopicsByConsumer, UpdateAndCreateTopic,
    UpdateAndCreateTopicList,
};
use protocol::body::{
    CreateTopicListRequestBody, GroupList, TopicConfig, TopicConfigAndMappingSerializeWrapper,
    TopicConfigAndQueueMapping, TopicFilterType, TopicList,
};
use protocol::query::QueryConsumeQueue;
use remoting::{Ctx, Refusal, Reply};

use super::{page, show};
use crate::ops::admin::attributes::Changes;
use crate::ops::admin::queue::EntriesInput;
use crate::ops::admin::topics::{SetTopicRefused, TopicInput};
use crate::{Broker, bodies};

pub(crate) async fn set_topic(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: UpdateAndCreateTopic,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    tracing::info!(topic = %request.topic, peer = %ctx.peer, "topic is to be set");
    broker.set_topic(&from_wire(request)?, ctx.now)?;
    broker.announced(ctx.now).await;
    Ok(Reply::ok(()))
}

fn from_wire(request: UpdateAndCreateTopic) -> Result<TopicInput, SetTopicRefused> {
    let attributes = Changes::read(request.attributes.as_deref().unwrap_or_default())?;
    let is_multi = request.filter_type.as_str() == TopicFilterType::MultiTag.name();
    let config = TopicConfig {
        topic_name: request.topic,
        read_queue_nums: request.read_queues,
        write_queue_nums: request.write_queues,
        perm: request.permission,
        topic_filter_type: if is_multi { TopicFilterType::MultiTag } else { TopicFilterType::SingleTag },
        topic_sys_flag: request.sys_flag.unwrap_or(0),
        order: request.order,
        ..TopicConfig::default()
    };
    Ok(TopicInput { config, attributes })
}

pub(crate) async fn set_topics(
    broker: Arc<Broker>,
    ctx: Ctx,
    _request: UpdateAndCreateTopicList,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let list: CreateTopicListRequestBody = bodies::TOPICS.read(&body)?;
    tracing::info!(topics = list.topic_config_list.len(), peer = %ctx.peer, "topics are to be set");
    let input = |config: TopicConfig| {
        let attributes = Changes::of_table(&config.attributes)?;
        Ok::<_, SetTopicRefused>(TopicInput { config, attributes })
    };
    let inputs: Vec<TopicInput> = list.topic_config_list.into_iter().map(input).collect::<Result<_, _>>()?;
    broker.set_topics(&inputs, ctx.now)?;
    broker.announced(ctx.now).await;
    Ok(Reply::ok(()))
}

pub(crate) async fn delete_topic(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: DeleteTopicInBroker,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    tracing::info!(topic = %request.topic, peer = %ctx.peer, "topic is to be deleted");
    broker.delete_topic(&request.topic, ctx.now)?;
    Ok(Reply::ok(()))
}

pub(crate) async fn all_topics(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: GetAllTopicConfig,
    _body: Bytes,
) -> Result<Reply<GetAllTopicConfigReply>, Refusal> {
    let page = page(request.from, request.max, request.data_version.as_ref());
    let topics = broker.topic_page(page);
    let total = if page.is_some() { broker.topics().all().len() } else { topics.len() };
    let table = topics.iter().map(|topic| (topic.name().clone(), topic.config().clone()));
    let body = TopicConfigAndMappingSerializeWrapper {
        data_version: broker.topics().version(),
        topic_config_table: table.collect(),
        ..TopicConfigAndMappingSerializeWrapper::default()
    };
    show(GetAllTopicConfigReply { total: i32::try_from(total).ok() }, &body)
}

pub(crate) async fn topic_config(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: GetTopicConfig,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let topic = broker.topic(&request.topic)?;
    show((), &TopicConfigAndQueueMapping { config: topic.config().clone(), mapping_detail: None })
}

pub(crate) async fn topic_stats(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: GetTopicStatsInfo,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    show((), &broker.topic_stats(&request.topic, ctx.now)?)
}

pub(crate) async fn groups_of_topic(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: QueryTopicConsumeByWho,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    show((), &GroupList { group_list: broker.groups_consuming(&request.topic) })
}

pub(crate) async fn topics_of_group(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: QueryTopicsByConsumer,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let topic_list = broker.offsets().topics_of(&request.group).into_iter().collect();
    show((), &TopicList { broker_addr: Some(broker.address(ctx.local).to_string()), topic_list })
}

pub(crate) async fn system_topics(
    broker: Arc<Broker>,
    _ctx: Ctx,
    _request: GetSystemTopicListFromBroker,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    show((), &TopicList { broker_addr: None, topic_list: broker.system_topics() })
}

pub(crate) async fn queue_entries(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: QueryConsumeQueue,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let input = EntriesInput {
        topic: request.topic,
        queue: request.queue,
        from: request.index,
        count: usize::try_from(request.count).unwrap_or(0),
        group: request.group,
    };
    show((), &broker.queue_entries(&input)?)
}
