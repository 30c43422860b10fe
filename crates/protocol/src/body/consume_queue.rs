// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The entries of a consume queue, for operators (321).

use serde::{Deserialize, Serialize};

use super::SubscriptionData;

/// Some entries and what a group's filter says of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryConsumeQueueResponseBody {
    pub filter_data: Option<String>,
    pub max_queue_index: i64,
    pub min_queue_index: i64,
    pub queue_data: Vec<ConsumeQueueData>,
    pub subscription_data: Option<SubscriptionData>,
}

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeQueueData {
    pub bit_map: Option<String>,
    pub eval: bool,
    pub extend_data_json: Option<String>,
    pub msg: Option<String>,
    pub physic_offset: i64,
    pub physic_size: i32,
    pub tags_code: i64,
}
