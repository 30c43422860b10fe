// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Borrowed views over records that lie in memory: one record, what stands next in a log, a pull body.
//! Called by everyone who reads messages. Allocates nothing and never trusts a length before it was compared with
//! the slice it came in.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use core::net::{IpAddr, SocketAddr};

use stdx::Timestamp;

use super::{
    AT_BORN_HOST, AT_SYS_FLAG, BLANK_MIN, BORN_HOST_V6, COMPRESSED, MAGIC_BLANK, MAGIC_V1, MAGIC_V2, MAX_LEN,
    MIN_LEN, RecordError, STORE_HOST_V6, TRANSACTION_MASK, body_crc, tag_hash,
};
use crate::names::{LogOffset, QueueId, QueueOffset};
use crate::properties;

/// One record whose magic, sizes and topic text were checked. The body's checksum is
/// checked only by [`Record::verify_crc`].
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    raw: &'a [u8],
    crc: u32,
    queue: QueueId,
    flag: i32,
    queue_offset: QueueOffset,
    log_offset: LogOffset,
    sys_flag: i32,
    born_at: Timestamp,
    born_host: SocketAddr,
    stored_at: Timestamp,
    store_host: SocketAddr,
    reconsume: i32,
    prepared: LogOffset,
    body: &'a [u8],
    topic: &'a str,
    properties: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record at the start of `bytes`; what follows it is not looked at.
    pub fn parse(bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        let head = Head::read(bytes)?;
        if head.magic != MAGIC_V1 && head.magic != MAGIC_V2 {
            return Err(RecordError::Magic { found: head.magic });
        }
        let size = head.record_len()?;
        let raw = bytes.get(..size).ok_or(RecordError::Short { need: size, have: bytes.len() })?;
        let mut cursor = Cursor { rest: raw };
        cursor.chunk::<8>("head")?;
        let crc = cursor.u32("checksum")?;
        let queue = QueueId(cursor.u32("queue")?);
        let flag = cursor.i32("flag")?;
        let queue_offset = QueueOffset(cursor.u64("queue offset")?);
        let log_offset = LogOffset(cursor.u64("log offset")?);
        let sys_flag = cursor.i32("system flag")?;
        let born_at = Timestamp(cursor.i64("born time")?);
        let born_host = cursor.host("born host", sys_flag & BORN_HOST_V6 != 0)?;
        let stored_at = Timestamp(cursor.i64("store time")?);
        let store_host = cursor.host("store host", sys_flag & STORE_HOST_V6 != 0)?;
        let reconsume = cursor.i32("reconsume times")?;
        let prepared = LogOffset(cursor.u64("prepared offset")?);
        let body_len = cursor.i32("body")?;
        let body = cursor.part("body", body_len.into())?;
        let topic = cursor.topic(head.magic == MAGIC_V2)?;
        let properties_len = i16::from_be_bytes(cursor.chunk("properties")?);
        let properties = cursor.part("properties", properties_len.into())?;
        if !cursor.rest.is_empty() {
            return Err(RecordError::Sum { size, parts: size.saturating_sub(cursor.rest.len()) });
        }
        Ok(Record {
            raw,
            crc,
            queue,
            flag,
            queue_offset,
            log_offset,
            sys_flag,
            born_at,
            born_host,
            stored_at,
            store_host,
            reconsume,
            prepared,
            body,
            topic,
            properties,
        })
    }

    /// Compares the body with its checksum. A record without a checksum (zero) that has a body fails too.
    pub fn verify_crc(&self) -> Result<(), RecordError> {
        let found = body_crc(self.body);
        if found == self.crc { Ok(()) } else { Err(RecordError::Crc { stored: self.crc, found }) }
    }

    /// Returns the bytes of the whole record.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Returns the length of the whole record.
    #[expect(clippy::len_without_is_empty, reason = "a record is never empty")]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Returns the checksum as it is stored.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    pub fn queue(&self) -> QueueId {
        self.queue
    }

    /// Returns the application's own flag.
    pub fn flag(&self) -> i32 {
        self.flag
    }

    pub fn queue_offset(&self) -> QueueOffset {
        self.queue_offset
    }

    pub fn log_offset(&self) -> LogOffset {
        self.log_offset
    }

    pub fn sys_flag(&self) -> i32 {
        self.sys_flag
    }

    /// Returns the transaction bits of the system flag: 0, 4 prepared, 8 commit, 12 rollback.
    pub fn transaction(&self) -> i32 {
        self.sys_flag & TRANSACTION_MASK
    }

    pub fn is_compressed(&self) -> bool {
        self.sys_flag & COMPRESSED != 0
    }

    pub fn born_at(&self) -> Timestamp {
        self.born_at
    }

    pub fn born_host(&self) -> SocketAddr {
        self.born_host
    }

    pub fn stored_at(&self) -> Timestamp {
        self.stored_at
    }

    pub fn store_host(&self) -> SocketAddr {
        self.store_host
    }

    /// Returns how often delivery failed before this copy.
    pub fn reconsume(&self) -> i32 {
        self.reconsume
    }

    /// Returns where the prepared half of a transaction lies, zero for other messages.
    pub fn prepared(&self) -> LogOffset {
        self.prepared
    }

    /// Returns the body as stored, compressed or not.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// Returns the text form of the properties.
    pub fn properties(&self) -> &'a [u8] {
        self.properties
    }

    /// Returns the properties as text, up to the first byte that is no UTF-8 if there should be one.
    pub fn properties_text(&self) -> &'a str {
        text(self.properties)
    }

    /// Returns the value of one property. Where a name stands twice the later one counts, as in Java's map.
    pub fn property(&self, name: &str) -> Option<&'a str> {
        properties::get(self.properties_text(), name)
    }

    /// Returns every property, in the stored order.
    pub fn each_property(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        properties::iter(self.properties_text())
    }

    /// Returns the tag, where there is one.
    pub fn tag(&self) -> Option<&'a str> {
        self.property(properties::TAGS)
    }

    /// Returns what the consume queue holds for this record's tag, zero without one.
    pub fn tag_hash(&self) -> i64 {
        self.tag().map_or(0, tag_hash)
    }
}

