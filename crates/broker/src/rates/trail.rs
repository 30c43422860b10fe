// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a group was given of one queue, and how it came on: two short lists of steps, for those who ask later
//! what became of a message. In: steps as they happen, and whether there is memory for more. Out: the steps that
//! concern an offset, and since when none is missing.
//! Invariant: a step that is missing happened at [`Trail::known_since`] or before. Old steps are told less exactly before
//! they are forgotten: two of one reader that follow each other become one that says between when and when.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::names::QueueOffset;
use stdx::Timestamp;

use crate::clients::ConnectionId;

/// The most steps that one list keeps.
const STEPS_MAX: usize = 64;
/// How many it has room for at first.
const STEPS_FIRST: usize = 4;
/// Steps of one reader become one while it is not older than this.
const TOGETHER: Duration = Duration::from_secs(1);

/// What a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A reader was given messages. Where its filter left some out they are fewer than the offsets.
    Given {
        /// How many.
        messages: u32,
    },
    /// The group said that it is done with the messages.
    Committed,
    /// An operator moved the group, from one offset to another, back or forth.
    Moved,
}

/// Something that happened to a range of offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What.
    pub(crate) kind: Kind,
    /// The first offset.
    pub(crate) from: QueueOffset,
    /// One past the last.
    pub(crate) to: QueueOffset,
    /// When it began.
    pub(crate) first: Timestamp,
    /// When it was over.
    pub(crate) last: Timestamp,
    /// Whose connection it was.
    pub(crate) by: ConnectionId,
}

/// The steps of one group in one queue.
#[derive(Debug)]
pub(crate) struct Trail {
    given: Steps,
    moved: Steps,
}

#[derive(Debug)]
struct Steps {
    list: VecDeque<Step>,
    /// How many there is memory for.
    room: usize,
    /// A step that is not in the list happened then or before.
    since: Timestamp,
}

impl Trail {
    /// Bytes that a list of steps takes for each step it has room for.
    pub(crate) const STEP_BYTES: usize = size_of::<Step>();

    /// Begins to remember.
    pub(crate) fn new(since: Timestamp) -> Trail {
        let steps = || Steps { list: VecDeque::new(), room: 0, since };
        Trail { given: steps(), moved: steps() }
    }

    /// Notes a step. `take` is asked for memory, in bytes, when there is none left.
    pub(crate) fn note(&mut self, step: Step, take: impl FnOnce(usize) -> bool) {
        match step.kind {
            Kind::Given { .. } => self.given.push(step, take),
            Kind::Committed | Kind::Moved => self.moved.push(step, take),
        }
    }

    /// Who noted the last step of the kind that gives.
    pub(crate) fn last_reader(&self) -> Option<ConnectionId> {
        self.given.list.back().map(|step| step.by)
    }

    /// Steps that concern an offset, the oldest first: gifts, then what the group and operators said of it.
    pub(crate) fn of(&self, offset: QueueOffset) -> impl Iterator<Item = Step> + '_ {
        let concerns = move |step: &&Step| {
            let (low, high) = (step.from.min(step.to), step.from.max(step.to));
            (low..high).contains(&offset)
        };
        self.given.list.iter().chain(&self.moved.list).filter(concerns).copied()
    }

    /// Since when every gift is known, and since when every word of the group.
    pub(crate) fn known_since(&self) -> (Timestamp, Timestamp) {
        (self.given.since, self.moved.since)
    }

    /// Bytes of memory that were taken for it.
    pub(crate) fn bytes(&self) -> usize {
        (self.given.room + self.moved.room) * Trail::STEP_BYTES
    }
}

impl Steps {
    fn push(&mut self, step: Step, take: impl FnOnce(usize) -> bool) {
        if let Some(last) = self.list.back_mut()
            && step.last.0.saturating_sub(last.first.0) <= TOGETHER.as_millis() as i64
            && let Some(one) = last.with(&step)
        {
            *last = one;
            return;
        }
        if self.list.len() == self.room {
            self.make_room(take);
        }
        if self.room == 0 {
            self.since = self.since.max(step.last);
            return;
        }
        self.list.push_back(step);
    }

    fn make_room(&mut self, take: impl FnOnce(usize) -> bool) {
        let more = if self.room == 0 { STEPS_FIRST } else { self.room };
        if self.room + more <= STEPS_MAX && take(more * Trail::STEP_BYTES) {
            self.list.reserve_exact(self.room + more - self.list.len());
            self.room += more;
            return;
        }
        self.blur();
        if self.list.len() == self.room
            && let Some(gone) = self.list.pop_front()
        {
            self.since = self.since.max(gone.last);
        }
    }

    /// Makes one of every two that follow each other among the older half.
    fn blur(&mut self) {
        let mut index = 0;
        let mut end = self.list.len() / 2;
        while index + 1 < end {
            if let Some(one) = self.list[index].with(&self.list[index + 1]) {
                self.list[index] = one;
                self.list.remove(index + 1);
                end -= 1;
            }
            index += 1;
        }
    }
}

