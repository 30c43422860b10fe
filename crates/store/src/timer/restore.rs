// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Puts what waits together again from the parts of a checkpoint.
//! In: topics by number, slots and changes as the checkpoint has them: nearly all of them in due order, as a full one
//! is, the rest in runs. Out: what waited, or why it cannot be.
//! Invariant: of the changes of one slot the last one counts.

use std::sync::Arc;

use super::pending::{Change, Pending, Slot};
use super::table::Build;

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Restore {
    topics: Vec<Arc<str>>,
    /// The slots of the full checkpoint.
    full: Build,
    last: Option<Slot>,
    /// What changed since.
    changes: Vec<Change>,
}

impl Restore {
    /// Topic `number` is called `name`. What changed while a full checkpoint was written names topics again.
    pub(crate) fn topic(&mut self, number: usize, name: &str) -> Result<(), String> {
        match self.topics.get(number) {
            Some(known) if **known == *name => Ok(()),
            None if number == self.topics.len() => {
                self.topics.push(name.into());
                Ok(())
            }
            _ => Err(format!("topic {number} of the timers is named out of order")),
        }
    }

    /// Takes the next slots.
    pub(crate) fn take(&mut self, changes: Vec<Change>) {
        let mut rest = changes.into_iter().peekable();
        if self.changes.is_empty() {
            while let Some(Change { slot, topic: Some(topic) }) = rest.next_if(|next| self.continues(next)) {
                self.full.push(slot, topic);
                self.last = Some(slot);
            }
        }
        self.changes.extend(rest);
    }

    fn continues(&self, next: &Change) -> bool {
        next.topic.is_some() && self.last < Some(next.slot)
    }

    /// What waits.
    pub(crate) fn finish(self) -> Result<Pending, String> {
        let mut table = self.full.finish();
        table.merge(&in_order(self.changes));
        Pending::restored(self.topics, table).map_err(str::to_owned)
    }
}

/// Puts changes in the order of their slots, and keeps only the last one of each.
pub(crate) fn in_order(mut changes: Vec<Change>) -> Vec<Change> {
    // Stable, and quick where runs are in order already.
    changes.sort_by_key(|change| change.slot);
    changes.dedup_by(|later, earlier| {
        let is_same = later.slot == earlier.slot;
        if is_same {
            *earlier = *later;
        }
        is_same
    });
    changes
}
