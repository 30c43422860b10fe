// SPDX-License-Identifier: Apache-2.0
//! Moving a group to another place, and asking its members where they stand. Called by the faces of 222 and 223.
//!
//! The broker moves the group itself: the new place counts at once, and each consumer is sent there by its next pull.
//! Where that is switched off, the members are told and move themselves, as clients of old brokers do.

use std::time::Duration;

use protocol::admin::reset::{
    GetConsumerStatusFromClient, InvokeBrokerToGetConsumerStatus, InvokeBrokerToResetOffset,
    ResetConsumerClientOffset,
};
use protocol::body::{
    GetConsumerStatusBody, MessageQueue, MessageQueueForC, ResetOffsetBody, ResetOffsetBodyForC,
};
use protocol::frame::Language;
use protocol::json::{self, ObjectMap};
use protocol::names::{Group, QueueId, QueueKey, QueueOffset, TopicName};
use stdx::Timestamp;
use store::Boundary;

use super::relay::MemberRefused;
use crate::groups::GroupRefused;
use crate::rates::trail::Kind;
use crate::topics::{Topic, TopicRefused};
use crate::{Broker, bodies};

/// How long a member may take to say where it stands.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// Where a group is to go.
#[derive(Clone, Debug)]
pub struct ResetInput {
    /// The group.
    pub group: Group,
    /// The topic.
    pub topic: TopicName,
    /// Only this queue.
    pub queue: Option<QueueId>,
    /// To this offset, in the one queue.
    pub offset: Option<QueueOffset>,
    /// To the message stored at this time; before 1970 means the end.
    pub at: Timestamp,
    /// Forward too, where members move themselves.
    pub force: bool,
}

