// SPDX-License-Identifier: Apache-2.0
//! The body of a registration, in the forms that broker versions write, as what the route table takes.
//! Called by the broker handlers; the bytes themselves are read in `protocol`, which caps their sizes.

use protocol::body::{
    QueueData, RegisterBrokerBody, RegisterError, TopicConfig, TopicConfigAndMappingSerializeWrapper,
    TopicConfigSerializeWrapper, TopicQueueMappingInfo,
};
use protocol::data_version::DataVersion;
use protocol::json::{self, JsonError};

use crate::table::Queues;

/// The first version (3.0.11) that wraps its table.
const WRAPPED_SINCE: i32 = 37;

/// What a broker announces.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    pub(crate) version: DataVersion,
    pub(crate) topics: Vec<(String, Queues)>,
    pub(crate) mappings: Vec<(String, TopicQueueMappingInfo)>,
}

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyRefused {
    #[error("crc32 not match: the body has {found}, the header says {said}")]
    Sum { found: i32, said: i32 },
    #[error("the {what} is {size} bytes long, at most {max} are read")]
    TooLarge { what: &'static str, size: usize, max: usize },
    #[error("the body cannot be read: {0}")]
    Json(#[from] JsonError),
    #[error("the body cannot be read: {0}")]
    Registration(#[from] RegisterError),
}

/// Checks a body against its sum; a sum of 0 is no sum. The sign bit never counts.
pub(crate) fn check_sum(body: &[u8], said: i32) -> Result<(), BodyRefused> {
    let found = (crc32fast::hash(body) & 0x7fff_ffff) as i32;
    if said == 0 || said == found { Ok(()) } else { Err(BodyRefused::Sum { found, said }) }
}

/// Reads a body as a broker of that version wrote it.
pub(crate) fn read(body: &[u8], is_compressed: bool, version: i32) -> Result<Announced, BodyRefused> {
    if body.is_empty() {
        return Ok(Announced::default());
    }
    let table = if version < WRAPPED_SINCE {
        let bare: TopicConfigSerializeWrapper = json::from_slice(body)?;
        TopicConfigAndMappingSerializeWrapper {
            data_version: bare.data_version,
            topic_config_table: bare.topic_config_table,
            ..TopicConfigAndMappingSerializeWrapper::default()
        }
    } else {
        RegisterBrokerBody::decode(body, is_compressed)?.topic_config_serialize_wrapper
    };
    let mappings = table.topic_queue_mapping_info_map.into_iter();
    Ok(Announced {
        version: table.data_version,
        topics: table.topic_config_table.values().map(topic).collect(),
        mappings: mappings.map(|(topic, mapping)| (topic.to_string(), mapping)).collect(),
    })
}

/// The queues of one broker in a route.
pub(crate) fn queues(data: &QueueData) -> (String, Queues) {
    let queues = Queues {
        read: data.read_queue_nums,
        write: data.write_queue_nums,
        permission: data.perm,
        flags: data.topic_sys_flag,
    };
    (data.broker_name.to_string(), queues)
}

fn topic(config: &TopicConfig) -> (String, Queues) {
    let queues = Queues {
        read: config.read_queue_nums,
        write: config.write_queue_nums,
        permission: config.perm,
        flags: config.topic_sys_flag,
    };
    (config.topic_name.to_string(), queues)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_the_same() {
        let inside = r#"{"dataVersion":{"counter":3,"stateVersion":0,"timestamp":9},"topicConfigTable":{"t":{
            "perm":6,"readQueueNums":8,"topicName":"t","topicSysFlag":1,"writeQueueNums":4}}}"#;
        let wrapped = format!("{{\"filterServerList\":[],\"topicConfigSerializeWrapper\":{inside}}}");
        let expected = [("t".to_owned(), Queues { read: 8, write: 4, permission: 6, flags: 1 })];
        for (body, version) in [(inside, 36), (wrapped.as_str(), 37), (wrapped.as_str(), 513)] {
            let announced = read(body.as_bytes(), false, version).unwrap();
            assert_eq!((announced.topics.as_slice(), announced.version.counter), (&expected[..], 3));
        }
        let packed = RegisterBrokerBody::decode(wrapped.as_bytes(), false).unwrap().encode(true);
        // The compressed form has no flags.
        assert_eq!(read(&packed, true, 513).unwrap().topics[0].1, Queues { flags: 0, ..expected[0].1 });
        assert!(read(b"", false, 513).unwrap().topics.is_empty());
        assert!(read(b"nonsense", false, 513).is_err() && read(&packed[..10], true, 513).is_err());
    }

    #[test]
    fn a_sum_is_checked_when_there_is_one() {
        let sum = (crc32fast::hash(b"body") & 0x7fff_ffff) as i32;
        assert!(check_sum(b"body", 0).is_ok() && check_sum(b"body", sum).is_ok());
        assert!(matches!(check_sum(b"bodY", sum), Err(BodyRefused::Sum { .. })));
    }
}
