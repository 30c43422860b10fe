// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Lanes of things that fall due in the order in which they stand: one lane a delay level.
//! In: what stands at a lane's head, what was delivered, that something arrived. Out: which lanes to look at now,
//! and when to look next. Knows no levels, no messages and no store, so other timers can use it.
//! Invariants: a lane's position never moves back; a lane is offered only at or after its head's due time;
//! a lane whose head is unknown is always offered, so nothing is passed over.

use protocol::names::QueueOffset;
use stdx::Timestamp;

/// A set of lanes, each with a position and what is known of its head.
pub(crate) struct Lanes(Vec<Lane>);

struct Lane {
    next: QueueOffset,
    head: Head,
}

/// What stands at a lane's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// Somebody has to look.
    Unknown,
    /// Nothing yet; [`Lanes::arrived`] will tell.
    Empty,
    /// Something that may be delivered from this time on.
    Due(Timestamp),
}

impl Lanes {
    /// Starts every lane at its stored position, heads unknown.
    pub(crate) fn new(positions: impl IntoIterator<Item = QueueOffset>) -> Lanes {
        Lanes(positions.into_iter().map(|next| Lane { next, head: Head::Unknown }).collect())
    }

    /// Returns how many lanes there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the position of a lane: the next thing to deliver.
    pub(crate) fn next(&self, lane: usize) -> QueueOffset {
        self.0[lane].next
    }

    /// Returns the lanes to look at now, the longest overdue first.
    pub(crate) fn ready(&self, now: Timestamp) -> Vec<usize> {
        let when = |lane: &Lane| match lane.head {
            Head::Unknown => Some(Timestamp::default()),
            Head::Due(at) if at <= now => Some(at),
            Head::Due(_) | Head::Empty => None,
        };
        let mut ready: Vec<_> =
            self.0.iter().enumerate().filter_map(|(at, lane)| when(lane).map(|due| (due, at))).collect();
        ready.sort_unstable();
        ready.into_iter().map(|(_, lane)| lane).collect()
    }

    /// Returns when [`Lanes::ready`] will offer something next; `None` while all lanes are empty.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let due = |lane: &Lane| match lane.head {
            Head::Unknown => Some(Timestamp::default()),
            Head::Due(at) => Some(at),
            Head::Empty => None,
        };
        self.0.iter().filter_map(due).min()
    }

    /// Says what was seen at a lane's position.
    pub(crate) fn saw(&mut self, lane: usize, head: Head) {
        self.0[lane].head = head;
    }

    /// Moves a lane past what was delivered or need not be; its head is unknown again.
    pub(crate) fn advance(&mut self, lane: usize, next: QueueOffset) {
        let lane = &mut self.0[lane];
        assert!(next >= lane.next, "a lane never moves back: {} to {next}", lane.next);
        *lane = Lane { next, head: Head::Unknown };
    }

    /// Says that something came into a lane; one with a known head need not be looked at for that.
    pub(crate) fn arrived(&mut self, lane: usize) {
        if let Some(lane) = self.0.get_mut(lane)
            && lane.head == Head::Empty
        {
            lane.head = Head::Unknown;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn offers_the_longest_overdue_first_and_nothing_early() {
        let mut lanes = Lanes::new([QueueOffset(0), QueueOffset(7), QueueOffset(0)]);
        assert_eq!(lanes.ready(Timestamp(0)), [0, 1, 2], "nobody has looked yet");
        lanes.saw(0, Head::Due(Timestamp(20)));
        lanes.saw(1, Head::Due(Timestamp(10)));
        lanes.saw(2, Head::Empty);
        assert_eq!(lanes.ready(Timestamp(9)), []);
        assert_eq!(lanes.next_due(), Some(Timestamp(10)));
        assert_eq!(lanes.ready(Timestamp(20)), [1, 0]);
        lanes.advance(1, QueueOffset(8));
        assert_eq!((lanes.ready(Timestamp(9)), lanes.next(1)), (vec![1], QueueOffset(8)));
        lanes.saw(1, Head::Empty);
        lanes.arrived(0);
        lanes.arrived(2);
        lanes.arrived(99);
        assert_eq!(lanes.ready(Timestamp(9)), [2], "a lane that was empty is looked at again");
    }

    #[test]
    #[should_panic(expected = "never moves back")]
    fn a_lane_never_moves_back() {
        Lanes::new([QueueOffset(5)]).advance(0, QueueOffset(4));
    }

    proptest! {
        /// Whatever arrives when, and however often it is looked at: each thing is delivered once, in order, and
        /// not before its time.
        #[test]
        fn each_is_delivered_once_and_never_early(
            mut things in proptest::collection::vec((0..3usize, 0..40i64), 0..40),
            looks in proptest::collection::vec(1..12i64, 1..40),
        ) {
            things.sort_by_key(|thing| thing.1);
            let delays = [1, 5, 20];
            let mut lanes = Lanes::new([QueueOffset(0); 3]);
            let mut queues: [Vec<i64>; 3] = Default::default();
            let mut delivered = 0;
            let mut pending = things.iter().peekable();
            let mut now = 0;
            for step in looks.into_iter().chain([1000]) {
                now += step;
                while let Some((lane, stored)) = pending.next_if(|thing| thing.1 <= now) {
                    queues[*lane].push(*stored);
                    lanes.arrived(*lane);
                }
                while let Some(&lane) = lanes.ready(Timestamp(now)).first() {
                    let at = lanes.next(lane).0 as usize;
                    match queues[lane].get(at).map(|stored| stored + delays[lane]) {
                        None => lanes.saw(lane, Head::Empty),
                        Some(due) if due > now => lanes.saw(lane, Head::Due(Timestamp(due))),
                        Some(_) => {
                            delivered += 1;
                            lanes.advance(lane, QueueOffset(at as u64 + 1));
                        }
                    }
                }
                for (lane, queue) in queues.iter().enumerate() {
                    let due = queue.iter().filter(|stored| *stored + delays[lane] <= now).count();
                    prop_assert_eq!(lanes.next(lane).0 as usize, due);
                }
            }
            prop_assert_eq!(delivered, things.len());
            prop_assert_eq!(lanes.next_due(), None);
        }
    }
}
