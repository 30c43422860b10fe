// SPDX-License-Identifier: Apache-2.0
//! What happens to the views when the log loses its oldest segments. Before: everything that only those segments
//! prove is handed out to be written again, so that the log alone can always rebuild the views. After: entries and
//! runs that point below the new start are forgotten.

use protocol::names::LogOffset;

use super::{ViewError, Views};
use crate::facts::FactChange;
use crate::queue::{QueueRef, Retained};

const STRIDE: usize = 256;

impl Views {
    /// Facts and queue offsets that records below `first` prove and no later record does. The caller appends them as
    /// a facts record, makes it durable, and only then cuts the log; between this call and the append nobody else
    /// may put facts, so that no older value comes to lie behind a newer one.
    pub(crate) fn carry(&self, first: LogOffset) -> Vec<FactChange> {
        let mut changes = self.facts.below(first);
        self.queues.each_topic(|topic| {
            for queue in topic.queues() {
                let anchor = queue.0.anchor();
                let next = queue.dispatched().0;
                if next > 0 && anchor < first && !queue.is_detached() {
                    changes.push(FactChange::queue_next(topic.name(), queue.key().queue.0, next));
                }
            }
        });
        changes
    }

    /// Forgets what points below `first`, where the log starts now: first offsets rise, parts of the arena and runs of
    /// the key index are given up.
    pub(crate) fn retain(&self, first: LogOffset) {
        let mut batch: Vec<QueueRef> = Vec::with_capacity(STRIDE);
        self.queues.each_topic(|topic| {
            batch.extend(topic.queues());
            if batch.len() >= STRIDE {
                self.retain_queues(&mut batch, first);
            }
        });
        self.retain_queues(&mut batch, first);
        let gone = self.keys.retain(first);
        self.saver.lock().dropped_runs.extend(gone);
        let lost = self.timers.retain(first);
        if lost > 0 {
            tracing::error!(
                lost,
                start = first.0,
                "messages that waited for their time are gone with the log's start"
            );
        }
        let mut applied = self.applied.lock();
        self.retain_latest(&applied, first);
        applied.first = applied.first.max(first);
    }

    fn retain_queues(&self, batch: &mut Vec<QueueRef>, first: LogOffset) {
        let mut freed = Vec::new();
        let changed: Vec<QueueRef> = batch
            .drain(..)
            .filter(|queue| queue.0.retain(&self.arena, first, &mut freed) == Retained::Dirtied)
            .collect();
        self.applied.lock().dirty.extend(changed);
        self.arena.give(&freed);
    }

    /// Where the log started when the views last heard of it.
    pub(crate) fn first(&self) -> LogOffset {
        self.applied.lock().first
    }

    /// Asserts what holds between two records.
    pub(crate) fn check(&self) -> Result<(), ViewError> {
        self.timers.with(|pending| pending.check());
        let mut unsound = None;
        self.queues.each_topic(|topic| {
            unsound = unsound.take().or(topic.queues().into_iter().find(|queue| !queue.0.is_sound()));
        });
        match unsound {
            None => self.check_latest(),
            Some(queue) => Err(ViewError::damaged(&self.config.dir, format!("{queue:?} is not sound"))),
        }
    }
}
