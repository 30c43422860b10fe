// SPDX-License-Identifier: Apache-2.0
//! A message that is given back comes again with one try more, or is a dead letter when it has had them all.

use std::collections::BTreeMap;

use crate::crash::{Crash, Left};
use crate::message::{Known, Place};

/// What becomes of a message that is given back: group, message, its tries then, whether it is dead.
pub(crate) type Fate = (String, u64, i32, bool);

#[derive(Default)]
pub(crate) struct Retries {
    given: Vec<Given>,
    /// Copies that were found, by log offset.
    copies: BTreeMap<u64, (u64, Fate)>,
}

struct Given {
    fate: Fate,
    /// Where its copy ends, at the latest.
    end: u64,
    answered: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// None yet, or none that is known.
    Open,
    /// Stored, and as lasting as was promised.
    Settled,
    /// Stored.
    Stored,
    /// Not stored.
    Refused,
}

impl Retries {
    /// A client gives a message back; returns what to answer it by.
    pub(crate) fn gives(&mut self, fate: Fate) -> usize {
        self.given.push(Given { fate, end: u64::MAX, answered: Answer::Open });
        self.given.len() - 1
    }

    /// Its copy lies before `end`, if there is one.
    pub(crate) fn answered(&mut self, id: usize, answer: Answer, end: u64) {
        (self.given[id].answered, self.given[id].end) = (answer, end);
    }

    /// A copy waits for its next try.
    pub(crate) fn waits(&mut self, start: u64, seen: &Known, real: &Place) {
        let group =
            real.0.strip_prefix("%RETRY%").unwrap_or_else(|| panic!("{seen:?} goes to no retry topic"));
        self.copy(start, seen, (group.to_owned(), seen.number, seen.reconsumed, false));
    }

    /// A copy is a dead letter.
    pub(crate) fn dead(&mut self, start: u64, seen: &Known) {
        let group = seen.place.0.trim_start_matches("%DLQ%").to_owned();
        self.copy(start, seen, (group, seen.number, seen.reconsumed, true));
    }

    fn copy(&mut self, start: u64, seen: &Known, fate: Fate) {
        let tried = self.given.iter().filter(|given| given.fate == fate && given.answered != Answer::Refused);
        let copies = self.copies.values().filter(|(_, other)| *other == fate).count();
        assert!(copies < tried.count(), "{seen:?} was not given back like that");
        self.copies.insert(start, (seen.end, fate));
    }

    pub(crate) fn forget(&mut self, start: u64) {
        self.copies.remove(&start);
    }

    /// Nothing past `left.end` is there any more, and past `left.whole` something may be missing.
    pub(crate) fn crashed(&mut self, crash: Crash, left: &Left) {
        self.copies.retain(|start, (end, _)| left.has(*start, *end));
        for given in &mut self.given {
            if given.answered == Answer::Open {
                continue;
            }
            if given.end > left.whole && matches!(given.answered, Answer::Settled | Answer::Stored) {
                let may_go = crash == Crash::PowerCut && given.answered == Answer::Stored;
                assert!(may_go, "{crash:?} took the copy of {:?}", given.fate);
                given.answered = Answer::Open;
            }
        }
    }

    /// All that was answered is there. The whole log has been read.
    pub(crate) fn check(&self) {
        for given in &self.given {
            let is_same = |other: &Fate| *other == given.fate;
            let answered = |other: &&Given| matches!(other.answered, Answer::Settled | Answer::Stored);
            let wanted = self.given.iter().filter(|other| is_same(&other.fate)).filter(answered).count();
            let found = self.copies.values().filter(|(_, fate)| is_same(fate)).count();
            assert!(
                found >= wanted,
                "{:?} was given back {wanted} times, {found} copies are there",
                given.fate
            );
        }
    }
}
