// SPDX-License-Identifier: Apache-2.0
//! Consumer groups and clients: made, changed, deleted, listed; how far they are, who is in them, moved elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use protocol::admin::group::{
    DeleteSubscriptionGroup, GetAllProducerInfo, GetAllSubscriptionGroupConfig, GetConsumerConnectionList,
    GetProducerConnectionList, GetSubscriptionGroupConfig, UpdateAndCreateSubscriptionGroup,
};
use protocol::admin::progress::{GetConsumeStats, QueryConsumeTimeSpan};
use protocol::body::{
    ConsumeMessageDirectlyResult, ConsumeStats, ConsumerConnection, ConsumerRunningInfo, ProducerConnection,
    ProducerTableInfo, QueryConsumeTimeSpanBody, QueueTimeSpan, SubscriptionGroupConfig,
    SubscriptionGroupWrapper,
};
use protocol::heartbeat::{ConsumeMessageDirectly, GetConsumerRunningInfo};
use protocol::json;
use protocol::names::{ByteStr, Group, QueueOffset, TopicName};
use stdx::Timestamp;

use crate::admin::{Admin, AdminError, Master};
use crate::queue::Queue;

/// How far a group is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupProgress {
    /// Messages consumed in a second, all brokers together.
    pub rate: f64,
    /// Queue by queue.
    pub queues: BTreeMap<Queue, QueueProgress>,
}

/// How far a group is on one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueProgress {
    /// One past the last message.
    pub end: QueueOffset,
    /// The group's progress.
    pub committed: QueueOffset,
    /// Up to where messages were fetched.
    pub pulled: QueueOffset,
    /// When the last consumed message was stored.
    pub last_stored_at: Timestamp,
}

impl QueueProgress {
    /// Messages that are not consumed yet.
    pub fn lag(&self) -> u64 {
        self.end.0.saturating_sub(self.committed.0)
    }
}

impl GroupProgress {
    /// Messages that are not consumed yet, all queues together.
    pub fn lag(&self) -> u64 {
        self.queues.values().map(QueueProgress::lag).sum()
    }

    fn add(&mut self, stats: ConsumeStats) {
        let offset = |value: i64| QueueOffset(value.try_into().unwrap_or(0));
        self.rate += stats.consume_tps;
        self.queues.extend(stats.offset_table.0.iter().map(|(queue, wire)| {
            let progress = QueueProgress {
                end: offset(wire.broker_offset),
                committed: offset(wire.consumer_offset),
                pulled: offset(wire.pull_offset),
                last_stored_at: Timestamp(wire.last_timestamp),
            };
            (Queue::from(queue), progress)
        }));
    }
}

impl Admin {
    /// Makes or changes a group on every master of a cluster, or of all; returns those masters.
    pub async fn put_group(
        &self,
        cluster: Option<&str>,
        config: &SubscriptionGroupConfig,
    ) -> Result<Vec<Master>, AdminError> {
        let masters = self.masters(cluster).await?;
        for master in &masters {
            self.put_group_on(&master.address, config).await?;
        }
        Ok(masters)
    }

    /// Makes or changes a group on one broker.
    pub async fn put_group_on(
        &self,
        address: &str,
        config: &SubscriptionGroupConfig,
    ) -> Result<(), AdminError> {
        config.group_name.check()?;
        self.tell(address, &UpdateAndCreateSubscriptionGroup, json::to_vec(config)).await
    }

    /// Deletes a group on every master of a cluster, or of all, with its progress if so wanted.
    pub async fn delete_group(
        &self,
        cluster: Option<&str>,
        group: &Group,
        clean_offset: bool,
    ) -> Result<(), AdminError> {
        for master in self.masters(cluster).await? {
            let request = DeleteSubscriptionGroup { group: group.clone(), clean_offset };
            self.tell(&master.address, &request, ()).await?;
        }
        Ok(())
    }

    /// The settings of all groups on one broker.
    pub async fn group_configs(&self, address: &str) -> Result<SubscriptionGroupWrapper, AdminError> {
        self.broker(address, &GetAllSubscriptionGroupConfig { from: None, data_version: None, max: None })
            .await
    }

    /// The settings of a group on one broker.
    pub async fn group_config(
        &self,
        address: &str,
        group: &Group,
    ) -> Result<SubscriptionGroupConfig, AdminError> {
        self.broker(address, &GetSubscriptionGroupConfig { group: group.clone() }).await
    }

    /// The names of all groups, over all masters.
    pub async fn groups(&self) -> Result<BTreeSet<Group>, AdminError> {
        let mut groups = BTreeSet::new();
        for master in self.masters(None).await? {
            groups.extend(self.group_configs(&master.address).await?.subscription_group_table.into_keys());
        }
        Ok(groups)
    }

