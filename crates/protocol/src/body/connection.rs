// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Who is connected: members of groups, and what they subscribe to.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};
use crate::frame::Language;
use crate::names::{Group, TopicName};

/// The ids of the members of a group (38).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GetConsumerListByGroupResponseBody {
    pub consumer_id_list: Vec<String>,
}

/// One client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Connection {
    pub client_addr: String,
    pub client_id: String,
    #[serde(with = "by_name")]
    pub language: Language,
    pub version: i32,
}

/// The members of a consumer group (203).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumerConnection {
    pub connection_set: Vec<Connection>,
    pub consume_from_where: ConsumeFromWhere,
    pub consume_type: ConsumeType,
    /// Topics of which not all members want the same. Ours alone; others pass over it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disputes: Vec<SubscriptionDispute>,
    pub message_model: MessageModel,
    pub subscription_table: BTreeMap<TopicName, SubscriptionData>,
}

/// A topic of which the members of a group want different things.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubscriptionDispute {
    /// What the group has wanted longest, which counts.
    pub expression: String,
    pub expression_type: String,
    pub others: Vec<OtherSubscription>,
    pub topic: TopicName,
}

/// What some members want instead; the type `NONE` is nothing of the topic, so that what falls to them is read by nobody.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OtherSubscription {
    pub client_ids: Vec<String>,
    pub expression: String,
    pub expression_type: String,
}

/// The members of a producer group (204).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProducerConnection {
    pub connection_set: Vec<Connection>,
}

/// All producers of a broker (328).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProducerTableInfo {
    pub data: BTreeMap<Group, Vec<ProducerInfo>>,
}

/// One producer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProducerInfo {
    pub client_id: String,
    #[serde(with = "by_name")]
    pub language: Language,
    pub last_update_timestamp: i64,
    #[serde(rename = "remoteIP")]
    pub remote_ip: String,
    pub version: i32,
}

/// What a group wants of one topic (345).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QuerySubscriptionResponseBody {
    pub group: Group,
    pub subscription_data: Option<SubscriptionData>,
    pub topic: TopicName,
}

/// A language stands by its name; one that we do not know reads as `OTHER`.
mod by_name {
    use super::*;

    pub(super) fn serialize<S: Serializer>(language: &Language, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(language.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Language, D::Error> {
        Ok(Language::from_name(&String::deserialize(deserializer)?))
    }
}
