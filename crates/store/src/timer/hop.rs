// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a record of the log says about the messages that wait for their time. In: a record. Out: a hop, or
//! nothing, which is what nearly every record says. Layout of the records: `docs/format/timer.md`.
//! Invariant: every record says all that is needed to apply it, so that the views follow from the log alone: a record
//! that ends or replaces a waiting one names where that one lies and when it was due.

use protocol::names::{LogOffset, TIMER_TOPIC};
use protocol::properties::{self, NAME_END};
use protocol::record::Record;
use stdx::Timestamp;

use super::pending::Slot;
use crate::views::marks::each_pair;

/// What happened to a waiting message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop<'a> {
    /// It waits from here on for a topic, perhaps in place of another record.
    Waits { due: Timestamp, topic: &'a str, instead: Option<Slot> },
    /// It was delivered, taken back or given up.
    Over(Slot),
}

/// The largest difference between what Apache notes and when the message is due.
const PRECISION_MS: i64 = 1000;

/// What the field `prepared` of a record holds that ends or replaces the record at `at`. Zero means none.
pub fn origin_mark(at: LogOffset) -> LogOffset {
    LogOffset(at.0 + 1)
}

/// Where the waiting record lies that this one ends or replaces.
pub fn origin(record: &Record<'_>) -> Option<LogOffset> {
    record.prepared().0.checked_sub(1).map(LogOffset)
}

/// What the properties of a record say of its time. Found in the one pass over them that dispatch makes: to look for one name
/// after the other cost more than all the rest of dispatch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times<'a> {
    floor: &'a [u8],
    exact: &'a [u8],
    was: &'a [u8],
    topic: &'a [u8],
    is_end: bool,
}

impl<'a> Times<'a> {
    fn of(record: &Record<'a>) -> Times<'a> {
        let mut times = Times::default();
        each_pair(record.properties(), |pair| times.take(pair));
        times
    }

    /// Takes a pair of name and value. The later one of a name counts, and one without a value says nothing.
    pub(crate) fn take(&mut self, pair: &'a [u8]) {
        // Most names are others, and a message that names another record is mostly a committed one.
        const BEGINNINGS: [&[u8]; 3] = [b"TIMER_", b"REAL_", b"KIRUNA_"];
        if !BEGINNINGS.iter().any(|beginning| pair.starts_with(beginning)) {
            return;
        }
        let Some(len) = pair.iter().position(|byte| *byte == NAME_END as u8) else { return };
        let value = &pair[len + 1..];
        if value.is_empty() {
            return;
        }
        // Compared as bytes: whether they are text does not matter, and is dear to know.
        let is = |name: &str| pair[..len] == *name.as_bytes();
        if is(properties::TIMER_OUT_MS) {
            self.floor = value;
        } else if is(properties::TIMER_DELIVER_MS) {
            self.exact = value;
        } else if is(properties::REAL_TOPIC) {
            self.topic = value;
        } else if is(properties::TIMER_WAS_MS) {
            self.was = value;
        } else if is(properties::TIMER_DEL_UNIQKEY) {
            self.is_end = true;
        }
    }

    fn due(&self) -> Option<Timestamp> {
        let floor = number(self.floor)?;
        let latest = floor.saturating_add(PRECISION_MS);
        let exact = number(self.exact).filter(|exact| *exact > floor && *exact <= latest);
        let is_whole = floor % PRECISION_MS == 0;
        Some(Timestamp(exact.unwrap_or(if is_whole { latest } else { floor.saturating_add(1) })))
    }
}

fn number(text: &[u8]) -> Option<i64> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// When a record with a timer is due; `None` for records without one.
///
/// `TIMER_OUT_MS` lies just below. Apache rounds it down to whole seconds, ours has the exact time beside it; where
/// that is missing the whole second is waited for, as Apache does.
pub fn due(record: &Record<'_>) -> Option<Timestamp> {
    Times::of(record).due()
}

/// Reads what a record says, whose properties say `times`.
pub(crate) fn of<'a>(record: &Record<'a>, times: &Times<'a>) -> Option<Hop<'a>> {
    let is_timer = record.topic() == TIMER_TOPIC;
    let origin = origin(record);
    if !is_timer && origin.is_none() {
        return None;
    }
    let due = times.due()?;
    if !is_timer || times.is_end {
        return origin.map(|at| Hop::Over(Slot { due, at }));
    }
    let instead = origin.map(|at| Slot { due: number(times.was).map_or(due, Timestamp), at });
    let topic = str::from_utf8(times.topic).ok().filter(|topic| !topic.is_empty())?;
    Some(Hop::Waits { due, topic, instead })
}

#[cfg(test)]
mod tests {
    use protocol::names::{QueueId, TopicName};
    use protocol::record::{self, Message};

