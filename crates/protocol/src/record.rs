// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The stored record: one message as it lies in the commit log, which is also the unit of a pull body.
//! In: a [`Message`] to encode, or bytes to look at. Out: bytes, or borrowed views that allocate nothing.
//! Called by the store (append, recovery, dispatch, read), the broker and the client; it never follows an offset.
//! Invariants: what [`encode`] writes, [`Record::parse`] reads back field by field; a view never reaches past its
//! slice; the size field always equals the sum of the parts. Layout: `docs/format/record.md`.

use core::net::{IpAddr, SocketAddr};

use bytes::BufMut;
use stdx::Timestamp;

use crate::names::{LogOffset, QueueId, QueueOffset, TopicName};

mod view;

pub use view::{Record, Scan, iterate, properties_of, scan};

/// Magic of a record whose topic length takes one byte.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a record whose topic length takes two bytes.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Magic of the filler that ends a log file.
pub const MAGIC_BLANK: u32 = 0xCBD4_3194;
/// The least room a log file keeps for its filler.
pub const BLANK_MIN: usize = 8;
/// The longest record that is written or believed.
pub const MAX_LEN: usize = 64 << 20;
/// The shortest record: IPv4 hosts, no body, no topic, no properties.
pub const MIN_LEN: usize = 91;

/// Bit of the system flag: the body is compressed.
pub const COMPRESSED: i32 = 0x1;
/// Bit of the system flag: the born host is an IPv6 address.
pub const BORN_HOST_V6: i32 = 0x10;
/// Bit of the system flag: the store host is an IPv6 address.
pub const STORE_HOST_V6: i32 = 0x20;
/// Bit of the system flag: readers take the body apart, see [`crate::inner`].
pub const NEEDS_UNWRAP: i32 = 0x40;
/// Bit of the system flag: the body is a batch.
pub const INNER_BATCH: i32 = 0x80;
/// Bits of the system flag that hold the transaction state.
pub const TRANSACTION_MASK: i32 = 0xC;
/// What [`TRANSACTION_MASK`] shows of a message that was committed.
pub const COMMITTED: i32 = 0x8;
/// Bit of the system flag, ours: the topic keeps the latest message of each key.
pub const KEEPS_LATEST: i32 = 1 << 24;
/// Bit of the system flag, ours: a message that was written again at the end of the log and has the queue offset that it had.
pub const WRITTEN_AGAIN: i32 = 1 << 25;

const TOPIC_V1_MAX: usize = 127;
const SHORT_MAX: usize = i16::MAX as usize;
const AT_QUEUE_OFFSET: usize = 20;
const AT_LOG_OFFSET: usize = 28;
const AT_SYS_FLAG: usize = 36;
const AT_BORN_HOST: usize = 48;

/// One message on its way into the log. Offsets and store time are filled in later by [`patch`].
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub topic: &'a TopicName,
    pub queue: QueueId,
    /// The application's own flag, carried untouched.
    pub flag: i32,
    /// The two host bits are set by [`encode`] from the addresses, whatever stands here.
    pub sys_flag: i32,
    pub born_at: Timestamp,
    pub born_host: SocketAddr,
    pub store_host: SocketAddr,
    pub reconsume: i32,
    /// Where the prepared half of a transaction lies, else zero.
    pub prepared: LogOffset,
    pub body: &'a [u8],
    /// The text form of the properties.
    pub properties: &'a [u8],
}

impl<'a> Message<'a> {
    /// What `record` holds once more, under another place and with other properties. It follows no prepared half, and what
    /// its topic keeps says nothing about the other one.
    pub fn again(
        record: &Record<'a>,
        topic: &'a TopicName,
        queue: QueueId,
        properties: &'a [u8],
    ) -> Message<'a> {
        Message {
            topic,
            queue,
            flag: record.flag(),
            sys_flag: record.sys_flag() & !(KEEPS_LATEST | WRITTEN_AGAIN),
            born_at: record.born_at(),
            born_host: record.born_host(),
            store_host: record.store_host(),
            reconsume: record.reconsume(),
            prepared: LogOffset(0),
            body: record.body(),
            properties,
        }
    }
}

