// SPDX-License-Identifier: Apache-2.0
//! Queues as this broker assigns them to the members of a group that leave it to us, and how groups consume topics.
//! Called by the faces of 400, 401 and 402.
//! Invariant: an answer covers the queues of all brokers or none of them, so that no member gives up what it cannot see.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::assignment::Allocation;
use protocol::body::{
    MessageModel, MessageQueue, MessageRequestMode, QueryAssignmentRequestBody,
    SetMessageRequestModeRequestBody,
};
use protocol::names::{BrokerName, ByteStr, Group, QueueId, TopicName};
use stdx::{Timestamp, deadline};
use store::AppendError;

use crate::Broker;
use crate::groups::GroupRefused;
use crate::spread::{Found, Queues};
use crate::topics::{READ, TopicRefused};

/// How long the name servers may take: clients wait for a second when they ask first.
const PATIENCE: Duration = Duration::from_millis(800);

/// A member's queues, and how it consumes them.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// The queues.
    pub queues: Vec<MessageQueue>,
    /// How.
    pub mode: MessageRequestMode,
}

/// Why a group goes on consuming a topic as it did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeRefused {
    /// What failed once is always pulled.
    #[error("retry topic is not allowed to set mode")]
    Retry,
    /// No consumer would get a message.
    #[error("this broker does not serve POP consumption: group {group} goes on pulling topic {topic}")]
    Pop {
        /// Who.
        group: Group,
        /// What.
        topic: TopicName,
    },
    /// There is no such topic.
    #[error(transparent)]
    Topic(#[from] TopicRefused),
    /// There is no such group, and none comes into being by itself.
    #[error(transparent)]
    Group(#[from] GroupRefused),
    /// It did not become part of the log.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Broker {
    /// Says which queues are a member's; `None` where it is better to keep what it has.
    pub async fn assign(&self, request: &QueryAssignmentRequestBody, now: Timestamp) -> Option<Assigned> {
        let QueryAssignmentRequestBody { topic, consumer_group: group, .. } = request;
        let all = self.queues_everywhere(topic, now).await?;
        let queues = match request.message_model {
            MessageModel::Broadcasting => all.iter().cloned().collect(),
            MessageModel::Clustering => {
                let Some(allocation) = Allocation::named(&request.strategy_name) else {
                    tracing::warn!(%group, %topic, strategy = request.strategy_name, "no such strategy here");
                    return None;
                };
                let members: Vec<ByteStr> = self.clients.consumer_ids(group).into_iter().collect();
                if members.is_empty() {
                    return None;
                }
                let all: Vec<MessageQueue> = all.iter().cloned().collect();
                allocation.share(&all, &members, &request.client_id)
            }
        };
        Some(Assigned { queues, mode: self.modes.of(topic, group) })
    }

    /// The queues of one of our topics on all brokers that have it.
    async fn queues_everywhere(&self, topic: &TopicName, now: Timestamp) -> Option<Queues> {
        let here = self.topics.get(topic)?;
        let told = async {
            loop {
                let seen = self.spread.learned().get();
                match self.spread.find(topic, now) {
                    Found::Here => return None,
                    Found::Told(queues) => return Some(queues),
                    Found::Unknown => _ = self.spread.learned().reached(seen + 1).await,
                }
            }
        };
        match deadline(&self.clock, now + PATIENCE, told).await? {
            Some(queues) => queues,
            None if here.config().perm & READ == 0 => Some(Arc::default()),
            None => {
                let broker_name = BrokerName::stored(&self.config().identity.name);
                let queues = (0..here.read_queues()).map(|id| MessageQueue {
                    broker_name: broker_name.clone(),
                    queue_id: QueueId(id),
                    topic: here.name().clone(),
                });
                Some(Arc::new(queues.collect::<BTreeSet<_>>()))
            }
        }
    }

    /// Sets how a group consumes a topic.
    pub fn set_mode(
        &self,
        wanted: &SetMessageRequestModeRequestBody,
        now: Timestamp,
    ) -> Result<(), ModeRefused> {
        let SetMessageRequestModeRequestBody { topic, consumer_group: group, .. } = wanted;
        if topic.is_retry() {
            return Err(ModeRefused::Retry);
        }
        if self.topics.get(topic).is_none() {
            return Err(TopicRefused::Missing { topic: topic.clone() }.into());
        }
        if wanted.mode == MessageRequestMode::Pop {
            return Err(ModeRefused::Pop { group: group.clone(), topic: topic.clone() });
        }
        self.groups.find_or_create(group, &self.config().creation, &self.store, now)?;
        Ok(self.modes.set(wanted, &self.store)?)
    }
}