impl Step {
    /// This step and the next as one, where that says nothing wrong.
    fn with(&self, next: &Step) -> Option<Step> {
        let is_whole = |step: &Step, messages: u32| u64::from(messages) == step.to.0 - step.from.0;
        let kind = match (self.kind, next.kind) {
            (Kind::Given { messages: one }, Kind::Given { messages: other })
                if is_whole(self, one) == is_whole(next, other) =>
            {
                Kind::Given { messages: one.saturating_add(other) }
            }
            (Kind::Committed, Kind::Committed) => Kind::Committed,
            _ => return None,
        };
        let follows = self.by == next.by && self.to == next.from;
        follows.then_some(Step { kind, to: next.to, last: next.last, ..*self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn given(by: u64, from: u64, to: u64, at: i64) -> Step {
        let kind = Kind::Given { messages: (to - from) as u32 };
        let (from, to) = (QueueOffset(from), QueueOffset(to));
        Step { kind, from, to, first: Timestamp(at), last: Timestamp(at), by }
    }

    fn of(trail: &Trail, offset: u64) -> Vec<(i64, i64, u64)> {
        trail.of(QueueOffset(offset)).map(|step| (step.first.0, step.last.0, step.by)).collect()
    }

    #[test]
    fn steps_of_one_reader_within_a_second_are_one() {
        let mut trail = Trail::new(Timestamp(0));
        for (by, from, at) in [(1, 0, 10), (1, 8, 500), (1, 16, 1011), (2, 24, 1012), (2, 24, 1013)] {
            trail.note(given(by, from, from + 8, at), |_| true);
        }
        assert_eq!(of(&trail, 3), [(10, 500, 1)]);
        assert_eq!(of(&trail, 16), [(1011, 1011, 1)]);
        assert_eq!(of(&trail, 31), [(1012, 1012, 2), (1013, 1013, 2)], "given twice");
        assert_eq!(of(&trail, 32), []);
        assert_eq!(trail.known_since(), (Timestamp(0), Timestamp(0)));
    }

    #[test]
    fn gifts_that_a_filter_made_holes_in_stay_apart_from_whole_ones() {
        let mut trail = Trail::new(Timestamp(0));
        trail.note(given(1, 0, 8, 1), |_| true);
        trail.note(Step { kind: Kind::Given { messages: 2 }, ..given(1, 8, 16, 2) }, |_| true);
        trail.note(Step { kind: Kind::Given { messages: 3 }, ..given(1, 16, 24, 3) }, |_| true);
        let kinds: Vec<Kind> =
            [0, 8, 16].iter().flat_map(|at| trail.of(QueueOffset(*at)).map(|step| step.kind)).collect();
        assert_eq!(kinds, [8, 5, 5].map(|messages| Kind::Given { messages }));
    }

    #[test]
    fn a_move_concerns_what_it_went_over() {
        let mut trail = Trail::new(Timestamp(0));
        let step =
            |kind, from, to, at| Step { kind, ..Step { to: QueueOffset(to), ..given(1, from, from, at) } };
        trail.note(step(Kind::Committed, 0, 10, 1), |_| true);
        trail.note(step(Kind::Moved, 10, 4, 2), |_| true);
        trail.note(step(Kind::Committed, 4, 10, 3), |_| true);
        assert_eq!(of(&trail, 3), [(1, 1, 1)]);
        assert_eq!(of(&trail, 4), [(1, 1, 1), (2, 2, 1), (3, 3, 1)]);
    }

    #[test]
    fn without_memory_it_knows_that_it_does_not_know() {
        let mut trail = Trail::new(Timestamp(0));
        trail.note(given(1, 0, 8, 70), |_| false);
        assert_eq!((of(&trail, 3), trail.known_since().0), (vec![], Timestamp(70)));
        trail.note(given(1, 8, 16, 5000), |_| true);
        assert_eq!((of(&trail, 9).len(), trail.known_since().0, trail.bytes()), (1, Timestamp(70), 4 * 48));
    }

    proptest! {
        /// Whatever is given to whom: each gift is told with its time, or happened before what is known.
        #[test]
        fn a_gift_is_remembered_or_said_to_be_forgotten(
            gifts in proptest::collection::vec((0..3u64, 0..20u64, 1..9u64, 0..3000i64), 1..300),
            memory in 0..200usize,
        ) {
            let mut trail = Trail::new(Timestamp(0));
            let (mut left, mut now) = (memory * Trail::STEP_BYTES, 0);
            let mut all = Vec::new();
            for (by, from, len, pause) in gifts {
                now += pause;
                let step = given(by, from, from + len, now);
                all.push(step);
                trail.note(step, |bytes| left.checked_sub(bytes).map(|rest| left = rest).is_some());
            }
            prop_assert!(trail.bytes() <= memory * Trail::STEP_BYTES);
            prop_assert!(trail.given.list.len() <= trail.given.room && trail.given.room <= STEPS_MAX);
            for gift in all {
                let is_told = (gift.from.0..gift.to.0).all(|offset| {
                    let mut told = trail.of(QueueOffset(offset));
                    told.any(|step| step.by == gift.by && (step.first..=step.last).contains(&gift.last))
                });
                prop_assert!(is_told || gift.last <= trail.known_since().0, "{gift:?} in {trail:?}");
            }
        }
    }
}