/// Why bytes are not a record, or a message cannot become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("record needs {need} bytes, {have} are there")]
    Short { need: usize, have: usize },
    #[error("{found:#010x} is no record magic")]
    Magic { found: u32 },
    #[error("record says it is {size} bytes long")]
    Size { size: i32 },
    #[error("{part} length {len} does not fit the record")]
    Part { part: &'static str, len: i64 },
    #[error("record is {size} bytes long, its parts are {parts}")]
    Sum { size: usize, parts: usize },
    #[error("topic is not UTF-8")]
    TopicText,
    #[error("{host} has port {port}")]
    Port { host: &'static str, port: u32 },
    #[error("body checksum is {found:#010x}, the record says {stored:#010x}")]
    Crc { stored: u32, found: u32 },
    #[error("{part} of {len} bytes is too long, the limit is {limit}")]
    TooLong { part: &'static str, len: usize, limit: usize },
}

/// Returns how many bytes [`encode`] appends for `message`.
pub fn encoded_len(message: &Message<'_>) -> usize {
    let topic = message.topic.as_str().len();
    let hosts = host_len(message.born_host) + host_len(message.store_host);
    let topic_prefix = if topic > TOPIC_V1_MAX { 2 } else { 1 };
    MIN_LEN - 17 + hosts + message.body.len() + topic_prefix + topic + message.properties.len()
}

/// Appends `message` as a record with zeros where queue offset, log offset and store time belong.
pub fn encode(message: &Message<'_>, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let len = encoded_len(message);
    check_lengths(message, len)?;
    let topic = message.topic.as_str().as_bytes();
    let v2 = topic.len() > TOPIC_V1_MAX;
    let start = out.len();
    out.reserve(len);
    out.put_u32(len as u32);
    out.put_u32(if v2 { MAGIC_V2 } else { MAGIC_V1 });
    out.put_u32(body_crc(message.body));
    out.put_u32(message.queue.0);
    out.put_i32(message.flag);
    out.put_bytes(0, 16);
    out.put_i32(sys_flag(message));
    out.put_i64(message.born_at.0);
    put_host(out, message.born_host);
    out.put_i64(0);
    put_host(out, message.store_host);
    out.put_i32(message.reconsume);
    out.put_u64(message.prepared.0);
    out.put_u32(message.body.len() as u32);
    out.put_slice(message.body);
    if v2 {
        out.put_u16(topic.len() as u16);
    } else {
        out.put_u8(topic.len() as u8);
    }
    out.put_slice(topic);
    out.put_u16(message.properties.len() as u16);
    out.put_slice(message.properties);
    assert_eq!(out.len() - start, len, "the size field is the sum of the parts");
    Ok(())
}

/// Fills in what only the log knows. `record` is one whole record as [`encode`] wrote it.
pub fn patch(record: &mut [u8], log: LogOffset, queue_offset: QueueOffset, stored_at: Timestamp) {
    assert!(record.len() >= MIN_LEN, "a whole record is patched");
    let born_v6 = record[AT_SYS_FLAG + 3] & BORN_HOST_V6 as u8 != 0;
    let at_stored = AT_BORN_HOST + if born_v6 { 20 } else { 8 };
    record[AT_QUEUE_OFFSET..AT_QUEUE_OFFSET + 8].copy_from_slice(&queue_offset.0.to_be_bytes());
    record[AT_LOG_OFFSET..AT_LOG_OFFSET + 8].copy_from_slice(&log.0.to_be_bytes());
    record[at_stored..at_stored + 8].copy_from_slice(&stored_at.0.to_be_bytes());
}

/// Returns the head of a filler that covers `len` bytes up to the end of a log file.
pub fn blank(len: usize) -> [u8; BLANK_MIN] {
    assert!((BLANK_MIN..=i32::MAX as usize).contains(&len), "a filler covers at least its own head");
    let mut head = [0; BLANK_MIN];
    head[..4].copy_from_slice(&(len as u32).to_be_bytes());
    head[4..].copy_from_slice(&MAGIC_BLANK.to_be_bytes());
    head
}

/// Returns the checksum that stands in a record for `body`: CRC-32 without its sign bit.
pub fn body_crc(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7FFF_FFFF
}

/// Returns Java's `String.hashCode`, which runs over UTF-16 units.
pub fn string_hash(text: &str) -> i32 {
    let step = |hash: i32, unit: i32| hash.wrapping_mul(31).wrapping_add(unit);
    if text.is_ascii() {
        return text.bytes().fold(0, |hash, unit| step(hash, i32::from(unit)));
    }
    text.encode_utf16().fold(0, |hash, unit| step(hash, i32::from(unit)))
}

/// Returns what a consume-queue entry holds for `tag`; an empty tag is zero.
pub fn tag_hash(tag: &str) -> i64 {
    i64::from(string_hash(tag))
}

fn check_lengths(message: &Message<'_>, len: usize) -> Result<(), RecordError> {
    let parts = [
        ("topic", message.topic.as_str().len(), SHORT_MAX),
        ("properties", message.properties.len(), SHORT_MAX),
        ("record", len, MAX_LEN),
    ];
    for (part, len, limit) in parts {
        if len > limit {
            return Err(RecordError::TooLong { part, len, limit });
        }
    }
    Ok(())
}

fn sys_flag(message: &Message<'_>) -> i32 {
    let mut flag = message.sys_flag & !(BORN_HOST_V6 | STORE_HOST_V6);
    if message.born_host.ip().to_canonical().is_ipv6() {
        flag |= BORN_HOST_V6;
    }
    if message.store_host.ip().to_canonical().is_ipv6() {
        flag |= STORE_HOST_V6;
    }
    flag
}

fn host_len(host: SocketAddr) -> usize {
    if host.ip().to_canonical().is_ipv6() { 20 } else { 8 }
}

/// An IPv4 address that arrived through an IPv6 socket is written as the IPv4 address it is, as Java does.
fn put_host(out: &mut Vec<u8>, host: SocketAddr) {
    match host.ip().to_canonical() {
        IpAddr::V4(ip) => out.put_slice(&ip.octets()),
        IpAddr::V6(ip) => out.put_slice(&ip.octets()),
    }
    out.put_u32(u32::from(host.port()));
}

#[cfg(test)]
mod tests;
