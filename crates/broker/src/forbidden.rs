// SPDX-License-Identifier: Apache-2.0
//! Topics that an operator forbade a group to read. Facts of the log; asked by every pull, which costs one load while
//! nothing is forbidden.
//! Invariant: what is forbidden is part of the log before a pull sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use protocol::names::{Group, TopicName};
use store::{AppendError, FactChange, Store};

use crate::facts;

/// Pairs of a group and a topic that it may not read.
#[derive(Debug, Default)]
pub(crate) struct Forbidden {
    pairs: RwLock<BTreeMap<Group, BTreeSet<TopicName>>>,
    count: AtomicUsize,
}

impl Forbidden {
    /// Reads all pairs back.
    pub(crate) fn open(store: &Store) -> Forbidden {
        let forbidden = Forbidden::default();
        for (key, _) in store.facts(facts::FORBIDDEN) {
            match facts::split_pair(&key) {
                Some((group, topic)) => {
                    forbidden.note(&Group::stored(group), &TopicName::stored(topic), true)
                }
                None => tracing::warn!(bytes = key.len(), "a forbidden pair is not readable"),
            }
        }
        forbidden
    }

    /// Returns true when the group may not read the topic.
    pub(crate) fn is(&self, group: &Group, topic: &TopicName) -> bool {
        self.count.load(Ordering::Acquire) > 0
            && self.pairs.read().get(group).is_some_and(|topics| topics.contains(topic))
    }

    /// Forbids or allows.
    pub(crate) fn set(
        &self,
        group: &Group,
        topic: &TopicName,
        forbid: bool,
        store: &Store,
    ) -> Result<(), AppendError> {
        let key = facts::join_pair(group, topic);
        let value = forbid.then(Vec::new);
        store.put_facts(&[FactChange { kind: facts::FORBIDDEN, key, value }])?;
        self.note(group, topic, forbid);
        tracing::info!(%group, %topic, forbid, "reading changed");
        Ok(())
    }

    /// All pairs.
    pub(crate) fn all(&self) -> BTreeMap<Group, BTreeSet<TopicName>> {
        self.pairs.read().clone()
    }

    fn note(&self, group: &Group, topic: &TopicName, forbid: bool) {
        let mut pairs = self.pairs.write();
        if forbid {
            pairs.entry(group.detached()).or_default().insert(topic.detached());
        } else if let Some(topics) = pairs.get_mut(group) {
            topics.remove(topic);
            pairs.retain(|_, topics| !topics.is_empty());
        }
        self.count.store(pairs.values().map(BTreeSet::len).sum(), Ordering::Release);
    }
}
