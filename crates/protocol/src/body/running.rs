// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a consumer tells about itself when it is asked through a broker (307, 309).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MessageQueue, SubscriptionData};
use crate::json::ObjectMap;
use crate::names::TopicName;

/// The inside of a consumer (307).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumerRunningInfo {
    pub jstack: Option<String>,
    pub mq_pop_table: ObjectMap<MessageQueue, PopProcessQueueInfo>,
    pub mq_table: ObjectMap<MessageQueue, ProcessQueueInfo>,
    pub properties: BTreeMap<String, String>,
    pub status_table: BTreeMap<TopicName, ConsumeStatus>,
    pub subscription_set: Vec<SubscriptionData>,
    pub user_consumer_info: BTreeMap<String, String>,
}

/// One queue that a consumer holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProcessQueueInfo {
    pub cached_msg_count: i32,
    pub cached_msg_max_offset: i64,
    pub cached_msg_min_offset: i64,
    #[serde(rename = "cachedMsgSizeInMiB")]
    pub cached_msg_size_in_mib: i32,
    pub commit_offset: i64,
    pub droped: bool,
    pub last_consume_timestamp: i64,
    pub last_lock_timestamp: i64,
    pub last_pull_timestamp: i64,
    pub locked: bool,
    pub transaction_msg_count: i32,
    pub transaction_msg_max_offset: i64,
    pub transaction_msg_min_offset: i64,
    pub try_unlock_times: i64,
}

/// One queue that a consumer pops from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PopProcessQueueInfo {
    pub droped: bool,
    pub last_pop_timestamp: i64,
    pub wait_ack_count: i32,
}

/// Rates of one topic in one consumer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsumeStatus {
    #[serde(rename = "consumeFailedMsgs")]
    pub consume_failed_msgs: i64,
    #[serde(rename = "consumeFailedTPS")]
    pub consume_failed_tps: f64,
    #[serde(rename = "consumeOKTPS")]
    pub consume_ok_tps: f64,
    #[serde(rename = "consumeRT")]
    pub consume_rt: f64,
    #[serde(rename = "pullRT")]
    pub pull_rt: f64,
    #[serde(rename = "pullTPS")]
    pub pull_tps: f64,
}

/// What became of a message that a consumer was told to consume (309).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeMessageDirectlyResult {
    pub auto_commit: bool,
    pub consume_result: Option<CMResult>,
    pub order: bool,
    pub remark: Option<String>,
    pub spent_time_mills: i64,
}

impl Default for ConsumeMessageDirectlyResult {
    fn default() -> ConsumeMessageDirectlyResult {
        ConsumeMessageDirectlyResult {
            auto_commit: true,
            consume_result: None,
            order: false,
            remark: None,
            spent_time_mills: 0,
        }
    }
}

/// How consuming ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CMResult {
    #[serde(rename = "CR_SUCCESS", alias = "0")]
    Success,
    #[serde(rename = "CR_LATER", alias = "1")]
    Later,
    #[serde(rename = "CR_ROLLBACK", alias = "2")]
    Rollback,
    #[serde(rename = "CR_COMMIT", alias = "3")]
    Commit,
    #[serde(rename = "CR_THROW_EXCEPTION", alias = "4")]
    ThrowException,
    #[serde(rename = "CR_RETURN_NULL", alias = "5")]
    ReturnNull,
}
