// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Undecided transactions as the log tells of them: what one record says about half messages, and the bytes
//! in which an open one is kept in the table of facts. Called by the views for every record; layout in
//! `docs/format/transaction.md`.
//! In: records, or bytes of a fact. Out: openings and ends, or bytes. Decoding never panics.
//! Invariants: a half message is open from its own record to the first record that ends it, and nothing else ends it;
//! the message that a commit delivers is the commit.

use std::time::Duration;

use protocol::names::{
    CHECK_MAX_TIME_TOPIC, Group, HALF_OP_TOPIC, HALF_TOPIC, LogOffset, QueueOffset, TopicName,
};
use protocol::properties;
use protocol::record::{self, Record};
use stdx::Timestamp;

/// The property of an OP record that says what it notes. Apache's have none and always mean an end.
pub const NOTES: &str = "TRAN_DECISION";
/// The property of a half message that was written again: when it was first stored.
const STORED_AT: &str = "TRAN_STORED_AT";
/// An OP record beside a delivered message; only Apache's tools need it.
pub const NOTES_COMMIT: &str = "commit";
/// An OP record beside a parked copy; the half message stays open.
pub const NOTES_PARKED: &str = "parked";
/// An OP record that is a rollback.
pub const NOTES_ROLLBACK: &str = "rollback";
/// An OP record that gives up a half message whose data damage took.
pub const NOTES_LOST: &str = "lost";

/// A half message that nothing has decided yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half {
    /// Where it was first stored: its name for clients and for the record that commits it.
    pub id: LogOffset,
    /// Its queue offset there.
    pub queue_offset: QueueOffset,
    /// Where its data lies now: retention has it written again before its segment goes.
    pub log: LogOffset,
    /// When it was first stored.
    pub stored_at: Timestamp,
    /// It was asked about as often as allowed; only a decision or an operator touches it.
    pub parked: bool,
    /// How long its producer is not to be asked, when it said so.
    pub immunity: Option<Duration>,
    /// The producer's group.
    pub group: Group,
    /// The topic it is for.
    pub topic: TopicName,
}

/// A half message as its record says it: as [`Half`], with the names where they stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen<'a> {
    pub(crate) id: LogOffset,
    queue_offset: QueueOffset,
    log: LogOffset,
    stored_at: Timestamp,
    parked: bool,
    immunity: Option<Duration>,
    group: &'a str,
    topic: &'a str,
}

/// What a record says about half messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told<'a> {
    /// A half message began, or was written again.
    Began(Seen<'a>),
    /// This one is decided.
    Ended(LogOffset),
    /// These are decided; named as Apache does, by queue offset.
    EndedAt(Vec<QueueOffset>),
    /// This one was parked.
    Parked(LogOffset),
}

const VERSION: u8 = 1;
const FIXED: usize = 1 + 8 + 8 + 8 + 1 + 8 + 1;

/// Reads what a record at `at` says; `None` for nearly all.
pub(crate) fn told<'a>(record: &Record<'a>, at: LogOffset) -> Option<Told<'a>> {
    // Zero is what every other message has there.
    let names = Some(record.prepared()).filter(|prepared| prepared.0 != 0);
    match record.topic() {
        HALF_TOPIC => Some(Told::Began(began(record, at, names))),
        HALF_OP_TOPIC => match record.property(NOTES) {
            Some(NOTES_COMMIT | NOTES_PARKED) => None,
            _ => Some(names.map_or_else(|| Told::EndedAt(offsets(record.body())), Told::Ended)),
        },
        CHECK_MAX_TIME_TOPIC => names.map(Told::Parked),
        _ if record.transaction() == record::COMMITTED => names.map(Told::Ended),
        _ => None,
    }
}

/// The half message that a message may end, before it is a record: more than those that [`told`] means.
pub(crate) fn may_end(message: &record::Message<'_>) -> Option<LogOffset> {
    let names = Some(message.prepared).filter(|prepared| prepared.0 != 0)?;
    let is_commit = message.sys_flag & record::TRANSACTION_MASK == record::COMMITTED;
    (is_commit || *message.topic == HALF_OP_TOPIC).then_some(names)
}

/// The half message that was first stored at `id`, if one was.
pub fn first(record: &Record<'_>, id: LogOffset) -> Option<Half> {
    (record.topic() == HALF_TOPIC).then(|| began(record, id, None).owned())
}

