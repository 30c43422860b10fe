// SPDX-License-Identifier: Apache-2.0
//! All queues, found by topic and number. Appenders and readers look up the queues as they are now; the dispatching
//! thread, which is a little behind, looks up the queues as they were when the record was appended.
//! Invariants: one handle for each queue of a topic's life; a removed topic's handles are detached first, stay
//! reachable for dispatch until its removal is dispatched, and never come back.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use protocol::light;
use protocol::names::{QueueId, QueueKey, TopicName};

use crate::keys::hash::Seeded;
use crate::queue::{Queue, QueueRef};

const SHARDS: usize = 16;

/// The store holds as many queues as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store holds {limit} queues and may not hold more")]
pub struct QueueLimit {
    /// The limit.
    pub limit: usize,
}

/// The table of queues.
pub(crate) struct Queues {
    seed: Seeded,
    shards: Vec<RwLock<HashMap<TopicName, Arc<Topic>, Seeded>>>,
    count: AtomicUsize,
    limit: usize,
    /// Topics in the shards that are light queues.
    light: AtomicUsize,
    /// Topics removed at the front, whose removal dispatch has not reached, oldest first.
    leaving: Mutex<Vec<Arc<Topic>>>,
    leaving_count: AtomicUsize,
}

/// The queues of one life of a topic, by number.
pub(crate) struct Topic {
    name: TopicName,
    queues: RwLock<Vec<QueueRef>>,
}

impl Queues {
    pub(crate) fn new(limit: usize) -> Queues {
        let seed = Seeded::default();
        Queues {
            seed,
            shards: (0..SHARDS).map(|_| RwLock::new(HashMap::with_hasher(seed))).collect(),
            count: AtomicUsize::new(0),
            limit,
            light: AtomicUsize::new(0),
            leaving: Mutex::default(),
            leaving_count: AtomicUsize::new(0),
        }
    }

    /// Finds a queue.
    pub(crate) fn find(&self, topic: &str, queue: QueueId) -> Option<QueueRef> {
        self.shard(topic).read().get(topic)?.find(queue)
    }

    /// The queues of a topic, by number.
    pub(crate) fn of_topic(&self, topic: &str) -> Vec<QueueRef> {
        self.shard(topic).read().get(topic).map(|topic| topic.queues()).unwrap_or_default()
    }

    /// Finds a queue or makes it.
    pub(crate) fn find_or_create(&self, topic: &TopicName, queue: QueueId) -> Result<QueueRef, QueueLimit> {
        if let Some(found) = self.find(topic, queue) {
            return Ok(found);
        }
        self.topic(topic).find_or_create(queue, &self.count, self.limit)
    }

    /// Finds a light queue or makes it, unless there are `max` of them.
    pub(crate) fn light(&self, name: &str, max: usize) -> Result<QueueRef, QueueLimit> {
        if let Some(found) = self.find(name, QueueId(0)) {
            return Ok(found);
        }
        if self.light.load(Ordering::Acquire) >= max {
            return Err(QueueLimit { limit: max });
        }
        self.topic(name).find_or_create(QueueId(0), &self.count, self.limit)
    }

    /// Finds a light queue or makes it, whatever the limits are: a message that waited is for it.
    pub(crate) fn light_anyway(&self, name: &str) -> QueueRef {
        let found = self.find(name, QueueId(0));
        found.unwrap_or_else(|| self.topic(name).unlimited(QueueId(0), &self.count))
    }

    /// Light queues in the table.
    pub(crate) fn light_count(&self) -> usize {
        self.light.load(Ordering::Acquire)
    }

    /// Finds a topic or makes it, without queues.
    fn topic(&self, topic: &str) -> Arc<Topic> {
        let mut shard = self.shard(topic).write();
        if let Some(entry) = shard.get(topic) {
            return entry.clone();
        }
        // A copy: what keeps a name does not keep the frame that it came in.
        let name = TopicName::stored(topic.to_owned());
        let entry = Arc::new(Topic { name: name.clone(), queues: RwLock::default() });
        self.light.fetch_add(usize::from(name.is_light()), Ordering::AcqRel);
        shard.insert(name, entry.clone());
        entry
    }

    fn gone(&self, topic: &str) {
        self.light.fetch_sub(usize::from(light::is_light(topic)), Ordering::AcqRel);
    }

