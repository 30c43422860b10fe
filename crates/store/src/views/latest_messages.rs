// SPDX-License-Identifier: Apache-2.0
//! The latest message of each key among the views: a fact that the message's own record puts, and that a newer message, or
//! the same one written again, replaces. So checkpoint and replay are those of facts. Called for every record on its way
//! through dispatch or replay, and by retention.
//! Invariant, asserted by [`Views::check`]: the queues know exactly what the facts say.

use protocol::names::{LogOffset, QueueId, QueueOffset};
use protocol::record::Record;

use super::{Applied, ViewError, Views};
use crate::facts::FactKind;
use crate::latest::{self, Place};
use crate::queue::latest::Latest;
use crate::queue::{Entry, QueueRef};

impl Views {
    /// Applies what a record says about the latest of its key. True when it said something.
    pub(super) fn apply_latest(&self, record: &Record<'_>, queue: &QueueRef, entry: Entry) -> bool {
        let Some(key) = latest::told(record) else { return false };
        let known = self.facts.settled_value(FactKind::LATEST, &key).and_then(|value| Place::decode(&value));
        if let Some(now) = latest::after(known, Place::of(record, entry)) {
            self.facts.apply(FactKind::LATEST, &key, Some(&now.encode()), entry.log);
            queue.0.latest_or_new().put(&now, known.map(|known| known.offset));
        }
        true
    }

    /// Tells the queues what the facts of a checkpoint say.
    pub(super) fn restore_latest(&self) {
        for (key, value) in self.facts.list(FactKind::LATEST) {
            if let (Some((topic, queue)), Some(place)) = (latest::queue_of(&key), Place::decode(&value)) {
                self.queues.for_dispatch(topic, queue).0.latest_or_new().put(&place, None);
            }
        }
    }

    /// Forgets the latest messages of a topic that was removed by the record at `at`.
    pub(super) fn forget_latest(&self, topic: &str, at: LogOffset) {
        if self.latest_count() > 0 {
            let keys = self.facts.select(FactKind::LATEST, &latest::front(topic), |_, _| true);
            keys.iter().for_each(|key| self.facts.apply(FactKind::LATEST, key, None, at));
        }
    }

    /// Forgets what lay below the log's new start, `first`: keys that were ended, and what damage took before it could be
    /// written again.
    pub(super) fn retain_latest(&self, applied: &Applied, first: LogOffset) {
        let dropped =
            self.latest_queues().into_iter().filter_map(|queue| Some(queue.0.latest()?.drop_below(first)));
        let (gone, lost) = dropped.fold((0, 0), |sum, (gone, lost)| (sum.0 + gone, sum.1 + lost));
        if gone == 0 {
            return;
        }
        let is_gone =
            |_: &[u8], value: &[u8]| Place::decode(value).is_none_or(|place| place.entry.log < first);
        let keys = self.facts.select(FactKind::LATEST, b"", is_gone);
        keys.iter().for_each(|key| self.facts.apply(FactKind::LATEST, key, None, applied.upto));
        // A replay meets what was written again later on.
        if lost > 0 && applied.is_live {
            tracing::error!(lost, start = first.0, "latest messages of keys are gone with the log's start");
        }
    }

    /// The queues that keep the latest message of each key, once any has one.
    pub(crate) fn latest_queues(&self) -> Vec<QueueRef> {
        let mut all = Vec::new();
        if self.latest_count() > 0 {
            let keeps = |queue: &QueueRef| queue.keeps_latest();
            self.queues.each_topic(|topic| all.extend(topic.queues().into_iter().filter(keeps)));
        }
        all
    }

    /// How many keys have a latest message.
    pub(crate) fn latest_count(&self) -> usize {
        self.facts.count(FactKind::LATEST)
    }

    /// True when a message with these keys has been dispatched, and none has ended them for good.
    pub(crate) fn knows_keys(&self, topic: &str, queue: QueueId, keys: &str) -> bool {
        self.facts.has_settled(FactKind::LATEST, &latest::fact_key(topic, queue, keys))
    }

    /// Appends up to `count` entries of a queue at `from..to` that are to be shown, and the offset of each: below the edge,
    /// only the latest of each key. Fewer than `count` are all there are, unless some part of the queue ends before.
    pub(crate) fn shown(
        &self,
        queue: &QueueRef,
        latest: &Latest,
        (from, to): (QueueOffset, QueueOffset),
        count: usize,
        out: &mut Vec<Entry>,
        offsets: &mut Vec<u64>,
    ) {
        loop {
            out.clear();
            offsets.clear();
            let first = queue.dense_first();
            let edge = first.0.max(latest.edge());
            latest.range(from.0, edge.min(to.0), count, out, offsets);
            let (dense, had) = (from.0.max(edge), out.len());
            let left = (count - had).min(to.0.saturating_sub(dense) as usize);
            self.entries(queue, QueueOffset(dense), left, out);
            offsets.extend((dense..).take(out.len() - had));
            // Retention passed by: what was dense is among the latest now, or gone.
            if queue.dense_first() == first {
                return;
            }
        }
    }

    /// Looks whether the queues know exactly what the facts say.
    pub(super) fn check_latest(&self) -> Result<(), ViewError> {
        let damaged = |what: String| Err(ViewError::damaged(&self.config.dir, what));
        let facts = self.facts.list(FactKind::LATEST);
        for (key, value) in &facts {
            let (Some((topic, queue)), Some(place)) = (latest::queue_of(key), Place::decode(value)) else {
                return damaged("the latest message of a key cannot be read".to_owned());
            };
            let found = self.find_queue(topic, queue);
            if !found.is_some_and(|queue| queue.0.latest().is_some_and(|latest| latest.has(&place))) {
                return damaged(format!("{topic}/{} does not know of {place:?}", queue.0));
            }
        }
        let mut known = 0;
        self.queues.each_topic(|topic| {
            known += topic.queues().iter().filter_map(|queue| Some(queue.0.latest()?.len())).sum::<usize>();
        });
        match known == facts.len() {
            true => Ok(()),
            false => damaged(format!("queues know {known} latest messages, there are {}", facts.len())),
        }
    }
}
