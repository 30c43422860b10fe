// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. A message as it reaches the application: the stored record with its body unpacked, or one of an inner batch.
//! In: the bytes of a pull, a query or a server's request. Out: messages that share those bytes.
//! Invariant: a body is never unpacked beyond the largest message; one that cannot be unpacked is handed on as it is,
//! so that a broken message cannot block its queue unseen.

use std::net::SocketAddr;

use bytes::Bytes;
use protocol::compress::{self, Codec};
use protocol::filter::Filter;
use protocol::names::{BrokerName, ByteStr, LogOffset, QueueId, QueueOffset, TopicName};
use protocol::record::{self, Record, RecordError};
use protocol::{batch, caps, ids, inner, properties};
use stdx::Timestamp;

use crate::queue::Queue;

/// A received message.
#[derive(Clone, Debug)]
pub struct Received {
    /// The topic it was sent to; for a redelivery not the retry topic it came from.
    pub topic: TopicName,
    /// The queue it was read from.
    pub queue: Queue,
    /// Its place in that queue.
    pub offset: QueueOffset,
    /// Its place in the broker's log.
    pub log_offset: LogOffset,
    /// The application's own flag.
    pub flag: i32,
    /// The system flag; the compression bit stays set only where the body could not be unpacked.
    pub sys_flag: i32,
    /// When the producer made it.
    pub born_at: Timestamp,
    /// Where the producer was.
    pub born_host: SocketAddr,
    /// When the broker stored it.
    pub stored_at: Timestamp,
    /// The broker that stored it.
    pub store_host: SocketAddr,
    /// How often delivery failed before.
    pub reconsume_times: u32,
    /// What it says.
    pub body: Bytes,
    properties: Bytes,
}

impl Received {
    /// Reads the messages of a pull's body from the offset `from` on, those of inner batches one by one, that `filter` lets
    /// pass.
    pub(crate) fn read(
        body: &Bytes,
        broker: &BrokerName,
        filter: &Filter,
        from: QueueOffset,
    ) -> Result<Vec<Received>, RecordError> {
        let mut messages = Vec::new();
        for record in record::iterate(body) {
            let record = record?;
            if inner::is_wrapped(&record)
                && Received::take_apart(&record, body, broker, filter, &mut messages)
            {
                continue;
            }
            if filter.by_record(&record) {
                messages.push(Received::new(&record, body, broker));
            }
        }
        // A broker gives a batch whole, whichever of its messages was asked for.
        messages.retain(|message| message.offset >= from);
        Ok(messages)
    }

    /// Takes an inner batch apart; false, and nothing is taken, when it cannot be.
    fn take_apart(
        record: &Record<'_>,
        source: &Bytes,
        broker: &BrokerName,
        filter: &Filter,
        out: &mut Vec<Received>,
    ) -> bool {
        let before = out.len();
        let whole = Received::new(record, source, broker);
        for (offset, unit) in (record.queue_offset().0..).zip(batch::units(&whole.body)) {
            let Ok(unit) = unit else {
                tracing::warn!(topic = record.topic(), offset = %record.queue_offset(), "cannot take a batch apart");
                out.truncate(before);
                return false;
            };
            let message = Received {
                offset: QueueOffset(offset),
                flag: unit.flag,
                sys_flag: whole.sys_flag & !inner::FLAGS,
                body: whole.body.slice_ref(unit.body),
                properties: whole.body.slice_ref(unit.properties),
                ..whole.clone()
            };
            // What else a filter asks for, the broker asked the batch.
            if !matches!(filter, Filter::Tags(_)) || filter.by_properties(message.text()) {
                out.push(message);
            }
        }
        true
    }

    /// Reads all records of a body that `filter` lets pass; `broker` is who sent it.
    pub(crate) fn list(
        body: &Bytes,
        broker: &BrokerName,
        filter: &Filter,
    ) -> Result<Vec<Received>, RecordError> {
        let mut messages = Vec::new();
        for record in record::iterate(body) {
            let record = record?;
            if filter.by_record(&record) {
                messages.push(Received::new(&record, body, broker));
            }
        }
        Ok(messages)
    }

