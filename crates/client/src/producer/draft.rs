// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. A message made ready to be sent: checked, given its id, its body compressed. Made once, however often it is
//! tried. Invariant: all attempts carry the same id.

use bytes::Bytes;
use protocol::batch::{self, Unit};
use protocol::compress::{self, Codec};
use protocol::ids::UniqueIds;
use protocol::names::{AUTO_CREATE_TOPIC, Group, QueueId, TopicName};
use protocol::properties::{self, Properties, PropertiesOut};
use protocol::send::SendHeader;
use protocol::{caps, record};
use stdx::Timestamp;

use crate::message::{InvalidMessage, Message, check_properties};
use crate::producer::ProducerConfig;
use crate::producer::request::REPLY;

/// Set in the system flag of a half message.
const PREPARED: i32 = 0x4;

/// What goes over the wire, whichever queue it goes to.
pub(super) struct Draft {
    pub(super) id: String,
    pub(super) body: Bytes,
    group: Group,
    topic: TopicName,
    properties: Properties,
    flag: i32,
    sys_flag: i32,
    born_at: Timestamp,
    default_queues: u32,
    is_batch: bool,
}

impl Draft {
    pub(super) fn new(
        message: Message,
        config: &ProducerConfig,
        ids: &UniqueIds,
        now: Timestamp,
    ) -> Result<Draft, InvalidMessage> {
        message.check()?;
        let is_half = message.get(properties::TRAN_MSG).is_some();
        let (id, properties) = identified(&message, ids, now)?;
        let mut sys_flag = if is_half { PREPARED } else { 0 };
        let mut body = message.body;
        if body.len() >= config.compress_from {
            let packed = compress::compress(Codec::Zlib, config.compress_level, &body);
            if packed.len() < body.len() {
                body = packed.into();
                sys_flag |= record::COMPRESSED | Codec::Zlib.bits();
            }
        }
        Ok(Draft {
            id,
            body,
            group: config.group.clone(),
            topic: message.topic,
            properties: properties.finish(),
            flag: message.flag,
            sys_flag,
            born_at: now,
            default_queues: config.default_queues,
            is_batch: false,
        })
    }

    /// Puts messages into one body. They share topic and fate.
    pub(super) fn batch(
        messages: &[Message],
        config: &ProducerConfig,
        ids: &UniqueIds,
        now: Timestamp,
    ) -> Result<Draft, InvalidMessage> {
        let topic = messages.first().map(|first| first.topic.clone()).ok_or(InvalidMessage::MixedBatch)?;
        let fits = |message: &Message| message.topic == topic && !message.is_delayed();
        if topic.is_retry() || !messages.iter().all(fits) {
            return Err(InvalidMessage::MixedBatch);
        }
        let mut first_id = None;
        let mut body = Vec::new();
        for message in messages {
            message.check()?;
            let (id, properties) = identified(message, ids, now)?;
            first_id.get_or_insert(id);
            let properties = properties.as_str().as_bytes();
            let unit = Unit { flag: message.flag, body: &message.body, properties };
            batch::encode(&unit, &mut body).map_err(|_| InvalidMessage::PropertiesTooLarge {
                size: properties.len(),
                max: caps::MAX_PROPERTIES,
            })?;
            if body.len() > caps::MAX_MESSAGE {
                return Err(InvalidMessage::BodyTooLarge { size: body.len(), max: caps::MAX_MESSAGE });
            }
        }
        Ok(Draft {
            id: first_id.unwrap_or_default(),
            body: body.into(),
            group: config.group.clone(),
            topic,
            // A topic that keeps batches together keeps those that have an id.
            properties: Properties::from_iter([(properties::UNIQ_KEY, ids.next(now).as_str())]),
            flag: 0,
            sys_flag: 0,
            born_at: now,
            default_queues: config.default_queues,
            is_batch: true,
        })
    }

    pub(super) fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// It answers a request.
    pub(super) fn is_reply(&self) -> bool {
        !self.is_batch && self.properties.get(properties::MSG_TYPE) == Some(REPLY)
    }

    pub(super) fn is_batch(&self) -> bool {
        self.is_batch
    }

