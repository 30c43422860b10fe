// SPDX-License-Identifier: Apache-2.0
//! Undecided transactions among the views: each open half message is a fact that its own record puts and the record
//! that decides it removes. So checkpoint, replay and carrying at retention are those of facts. Called for every record
//! on its way through dispatch or replay.
//! Invariants: what is open depends on the log alone, also on one that lost its beginning; nothing opens a half message
//! again that was decided.

use protocol::names::{HALF_TOPIC, LogOffset, QueueId, QueueOffset};
use protocol::record::Record;

use super::{Applied, Views};
use crate::facts::FactKind;
use crate::halves::{self, Half, Seen, Told};

impl Views {
    /// Applies what a record says about half messages. True when it said something.
    pub(super) fn apply_half(&self, applied: &mut Applied, record: &Record<'_>, at: LogOffset) -> bool {
        let Some(told) = halves::told(record, at) else { return false };
        match told {
            Told::Began(half) => self.began(applied, &half, at),
            Told::Ended(id) => self.ended(applied, id, at),
            Told::EndedAt(offsets) => {
                let ids = offsets.into_iter().filter_map(|offset| self.half_at(offset));
                ids.for_each(|id| self.ended(applied, id, at));
            }
            Told::Parked(id) => {
                if let Some(half) = self.half(id) {
                    self.keep(id, &Half { parked: true, ..half }.encode(), at);
                }
            }
        }
        true
    }

    fn began(&self, applied: &mut Applied, half: &Seen<'_>, at: LogOffset) {
        let is_first = half.id == at;
        // One that is written again may have been decided just before. Whoever saw its first record knows; whoever has
        // a log that begins behind that has met the decision.
        let is_cut = half.id < applied.first && !applied.ended.contains(&half.id);
        if is_first || is_cut || self.facts.has_settled(FactKind::HALF, &Half::key(half.id)) {
            self.keep(half.id, &half.encode(), at);
        }
    }

    fn ended(&self, applied: &mut Applied, id: LogOffset, at: LogOffset) {
        let was_open = self.facts.end(FactKind::HALF, &Half::key(id), at);
        if !was_open && id < applied.first && !applied.is_live {
            applied.ended.insert(id);
        }
    }

    /// Applies another state of a half message. It opens none.
    pub(super) fn change_half(&self, key: &[u8], value: Option<&[u8]>, at: LogOffset) {
        if self.facts.has_settled(FactKind::HALF, key) {
            self.facts.apply(FactKind::HALF, key, value, at);
        }
    }

    fn keep(&self, id: LogOffset, value: &[u8], at: LogOffset) {
        self.facts.apply(FactKind::HALF, &Half::key(id), Some(value), at);
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
