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
