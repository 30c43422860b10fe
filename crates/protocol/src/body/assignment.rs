// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Queues that a broker assigns to the members of a group, and how they are consumed (400, 401, 402).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MessageModel, MessageQueue};
use crate::names::{Group, TopicName};

/// How messages get to a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MessageRequestMode {
    /// It reads its queues.
    #[default]
    #[serde(rename = "PULL", alias = "0")]
    Pull,
    /// Its broker deals them out one by one.
    #[serde(rename = "POP", alias = "1")]
    Pop,
}

/// Asks for a member's queues.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryAssignmentRequestBody {
    pub client_id: String,
    pub consumer_group: Group,
    pub message_model: MessageModel,
    pub strategy_name: String,
    pub topic: TopicName,
}

/// A member's queues; without a list the member keeps what it has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryAssignmentResponseBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_queue_assignments: Option<Vec<MessageQueueAssignment>>,
}

/// One queue of a member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageQueueAssignment {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachments: Option<BTreeMap<String, String>>,
    pub message_queue: MessageQueue,
    pub mode: MessageRequestMode,
}

/// How a group consumes a topic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SetMessageRequestModeRequestBody {
    pub consumer_group: Group,
    pub mode: MessageRequestMode,
    pub pop_share_queue_num: i32,
    pub topic: TopicName,
}

/// How groups consume topics, by topic and group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageRequestModeSerializeWrapper {
    pub message_request_mode_map: BTreeMap<TopicName, BTreeMap<Group, SetMessageRequestModeRequestBody>>,
}
