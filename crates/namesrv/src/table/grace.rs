// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The time after a start in which "no such topic" would be a guess.
//! In: who registered, who left, `now`. Out: whether an unknown topic may be called gone. Used by the route table only.
//!
//! Invariant: once over it stays over. It ends when every broker remembered from the last run is back, or, where none
//! is remembered, when the first one registers, and at its deadline at the latest.

use std::collections::BTreeSet;

use stdx::Timestamp;

/// Who was here before, and who of them is still missing.
#[derive(Debug)]
pub(crate) struct Grace {
    end: Timestamp,
    awaited: BTreeSet<String>,
    is_over: bool,
    roster: BTreeSet<String>,
}

impl Grace {
    pub(crate) fn new(remembered: Vec<String>, end: Timestamp) -> Grace {
        let roster: BTreeSet<String> = remembered.into_iter().collect();
        Grace { end, awaited: roster.clone(), is_over: false, roster }
    }

    /// Returns true while an unknown topic may belong to a broker that has not been heard yet.
    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        !self.is_over && now < self.end
    }

    /// A broker registered. Returns true when it was not on the roster.
    pub(crate) fn joined(&mut self, broker: &str) -> bool {
        self.awaited.remove(broker);
        self.is_over |= self.awaited.is_empty();
        self.roster.insert(broker.to_owned())
    }

    /// A broker said farewell and is not waited for again. Returns true when it was on the roster.
    pub(crate) fn left(&mut self, broker: &str) -> bool {
        self.roster.remove(broker)
    }

    pub(crate) fn roster(&self) -> Vec<String> {
        self.roster.iter().cloned().collect()
    }
}
