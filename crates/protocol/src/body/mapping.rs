// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Static topics: which physical queues a global queue is made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{BrokerName, TopicName};

/// What routes and registrations say of a static topic on one broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicQueueMappingInfo {
    pub bname: BrokerName,
    /// Global queue to physical queue.
    pub curr_id_map: BTreeMap<i32, i32>,
    pub dirty: bool,
    pub epoch: i64,
    pub scope: Option<String>,
    pub topic: TopicName,
    pub total_queues: i32,
}

/// The same with the history of every queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicQueueMappingDetail {
    pub bname: BrokerName,
    pub curr_id_map: BTreeMap<i32, i32>,
    pub dirty: bool,
    pub epoch: i64,
    pub hosted_queues: BTreeMap<i32, Vec<LogicQueueMappingItem>>,
    pub scope: Option<String>,
    pub topic: TopicName,
    pub total_queues: i32,
}

/// One stretch of a global queue on one physical queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogicQueueMappingItem {
    pub bname: BrokerName,
    /// One past the last physical offset, -1 while it is open.
    pub end_offset: i64,
    #[serde(rename = "gen")]
    pub generation: i32,
    pub logic_offset: i64,
    pub queue_id: i32,
    pub start_offset: i64,
    pub time_of_end: i64,
    pub time_of_start: i64,
}

impl Default for LogicQueueMappingItem {
    fn default() -> LogicQueueMappingItem {
        LogicQueueMappingItem {
            bname: BrokerName::default(),
            end_offset: -1,
            generation: 0,
            logic_offset: 0,
            queue_id: 0,
            start_offset: 0,
            time_of_end: -1,
            time_of_start: -1,
        }
    }
}
