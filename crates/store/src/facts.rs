// SPDX-License-Identifier: Apache-2.0
//! The latest value of every fact: settings of topics and groups, consumer progress and the like, all of them
//! records on one reserved topic. Written by dispatch, and ahead of it by whoever appended the record, so that a
//! writer reads what it wrote; read by any thread.
//! Invariants: `settled` is exactly the log below the dispatched point, and only it goes into a checkpoint; what was
//! put ahead hides the settled value until dispatch reaches it; a change never replaces a later one.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::RwLock;
use protocol::names::LogOffset;

pub(crate) mod change;

pub use change::{FactChange, FactKind};

/// The topic of facts records; its only queue is 0.
pub const FACTS_TOPIC: &str = "rmq_sys_kiruna_facts";

type ByKey<T> = BTreeMap<u8, BTreeMap<Box<[u8]>, T>>;

/// The table of facts.
#[derive(Default)]
pub(crate) struct Facts(RwLock<Tables>);

#[derive(Default)]
struct Tables {
    settled: ByKey<Fact>,
    ahead: ByKey<Ahead>,
    /// Records below this have been dispatched.
    upto: LogOffset,
    /// Changed since the last checkpoint, and whether no checkpoint can know it: then it may go without a trace, as
    /// most half messages do.
    dirty: ByKey<bool>,
    /// A full checkpoint is being written: it may know anything that was there meanwhile.
    is_paged: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fact {
    at: LogOffset,
    value: Bytes,
}

struct Ahead {
    at: LogOffset,
    value: Option<Bytes>,
}

impl Tables {
    fn apply(&mut self, kind: FactKind, key: &[u8], value: Option<&[u8]>, at: LogOffset) {
        let known = find(&self.settled, kind, key);
        assert!(known.is_none_or(|known| known.at <= at), "facts are applied in log order");
        let is_new = known.is_none() && !self.is_paged;
        let is_gone = value.is_none();
        put(self, kind, key, value.map(Bytes::copy_from_slice), at);
        let dirty = self.dirty.entry(kind.0).or_default();
        match dirty.get(key) {
            Some(true) if is_gone && !self.is_paged => _ = dirty.remove(key),
            Some(_) => {}
            None => _ = dirty.insert(key.into(), is_new),
        }
        if let Some(ahead) = self.ahead.get_mut(&kind.0)
            && ahead.get(key).is_some_and(|ahead| ahead.at <= at)
        {
            ahead.remove(key);
        }
    }
}

/// A fact as a checkpoint has it; without a value it was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FactImage {
    pub(crate) at: LogOffset,
    pub(crate) kind: FactKind,
    pub(crate) key: Box<[u8]>,
    pub(crate) value: Option<Bytes>,
}

impl Facts {
    /// The value of one fact.
    pub(crate) fn get(&self, kind: FactKind, key: &[u8]) -> Option<Bytes> {
        let tables = self.0.read();
        if let Some(ahead) = find(&tables.ahead, kind, key) {
            return ahead.value.clone();
        }
        find(&tables.settled, kind, key).map(|fact| fact.value.clone())
    }

    /// The value of one fact at the dispatched point.
    pub(crate) fn settled_value(&self, kind: FactKind, key: &[u8]) -> Option<Bytes> {
        find(&self.0.read().settled, kind, key).map(|fact| fact.value.clone())
    }

    /// True when there is such a fact at the dispatched point.
    pub(crate) fn has_settled(&self, kind: FactKind, key: &[u8]) -> bool {
        find(&self.0.read().settled, kind, key).is_some()
    }

    /// All facts of a kind, by key.
    pub(crate) fn list(&self, kind: FactKind) -> Vec<(Vec<u8>, Bytes)> {
        let tables = self.0.read();
        let settled = tables.settled.get(&kind.0).into_iter().flatten();
        let mut all: BTreeMap<&[u8], Bytes> =
            settled.map(|(key, fact)| (&**key, fact.value.clone())).collect();
        for (key, ahead) in tables.ahead.get(&kind.0).into_iter().flatten() {
            match &ahead.value {
                Some(value) => all.insert(key, value.clone()),
                None => all.remove(&**key),
            };
        }
        all.into_iter().map(|(key, value)| (key.to_vec(), value)).collect()
    }