    fn new(record: &Record<'_>, source: &Bytes, broker: &BrokerName) -> Received {
        let (body, sys_flag) = unpack(record, source);
        let text = |part: &str| ByteStr::from_utf8(source.slice_ref(part.as_bytes())).unwrap_or_default();
        let from = TopicName::stored(text(record.topic()));
        let origin = record.property(properties::RETRY_TOPIC).map(|topic| TopicName::stored(text(topic)));
        Received {
            topic: origin.filter(|_| from.is_retry()).unwrap_or_else(|| from.clone()),
            queue: Queue { topic: from, broker: broker.clone(), id: record.queue() },
            offset: record.queue_offset(),
            log_offset: record.log_offset(),
            flag: record.flag(),
            sys_flag,
            born_at: record.born_at(),
            born_host: record.born_host(),
            stored_at: record.stored_at(),
            store_host: record.store_host(),
            reconsume_times: record.reconsume().try_into().unwrap_or(0),
            body,
            properties: source.slice_ref(record.properties()),
        }
    }

    /// The id its producer gave it; the place in the log where it has none.
    pub fn id(&self) -> String {
        self.property(properties::UNIQ_KEY).map_or_else(|| self.offset_id(), str::to_owned)
    }

    /// The id that names broker and place in the log.
    pub fn offset_id(&self) -> String {
        ids::OffsetId { host: self.store_host, offset: self.log_offset }.to_string()
    }

    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        properties::get(self.text(), name)
    }

    /// All properties in their stored order.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        properties::iter(self.text())
    }

    /// The text form of all properties; empty where it is no text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.properties).unwrap_or_default()
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.property(properties::TAGS)
    }

    /// The keys it can be found by.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.property(properties::KEYS).unwrap_or_default().split(' ').filter(|key| !key.is_empty())
    }

    /// The number of its queue.
    pub fn queue_id(&self) -> QueueId {
        self.queue.id
    }
}

