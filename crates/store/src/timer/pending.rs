// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The messages that wait for their time, in the order in which they are due.
//! In: what the log says of them (added, over, moved), and who wants to do something with one now (hold, release).
//! Out: what is due, when the next one is, and what changed since the last checkpoint. Knows no clock and no log.
//! Invariants: a slot waits at most once; whoever holds a slot is the only one who may act on it, until the log says
//! that it is over or the holder lets it go; held slots are still part of what the log says, so they are listed,
//! counted and saved like the others; the counts of the topics add up to the number of slots.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use protocol::names::LogOffset;
use stdx::Timestamp;

use super::table::Table;

/// One waiting message: when it is due, and where its record lies. Ordered by both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// When it may be delivered.
    pub due: Timestamp,
    /// Where its record lies.
    pub at: LogOffset,
}

impl Slot {
    /// None is due before it.
    pub const FIRST: Slot = Slot { due: Timestamp(i64::MIN), at: LogOffset(0) };
}

/// What came of the wish to hold a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is the caller's, until the log says it is over or [`release`](crate::Timers::release).
    Held,
    /// Somebody else is at it: it is being delivered, moved or taken back.
    Busy,
    /// It does not wait, or not any more.
    Gone,
}

/// How a slot was when it was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Was {
    Free,
    Held,
}

/// A change since the last checkpoint: the slot waits, for this topic, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) slot: Slot,
    pub(crate) topic: Option<u32>,
}

/// Changes whose room is kept for those after the next checkpoint.
const CHANGES_ROOM: usize = 1 << 20;

/// A topic that messages wait for.
#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    waiting: u64,
}

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Nobody holds these. The number is that of their topic.
    free: Table,
    held: BTreeMap<Slot, u32>,
    /// No record from here on was ever said to wait.
    fresh_from: u64,
    topics: Vec<Topic>,
    numbers: BTreeMap<Arc<str>, u32>,
    /// Since the last checkpoint, in order.
    changes: Vec<Change>,
    /// Topics below this number are in the checkpoint.
    saved_topics: usize,
}

/// A part of what waits, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) found: Vec<(Slot, u32)>,
    pub(crate) next: Option<Slot>,
}

impl Pending {
    /// A message for `topic` waits. Says whether it is new.
    pub(crate) fn add(&mut self, slot: Slot, topic: &str) -> bool {
        let number = self.number_of(topic);
        let is_new = self.insert(slot, number);
        if is_new {
            self.changes.push(Change { slot, topic: Some(number) });
        }
        is_new
    }

