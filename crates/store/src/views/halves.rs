// SPDX-License-Identifier: Apache-2.0
//! Undecided transactions among the views: each open half message is a fact that its own record puts and the record
//! that decides it removes. So checkpoint, replay and carrying at retention are those of facts. Called for every record
//! on its way through dispatch or replay.
//! Invariant: what is open depends on the log alone.

use protocol::names::{HALF_TOPIC, LogOffset, QueueId, QueueOffset};
use protocol::record::Record;

use super::Views;
use crate::facts::FactKind;
use crate::halves::{self, Half, Told};

impl Views {
    /// Applies what a record says about half messages. True when it said something.
    pub(super) fn apply_half(&self, record: &Record<'_>, at: LogOffset) -> bool {
        let Some(told) = halves::told(record, at) else { return false };
        match told {
            Told::Began(half) => self.began(half, at),
            Told::Ended(id) => self.ended(id, at),
            Told::EndedAt(offsets) => {
                offsets.into_iter().filter_map(|offset| self.half_at(offset)).for_each(|id| self.ended(id, at));
            }
            Told::Parked(id) => {
                if let Some(half) = self.half(id) {
                    self.keep(&Half { parked: true, ..half }, at);
                }
            }
        }
        true
    }

    fn began(&self, half: Half, at: LogOffset) {
        if half.id == at {
            return self.keep(&half, at);
        }
        // Written again. If it was decided meanwhile, the decision stands before this record.
        if let Some(known) = self.half(half.id) {
            self.keep(&Half { log: at, ..known }, at);
        }
    }

    fn ended(&self, id: LogOffset, at: LogOffset) {
        let key = Half::key(id);
        if self.facts.has_settled(FactKind::HALF, &key) {
            self.facts.apply(FactKind::HALF, &key, None, at);
        }
    }

    fn keep(&self, half: &Half, at: LogOffset) {
        self.facts.apply(FactKind::HALF, &Half::key(half.id), Some(&half.encode()), at);
    }

    fn half(&self, id: LogOffset) -> Option<Half> {
        let key = Half::key(id);
        Half::decode(&key, &self.facts.settled_value(FactKind::HALF, &key)?)
    }

    fn half_at(&self, offset: QueueOffset) -> Option<LogOffset> {
        let queue = self.find_queue(HALF_TOPIC, QueueId(0))?;
        let mut entries = Vec::new();
        self.entries(&queue, offset, 1, &mut entries);
        // From its first offset on, where that is higher.
        let is_there = queue.first() <= offset;
        entries.first().filter(|entry| is_there && !entry.is_hole()).map(|entry| entry.log)
    }

    /// All open half messages, the oldest first.
    pub(crate) fn halves(&self) -> Vec<Half> {
        let all = self.facts.list(FactKind::HALF);
        all.iter().filter_map(|(key, value)| Half::decode(key, value)).collect()
    }
}