    /// Shows changes of the record at `at` to readers before dispatch gets there.
    pub(crate) fn put_ahead(&self, changes: &[FactChange], at: LogOffset) {
        let mut tables = self.0.write();
        if at < tables.upto {
            return;
        }
        for change in changes.iter().filter(|change| change.kind.is_kept()) {
            let ahead = tables.ahead.entry(change.kind.0).or_default();
            let is_newer = ahead.get(&*change.key).is_none_or(|known| known.at <= at);
            if is_newer {
                let value = change.value.as_deref().map(Bytes::copy_from_slice);
                ahead.insert(change.key.as_slice().into(), Ahead { at, value });
            }
        }
    }

    /// Applies one change of the record at `at`; called in log order.
    pub(crate) fn apply(&self, kind: FactKind, key: &[u8], value: Option<&[u8]>, at: LogOffset) {
        self.0.write().apply(kind, key, value, at);
    }

    /// Removes a fact if there is one, by the record at `at`; called in log order. True when there was.
    pub(crate) fn end(&self, kind: FactKind, key: &[u8], at: LogOffset) -> bool {
        let mut tables = self.0.write();
        let is_there = find(&tables.settled, kind, key).is_some();
        if is_there {
            tables.apply(kind, key, None, at);
        }
        is_there
    }

    /// Says that records below `upto` have been applied.
    pub(crate) fn applied(&self, upto: LogOffset) {
        self.0.write().upto = upto;
    }

    /// Takes over what a checkpoint holds; a later image of the same fact wins.
    pub(crate) fn restore(&self, image: FactImage) {
        put(&mut self.0.write(), image.kind, &image.key, image.value, image.at);
    }

    /// Takes what changed since the last call.
    pub(crate) fn images(&self) -> Vec<FactImage> {
        let mut tables = self.0.write();
        let dirty = std::mem::take(&mut tables.dirty);
        tables.is_paged = false;
        let all = dirty.into_iter().flat_map(|(kind, keys)| keys.into_keys().map(move |key| (kind, key)));
        all.map(|(kind, key)| image(&tables, kind, key)).collect()
    }

    /// Takes up to `count` facts behind `after`, changed or not, for a full checkpoint; [`Facts::images`] ends it.
    pub(crate) fn page(&self, after: Option<(u8, Box<[u8]>)>, count: usize) -> Vec<FactImage> {
        use std::ops::Bound::{Excluded, Unbounded};
        let mut tables = self.0.write();
        tables.is_paged = true;
        let (kind, mut from) = match &after {
            Some((kind, key)) => (*kind, Excluded(&**key)),
            None => (0, Unbounded),
        };
        let mut out = Vec::new();
        for (&kind, facts) in tables.settled.range(kind..) {
            let left = count - out.len();
            let facts = facts.range::<[u8], _>((from, Unbounded)).take(left);
            out.extend(facts.map(|(key, _)| image(&tables, kind, key.clone())));
            from = Unbounded;
        }
        out
    }

    /// Facts whose record lies below `first` and is the newest: they must be written again before the log loses
    /// it. The caller lets nobody put facts until it has done so, or an older value could come to lie behind a newer.
    pub(crate) fn below(&self, first: LogOffset) -> Vec<FactChange> {
        let tables = self.0.read();
        let all = tables.settled.iter().flat_map(|(&kind, facts)| facts.iter().map(move |fact| (kind, fact)));
        // The latest messages of keys prove themselves, and are written again as messages.
        all.filter(|(kind, (_, fact))| fact.at < first && FactKind(*kind) != FactKind::LATEST)
            .filter(|(kind, (key, _))| find(&tables.ahead, FactKind(*kind), key).is_none())
            .map(|(kind, (key, fact))| FactChange {
                kind: FactKind(kind),
                key: key.to_vec(),
                value: Some(fact.value.to_vec()),
            })
            .collect()
    }

    /// How many facts of a kind there are at the dispatched point.
    pub(crate) fn count(&self, kind: FactKind) -> usize {
        self.0.read().settled.get(&kind.0).map_or(0, BTreeMap::len)
    }

