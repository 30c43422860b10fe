// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Pulls that wait for a message.
//! In: park, arrive, release, expire, forget. Out: ids to wake, in the order in which they parked. Never calls anyone.
//! Invariant: every id is in exactly one queue list and has exactly one deadline.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use protocol::filter::Filter;
use protocol::names::{QueueKey, QueueOffset};
use stdx::Timestamp;

/// One parked reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WaiterId(u64);

/// No more readers can be parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) waiting: usize,
}

/// The parked readers of some queues.
pub(crate) struct Waiters {
    queues: HashMap<QueueKey, Vec<WaiterId>>,
    waiters: HashMap<WaiterId, Waiter>,
    deadlines: BTreeSet<(Timestamp, WaiterId)>,
    next_id: u64,
    max: usize,
}

struct Waiter {
    key: QueueKey,
    from: QueueOffset,
    /// What the reader would take; an arrival that cannot match leaves it asleep.
    hint: Arc<Filter>,
    until: Timestamp,
}

impl Waiters {
    /// Takes at most `max` readers at a time.
    pub(crate) fn new(max: usize) -> Waiters {
        Waiters {
            queues: HashMap::new(),
            waiters: HashMap::new(),
            deadlines: BTreeSet::new(),
            next_id: 0,
            max,
        }
    }

    /// Remembers a reader that wants the message at `from` or a later one.
    pub(crate) fn park(
        &mut self,
        key: QueueKey,
        from: QueueOffset,
        hint: Arc<Filter>,
        until: Timestamp,
    ) -> Result<WaiterId, Full> {
        if self.waiters.len() >= self.max {
            return Err(Full { waiting: self.waiters.len() });
        }
        let id = WaiterId(self.next_id);
        self.next_id += 1;
        self.queues.entry(key.clone()).or_default().push(id);
        self.deadlines.insert((until, id));
        self.waiters.insert(id, Waiter { key, from, hint, until });
        Ok(id)
    }

    /// Wakes whoever waits for the message just before `next`, if its tag can match. Expressions over properties are not
    /// judged here, where the sender's thread would pay for each waiting group: who is woken looks at what is new, once for
    /// a burst, and sleeps on behind it.
    pub(crate) fn arrive(
        &mut self,
        key: &QueueKey,
        next: QueueOffset,
        tag_hash: i64,
        woken: &mut Vec<WaiterId>,
    ) {
        let Some(list) = self.queues.get_mut(key) else { return };
        let (waiters, deadlines) = (&mut self.waiters, &mut self.deadlines);
        list.retain(|id| {
            let waiter = &waiters[id];
            if waiter.from >= next || !waiter.hint.by_entry(tag_hash) {
                return true;
            }
            deadlines.remove(&(waiter.until, *id));
            waiters.remove(id);
            woken.push(*id);
            false
        });
        if list.is_empty() {
            self.queues.remove(key);
        }
    }

    /// Wakes everyone who waits for a queue, whatever came or did not.
    pub(crate) fn release(&mut self, key: &QueueKey, woken: &mut Vec<WaiterId>) {
        for id in self.queues.remove(key).unwrap_or_default() {
            if let Some(waiter) = self.waiters.remove(&id) {
                self.deadlines.remove(&(waiter.until, id));
                woken.push(id);
            }
        }
    }

    /// Wakes whoever has waited long enough.
    pub(crate) fn expire(&mut self, now: Timestamp, woken: &mut Vec<WaiterId>) {
        while let Some(&(until, id)) = self.deadlines.first()
            && until <= now
        {
            self.forget(id);
            woken.push(id);
        }
    }

