// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Which topics changed lately, so that who knew all of them a moment ago is told of these and not of a hundred
//! thousand. In: changes, in their order. Out: their number, and the names changed since a number.
//! Invariant: what is given holds every topic that changed since then, or nothing is given.

use std::collections::{HashSet, VecDeque};

use protocol::names::TopicName;

/// Changes that are remembered.
const ROOM: usize = if cfg!(test) { 8 } else { 1 << 16 };

/// The latest changes of topics.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Of each of the latest changes, the topic.
    names: VecDeque<TopicName>,
    /// How many changes there were.
    count: u64,
}

impl Journal {
    /// A topic is new or set anew; returns how many changes there were.
    pub(super) fn note(&mut self, topic: &TopicName) -> u64 {
        if self.names.len() == ROOM {
            self.names.pop_front();
        }
        self.names.push_back(topic.clone());
        self.count += 1;
        self.count
    }

    /// Something changed that the names of topics that are there do not tell: one is gone, or many changed.
    pub(super) fn cut(&mut self) -> u64 {
        self.names.clear();
        self.count += 1;
        self.count
    }

    /// The topics that changed after so many changes; `None` when that is not known.
    pub(super) fn since(&self, seen: u64) -> Option<HashSet<&TopicName>> {
        let missed = usize::try_from(self.count.checked_sub(seen)?).ok()?;
        let known = self.names.len().checked_sub(missed)?;
        Some(self.names.range(known..).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_as_far_as_they_are_known() {
        let mut journal = Journal::default();
        let name = |n: usize| TopicName::stored(format!("t{n}"));
        let since = |journal: &Journal, seen| {
            let mut names: Vec<String> = journal.since(seen)?.into_iter().map(TopicName::to_string).collect();
            names.sort();
            Some(names.concat())
        };
        assert_eq!(since(&journal, 0).as_deref(), Some(""));
        assert_eq!(since(&journal, 1), None, "nobody knows what comes");
        assert_eq!([0, 1, 0].map(|n| journal.note(&name(n))), [1, 2, 3]);
        assert_eq!(since(&journal, 0).as_deref(), Some("t0t1"));
        assert_eq!(since(&journal, 2).as_deref(), Some("t0"));
        assert_eq!(journal.cut(), 4);
        assert_eq!((since(&journal, 3), since(&journal, 4).as_deref()), (None, Some("")));
        (0..=ROOM).for_each(|n| _ = journal.note(&name(n)));
        assert_eq!(since(&journal, 4), None, "the first is forgotten");
        assert_eq!(journal.since(5).map(|names| names.len()), Some(ROOM));
    }
}
