// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Inner batches: several messages that are stored as one record and take as many offsets of their queue. The
//! system flag says that the body is a batch (`batch`); the property `INNER_NUM` says how many it holds, and `INNER_BASE`
//! which offset the first one has. Layout: `docs/format/batch.md`.
//! Called by the store (append, dispatch), by sends, by messages given back, and by consumers.
//! In: flags and properties of a message, or a record. Out: how many offsets it takes. Nothing here panics on bytes from
//! outside.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::batch::{self, Unit};
use crate::properties;
use crate::record::{INNER_BATCH, NEEDS_UNWRAP, Record};

/// The most messages of one record: their count is a signed 16-bit number.
pub const MESSAGES_MAX: usize = i16::MAX as usize;

/// The flags of a record that its readers take apart.
pub const FLAGS: i32 = INNER_BATCH | NEEDS_UNWRAP;

/// How many offsets a message takes that has these flags and this text, when it is appended.
pub fn wanted(sys_flag: i32, text: &str) -> u64 {
    match sys_flag & INNER_BATCH {
        0 => 1,
        _ => number(text).unwrap_or(1),
    }
}

/// How many offsets of its queue a stored record takes, from its own on.
///
/// A record takes more than one only where it was given them: a copy that waits, or lies in another queue, still says
/// how many it had.
pub fn taken(record: &Record<'_>) -> u64 {
    if record.sys_flag() & INNER_BATCH == 0 {
        return 1;
    }
    let text = record.properties_text();
    let base = properties::get(text, properties::INNER_BASE).and_then(|base| base.parse().ok());
    let is_its_own = base == Some(record.queue_offset().0);
    number(text).filter(|_| is_its_own).unwrap_or(1)
}

fn number(text: &str) -> Option<u64> {
    let number: u64 = properties::get(text, properties::INNER_NUM)?.parse().ok()?;
    (1..=MESSAGES_MAX as u64).contains(&number).then_some(number)
}

/// True when readers take the record apart.
pub fn is_wrapped(record: &Record<'_>) -> bool {
    record.sys_flag() & FLAGS == FLAGS
}

/// The message of a record that has the id `unique`; `None` when the record is no batch, or has none such.
pub fn find<'a>(record: &Record<'a>, unique: &str) -> Option<Unit<'a>> {
    let has_it = |unit: &Unit<'_>| {
        let text = core::str::from_utf8(unit.properties).unwrap_or_default();
        properties::get(text, properties::UNIQ_KEY) == Some(unique)
    };
    let mut units = batch::units(record.body()).map_while(Result::ok);
    is_wrapped(record).then(|| units.find(has_it)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{LogOffset, QueueId, QueueOffset, TopicName};
    use crate::record::{self, Message};
    use proptest::prelude::*;
    use stdx::Timestamp;

    fn stored(sys_flag: i32, properties: &str, body: &[u8]) -> Vec<u8> {
        let host = ([127, 0, 0, 1], 1).into();
        let topic = TopicName::stored("t");
        let properties = properties.replace('=', "\u{1}").replace(';', "\u{2}");
        let message = Message {
            topic: &topic,
            queue: QueueId(0),
            flag: 0,
            sys_flag,
            born_at: Timestamp(0),
            born_host: host,
            store_host: host,
            reconsume: 0,
            prepared: LogOffset(0),
            body,
            properties: properties.as_bytes(),
        };
        let mut bytes = Vec::new();
        record::encode(&message, &mut bytes).unwrap();
        record::patch(&mut bytes, LogOffset(0), QueueOffset(7), Timestamp(0));
        bytes
    }

    #[test]
    fn a_record_takes_what_it_was_given_and_no_more() {
        let rows = [
            (FLAGS, "INNER_NUM=3;INNER_BASE=7;", 3),
            (INNER_BATCH, "INNER_NUM=32767;INNER_BASE=7", 32_767),
            (FLAGS, "INNER_NUM=3;INNER_BASE=07;", 3),
            (FLAGS, "INNER_NUM=1;INNER_BASE=7;", 1),
            // no flag, no number, none that can be, a copy
            (0, "INNER_NUM=3;INNER_BASE=7;", 1),
            (NEEDS_UNWRAP, "INNER_NUM=3;INNER_BASE=7;", 1),
            (FLAGS, "INNER_BASE=7;", 1),
            (FLAGS, "INNER_NUM=0;INNER_BASE=7;", 1),
            (FLAGS, "INNER_NUM=-3;INNER_BASE=7;", 1),
            (FLAGS, "INNER_NUM=32768;INNER_BASE=7;", 1),
            (FLAGS, "INNER_NUM=three;INNER_BASE=7;", 1),
            (FLAGS, "INNER_NUM=3;", 1),
            (FLAGS, "INNER_NUM=3;INNER_BASE=8;", 1),
            (FLAGS, "INNER_NUM=3;INNER_BASE=8;INNER_BASE=7;", 3),
        ];
        for (flags, properties, expected) in rows {
            let bytes = stored(flags, properties, b"x");
            let record = Record::parse(&bytes).unwrap();
            assert_eq!(taken(&record), expected, "{flags:x} {properties}");
        }
        let record = stored(FLAGS, "INNER_NUM=3;", b"x");
        let text = Record::parse(&record).unwrap().properties_text();
        assert_eq!((wanted(FLAGS, text), wanted(0, text), wanted(FLAGS, "")), (3, 1, 1));
    }

    #[test]
    fn one_message_is_found_by_its_id() {
        let mut body = Vec::new();
        for (text, properties) in
            [("a", "UNIQ_KEY\u{1}1\u{2}"), ("b", "K\u{1}1\u{2}UNIQ_KEY\u{1}2\u{2}"), ("c", "")]
        {
            let unit = Unit { flag: 0, body: text.as_bytes(), properties: properties.as_bytes() };
            batch::encode(&unit, &mut body).unwrap();
        }
        let found = |flags, id: &str| {
            let bytes = stored(flags, "UNIQ_KEY=whole;INNER_NUM=3;", &body);
            let record = Record::parse(&bytes).unwrap();
            find(&record, id).map(|unit| String::from_utf8(unit.body.to_vec()).unwrap())
        };
        assert_eq!(found(FLAGS, "2").as_deref(), Some("b"));
        assert_eq!(found(FLAGS, "whole"), None);
        assert_eq!(found(INNER_BATCH, "2"), None, "nobody takes it apart");
    }

    proptest! {
        #[test]
        fn any_body_is_survived(body in proptest::collection::vec(any::<u8>(), 0..200), id in "[a-z]{0,3}") {
            let bytes = stored(FLAGS, "INNER_NUM=3;INNER_BASE=7;", &body);
            let _ = find(&Record::parse(&bytes).unwrap(), &id);
        }
    }
}
