// SPDX-License-Identifier: Apache-2.0
//! Topics as operators set, list, look at and delete them. Called by the faces of 17, 18, 21, 202, 215, 300, 305,
//! 343 and 351. A topic that is set as it is already keeps its version, so nobody is told news that are none.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::body::{MessageQueue, TopicConfig, TopicOffset, TopicStatsTable};
use protocol::json::ObjectMap;
use protocol::kind::{self, Kind};
use protocol::names::{BrokerName, Group, NameError, QueueId, QueueOffset, TopicName};
use stdx::{Timestamp, deadline};

use super::attributes::{AttributesRefused, Changes};
use super::{Page, QUEUES_MAX};
use crate::Broker;
use crate::rates::Span;
use crate::topics::{Topic, TopicRefused};

/// Bits that a permission may have: inherit, write, read, priority.
const PERMISSION_BITS: i32 = 0b1111;

/// How long a change waits for the name servers to hear of it.
const ANNOUNCED: Duration = Duration::from_secs(1);

/// A topic as it is to be.
#[derive(Clone, Debug)]
pub(crate) struct TopicInput {
    /// Its settings; the attributes are left out.
    pub(crate) config: TopicConfig,
    /// What is to change of its attributes.
    pub(crate) attributes: Changes,
}

/// Why a topic stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetTopicRefused {
    /// A topic cannot be called that.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// The topic belongs to the servers.
    #[error("The topic[{topic}] is conflict with system topic.")]
    System {
        /// Its name.
        topic: TopicName,
    },
    /// It cannot have so many queues, or so few.
    #[error("a topic has 0 to {QUEUES_MAX} queues, not {queues}")]
    Queues {
        /// What was asked for.
        queues: i32,
    },
    /// There is no such permission.
    #[error("the permission {permission} has bits that mean nothing")]
    Permission {
        /// What was asked for.
        permission: i32,
    },
    /// Messages of all kinds in one topic are not wanted here.
    #[error("MIXED message type is not supported.")]
    Mixed,
    /// Its attributes cannot be changed like that.
    #[error(transparent)]
    Attributes(#[from] AttributesRefused),
    /// It did not become part of the log.
    #[error(transparent)]
    Topic(#[from] TopicRefused),
}

impl Broker {
    /// Makes a topic, or changes it.
    pub(crate) fn set_topic(&self, input: &TopicInput, now: Timestamp) -> Result<(), SetTopicRefused> {
        self.check_topic(input)?;
        let name = &input.config.topic_name;
        let current = self.topics.get(name);
        let attributes = input.attributes.apply(current.as_ref().map(|topic| &topic.config().attributes))?;
        let next = TopicConfig { attributes, topic_name: name.detached(), ..input.config.clone() };
        if current.is_some_and(|topic| *topic.config() == next) {
            return Ok(());
        }
        self.topics.update(next, &self.store, now)?;
        Ok(())
    }

    /// Makes or changes several topics: all that can be judged beforehand is judged before the first is set.
    pub(crate) fn set_topics(&self, inputs: &[TopicInput], now: Timestamp) -> Result<(), SetTopicRefused> {
        inputs.iter().try_for_each(|input| self.check_topic(input))?;
        inputs.iter().try_for_each(|input| self.set_topic(input, now))
    }

    /// Waits a moment until the name servers know the topics as they are now, so that whoever made one finds it. A name
    /// server that does not answer holds up nobody for longer.
    pub(crate) async fn announced(&self, now: Timestamp) {
        let heard = self.audience.reached(self.topics.changed().get());
        if deadline(&self.clock, now + ANNOUNCED, heard).await.is_none() {
            tracing::debug!("a name server has not heard of a change yet");
        }
    }

    fn check_topic(&self, input: &TopicInput) -> Result<(), SetTopicRefused> {
        let config = &input.config;
        config.topic_name.check()?;
        if self.is_system_topic(&config.topic_name) {
            return Err(SetTopicRefused::System { topic: config.topic_name.clone() });
        }
        for queues in [config.read_queue_nums, config.write_queue_nums] {
            if !(0..=QUEUES_MAX).contains(&queues) {
                return Err(SetTopicRefused::Queues { queues });
            }
        }
        if config.perm & !PERMISSION_BITS != 0 {
            return Err(SetTopicRefused::Permission { permission: config.perm });
        }
        let is_mixed = input.attributes.wanted(kind::ATTRIBUTE) == Some(Kind::Mixed.name());
        if is_mixed && !self.config().creation.mixed_topics {
            return Err(SetTopicRefused::Mixed);
        }
        let current = self.topics.get(&config.topic_name);
        input.attributes.apply(current.as_ref().map(|topic| &topic.config().attributes))?;
        Ok(())
    }

    /// Deletes a topic with its messages and all groups' progress in it; one that is not there is no error.
    pub fn delete_topic(&self, name: &TopicName, now: Timestamp) -> Result<(), SetTopicRefused> {
        if name.trim().is_empty() {
            return Err(NameError::Empty { kind: "topic name" }.into());
        }
        if self.is_system_topic(name) {
            return Err(SetTopicRefused::System { topic: name.clone() });
        }
        let pop_retry = |group: &Group| {
            [format!("%RETRY%{group}+{name}"), format!("%RETRY%{group}_{name}")].map(TopicName::stored)
        };
        let retries: Vec<TopicName> = self.offsets.groups_of(name).iter().flat_map(pop_retry).collect();
        for gone in retries.iter().filter(|retry| self.topics.get(retry).is_some()).chain([name]) {
            self.topics.remove(gone, &self.store, now)?;
            self.offsets.remove_topic(&self.store, gone).map_err(TopicRefused::from)?;
            self.modes.remove_topic(gone, &self.store).map_err(TopicRefused::from)?;
            self.rates.forget_topic(gone);
        }
        Ok(())
    }

    /// One page of the table of topics, or all of it.
    pub(crate) fn topic_page(&self, page: Option<Page>) -> Vec<Arc<Topic>> {
        let (all, version) = (self.topics.all(), self.topics.version());
        match page {
            Some(page) => page.of(all, version),
            None => all,
        }
    }

    /// What the queues of a topic hold.
    pub(crate) fn topic_stats(
        &self,
        name: &TopicName,
        now: Timestamp,
    ) -> Result<TopicStatsTable, TopicRefused> {
        let topic = self.topic(name)?;
        let queues = topic.read_queues().max(topic.write_queues());
        let mut offset_table = ObjectMap::default();
        for queue in (0..queues).map(QueueId) {
            offset_table.0.push((self.message_queue(name, queue), self.topic_offset(name, queue)));
        }
        let rate = self.rates.with_puts(name, |puts| puts.messages(Span::Minute, now).per_second);
        Ok(TopicStatsTable { offset_table, topic_put_tps: rate.unwrap_or_default() })
    }

    fn topic_offset(&self, name: &TopicName, queue: QueueId) -> TopicOffset {
        let Some(found) = self.store.find_queue(name, queue) else { return TopicOffset::default() };
        let end = found.dispatched();
        let last = end.0.checked_sub(1).and_then(|last| self.store.stored_at(&found, QueueOffset(last)));
        TopicOffset {
            last_update_timestamp: last.map_or(0, |at| at.0),
            max_offset: end.0 as i64,
            min_offset: found.first().0 as i64,
        }
    }

    /// The groups that consume a topic now, or have.
    pub(crate) fn groups_consuming(&self, topic: &TopicName) -> BTreeSet<Group> {
        let now = self.clients.groups_of(topic);
        now.into_iter().chain(self.offsets.groups_of(topic)).collect()
    }

    /// The topics that belong to the servers.
    pub(crate) fn system_topics(&self) -> BTreeSet<TopicName> {
        let all = self.topics.all();
        let system = all.iter().map(|topic| topic.name()).filter(|name| self.is_system_topic(name));
        system.cloned().collect()
    }

    /// Returns a topic that is there.
    pub(crate) fn topic(&self, name: &TopicName) -> Result<Arc<Topic>, TopicRefused> {
        self.topics.get(name).ok_or_else(|| TopicRefused::Missing { topic: name.clone() })
    }

    /// One queue as bodies name it.
    pub(crate) fn message_queue(&self, topic: &TopicName, queue: QueueId) -> MessageQueue {
        let broker_name = BrokerName::stored(&self.config().identity.name);
        MessageQueue { broker_name, queue_id: queue, topic: topic.clone() }
    }

    fn is_system_topic(&self, name: &TopicName) -> bool {
        let config = self.config();
        let identity = &config.identity;
        name.is_system()
            || name.as_str() == identity.cluster
            || name.as_str() == identity.name
            || name.strip_suffix("_REPLY_TOPIC") == Some(&identity.cluster)
    }
}
