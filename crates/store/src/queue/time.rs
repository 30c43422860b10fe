// SPDX-License-Identifier: Apache-2.0
//! Offsets by time: a binary search over the entries of a queue. The time of a record is asked of the log through
//! a function, because entries do not hold it. Assumes that store times rise with the offset; where a clock
//! stepped back the answer is near, not exact.

use std::sync::atomic::Ordering;

use protocol::names::{LogOffset, QueueOffset};
use stdx::Timestamp;

use super::Queue;
use crate::arena::Arena;

/// Which side of a time is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// The first message stored at that time or later; one past the last message if there is none.
    Lower,
    /// The last message stored at that time or earlier, of an inner batch the first; 0 if there is none, as Apache answers.
    Upper,
}

impl Queue {
    /// Finds the offset for `time`. A record whose time is not known any more counts as older than all.
    pub(crate) fn offset_by_time(
        &self,
        arena: &Arena,
        time: Timestamp,
        boundary: Boundary,
        stored_at: &mut dyn FnMut(LogOffset) -> Option<Timestamp>,
    ) -> QueueOffset {
        let first = self.first.load(Ordering::Acquire);
        let end = self.dispatched.load(Ordering::Acquire);
        let is_past = |entry_time: Option<Timestamp>| match (entry_time, boundary) {
            (None, _) => false,
            (Some(stored), Boundary::Lower) => stored >= time,
            (Some(stored), Boundary::Upper) => stored > time,
        };
        let found = self.search(arena, first, end, |_, entry| is_past(stored_at(entry.log)));
        match boundary {
            Boundary::Lower => QueueOffset(found),
            Boundary::Upper if found == first => QueueOffset(0),
            Boundary::Upper => QueueOffset(self.batch_start(arena, found - 1)),
        }
    }
}
