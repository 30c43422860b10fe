// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Topics: their settings, tables of them, lists of their names.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{TopicQueueMappingDetail, TopicQueueMappingInfo};
use crate::data_version::DataVersion;
use crate::names::TopicName;

/// The settings of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicConfig {
    pub attributes: BTreeMap<String, String>,
    pub order: bool,
    /// 1 inherit, 2 write, 4 read, 8 priority.
    pub perm: i32,
    pub read_queue_nums: i32,
    pub topic_filter_type: TopicFilterType,
    pub topic_name: TopicName,
    pub topic_sys_flag: i32,
    pub write_queue_nums: i32,
}

impl Default for TopicConfig {
    fn default() -> TopicConfig {
        TopicConfig {
            attributes: BTreeMap::new(),
            order: false,
            perm: 6,
            read_queue_nums: 16,
            topic_filter_type: TopicFilterType::SingleTag,
            topic_name: TopicName::default(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

impl TopicConfig {
    /// Returns the settings of a new topic with as many queues for reading as for writing.
    pub fn new(topic_name: TopicName, queues: i32, perm: i32) -> TopicConfig {
        TopicConfig {
            topic_name,
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm,
            ..TopicConfig::default()
        }
    }
}

/// Whether messages of a topic may carry several tags. Nobody uses the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopicFilterType {
    #[default]
    #[serde(rename = "SINGLE_TAG", alias = "0")]
    SingleTag,
    #[serde(rename = "MULTI_TAG", alias = "1")]
    MultiTag,
}

impl TopicFilterType {
    /// Returns the name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            TopicFilterType::SingleTag => "SINGLE_TAG",
            TopicFilterType::MultiTag => "MULTI_TAG",
        }
    }
}

/// A table of topics; what brokers before 3.0.11 register with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicConfigSerializeWrapper {
    pub data_version: DataVersion,
    pub topic_config_table: BTreeMap<TopicName, TopicConfig>,
}

/// A table of topics with what is known of static ones (21, and part of a registration).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicConfigAndMappingSerializeWrapper {
    pub data_version: DataVersion,
    pub mapping_data_version: DataVersion,
    pub topic_config_table: BTreeMap<TopicName, TopicConfig>,
    pub topic_queue_mapping_detail_map: BTreeMap<TopicName, TopicQueueMappingDetail>,
    pub topic_queue_mapping_info_map: BTreeMap<TopicName, TopicQueueMappingInfo>,
}

/// The settings of one topic (351): those of [`TopicConfig`], and how a static topic is laid out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicConfigAndQueueMapping {
    #[serde(flatten)]
    pub config: TopicConfig,
    pub mapping_detail: Option<TopicQueueMappingDetail>,
}

/// Several topics to create (18).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CreateTopicListRequestBody {
    pub topic_config_list: Vec<TopicConfig>,
}

/// Names of topics (206, 304, 305, 224, 343).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicList {
    pub broker_addr: Option<String>,
    pub topic_list: BTreeSet<TopicName>,
}
