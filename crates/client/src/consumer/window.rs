// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. One queue as its consumer sees it: what was pulled, what is with the listener, what may be committed.
//! In: pulled, take, finish. Out: messages to hand over, the offset that may be committed.
//! Used by the push consumer, one window per held queue. Never calls anyone.
//! Invariants: a message is either waiting or taken; the committable offset never passes one of them and never moves back.

use std::collections::{BTreeMap, VecDeque};

/// Bounds of what a consumer keeps in memory for one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    /// Messages waiting or with the listener.
    pub messages: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// Distance between the first and the last offset; a single stuck message stops the queue at this point.
    pub span: u64,
}

impl Default for WindowLimits {
    fn default() -> Self {
        WindowLimits { messages: 1000, bytes: 100 << 20, span: 2000 }
    }
}

#[derive(Debug)]
pub(crate) struct Window<M> {
    waiting: VecDeque<(u64, usize, M)>,
    taken: BTreeMap<u64, usize>,
    next: u64,
    bytes: usize,
    committable: u64,
}

impl<M> Window<M> {
    /// Starts with the first offset to pull.
    pub(crate) fn new(from: u64) -> Window<M> {
        Window { waiting: VecDeque::new(), taken: BTreeMap::new(), next: from, bytes: 0, committable: from }
    }

    /// The offset to pull from next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// One past the last offset with nothing unfinished before it.
    pub(crate) fn committable(&self) -> u64 {
        self.committable
    }

    /// How many messages wait or are with the listener.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.taken.len()
    }

    /// True when a message waits to be handed over.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Bytes of what waits or is with the listener.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lowest and highest offset that waits or is with the listener.
    pub(crate) fn span(&self) -> Option<(u64, u64)> {
        let waiting = (self.waiting.front().map(|m| m.0), self.waiting.back().map(|m| m.0));
        let taken =
            (self.taken.first_key_value().map(|(o, _)| *o), self.taken.last_key_value().map(|(o, _)| *o));
        let first = [waiting.0, taken.0].into_iter().flatten().min()?;
        let last = [waiting.1, taken.1].into_iter().flatten().max()?;
        Some((first, last))
    }

    /// True while more may be pulled.
    pub(crate) fn has_room(&self, limits: &WindowLimits) -> bool {
        self.len() < limits.messages
            && self.bytes < limits.bytes
            && self.span().is_none_or(|(first, last)| last - first <= limits.span)
    }

    /// Takes in the answer to a pull. Offsets that were seen already, or are not rising, are dropped.
    pub(crate) fn pulled(&mut self, next: u64, messages: impl IntoIterator<Item = (u64, usize, M)>) {
        for (offset, bytes, message) in messages {
            if offset < self.next {
                continue;
            }
            self.next = offset + 1;
            self.bytes += bytes;
            self.waiting.push_back((offset, bytes, message));
        }
        self.next = self.next.max(next);
        self.settle();
    }

    /// Hands over up to `max` messages in queue order.
    pub(crate) fn take(&mut self, max: usize) -> Vec<(u64, M)> {
        let count = max.min(self.waiting.len());
        let mut out = Vec::with_capacity(count);
        for (offset, bytes, message) in self.waiting.drain(..count) {
            self.taken.insert(offset, bytes);
            out.push((offset, message));
        }
        out
    }

    /// Marks a taken message as dealt with. An offset that is not taken is ignored.
    pub(crate) fn finish(&mut self, offset: u64) {
        if let Some(bytes) = self.taken.remove(&offset) {
            self.bytes -= bytes;
            self.settle();
        }
    }

    fn settle(&mut self) {
        let free = self.span().map_or(self.next, |(first, _)| first);
        self.committable = self.committable.max(free);
    }

    #[cfg(test)]
    fn check(&self) {
        let offsets: Vec<u64> = self.waiting.iter().map(|m| m.0).collect();
        assert!(offsets.is_sorted_by(|a, b| a < b), "waiting is in queue order: {offsets:?}");
        assert!(offsets.iter().all(|o| !self.taken.contains_key(o)), "a message is in one place");
        assert!(self.span().is_none_or(|(first, last)| self.committable <= first && last < self.next));
        let bytes: usize = self.waiting.iter().map(|m| m.1).chain(self.taken.values().copied()).sum();
        assert_eq!(bytes, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn filled(offsets: &[u64]) -> Window<u64> {
        let mut window = Window::new(10);
        window.pulled(offsets.last().map_or(10, |o| o + 1), offsets.iter().map(|&o| (o, 5, o)));
        window.check();
        window
    }

    #[test]
    fn commits_stop_at_the_first_unfinished_message() {
        let mut window = filled(&[10, 11, 13]);
        assert_eq!(window.take(3).len(), 3);
        window.finish(11);
        window.finish(13);
        assert_eq!(window.committable(), 10);
        window.finish(10);
        assert_eq!((window.committable(), window.len(), window.bytes()), (14, 0, 0));
    }

    #[test]
    fn a_filtered_range_moves_the_commit_only_when_nothing_is_open() {
        let mut window = filled(&[10]);
        window.pulled(50, []);
        assert_eq!((window.next(), window.committable()), (50, 10));
        window.take(1);
        window.finish(10);
        assert_eq!(window.committable(), 50);
    }

    #[test]
    fn each_limit_stops_the_pull() {
        let limits = WindowLimits { messages: 3, bytes: 100, span: 20 };
        assert!(filled(&[10, 11]).has_room(&limits));
        assert!(!filled(&[10, 11, 12]).has_room(&limits));
        assert!(!filled(&[10, 31]).has_room(&limits));
        assert!(!filled(&[10, 11]).has_room(&WindowLimits { bytes: 10, ..limits }));
    }

    proptest! {
        #[test]
        fn no_order_of_events_commits_past_an_open_message(steps in prop::collection::vec((0u8..3, 0u64..6), 1..200)) {
            let mut window = Window::new(0);
            let mut open = BTreeSet::new();
            let mut held: Vec<(u64, u64)> = Vec::new();
            let mut last = 0;
            for (step, n) in steps {
                match step {
                    0 => {
                        let from = window.next();
                        let offsets: Vec<u64> = (from..from + n).filter(|o| o % 3 != 1).collect();
                        open.extend(offsets.iter().copied());
                        window.pulled(from + n, offsets.into_iter().map(|o| (o, 1, o)));
                    }
                    1 => held.extend(window.take(n as usize)),
                    2 if !held.is_empty() => {
                        let (offset, _) = held.swap_remove(n as usize % held.len());
                        open.remove(&offset);
                        window.finish(offset);
                    }
                    _ => {}
                }
                window.check();
                prop_assert_eq!(window.len(), open.len());
                prop_assert_eq!(window.committable(), open.first().copied().unwrap_or(window.next()));
                prop_assert!(window.committable() >= last);
                last = window.committable();
            }
        }
    }
}
