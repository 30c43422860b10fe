// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Calls that wait for their answer: opaque → waiter, expiry.
//! In: begin, answer, poll, forget, expire, close. Out: wakers of those whose call has ended. Never calls anyone.
//! Invariant: an opaque is in the table exactly while its call is unfinished or unread; an answer to any other
//! opaque is handed back as late, so it can never reach a call it does not belong to.

use std::task::Waker;

use stdx::Timestamp;

const FEWEST_SLOTS: usize = 64;

/// Unfinished calls of one connection. `A` is what an answer is.
pub(crate) struct Pending<A> {
    /// A power of two of slots, at most half of them taken; opaque `n` lives at `n` modulo their number.
    slots: Vec<Option<Slot<A>>>,
    taken: usize,
    most: usize,
    next_opaque: i32,
    /// No waiting call expires before this.
    soonest: Option<Timestamp>,
}

struct Slot<A> {
    opaque: i32,
    expires: Timestamp,
    state: State<A>,
}

enum State<A> {
    Waiting(Option<Waker>),
    Ended(Ended<A>),
}

/// How a call ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended<A> {
    /// The peer answered.
    Answered(A),
    /// The peer did not answer in time.
    Expired,
    /// The connection closed first.
    Lost,
}

/// What [`Pending::poll`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<A> {
    Waiting,
    Ended(Ended<A>),
}

impl<A> Pending<A> {
    /// Allows `most` calls at a time.
    pub(crate) fn new(most: usize) -> Pending<A> {
        Pending { slots: Vec::new(), taken: 0, most, next_opaque: 0, soonest: None }
    }

    /// Starts a call; `None` when as many as allowed are in flight.
    pub(crate) fn begin(&mut self, expires: Timestamp) -> Option<i32> {
        if self.taken >= self.most {
            return None;
        }
        if (self.taken + 1) * 2 > self.slots.len() {
            self.grow();
        }
        // Half of the slots are free, so this ends; a call that waits long is stepped over.
        while self.slots[self.index(self.next_opaque)].is_some() {
            self.step();
        }
        let opaque = self.next_opaque;
        let index = self.index(opaque);
        self.slots[index] = Some(Slot { opaque, expires, state: State::Waiting(None) });
        self.taken += 1;
        self.soonest = Some(self.soonest.map_or(expires, |soonest| soonest.min(expires)));
        self.step();
        Some(opaque)
    }

    /// Ends a call with its answer. An answer that no call waits for comes back.
    pub(crate) fn answer(&mut self, opaque: i32, answer: A) -> Result<Option<Waker>, A> {
        let Some(Slot { state, .. }) = self.slot(opaque) else { return Err(answer) };
        let State::Waiting(waker) = state else { return Err(answer) };
        let waker = waker.take();
        *state = State::Ended(Ended::Answered(answer));
        Ok(waker)
    }

