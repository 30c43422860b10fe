// SPDX-License-Identifier: Apache-2.0
//! What dispatch needs to know of plain messages, told by whoever appends them: it has the message at hand and its queue,
//! and dispatch would have to read the record and to look for the queue again. Nearly every message is plain; of the rest,
//! and of plain ones when dispatch is far behind, there is no hint, and dispatch reads their records.
//! Filled by the sequencer under the append lock, emptied by dispatch.
//! Invariants: hints lie in the order of the log; when a record is written, its hint is here if it has one; applying a hint
//! changes the views as applying its record does (tested over many messages).

use std::collections::VecDeque;

use parking_lot::Mutex;
use protocol::names::{LogOffset, QueueOffset};
use protocol::record::{INNER_BATCH, KEEPS_LATEST, Message, TRANSACTION_MASK};
use stdx::Timestamp;

use crate::append::Appended;
use crate::keys::KeyEntry;
use crate::keys::hash;
use crate::queue::{Entry, QueueRef};
use crate::views::marks::Marks;

/// Hints that wait at most; two lists of them are a few megabytes.
const MOST: usize = 1 << 15;
/// Keys of a plain message: the client's own, and one of the application.
const KEYS: usize = 2;

/// What a plain message says, before it has a place.
pub(crate) struct Said {
    queue: QueueRef,
    tag_hash: i64,
    keys: [u64; KEYS],
    key_count: u8,
    /// Which of the records of its append it is.
    record: u32,
}

/// One plain message of the log.
pub(crate) struct Hint {
    pub(crate) at: LogOffset,
    said: Said,
    size: u32,
    pub(crate) offset: QueueOffset,
    stored_at: Timestamp,
}

impl Said {
    /// Answers `None` for a message that says more than a plain one.
    pub(crate) fn of(message: &Message<'_>, queue: &QueueRef, record: usize) -> Option<Said> {
        const MORE: i32 = TRANSACTION_MASK | KEEPS_LATEST | INNER_BATCH;
        if message.sys_flag & MORE != 0 || message.prepared.0 != 0 {
            return None;
        }
        let topic_hash = queue.0.plain_topic()?;
        let marks = Marks::of(message.properties);
        if marks.light().is_some() || marks.expires() {
            return None;
        }
        let (mut keys, mut key_count) = ([0; KEYS], 0);
        for key in marks.keys() {
            *keys.get_mut(key_count)? = hash::of_key(topic_hash, key);
            key_count += 1;
        }
        let tag_hash = marks.tag_hash();
        Some(Said { queue: queue.clone(), tag_hash, keys, key_count: key_count as u8, record: record as u32 })
    }
}

impl Hint {
    /// One past its record.
    pub(crate) fn end(&self) -> LogOffset {
        LogOffset(self.at.0 + u64::from(self.size))
    }

    pub(crate) fn queue(&self) -> &QueueRef {
        &self.said.queue
    }

    pub(crate) fn into_queue(self) -> QueueRef {
        self.said.queue
    }

    pub(crate) fn entry(&self) -> Entry {
        Entry { log: self.at, size: self.size, tag_hash: self.said.tag_hash }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = KeyEntry> + '_ {
        let (log, stored_at) = (self.at.0, self.stored_at.0);
        let keys = &self.said.keys[..usize::from(self.said.key_count)];
        keys.iter().map(move |&hash| KeyEntry { hash, log, stored_at })
    }
}

/// The hints that dispatch has not taken yet.
#[derive(Default)]
pub(crate) struct Hints(Mutex<VecDeque<Hint>>);

impl Hints {
    /// Adds those of one append, whose records end at `ends` behind its start. To be called under the append lock.
    pub(crate) fn push(&self, appended: &Appended, ends: &[(usize, QueueOffset)], said: &mut Vec<Said>) {
        if said.is_empty() {
            return;
        }
        let mut hints = self.0.lock();
        if hints.len() + said.len() > MOST {
            return;
        }
        hints.extend(said.drain(..).map(|said| {
            let record = said.record as usize;
            let start = record.checked_sub(1).map_or(0, |before| ends[before].0);
            let (end, offset) = ends[record];
            let at = LogOffset(appended.start.0 + start as u64);
            Hint { at, said, size: (end - start) as u32, offset, stored_at: appended.stored_at }
        }));
    }

    /// Moves all to `empty`.
    pub(crate) fn take(&self, empty: &mut VecDeque<Hint>) {
        debug_assert!(empty.is_empty());
        std::mem::swap(&mut *self.0.lock(), empty);
    }
}