    /// Returns when [`Waiters::expire`] has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|&(until, _)| until)
    }

    /// Drops a reader that went away; one that was woken already is no longer known.
    pub(crate) fn forget(&mut self, id: WaiterId) {
        let Some(waiter) = self.waiters.remove(&id) else { return };
        self.deadlines.remove(&(waiter.until, id));
        if let Some(list) = self.queues.get_mut(&waiter.key) {
            list.retain(|other| *other != id);
            if list.is_empty() {
                self.queues.remove(&waiter.key);
            }
        }
    }

    /// Returns how many readers are parked.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Asserts the invariant of this file.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let mut listed = 0;
        for (key, list) in &self.queues {
            assert!(!list.is_empty(), "an empty list is removed");
            assert!(list.is_sorted(), "a list keeps the order of parking");
            listed += list.len();
            assert!(
                list.iter().all(|id| self.waiters[id].key == *key),
                "an id stands in its own queue's list"
            );
        }
        assert_eq!(listed, self.waiters.len(), "every id is in exactly one list");
        assert_eq!(self.deadlines.len(), self.waiters.len(), "every id has exactly one deadline");
        assert!(self.waiters.iter().all(|(id, waiter)| self.deadlines.contains(&(waiter.until, *id))));
        assert!(self.waiters.len() <= self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::names::{QueueId, TopicName};
    use protocol::record::tag_hash;

    fn key(queue: u32) -> QueueKey {
        QueueKey { topic: TopicName::parse("t").expect("a valid name"), queue: QueueId(queue) }
    }

    fn filter(expression: &str) -> Arc<Filter> {
        Arc::new(Filter::parse("TAG", expression).expect("a valid expression"))
    }

    #[test]
    fn wakes_in_park_order_and_only_what_can_match() {
        let mut waiters = Waiters::new(10);
        let mut woken = Vec::new();
        let a = waiters.park(key(0), QueueOffset(5), filter("*"), Timestamp(100)).unwrap();
        let b = waiters.park(key(0), QueueOffset(5), filter("x || y"), Timestamp(90)).unwrap();
        let c = waiters.park(key(0), QueueOffset(7), filter("*"), Timestamp(80)).unwrap();
        let other = waiters.park(key(1), QueueOffset(0), filter("*"), Timestamp(70)).unwrap();
        waiters.check();
        waiters.arrive(&key(0), QueueOffset(5), tag_hash("x"), &mut woken);
        assert_eq!(woken, [], "the message before the one that is wanted wakes nobody");
        waiters.arrive(&key(0), QueueOffset(6), tag_hash("z"), &mut woken);
        assert_eq!(woken, [a], "b wants other tags, c a later message");
        waiters.arrive(&key(0), QueueOffset(8), tag_hash("y"), &mut woken);
        assert_eq!(woken, [a, b, c]);
        waiters.check();
        assert_eq!(waiters.next_deadline(), Some(Timestamp(70)));
        waiters.forget(other);
        waiters.check();
        assert_eq!((waiters.len(), waiters.next_deadline()), (0, None));
    }

    #[test]
    fn is_bounded() {
        let mut waiters = Waiters::new(1);
        let first = waiters.park(key(0), QueueOffset(0), filter("*"), Timestamp(1)).unwrap();
        let second = waiters.park(key(0), QueueOffset(0), filter("*"), Timestamp(1));
        assert_eq!(second, Err(Full { waiting: 1 }));
        waiters.forget(first);
        waiters.forget(first);
        assert!(waiters.park(key(0), QueueOffset(0), filter("*"), Timestamp(1)).is_ok());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Park { queue: u32, from: u64, tag: Option<u8>, until: i64 },
        Arrive { queue: u32, next: u64, tag: u8 },
        Release { queue: u32 },
        Expire { now: i64 },
        Forget { nth: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3u32, 0..6u64, proptest::option::of(0..3u8), 0..50i64)
                .prop_map(|(queue, from, tag, until)| Step::Park { queue, from, tag, until }),
            (0..3u32, 0..8u64, 0..3u8).prop_map(|(queue, next, tag)| Step::Arrive { queue, next, tag }),
            (0..3u32).prop_map(|queue| Step::Release { queue }),
            (0..50i64).prop_map(|now| Step::Expire { now }),
            (0..8usize).prop_map(|nth| Step::Forget { nth }),
        ]
    }

    /// The same as `Waiters`, by scanning one plain list.
    #[derive(Default)]
    struct Model(Vec<(WaiterId, u32, u64, Option<u8>, i64)>);

    impl Model {
        fn take(&mut self, gone: impl Fn(&(WaiterId, u32, u64, Option<u8>, i64)) -> bool) -> Vec<WaiterId> {
            let ids = self.0.iter().filter(|entry| gone(entry)).map(|entry| entry.0).collect();
            self.0.retain(|entry| !gone(entry));
            ids
        }
    }

    proptest! {
        #[test]
        fn equals_the_model(steps in proptest::collection::vec(step(), 1..80)) {
            let mut waiters = Waiters::new(20);
            let mut model = Model::default();
            for step in steps {
                let mut woken = Vec::new();
                match step {
                    Step::Park { queue, from, tag, until } => {
                        let hint = filter(&tag.map_or("*".to_owned(), |tag| format!("t{tag}")));
                        let parked = waiters.park(key(queue), QueueOffset(from), hint, Timestamp(until));
                        prop_assert_eq!(parked.is_err(), model.0.len() >= 20);
                        model.0.extend(parked.map(|id| (id, queue, from, tag, until)));
                    }
                    Step::Arrive { queue, next, tag } => {
                        waiters.arrive(&key(queue), QueueOffset(next), tag_hash(&format!("t{tag}")), &mut woken);
                        let expected = model.take(|&(_, q, from, wants, _)| {
                            q == queue && from < next && wants.is_none_or(|wanted| wanted == tag)
                        });
                        prop_assert_eq!(woken, expected);
                    }
                    Step::Release { queue } => {
                        waiters.release(&key(queue), &mut woken);
                        prop_assert_eq!(woken, model.take(|&(_, q, ..)| q == queue));
                    }
                    Step::Expire { now } => {
                        waiters.expire(Timestamp(now), &mut woken);
                        let mut expected = model.take(|&(.., until)| until <= now);
                        expected.sort();
                        woken.sort();
                        prop_assert_eq!(woken, expected);
                    }
                    Step::Forget { nth } => {
                        if let Some(&(id, ..)) = model.0.get(nth) {
                            waiters.forget(id);
                            model.0.remove(nth);
                        }
                    }
                }
                waiters.check();
                prop_assert_eq!(waiters.len(), model.0.len());
                let first = model.0.iter().map(|entry| Timestamp(entry.4)).min();
                prop_assert_eq!(waiters.next_deadline(), first);
            }
        }
    }
}