/// Why a group stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetRefused {
    /// There is no such topic.
    #[error(transparent)]
    Topic(#[from] TopicRefused),
    /// There is no such group.
    #[error(transparent)]
    Group(#[from] GroupRefused),
    /// The queue does not reach so far.
    #[error("Target offset {offset} not in consume queue range [{first}-{end}]")]
    OutOfRange {
        /// What was asked for.
        offset: QueueOffset,
        /// Where the queue begins.
        first: QueueOffset,
        /// Where it ends.
        end: QueueOffset,
    },
    /// The topic has nothing to read.
    #[error("No queues to reset.")]
    NoQueues,
    /// Nobody is there to be told.
    #[error("Consumer not online, so can not reset offset, Group: {group} Topic: {topic}")]
    Offline {
        /// The group.
        group: Group,
        /// The topic.
        topic: TopicName,
    },
}

/// Queues with offsets.
pub type Places = ObjectMap<MessageQueue, i64>;

impl Broker {
    /// Moves a group; returns where to.
    pub fn reset_group(&self, input: &ResetInput) -> Result<Places, ResetRefused> {
        let topic = self.topic(&input.topic)?;
        if self.config().consumers.server_side_reset {
            self.group(&input.group)?;
            let targets = self.reset_targets(input, &topic)?;
            for (queue, offset) in &targets {
                self.send_group_to(&input.group, &input.topic, *queue, *offset);
            }
            tracing::info!(group = %input.group, topic = %input.topic, queues = targets.len(), "group moved");
            return Ok(self.places(&input.topic, targets));
        }
        self.tell_to_move(input, &topic)
    }

    /// Puts a group's queue at `offset`. A consumer that waits for a message there is told at once, any other with its
    /// next pull; until then its commits do not count.
    pub fn send_group_to(&self, group: &Group, topic: &TopicName, queue: QueueId, offset: QueueOffset) {
        let before = self.offsets.committed(group, topic, queue);
        self.offsets.reset(group, topic, queue, offset);
        self.noted(group, topic, queue, (Kind::Moved, before, offset), 0);
        self.arrivals.release(&QueueKey { topic: topic.clone(), queue });
    }

    fn reset_targets(
        &self,
        input: &ResetInput,
        topic: &Topic,
    ) -> Result<Vec<(QueueId, QueueOffset)>, ResetRefused> {
        let Some(queue) = input.queue else {
            let all = (0..topic.read_queues()).map(QueueId);
            let targets: Vec<_> =
                all.map(|queue| (queue, self.place_at(&input.topic, queue, input.at))).collect();
            return if targets.is_empty() { Err(ResetRefused::NoQueues) } else { Ok(targets) };
        };
        if queue.0 >= topic.read_queues() {
            let (topic, queues) = (input.topic.clone(), topic.read_queues());
            return Err(TopicRefused::NoSuchQueue { queue, queues, topic }.into());
        }
        let target = match input.offset {
            Some(offset) => {
                let (first, end) =
                    (self.queue_start(&input.topic, queue), self.queue_end(&input.topic, queue, true));
                if offset < first || offset > end {
                    return Err(ResetRefused::OutOfRange { offset, first, end });
                }
                offset
            }
            None => self.place_at(&input.topic, queue, input.at),
        };
        Ok(vec![(queue, target)])
    }

    fn place_at(&self, topic: &TopicName, queue: QueueId, at: Timestamp) -> QueueOffset {
        if at.0 < 0 {
            self.queue_end(topic, queue, true)
        } else {
            self.offset_at(topic, queue, at, Boundary::Lower)
        }
    }

    /// Tells every member to move itself.
    fn tell_to_move(&self, input: &ResetInput, topic: &Topic) -> Result<Places, ResetRefused> {
        let mut targets = Vec::new();
        for queue in (0..topic.write_queues()).map(QueueId) {
            let committed = self.offsets.committed(&input.group, &input.topic, queue);
            let committed = committed.ok_or_else(|| GroupRefused::Missing { group: input.group.clone() })?;
            let there = self.place_at(&input.topic, queue, input.at);
            targets.push((queue, if input.force { there } else { there.min(committed) }));
        }
        let members = self.members(&input.group);
        if members.is_empty() {
            return Err(ResetRefused::Offline { group: input.group.clone(), topic: input.topic.clone() });
        }
        for (queue, offset) in &targets {
            self.offsets.expect(&input.group, &input.topic, *queue, *offset);
        }
        let places = self.places(&input.topic, targets);
        let (plain, listed) =
            (json::to_vec_fastjson(&ResetOffsetBody { offset_table: places.clone() }), for_c(&places));
        let request = ResetConsumerClientOffset(InvokeBrokerToResetOffset {
            group: input.group.clone(),
            topic: input.topic.clone(),
            queue: None,
            offset: None,
            at: input.at,
            force: input.force,
        });
        for (session, connection) in members {
            let body = if session.language == Language::CPP { listed.clone() } else { plain.clone() };
            if let Err(error) = connection.notify(&request, body) {
                tracing::warn!(group = %input.group, client = %session.client, %error, "a member was not told to move");
            }
        }
        Ok(places)
    }

    fn places(&self, topic: &TopicName, targets: Vec<(QueueId, QueueOffset)>) -> Places {
        let place =
            |(queue, offset): (QueueId, QueueOffset)| (self.message_queue(topic, queue), offset.0 as i64);
        targets.into_iter().map(place).collect()
    }

    /// Asks the members of a group, or one of them, how far they think they are. A silent member is left out.
    pub(crate) async fn consumer_status(
        &self,
        group: &Group,
        topic: &TopicName,
        client: Option<&str>,
    ) -> Result<GetConsumerStatusBody, MemberRefused> {
        let mut members = self.members(group);
        members.retain(|(session, _)| client.is_none_or(|client| session.client == *client));
        if members.is_empty() {
            return Err(MemberRefused::NoMembers { group: group.clone() });
        }
        let (topic, group_name) = (topic.clone(), group.clone());
        let asked = InvokeBrokerToGetConsumerStatus { topic, group: group_name, client: None };
        let request = GetConsumerStatusFromClient(asked);
        let calls = members.iter().map(|(_, connection)| connection.call(&request, (), STATUS_PATIENCE));
        let answers = futures_util::future::join_all(calls).await;
        let mut status = GetConsumerStatusBody::default();
        for ((session, _), answer) in members.iter().zip(answers) {
            let name = session.client.to_string();
            let told = answer.and_then(|answer| answer.ok()).map_err(|error| error.to_string());
            let told = told.and_then(|(_, body)| {
                bodies::STATUS.read::<GetConsumerStatusBody>(&body).map_err(|error| error.to_string())
            });
            match told {
                Ok(told) => drop(status.consumer_table.insert(name, told.message_queue_table)),
                Err(error) => {
                    tracing::warn!(%group, client = name, error, "a member did not say where it stands")
                }
            }
        }
        Ok(status)
    }
}

fn for_c(places: &Places) -> Vec<u8> {
    let place = |(queue, offset): &(MessageQueue, i64)| MessageQueueForC {
        broker_name: queue.broker_name.clone(),
        offset: *offset,
        queue_id: queue.queue_id.0 as i32,
        topic: queue.topic.clone(),
    };
    json::to_vec(&ResetOffsetBodyForC { offset_table: places.0.iter().map(place).collect() })
}
