// SPDX-License-Identifier: Apache-2.0
//! Queue offsets that a record names in its own text: those in light queues, and the first one of an inner batch. Outside
//! the append lock the text is written with room for as many digits as the offsets will have; under the lock, where they
//! are decided, the digits are filled in. Only when one has become longer meanwhile, say 10 after 9, the records are
//! encoded anew.
//! Called by the sequencer. Text of a record is not part of its checksum.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::names::QueueOffset;
use protocol::record::Message;

use super::{Draft, Encoded};
use crate::error::AppendError;
use crate::queue::QueueRef;

/// Offsets to be written into records, in the order of the records.
#[derive(Default)]
pub(super) struct Numbers {
    pub(super) list: Vec<Number>,
    /// The first that is not filled in.
    next: usize,
}

/// One offset in the text of a record.
pub(super) struct Number {
    pub(super) queue: QueueRef,
    /// The record that it stands in.
    pub(super) record: usize,
    /// Where its digits stand among the encoded bytes, and how many they are.
    pub(super) at: usize,
    pub(super) width: usize,
    /// How many offsets of its queue the same append takes before it.
    pub(super) ahead: u64,
    pub(super) kind: Kind,
}

/// Whose offset it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// That of the record itself, which takes so many.
    Own { count: u64 },
    /// One of a light queue.
    Light,
    /// One of a light queue that stands twice in one list; the offset is that of the first time.
    Again,
}

/// How many offsets an append takes of each queue so far.
#[derive(Default)]
pub(crate) struct Counted(HashMap<usize, u64>);

impl Counted {
    /// Counts `more`; returns how many there were.
    pub(super) fn add(&mut self, queue: &QueueRef, more: u64) -> u64 {
        let count = self.0.entry(Arc::as_ptr(&queue.0) as usize).or_default();
        *count += more;
        *count - more
    }
}

impl Numbers {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.next = 0;
    }

    /// True when every offset, as it would be handed out now, fits the room that was left for it. Under the append lock.
    pub(super) fn fit(&self) -> bool {
        self.list.iter().all(|number| {
            !number.queue.is_detached() && digits(number.queue.next().0 + number.ahead) == number.width
        })
    }

    /// How many offsets of its queue a record takes. Under the append lock, for record after record.
    pub(super) fn taken_by(&self, record: usize) -> u64 {
        match self.list.get(self.next) {
            Some(Number { kind: Kind::Own { count }, record: of, .. }) if *of == record => *count,
            _ => 1,
        }
    }

    /// Hands out the offsets of a record in light queues, and writes down all that it names. `own` is its offset in its
    /// queue. Under the append lock, for record after record.
    pub(super) fn fill(&mut self, record: usize, own: QueueOffset, bytes: &mut [u8]) {
        while let Some(number) = self.list.get(self.next).filter(|number| number.record == record) {
            let offset = match number.kind {
                Kind::Own { .. } => own.0,
                Kind::Light => number.queue.reserve(1).0,
                // Nothing else was taken of the queue since this record took its one.
                Kind::Again => number.queue.next().0 - 1,
            };
            let mut left = offset;
            for digit in bytes[number.at..number.at + number.width].iter_mut().rev() {
                *digit = b'0' + (left % 10) as u8;
                left /= 10;
            }
            assert_eq!(left, 0, "the offset was looked at before");
            self.next += 1;
        }
    }
}

impl Encoded {
    /// Adds a message that names no offset, next to such as do.
    pub(crate) fn push_counted(
        &mut self,
        draft: &Draft<'_>,
        counted: &mut Counted,
    ) -> Result<(), AppendError> {
        counted.add(draft.queue, 1);
        self.push(&draft.message)
    }

    /// Adds a message with another text, in which the numbers from `first` on stand.
    pub(super) fn push_text(
        &mut self,
        draft: &Draft<'_>,
        text: &str,
        first: usize,
    ) -> Result<(), AppendError> {
        self.push(&Message { properties: text.as_bytes(), ..draft.message })?;
        // The text is the end of a record.
        let shift = self.bytes.len() - text.len();
        self.numbers.list[first..].iter_mut().for_each(|number| number.at += shift);
        Ok(())
    }
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}
