// SPDX-License-Identifier: Apache-2.0
//! The offsets in light queues that a record names in its own text. Outside the append lock the text is written with room
//! for as many digits as the offsets will have; under the lock, where they are decided, the digits are filled in. Only
//! when one has become longer meanwhile, say 10 after 9, the records are encoded anew.
//! Called by `Store::append_light` and by the sequencer. Text of a record is not part of its checksum.
//! Invariants: the offsets of a light queue are handed out in log order, gapless, like those of any queue; a record takes
//! one offset of a queue that it names twice.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use protocol::record::Message;
use protocol::{caps, light, properties};

use super::{Draft, Encoded};
use crate::error::AppendError;
use crate::queue::QueueRef;

/// Offsets to be written into records, in the order of the records.
#[derive(Default)]
pub(super) struct Numbers {
    list: Vec<Number>,
    /// The first that is not filled in.
    next: usize,
}

/// One offset in the text of a record.
struct Number {
    queue: QueueRef,
    /// The record that it stands in.
    record: usize,
    /// Where its digits stand among the encoded bytes, and how many they are.
    at: usize,
    width: usize,
    /// How many offsets of its queue the same append takes before it.
    ahead: u64,
    /// The queue stands twice in one list; the offset is that of the first time.
    is_again: bool,
}

/// How many offsets an append takes of each queue so far.
#[derive(Default)]
pub(crate) struct Counted(HashMap<usize, u64>);

impl Counted {
    /// Counts one more; returns how many there were.
    fn add(&mut self, queue: &QueueRef) -> u64 {
        let count = self.0.entry(Arc::as_ptr(&queue.0) as usize).or_default();
        *count += 1;
        *count - 1
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

    /// Hands out the offsets of a record and writes them down. Under the append lock, for record after record.
    pub(super) fn fill(&mut self, record: usize, bytes: &mut [u8]) {
        while let Some(number) = self.list.get(self.next).filter(|number| number.record == record) {
            let offset = match number.is_again {
                false => number.queue.reserve(1).0,
                // Nothing else was taken of the queue since this record took its one.
                true => number.queue.next().0 - 1,
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

fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

impl Draft<'_> {
    /// True when it goes to light queues.
    pub(crate) fn lists_light(&self) -> bool {
        list(self).is_some()
    }
}

/// The names that the message of `draft` lists, if it goes to light queues.
fn list<'a>(draft: &Draft<'a>) -> Option<&'a str> {
    let text = str::from_utf8(draft.message.properties).ok()?;
    let list = properties::get(text, properties::INNER_MULTI_DISPATCH)?;
    (light::is_written_from(&draft.queue.key().topic) && !list.trim().is_empty()).then_some(list)
}

impl Encoded {
    /// Adds a message, and to its text its offsets in light queues if it lists any. `queue` finds or makes one.
    pub(crate) fn push_light(
        &mut self,
        draft: &Draft<'_>,
        counted: &mut Counted,
        queue: impl Fn(&str) -> QueueRef,
    ) -> Result<(), AppendError> {
        counted.add(draft.queue);
        let Some(list) = list(draft) else { return self.push(&draft.message) };
        let (record, first) = (self.ends.len(), self.numbers.list.len());
        let mut text = String::from_utf8_lossy(draft.message.properties).into_owned();
        if !text.ends_with(properties::VALUE_END) {
            text.push(properties::VALUE_END);
        }
        text += properties::INNER_MULTI_QUEUE_OFFSET;
        text.push(properties::NAME_END);
        for (index, name) in light::names(list).enumerate() {
            if index > 0 {
                text.push(light::SEPARATOR);
            }
            // A message from Apache's log may list what is no light queue: it has no offset there either.
            if light::check(name).is_err() {
                continue;
            }
            let queue = queue(name);
            let earlier = self.numbers.list[first..].iter().find(|known| known.queue.is_same(&queue));
            let (is_again, ahead) = match earlier {
                Some(known) => (true, known.ahead),
                None => (false, counted.add(&queue)),
            };
            let (at, expected) = (text.len(), queue.next().0 + ahead);
            write!(text, "{expected}").expect("a string takes everything");
            let width = text.len() - at;
            self.numbers.list.push(Number { queue, record, at, width, ahead, is_again });
        }
        text.push(properties::VALUE_END);
        if text.len() > caps::MAX_PROPERTIES {
            // Sends are judged by this; only a message of an older log can come here.
            tracing::error!(topic = %draft.queue.key().topic, "a message has no room for its light queues");
            self.numbers.list.truncate(first);
            return self.push(&draft.message);
        }
        self.push(&Message { properties: text.as_bytes(), ..draft.message })?;
        // The text is the end of a record.
        let shift = self.bytes.len() - text.len();
        self.numbers.list[first..].iter_mut().for_each(|number| number.at += shift);
        Ok(())
    }
}