    /// Keys of the facts of a kind that begin with `front` and are picked, by key and value, at the dispatched point.
    pub(crate) fn select(
        &self,
        kind: FactKind,
        front: &[u8],
        picks: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Vec<Box<[u8]>> {
        use std::ops::Bound::{Included, Unbounded};
        let tables = self.0.read();
        let Some(facts) = tables.settled.get(&kind.0) else { return Vec::new() };
        let facts = facts.range::<[u8], _>((Included(front), Unbounded));
        let facts = facts.take_while(|(key, _)| key.starts_with(front));
        facts.filter(|(key, fact)| picks(key, &fact.value)).map(|(key, _)| key.clone()).collect()
    }

    /// Facts and the bytes of their keys and values, by kind.
    pub(crate) fn usage(&self) -> Vec<(FactKind, usize, usize)> {
        let tables = self.0.read();
        let bytes = |facts: &BTreeMap<Box<[u8]>, Fact>| {
            facts.iter().map(|(key, fact)| key.len() + fact.value.len()).sum::<usize>()
        };
        tables.settled.iter().map(|(&kind, facts)| (FactKind(kind), facts.len(), bytes(facts))).collect()
    }

    /// Every settled fact with a value, for comparison.
    pub(crate) fn settled(&self) -> Vec<(u8, Box<[u8]>, Bytes)> {
        let tables = self.0.read();
        let all = tables.settled.iter().flat_map(|(&kind, facts)| facts.iter().map(move |fact| (kind, fact)));
        all.map(|(kind, (key, fact))| (kind, key.clone(), fact.value.clone())).collect()
    }
}

fn find<'a, T>(table: &'a ByKey<T>, kind: FactKind, key: &[u8]) -> Option<&'a T> {
    table.get(&kind.0)?.get(key)
}

fn put(tables: &mut Tables, kind: FactKind, key: &[u8], value: Option<Bytes>, at: LogOffset) {
    let facts = tables.settled.entry(kind.0).or_default();
    match value {
        Some(value) => facts.insert(key.into(), Fact { at, value }),
        None => facts.remove(key),
    };
}

fn image(tables: &Tables, kind: u8, key: Box<[u8]>) -> FactImage {
    let fact = find(&tables.settled, FactKind(kind), &key);
    FactImage {
        at: fact.map_or(tables.upto, |fact| fact.at),
        kind: FactKind(kind),
        value: fact.map(|fact| fact.value.clone()),
        key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Rng;

    type Saved = BTreeMap<(u8, Box<[u8]>), Bytes>;

    /// What a checkpoint knows after these images.
    fn save(saved: &mut Saved, images: Vec<FactImage>) -> usize {
        let count = images.len();
        for FactImage { kind, key, value, .. } in images {
            match value {
                Some(value) => _ = saved.insert((kind.0, key), value),
                None => _ = saved.remove(&(kind.0, key)),
            }
        }
        count
    }

    #[test]
    fn a_checkpoint_knows_all_but_what_came_and_went_in_between() {
        let mut rng = Rng::new(3);
        for _ in 0..300 {
            let (facts, mut saved, mut at) = (Facts::default(), Saved::new(), 0);
            let mut change = |rng: &mut Rng| {
                at += 1;
                let value = (rng.below(2) == 0).then(|| vec![rng.below(200) as u8]);
                facts.apply(FactKind::HALF, &[rng.below(12) as u8], value.as_deref(), LogOffset(at));
            };
            for _ in 0..12 {
                (0..rng.below(6)).for_each(|_| change(&mut rng));
                if rng.below(3) == 0 {
                    // A full one, a few at a time.
                    saved.clear();
                    let mut after = None;
                    loop {
                        let page = facts.page(after, 2);
                        let Some(last) = page.last() else { break };
                        after = Some((last.kind.0, last.key.clone()));
                        save(&mut saved, page);
                        (0..rng.below(3)).for_each(|_| change(&mut rng));
                    }
                }
                save(&mut saved, facts.images());
                let settled = facts.settled().into_iter().map(|(kind, key, value)| ((kind, key), value));
                assert_eq!(saved, settled.collect::<Saved>());
            }
        }
        let facts = Facts::default();
        facts.apply(FactKind::HALF, b"one", Some(b"open"), LogOffset(1));
        facts.apply(FactKind::HALF, b"two", Some(b"open"), LogOffset(2));
        facts.apply(FactKind::HALF, b"one", None, LogOffset(3));
        assert_eq!(save(&mut Saved::new(), facts.images()), 1, "the one that came and went leaves nothing");
    }
}
