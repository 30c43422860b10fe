// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What name servers answer: where the queues of a topic are, which brokers there are.
//! Clients older than 4.9.4 get routes from `json::to_vec_fastjson`, later ones from `json::to_vec`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::TopicQueueMappingInfo;
use crate::names::BrokerName;

/// The route of a topic (105).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicRouteData {
    pub broker_datas: Vec<BrokerData>,
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// Fixed queues of an ordered topic, as `broker-a:4;broker-b:4`.
    pub order_topic_conf: Option<String>,
    pub queue_datas: Vec<QueueData>,
    pub topic_queue_mapping_by_broker: Option<BTreeMap<BrokerName, TopicQueueMappingInfo>>,
}

/// The queues of a topic on one broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueData {
    pub broker_name: BrokerName,
    pub perm: i32,
    pub read_queue_nums: i32,
    pub topic_sys_flag: i32,
    pub write_queue_nums: i32,
}

/// A broker and the addresses of its replicas by id; 0 is the master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BrokerData {
    pub broker_addrs: BTreeMap<i64, String>,
    pub broker_name: BrokerName,
    pub cluster: String,
    pub enable_acting_master: bool,
    pub zone_name: Option<String>,
}

/// All brokers and clusters (106).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterInfo {
    pub broker_addr_table: BTreeMap<BrokerName, BrokerData>,
    pub cluster_addr_table: BTreeMap<String, BTreeSet<BrokerName>>,
}

/// The replicas of one broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BrokerMemberGroup {
    pub broker_addrs: BTreeMap<i64, String>,
    pub broker_name: BrokerName,
    pub cluster: String,
}

/// The answer to 901.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GetBrokerMemberGroupResponseBody {
    pub broker_member_group: Option<BrokerMemberGroup>,
}
