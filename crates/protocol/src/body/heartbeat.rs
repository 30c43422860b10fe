// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What clients say about themselves: groups, subscriptions and how they consume.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::names::{Group, TopicName};

/// A client's heartbeat (34).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HeartbeatData {
    #[serde(rename = "clientID")]
    pub client_id: String,
    pub consumer_data_set: Vec<ConsumerData>,
    /// Identifies the subscriptions; zero from clients that send them every time.
    pub heartbeat_fingerprint: i32,
    pub producer_data_set: Vec<ProducerData>,
    /// The subscriptions were left out, because the broker said that it knows them.
    pub without_sub: bool,
}

/// A group that the client produces for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProducerData {
    pub group_name: Group,
}

/// A group that the client consumes in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumerData {
    pub consume_from_where: ConsumeFromWhere,
    pub consume_type: ConsumeType,
    pub group_name: Group,
    pub message_model: MessageModel,
    pub subscription_data_set: Vec<SubscriptionData>,
    pub unit_mode: bool,
}

/// What a group wants of one topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubscriptionData {
    pub class_filter_mode: bool,
    /// Java hashes of the tags.
    pub code_set: BTreeSet<i32>,
    /// `TAG` or `SQL92`.
    pub expression_type: String,
    /// The expression: `*`, tags, or SQL.
    pub sub_string: String,
    /// Grows with each change; milliseconds in practice.
    pub sub_version: i64,
    pub tags_set: BTreeSet<String>,
    pub topic: TopicName,
}

impl Default for SubscriptionData {
    fn default() -> SubscriptionData {
        SubscriptionData {
            class_filter_mode: false,
            code_set: BTreeSet::new(),
            expression_type: "TAG".to_owned(),
            sub_string: String::new(),
            sub_version: 0,
            tags_set: BTreeSet::new(),
            topic: TopicName::default(),
        }
    }
}

/// Who asks for messages. C++ clients write the numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConsumeType {
    #[serde(rename = "CONSUME_ACTIVELY", alias = "0")]
    Actively,
    #[default]
    #[serde(rename = "CONSUME_PASSIVELY", alias = "1")]
    Passively,
    #[serde(rename = "CONSUME_POP", alias = "2")]
    Pop,
}

/// Whether one member of a group gets a message, or all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MessageModel {
    #[serde(rename = "BROADCASTING", alias = "0")]
    Broadcasting,
    #[default]
    #[serde(rename = "CLUSTERING", alias = "1")]
    Clustering,
}

/// Where a new group starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConsumeFromWhere {
    #[default]
    #[serde(rename = "CONSUME_FROM_LAST_OFFSET", alias = "0")]
    LastOffset,
    #[serde(rename = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST", alias = "1")]
    LastOffsetAndFromMinWhenBootFirst,
    #[serde(rename = "CONSUME_FROM_MIN_OFFSET", alias = "2")]
    MinOffset,
    #[serde(rename = "CONSUME_FROM_MAX_OFFSET", alias = "3")]
    MaxOffset,
    #[serde(rename = "CONSUME_FROM_FIRST_OFFSET", alias = "4")]
    FirstOffset,
    #[serde(rename = "CONSUME_FROM_TIMESTAMP", alias = "5")]
    Timestamp,
}

/// Asks a broker to judge an expression before it is used (46).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CheckClientRequestBody {
    pub client_id: String,
    pub group: Group,
    pub namespace: Option<String>,
    pub subscription_data: SubscriptionData,
}
