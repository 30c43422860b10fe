// SPDX-License-Identifier: Apache-2.0
//! Messages that wait for their time outlive the segment that they lie in: before retention removes it, each that still
//! waits is appended again, as a record that takes the place of the old one. Called by retention.
//! Invariants: old and new record never both wait, as the new one ends the old one; nobody delivers or moves one
//! while it is carried; a segment is removed only when nothing in it waits any more.

use std::borrow::Cow;

use bytes::Bytes;
use protocol::names::{LogOffset, QueueId, TIMER_TOPIC, TopicName};
use protocol::properties::{self, PropertiesOut};
use protocol::record::{Message, Record};

use super::Store;
use crate::append;
use crate::error::AppendError;
use crate::timer::{Hold, Slot, hop};

/// How many are written again at a time, and how many bytes at most unless one alone is larger.
const TOGETHER: usize = 64;
const TOGETHER_BYTES: usize = 1 << 20;

impl Store {
    /// Writes again what waits below `end`. True once nothing waits there: what was written now counts when it has
    /// been dispatched.
    pub(super) fn carry_timers(&self, end: u64) -> bool {
        let timers = self.views.timers();
        let waiting = timers.below(LogOffset(end));
        for slots in waiting.chunks(TOGETHER) {
            let mine: Vec<Slot> =
                slots.iter().copied().filter(|slot| timers.hold(*slot) == Hold::Held).collect();
            if let Err(error) = self.carry_some(&mine) {
                tracing::warn!(%error, "messages that wait for their time keep a segment for now");
                return false;
            }
        }
        if !waiting.is_empty() {
            tracing::info!(
                count = waiting.len(),
                end,
                "messages that wait for their time were written again"
            );
        }
        waiting.is_empty()
    }

    /// Writes the records of some slots again. What could not be written is let go of.
    fn carry_some(&self, slots: &[Slot]) -> Result<(), AppendError> {
        let max = self.log.append_max().min(TOGETHER_BYTES);
        let mut from = 0;
        let mut bytes = 0;
        let mut records: Vec<Bytes> = Vec::new();
        for (index, slot) in slots.iter().enumerate() {
            let Ok(Some(record)) = self.record_at(slot.at) else {
                // Damage took it: there is nothing left to deliver, and nothing to keep the segment for.
                tracing::error!(offset = slot.at.0, "a message that waited for its time was lost to damage");
                self.views.timers().forget(*slot);
                records.push(Bytes::new());
                continue;
            };
            // A record is at most a little longer where it goes than where it comes from.
            if bytes + record.len() > max && bytes > 0 {
                self.carry_records(&slots[from..index], &records)
                    .inspect_err(|_| self.release(&slots[from..]))?;
                (from, bytes) = (index, 0);
                records.clear();
            }
            bytes += record.len();
            records.push(record);
        }
        self.carry_records(&slots[from..], &records).inspect_err(|_| self.release(&slots[from..]))
    }

    fn release(&self, slots: &[Slot]) {
        self.views.timers().release(slots);
    }

    fn carry_records(&self, slots: &[Slot], records: &[Bytes]) -> Result<(), AppendError> {
        self.health.admit_upkeep()?;
        let topic = TopicName::stored(TIMER_TOPIC);
        let queue = self.views.queue(&topic, QueueId(0)).map_err(|_| AppendError::Removed)?;
        append::with_buffer(|encoded| {
            let mut count = 0;
            for (slot, bytes) in slots.iter().zip(records).filter(|(_, bytes)| !bytes.is_empty()) {
                let record = Record::parse(bytes).expect("record_at returns whole records");
                encoded.push(&again(&record, slot.at, &topic, &properties_of(&record)))?;
                count += 1;
            }
            match count {
                0 => Ok(()),
                _ => self.sequence(encoded, std::iter::repeat_n(&queue, count), |_| {}).map(drop),
            }
        })
    }
}

/// Its properties without the time that it had before it was moved: what the new record ends had the same time.
fn properties_of<'a>(record: &Record<'a>) -> Cow<'a, [u8]> {
    if record.property(properties::TIMER_WAS_MS).is_none() {
        return Cow::Borrowed(record.properties());
    }
    let mut out = PropertiesOut::from_text(record.properties_text());
    out.remove(properties::TIMER_WAS_MS);
    Cow::Owned(out.as_str().as_bytes().to_vec())
}

/// The record at `at` once more, in its place.
fn again<'a>(record: &Record<'a>, at: LogOffset, topic: &'a TopicName, properties: &'a [u8]) -> Message<'a> {
    Message { prepared: hop::origin_mark(at), ..Message::again(record, topic, QueueId(0), properties) }
}
