// SPDX-License-Identifier: Apache-2.0
//! Comparing views with others that were replayed from the same log: the views are right when nothing differs.
//! Called by `kiruna store verify` and by tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::names::{LogOffset, QueueOffset};
use stdx::Timestamp;

use super::{ViewError, Views};
use crate::keys::KeyEntry;
use crate::queue::{Entry, QueueRef};
use crate::timer::Slot;

/// Something that the views and their replay do not agree on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// A queue that only one side has, or whose bounds differ.
    #[error("queue {queue}: the views hold {found}, the log says {expected}")]
    Bounds { queue: String, found: String, expected: String },
    /// An entry that differs.
    #[error("queue {queue} offset {offset}: the views hold {found:?}, the log says {expected:?}")]
    Entry { queue: String, offset: u64, found: Entry, expected: Entry },
    /// A fact that differs.
    #[error("fact of kind {kind}, key {key}: the views and the log disagree")]
    Fact { kind: u8, key: String },
    /// A message that waits for its time on one side only.
    #[error("a message at {at}, due at {due}: only {holder} it waiting")]
    Timer { at: LogOffset, due: Timestamp, holder: &'static str },
    /// Key entries of a stretch of the log that differ.
    #[error(
        "key index, log from {from} on: the views hold {found} entries, the log says {expected}, or others"
    )]
    Keys { from: LogOffset, found: u64, expected: u64 },
}

/// Bytes of log whose key entries are compared together.
const STRETCH: u64 = 64 << 20;
const BATCH: usize = 1024;

impl Views {
    /// Compares these views with `replayed`, which saw the same log; answers at most `limit` differences.
    pub(crate) fn compare(&self, replayed: &Views, limit: usize) -> Result<Vec<Difference>, ViewError> {
        self.check()?;
        replayed.check()?;
        let mut found = Differences { list: Vec::new(), limit };
        self.compare_queues(replayed, &mut found);
        self.compare_facts(replayed, &mut found);
        self.compare_timers(replayed, &mut found);
        self.compare_keys(replayed, &mut found)?;
        Ok(found.list)
    }

    fn compare_queues(&self, replayed: &Views, found: &mut Differences) {
        let by_name = |views: &Views| -> BTreeMap<String, QueueRef> {
            let used = views.list_queues().into_iter().filter(|queue| queue.dispatched().0 > 0);
            used.map(|queue| (format!("{}/{}", queue.key().topic, queue.key().queue.0), queue)).collect()
        };
        let (ours, theirs) = (by_name(self), by_name(replayed));
        let names: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        for name in names {
            let bounds = |queue: Option<&QueueRef>| match queue {
                Some(queue) => format!("{}..{}", queue.dense_first().0, queue.dispatched().0),
                None => "nothing".to_owned(),
            };
            let (our, their) = (ours.get(name), theirs.get(name));
            if bounds(our) != bounds(their) {
                found.add(Difference::Bounds {
                    queue: name.clone(),
                    found: bounds(our),
                    expected: bounds(their),
                });
            } else if let (Some(our), Some(their)) = (our, their) {
                self.compare_entries(replayed, name, our, their, found);
            }
        }
    }

    fn compare_entries(
        &self,
        replayed: &Views,
        name: &str,
        our: &QueueRef,
        their: &QueueRef,
        found: &mut Differences,
    ) {
        let (mut at, end) = (our.dense_first().0, our.dispatched().0);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        while at < end && !found.is_full() {
            ours.clear();
            theirs.clear();
            let count = BATCH.min((end - at) as usize);
            self.entries(our, QueueOffset(at), count, &mut ours);
            replayed.entries(their, QueueOffset(at), count, &mut theirs);
            for (index, (&found_entry, &expected)) in ours.iter().zip(&theirs).enumerate() {
                if found_entry != expected {
                    let offset = at + index as u64;
                    found.add(Difference::Entry {
                        queue: name.to_owned(),
                        offset,
                        found: found_entry,
                        expected,
                    });
                }
            }
            at += count as u64;
        }
    }

    fn compare_facts(&self, replayed: &Views, found: &mut Differences) {
        let table = |views: &Views| -> BTreeMap<(u8, Box<[u8]>), bytes::Bytes> {
            views.facts.settled().into_iter().map(|(kind, key, value)| ((kind, key), value)).collect()
        };
        let (ours, theirs) = (table(self), table(replayed));
        for (kind, key) in ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key))) {
            let key_pair = (*kind, key.clone());
            if ours.get(&key_pair) != theirs.get(&key_pair) {
                found.add(Difference::Fact { kind: *kind, key: String::from_utf8_lossy(key).into_owned() });
            }
        }
    }

    fn compare_timers(&self, replayed: &Views, found: &mut Differences) {
        let slots = |views: &Views| -> BTreeMap<Slot, Arc<str>> {
            let mut slots = BTreeMap::new();
            views.timers.visit(Slot::FIRST, None, &mut |waiting| {
                slots.insert(waiting.slot, waiting.topic);
                true
            });
            slots
        };
        let (ours, theirs) = (slots(self), slots(replayed));
        let mut add = |(slot, _): (&Slot, &Arc<str>), holder| {
            found.add(Difference::Timer { at: slot.at, due: slot.due, holder });
        };
        ours.iter()
            .filter(|(slot, topic)| theirs.get(slot) != Some(topic))
            .for_each(|one| add(one, "the views have"));
        theirs
            .iter()
            .filter(|(slot, topic)| ours.get(slot) != Some(topic))
            .for_each(|one| add(one, "the log has"));
    }

    /// Compares counts and order-free sums, so that an index larger than memory can be compared.
    fn compare_keys(&self, replayed: &Views, found: &mut Differences) -> Result<(), ViewError> {
        let first = self.first().max(replayed.first()).0;
        let sums = |views: &Views| -> Result<BTreeMap<u64, (u64, u64)>, ViewError> {
            let mut sums: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
            views.keys.each_once(&mut |entry: KeyEntry| {
                if entry.log >= first {
                    let sum = sums.entry(entry.log / STRETCH).or_default();
                    sum.0 += 1;
                    let mixed = crate::keys::hash::hash64(entry.hash, &entry.log.to_be_bytes());
                    sum.1 = sum.1.wrapping_add(mixed);
                }
            })?;
            Ok(sums)
        };
        let (ours, theirs) = (sums(self)?, sums(replayed)?);
        for stretch in ours.keys().chain(theirs.keys().filter(|stretch| !ours.contains_key(stretch))) {
            let (our, their) = (ours.get(stretch), theirs.get(stretch));
            if our != their {
                let count = |side: Option<&(u64, u64)>| side.map_or(0, |side| side.0);
                let from = LogOffset(stretch * STRETCH);
                found.add(Difference::Keys { from, found: count(our), expected: count(their) });
            }
        }
        Ok(())
    }
}

struct Differences {
    list: Vec<Difference>,
    limit: usize,
}

impl Differences {
    fn is_full(&self) -> bool {
        self.list.len() >= self.limit
    }

    fn add(&mut self, difference: Difference) {
        if !self.is_full() {
            self.list.push(difference);
        }
    }
}