/// Returns the body and the system flag that goes with it.
fn unpack(record: &Record<'_>, source: &Bytes) -> (Bytes, i32) {
    let stored = source.slice_ref(record.body());
    let Some(codec) = Codec::of(record.sys_flag()).filter(|_| record.is_compressed()) else {
        return (stored, record.sys_flag());
    };
    match compress::decompress(codec, &stored, caps::MAX_MESSAGE) {
        Ok(body) => (body.into(), record.sys_flag() & !record::COMPRESSED),
        Err(error) => {
            tracing::warn!(topic = record.topic(), offset = %record.queue_offset(), %error, "cannot unpack a body");
            (stored, record.sys_flag())
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// The bytes of one record.
    pub(crate) fn stored(topic: &str, offset: u64, sys_flag: i32, body: &[u8], properties: &str) -> Vec<u8> {
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 10911));
        let message = record::Message {
            topic: &TopicName::stored(topic),
            queue: QueueId(1),
            flag: 7,
            sys_flag,
            born_at: Timestamp(1),
            born_host: host,
            store_host: host,
            reconsume: 2,
            prepared: LogOffset(0),
            body,
            properties: properties.as_bytes(),
        };
        let mut out = Vec::new();
        record::encode(&message, &mut out).unwrap();
        record::patch(&mut out, LogOffset(offset * 100), QueueOffset(offset), Timestamp(2));
        out
    }

    fn list(bytes: Vec<u8>, tags: &str) -> Vec<Received> {
        let filter = Filter::parse("TAG", tags).unwrap();
        Received::list(&bytes.into(), &BrokerName::stored("b"), &filter).unwrap()
    }

    #[test]
    fn a_redelivery_shows_the_topic_it_was_sent_to() {
        let text = "RETRY_TOPIC\u{1}orders\u{2}UNIQ_KEY\u{1}id\u{2}KEYS\u{1}a  b\u{2}";
        let message = list(stored("%RETRY%g", 5, 0, b"x", text), "*").remove(0);
        assert_eq!((message.topic.as_str(), message.queue.to_string()), ("orders", "%RETRY%g@b:1".into()));
        assert_eq!((message.id(), message.reconsume_times), ("id".into(), 2));
        assert_eq!(message.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(message.offset_id(), "7F00000100002A9F00000000000001F4");
        // A property that anybody can set says nothing about a message of an ordinary topic.
        assert_eq!(list(stored("t", 5, 0, b"x", text), "*")[0].topic, "t");
    }

    #[test]
    fn bodies_are_unpacked_and_broken_ones_handed_on() {
        let flag = record::COMPRESSED | Codec::Zlib.bits();
        let packed = compress::compress(Codec::Zlib, 5, &[b'x'; 10_000]);
        let message = list(stored("t", 0, flag, &packed, ""), "*").remove(0);
        assert_eq!((message.body.len(), message.sys_flag & record::COMPRESSED), (10_000, 0));
        let broken = list(stored("t", 0, flag, b"no zlib", ""), "*").remove(0);
        assert_eq!((&broken.body[..], broken.sys_flag & record::COMPRESSED), (&b"no zlib"[..], 1));
        let bomb = compress::compress(Codec::Zlib, 9, &vec![0; caps::MAX_MESSAGE + 1]);
        assert_eq!(list(stored("t", 0, flag, &bomb, ""), "*")[0].body, bomb);
    }

    #[test]
    fn inner_batches_are_taken_apart_from_the_offset_that_was_asked_for() {
        let mut body = Vec::new();
        for (text, tag) in [("5", "a"), ("6", "b"), ("7", "a")] {
            let properties = format!("UNIQ_KEY\u{1}id-{text}\u{2}TAGS\u{1}{tag}\u{2}");
            let unit = batch::Unit { flag: 3, body: text.as_bytes(), properties: properties.as_bytes() };
            batch::encode(&unit, &mut body).unwrap();
        }
        let whole = "UNIQ_KEY\u{1}whole\u{2}INNER_NUM\u{1}3\u{2}INNER_BASE\u{1}5\u{2}";
        let mut bytes = stored("t", 5, inner::FLAGS, &body, whole);
        bytes.extend(stored("t", 8, 0, b"8", "TAGS\u{1}a\u{2}"));
        bytes.extend(stored("t", 9, inner::FLAGS, b"no batch", "TAGS\u{1}a\u{2}"));
        let read = |from, tags: &str| {
            let filter = Filter::parse("TAG", tags).unwrap();
            let found =
                Received::read(&bytes.clone().into(), &BrokerName::stored("b"), &filter, QueueOffset(from))
                    .unwrap();
            let show =
                |message: &Received| format!("{}={}", message.offset, String::from_utf8_lossy(&message.body));
            (found.iter().map(show).collect::<Vec<_>>().join(" "), found)
        };
        assert_eq!(read(0, "*").0, "5=5 6=6 7=7 8=8 9=no batch");
        assert_eq!(read(6, "*").0, "6=6 7=7 8=8 9=no batch");
        assert_eq!(read(6, "a").0, "7=7 8=8 9=no batch");
        let one = read(6, "b").1.remove(0);
        assert_eq!((one.id().as_str(), one.flag, one.sys_flag, one.log_offset.0), ("id-6", 3, 0, 500));
        assert_eq!(one.property("INNER_NUM"), None);
        assert_eq!(list(bytes, "*").len(), 3, "tools see what is stored");
    }

    #[test]
    fn tags_with_the_same_hash_are_told_apart() {
        let mut bytes = stored("t", 0, 0, b"1", "TAGS\u{1}Aa\u{2}");
        bytes.extend(stored("t", 1, 0, b"2", "TAGS\u{1}BB\u{2}"));
        let bodies: Vec<Bytes> = list(bytes, "BB").into_iter().map(|m| m.body).collect();
        assert_eq!(bodies, ["2"]);
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        let cut = Bytes::from(stored("t", 0, 0, b"1", "")).slice(..50);
        assert!(Received::list(&cut, &BrokerName::stored("b"), &Filter::All).is_err());
    }
}
