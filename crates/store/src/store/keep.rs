// SPDX-License-Identifier: Apache-2.0
//! Topics that keep the latest message of each key for ever: before retention takes a segment, each latest message in it is
//! written again, at the end of the log and with its own queue offset. And what is not the latest is not shown any more
//! after a while. Called by retention and upkeep; the broker asks whether a further key may come.
//! Invariants: a segment goes only when no latest message has its record there, the records that took their place were
//! dispatched, and they are lasting (the caller's flush); so a message is readable from its first record until the second
//! one is dispatched, and from that one afterwards. Nothing is written again for a topic that was removed.

use std::iter;
use std::sync::Arc;

use protocol::names::{LogOffset, QueueId, QueueOffset};
use protocol::record::Record;

use super::Store;
use super::steps::Upkeep;
use crate::append;
use crate::latest;
use crate::queue::{Boundary, Entry, Queue, QueueRef};

/// So many bytes are written again before retention looks anew.
const AGAIN_MAX: usize = 16 << 20;

/// What came of writing a message again.
enum Again {
    /// So many bytes.
    Written(usize),
    /// Damage took it: nothing is left to keep the segment for.
    Lost,
    /// Not now.
    Later,
}

impl Store {
    /// True when no latest message lies below `end`. Those that do are written again: they have to come through dispatch
    /// first.
    pub(super) fn latest_are_behind(&self, upkeep: &mut Upkeep, end: u64) -> bool {
        if self.marks.dispatched.get() < upkeep.kept_to {
            return false;
        }
        let (mut count, mut bytes, mut is_done) = (0, 0, true);
        for queue in self.views.latest_queues() {
            let below = queue.0.latest().map(|latest| latest.below(LogOffset(end))).unwrap_or_default();
            for (offset, entry) in below {
                if !is_done || bytes > AGAIN_MAX {
                    break;
                }
                match self.write_again(&queue, offset, entry) {
                    Again::Written(len) => (count, bytes) = (count + 1, bytes + len),
                    Again::Lost => {
                        tracing::error!(at = entry.log.0, ?queue, "damage took the latest message of a key");
                    }
                    Again::Later => is_done = false,
                }
            }
        }
        if count > 0 {
            tracing::info!(
                count,
                bytes,
                end,
                "latest messages of keys were written again, their segment goes"
            );
        }
        if count > 0 || !is_done {
            upkeep.kept_to = self.marks.written.get();
        }
        count == 0 && is_done
    }

    fn write_again(&self, queue: &QueueRef, offset: QueueOffset, entry: Entry) -> Again {
        let raw = match self.record_at(entry.log) {
            Ok(Some(raw)) => raw,
            Ok(None) => return Again::Lost,
            Err(error) => {
                tracing::warn!(%error, ?queue, "the latest message of a key keeps a segment for now");
                return Again::Later;
            }
        };
        let record = Record::parse(&raw).expect("record_at returns whole records");
        // A new record would get a new checksum.
        if record.verify_crc().is_err() {
            return Again::Lost;
        }
        // Topics are removed by facts: none is meanwhile.
        let _facts = self.facts.lock();
        if queue.is_detached() {
            return Again::Later;
        }
        let place = QueueRef(Arc::new(Queue::stand_in(queue.key().clone(), offset)));
        let written = append::with_buffer(|encoded| {
            // Also on a full disk: it makes room.
            self.health.admit_upkeep()?;
            encoded.push(&latest::again(&record, &queue.key().topic))?;
            self.sequence(encoded, iter::once(&place), |_| {})
        });
        match written {
            Ok(_) => Again::Written(raw.len()),
            Err(error) => {
                tracing::warn!(%error, ?queue, "the latest message of a key keeps a segment for now");
                Again::Later
            }
        }
    }

    /// True when a message with these keys may be kept: they are known, or there is room for further ones. Messages that
    /// are not dispatched yet do not count.
    pub fn takes_keys(&self, topic: &str, queue: QueueId, keys: &str) -> bool {
        self.views.latest_count() < self.config.keys_max || self.views.knows_keys(topic, queue, keys)
    }

    /// How many keys have a latest message that is kept.
    pub fn kept_keys(&self) -> usize {
        self.views.latest_count()
    }

    /// Hides, wherever the latest message of each key is kept, what is older than the configured time and not the latest.
    pub fn compact_step(&self) {
        let until = self.clock.now() - self.config.compact_after;
        for queue in self.views.latest_queues() {
            if let Some(latest) = queue.0.latest() {
                let mut stored_at = |at| self.stored_at_log(at);
                latest.raise_edge(self.views.offset_by_time(&queue, until, Boundary::Lower, &mut stored_at));
            }
        }
    }
}
