// SPDX-License-Identifier: Apache-2.0
//! Consumer groups as operators set, list, forbid and delete them. Called by the faces of 200, 201, 207, 225, 352, 353.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::body::{BadRetryPolicy, SubscriptionGroupConfig, TopicConfig};
use protocol::names::{Group, NameError, QueueId, QueueKey, TopicName};
use stdx::Timestamp;
use store::AppendError;

use super::attributes::{AttributesRefused, Changes};
use super::{Page, QUEUES_MAX};
use crate::Broker;
use crate::groups::GroupRefused;
use crate::topics::TopicRefused;

/// Why a group stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetGroupRefused {
    /// A group cannot be called that.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// It cannot have so many retry queues.
    #[error("a group has 0 to {QUEUES_MAX} retry queues, not {queues}")]
    Queues {
        /// What was asked for.
        queues: i32,
    },
    /// Its messages cannot wait like that.
    #[error(transparent)]
    Policy(#[from] BadRetryPolicy),
    /// Its retry topic cannot be changed.
    #[error(transparent)]
    Topic(#[from] TopicRefused),
    /// Its attributes cannot be changed like that.
    #[error(transparent)]
    Attributes(#[from] AttributesRefused),
    /// It did not become part of the log.
    #[error(transparent)]
    Group(#[from] GroupRefused),
    /// A part of it did not go from the log.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Broker {
    /// Makes a group, or changes it.
    pub(crate) fn set_group(
        &self,
        config: &SubscriptionGroupConfig,
        now: Timestamp,
    ) -> Result<(), SetGroupRefused> {
        self.check_group(config)?;
        let current = self.groups.get(&config.group_name);
        let attributes = current.as_ref().map(|group| group.attributes.clone()).unwrap_or_default();
        let next = SubscriptionGroupConfig {
            group_name: config.group_name.detached(),
            attributes,
            ..config.clone()
        };
        if current.is_some_and(|group| *group == next) {
            return Ok(());
        }
        let group = self.groups.update(next, &self.store, now)?;
        if !group.consume_enable {
            self.release_group(&group.group_name);
        }
        Ok(self.grow_retry_topic(&group, now)?)
    }

    /// A group that wants more retry queues gets them in the retry topic it has. It keeps those it has too many:
    /// messages may wait in them.
    fn grow_retry_topic(&self, group: &SubscriptionGroupConfig, now: Timestamp) -> Result<(), TopicRefused> {
        let Some(topic) = self.topics.get(&TopicName::retry_of(&group.group_name)) else { return Ok(()) };
        let (config, wanted) = (topic.config(), group.retry_queue_nums);
        if config.write_queue_nums >= wanted && config.read_queue_nums >= wanted {
            return Ok(());
        }
        let grown = TopicConfig {
            write_queue_nums: wanted.max(config.write_queue_nums),
            read_queue_nums: wanted.max(config.read_queue_nums),
            ..config.clone()
        };
        self.topics.update(grown, &self.store, now).map(drop)
    }

    /// Wakes the pulls that wait where a group reads: each looks again whether it still may.
    fn release_group(&self, group: &Group) {
        let mut topics: BTreeSet<TopicName> = self.offsets.topics_of(group).into_iter().collect();
        topics.extend(self.clients.subscriptions(group).into_iter().map(|wanted| wanted.topic));
        for topic in topics.iter().filter_map(|topic| self.topics.get(topic)) {
            for queue in (0..topic.read_queues()).map(QueueId) {
                self.arrivals.release(&QueueKey { topic: topic.name().clone(), queue });
            }
        }
    }

    /// Makes or changes several groups: all are judged before the first is set.
    pub(crate) fn set_groups(
        &self,
        configs: &[SubscriptionGroupConfig],
        now: Timestamp,
    ) -> Result<(), SetGroupRefused> {
        configs.iter().try_for_each(|config| self.check_group(config))?;
        configs.iter().try_for_each(|config| self.set_group(config, now))
    }

    /// Deletes a group, and its progress if wanted; one that is not there is no error.
    pub fn delete_group(
        &self,
        group: &Group,
        with_progress: bool,
        now: Timestamp,
    ) -> Result<(), SetGroupRefused> {
        self.groups.remove(group, &self.store, now)?;
        self.modes.remove_group(group, &self.store)?;
        if with_progress {
            self.offsets.remove_group(&self.store, group)?;
        }
        self.rates.forget_group(group);
        Ok(())
    }

    /// One page of the table of groups, or all of it.
    pub(crate) fn group_page(&self, page: Option<Page>) -> Vec<Arc<SubscriptionGroupConfig>> {
        let (all, version) = (self.groups.all(), self.groups.version());
        match page {
            Some(page) => page.of(all, version),
            None => all,
        }
    }

    /// Returns a group that is there.
    pub(crate) fn group(&self, name: &Group) -> Result<Arc<SubscriptionGroupConfig>, GroupRefused> {
        self.groups.get(name).ok_or_else(|| GroupRefused::Missing { group: name.clone() })
    }

    /// Forbids a group to read a topic, or allows it again; `None` only asks. Returns whether it may.
    pub(crate) fn set_readable(
        &self,
        group: &Group,
        topic: &TopicName,
        readable: Option<bool>,
    ) -> Result<bool, AppendError> {
        if let Some(readable) = readable {
            self.forbidden.set(group, topic, !readable, &self.store)?;
        }
        Ok(!self.forbidden.is(group, topic))
    }

    /// COMPAT: no attribute of a group is known here; Apache's 5.3 knows none either and refuses them by name.
    fn check_group(&self, config: &SubscriptionGroupConfig) -> Result<(), SetGroupRefused> {
        config.group_name.check()?;
        let queues = config.retry_queue_nums;
        if !(0..=QUEUES_MAX).contains(&queues) {
            return Err(SetGroupRefused::Queues { queues });
        }
        config.group_retry_policy.check(self.timer_max())?;
        match Changes::of_table(&config.attributes)?.names().first() {
            Some(name) => Err(AttributesRefused::Unknown((*name).to_owned()).into()),
            None => Ok(()),
        }
    }
}
