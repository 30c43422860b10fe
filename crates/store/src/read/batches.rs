// SPDX-License-Identifier: Apache-2.0
//! Inner batches in a read: records that have several offsets, each with the same entry. A record is given whole or not at
//! all, and counts as many messages as it holds.
//! Called by the read of a queue that has, or may have, such records; others are read as if there were none.

use protocol::inner;
use protocol::names::QueueOffset;
use protocol::record::Record;

use super::Gather;
use crate::error::ReadError;
use crate::queue::{Entry, QueueRef};

impl Gather<'_> {
    /// How many of `entries`, which begin at `at`, are of records with one offset, before the first that has more.
    pub(super) fn singles(&self, queue: &QueueRef, at: QueueOffset, entries: &[Entry]) -> usize {
        let is_batch = |pair: &[Entry]| pair[0].log == pair[1].log && !pair[0].is_hole();
        if let Some(singles) = entries.windows(2).position(is_batch) {
            return singles;
        }
        let last = entries.len() - 1;
        let place = QueueOffset(at.0 + last as u64);
        // What follows the last one was not read.
        let is_cut = self.source.views.batch_end(queue, place).0 > place.0 + 1;
        if is_cut { last } else { entries.len() }
    }

    /// Takes the batch whose offsets begin at `at`, unless what was taken before leaves no room; returns the offset behind
    /// it, or `at` again when it was not dealt with.
    pub(super) fn take_batch(
        &mut self,
        queue: &QueueRef,
        at: QueueOffset,
        entry: &Entry,
        steps: &mut usize,
    ) -> (QueueOffset, Result<(), ReadError>) {
        let end = self.source.views.batch_end(queue, at);
        let messages = (end.0 - at.0) as usize;
        let fits = self.count + messages <= self.limit.messages
            && self.bytes + entry.size as usize <= self.limit.bytes;
        if self.count > 0 && !fits {
            return (at, Ok(()));
        }
        let before = self.count;
        let (dealt, outcome) = self.take_some(queue, at, std::slice::from_ref(entry), steps);
        if self.count > before
            && let Some(Ok(record)) = self.out.last().map(|bytes| Record::parse(bytes))
        {
            // What is given counts, also where a disk lost entries.
            self.count += inner::taken(&record) as usize - 1;
        }
        (if dealt > 0 { end } else { at }, outcome)
    }
}
