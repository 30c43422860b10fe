// SPDX-License-Identifier: Apache-2.0
//! Brokers themselves: settings, figures, cleaning up.

use std::collections::BTreeMap;

use protocol::admin::broker::{
    CleanExpiredConsumeQueue, CleanUnusedTopic, DeleteExpiredCommitLog, GetBrokerConfig,
    GetBrokerRuntimeInfo, UpdateBrokerConfig, ViewBrokerStatsData,
};
use protocol::admin::progress::GetBrokerConsumeStats;
use protocol::body::{BrokerStatsData, ConsumeStatsList, KVTable, QueryConsumeQueueResponseBody};
use protocol::names::{BrokerName, Group};
use protocol::query::QueryConsumeQueue;

use crate::admin::{Admin, AdminError, properties_text};
use crate::queue::Queue;

impl Admin {
    /// The settings of a broker.
    pub async fn broker_config(&self, address: &str) -> Result<BTreeMap<String, String>, AdminError> {
        let (_, body) = self.session.ask(address, &GetBrokerConfig, ()).await?;
        let text = String::from_utf8_lossy(&body);
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect())
    }

    /// Changes settings of a broker.
    pub async fn update_broker_config(
        &self,
        address: &str,
        changes: &[(&str, &str)],
    ) -> Result<(), AdminError> {
        self.tell(address, &UpdateBrokerConfig, properties_text(changes)).await
    }

    /// A broker's figures, by the names it gives them.
    pub async fn runtime_info(&self, address: &str) -> Result<BTreeMap<String, String>, AdminError> {
        let table: KVTable = self.broker(address, &GetBrokerRuntimeInfo).await?;
        Ok(table.table)
    }

    /// One of a broker's statistics: sums and rates over a minute, an hour, a day.
    pub async fn broker_stats(
        &self,
        address: &str,
        name: &str,
        key: &str,
    ) -> Result<BrokerStatsData, AdminError> {
        self.broker(address, &ViewBrokerStatsData { name: name.into(), key: key.into() }).await
    }

    /// How far all groups of a broker are.
    pub async fn broker_progress(&self, address: &str, order: bool) -> Result<ConsumeStatsList, AdminError> {
        self.broker(address, &GetBrokerConsumeStats { order }).await
    }

    /// Entries of a queue as the broker keeps them.
    pub async fn queue_entries(
        &self,
        address: &str,
        queue: &Queue,
        from: i64,
        count: i32,
        group: Option<&Group>,
    ) -> Result<QueryConsumeQueueResponseBody, AdminError> {
        let request = QueryConsumeQueue {
            topic: queue.topic.clone(),
            queue: queue.id,
            index: from,
            count,
            group: group.cloned(),
        };
        self.broker(address, &request).await
    }

    /// Deletes log files that are past their time, now.
    pub async fn delete_expired_log(&self, address: &str) -> Result<(), AdminError> {
        self.tell(address, &DeleteExpiredCommitLog, ()).await
    }

    /// Deletes queue files that are past their time, now.
    pub async fn clean_expired_queues(&self, address: &str) -> Result<(), AdminError> {
        self.tell(address, &CleanExpiredConsumeQueue, ()).await
    }

    /// Deletes what is left of topics that no longer exist.
    pub async fn clean_unused_topics(&self, address: &str) -> Result<(), AdminError> {
        self.tell(address, &CleanUnusedTopic, ()).await
    }

    /// The address of a broker's master.
    pub async fn master_address(&self, broker: &BrokerName) -> Result<String, AdminError> {
        let masters = self.masters(None).await?;
        let found = masters.into_iter().find(|master| master.broker == *broker);
        found.map(|master| master.address).ok_or_else(|| AdminError::NoBroker(broker.clone()))
    }
}
