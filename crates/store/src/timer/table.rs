// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. A table of millions of slots in due order, to which one more is cheap: slots lie in leaves of up to a
//! thousand, a new one goes behind the others of its leaf, and a leaf is put in order when somebody looks at it in
//! order, or when it is full and becomes two. An insert touches the small index and one end of a leaf, where a tree
//! touches a node on each of its levels. New ones gather in an inbox first and go to their leaves in due order, so that those
//! for one leaf find it, and the way to it, in the processor's caches.
//! In: slots with the number of their topic. Out: the same, in order. Used by `pending` only.
//! Invariants: a leaf holds what lies from its key on and below the next key; the first leaf's key is below all; what
//! stands in front of a leaf's `sorted` is in order; no leaf is empty; a slot lies in a leaf or in the inbox.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use protocol::names::LogOffset;
use stdx::Timestamp;

use super::pending::{Change, Slot};

/// The most slots of a leaf; few where tests look for what goes wrong between leaves.
const LEAF: usize = if cfg!(test) { 8 } else { 1024 };
/// Slots of a leaf that is made from many in order: there is room for more.
const FILL: usize = LEAF / 4 * 3;
/// The most slots of the inbox: some milliseconds of work.
const INBOX: usize = if cfg!(test) { 6 } else { 1 << 15 };
/// A leaf begins with room for so many.
const ROOM: usize = 16;

/// A slot and the number of its topic, without the room that alignment would take.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(4))]
struct Row {
    due: i64,
    at: u64,
    topic: u32,
}

impl Row {
    fn new(slot: Slot, topic: u32) -> Row {
        Row { due: slot.due.0, at: slot.at.0, topic }
    }

    fn slot(&self) -> Slot {
        Slot { due: Timestamp(self.due), at: LogOffset(self.at) }
    }
}

#[derive(Debug, Default)]
struct Leaf {
    rows: Vec<Row>,
    /// So many of them, from the front, are in order.
    sorted: usize,
}

/// The slots.
#[derive(Debug, Default)]
pub(super) struct Table {
    leaves: BTreeMap<Slot, Leaf>,
    /// What came last, in no order.
    inbox: Vec<Row>,
    /// The first of the inbox.
    inbox_first: Option<Slot>,
    len: usize,
}

impl Leaf {
    /// A leaf of rows in order.
    fn of(rows: Vec<Row>) -> Leaf {
        Leaf { sorted: rows.len(), rows }
    }

    fn push(&mut self, row: Row) {
        let len = self.rows.len();
        if len == self.rows.capacity() {
            self.rows.reserve_exact(len.clamp(ROOM, (LEAF - len).max(ROOM)));
        }
        // A leaf that grows in order stays in order.
        if self.sorted == len && self.rows.last().is_none_or(|last| last.slot() < row.slot()) {
            self.sorted += 1;
        }
        self.rows.push(row);
    }

    fn sort(&mut self) {
        if self.sorted < self.rows.len() {
            // Mostly in order already: a stable sort takes that over.
            self.rows.sort_by_key(Row::slot);
            self.sorted = self.rows.len();
        }
    }

    /// Where a slot stands.
    fn find(&self, slot: Slot) -> Option<usize> {
        let (sorted, tail) = self.rows.split_at(self.sorted);
        let in_order = sorted.binary_search_by_key(&slot, Row::slot).ok();
        in_order.or_else(|| tail.iter().position(|row| row.slot() == slot).map(|at| at + self.sorted))
    }

    fn first(&self) -> Option<Slot> {
        let tail = self.rows[self.sorted..].iter().map(Row::slot).min();
        self.rows.first().map(Row::slot).into_iter().chain(tail).min()
    }

    fn take(&mut self, at: usize) -> Row {
        let row = if at < self.sorted {
            self.sorted -= 1;
            self.rows.remove(at)
        } else {
            self.rows.swap_remove(at)
        };
        self.shrink();
        row
    }

    /// What many removals left takes no more room than it needs.
    fn shrink(&mut self) {
        if self.rows.len() * 4 < self.rows.capacity() {
            self.rows.shrink_to((self.rows.len() * 2).max(ROOM));
        }
    }

