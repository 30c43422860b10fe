// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Figures: of topics, of groups, of a broker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MessageQueue;
use crate::json::ObjectMap;
use crate::names::{BrokerName, Group};

/// Text by name: run-time figures (28), namespaces of settings (219), the answer to a registration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KVTable {
    pub table: BTreeMap<String, String>,
}

/// The queues of a topic (202).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicStatsTable {
    pub offset_table: ObjectMap<MessageQueue, TopicOffset>,
    pub topic_put_tps: f64,
}

/// What one queue holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicOffset {
    pub last_update_timestamp: i64,
    pub max_offset: i64,
    pub min_offset: i64,
}

/// How far a group is (208).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeStats {
    pub consume_tps: f64,
    pub offset_table: ObjectMap<MessageQueue, OffsetWrapper>,
}

/// How far a group is on one queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OffsetWrapper {
    pub broker_offset: i64,
    pub consumer_offset: i64,
    /// When the last consumed message was stored, in milliseconds.
    pub last_timestamp: i64,
    pub pull_offset: i64,
}

/// How far all groups of a broker are (317).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeStatsList {
    pub broker_addr: Option<String>,
    pub consume_stats_list: Vec<BTreeMap<Group, Vec<ConsumeStats>>>,
    pub total_diff: i64,
    pub total_inflight_diff: i64,
}

/// What moving a group back in time did to one queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RollbackStats {
    pub broker_name: BrokerName,
    pub broker_offset: i64,
    pub consumer_offset: i64,
    pub queue_id: i64,
    pub rollback_offset: i64,
    pub timestamp_offset: i64,
}

/// From when to when the queues of a topic reach (303).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryConsumeTimeSpanBody {
    pub consume_time_span_set: Vec<QueueTimeSpan>,
}

/// From when to when one queue reaches, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueTimeSpan {
    pub consume_time_stamp: i64,
    pub delay_time: i64,
    pub max_time_stamp: i64,
    pub message_queue: MessageQueue,
    pub min_time_stamp: i64,
}

/// One figure of a broker over three spans (315).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BrokerStatsData {
    pub stats_day: BrokerStatsItem,
    pub stats_hour: BrokerStatsItem,
    pub stats_minute: BrokerStatsItem,
}

/// A sum, its rate and the average of one event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BrokerStatsItem {
    pub avgpt: f64,
    pub sum: i64,
    pub tps: f64,
}
