// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. How far one group has come in one topic, queue by queue.
//! In: commits, explicit moves, what the broker knows of the queues. Out: what became of them, and rows to store.
//! Invariants: a commit never moves a queue back, but once to where an explicit move sent the consumer; an explicit
//! move is what counts until the consumer has seen it.

use std::collections::BTreeMap;

use protocol::names::{QueueId, QueueOffset};

/// The most queues that one group's progress in one topic is kept for.
pub(crate) const QUEUES_MAX: u32 = 65_536;

/// One group's progress in one topic.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    queues: BTreeMap<QueueId, Place>,
    /// Where each queue ended when the group was first seen; asked only while nothing is committed.
    joined: Vec<QueueOffset>,
    dirty: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    committed: Option<QueueOffset>,
    /// An explicit move that the consumer has not seen yet. It lives in memory: after a restart the place it moved
    /// to is simply the committed one.
    moved: Option<QueueOffset>,
    /// Where the consumer was sent by the last move that it has seen. A 4.9 client goes on committing its old place for
    /// some seconds and then commits this one; that commit counts although it is behind.
    sent_to: Option<QueueOffset>,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It counts now.
    Moved,
    /// The group had come further already, so it is left there.
    Behind {
        /// How far.
        stored: QueueOffset,
    },
    /// An explicit move waits to be seen; until then the consumer's own idea is void.
    MovePending,
    /// No room for so many queues.
    TooMany,
}

impl Progress {
    /// Notes how far a consumer has come.
    pub(crate) fn commit(&mut self, queue: QueueId, offset: QueueOffset) -> Committed {
        if self.queues.len() >= QUEUES_MAX as usize && !self.queues.contains_key(&queue) {
            return Committed::TooMany;
        }
        let place = self.queues.entry(queue).or_default();
        match place.committed {
            _ if place.moved.is_some() => Committed::MovePending,
            Some(stored) if offset < stored && place.sent_to != Some(offset) => Committed::Behind { stored },
            Some(stored) if offset == stored => Committed::Moved,
            _ => {
                place.sent_to = place.sent_to.filter(|target| *target != offset);
                place.committed = Some(offset);
                self.dirty = true;
                Committed::Moved
            }
        }
    }

    /// Puts a queue at `offset`, back or forth; with `tell` the consumer is sent there by its next pull.
    pub(crate) fn set(&mut self, queue: QueueId, offset: QueueOffset, tell: bool) -> Committed {
        if self.queues.len() >= QUEUES_MAX as usize && !self.queues.contains_key(&queue) {
            return Committed::TooMany;
        }
        let moved = tell.then_some(offset);
        self.queues.insert(queue, Place { committed: Some(offset), moved, sent_to: None });
        self.dirty = true;
        Committed::Moved
    }

    /// Notes that the consumer was told to go to `offset` by itself: its commit of that place counts, once, though it is
    /// behind. What is committed stays until then.
    pub(crate) fn expect(&mut self, queue: QueueId, offset: QueueOffset) {
        if let Some(place) = self.queues.get_mut(&queue) {
            place.sent_to = Some(offset);
        }
    }

    /// True when the consumer has to go somewhere.
    pub(crate) fn has_move(&self, queue: QueueId) -> bool {
        self.queues.get(&queue).is_some_and(|place| place.moved.is_some())
    }

    /// Returns where the consumer has to go, once.
    pub(crate) fn take_move(&mut self, queue: QueueId) -> Option<QueueOffset> {
        let place = self.queues.get_mut(&queue)?;
        place.sent_to = place.moved.or(place.sent_to);
        place.moved.take()
    }

    /// Returns how far the group has come in a queue.
    pub(crate) fn committed(&self, queue: QueueId) -> Option<QueueOffset> {
        self.queues.get(&queue)?.committed
    }

