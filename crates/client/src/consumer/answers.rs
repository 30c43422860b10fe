// SPDX-License-Identifier: Apache-2.0
//! What a push consumer says about itself when a broker asks. Called by the member loop; changes nothing but for the one
//! message it is told to consume.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::body::{
    CMResult, ConsumeMessageDirectlyResult, ConsumerRunningInfo, GetConsumerStatusBody, MessageQueue,
    ProcessQueueInfo,
};
use protocol::filter::Filter;
use protocol::names::{BrokerName, TopicName};
use stdx::Timestamp;

use crate::consumer::delivery;
use crate::consumer::group::GroupState;
use crate::consumer::held::{Held, HeldStatus};
use crate::consumer::push::{Mode, Model};
use crate::consumer::received::Received;
use crate::queue::Queue;

type Queues = BTreeMap<Queue, Arc<Held>>;

/// How far this consumer is with a topic (221).
pub(crate) fn status(queues: &Queues, topic: &TopicName) -> GetConsumerStatusBody {
    let of_topic = queues.values().filter(|held| held.queue.topic == *topic);
    let table =
        of_topic.map(|held| (MessageQueue::from(&held.queue), signed(held.status(Timestamp(0)).committable)));
    GetConsumerStatusBody { message_queue_table: table.collect(), consumer_table: BTreeMap::new() }
}

/// What this consumer is doing (307). The names of the properties are those that tools print.
pub(crate) fn running_info(group: &GroupState, queues: &Queues) -> ConsumerRunningInfo {
    let now = group.session.now();
    let config = &group.config;
    let mut properties = BTreeMap::new();
    let mut say = |name: &str, value: String| properties.insert(name.to_owned(), value);
    say("PROP_NAMESERVER_ADDR", group.session.config().name_servers.join(";"));
    say("PROP_CONSUME_TYPE", "CONSUME_PASSIVELY".to_owned());
    say("PROP_CLIENT_VERSION", "V5_5_0".to_owned());
    say("PROP_CONSUMER_START_TIMESTAMP", group.started_at.to_string());
    say("PROP_CONSUMEORDERLY", (config.mode == Mode::Orderly).to_string());
    say("PROP_THREADPOOL_CORE_SIZE", config.workers.to_string());
    say("consumerGroup", config.group.to_string());
    say(
        "messageModel",
        if config.model == Model::Broadcast { "BROADCASTING" } else { "CLUSTERING" }.to_owned(),
    );
    ConsumerRunningInfo {
        properties,
        subscription_set: group.interests.iter().map(|(topic, interest)| interest.data(topic)).collect(),
        mq_table: queues
            .values()
            .map(|held| (MessageQueue::from(&held.queue), queue_info(&held.status(now))))
            .collect(),
        ..ConsumerRunningInfo::default()
    }
}

fn queue_info(status: &HeldStatus) -> ProcessQueueInfo {
    let (first, last) = status.span.unwrap_or_default();
    ProcessQueueInfo {
        commit_offset: signed(status.committable),
        cached_msg_min_offset: signed(first),
        cached_msg_max_offset: signed(last),
        cached_msg_count: i32::try_from(status.messages).unwrap_or(i32::MAX),
        cached_msg_size_in_mib: i32::try_from(status.bytes >> 20).unwrap_or(i32::MAX),
        locked: status.locked,
        droped: status.stopped,
        last_pull_timestamp: status.last_pull.0,
        last_consume_timestamp: status.last_delivery.0,
        ..ProcessQueueInfo::default()
    }
}

/// Hands one record to the listener on a tool's word (309).
pub(crate) async fn consume(
    group: &GroupState,
    record: &Bytes,
    broker: &BrokerName,
) -> ConsumeMessageDirectlyResult {
    let is_orderly = group.config.mode == Mode::Orderly;
    let began = group.session.now();
    let result = |consumed, remark| ConsumeMessageDirectlyResult {
        order: is_orderly,
        consume_result: Some(consumed),
        remark,
        spent_time_mills: group.session.now().0 - began.0,
        ..ConsumeMessageDirectlyResult::default()
    };
    match Received::list(record, broker, &Filter::All) {
        Ok(messages) if !messages.is_empty() => match delivery::consume(group, &messages).await {
            levels if levels.iter().all(Option::is_none) => result(CMResult::Success, None),
            _ => result(CMResult::Later, None),
        },
        Ok(_) => result(CMResult::ThrowException, Some("there is no message in the request".to_owned())),
        Err(error) => result(CMResult::ThrowException, Some(format!("the message cannot be read: {error}"))),
    }
}

/// The wire counts offsets in signed numbers.
fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
