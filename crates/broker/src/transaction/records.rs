// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The records of a transaction besides the half message and what it becomes: the note of a decision, the
//! parked copy, and the record that a producer is shown when it is asked. Written by the operations on transactions.
//! Invariant: each names its half messages by where they were first stored.

use std::net::{Ipv4Addr, SocketAddr};

use protocol::names::{LogOffset, QueueId, QueueOffset, TopicName};
use protocol::properties::{self, PropertiesOut};
use protocol::record::{self, Message, Record, RecordError};
use stdx::Timestamp;
use store::Half;
use store::halves::NOTES;

/// The tag of OP records.
const REMOVED: &str = "d";
/// Who decided, where it was an operator.
pub(crate) const BY: &str = "TRAN_DECIDED_BY";
/// Why, where it was an operator.
pub(crate) const WHY: &str = "TRAN_DECIDED_WHY";

/// Who decided by hand, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
}

/// A record of the OP topic, ready but for its queue.
pub(crate) struct Note {
    /// The half message it is about, if that is one.
    id: LogOffset,
    body: String,
    properties: PropertiesOut,
    at: Timestamp,
}

impl Note {
    /// Notes what became of half messages. Only of several commits is there one note together: the note of a commit
    /// decides nothing, any other has to name the one it is about.
    pub(crate) fn new(halves: &[&Half], what: &str, audit: Option<&Audit>, at: Timestamp) -> Note {
        let mut keys = String::with_capacity(halves.len() * 16);
        let mut body = String::with_capacity(halves.len() * 12);
        for half in halves {
            if !keys.is_empty() {
                keys.push(' ');
                body.push(',');
            }
            keys.push_str(KEY);
            push_decimal(&mut keys, half.id.0);
            push_decimal(&mut body, half.queue_offset.0);
        }
        let mut properties = PropertiesOut::default();
        properties.push(properties::TAGS, REMOVED);
        properties.push(properties::KEYS, &keys);
        properties.push(NOTES, what);
        if let Some(audit) = audit {
            properties.push(BY, &audit.by);
            properties.push(WHY, &audit.why);
        }
        let id = if let [half] = halves { half.id } else { LogOffset(0) };
        Note { id, body, properties, at }
    }

    /// The record.
    pub(crate) fn message<'a>(&'a self, topic: &'a TopicName) -> Message<'a> {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Message {
            topic,
            queue: QueueId(0),
            flag: 0,
            sys_flag: 0,
            born_at: self.at,
            born_host: nowhere,
            store_host: nowhere,
            reconsume: 0,
            prepared: self.id,
            body: self.body.as_bytes(),
            properties: self.properties.as_str().as_bytes(),
        }
    }
}

/// What stands before the offset in the key of a note.
const KEY: &str = "half-";

/// The key by which the note of a half message is found.
pub(crate) fn note_key(id: LogOffset) -> String {
    format!("{KEY}{id}")
}

/// Writes a number as `Display` does, which is much of what a note costs.
fn push_decimal(out: &mut String, number: u64) {
    let mut digits = [b'0'; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] += (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push_str(str::from_utf8(&digits[at..]).expect("digits are text"));
}

/// The copy of a half message that was asked about often enough: the message as it was, in the topic for such.
pub(crate) fn parked<'a>(half: &Half, record: &Record<'a>, topic: &'a TopicName) -> Message<'a> {
    Message { prepared: half.id, ..Message::again(record, topic, QueueId(0), record.properties()) }
}

/// The record that a producer is asked about: its half message under the topic and queue it is for.
/// `checks` counts the questions before this one.
pub(crate) fn question(half: &Half, record: &Record<'_>, checks: u32) -> Result<Vec<u8>, RecordError> {
    let mut out = PropertiesOut::default();
    let kept = record.each_property();
    kept.filter(|(name, _)| *name != properties::TRANSACTION_CHECK_TIMES)
        .for_each(|(name, value)| out.push(name, value));
    out.push(properties::TRANSACTION_CHECK_TIMES, &(checks + 1).to_string());
    let queue = record.property(properties::REAL_QID).and_then(|text| text.parse().ok()).unwrap_or(0);
    let message = Message::again(record, &half.topic, QueueId(queue), out.as_str().as_bytes());
    let mut bytes = Vec::new();
    record::encode(&message, &mut bytes)?;
    record::patch(&mut bytes, half.id, QueueOffset(half.queue_offset.0), half.stored_at);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::names::Group;

    #[test]
    fn a_note_names_its_half_messages_in_digits() {
        let half = |id, offset| Half {
            id: LogOffset(id),
            queue_offset: QueueOffset(offset),
            log: LogOffset(id),
            stored_at: Timestamp(0),
            parked: false,
            immunity: None,
            group: Group::default(),
            topic: TopicName::default(),
        };
        let halves = [half(0, 0), half(10, 9), half(u64::MAX, 18_446_744_073_709_551_609)];
        let note = Note::new(&halves.each_ref(), "commit", None, Timestamp(0));
        let keys = halves.iter().map(|half| note_key(half.id)).collect::<Vec<_>>().join(" ");
        let offsets = halves.iter().map(|half| half.queue_offset.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(properties::get(note.properties.as_str(), properties::KEYS), Some(&*keys));
        assert_eq!(note.body, offsets);
    }
}
