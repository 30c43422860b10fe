// SPDX-License-Identifier: Apache-2.0
//! A message as the simulation knows it: its number makes its body, and a record is read back into what of it counts.

use protocol::light;
use protocol::names::TIMER_TOPIC;
use protocol::properties;
use protocol::record::{self, Record};
use stdx::Timestamp;

use crate::workload::{LIGHT, REMOVABLE};

/// A topic and a queue of it.
pub(crate) type Place = (String, u32);

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) end: u64,
    pub(crate) place: Place,
    pub(crate) offset: u64,
    pub(crate) number: u64,
    pub(crate) reconsumed: i32,
    pub(crate) stored_at: Timestamp,
    /// Where a record that waits for its time goes then.
    pub(crate) real: Option<Place>,
    pub(crate) tag: String,
    /// The half message that this record commits.
    pub(crate) commits: Option<u64>,
    /// What it says of timers.
    pub(crate) timer: Option<Timer>,
    /// The light queues that it is in, and where.
    pub(crate) light: Vec<(String, u64)>,
}

/// What a record says of a message with a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timer {
    pub(crate) due: Timestamp,
    /// Where the record lies that it ends or replaces.
    pub(crate) origin: Option<u64>,
    pub(crate) is_recall: bool,
}

impl Known {
    /// The topic that a waiting record is for.
    pub(crate) fn real_topic(&self) -> &str {
        self.real.as_ref().map_or("", |real| real.0.as_str())
    }

    /// What it says of timers, if it is one or was delivered by one.
    pub(crate) fn timed(&self) -> Option<Timer> {
        self.timer.filter(|timer| timer.origin.is_some() || self.place.0 == TIMER_TOPIC)
    }

    /// Where it stands in a light queue.
    pub(crate) fn light_offset(&self, name: &str) -> Option<u64> {
        self.light.iter().find(|(other, _)| other == name).map(|(_, offset)| *offset)
    }
}

/// The body of a message.
pub(crate) fn body(number: u64) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(8 + (number * 37 % 400) as usize, number as u8);
    body
}

/// What its property `n` says; some messages have none.
pub(crate) fn n(number: u64) -> Option<u64> {
    (!number.is_multiple_of(5)).then_some(number % 7)
}

/// The light queues that it lists when it is for `topic`.
pub(crate) fn lights(number: u64, topic: &str) -> &'static [&'static str] {
    match number % 5 {
        _ if topic == REMOVABLE => &[],
        1 => &LIGHT[..1],
        2 => &LIGHT,
        _ => &[],
    }
}

/// What counts of a record. Its body is what was sent.
pub(crate) fn known(record: &Record<'_>) -> Known {
    let timer = store::due(record).map(|due| Timer {
        due,
        origin: store::origin(record).map(|at| at.0),
        is_recall: record.property(properties::TIMER_DEL_UNIQKEY).is_some(),
    });
    let number = match timer {
        Some(Timer { is_recall: true, .. }) => unique_number(record),
        _ => body_number(record),
    };
    let real = record.property(properties::REAL_TOPIC).map(str::to_owned);
    let queue = record.property(properties::REAL_QID).and_then(|text| text.parse().ok());
    let queue = queue.or(timer.filter(|timer| timer.is_recall).map(|_| 0));
    Known {
        end: record.log_offset().0 + record.len() as u64,
        place: (record.topic().to_owned(), record.queue().0),
        offset: record.queue_offset().0,
        number,
        reconsumed: record.reconsume(),
        stored_at: record.stored_at(),
        real: real.zip(queue),
        tag: record.tag().unwrap_or_default().to_owned(),
        commits: (record.transaction() == 8).then(|| record.prepared().0).filter(|id| *id != 0),
        timer,
        light: lit(record),
    }
}

fn lit(record: &Record<'_>) -> Vec<(String, u64)> {
    let names =
        record.property(properties::INNER_MULTI_DISPATCH).filter(|_| light::is_read_from(record.topic()));
    let pairs = names.zip(record.property(properties::INNER_MULTI_QUEUE_OFFSET));
    let pairs = pairs.into_iter().flat_map(|(names, offsets)| light::assigned(names, offsets));
    pairs.map(|(name, offset)| (name.to_owned(), offset)).collect()
}

fn body_number(record: &Record<'_>) -> u64 {
    let bytes = record.body();
    let number = bytes.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    let number = number.unwrap_or_else(|| panic!("nobody sent the body {bytes:?}"));
    assert!(bytes == body(number), "the body of message {number} is not what was sent");
    number
}

/// A record that takes a message back names its id.
fn unique_number(record: &Record<'_>) -> u64 {
    let id = record.property(properties::UNIQ_KEY).and_then(|id| id.strip_prefix('u')?.parse().ok());
    id.unwrap_or_else(|| panic!("a record takes back nobody's message"))
}

/// What a client is given: records in slices.
pub(crate) fn records(slices: &[bytes::Bytes]) -> Vec<Vec<u8>> {
    let all = slices.iter().flat_map(|slice| record::iterate(slice));
    all.map(|record| record.unwrap_or_else(|e| panic!("a batch is broken: {e}")).raw().to_vec()).collect()
}
