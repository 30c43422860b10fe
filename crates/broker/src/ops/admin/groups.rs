// SPDX-License-Identifier: Apache-2.0
//! Consumer groups as operators set, list, forbid and delete them. Called by the faces of 200, 201, 207, 225, 352, 353.

use std::sync::Arc;

use protocol::body::SubscriptionGroupConfig;
use protocol::names::{Group, NameError, TopicName};
use stdx::Timestamp;
use store::AppendError;

use super::attributes::{AttributesRefused, Changes};
use super::{Page, QUEUES_MAX};
use crate::Broker;
use crate::groups::GroupRefused;

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
        check_group(config)?;
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
        self.groups.update(next, &self.store, now)?;
        Ok(())
    }

    /// Makes or changes several groups: all are judged before the first is set.
    pub(crate) fn set_groups(
        &self,
        configs: &[SubscriptionGroupConfig],
        now: Timestamp,
    ) -> Result<(), SetGroupRefused> {
        configs.iter().try_for_each(check_group)?;
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
}

/// COMPAT: no attribute of a group is known here; Apache's 5.3 knows none either and refuses them by name.
fn check_group(config: &SubscriptionGroupConfig) -> Result<(), SetGroupRefused> {
    config.group_name.check()?;
    let queues = config.retry_queue_nums;
    if !(0..=QUEUES_MAX).contains(&queues) {
        return Err(SetGroupRefused::Queues { queues });
    }
    match Changes::of_table(&config.attributes)?.names().first() {
        Some(name) => Err(AttributesRefused::Unknown((*name).to_owned()).into()),
        None => Ok(()),
    }
}