    /// Finds or makes the queue that a record being dispatched belongs to.
    pub(crate) fn for_dispatch(&self, topic: &str, queue: QueueId) -> QueueRef {
        if self.leaving_count.load(Ordering::Acquire) > 0 {
            let leaving = self.leaving.lock();
            if let Some(entry) = leaving.iter().find(|entry| &*entry.name == topic) {
                return entry.unlimited(queue, &self.count);
            }
        }
        if let Some(found) = self.find(topic, queue) {
            return found;
        }
        // The record is in the log, so its queue exists whatever the limit says now.
        self.topic(topic).unlimited(queue, &self.count)
    }

    /// Detaches a topic: the next look-up makes new queues. For the sequencer, under the append lock that also
    /// covers the append of the removal.
    pub(crate) fn detach(&self, topic: &str) {
        let removed = self.shard(topic).write().remove(topic).inspect(|_| self.gone(topic));
        let entry = removed
            .unwrap_or_else(|| Arc::new(Topic { name: TopicName::stored(topic), queues: RwLock::default() }));
        for queue in entry.queues.read().iter() {
            queue.0.detach();
        }
        self.leaving.lock().push(entry);
        self.leaving_count.fetch_add(1, Ordering::Release);
    }

    /// Takes the topic whose removal is being dispatched out of the table.
    pub(crate) fn remove(&self, topic: &str) -> Option<Arc<Topic>> {
        let mut leaving = self.leaving.lock();
        let removed = match leaving.iter().position(|entry| &*entry.name == topic) {
            Some(index) => {
                self.leaving_count.fetch_sub(1, Ordering::Release);
                leaving.remove(index)
            }
            None => self.shard(topic).write().remove(topic).inspect(|_| self.gone(topic))?,
        };
        let queues = removed.queues.read();
        queues.iter().for_each(|queue| queue.0.detach());
        self.count.fetch_sub(queues.len(), Ordering::AcqRel);
        drop(queues);
        Some(removed)
    }

    /// Takes one queue out of the table, while a checkpoint is read.
    pub(crate) fn forget(&self, queue: &QueueRef) {
        let mut shard = self.shard(&queue.key().topic).write();
        let Some(entry) = shard.get(&queue.key().topic) else { return };
        let mut queues = entry.queues.write();
        let before = queues.len();
        queues.retain(|known| !known.is_same(queue));
        self.count.fetch_sub(before - queues.len(), Ordering::AcqRel);
        let is_empty = queues.is_empty();
        drop(queues);
        if is_empty && shard.remove(&queue.key().topic).is_some() {
            self.gone(&queue.key().topic);
        }
    }

    /// Queues in the table, those of leaving topics included.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Visits every topic that is there or leaving, some perhaps twice; no lock of the table is held meanwhile.
    pub(crate) fn each_topic(&self, mut visit: impl FnMut(&Topic)) {
        for shard in &self.shards {
            let topics: Vec<Arc<Topic>> = shard.read().values().cloned().collect();
            topics.iter().for_each(|topic| visit(topic));
        }
        // Last, because topics move from the shards to here.
        let leaving: Vec<Arc<Topic>> = self.leaving.lock().clone();
        leaving.iter().for_each(|topic| visit(topic));
    }

    fn shard(&self, topic: &str) -> &RwLock<HashMap<TopicName, Arc<Topic>, Seeded>> {
        // The maps use the low bits of the same hash.
        &self.shards[(self.seed.hash_one(topic) >> 32) as usize % SHARDS]
    }
}

impl Topic {
    /// The topic's name.
    pub(crate) fn name(&self) -> &TopicName {
        &self.name
    }

    /// Bytes of memory besides its queues: the entry in the table, which is half empty on average, and the name.
    pub(crate) fn memory(&self) -> usize {
        let entry = 2 * (size_of::<(TopicName, Arc<Topic>)>() + 1);
        entry + size_of::<Topic>() + 2 * size_of::<usize>() + self.name.len()
    }

    /// Its queues, by number.
    pub(crate) fn queues(&self) -> Vec<QueueRef> {
        self.queues.read().clone()
    }

    fn find(&self, queue: QueueId) -> Option<QueueRef> {
        let queues = self.queues.read();
        queues.binary_search_by_key(&queue, number).ok().map(|index| queues[index].clone())
    }