    use super::*;
    use crate::views::marks::Marks;

    fn check(topic: &str, prepared: u64, text: &str, expected: Option<Hop<'_>>) {
        let topic = TopicName::stored(topic);
        let host = "127.0.0.1:1".parse().unwrap();
        let text = text.replace('=', "\u{1}").replace(';', "\u{2}");
        let message = Message {
            topic: &topic,
            queue: QueueId(0),
            flag: 0,
            sys_flag: 0,
            born_at: Timestamp(1),
            born_host: host,
            store_host: host,
            reconsume: 0,
            prepared: LogOffset(prepared),
            body: b"x",
            properties: text.as_bytes(),
        };
        let mut bytes = Vec::new();
        record::encode(&message, &mut bytes).unwrap();
        let record = Record::parse(&bytes).unwrap();
        let times = Marks::of(record.properties()).times();
        assert_eq!(times, Times::of(&record));
        assert_eq!(of(&record, &times), expected, "{topic} {prepared} {text:?}");
    }

    #[test]
    fn what_records_say() {
        let slot = |due, at| Slot { due: Timestamp(due), at: LogOffset(at) };
        let waits = |due, instead| Some(Hop::Waits { due: Timestamp(due), topic: "t", instead });
        let timer = TIMER_TOPIC;
        check("t", 0, "TIMER_OUT_MS=5;TIMER_DELIVER_MS=6", None);
        check(timer, 0, "REAL_TOPIC=t", None);
        check(timer, 0, "TIMER_OUT_MS=5", None);
        check(timer, 0, "TIMER_OUT_MS=5;TIMER_DELIVER_MS=6;REAL_TOPIC=t", waits(6, None));
        // As Apache writes them.
        check(timer, 0, "TIMER_OUT_MS=5000;TIMER_DELIVER_MS=5417;REAL_TOPIC=t", waits(5417, None));
        check(timer, 0, "TIMER_OUT_MS=5000;TIMER_DELAY_MS=77;REAL_TOPIC=t", waits(6000, None));
        // A delay by its sender beside a time of its own.
        check(timer, 0, "TIMER_OUT_MS=41;TIMER_DELIVER_MS=99999;REAL_TOPIC=t", waits(42, None));
        // Carried on, moved, delivered, taken back.
        check(timer, 9, "TIMER_OUT_MS=5;TIMER_DELIVER_MS=6;REAL_TOPIC=t", waits(6, Some(slot(6, 8))));
        let moved = "TIMER_OUT_MS=7;TIMER_DELIVER_MS=8;KIRUNA_TIMER_WAS_MS=6;REAL_TOPIC=t";
        check(timer, 9, moved, waits(8, Some(slot(6, 8))));
        check("t", 9, "TIMER_OUT_MS=5;TIMER_DELIVER_MS=6", Some(Hop::Over(slot(6, 8))));
        check(
            timer,
            9,
            "TIMER_OUT_MS=5;TIMER_DELIVER_MS=6;TIMER_DEL_UNIQKEY=t+u",
            Some(Hop::Over(slot(6, 8))),
        );
        check(timer, 0, "TIMER_OUT_MS=5;TIMER_DEL_UNIQKEY=t+u", None);
        check(timer, 0, "TIMER_OUT_MS=9223372036854775807;REAL_TOPIC=t", waits(i64::MAX, None));
    }
}