    /// Keeps the lower half, and returns the upper one; much the greater part of what came in order, as more will.
    fn split(&mut self) -> Leaf {
        let came_in_order = self.sorted == self.rows.len();
        self.sort();
        let upper = self.rows.split_off(if came_in_order { LEAF - LEAF / 8 } else { LEAF / 2 });
        self.sorted = self.rows.len();
        Leaf::of(upper)
    }
}

impl Table {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn key_of(&self, slot: Slot) -> Option<Slot> {
        self.leaves.range(..=slot).next_back().map(|(key, _)| *key)
    }

    /// Adds a slot that is not there.
    pub(super) fn insert(&mut self, slot: Slot, topic: u32) {
        self.len += 1;
        self.inbox.push(Row::new(slot, topic));
        self.inbox_first = Some(self.inbox_first.map_or(slot, |first| first.min(slot)));
        if self.inbox.len() >= INBOX {
            self.settle();
        }
    }

    /// Empties the inbox.
    fn settle(&mut self) {
        self.inbox_first = None;
        let mut inbox = std::mem::take(&mut self.inbox);
        inbox.sort_unstable_by_key(Row::slot);
        inbox.drain(..).for_each(|row| self.place(row));
        self.inbox = inbox;
    }

    /// Puts a row into its leaf.
    fn place(&mut self, row: Row) {
        let Some((_, leaf)) = self.leaves.range_mut(..=row.slot()).next_back() else {
            self.leaves.insert(Slot::FIRST, Leaf::of(vec![row]));
            return;
        };
        leaf.push(row);
        if leaf.rows.len() >= LEAF {
            let upper = leaf.split();
            self.leaves.insert(upper.rows[0].slot(), upper);
        }
    }

    /// Takes a slot out; returns its topic if it was there.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<u32> {
        self.settle();
        let (key, leaf) = self.leaves.range_mut(..=slot).next_back()?;
        let (key, row) = (*key, leaf.take(leaf.find(slot)?));
        if leaf.rows.is_empty() {
            self.drop_leaf(key);
        }
        self.len -= 1;
        Some(row.topic)
    }

    /// Forgets an empty leaf. What lies in its reach belongs to the one before, or, where there is none, to the next.
    fn drop_leaf(&mut self, key: Slot) {
        self.leaves.remove(&key);
        if key == Slot::FIRST
            && let Some((_, next)) = self.leaves.pop_first()
        {
            self.leaves.insert(Slot::FIRST, next);
        }
    }

    /// Whether a slot is there.
    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.inbox.iter().any(|row| row.slot() == slot)
            || self.leaves.range(..=slot).next_back().is_some_and(|(_, leaf)| leaf.find(slot).is_some())
    }

    /// The first slot.
    pub(super) fn first(&self) -> Option<Slot> {
        let in_leaves = self.leaves.first_key_value().and_then(|(_, leaf)| leaf.first());
        in_leaves.into_iter().chain(self.inbox_first).min()
    }

    /// Takes up to `max` slots out that are due at `now`, the first ones.
    pub(super) fn take_due(&mut self, now: Timestamp, max: usize) -> Vec<(Slot, u32)> {
        if self.inbox_first.is_some_and(|first| first.due <= now) {
            self.settle();
        }
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(mut entry) = self.leaves.first_entry()
        {
            let leaf = entry.get_mut();
            leaf.sort();
            let due = leaf.rows.partition_point(|row| row.due <= now.0);
            let count = due.min(max - taken.len());
            taken.extend(leaf.rows.drain(..count).map(|row| (row.slot(), row.topic)));
            leaf.sorted = leaf.rows.len();
            if !leaf.rows.is_empty() {
                leaf.shrink();
                break;
            }
            self.drop_leaf(Slot::FIRST);
        }
        self.len -= taken.len();
        taken
    }

    /// Visits slots in order from `from` on, until told to stop.
    pub(super) fn visit(&mut self, from: Slot, mut visit: impl FnMut(Slot, u32) -> ControlFlow<()>) {
        self.settle();
        let Some(key) = self.key_of(from) else { return };
        for (_, leaf) in self.leaves.range_mut(key..) {
            leaf.sort();
            let start = leaf.rows.partition_point(|row| row.slot() < from);
            if leaf.rows[start..].iter().try_for_each(|row| visit(row.slot(), row.topic)).is_break() {
                return;
            }
        }
    }

    /// All slots, in any order.
    pub(super) fn all(&self) -> impl Iterator<Item = (Slot, u32)> + '_ {
        let rows = self.leaves.values().flat_map(|leaf| &leaf.rows).chain(&self.inbox);
        rows.map(|row| (row.slot(), row.topic))
    }

    /// Makes many changes at once, which are in order and name each slot once.
    pub(super) fn merge(&mut self, mut changes: &[Change]) {
        self.settle();
        let mut build = Build::default();
        let mut leaves = std::mem::take(&mut self.leaves).into_iter().peekable();
        if leaves.peek().is_none() {
            build.merge(&[], changes);
        }
        while let Some((_, mut leaf)) = leaves.next() {
            let next = leaves.peek().map(|(key, _)| *key);
            let count = changes.partition_point(|change| next.is_none_or(|next| change.slot < next));
            let (mine, rest) = changes.split_at(count);
            changes = rest;
            if mine.is_empty() {
                build.adopt(leaf);
            } else {
                leaf.sort();
                build.merge(&leaf.rows, mine);
            }
        }
        *self = build.finish();
    }

    /// Asserts the invariants. Looks at all.
    pub(super) fn check(&self) {
        let mut keys = self.leaves.keys().skip(1);
        assert!(self.leaves.first_key_value().is_none_or(|(key, _)| *key == Slot::FIRST), "slots below all");
        for (key, leaf) in &self.leaves {
            let next = keys.next();
            let is_inside = |row: &Row| *key <= row.slot() && next.is_none_or(|next| row.slot() < *next);
            assert!(!leaf.rows.is_empty() && leaf.rows.len() < LEAF, "a leaf of {}", leaf.rows.len());
            assert!(leaf.rows.iter().all(is_inside), "a slot lies in the wrong leaf");
            assert!(leaf.rows[..leaf.sorted].is_sorted_by_key(Row::slot), "a leaf is out of order");
        }
        assert!(
            self.inbox_first == self.inbox.iter().map(Row::slot).min(),
            "the first of the inbox is another"
        );
        let len: usize = self.leaves.values().map(|leaf| leaf.rows.len()).sum();
        let len = len + self.inbox.len();
        assert!(len == self.len, "{len} slots are counted as {}", self.len);
    }
}

