// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a broker registers with (103): its topics, as plain JSON or in Apache's compressed form.
//! Brokers write it, name servers read it.
//!
//! The compressed form is a zlib stream of: length and JSON of the data version; number of topics, each a length and a
//! line of text; length and JSON of the filter servers; number of static topics, each a length and JSON. Lengths and
//! numbers take four bytes. Brokers before 5.0 leave out the static topics.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use bytes::BufMut;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicFilterType, TopicQueueMappingInfo};
use crate::compress::{self, Codec, DecompressError};
use crate::json::{self, JsonError};
use crate::names::TopicName;

/// A registration with more than this inside is not believed: about half a million topics.
const MAX_INFLATED: usize = 64 << 20;

/// Everything a broker tells a name server about its topics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RegisterBrokerBody {
    pub filter_server_list: Vec<String>,
    pub topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper,
}

/// Why a registration cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error("registration: {0}")]
    Json(#[from] JsonError),
    #[error("registration: {0}")]
    Compressed(#[from] DecompressError),
    #[error("registration ends at byte {at} of {len}, inside the {part}")]
    Short { part: &'static str, at: usize, len: usize },
    #[error("registration: {line:?} does not describe a topic")]
    Topic { line: String },
}

impl RegisterBrokerBody {
    /// Reads either form, as the request's header says.
    pub fn decode(body: &[u8], compressed: bool) -> Result<RegisterBrokerBody, RegisterError> {
        if !compressed {
            return Ok(json::from_slice(body)?);
        }
        inflated(&compress::decompress(Codec::Zlib, body, MAX_INFLATED)?)
    }

    /// Writes either form.
    pub fn encode(&self, compressed: bool) -> Vec<u8> {
        if compressed {
            compress::compress(Codec::Zlib, 9, &self.deflatable())
        } else {
            json::to_vec_fastjson(self)
        }
    }

    pub(super) fn deflatable(&self) -> Vec<u8> {
        let topics = &self.topic_config_serialize_wrapper;
        let mut out = Vec::new();
        put(&mut out, &json::to_vec(&topics.data_version));
        out.put_u32(topics.topic_config_table.len() as u32);
        for topic in topics.topic_config_table.values() {
            put(&mut out, line(topic).as_bytes());
        }
        put(&mut out, &json::to_vec(&self.filter_server_list));
        out.put_u32(topics.topic_queue_mapping_info_map.len() as u32);
        for mapping in topics.topic_queue_mapping_info_map.values() {
            put(&mut out, &json::to_vec_fastjson(mapping));
        }
        out
    }
}

fn put(out: &mut Vec<u8>, part: &[u8]) {
    out.put_u32(part.len() as u32);
    out.put_slice(part);
}

fn inflated(bytes: &[u8]) -> Result<RegisterBrokerBody, RegisterError> {
    let mut parts = Parts { bytes, at: 0 };
    let mut body = RegisterBrokerBody::default();
    let topics = &mut body.topic_config_serialize_wrapper;
    topics.data_version = parts.json("data version")?;
    topics.topic_config_table = parts.table("topics", |part| {
        let topic = topic(part)?;
        Ok((topic.topic_name.clone(), topic))
    })?;
    body.filter_server_list = parts.json("filter servers")?;
    if parts.at < bytes.len() {
        topics.topic_queue_mapping_info_map = parts.table("static topics", |part| {
            let mapping: TopicQueueMappingInfo = json::from_slice(part)?;
            Ok((mapping.topic.clone(), mapping))
        })?;
    }
    Ok(body)
}

struct Parts<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parts<'a> {
    fn take(&mut self, part: &'static str, len: usize) -> Result<&'a [u8], RegisterError> {
        let short = RegisterError::Short { part, at: self.at, len: self.bytes.len() };
        let Some(end) = self.at.checked_add(len) else { return Err(short) };
        let taken = self.bytes.get(self.at..end).ok_or(short)?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self, part: &'static str) -> Result<usize, RegisterError> {
        let bytes = self.take(part, 4)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn next(&mut self, part: &'static str) -> Result<&'a [u8], RegisterError> {
        let len = self.number(part)?;
        self.take(part, len)
    }

    fn json<T: DeserializeOwned>(&mut self, part: &'static str) -> Result<T, RegisterError> {
        Ok(json::from_slice(self.next(part)?)?)
    }

    fn table<V>(
        &mut self,
        part: &'static str,
        read: impl Fn(&[u8]) -> Result<(TopicName, V), RegisterError>,
    ) -> Result<BTreeMap<TopicName, V>, RegisterError> {
        let mut table = BTreeMap::new();
        for _ in 0..self.number(part)? {
            let (topic, value) = read(self.next(part)?)?;
            table.insert(topic, value);
        }
        Ok(table)
    }
}

/// A topic as one line: name, read queues, write queues, permission, filter type, attributes as JSON.
fn line(topic: &TopicConfig) -> String {
    format!(
        "{} {} {} {} {} {}",
        topic.topic_name,
        topic.read_queue_nums,
        topic.write_queue_nums,
        topic.perm,
        topic.topic_filter_type.name(),
        String::from_utf8_lossy(&json::to_vec(&topic.attributes)),
    )
}

/// Attributes that cannot be read are left out, as Apache does: its writer does not escape spaces.
fn topic(part: &[u8]) -> Result<TopicConfig, RegisterError> {
    let text = String::from_utf8_lossy(part);
    let wrong = || RegisterError::Topic { line: text.chars().take(200).collect() };
    let mut words = text.splitn(6, ' ');
    let mut word = || words.next().ok_or_else(wrong);
    let number = |word: &str| word.parse().map_err(|_| wrong());
    Ok(TopicConfig {
        topic_name: TopicName::stored(word()?.to_owned()),
        read_queue_nums: number(word()?)?,
        write_queue_nums: number(word()?)?,
        perm: number(word()?)?,
        topic_filter_type: match word()? {
            "SINGLE_TAG" => TopicFilterType::SingleTag,
            "MULTI_TAG" => TopicFilterType::MultiTag,
            _ => return Err(wrong()),
        },
        attributes: word().ok().and_then(|text| json::from_slice(text.as_bytes()).ok()).unwrap_or_default(),
        ..TopicConfig::default()
    })
}