    fn find_or_create(
        &self,
        queue: QueueId,
        count: &AtomicUsize,
        limit: usize,
    ) -> Result<QueueRef, QueueLimit> {
        let mut queues = self.queues.write();
        match queues.binary_search_by_key(&queue, number) {
            Ok(index) => Ok(queues[index].clone()),
            Err(index) => {
                if count.fetch_add(1, Ordering::AcqRel) >= limit {
                    count.fetch_sub(1, Ordering::AcqRel);
                    return Err(QueueLimit { limit });
                }
                let key = QueueKey { topic: self.name.clone(), queue };
                let made = QueueRef(Arc::new(Queue::new(key)));
                if queues.len() < 4 {
                    queues.reserve_exact(1);
                }
                queues.insert(index, made.clone());
                Ok(made)
            }
        }
    }

    fn unlimited(&self, queue: QueueId, count: &AtomicUsize) -> QueueRef {
        self.find_or_create(queue, count, usize::MAX).expect("there is no limit")
    }
}

fn number(queue: &QueueRef) -> QueueId {
    queue.key().queue
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::stored(name)
    }

    #[test]
    fn finds_what_was_made_up_to_the_limit() {
        let queues = Queues::new(3);
        assert!(queues.find("a", QueueId(0)).is_none());
        let made = queues.find_or_create(&topic("a"), QueueId(7)).unwrap();
        assert!(queues.find("a", QueueId(7)).unwrap().is_same(&made));
        assert!(queues.find("a", QueueId(0)).is_none() && queues.find("b", QueueId(7)).is_none());
        queues.find_or_create(&topic("a"), QueueId(1)).unwrap();
        queues.find_or_create(&topic("b"), QueueId(u32::MAX)).unwrap();
        assert_eq!(queues.find_or_create(&topic("c"), QueueId(0)).unwrap_err(), QueueLimit { limit: 3 });
        assert_eq!(queues.count(), 3);
        queues.for_dispatch("c", QueueId(0));
        assert_eq!(queues.count(), 4, "what the log has is taken beyond the limit");
    }

    #[test]
    fn light_queues_are_counted_and_limited() {
        let queues = Queues::new(3);
        let made = queues.light("%LMQ%a", 1).unwrap();
        assert!(queues.light("%LMQ%a", 1).unwrap().is_same(&made));
        assert_eq!(queues.light("%LMQ%b", 1).unwrap_err(), QueueLimit { limit: 1 });
        assert_eq!((queues.count(), queues.light_count()), (1, 1), "what is refused is not made");
        queues.find_or_create(&topic("b"), QueueId(0)).unwrap();
        queues.light_anyway("%LMQ%b");
        assert_eq!(queues.light("%LMQ%c", 9).unwrap_err(), QueueLimit { limit: 3 });
        queues.light_anyway("%LMQ%d");
        queues.for_dispatch("%LMQ%e", QueueId(0));
        // A name stays, but without a queue, where the limit of all queues was met.
        assert_eq!((queues.count(), queues.light_count()), (5, 5));
        queues.detach("%LMQ%a");
        assert_eq!(queues.light_count(), 4);
        assert!(!queues.light("%LMQ%a", 9).is_ok_and(|again| again.is_same(&made)));
        queues.remove("%LMQ%a");
        queues.remove("%LMQ%b");
        queues.forget(&queues.find("%LMQ%d", QueueId(0)).unwrap());
        assert_eq!(queues.light_count(), 3);
    }

    #[test]
    fn a_removed_topic_starts_anew_while_dispatch_still_sees_the_old_one() {
        let queues = Queues::new(10);
        let old = queues.find_or_create(&topic("a"), QueueId(0)).unwrap();
        queues.detach("a");
        assert!(old.is_detached());
        let new = queues.find_or_create(&topic("a"), QueueId(0)).unwrap();
        assert!(!new.is_same(&old) && !new.is_detached());
        assert!(queues.for_dispatch("a", QueueId(0)).is_same(&old));
        assert_eq!(queues.remove("a").unwrap().queues().len(), 1);
        assert!(queues.for_dispatch("a", QueueId(0)).is_same(&new));
        assert_eq!(queues.count(), 1);
        assert!(queues.remove("a").is_some(), "replay removes what nobody detached");
        assert!(queues.remove("a").is_none() && queues.count() == 0);
    }

    #[test]
    fn a_topic_removed_twice_before_dispatch_leaves_twice() {
        let queues = Queues::new(10);
        let lives: Vec<QueueRef> = (0..3)
            .map(|_| {
                let queue = queues.find_or_create(&topic("a"), QueueId(0)).unwrap();
                queues.detach("a");
                queue
            })
            .collect();
        for life in lives {
            assert!(queues.for_dispatch("a", QueueId(0)).is_same(&life));
            assert!(queues.remove("a").is_some());
        }
        assert!(queues.find("a", QueueId(0)).is_none());
    }
}