    /// Returns all queues with their committed offsets, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (QueueId, QueueOffset)> + '_ {
        self.queues.iter().filter_map(|(queue, place)| Some((*queue, place.committed?)))
    }

    /// Remembers where the queues end now; only the first call counts.
    pub(crate) fn join(&mut self, mut ends: Vec<QueueOffset>) {
        ends.truncate(QUEUES_MAX as usize);
        if self.joined.is_empty() && self.queues.is_empty() && !ends.is_empty() {
            self.joined = ends;
            self.dirty = true;
        }
    }

    /// Returns where the queue ended when the group was first seen.
    pub(crate) fn joined(&self, queue: QueueId) -> Option<QueueOffset> {
        self.joined.get(queue.0 as usize).copied()
    }

    /// True when nothing is known of the group yet.
    pub(crate) fn is_new(&self) -> bool {
        self.joined.is_empty() && self.queues.is_empty()
    }

    /// Returns the row to store if it changed since the last call.
    pub(crate) fn take_dirty(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.dirty).then(|| self.encode())
    }

    /// Says that the row could not be stored and is still to be.
    pub(crate) fn keep_dirty(&mut self) {
        self.dirty = true;
    }

    /// Number of joined ends (4 bytes), the ends (8 each), then pairs of queue (4) and offset (8); all big-endian.
    fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(4 + 8 * self.joined.len() + 12 * self.queues.len());
        row.extend((self.joined.len() as u32).to_be_bytes());
        row.extend(self.joined.iter().flat_map(|end| end.0.to_be_bytes()));
        for (queue, offset) in self.all() {
            row.extend(queue.0.to_be_bytes());
            row.extend(offset.0.to_be_bytes());
        }
        row
    }

    /// Reads a row that [`Progress::take_dirty`] gave; `None` when it is none.
    pub(crate) fn decode(row: &[u8]) -> Option<Progress> {
        let (count, rest) = row.split_first_chunk::<4>()?;
        let (ends, pairs) = rest.split_at_checked((u32::from_be_bytes(*count) as usize).checked_mul(8)?)?;
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        if pairs.len() % 12 != 0 || pairs.len() / 12 > QUEUES_MAX as usize {
            return None;
        }
        let place = |pair: &[u8]| {
            let committed = Some(QueueOffset(number(&pair[4..])));
            (QueueId(number(&pair[..4]) as u32), Place { committed, moved: None, sent_to: None })
        };
        Some(Progress {
            queues: pairs.chunks_exact(12).map(place).collect(),
            joined: ends.chunks_exact(8).map(|end| QueueOffset(number(end))).collect(),
            dirty: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const Q: QueueId = QueueId(3);

    #[test]
    fn a_commit_never_moves_back_but_an_explicit_move_does() {
        let mut progress = Progress::default();
        assert_eq!(progress.commit(Q, QueueOffset(5)), Committed::Moved);
        assert_eq!(progress.commit(Q, QueueOffset(4)), Committed::Behind { stored: QueueOffset(5) });
        assert_eq!(progress.committed(Q), Some(QueueOffset(5)));
        progress.set(Q, QueueOffset(2), true);
        assert_eq!(progress.commit(Q, QueueOffset(9)), Committed::MovePending);
        assert_eq!(progress.committed(Q), Some(QueueOffset(2)));
        assert_eq!((progress.take_move(Q), progress.take_move(Q)), (Some(QueueOffset(2)), None));
        assert_eq!(progress.commit(Q, QueueOffset(3)), Committed::Moved);
        assert_eq!(progress.committed(Q), Some(QueueOffset(3)));
        // The place it was sent to counts once more, though its old place was committed in between.
        assert_eq!(progress.commit(Q, QueueOffset(2)), Committed::Moved);
        assert_eq!(progress.commit(Q, QueueOffset(9)), Committed::Moved);
        assert_eq!(progress.commit(Q, QueueOffset(2)), Committed::Behind { stored: QueueOffset(9) });
    }

    #[test]
    fn a_consumer_that_was_told_to_go_back_may_commit_that_place_once() {
        let mut progress = Progress::default();
        progress.expect(Q, QueueOffset(2));
        assert_eq!(progress.committed(Q), None);
        progress.commit(Q, QueueOffset(7));
        progress.expect(Q, QueueOffset(2));
        assert_eq!((progress.committed(Q), progress.has_move(Q)), (Some(QueueOffset(7)), false));
        assert_eq!(progress.commit(Q, QueueOffset(3)), Committed::Behind { stored: QueueOffset(7) });
        assert_eq!(progress.commit(Q, QueueOffset(8)), Committed::Moved);
        assert_eq!(progress.commit(Q, QueueOffset(2)), Committed::Moved);
        progress.commit(Q, QueueOffset(9));
        assert_eq!(progress.commit(Q, QueueOffset(2)), Committed::Behind { stored: QueueOffset(9) });
    }

    #[test]
    fn remembers_where_the_queues_ended_when_the_group_came() {
        let mut progress = Progress::default();
        assert!(progress.is_new());
        progress.join(vec![QueueOffset(7), QueueOffset(8)]);
        progress.join(vec![QueueOffset(100); 2]);
        assert_eq!([0, 1, 2].map(|q| progress.joined(QueueId(q)).map(|end| end.0)), [Some(7), Some(8), None]);
        let row = progress.take_dirty().expect("something changed");
        assert_eq!(progress.take_dirty(), None);
        let again = Progress::decode(&row).expect("our own row");
        assert_eq!(again.joined(QueueId(1)), Some(QueueOffset(8)));
    }

    #[test]
    fn is_bounded() {
        let mut progress = Progress::default();
        for queue in 0..QUEUES_MAX {
            progress.commit(QueueId(queue), QueueOffset(1));
        }
        assert_eq!(progress.commit(QueueId(u32::MAX), QueueOffset(1)), Committed::TooMany);
        assert_eq!(progress.commit(QueueId(0), QueueOffset(2)), Committed::Moved);
        assert_eq!(progress.set(QueueId(u32::MAX), QueueOffset(1), false), Committed::TooMany);
    }

    proptest! {
        #[test]
        fn rows_read_back(
            commits in proptest::collection::vec((0..100u32, 0..u64::MAX), 0..50),
            ends in proptest::collection::vec(0..u64::MAX, 0..5),
        ) {
            let mut progress = Progress::default();
            progress.join(ends.into_iter().map(QueueOffset).collect());
            for (queue, offset) in commits {
                progress.commit(QueueId(queue), QueueOffset(offset));
            }
            let again = Progress::decode(&progress.encode()).expect("our own row");
            prop_assert_eq!(again.all().collect::<Vec<_>>(), progress.all().collect::<Vec<_>>());
            prop_assert_eq!(again.joined, progress.joined);
        }

        #[test]
        fn foreign_rows_do_no_harm(row in proptest::collection::vec(0..=255u8, 0..64)) {
            let _ = Progress::decode(&row);
        }
    }
}
