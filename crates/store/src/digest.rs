// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What the properties of records say, remembered in short: a record with a body of a kibibyte has a hundred
//! bytes of them, and a filter asks for nothing else. Filled and asked by reads whose filter has to look into records; a
//! second group, or a second look, then passes over what it does not want without touching the log.
//! In: the properties that a read came by. Out: the same again, for as long as there is room.
//! Invariants: a text is given only for the record it was taken from, named by where it lies in the log, which never
//! changes; the texts take at most [`ROOM`], the oldest go first. Nothing here is needed: what is not known is looked at.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use protocol::names::LogOffset;

/// How many messages of a queue, one behind the other, are remembered together.
pub(crate) const TOGETHER: u64 = 256;
/// The most bytes of memory.
const ROOM: usize = 32 << 20;
/// What a block takes besides its texts.
const FIXED: usize = 160;

/// The properties of some messages of one queue that follow each other.
#[derive(Debug, Default)]
pub(crate) struct Block {
    first: u64,
    /// Where each record lies, and where its text ends.
    records: Vec<(LogOffset, u32)>,
    text: String,
}

/// A queue, by the address of its handle, and which [`TOGETHER`] messages of it.
type Key = (usize, u64);

/// All blocks of a store.
#[derive(Default)]
pub(crate) struct Digests {
    blocks: HashMap<Key, Arc<Block>>,
    /// The oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

/// No record lies there.
const NOWHERE: LogOffset = LogOffset(u64::MAX);

impl Block {
    /// Begins with the message at `first`.
    pub(crate) fn new(first: u64) -> Block {
        Block { first, records: Vec::with_capacity(TOGETHER as usize), text: String::new() }
    }

    /// Adds the next message, whose record lies at `log`; without a text when nothing is known of it.
    pub(crate) fn push(&mut self, log: LogOffset, text: Option<&str>) {
        self.text.push_str(text.unwrap_or_default());
        self.records.push((text.map_or(NOWHERE, |_| log), self.text.len() as u32));
    }

    /// The properties of the message at `offset`, if its record lies at `log`.
    pub(crate) fn get(&self, offset: u64, log: LogOffset) -> Option<&str> {
        let index = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        let (_, end) = *self.records.get(index).filter(|(at, _)| *at == log && log != NOWHERE)?;
        let start = index.checked_sub(1).map_or(0, |before| self.records[before].1);
        self.text.get(start as usize..end as usize)
    }

    fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    fn bytes(&self) -> usize {
        FIXED + self.records.capacity() * size_of::<(LogOffset, u32)>() + self.text.capacity()
    }

    /// What both know, where they touch; `self` where they do not, and where both know something.
    fn with(mut self, other: &Block) -> Block {
        if other.end() < self.first || self.end() < other.first {
            return self;
        }
        let (first, end) = (self.first.min(other.first), self.end().max(other.end()));
        if first < self.first || end > self.end() {
            let mut both = Block::new(first);
            for offset in first..end {
                let newer = self.known(offset);
                let (log, text) = newer.or_else(|| other.known(offset)).unzip();
                both.push(log.unwrap_or(NOWHERE), text);
            }
            self = both;
        }
        self.text.shrink_to_fit();
        self
    }

    fn known(&self, offset: u64) -> Option<(LogOffset, &str)> {
        let index = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        let (log, _) = *self.records.get(index)?;
        (log != NOWHERE).then_some(())?;
        Some((log, self.get(offset, log)?))
    }
}

impl Digests {
    /// What is known of the messages around `offset` of a queue.
    pub(crate) fn find(&self, queue: usize, offset: u64) -> Option<Arc<Block>> {
        self.blocks.get(&(queue, offset / TOGETHER)).cloned()
    }

    /// Remembers the messages of a block; they lie within one [`TOGETHER`].
    pub(crate) fn keep(&mut self, queue: usize, block: Block) {
        let key = (queue, block.first / TOGETHER);
        assert!(block.records.is_empty() || (block.end() - 1) / TOGETHER == key.1, "a block is of one piece");
        let block = match self.blocks.get(&key) {
            Some(known) => {
                self.bytes -= known.bytes();
                block.with(known)
            }
            None => {
                self.order.push_back(key);
                block
            }
        };
        self.bytes += block.bytes();
        self.blocks.insert(key, Arc::new(block));
        while self.bytes > ROOM
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.blocks.remove(&oldest).map_or(0, |block| block.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The record of a message, in a queue that is called `queue`.
    fn log(queue: usize, offset: u64) -> LogOffset {
        LogOffset(offset * 1000 + queue as u64)
    }

    fn text(queue: usize, offset: u64) -> String {
        format!("{queue}é{offset}").repeat((offset % 3) as usize)
    }

    fn block(queue: usize, first: u64, count: u64, lost: u64) -> Block {
        let mut block = Block::new(first);
        for offset in first..first + count {
            let text = text(queue, offset);
            block.push(log(queue, offset), (offset != lost).then_some(text.as_str()));
        }
        block
    }

    proptest! {
        #[test]
        fn what_is_given_is_what_was_seen(
            pieces in proptest::collection::vec((0..3usize, 0..4u64, 0..TOGETHER, 1..TOGETHER, 0..TOGETHER), 1..30),
        ) {
            let mut digests = Digests::default();
            for (queue, piece, from, count, lost) in pieces {
                let first = piece * TOGETHER + from;
                let count = count.min(TOGETHER - from);
                let lost = piece * TOGETHER + lost;
                digests.keep(queue, block(queue, first, count, lost));
                let now = digests.find(queue, first).expect("it was just kept");
                for offset in (first..first + count).filter(|offset| *offset != lost) {
                    prop_assert_eq!(now.get(offset, log(queue, offset)), Some(&*text(queue, offset)));
                }
                for offset in piece * TOGETHER..(piece + 1) * TOGETHER {
                    let said = now.get(offset, log(queue, offset));
                    prop_assert!(said.is_none_or(|said| said == text(queue, offset)));
                    prop_assert_eq!(now.get(offset, LogOffset(log(queue, offset).0 + 1)), None);
                    prop_assert_eq!(now.get(offset, NOWHERE), None);
                }
                prop_assert_eq!(digests.bytes, digests.blocks.values().map(|block| block.bytes()).sum::<usize>());
                prop_assert_eq!(digests.order.len(), digests.blocks.len());
            }
        }
    }

    #[test]
    fn pieces_that_touch_become_one_and_the_oldest_go() {
        let mut digests = Digests::default();
        digests.keep(1, block(1, 10, 20, 12));
        digests.keep(1, block(1, 30, 5, 0));
        let both = digests.find(1, 255).expect("it was kept");
        assert_eq!((both.first, both.end()), (10, 35));
        assert_eq!((both.get(12, log(1, 12)), both.get(9, log(1, 9))), (None, None));
        let large = "x".repeat(64 << 10);
        for piece in 1..2000 {
            let mut block = Block::new(piece * TOGETHER);
            block.push(LogOffset(piece), Some(&large));
            digests.keep(1, block);
            assert!(digests.bytes <= ROOM);
        }
        assert!(digests.find(1, 10).is_none() && digests.find(1, 1999 * TOGETHER).is_some());
        assert!(digests.blocks.len() > 300 && digests.order.len() == digests.blocks.len());
    }
}
