// SPDX-License-Identifier: Apache-2.0
//! Consumer progress: how far each group has come in each queue. The shell of `progress`, in memory and as facts.
//! Called by pulls and offset operations; `persist` runs in a loop and when the broker closes.
//!
//! The window: a commit is in memory at once and part of the log at the next `persist`, one second later unless
//! configured. A killed process forgets at most that; its consumers then see the messages of that second again.
//! Facts are read once, at open; afterwards memory is the truth.

mod progress;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard, RwLock};
use protocol::names::{Group, QueueId, QueueOffset, TopicName};
use store::{AppendError, FactChange, Store};

pub use self::progress::Committed;
use self::progress::Progress;
pub(crate) use self::progress::QUEUES_MAX;
use crate::facts;

/// How many bytes of rows one record of facts carries, unless one row alone is larger.
const RECORD_BYTES: usize = 512 << 10;

/// The progress of all groups.
#[derive(Default)]
pub struct Offsets {
    groups: RwLock<HashMap<Group, Arc<Topics>>>,
    /// At least as many as there are explicit moves that no consumer has seen yet; zero lets a pull skip the look.
    moves: AtomicUsize,
    /// The groups whose progress changed since it was saved, so that saving does not ask all of them.
    changed: Mutex<Vec<(Group, Arc<Topics>)>>,
}

/// The progress of one group.
#[derive(Default)]
struct Topics {
    table: Mutex<HashMap<TopicName, Progress>>,
    /// It is among those that changed.
    is_changed: AtomicBool,
}

impl Topics {
    fn lock(&self) -> MutexGuard<'_, HashMap<TopicName, Progress>> {
        self.table.lock()
    }
}

impl Offsets {
    /// Reads all rows back.
    pub(crate) fn open(store: &Store) -> Offsets {
        let mut groups: HashMap<Group, HashMap<TopicName, Progress>> = HashMap::new();
        for (key, row) in store.facts(facts::OFFSETS) {
            match (facts::split_pair(&key), Progress::decode(&row)) {
                (Some((group, topic)), Some(progress)) => {
                    groups
                        .entry(Group::stored(group))
                        .or_default()
                        .insert(TopicName::stored(topic), progress);
                }
                _ => tracing::warn!(bytes = row.len(), "a row of consumer progress is not readable"),
            }
        }
        let read = |table| Arc::new(Topics { table: Mutex::new(table), is_changed: AtomicBool::new(false) });
        let groups = groups.into_iter().map(|(group, topics)| (group, read(topics))).collect();
        Offsets { groups: RwLock::new(groups), ..Offsets::default() }
    }

