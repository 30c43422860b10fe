// SPDX-License-Identifier: Apache-2.0
//! Operators: they move groups, and change and delete topics and groups.

use broker::ops::admin::reset::ResetInput;
use protocol::body::{
    CustomizedRetryPolicy, ExponentialRetryPolicy, GroupRetryPolicy, GroupRetryPolicyType,
    SubscriptionGroupConfig, TopicConfig,
};
use protocol::names::{Group, QueueId, QueueOffset, TopicName};
use stdx::Timestamp;

use super::{QUEUES, REMOVABLE};
use crate::world::{Label, World};

impl World {
    /// Moves a group to some place of a queue.
    pub(super) fn reset(&mut self) {
        let (group, (topic, queue)) = ("g0", self.any_place());
        let Some(found) = self.node.store.find_queue(&topic, QueueId(queue)) else { return };
        let (first, end) = (found.first().0, found.dispatched().0);
        let offset = first + self.rng.below(end + 1 - first);
        let input = ResetInput {
            group: Group::stored(group),
            topic: TopicName::stored(topic.as_str()),
            queue: Some(QueueId(queue)),
            offset: Some(QueueOffset(offset)),
            at: Timestamp(0),
            force: true,
        };
        let now = self.now();
        let moved = self.live(|world| world.node.broker.reset_group(&input).map(drop));
        let Some(moved) = moved else { return };
        self.say(&format!("reset {group} in {topic}/{queue} to {offset}: {moved:?}"));
        if moved.is_ok() {
            self.oracle.progress.moved(&(group.to_owned(), (topic, queue)), offset, now);
        }
    }

    /// Deletes the topic that comes and goes, or sets it.
    pub(super) fn change_topic(&mut self) {
        let (now, from) = (self.now(), self.written());
        let name = TopicName::stored(REMOVABLE);
        if self.rng.chance(2) {
            let order = self.rng.chance(2);
            let config = TopicConfig { order, ..TopicConfig::new(name, QUEUES as i32, 6) };
            let set = self.live(|world| {
                let topics = world.node.broker.topics();
                topics.update(config, &world.node.store, now).map(drop)
            });
            self.say(&format!("set {REMOVABLE}: {set:?}"));
            return;
        }
        self.abandon_users();
        // Until it is answered, it may have happened or not.
        self.oracle.delays.topic_removed(REMOVABLE);
        self.oracle.progress.may_go(|(_, (topic, _))| topic == REMOVABLE);
        self.oracle.removing = Some(REMOVABLE.to_owned());
        let was_there = self.node.broker.topics().get(REMOVABLE).is_some();
        let removed = self.live(|world| world.node.broker.delete_topic(&name, now));
        self.oracle.removing = None;
        let Some(removed) = removed else { return };
        self.say(&format!("delete {REMOVABLE}: {removed:?}"));
        let to = self.written();
        let is_there = self.node.broker.topics().get(REMOVABLE).is_some();
        if removed.is_ok() || was_there && !is_there {
            self.oracle.removed(REMOVABLE, from, to);
        }
        if removed.is_ok() {
            self.oracle.progress.removed(|(_, (topic, _))| topic == REMOVABLE);
        }
    }

    /// Clients of a topic that goes are gone before.
    fn abandon_users(&mut self) {
        let attempts = &self.oracle.attempts;
        let uses = |label: &Label| match label {
            Label::Send(numbers, _) => attempts[numbers[0] as usize].topic == REMOVABLE,
            Label::Pull(ask, _) => ask.place.0 == REMOVABLE,
            // Transactions are for the other topics.
            Label::GiveBack(_) | Label::Recall(_) | Label::Half(_) | Label::End(..) | Label::Keep(_) => false,
        };
        let users: Vec<u64> =
            self.tasks.pending().filter(|(_, task)| uses(&task.label)).map(|(id, _)| id).collect();
        users.into_iter().for_each(|id| self.tasks.abandon(id));
    }

    /// Deletes the group that comes and goes, or sets it.
    pub(super) fn change_group(&mut self) {
        let (now, group) = (self.now(), Group::stored("g2"));
        if self.rng.chance(2) {
            let retry_max_times = self.rng.below(20) as i32;
            let config = SubscriptionGroupConfig {
                group_name: group,
                retry_max_times,
                ..SubscriptionGroupConfig::default()
            };
            let set = self.live(|world| {
                let groups = world.node.broker.groups();
                groups.update(config, &world.node.store, now).map(drop)
            });
            self.say(&format!("set g2: {set:?}"));
            return;
        }
        self.oracle.progress.may_go(|(group, _)| group == "g2");
        let deleted = self.live(|world| world.node.broker.delete_group(&group, true, now));
        self.say(&format!("delete g2: {deleted:?}"));
        if matches!(deleted, Some(Ok(()))) {
            self.oracle.progress.removed(|(group, _)| group == "g2");
        }
    }

    /// Says how long what a group gives back waits for its next try.
    pub(super) fn set_policy(&mut self) {
        let now = self.now();
        let name = ["g0", "g1"][self.rng.below(2) as usize];
        let (kind, waits, growing) = match self.rng.below(4) {
            0 => (GroupRetryPolicyType::Customized, None, None),
            1 => {
                let growing = ExponentialRetryPolicy { initial: 700, max: 2000, multiplier: 2 };
                (GroupRetryPolicyType::Exponential, None, Some(growing))
            }
            _ => {
                let waits = [self.rng.below(4000) as i64, self.rng.below(4000) as i64];
                (GroupRetryPolicyType::Customized, Some(CustomizedRetryPolicy::of_retries(&waits)), None)
            }
        };
        let group_retry_policy =
            GroupRetryPolicy { kind, customized_retry_policy: waits, exponential_retry_policy: growing };
        let said = format!("{group_retry_policy:?}");
        let config = SubscriptionGroupConfig {
            group_name: Group::stored(name),
            group_retry_policy,
            ..SubscriptionGroupConfig::default()
        };
        let set = self.live(|world| {
            let groups = world.node.broker.groups();
            groups.update(config, &world.node.store, now).map(drop)
        });
        self.say(&format!("set the policy of {name} to {said}: {set:?}"));
    }
}