    /// How far a group is, on one topic or on all. A group that no broker knows is an error.
    pub async fn progress(
        &self,
        group: &Group,
        topic: Option<&TopicName>,
    ) -> Result<GroupProgress, AdminError> {
        let request = GetConsumeStats { group: group.clone(), topic: topic.cloned(), topics: None };
        let mut progress = GroupProgress::default();
        let mut failure = None;
        let mut is_known = false;
        for master in self.masters(None).await? {
            match self.broker::<_, ConsumeStats>(&master.address, &request).await {
                Ok(stats) => {
                    is_known = true;
                    progress.add(stats);
                }
                Err(error) => failure = Some(error),
            }
        }
        if is_known { Ok(progress) } else { Err(failure.unwrap_or(AdminError::NoGroup(group.to_string()))) }
    }

    /// The members of a group and what they subscribe to, over all masters. Fails with the code for "not online" where
    /// there is none.
    pub async fn consumer_connections(&self, group: &Group) -> Result<ConsumerConnection, AdminError> {
        let request = GetConsumerConnectionList { group: group.clone() };
        let mut all: Option<ConsumerConnection> = None;
        let mut failure = AdminError::NoGroup(group.to_string());
        for master in self.masters(None).await? {
            match self.broker::<_, ConsumerConnection>(&master.address, &request).await {
                Ok(found) => {
                    let merged = all.get_or_insert_with(|| ConsumerConnection {
                        connection_set: Vec::new(),
                        ..found.clone()
                    });
                    for connection in found.connection_set {
                        let is_new =
                            merged.connection_set.iter().all(|c| c.client_id != connection.client_id);
                        merged.connection_set.extend(is_new.then_some(connection));
                    }
                    merged.subscription_table.extend(found.subscription_table);
                }
                Err(error) => failure = error,
            }
        }
        all.ok_or(failure)
    }

    /// The members of a producer group on one broker.
    pub async fn producer_connections(
        &self,
        address: &str,
        group: &Group,
    ) -> Result<ProducerConnection, AdminError> {
        self.broker(address, &GetProducerConnectionList { group: group.clone() }).await
    }

    /// All producers of one broker.
    pub async fn producers(&self, address: &str) -> Result<ProducerTableInfo, AdminError> {
        self.broker(address, &GetAllProducerInfo).await
    }

    /// What one member of a group is doing, as it says itself.
    pub async fn running_info(
        &self,
        group: &Group,
        client_id: &str,
    ) -> Result<ConsumerRunningInfo, AdminError> {
        let request =
            GetConsumerRunningInfo { group: group.clone(), client: ByteStr::from(client_id), stacks: false };
        let mut failure = AdminError::NoGroup(group.to_string());
        // Any broker that the client is connected to can pass the question on.
        for master in self.masters(None).await? {
            match self.broker(&master.address, &request).await {
                Ok(info) => return Ok(info),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Has one member of a group consume a message now.
    pub async fn consume_directly(
        &self,
        group: &Group,
        client_id: &str,
        message: &crate::Received,
    ) -> Result<ConsumeMessageDirectlyResult, AdminError> {
        let request = ConsumeMessageDirectly {
            group: group.clone(),
            client: Some(ByteStr::from(client_id)),
            message_id: Some(ByteStr::from(message.offset_id())),
            broker: Some(message.queue.broker.text().clone()),
            topic: Some(message.queue.topic.clone()),
            topic_sys_flag: None,
            group_sys_flag: None,
        };
        let address = self.master_address(&message.queue.broker).await?;
        let (_, body) = self.session.ask(&address, &request, ()).await?;
        Ok(json::from_slice(&body)?)
    }

    /// Sets the progress of a group on one queue.
    pub async fn set_offset(
        &self,
        group: &Group,
        queue: &Queue,
        offset: QueueOffset,
    ) -> Result<(), AdminError> {
        Ok(self.session.commit(group, queue, offset).await?)
    }

    /// From when to when the queues of a topic reach, and where in time a group stands.
    pub async fn time_span(
        &self,
        group: &Group,
        topic: &TopicName,
    ) -> Result<Vec<QueueTimeSpan>, AdminError> {
        let request = QueryConsumeTimeSpan { topic: topic.clone(), group: group.clone() };
        let mut spans = Vec::new();
        for address in self.masters_of(topic).await? {
            let answer: QueryConsumeTimeSpanBody = self.broker(&address, &request).await?;
            spans.extend(answer.consume_time_span_set);
        }
        Ok(spans)
    }
}
