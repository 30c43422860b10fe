// SPDX-License-Identifier: Apache-2.0
//! Control over what a group consumes: what a move would repeat or leave out, moving, stopping, going on, copying.
//! A plan is made from questions that every broker answers, so that it tells the truth about Apache's too.

use std::collections::BTreeMap;

use protocol::admin::progress::CloneGroupOffset;
use protocol::admin::reset::InvokeBrokerToResetOffset;
use protocol::body::{ProcessQueueInfo, ResetOffsetBody, SubscriptionGroupConfig};
use protocol::codes::ResponseCode;
use protocol::names::{BrokerName, Group, QueueId, QueueOffset, TopicName};
use stdx::Timestamp;

use crate::admin::{Admin, AdminError, Master};
use crate::queue::Queue;

/// Where a group is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetTo {
    /// To the first message stored at this time or later.
    Time(Timestamp),
    /// To this offset of one queue.
    Offset(QueueOffset),
    /// Behind the last message.
    End,
}

/// Which queues of a topic a group is moved in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResetScope {
    /// Only on this broker.
    pub broker: Option<BrokerName>,
    /// Only the queue with this number.
    pub queue: Option<QueueId>,
}

/// What a move means for one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMove {
    /// The queue.
    pub queue: Queue,
    /// Where the group stands; `None` when it has never said.
    pub committed: Option<QueueOffset>,
    /// Where it would go.
    pub target: QueueOffset,
    /// One past the last message.
    pub end: QueueOffset,
    /// When the first message that would come again was stored.
    pub first_again: Option<Timestamp>,
    /// When the last message that would come again was stored.
    pub last_again: Option<Timestamp>,
}

impl PlannedMove {
    /// Messages that are done and would be delivered again.
    pub fn redelivered(&self) -> u64 {
        self.committed.map_or(0, |committed| committed.0.saturating_sub(self.target.0))
    }

    /// Messages that are not done and would never be delivered.
    pub fn skipped(&self) -> u64 {
        self.committed.map_or(0, |committed| self.target.0.saturating_sub(committed.0))
    }
}

impl Admin {
    /// Says what a move would do, and moves nothing.
    pub async fn plan_reset(
        &self,
        group: &Group,
        topic: &TopicName,
        scope: &ResetScope,
        to: ResetTo,
    ) -> Result<Vec<PlannedMove>, AdminError> {
        let mut plan = Vec::new();
        for queue in self.scoped(topic, scope).await? {
            let (first, end) =
                (self.session.first_offset(&queue).await?, self.session.end_offset(&queue).await?);
            let target = match to {
                ResetTo::End => end,
                ResetTo::Time(at) => self.session.offset_at(&queue, at).await?,
                ResetTo::Offset(offset) if offset < first || offset > end => {
                    return Err(AdminError::NoSuchOffset { offset, first, end });
                }
                ResetTo::Offset(offset) => offset,
            };
            let committed = self.session.committed(group, &queue, true).await?;
            let again = committed.filter(|committed| *committed > target);
            let mut planned =
                PlannedMove { queue, committed, target, end, first_again: None, last_again: None };
            if let Some(committed) = again {
                planned.first_again = self.stored_at(&planned.queue, target).await?;
                planned.last_again = self.stored_at(&planned.queue, QueueOffset(committed.0 - 1)).await?;
            }
            plan.push(planned);
        }
        Ok(plan)
    }

    /// Moves a group, online or not; returns where to.
    pub async fn reset_to(
        &self,
        group: &Group,
        topic: &TopicName,
        scope: &ResetScope,
        to: ResetTo,
    ) -> Result<BTreeMap<Queue, QueueOffset>, AdminError> {
        let (at, offset) = match to {
            ResetTo::Time(at) => (at, None),
            ResetTo::Offset(offset) => (Timestamp(-1), Some(offset)),
            ResetTo::End => (Timestamp(-1), None),
        };
        let mut moved = BTreeMap::new();
        for (address, queue) in self.reset_targets(topic, scope).await? {
            let (group, topic) = (group.clone(), topic.clone());
            let request = InvokeBrokerToResetOffset { group, topic, queue, offset, at, force: true };
            let answer: ResetOffsetBody = self.broker(&address, &request).await?;
            let offsets = answer.offset_table.0.iter();
            moved.extend(offsets.map(|(queue, offset)| {
                (Queue::from(queue), QueueOffset(u64::try_from(*offset).unwrap_or(0)))
            }));
        }
        Ok(moved)
    }

