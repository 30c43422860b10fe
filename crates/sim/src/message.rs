// SPDX-License-Identifier: Apache-2.0
//! A message as the simulation knows it: its number makes its body, and a record is read back into what of it counts.

use protocol::properties;
use protocol::record::{self, Record};
use stdx::Timestamp;

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
}

/// The body of a message.
pub(crate) fn body(number: u64) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(8 + (number * 37 % 400) as usize, number as u8);
    body
}

/// What counts of a record. Its body is what was sent.
pub(crate) fn known(record: &Record<'_>) -> Known {
    let bytes = record.body();
    let number = bytes.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    let number = number.unwrap_or_else(|| panic!("nobody sent the body {bytes:?}"));
    assert!(bytes == body(number), "the body of message {number} is not what was sent");
    let real = record.property(properties::REAL_TOPIC).map(str::to_owned);
    let queue = record.property(properties::REAL_QID).and_then(|text| text.parse().ok());
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
    }
}

/// What a client is given: records in slices.
pub(crate) fn records(slices: &[bytes::Bytes]) -> Vec<Vec<u8>> {
    let all = slices.iter().flat_map(|slice| record::iterate(slice));
    all.map(|record| record.unwrap_or_else(|e| panic!("a batch is broken: {e}")).raw().to_vec()).collect()
}
