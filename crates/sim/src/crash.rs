// SPDX-License-Identifier: Apache-2.0
//! How a process ended, and what the next one found of the log.

use std::collections::BTreeSet;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    Kill,
    PowerCut,
}

/// What is left of the log.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) end: u64,
    /// Nothing is missing below this.
    pub(crate) whole: u64,
    /// What was set aside.
    pub(crate) damaged: Vec<(u64, u64)>,
}

impl Left {
    pub(crate) fn new(end: u64, damaged: Vec<(u64, u64)>) -> Left {
        let whole = damaged.iter().map(|(start, _)| *start).min().unwrap_or(end).min(end);
        Left { end, whole, damaged }
    }

    /// Leaves out the damage that is known already.
    pub(crate) fn without(&self, known: &BTreeSet<(u64, u64)>) -> Left {
        Left::new(self.end, self.damaged.iter().filter(|damage| !known.contains(damage)).copied().collect())
    }

    /// True when a record may be there.
    pub(crate) fn has(&self, start: u64, end: u64) -> bool {
        end <= self.end && self.damaged.iter().all(|(from, to)| end <= *from || start >= *to)
    }
}
