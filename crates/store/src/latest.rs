// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Messages of topics that keep the latest of each key: how a record says so, what one record changes about its
//! key, and the bytes in which that is kept in the table of facts. Layout: `docs/format/compaction.md`.
//! In: records, or bytes of a fact. Out: places, or bytes. Decoding never panics.
//! Invariants: of all records of a key, met in the order of the log, the one with the highest queue offset is the latest; of
//! one message, the record that lies last. What a key is after the last record does not depend on where the log begins, as
//! long as a latest message outlives the segment that it lies in.

use protocol::names::{LogOffset, QueueId, QueueOffset, TopicName};
use protocol::properties;
use protocol::record::{KEEPS_LATEST, Message, Record, WRITTEN_AGAIN};

use crate::queue::Entry;

/// Stands behind the topic in the key of a fact; no topic holds it.
const BETWEEN: u8 = 1;
/// In place of a copy's place: the message ends nothing.
const NO_END: u64 = u64::MAX;

/// Where the latest message of a key lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: QueueOffset,
    pub(crate) entry: Entry,
    /// It has no body and ends its key. Behind it, at this place unless that is zero, lies a copy of an older message,
    /// which was written again when this one was on its way.
    pub(crate) ended: Option<LogOffset>,
}

/// The message for a topic that keeps the latest of each key.
pub(crate) fn marked(message: Message<'_>) -> Message<'_> {
    Message { sys_flag: message.sys_flag | KEEPS_LATEST, ..message }
}

/// A latest message once more, to be written at the end of the log.
pub(crate) fn again<'a>(record: &Record<'a>, topic: &'a TopicName) -> Message<'a> {
    let message = Message::again(record, topic, record.queue(), record.properties());
    // What it decided it still decides: a log may begin behind the record that did.
    let prepared = record.prepared();
    Message { sys_flag: message.sys_flag | KEEPS_LATEST | WRITTEN_AGAIN, prepared, ..message }
}

/// True for a record that was written again, which has no place of its own in its queue.
pub(crate) fn is_again(record: &Record<'_>) -> bool {
    let both = KEEPS_LATEST | WRITTEN_AGAIN;
    record.sys_flag() & both == both
}

/// The key of the fact that a record of such a topic proves; `None` for nearly all records.
pub(crate) fn told(record: &Record<'_>) -> Option<Vec<u8>> {
    if record.sys_flag() & KEEPS_LATEST == 0 {
        return None;
    }
    Some(fact_key(record.topic(), record.queue(), record.property(properties::KEYS).unwrap_or_default()))
}

/// The key of the fact for the messages of a queue that have these keys: all of them are one.
pub(crate) fn fact_key(topic: &str, queue: QueueId, keys: &str) -> Vec<u8> {
    [&*front(topic), &queue.0.to_be_bytes(), keys.as_bytes()].concat()
}

/// What the keys of all facts of a topic begin with.
pub(crate) fn front(topic: &str) -> Vec<u8> {
    [topic.as_bytes(), &[BETWEEN]].concat()
}

/// Topic and queue of a fact's key.
pub(crate) fn queue_of(key: &[u8]) -> Option<(&str, QueueId)> {
    let end = key.iter().position(|byte| *byte == BETWEEN)?;
    let (number, _) = key[end + 1..].split_first_chunk::<4>()?;
    Some((str::from_utf8(&key[..end]).ok()?, QueueId(u32::from_be_bytes(*number))))
}

/// What is known of a key once the record at `met` was met; `None` when that changes nothing.
pub(crate) fn after(known: Option<Place>, met: Place) -> Option<Place> {
    match known {
        Some(known) if known.offset > met.offset => {
            known.ended.map(|_| Place { ended: Some(met.entry.log), ..known })
        }
        _ => Some(met),
    }
}

impl Place {
    const LEN: usize = 8 + Entry::LEN + 8;

    /// The place that a record has itself.
    pub(crate) fn of(record: &Record<'_>, entry: Entry) -> Place {
        let ended = record.body().is_empty().then_some(LogOffset(0));
        Place { offset: record.queue_offset(), entry, ended }
    }

    /// True when the log may not begin at `start` before this is written again. What ends a key may go, unless that would
    /// bring an older message back.
    pub(crate) fn holds_back(&self, start: LogOffset) -> bool {
        self.entry.log < start && self.ended.is_none_or(|copy| copy >= start)
    }

    /// The value of the fact.
    pub(crate) fn encode(&self) -> [u8; Place::LEN] {
        let mut out = [0; Place::LEN];
        let (offset, rest) = out.split_at_mut(8);
        let (entry, ended) = rest.split_at_mut(Entry::LEN);
        offset.copy_from_slice(&self.offset.0.to_be_bytes());
        entry.copy_from_slice(&self.entry.to_bytes());
        ended.copy_from_slice(&self.ended.map_or(NO_END, |copy| copy.0).to_be_bytes());
        out
    }

    /// Reads the value of a fact.
    pub(crate) fn decode(value: &[u8]) -> Option<Place> {
        let (offset, rest) = value.split_first_chunk::<8>()?;
        let (entry, ended) = rest.split_first_chunk::<{ Entry::LEN }>()?;
        let ended = u64::from_be_bytes(ended.try_into().ok()?);
        Some(Place {
            offset: QueueOffset(u64::from_be_bytes(*offset)),
            entry: Entry::from_bytes(entry),
            ended: (ended != NO_END).then_some(LogOffset(ended)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(offset: u64, log: u64, is_end: bool) -> Place {
        let entry = Entry { log: LogOffset(log), size: 100, tag_hash: 0 };
        Place { offset: QueueOffset(offset), entry, ended: is_end.then_some(LogOffset(0)) }
    }

    proptest! {
        #[test]
        fn places_are_read_back(offset: u64, log: u64, size: u32, tag_hash: i64, ended in proptest::option::of(0..u64::MAX)) {
            let entry = Entry { log: LogOffset(log), size, tag_hash };
            let place = Place { offset: QueueOffset(offset), entry, ended: ended.map(LogOffset) };
            prop_assert_eq!(Place::decode(&place.encode()), Some(place));
        }

        #[test]
        fn no_bytes_panic(key in proptest::collection::vec(any::<u8>(), 0..20), value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = queue_of(&key);
            let _ = Place::decode(&value);
        }

        /// One key. The log gets messages, ends of the key, and copies of what was the latest a while ago; its start moves as
        /// far as nothing holds it back. From there the records say the same as all of them did.
        #[test]
        fn a_log_that_lost_its_beginning_says_the_same(steps in proptest::collection::vec((0..6u8, 0..4usize), 1..60)) {
            let (mut log, mut known, mut next, mut start) = (Vec::<Place>::new(), None::<Place>, 0, 0);
            // Behind the last copy.
            let mut copied = 0;
            let told = |log: &[Place]| log.iter().fold(None, |known, met| after(known, *met).or(known));
            // What the views hold: dispatch is behind the log.
            let mut dispatched = 0;
            for (step, lag) in steps {
                let at = 1 + log.len() as u64;
                match step {
                    0 | 1 => { log.push(place(next, at, false)); next += 1; }
                    2 => { log.push(place(next, at, true)); next += 1; }
                    3 => if let Some(latest) = known {
                        log.push(place(latest.offset.0, at, latest.ended.is_some()));
                        copied = log.len();
                    },
                    4 => {
                        let upto = log.len().saturating_sub(lag).max(dispatched);
                        known = log[dispatched..upto].iter().fold(known, |known, met| after(known, *met).or(known));
                        dispatched = upto;
                    }
                    _ => {
                        // Only what was dispatched goes, once all copies were.
                        let first = LogOffset(1 + dispatched as u64);
                        if dispatched >= copied && known.is_none_or(|known| !known.holds_back(first)) {
                            start = dispatched;
                            known = known.filter(|known| known.entry.log >= first);
                        }
                    }
                }
                prop_assert_eq!(told(&log[start..dispatched.max(start)]), known);
                let shown = |known: Option<Place>| known.filter(|known| known.ended.is_none()).map(|known| known.offset);
                let latest = log[..dispatched].iter().max_by_key(|place| place.offset);
                prop_assert_eq!(shown(known), shown(latest.copied()), "of all that ever was dispatched, the latest");
            }
        }
    }

    #[test]
    fn keys_of_facts_name_their_queue() {
        let key = fact_key("orders", QueueId(7), "any\u{1}thing");
        assert_eq!(queue_of(&key), Some(("orders", QueueId(7))));
        assert_eq!(queue_of(b"orders"), None);
    }
}