/// All that is known of a half message stands in its latest record, so that a log that lost the first one says the same.
fn began<'a>(record: &Record<'a>, at: LogOffset, again: Option<LogOffset>) -> Seen<'a> {
    let mut half = Seen {
        id: again.unwrap_or(at),
        queue_offset: record.queue_offset(),
        log: at,
        stored_at: record.stored_at(),
        parked: false,
        immunity: None,
        group: "",
        topic: "",
    };
    for (name, value) in record.each_property() {
        let number = || value.parse::<u64>().ok();
        match name {
            properties::PGROUP => half.group = value,
            properties::REAL_TOPIC => half.topic = value,
            properties::CHECK_IMMUNITY_TIME_IN_SECONDS => half.immunity = number().map(Duration::from_secs),
            properties::TRAN_PREPARED_QUEUE_OFFSET if again.is_some() => {
                half.queue_offset = number().map_or(record.queue_offset(), QueueOffset);
            }
            STORED_AT if again.is_some() => {
                half.stored_at = number().map_or(record.stored_at(), |at| Timestamp(at as i64));
            }
            NOTES if again.is_some() => half.parked = value == NOTES_PARKED,
            _ => {}
        }
    }
    half
}

/// The queue offsets in the body of an OP record of Apache's.
fn offsets(body: &[u8]) -> Vec<QueueOffset> {
    let text = str::from_utf8(body).unwrap_or_default();
    text.split(',').filter_map(|part| part.trim().parse().ok()).map(QueueOffset).collect()
}

impl Seen<'_> {
    /// The same with names of its own.
    fn owned(self) -> Half {
        let Seen { id, queue_offset, log, stored_at, parked, immunity, group, topic } = self;
        let (group, topic) = (Group::stored(group), TopicName::stored(topic));
        Half { id, queue_offset, log, stored_at, parked, immunity, group, topic }
    }

    /// Its value in the table of facts.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + self.group.len() + self.topic.len());
        out.push(VERSION);
        out.extend(self.queue_offset.0.to_be_bytes());
        out.extend(self.log.0.to_be_bytes());
        out.extend(self.stored_at.0.to_be_bytes());
        out.push(u8::from(self.parked));
        let immunity = self.immunity.map_or(u64::MAX, |time| time.as_secs());
        out.extend(immunity.to_be_bytes());
        let group = self.group.as_bytes();
        let len = group.len().min(usize::from(u8::MAX));
        out.push(len as u8);
        out.extend(&group[..len]);
        out.extend(self.topic.as_bytes());
        out
    }
}

impl Half {
    /// Its key in the table of facts.
    pub(crate) fn key(id: LogOffset) -> [u8; 8] {
        id.0.to_be_bytes()
    }

    /// Its value in the table of facts.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Half { id, queue_offset, log, stored_at, parked, immunity, group, topic } = self;
        let (id, queue_offset, log, stored_at) = (*id, *queue_offset, *log, *stored_at);
        let (parked, immunity) = (*parked, *immunity);
        Seen { id, queue_offset, log, stored_at, parked, immunity, group, topic }.encode()
    }

    /// Reads key and value.
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Option<Half> {
        let id = u64::from_be_bytes(key.try_into().ok()?);
        let (fixed, names) = value.split_at_checked(FIXED)?;
        let word = |at: usize| Some(u64::from_be_bytes(fixed.get(at..at + 8)?.try_into().ok()?));
        let (group, topic) = names.split_at_checked(usize::from(fixed[FIXED - 1]))?;
        let immunity = word(26)?;
        (fixed[0] == VERSION).then_some(())?;
        Some(Half {
            id: LogOffset(id),
            queue_offset: QueueOffset(word(1)?),
            log: LogOffset(word(9)?),
            stored_at: Timestamp(word(17)? as i64),
            parked: fixed[25] == 1,
            immunity: (immunity != u64::MAX).then(|| Duration::from_secs(immunity)),
            group: Group::stored(str::from_utf8(group).ok()?),
            topic: TopicName::stored(str::from_utf8(topic).ok()?),
        })
    }
}

