// SPDX-License-Identifier: Apache-2.0
//! Light queues among the views: entries for a record in other queues than its own. Called for every record that lists
//! some, on its way through dispatch or replay.
//! Invariants: a light queue is a queue like any other, and follows from the log alone; a record that names an offset
//! which cannot be the next one (a copy of a message, or what a client made up for an older server) is not in that queue,
//! and harms nobody: it was given none there.

use protocol::light;
use protocol::names::{QueueId, QueueOffset};
use protocol::record::Record;

use super::marks::Light;
use super::{Applied, Arrival, ViewError, Views};
use crate::queue::{Entry, QueueRef};
use crate::queues::QueueLimit;

impl Views {
    /// Adds the record to the light queues that it lists.
    pub(super) fn apply_light(
        &self,
        applied: &mut Applied,
        record: &Record<'_>,
        list: &Light<'_>,
        entry: &Entry,
        mut arrivals: Option<&mut Vec<Arrival>>,
    ) -> Result<(), ViewError> {
        if !light::is_read_from(record.topic()) {
            return Ok(());
        }
        for (index, (name, offset)) in light::assigned(list.names, list.offsets).enumerate() {
            let (index, offset) = (index + 1, QueueOffset(offset));
            let queue = match self.enter_light(applied, name, offset, entry, index) {
                Ok(Some(queue)) => queue,
                Ok(None) => continue,
                Err(error @ ViewError::NotContiguous { .. }) => {
                    tracing::warn!(%error, "a record is not in a light queue that it names");
                    continue;
                }
                Err(error) => return Err(error),
            };
            if list.expires {
                queue.0.note_expiring(offset);
            }
            if let Some(arrivals) = arrivals.as_deref_mut() {
                arrivals.push(Arrival { next: queue.dispatched(), queue, tag_hash: entry.tag_hash });
            }
        }
        Ok(())
    }

    /// Answers `None` when the queue stands in the list twice. Behind damage, an offset that goes back says that the queue was
    /// removed and began again; see [`Views::replay`].
    fn enter_light(
        &self,
        applied: &mut Applied,
        name: &str,
        offset: QueueOffset,
        entry: &Entry,
        index: usize,
    ) -> Result<Option<QueueRef>, ViewError> {
        let queue = self.queues.for_dispatch(name, QueueId(0));
        match self.enter(applied, &queue, (offset, 1), entry, index) {
            Err(ViewError::NotContiguous { .. }) if queue.0.anchor() == entry.log => Ok(None),
            Err(ViewError::NotContiguous { expected, found, .. }) if applied.is_torn && found < expected => {
                tracing::warn!(offset = entry.log.0, name, "damage took the removal of a light queue");
                self.remove_topic(applied, name, entry.log);
                let queue = self.queues.for_dispatch(name, QueueId(0));
                self.enter(applied, &queue, (offset, 1), entry, index)?;
                Ok(Some(queue))
            }
            outcome => outcome.map(|()| Some(queue)),
        }
    }

    /// Finds a light queue or makes it, unless there are `max` of them.
    pub(crate) fn light(&self, name: &str, max: usize) -> Result<QueueRef, QueueLimit> {
        self.queues.light(name, max)
    }

    /// Finds a light queue or makes it.
    pub(crate) fn light_anyway(&self, name: &str) -> QueueRef {
        self.queues.light_anyway(name)
    }

    /// How many light queues there are.
    pub(crate) fn light_count(&self) -> usize {
        self.queues.light_count()
    }
}