    /// The header for one queue.
    pub(super) fn header(&self, queue: QueueId) -> SendHeader {
        SendHeader {
            group: self.group.clone(),
            topic: self.topic.clone(),
            default_topic: Some(TopicName::stored(protocol::names::ByteStr::from_static(AUTO_CREATE_TOPIC))),
            default_queues: self.default_queues,
            queue: Some(queue),
            sys_flag: self.sys_flag,
            born_at: self.born_at,
            flag: self.flag,
            properties: self.properties.clone(),
            reconsume: 0,
            unit: false,
            max_reconsume: None,
            batch: self.is_batch,
        }
    }
}

/// Gives a message its id, unless it has one.
fn identified(
    message: &Message,
    ids: &UniqueIds,
    now: Timestamp,
) -> Result<(String, PropertiesOut), InvalidMessage> {
    let mut properties = PropertiesOut::from_text(message.properties());
    let id = match message.get(properties::UNIQ_KEY) {
        Some(id) => id.to_owned(),
        None => {
            let id = ids.next(now);
            properties.push(properties::UNIQ_KEY, &id);
            id
        }
    };
    // Brokers are told to wait for what they promise; the word is part of every message that was sent so.
    properties.set(properties::WAIT, "true");
    check_properties(properties.as_str())?;
    Ok((id, properties))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn make(message: Message) -> Draft {
        let config = ProducerConfig::new(Group::stored("g"), "a:1");
        let ids = UniqueIds::new(Ipv4Addr::LOCALHOST.into(), 1, 2);
        Draft::new(message, &config, &ids, Timestamp(5)).unwrap()
    }

    fn message(topic: &str, body: impl Into<Bytes>) -> Message {
        Message::new(TopicName::stored(topic), body)
    }

    #[test]
    fn bodies_are_compressed_where_that_helps() {
        let small = make(message("t", vec![b'x'; 4095]));
        assert_eq!((small.body.len(), small.header(QueueId(0)).sys_flag), (4095, 0));
        let large = make(message("t", vec![b'x'; 4096]));
        assert!(large.body.len() < 100);
        assert_eq!(large.header(QueueId(0)).sys_flag, 0x301);
        let body = compress::decompress(Codec::Zlib, &large.body, 1 << 20).unwrap();
        assert_eq!(body, vec![b'x'; 4096]);
        let mut noise = stdx::Rng::new(7);
        let noise: Vec<u8> = (0..8192).map(|_| noise.next() as u8).collect();
        assert_eq!(make(message("t", noise.clone())).body, noise);
    }

    #[test]
    fn every_message_has_an_id_and_keeps_its_own() {
        let draft = make(message("t", "x"));
        assert_eq!(draft.header(QueueId(1)).properties.get("UNIQ_KEY"), Some(draft.id.as_str()));
        let kept = make(message("t", "x").set("UNIQ_KEY", "mine"));
        assert_eq!(kept.id, "mine");
        assert_eq!(kept.header(QueueId(1)).properties.as_str(), "UNIQ_KEY\u{1}mine\u{2}WAIT\u{1}true\u{2}");
    }

    #[test]
    fn a_batch_is_of_one_kind() {
        let config = ProducerConfig::new(Group::stored("g"), "a:1");
        let ids = UniqueIds::new(Ipv4Addr::LOCALHOST.into(), 1, 2);
        let make = |messages: &[Message]| Draft::batch(messages, &config, &ids, Timestamp(5));
        let whole = make(&[message("t", "one").tag("a"), message("t", "two")]).unwrap();
        let units: Vec<_> = batch::units(&whole.body).map(Result::unwrap).collect();
        assert_eq!(units.iter().map(|u| u.body).collect::<Vec<_>>(), [b"one", b"two"]);
        assert!(whole.is_batch() && whole.header(QueueId(0)).batch);
        let id = whole.header(QueueId(0)).properties.get("UNIQ_KEY").map(str::to_owned);
        assert!(id.is_some_and(|id| id != whole.id), "the batch has an id of its own");
        let fault = |messages: &[Message]| make(messages).err();
        assert_eq!(fault(&[]), Some(InvalidMessage::MixedBatch));
        assert_eq!(fault(&[message("t", ""), message("u", "")]), Some(InvalidMessage::MixedBatch));
        assert_eq!(fault(&[message("t", "").delay_level(1)]), Some(InvalidMessage::MixedBatch));
        assert_eq!(fault(&[message("%RETRY%g", "")]), Some(InvalidMessage::MixedBatch));
        let half = vec![0; caps::MAX_MESSAGE / 2];
        let both = [message("t", half.clone()), message("t", half)];
        assert!(matches!(fault(&both), Some(InvalidMessage::BodyTooLarge { .. })));
    }
}