/// The properties of the record at the start of `bytes`, up to the first byte that is no UTF-8 if there should be one.
/// `None` when they are not where the record's lengths say; what stands beside them is not looked at.
pub fn properties_of(bytes: &[u8]) -> Option<&str> {
    let head = Head::read(bytes).ok()?;
    let raw = bytes.get(..head.record_len().ok()?)?;
    let flag = raw.get(AT_SYS_FLAG..)?.first_chunk::<4>()?;
    let flag = i32::from_be_bytes(*flag);
    let host = |bit: i32| if flag & bit != 0 { 20 } else { 8 };
    let fixed = AT_BORN_HOST.checked_add(host(BORN_HOST_V6))?.checked_add(host(STORE_HOST_V6))?;
    // Behind the hosts, with the time between them: attempts and the prepared offset.
    let mut cursor = Cursor { rest: raw.get(fixed.checked_add(8 + 4 + 8)?..)? };
    let body = cursor.i32("body").ok()?;
    cursor.part("body", body.into()).ok()?;
    let topic = match head.magic {
        MAGIC_V1 => i64::from(i8::from_be_bytes(cursor.chunk("topic").ok()?)),
        MAGIC_V2 => i64::from(i16::from_be_bytes(cursor.chunk("topic").ok()?)),
        _ => return None,
    };
    cursor.part("topic", topic).ok()?;
    let len = i16::from_be_bytes(cursor.chunk("properties").ok()?);
    let properties = cursor.part("properties", len.into()).ok()?;
    cursor.rest.is_empty().then(|| text(properties))
}

/// Bytes as text, up to the first one that is no UTF-8.
fn text(bytes: &[u8]) -> &str {
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            core::str::from_utf8(valid).unwrap_or_default()
        }
    }
}