    /// Notes how far a consumer has come; never moves a queue back. Also tells where the group stood before.
    pub(crate) fn commit(
        &self,
        group: &Group,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> (Committed, Option<QueueOffset>) {
        let (outcome, before) = self.with(group, topic, |progress| {
            let before = progress.committed(queue);
            (progress.commit(queue, offset), before)
        });
        if let Committed::Behind { stored } = outcome {
            tracing::debug!(%group, %topic, %queue, %offset, %stored, "a commit behind the stored progress is left out");
        }
        (outcome, before)
    }

    /// Puts a queue at `offset`, back or forth, without telling its consumer.
    pub fn set(&self, group: &Group, topic: &TopicName, queue: QueueId, offset: QueueOffset) {
        self.with(group, topic, |progress| progress.set(queue, offset, false));
    }

    /// Puts a queue at `offset`, back or forth; the consumer's next pull is sent there, and until then its commits
    /// do not count.
    pub(crate) fn reset(&self, group: &Group, topic: &TopicName, queue: QueueId, offset: QueueOffset) {
        self.moves.fetch_add(1, Ordering::SeqCst);
        let replaced = self.with(group, topic, |progress| {
            let replaced = progress.has_move(queue);
            progress.set(queue, offset, true);
            replaced
        });
        if replaced {
            self.moves.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Notes that the consumers were told to go to `offset` by themselves; nothing moves until one of them says it did.
    pub(crate) fn expect(&self, group: &Group, topic: &TopicName, queue: QueueId, offset: QueueOffset) {
        self.look(group, topic, |progress| progress.expect(queue, offset));
    }

    /// True when [`Offsets::take_reset`] has something to say.
    pub(crate) fn has_reset(&self, group: &Group, topic: &TopicName, queue: QueueId) -> bool {
        self.moves.load(Ordering::SeqCst) > 0
            && self.look(group, topic, |progress| progress.has_move(queue)).unwrap_or(false)
    }

    /// Returns where a consumer has to go after a reset, once.
    pub(crate) fn take_reset(&self, group: &Group, topic: &TopicName, queue: QueueId) -> Option<QueueOffset> {
        if self.moves.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let taken = self.look(group, topic, |progress| progress.take_move(queue)).flatten();
        if taken.is_some() {
            self.moves.fetch_sub(1, Ordering::SeqCst);
        }
        taken
    }

    /// Returns how far the group has come in a queue.
    pub fn committed(&self, group: &Group, topic: &TopicName, queue: QueueId) -> Option<QueueOffset> {
        self.look(group, topic, |progress| progress.committed(queue)).flatten()
    }

    /// Remembers where a topic's queues end when a group is first seen with it; `ends` is asked only then.
    pub(crate) fn join(&self, group: &Group, topic: &TopicName, ends: impl FnOnce() -> Vec<QueueOffset>) {
        if self.look(group, topic, |progress| progress.is_new()).unwrap_or(true) {
            let ends = ends();
            self.with(group, topic, |progress| progress.join(ends));
        }
    }

    /// Returns where a queue ended when the group was first seen with its topic.
    pub(crate) fn joined(&self, group: &Group, topic: &TopicName, queue: QueueId) -> Option<QueueOffset> {
        self.look(group, topic, |progress| progress.joined(queue)).flatten()
    }

    /// Returns the topics a group has progress in.
    pub fn topics_of(&self, group: &Group) -> Vec<TopicName> {
        let mut topics: Vec<TopicName> =
            self.group(group).map(|topics| topics.lock().keys().cloned().collect()).unwrap_or_default();
        topics.sort();
        topics
    }

    /// Returns the groups that have progress in a topic.
    pub fn groups_of(&self, topic: &TopicName) -> Vec<Group> {
        let groups: Vec<(Group, Arc<Topics>)> =
            self.groups.read().iter().map(|(group, topics)| (group.clone(), topics.clone())).collect();
        let mut found: Vec<Group> = groups
            .into_iter()
            .filter(|(_, topics)| {
                topics.lock().get(topic).is_some_and(|progress| progress.all().next().is_some())
            })
            .map(|(group, _)| group)
            .collect();
        found.sort();
        found
    }

    /// Returns all committed offsets of a group in a topic, in the order of queues.
    pub fn all(&self, group: &Group, topic: &TopicName) -> Vec<(QueueId, QueueOffset)> {
        self.look(group, topic, |progress| progress.all().collect()).unwrap_or_default()
    }

    /// Shows every committed offset.
    pub(crate) fn each(&self, mut show: impl FnMut(&TopicName, QueueId, QueueOffset)) {
        let groups: Vec<Arc<Topics>> = self.groups.read().values().cloned().collect();
        for topics in groups {
            for (topic, progress) in topics.lock().iter() {
                progress.all().for_each(|(queue, offset)| show(topic, queue, offset));
            }
        }
    }

    /// Forgets a group.
    pub fn remove_group(&self, store: &Store, group: &Group) -> Result<(), AppendError> {
        let gone = self.topics_of(group).into_iter().map(|topic| removal(group, &topic)).collect();
        put(store, gone)?;
        self.groups.write().remove(group);
        Ok(())
    }

    /// Forgets all groups' progress in a topic.
    pub fn remove_topic(&self, store: &Store, topic: &TopicName) -> Result<(), AppendError> {
        let groups: Vec<(Group, Arc<Topics>)> =
            self.groups.read().iter().map(|(group, topics)| (group.clone(), topics.clone())).collect();
        let mut gone = Vec::new();
        let mut taken = Vec::new();
        for (group, topics) in groups {
            let progress = topics.lock().remove(topic);
            if let Some(progress) = progress {
                gone.push(removal(&group, topic));
                taken.push((topics, progress));
            }
        }
        let outcome = put(store, gone);
        if outcome.is_err() {
            // Forgotten here and kept in the log, it would be back after a restart, however often it is removed.
            for (topics, progress) in taken {
                topics.lock().entry(topic.detached()).or_insert(progress);
            }
        }
        outcome
    }

    /// Makes all progress since the last call part of the log; returns how many rows that were.
    pub(crate) fn persist(&self, store: &Store) -> Result<usize, AppendError> {
        let groups = std::mem::take(&mut *self.changed.lock());
        let mut rows = Vec::new();
        for (group, topics) in &groups {
            // Before the look: a change behind it is noted anew.
            topics.is_changed.store(false, Ordering::SeqCst);
            // A group that was removed meanwhile must not come back, nor take the place of one that has its name now.
            if !self.group(group).is_some_and(|known| Arc::ptr_eq(&known, topics)) {
                continue;
            }
            for (topic, progress) in topics.lock().iter_mut() {
                let row = progress.take_dirty();
                rows.extend(row.map(|row| (group.clone(), topic.clone(), row)));
            }
        }
        let count = rows.len();
        let change = |(group, topic, row): &(Group, TopicName, Vec<u8>)| FactChange {
            kind: facts::OFFSETS,
            key: facts::join_pair(group, topic),
            value: Some(row.clone()),
        };
        let outcome = put(store, rows.iter().map(change).collect());
        if outcome.is_err() {
            for (group, topic, _) in &rows {
                self.look(group, topic, Progress::keep_dirty);
            }
            groups.iter().for_each(|(group, topics)| self.has_changed(group, topics));
        }
        outcome.map(|()| count)
    }

    fn group(&self, group: &Group) -> Option<Arc<Topics>> {
        self.groups.read().get(group).cloned()
    }

    /// Looks at what is there; creates nothing.
    fn look<T>(&self, group: &Group, topic: &TopicName, look: impl FnOnce(&mut Progress) -> T) -> Option<T> {
        let topics = self.group(group)?;
        let mut topics = topics.lock();
        topics.get_mut(topic).map(look)
    }

    fn with<T>(&self, group: &Group, topic: &TopicName, change: impl FnOnce(&mut Progress) -> T) -> T {
        let known = self.group(group);
        let topics =
            known.unwrap_or_else(|| self.groups.write().entry(group.detached()).or_default().clone());
        let mut table = topics.lock();
        if !table.contains_key(topic) {
            table.insert(topic.detached(), Progress::default());
        }
        let changed = change(table.get_mut(topic).expect("it was put in a moment ago"));
        drop(table);
        self.has_changed(group, &topics);
        changed
    }

    fn has_changed(&self, group: &Group, topics: &Arc<Topics>) {
        if !topics.is_changed.swap(true, Ordering::SeqCst) {
            self.changed.lock().push((group.detached(), topics.clone()));
        }
    }
}

fn removal(group: &Group, topic: &TopicName) -> FactChange {
    FactChange { kind: facts::OFFSETS, key: facts::join_pair(group, topic), value: None }
}

fn put(store: &Store, changes: Vec<FactChange>) -> Result<(), AppendError> {
    let size = |change: &FactChange| change.key.len() + change.value.as_ref().map_or(0, Vec::len);
    let mut rest = changes.as_slice();
    while let Some(first) = rest.first() {
        let mut bytes = size(first);
        let fits = |change: &&FactChange| {
            bytes += size(change);
            bytes <= RECORD_BYTES
        };
        let count = 1 + rest[1..].iter().take_while(fits).count();
        let (together, later) = rest.split_at(count);
        store.put_facts(together)?;
        rest = later;
    }
    Ok(())
}
