// SPDX-License-Identifier: Apache-2.0
//! What a replica, or somebody who looks for replicas, asks: all progress, all delayed deliveries, who copies.
//! Called by the faces of 43, 45 and 907. This broker is a master without replicas, and says so.

use std::collections::BTreeMap;

use protocol::body::ConsumerOffsetSerializeWrapper;
use protocol::data_version::DataVersion;
use serde::Serialize;

use crate::Broker;

/// How far each delay level has come, as Apache's brokers exchange it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DelayProgress {
    data_version: DataVersion,
    /// By level.
    offset_table: BTreeMap<i32, i64>,
}

/// Who copies this broker's log.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replication {
    ha_connection_info: Vec<()>,
    in_sync_slave_nums: i32,
    master: bool,
    master_commit_log_max_offset: i64,
}

impl Broker {
    /// The progress of every group in every topic.
    pub(crate) fn all_progress(&self) -> ConsumerOffsetSerializeWrapper {
        let mut offset_table = BTreeMap::new();
        for topic in self.topics.all() {
            for group in self.offsets.groups_of(topic.name()) {
                let queues = self.offsets.all(&group, topic.name()).into_iter();
                let queues = queues.map(|(queue, offset)| (queue.0 as i32, offset.0 as i64)).collect();
                offset_table.insert(format!("{}@{group}", topic.name()), queues);
            }
        }
        ConsumerOffsetSerializeWrapper { data_version: Some(DataVersion::default()), offset_table }
    }

    /// How far each delay level has come.
    pub(crate) fn delay_progress(&self) -> DelayProgress {
        let levels = (1..).zip(self.delay.positions());
        let offset_table = levels.map(|(level, next)| (level, next.0 as i64)).collect();
        DelayProgress { data_version: DataVersion::default(), offset_table }
    }

    /// Nobody copies it.
    pub(crate) fn replication(&self) -> Replication {
        Replication {
            ha_connection_info: Vec::new(),
            in_sync_slave_nums: 0,
            master: true,
            master_commit_log_max_offset: self.store.watermarks().written.get() as i64,
        }
    }
}