/// Makes a table of slots that come in order.
#[derive(Debug, Default)]
pub(super) struct Build {
    table: Table,
    open: Vec<Row>,
}

impl Build {
    /// Adds one that lies behind all before.
    pub(super) fn push(&mut self, slot: Slot, topic: u32) {
        self.push_row(Row::new(slot, topic));
    }

    fn push_row(&mut self, row: Row) {
        if self.open.capacity() == 0 {
            self.open.reserve_exact(FILL);
        }
        self.open.push(row);
        if self.open.len() == FILL {
            self.close();
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            let mut rows = std::mem::take(&mut self.open);
            rows.shrink_to(rows.len());
            self.adopt_closed(Leaf::of(rows));
        }
    }

    /// Takes a whole leaf over.
    fn adopt(&mut self, leaf: Leaf) {
        self.close();
        self.adopt_closed(leaf);
    }

    fn adopt_closed(&mut self, leaf: Leaf) {
        let first = leaf.first().expect("no leaf is empty");
        let key = if self.table.leaves.is_empty() { Slot::FIRST } else { first };
        self.table.len += leaf.rows.len();
        self.table.leaves.insert(key, leaf);
    }

    /// Adds rows in order and what changes among them; the change of a slot counts.
    fn merge(&mut self, mut rows: &[Row], changes: &[Change]) {
        for change in changes {
            let before = rows.partition_point(|row| row.slot() < change.slot);
            rows[..before].iter().for_each(|row| self.push_row(*row));
            rows = &rows[before..];
            if rows.first().is_some_and(|row| row.slot() == change.slot) {
                rows = &rows[1..];
            }
            if let Some(topic) = change.topic {
                self.push(change.slot, topic);
            }
        }
        rows.iter().for_each(|row| self.push_row(*row));
    }

