// SPDX-License-Identifier: Apache-2.0
//! A message that is given back comes again with one try more, at the time that the policy of its group has for it, or is
//! a dead letter when it has had them all.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::body::{GroupRetryPolicyType, SubscriptionGroupConfig};
use stdx::Timestamp;

use crate::crash::{Crash, Left};
use crate::message::{Known, Place};

/// What becomes of a message that is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) group: String,
    pub(crate) number: u64,
    /// How often it was tried then.
    pub(crate) tries: i32,
    pub(crate) then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is a dead letter.
    Dead,
    /// It comes again after the time of a delay level.
    Level,
    /// It comes again then.
    At(Timestamp),
}

/// How long a group that has a policy lets a message wait that failed `before` times before.
pub(crate) fn wait_of(group: &SubscriptionGroupConfig, before: i32) -> Option<Duration> {
    let policy = &group.group_retry_policy;
    let millis = match policy.kind {
        GroupRetryPolicyType::Customized => {
            // The first two entries are for no retry.
            let waits = &policy.customized_retry_policy.as_ref()?.next[2..];
            waits[(before as usize).min(waits.len() - 1)]
        }
        GroupRetryPolicyType::Exponential => {
            let growing = policy.exponential_retry_policy.as_ref()?;
            (0..before).fold(growing.initial, |wait, _| wait * growing.multiplier).min(growing.max)
        }
    };
    Some(Duration::from_millis(millis as u64))
}

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

    /// A copy waits for its next try, in the queue of a level or until `due`.
    pub(crate) fn waits(&mut self, start: u64, seen: &Known, real: &Place, due: Option<Timestamp>) {
        let group =
            real.0.strip_prefix("%RETRY%").unwrap_or_else(|| panic!("{seen:?} goes to no retry topic"));
        self.copy(start, seen, group, due.map_or(Then::Level, Then::At));
    }

    /// A copy is a dead letter.
    pub(crate) fn dead(&mut self, start: u64, seen: &Known) {
        self.copy(start, seen, seen.place.0.trim_start_matches("%DLQ%"), Then::Dead);
    }

    fn copy(&mut self, start: u64, seen: &Known, group: &str, then: Then) {
        let fate = Fate { group: group.to_owned(), number: seen.number, tries: seen.reconsumed, then };
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