    /// It is over. Says how it was, if it waited.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Was> {
        let was = self.take_out(slot)?;
        self.changes.push(Change { slot, topic: None });
        Some(was)
    }

    fn insert(&mut self, slot: Slot, number: u32) -> bool {
        // The log only grows: nearly every record is behind all others, and then need not be looked for.
        if slot.at.0 < self.fresh_from && self.contains(slot) {
            return false;
        }
        self.fresh_from = self.fresh_from.max(slot.at.0.saturating_add(1));
        self.free.insert(slot, number);
        self.topics[number as usize].waiting += 1;
        true
    }

    fn take_out(&mut self, slot: Slot) -> Option<Was> {
        let (number, was) = match self.held.remove(&slot) {
            Some(number) => (number, Was::Held),
            None => (self.free.remove(slot)?, Was::Free),
        };
        self.topics[number as usize].waiting -= 1;
        Some(was)
    }

    fn number_of(&mut self, topic: &str) -> u32 {
        if let Some(&number) = self.numbers.get(topic) {
            return number;
        }
        let number = u32::try_from(self.topics.len()).expect("there are fewer topics than queues");
        let name: Arc<str> = topic.into();
        self.topics.push(Topic { name: name.clone(), waiting: 0 });
        self.numbers.insert(name, number);
        number
    }

    /// Takes up to `max` slots in hand that are due at `now`, in due order.
    pub(crate) fn hold_due(&mut self, now: Timestamp, max: usize) -> Vec<Slot> {
        let due = self.free.take_due(now, max);
        self.held.extend(due.iter().copied());
        due.into_iter().map(|(slot, _)| slot).collect()
    }

    /// Takes one slot in hand.
    pub(crate) fn hold(&mut self, slot: Slot) -> Hold {
        match self.free.remove(slot) {
            Some(number) => {
                self.held.insert(slot, number);
                Hold::Held
            }
            None if self.held.contains_key(&slot) => Hold::Busy,
            None => Hold::Gone,
        }
    }

    /// Lets a slot go: nothing was done with it.
    pub(crate) fn release(&mut self, slot: Slot) {
        if let Some(number) = self.held.remove(&slot) {
            self.free.insert(slot, number);
            // Who pages through the free ones for a checkpoint may have passed its place.
            self.changes.push(Change { slot, topic: Some(number) });
        }
    }

    /// When the next one is due that nobody holds.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.free.first().map(|slot| slot.due)
    }

    /// Whether it waits, held or not.
    pub(crate) fn contains(&self, slot: Slot) -> bool {
        self.held.contains_key(&slot) || self.free.contains(slot)
    }

    /// How many wait, held ones included.
    pub(crate) fn len(&self) -> usize {
        self.free.len() + self.held.len()
    }

    /// How many are held.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// The topics that messages wait for, and how many.
    pub(crate) fn topics(&self) -> Vec<(Arc<str>, u64)> {
        let used = self.topics.iter().filter(|topic| topic.waiting > 0);
        used.map(|topic| (topic.name.clone(), topic.waiting)).collect()
    }

    /// The number of a topic, if a message ever waited for it.
    pub(crate) fn find_topic(&self, topic: &str) -> Option<u32> {
        self.numbers.get(topic).copied()
    }

    /// The name of a topic.
    pub(crate) fn topic_name(&self, number: u32) -> &Arc<str> {
        &self.topics[number as usize].name
    }

    /// Up to `max` slots from `from` on for `topic`, or any; looks at `look` slots at most and says where it stopped.
    pub(crate) fn page(&mut self, from: Slot, topic: Option<u32>, max: usize, look: usize) -> Page {
        let (mut page, mut looked) = (Page::default(), 0);
        let mut see = |slot, number| {
            if page.found.len() == max || looked == look {
                page.next = Some(slot);
                return ControlFlow::Break(());
            }
            looked += 1;
            if topic.is_none_or(|topic| topic == number) {
                page.found.push((slot, number));
            }
            ControlFlow::Continue(())
        };
        let mut held = self.held.range(from..).peekable();
        let mut rest = ControlFlow::Continue(());
        self.free.visit(from, |slot, number| {
            while let Some((other, number)) = held.next_if(|(other, _)| **other < slot)
                && rest.is_continue()
            {
                rest = see(*other, *number);
            }
            if rest.is_continue() {
                rest = see(slot, number);
            }
            rest
        });
        if rest.is_continue() {
            let _ = held.try_for_each(|(slot, number)| see(*slot, *number));
        }
        page
    }

    /// Up to `max` slots from `from` on that nobody holds, for a full checkpoint: [`Pending::take_changes`] ends it.
    pub(crate) fn free_page(&mut self, from: Slot, max: usize) -> Page {
        let mut page = Page::default();
        self.free.visit(from, |slot, number| {
            if page.found.len() == max {
                page.next = Some(slot);
                return ControlFlow::Break(());
            }
            page.found.push((slot, number));
            ControlFlow::Continue(())
        });
        page
    }

    /// Everything whose record lies below `end`, in the order of the log. Looks at all.
    pub(crate) fn below(&self, end: LogOffset) -> Vec<Slot> {
        let all = self.free.all().map(|(slot, _)| slot).chain(self.held.keys().copied());
        let mut found: Vec<Slot> = all.filter(|slot| slot.at < end).collect();
        found.sort_unstable_by_key(|slot| slot.at);
        found
    }

    /// Takes the changes since the last call, and the topics that are new since; with `full` also what is held, which
    /// pages of free slots do not have.
    pub(crate) fn take_changes(&mut self, full: bool) -> (Vec<(u32, Arc<str>)>, Vec<Change>) {
        let fresh = self.topics.iter().enumerate().skip(self.saved_topics);
        let fresh = fresh.map(|(number, topic)| (number as u32, topic.name.clone())).collect();
        self.saved_topics = self.topics.len();
        // The next changes will be about as many.
        let room = Vec::with_capacity(self.changes.len().min(CHANGES_ROOM));
        let mut changes = std::mem::replace(&mut self.changes, room);
        if full {
            changes
                .extend(self.held.iter().map(|(slot, number)| Change { slot: *slot, topic: Some(*number) }));
        }
        (fresh, changes)
    }

    /// All topics, for a full checkpoint.
    pub(crate) fn all_topics(&self) -> Vec<(u32, Arc<str>)> {
        let topics = self.topics.iter().enumerate();
        topics.map(|(number, topic)| (number as u32, topic.name.clone())).collect()
    }

    /// How many changes wait to be saved.
    pub(crate) fn changed(&self) -> usize {
        self.changes.len()
    }

    /// What a checkpoint held: topics by number, and slots that nobody holds.
    pub(super) fn restored(names: Vec<Arc<str>>, free: Table) -> Result<Pending, &'static str> {
        let mut pending = Pending::default();
        for name in names {
            let before = pending.topics.len();
            pending.number_of(&name);
            if pending.topics.len() == before {
                return Err("a topic has two numbers");
            }
        }
        for (slot, number) in free.all() {
            let Some(topic) = pending.topics.get_mut(number as usize) else {
                return Err("a slot waits for a topic that has no name");
            };
            topic.waiting += 1;
            pending.fresh_from = pending.fresh_from.max(slot.at.0.saturating_add(1));
        }
        pending.saved_topics = pending.topics.len();
        pending.free = free;
        Ok(pending)
    }

    /// Asserts the invariants. Looks at all.
    pub(crate) fn check(&self) {
        self.free.check();
        let both = self.held.keys().find(|slot| self.free.contains(**slot));
        assert!(both.is_none(), "{both:?} is held and free");
        let waiting: u64 = self.topics.iter().map(|topic| topic.waiting).sum();
        assert!(waiting == self.len() as u64, "{waiting} wait by topic, {} in all", self.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::restore::{Restore, in_order};
    use super::*;

    fn slot(due: i64, at: u64) -> Slot {
        Slot { due: Timestamp(due), at: LogOffset(at) }
    }

    #[test]
    fn what_is_due_comes_in_order_and_to_one_only() {
        let mut pending = Pending::default();
        for (due, at, topic) in [(30, 1, "a"), (10, 2, "b"), (10, 3, "a"), (20, 4, "a")] {
            assert!(pending.add(slot(due, at), topic));
        }
        assert!(!pending.add(slot(10, 2), "b"), "it waits already");
        assert_eq!(pending.next_due(), Some(Timestamp(10)));
        assert_eq!(pending.hold_due(Timestamp(9), 9), []);
        assert_eq!(pending.hold_due(Timestamp(25), 2), [slot(10, 2), slot(10, 3)]);
        assert_eq!(pending.hold(slot(10, 2)), Hold::Busy);
        assert_eq!(pending.next_due(), Some(Timestamp(20)));
        pending.release(slot(10, 2));
        assert_eq!(pending.hold_due(Timestamp(25), 9), [slot(10, 2), slot(20, 4)]);
        assert!(pending.contains(slot(10, 2)) && pending.contains(slot(30, 1)));
        assert_eq!(pending.remove(slot(10, 2)), Some(Was::Held));
        assert_eq!(pending.remove(slot(10, 2)), None);
        assert!(!pending.contains(slot(10, 2)));
        assert_eq!(pending.hold(slot(10, 2)), Hold::Gone);
        assert_eq!(pending.topics(), [("a".into(), 3)]);
        assert_eq!((pending.len(), pending.held()), (3, 2));
        assert_eq!(pending.below(LogOffset(4)), [slot(30, 1), slot(10, 3)]);
        pending.check();
    }

    #[test]
    fn pages_go_on_where_they_stopped() {
        let mut pending = Pending::default();
        for at in 0..10 {
            pending.add(slot(at, 1), if at % 2 == 0 { "even" } else { "odd" });
        }
        let odd = pending.find_topic("odd");
        let first = pending.page(slot(0, 0), odd, 2, 100);
        assert_eq!(first.found.iter().map(|(slot, _)| slot.due.0).collect::<Vec<_>>(), [1, 3]);
        let second = pending.page(first.next.expect("there are more"), odd, 9, 3);
        assert_eq!(second.found.len() + usize::from(second.next == Some(slot(7, 1))), 2);
        assert_eq!(pending.page(slot(7, 1), odd, 9, 9).next, None);
    }

    #[test]
    fn a_checkpoint_that_contradicts_itself_is_refused() {
        let waits = |topic| vec![Change { slot: slot(1, 1), topic: Some(topic) }];
        let restore = |names: &[&str], changes| restore(names, changes).map(drop);
        assert_eq!(restore(&["a"], waits(0)), Ok(()));
        assert!(restore(&["a"], waits(1)).is_err());
        assert!(restore(&["a", "a"], waits(0)).is_err());
    }

    fn restore(names: &[impl AsRef<str>], changes: Vec<Change>) -> Result<Pending, String> {
        let mut restore = Restore::default();
        for (number, name) in names.iter().enumerate() {
            restore.topic(number, name.as_ref())?;
        }
        restore.take(changes);
        restore.finish()
    }

    /// One thing that happens.
    #[derive(Clone, Debug)]
    enum Act {
        Add(i64, usize),
        Over(usize),
        Move(usize, i64),
        HoldDue(i64, usize),
        Hold(usize),
        Release(usize),
        Save { full: bool },
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0..50i64, 0..3usize).prop_map(|(due, topic)| Act::Add(due, topic)),
            2 => any::<usize>().prop_map(Act::Over),
            1 => (any::<usize>(), 0..50i64).prop_map(|(which, due)| Act::Move(which, due)),
            2 => (0..50i64, 1..5usize).prop_map(|(now, max)| Act::HoldDue(now, max)),
            1 => any::<usize>().prop_map(Act::Hold),
            1 => any::<usize>().prop_map(Act::Release),
            1 => any::<bool>().prop_map(|full| Act::Save { full }),
        ]
    }

    const NAMES: [&str; 3] = ["a", "b", "c"];

    proptest! {
        /// Whatever happens, it agrees with a table by log offset; and what its checkpoints hold is what it holds.
        #[test]
        fn agrees_with_a_plain_table(acts in proptest::collection::vec(act(), 0..80)) {
            let mut pending = Pending::default();
            // By log offset: due time, topic, held.
            let mut model: BTreeMap<u64, (i64, usize, bool)> = BTreeMap::new();
            let (mut names, mut saved): (Vec<Arc<str>>, Vec<Change>) = Default::default();
            let mut next = 1;
            for act in acts {
                let pick = |which: usize, model: &BTreeMap<u64, (i64, usize, bool)>| {
                    let at = which.checked_rem(model.len())?;
                    model.iter().nth(at).map(|(at, entry)| (*at, *entry))
                };
                match act {
                    Act::Add(due, topic) => {
                        prop_assert!(pending.add(slot(due, next), NAMES[topic]));
                        model.insert(next, (due, topic, false));
                        next += 1;
                    }
                    Act::Over(which) => if let Some((at, (due, ..))) = pick(which, &model) {
                        let was = pending.remove(slot(due, at));
                        let held = model.remove(&at).expect("it is there").2;
                        prop_assert_eq!(was, Some(if held { Was::Held } else { Was::Free }));
                    }
                    Act::Move(which, to) => if let Some((at, (due, topic, _))) = pick(which, &model) {
                        pending.add(slot(to, next), NAMES[topic]);
                        pending.remove(slot(due, at));
                        model.remove(&at);
                        model.insert(next, (to, topic, false));
                        next += 1;
                    }
                    Act::HoldDue(now, max) => {
                        let mut due: Vec<(i64, u64)> = model.iter()
                            .filter(|(_, (due, _, held))| *due <= now && !held)
                            .map(|(at, (due, ..))| (*due, *at)).collect();
                        due.sort_unstable();
                        due.truncate(max);
                        let held: Vec<(i64, u64)> =
                            pending.hold_due(Timestamp(now), max).iter().map(|slot| (slot.due.0, slot.at.0)).collect();
                        prop_assert_eq!(&held, &due);
                        due.iter().for_each(|(_, at)| model.get_mut(at).expect("it is there").2 = true);
                    }
                    Act::Hold(which) => if let Some((at, (due, _, held))) = pick(which, &model) {
                        let expected = if held { Hold::Busy } else { Hold::Held };
                        prop_assert_eq!(pending.hold(slot(due, at)), expected);
                        model.get_mut(&at).expect("it is there").2 = true;
                    }
                    Act::Release(which) => if let Some((at, (due, ..))) = pick(which, &model) {
                        pending.release(slot(due, at));
                        model.get_mut(&at).expect("it is there").2 = false;
                    }
                    Act::Save { full } => {
                        if full {
                            names = pending.all_topics().into_iter().map(|(_, name)| name).collect();
                            saved.clear();
                            let mut from = Some(slot(i64::MIN, 0));
                            while let Some(start) = from {
                                let page = pending.free_page(start, 3);
                                saved.extend(page.found.iter().map(|(slot, topic)| Change { slot: *slot, topic: Some(*topic) }));
                                from = page.next;
                            }
                        }
                        let (fresh, changes) = pending.take_changes(full);
                        for (number, name) in fresh {
                            if names.len() == number as usize { names.push(name) }
                        }
                        saved.extend(in_order(changes));
                        let mut restored = restore(&names, saved.clone()).expect("it is sound");
                        restored.check();
                        let all = |pending: &mut Pending| pending.page(slot(i64::MIN, 0), None, 1000, 1000);
                        prop_assert_eq!(all(&mut restored), all(&mut pending));
                        prop_assert_eq!(restored.topics(), pending.topics());
                    }
                }
                pending.check();
                let next_due = model.values().filter(|(.., held)| !held).map(|(due, ..)| *due).min();
                prop_assert_eq!(pending.next_due().map(|due| due.0), next_due);
                prop_assert_eq!(pending.len(), model.len());
            }
        }
    }
}