    /// The table.
    pub(super) fn finish(mut self) -> Table {
        self.close();
        self.table
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(due: i64, at: u64) -> Slot {
        Slot { due: Timestamp(due), at: LogOffset(at) }
    }

    fn all(table: &mut Table, from: Slot) -> Vec<(Slot, u32)> {
        let mut found = Vec::new();
        table.visit(from, |slot, topic| {
            found.push((slot, topic));
            ControlFlow::Continue(())
        });
        found
    }

    #[derive(Clone, Debug)]
    enum Act {
        Insert(i64),
        Remove(usize),
        TakeDue(i64, usize),
        Look(i64),
        Merge(Vec<(i64, bool)>),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            20 => (-40..40i64).prop_map(Act::Insert),
            6 => any::<usize>().prop_map(Act::Remove),
            1 => (-45..10i64, 0..20usize).prop_map(|(now, max)| Act::TakeDue(now, max)),
            1 => (-45..45i64).prop_map(Act::Look),
            1 => proptest::collection::vec((-40..40i64, any::<bool>()), 0..30).prop_map(Act::Merge),
        ]
    }

    proptest! {
        /// Whatever happens, it agrees with a tree.
        #[test]
        fn agrees_with_a_tree(acts in proptest::collection::vec(act(), 0..400)) {
            let (mut table, mut tree) = (Table::default(), BTreeMap::new());
            for (at, act) in acts.into_iter().enumerate() {
                let (at, topic) = (at as u64 * 100, at as u32);
                match act {
                    Act::Insert(due) => {
                        table.insert(slot(due, at), topic);
                        tree.insert(slot(due, at), topic);
                    }
                    Act::Remove(which) => {
                        let wanted = tree.keys().nth(which % tree.len().max(1)).copied();
                        let wanted = wanted.unwrap_or(slot(0, 7));
                        prop_assert_eq!(table.contains(wanted), tree.contains_key(&wanted));
                        prop_assert_eq!(table.remove(wanted), tree.remove(&wanted));
                        prop_assert_eq!(table.remove(wanted), None);
                        prop_assert!(!table.contains(wanted));
                    }
                    Act::TakeDue(now, max) => {
                        let due = tree.iter().take_while(|(slot, _)| slot.due.0 <= now).take(max);
                        let due: Vec<(Slot, u32)> = due.map(|(slot, topic)| (*slot, *topic)).collect();
                        due.iter().for_each(|(slot, _)| _ = tree.remove(slot));
                        prop_assert_eq!(table.take_due(Timestamp(now), max), due);
                    }
                    Act::Look(due) => {
                        let from = slot(due, at / 2);
                        let rest: Vec<(Slot, u32)> =
                            tree.range(from..).map(|(slot, topic)| (*slot, *topic)).collect();
                        prop_assert_eq!(all(&mut table, from), rest);
                    }
                    Act::Merge(changes) => {
                        let known: Vec<Slot> = tree.keys().copied().collect();
                        let mut merged = BTreeMap::new();
                        for (index, (due, waits)) in changes.into_iter().enumerate() {
                            // Some of what is there, some that is not.
                            let fresh = slot(due, at + 1 + index as u64);
                            let one = known.get((due + 40) as usize * 3).copied().unwrap_or(fresh);
                            merged.insert(one, waits.then_some(topic));
                        }
                        let changes: Vec<Change> =
                            merged.iter().map(|(slot, topic)| Change { slot: *slot, topic: *topic }).collect();
                        table.merge(&changes);
                        for (slot, topic) in merged {
                            _ = match topic {
                                Some(topic) => tree.insert(slot, topic),
                                None => tree.remove(&slot),
                            };
                        }
                    }
                }
                table.check();
                prop_assert_eq!(table.len(), tree.len());
                prop_assert_eq!(table.first(), tree.keys().next().copied());
            }
            prop_assert_eq!(all(&mut table, Slot::FIRST), tree.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_comes_in_order_fills_its_leaves() {
        let mut table = Table::default();
        (0..1000).for_each(|at| table.insert(slot(at as i64, at), 0));
        assert!(table.leaves.len() <= 1000 / (LEAF - LEAF / 8) + 1, "{} leaves", table.leaves.len());
        assert!(table.leaves.values().all(|leaf| leaf.sorted == leaf.rows.len()));
    }

    #[test]
    fn a_row_takes_twenty_bytes() {
        assert_eq!(size_of::<Row>(), 20);
    }
}
