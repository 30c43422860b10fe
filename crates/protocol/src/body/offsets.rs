// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Progress of groups: tables of it, moving it, asking clients for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::MessageQueue;
use crate::data_version::DataVersion;
use crate::json::ObjectMap;
use crate::names::{BrokerName, Group, TopicName};

/// Progress of every group on every topic (43), keyed by `topic@group` and queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumerOffsetSerializeWrapper {
    pub data_version: Option<DataVersion>,
    pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// Where the queues of a topic were moved to (222), or are to be moved (220). Go reads the compact form by hand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResetOffsetBody {
    pub offset_table: ObjectMap<MessageQueue, i64>,
}

/// The same for C and C++ clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResetOffsetBodyForC {
    pub offset_table: Vec<MessageQueueForC>,
}

/// A queue with an offset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageQueueForC {
    pub broker_name: BrokerName,
    pub offset: i64,
    pub queue_id: i32,
    pub topic: TopicName,
}

/// What clients say about their own progress (221, 223).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GetConsumerStatusBody {
    /// By client id.
    pub consumer_table: BTreeMap<String, ObjectMap<MessageQueue, i64>>,
    pub message_queue_table: ObjectMap<MessageQueue, i64>,
}

/// The least progress among other groups, by queue (308).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryCorrectionOffsetBody {
    pub correction_offsets: BTreeMap<i32, i64>,
}

/// Who has consumed a message and who has not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeByWho {
    pub consumed_group: BTreeSet<Group>,
    pub not_consumed_group: BTreeSet<Group>,
    pub offset: i64,
    pub queue_id: i32,
    pub topic: TopicName,
}