    /// Stops a group, so that brokers give it nothing any more, or lets it go on; returns the brokers that know it.
    pub async fn set_consuming(&self, group: &Group, is_on: bool) -> Result<Vec<Master>, AdminError> {
        let mut changed = Vec::new();
        for master in self.masters(None).await? {
            // Apache's broker makes a group that is asked for by its name.
            let mut known = self.group_configs(&master.address).await?.subscription_group_table;
            let Some(config) = known.remove(group) else { continue };
            let config = SubscriptionGroupConfig { consume_enable: is_on, ..config };
            self.put_group_on(&master.address, &config).await?;
            changed.push(master);
        }
        if changed.is_empty() { Err(AdminError::NoGroup(group.to_string())) } else { Ok(changed) }
    }

    /// Gives one group the progress of another, in a topic.
    pub async fn clone_progress(
        &self,
        source: &Group,
        target: &Group,
        topic: &TopicName,
    ) -> Result<(), AdminError> {
        for address in self.masters_of(topic).await? {
            let (source, target) = (source.clone(), target.clone());
            let request = CloneGroupOffset { source, target, topic: Some(topic.clone()), offline: true };
            self.tell(&address, &request, ()).await?;
        }
        Ok(())
    }

    /// Which member holds which queue, as the members say themselves; one that does not answer holds nothing.
    pub async fn holders(
        &self,
        group: &Group,
    ) -> Result<BTreeMap<Queue, (String, ProcessQueueInfo)>, AdminError> {
        let members = match self.consumer_connections(group).await {
            Err(error) if error.refusal() == Some(ResponseCode::CONSUMER_NOT_ONLINE) => {
                return Ok(BTreeMap::new());
            }
            members => members?,
        };
        let mut holders = BTreeMap::new();
        for member in &members.connection_set {
            let Ok(info) = self.running_info(group, &member.client_id).await else { continue };
            let held = info.mq_table.0.into_iter().filter(|(_, queue)| !queue.droped);
            holders
                .extend(held.map(|(queue, state)| (Queue::from(&queue), (member.client_id.clone(), state))));
        }
        Ok(holders)
    }

    /// The queues that can be read.
    pub(super) async fn scoped(
        &self,
        topic: &TopicName,
        scope: &ResetScope,
    ) -> Result<Vec<Queue>, AdminError> {
        let route = self.route(topic).await?;
        let wanted = |broker: &BrokerName| scope.broker.as_ref().is_none_or(|only| only == broker);
        let mut queues = Vec::new();
        for data in route.queue_datas.iter().filter(|data| wanted(&data.broker_name)) {
            let all = (0..u32::try_from(data.read_queue_nums).unwrap_or(0)).map(QueueId);
            queues.extend(all.filter(|id| scope.queue.is_none_or(|only| only == *id)).map(|id| Queue {
                topic: topic.clone(),
                broker: data.broker_name.clone(),
                id,
            }));
        }
        queues.sort();
        if queues.is_empty() { Err(AdminError::NoQueue(topic.clone())) } else { Ok(queues) }
    }

    /// Whom to tell of a move, and the one queue that it is about, if it is.
    async fn reset_targets(
        &self,
        topic: &TopicName,
        scope: &ResetScope,
    ) -> Result<Vec<(String, Option<QueueId>)>, AdminError> {
        let mut targets = Vec::new();
        for queue in self.scoped(topic, scope).await? {
            targets.push((self.master_address(&queue.broker).await?, scope.queue));
        }
        targets.dedup();
        Ok(targets)
    }

    async fn stored_at(&self, queue: &Queue, offset: QueueOffset) -> Result<Option<Timestamp>, AdminError> {
        match self.message_at(queue, offset).await {
            Ok(message) => Ok(Some(message.stored_at)),
            Err(AdminError::NoMessage) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(committed: Option<u64>, target: u64) -> PlannedMove {
        let queue =
            Queue { topic: TopicName::stored("t"), broker: BrokerName::parse("b").unwrap(), id: QueueId(0) };
        PlannedMove {
            queue,
            committed: committed.map(QueueOffset),
            target: QueueOffset(target),
            end: QueueOffset(100),
            first_again: None,
            last_again: None,
        }
    }

    #[test]
    fn a_move_repeats_or_skips_but_never_both() {
        let counts = |planned: PlannedMove| (planned.redelivered(), planned.skipped());
        assert_eq!(counts(planned(Some(40), 30)), (10, 0));
        assert_eq!(counts(planned(Some(40), 40)), (0, 0));
        assert_eq!(counts(planned(Some(40), 100)), (0, 60));
        assert_eq!(counts(planned(None, 0)), (0, 0), "what was never done does not come again");
    }
}