    /// Looks at a call; once ended, hands out how and forgets it.
    pub(crate) fn poll(&mut self, opaque: i32, waker: &Waker) -> Found<A> {
        match self.slot(opaque) {
            Some(Slot { state: State::Waiting(kept), .. }) => {
                if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
                    *kept = Some(waker.clone());
                }
                Found::Waiting
            }
            Some(_) => match self.take(opaque) {
                Some(Slot { state: State::Ended(ended), .. }) => Found::Ended(ended),
                _ => Found::Ended(Ended::Lost),
            },
            None => Found::Ended(Ended::Lost),
        }
    }

    /// Drops a call that nobody waits for any more.
    pub(crate) fn forget(&mut self, opaque: i32) {
        self.take(opaque);
    }

    /// Ends the calls whose time has come.
    pub(crate) fn expire(&mut self, now: Timestamp, woken: &mut Vec<Waker>) {
        if self.soonest.is_none_or(|soonest| soonest > now) {
            return;
        }
        self.soonest = None;
        for slot in self.slots.iter_mut().flatten() {
            if let State::Waiting(waker) = &mut slot.state {
                if slot.expires <= now {
                    woken.extend(waker.take());
                    slot.state = State::Ended(Ended::Expired);
                } else {
                    self.soonest =
                        Some(self.soonest.map_or(slot.expires, |soonest| soonest.min(slot.expires)));
                }
            }
        }
    }

    /// Ends all calls: the connection is gone.
    pub(crate) fn close(&mut self, woken: &mut Vec<Waker>) {
        self.soonest = None;
        for slot in self.slots.iter_mut().flatten() {
            if let State::Waiting(waker) = &mut slot.state {
                woken.extend(waker.take());
                slot.state = State::Ended(Ended::Lost);
            }
        }
    }

    /// No call expires before this; `None` when none waits.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.soonest
    }

    /// Calls that are unfinished or unread.
    pub(crate) fn len(&self) -> usize {
        self.taken
    }

    fn index(&self, opaque: i32) -> usize {
        opaque as usize & (self.slots.len() - 1)
    }

    fn step(&mut self) {
        // Stays positive: some clients print it, and none needs the sign.
        self.next_opaque = self.next_opaque.wrapping_add(1) & i32::MAX;
    }

    fn slot(&mut self, opaque: i32) -> Option<&mut Slot<A>> {
        if self.slots.is_empty() {
            return None;
        }
        let index = self.index(opaque);
        self.slots[index].as_mut().filter(|slot| slot.opaque == opaque)
    }

    fn take(&mut self, opaque: i32) -> Option<Slot<A>> {
        self.slot(opaque)?;
        let index = self.index(opaque);
        self.taken -= 1;
        self.slots[index].take()
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(FEWEST_SLOTS);
        let old = std::mem::replace(&mut self.slots, std::iter::repeat_with(|| None).take(size).collect());
        for slot in old.into_iter().flatten() {
            // Distinct modulo the old size, hence distinct modulo its double.
            let index = self.index(slot.opaque);
            self.slots[index] = Some(slot);
        }
    }

    /// Asserts the invariant.
    #[cfg(test)]
    fn check(&self) {
        assert_eq!(self.slots.iter().flatten().count(), self.taken);
        assert!(self.taken <= self.most && (self.taken * 2 <= self.slots.len() || self.taken == 0));
        for (index, slot) in self.slots.iter().enumerate() {
            let Some(slot) = slot else { continue };
            assert_eq!(self.index(slot.opaque), index);
            if let State::Waiting(_) = slot.state {
                assert!(self.soonest.is_some_and(|soonest| soonest <= slot.expires));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicU32);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn look(pending: &mut Pending<u32>, opaque: i32) -> Found<u32> {
        pending.poll(opaque, Waker::noop())
    }

    #[test]
    fn each_way_to_end_is_told_once_and_forgotten() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut pending = Pending::new(10);
        let [answered, expired, lost] = [50, 5, 50].map(|at| pending.begin(Timestamp(at)).expect("room"));
        for opaque in [answered, expired, lost] {
            assert_eq!(pending.poll(opaque, &waker), Found::Waiting);
        }
        pending.answer(answered, 7).expect("a waiter").expect("its waker").wake();
        assert!(matches!(pending.answer(answered, 8), Err(8)), "a second answer is late");
        let mut woken = Vec::new();
        pending.expire(Timestamp(4), &mut woken);
        assert!(woken.is_empty());
        pending.expire(Timestamp(5), &mut woken);
        assert_eq!((woken.len(), pending.next_deadline()), (1, Some(Timestamp(50))));
        assert!(matches!(pending.answer(expired, 9), Err(9)), "an answer after the deadline is late");
        pending.close(&mut woken);
        assert_eq!((woken.len(), pending.len()), (2, 3));
        assert_eq!(look(&mut pending, answered), Found::Ended(Ended::Answered(7)));
        assert_eq!(look(&mut pending, expired), Found::Ended(Ended::Expired));
        assert_eq!(look(&mut pending, lost), Found::Ended(Ended::Lost));
        assert_eq!(pending.len(), 0);
        pending.check();
    }

    #[test]
    fn a_forgotten_number_takes_no_answer_even_when_its_slot_is_taken_again() {
        let mut pending = Pending::new(1);
        let first = pending.begin(Timestamp(1)).expect("room");
        assert_eq!(pending.begin(Timestamp(1)), None);
        pending.forget(first);
        // Far enough to come back to the same slot.
        for _ in 0..FEWEST_SLOTS - 1 {
            let opaque = pending.begin(Timestamp(1)).expect("room");
            pending.forget(opaque);
        }
        let again = pending.begin(Timestamp(1)).expect("room");
        assert_eq!(again as usize % FEWEST_SLOTS, first as usize % FEWEST_SLOTS);
        assert!(pending.answer(first, 1).is_err());
        assert!(pending.answer(again, 2).is_ok());
    }

    #[test]
    fn numbers_stay_positive_and_step_over_what_still_waits() {
        let mut pending: Pending<u32> = Pending::new(100);
        pending.next_opaque = i32::MAX - 1;
        let numbers: Vec<_> = (0..4).filter_map(|_| pending.begin(Timestamp(1))).collect();
        assert_eq!(numbers, [i32::MAX - 1, i32::MAX, 0, 1]);
        pending.next_opaque = 0;
        assert_eq!(pending.begin(Timestamp(1)), Some(2));
        pending.check();
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec((0..5u8, 0..40usize, 0..50i64), 1..400)) {
            let mut pending = Pending::new(48);
            let mut model: BTreeMap<i32, (i64, Option<Ended<u32>>)> = BTreeMap::new();
            let mut issued = Vec::new();
            let mut now = 0;
            for (step, pick, time) in steps {
                let picked = issued.get(pick % issued.len().max(1)).copied();
                match (step, picked) {
                    (0, _) => match pending.begin(Timestamp(now + time)) {
                        Some(opaque) => {
                            prop_assert!(model.insert(opaque, (now + time, None)).is_none());
                            issued.push(opaque);
                        }
                        None => prop_assert_eq!(model.len(), 48),
                    },
                    (1, Some(opaque)) => {
                        let is_taken = pending.answer(opaque, pick as u32).is_ok();
                        match model.get_mut(&opaque) {
                            Some((_, ended @ None)) => {
                                prop_assert!(is_taken);
                                *ended = Some(Ended::Answered(pick as u32));
                            }
                            _ => prop_assert!(!is_taken),
                        }
                    }
                    (2, Some(opaque)) => match model.get(&opaque) {
                        Some((_, None)) => prop_assert_eq!(look(&mut pending, opaque), Found::Waiting),
                        Some((_, Some(_))) => {
                            let ended = model.remove(&opaque).and_then(|(_, ended)| ended);
                            prop_assert_eq!(look(&mut pending, opaque), Found::Ended(ended.expect("it has")));
                        }
                        None => prop_assert_eq!(look(&mut pending, opaque), Found::Ended(Ended::Lost)),
                    },
                    (3, Some(opaque)) => {
                        pending.forget(opaque);
                        model.remove(&opaque);
                    }
                    _ => {
                        now += time / 4;
                        pending.expire(Timestamp(now), &mut Vec::new());
                        for (expires, ended) in model.values_mut() {
                            if ended.is_none() && *expires <= now {
                                *ended = Some(Ended::Expired);
                            }
                        }
                    }
                }
                prop_assert_eq!(pending.len(), model.len());
                pending.check();
            }
        }
    }
}