/// The message that writes a half message again, unchanged but for naming where it was first.
/// `properties` is room for its text.
pub(crate) fn again<'a>(
    half: &Half,
    record: &Record<'a>,
    topic: &'a TopicName,
    properties: &'a mut properties::PropertiesOut,
) -> record::Message<'a> {
    const OURS: [&str; 3] = [properties::TRAN_PREPARED_QUEUE_OFFSET, STORED_AT, NOTES];
    let kept = record.each_property().filter(|(name, _)| !OURS.contains(name));
    kept.for_each(|(name, value)| properties.push(name, value));
    properties.push(properties::TRAN_PREPARED_QUEUE_OFFSET, &half.queue_offset.to_string());
    properties.push(STORED_AT, &half.stored_at.0.to_string());
    if half.parked {
        properties.push(NOTES, NOTES_PARKED);
    }
    record::Message {
        prepared: half.id,
        ..record::Message::again(record, topic, record.queue(), properties.as_str().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::names::QueueId;
    use std::net::SocketAddr;

    /// What a record says, the half message that began with names of its own.
    #[derive(Debug, PartialEq)]
    enum Heard {
        Began(Half),
        Other(Told<'static>),
    }

    fn heard(told: Told<'_>) -> Heard {
        Heard::Other(match told {
            Told::Began(seen) => {
                let half = seen.owned();
                assert_eq!(Half::decode(&Half::key(half.id), &seen.encode()), Some(half.clone()));
                return Heard::Began(half);
            }
            Told::Ended(id) => Told::Ended(id),
            Told::EndedAt(offsets) => Told::EndedAt(offsets),
            Told::Parked(id) => Told::Parked(id),
        })
    }

    fn tell(topic: &str, sys_flag: i32, prepared: u64, body: &str, properties: &str) -> Option<Heard> {
        let topic = TopicName::stored(topic);
        let host: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let properties = properties.replace('=', "\u{1}").replace(';', "\u{2}");
        let message = record::Message {
            topic: &topic,
            queue: QueueId(0),
            flag: 0,
            sys_flag,
            born_at: Timestamp(1),
            born_host: host,
            store_host: host,
            reconsume: 0,
            prepared: LogOffset(prepared),
            body: body.as_bytes(),
            properties: properties.as_bytes(),
        };
        let mut bytes = Vec::new();
        record::encode(&message, &mut bytes).unwrap();
        record::patch(&mut bytes, LogOffset(700), QueueOffset(7), Timestamp(9));
        told(&Record::parse(&bytes).unwrap(), LogOffset(700)).map(heard)
    }

    fn half() -> Half {
        Half {
            id: LogOffset(700),
            queue_offset: QueueOffset(7),
            log: LogOffset(700),
            stored_at: Timestamp(9),
            parked: false,
            immunity: Some(Duration::from_secs(30)),
            group: Group::stored("g"),
            topic: TopicName::stored("t"),
        }
    }

    #[test]
    fn what_records_say() {
        let other = |told: Told<'static>| Some(Heard::Other(told));
        let text = "PGROUP=g;REAL_TOPIC=t;REAL_QID=2;CHECK_IMMUNITY_TIME_IN_SECONDS=30;";
        assert_eq!(tell(HALF_TOPIC, 0, 0, "b", text), Some(Heard::Began(half())));
        let again = Half { id: LogOffset(40), queue_offset: QueueOffset(3), ..half() };
        let again = Half { parked: true, stored_at: Timestamp(5), ..again };
        let text = format!("{text}TRAN_PREPARED_QUEUE_OFFSET=3;TRAN_STORED_AT=5;TRAN_DECISION=parked;");
        assert_eq!(tell(HALF_TOPIC, 0, 40, "b", &text), Some(Heard::Began(again)));
        // Apache's own rewritten half messages are new ones; their old places are ended by OP records.
        assert_eq!(tell(HALF_TOPIC, 0, 0, "b", &text), Some(Heard::Began(half())));
        assert_eq!(tell("t", 8, 40, "b", ""), other(Told::Ended(LogOffset(40))));
        assert_eq!(tell("SCHEDULE_TOPIC_XXXX", 8, 40, "b", ""), other(Told::Ended(LogOffset(40))));
        assert_eq!(tell("t", 8, 0, "b", ""), None, "delivered after its delay");
        assert_eq!(tell("t", 0, 40, "b", ""), None);
        let ended = vec![QueueOffset(3), QueueOffset(12)];
        assert_eq!(tell(HALF_OP_TOPIC, 0, 0, "3,12,", "TAGS=d;"), other(Told::EndedAt(ended)));
        assert_eq!(
            tell(HALF_OP_TOPIC, 0, 40, "3", "TRAN_DECISION=rollback;"),
            other(Told::Ended(LogOffset(40)))
        );
        assert_eq!(tell(HALF_OP_TOPIC, 0, 40, "3", "TRAN_DECISION=commit;"), None);
        assert_eq!(tell(HALF_OP_TOPIC, 0, 40, "3", "TRAN_DECISION=parked;"), None);
        assert_eq!(tell(CHECK_MAX_TIME_TOPIC, 0, 40, "b", ""), other(Told::Parked(LogOffset(40))));
        assert_eq!(tell(CHECK_MAX_TIME_TOPIC, 0, 0, "b", ""), None);
        assert_eq!(tell("orders", 0, 0, "b", "TAGS=d;"), None);
    }

    proptest! {
        #[test]
        fn facts_are_read_back(
            numbers in any::<(u64, u64, u64, i64)>(),
            parked in any::<bool>(),
            immunity in proptest::option::of(0..u64::MAX),
            names in ("[a-zA-Z%_-]{0,120}", "[a-z]{0,127}"),
        ) {
            let half = Half {
                id: LogOffset(numbers.0),
                queue_offset: QueueOffset(numbers.1),
                log: LogOffset(numbers.2),
                stored_at: Timestamp(numbers.3),
                parked,
                immunity: immunity.map(Duration::from_secs),
                group: Group::stored(names.0.as_str()),
                topic: TopicName::stored(names.1.as_str()),
            };
            prop_assert_eq!(Half::decode(&Half::key(half.id), &half.encode()), Some(half));
        }

        #[test]
        fn no_bytes_panic(key in proptest::collection::vec(any::<u8>(), 0..10), value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Half::decode(&key, &value);
        }
    }
}