/// What stands at one place of a log.
#[derive(Clone, Copy, Debug)]
pub enum Scan<'a> {
    Record(Record<'a>),
    /// The filler up to the end of a file. `len` is what it says, which may reach past the slice that was scanned.
    Blank {
        len: usize,
    },
    /// Zeros, or fewer bytes than the next record needs.
    End,
    /// Something that is neither; the log is damaged here, or this is not a record boundary.
    Bad(RecordError),
}

/// Tells what stands at the start of `bytes`. The body's checksum is not looked at.
pub fn scan(bytes: &[u8]) -> Scan<'_> {
    let Ok(head) = Head::read(bytes) else { return Scan::End };
    if head.size == 0 && head.magic == 0 {
        return Scan::End;
    }
    if head.magic == MAGIC_BLANK {
        return match usize::try_from(head.size) {
            Ok(len) if len >= BLANK_MIN => Scan::Blank { len },
            _ => Scan::Bad(RecordError::Size { size: head.size }),
        };
    }
    match Record::parse(bytes) {
        Ok(record) => Scan::Record(record),
        Err(RecordError::Short { .. }) => Scan::End,
        Err(error) => Scan::Bad(error),
    }
}

/// Walks the records of a pull body. After an error nothing follows.
pub fn iterate(body: &[u8]) -> impl Iterator<Item = Result<Record<'_>, RecordError>> {
    let mut rest = body;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = Record::parse(rest);
        rest = match &record {
            Ok(record) => rest.get(record.len()..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(record)
    })
}

/// The eight bytes that a record and a filler both start with.
struct Head {
    size: i32,
    magic: u32,
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Head, RecordError> {
        let short = RecordError::Short { need: BLANK_MIN, have: bytes.len() };
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or(short)?;
        let magic = rest.first_chunk::<4>().ok_or(short)?;
        Ok(Head { size: i32::from_be_bytes(*size), magic: u32::from_be_bytes(*magic) })
    }

    fn record_len(&self) -> Result<usize, RecordError> {
        match usize::try_from(self.size) {
            Ok(size) if (MIN_LEN..=MAX_LEN).contains(&size) => Ok(size),
            _ => Err(RecordError::Size { size: self.size }),
        }
    }
}

/// Takes parts off the front of a record. Running out means that a length inside the record lies.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn chunk<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], RecordError> {
        let (chunk, rest) =
            self.rest.split_first_chunk::<N>().ok_or(RecordError::Part { part, len: N as i64 })?;
        self.rest = rest;
        Ok(*chunk)
    }

    fn i32(&mut self, part: &'static str) -> Result<i32, RecordError> {
        self.chunk(part).map(i32::from_be_bytes)
    }

    fn u32(&mut self, part: &'static str) -> Result<u32, RecordError> {
        self.chunk(part).map(u32::from_be_bytes)
    }

    fn u64(&mut self, part: &'static str) -> Result<u64, RecordError> {
        self.chunk(part).map(u64::from_be_bytes)
    }

    fn i64(&mut self, part: &'static str) -> Result<i64, RecordError> {
        self.chunk(part).map(i64::from_be_bytes)
    }

    /// Takes `len` bytes, where `len` was read from the record and may be anything.
    fn part(&mut self, part: &'static str, len: i64) -> Result<&'a [u8], RecordError> {
        let wrong = RecordError::Part { part, len };
        let len = usize::try_from(len).map_err(|_| wrong)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(wrong)?;
        self.rest = rest;
        Ok(taken)
    }

    fn topic(&mut self, two_bytes: bool) -> Result<&'a str, RecordError> {
        let len = if two_bytes {
            i16::from_be_bytes(self.chunk("topic")?).into()
        } else {
            i8::from_be_bytes(self.chunk("topic")?).into()
        };
        core::str::from_utf8(self.part("topic", len)?).map_err(|_| RecordError::TopicText)
    }

    fn host(&mut self, host: &'static str, v6: bool) -> Result<SocketAddr, RecordError> {
        let ip: IpAddr = if v6 { self.chunk::<16>(host)?.into() } else { self.chunk::<4>(host)?.into() };
        let port = self.u32(host)?;
        let port = u16::try_from(port).map_err(|_| RecordError::Port { host, port })?;
        Ok(SocketAddr::new(ip, port))
    }
}
