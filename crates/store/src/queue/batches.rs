// SPDX-License-Identifier: Apache-2.0
//! Records that take several offsets of a queue: inner batches. Each of their offsets has the same entry, so what asks for
//! an offset finds the record that holds it; where a record begins and ends is said by its neighbours.
//! Called by dispatch, which adds them, and by reads.
//! Invariants: entries of a queue lie in log order, and two that follow one another name one record only where it has both
//! offsets; no reader sees a part of them, as they become visible together; nothing is taken when not all is had.

use std::ops::Range;
use std::sync::atomic::Ordering;

use protocol::names::LogOffset;

use super::Queue;
use super::entry::Entry;
use super::extents::{Extent, Extents};
use crate::arena::{Arena, Part};
use crate::views::ViewError;

/// Takes the parts for `count` entries besides those for which there is `room`.
pub(super) fn take_parts(
    arena: &Arena,
    extents: &Extents,
    room: Option<(Part, u32)>,
    count: u64,
) -> Result<Vec<Part>, ViewError> {
    let mut parts = Vec::new();
    let mut left = count.saturating_sub(room.map_or(0, |(part, slot)| u64::from(part.entries() - slot)));
    while left > 0 {
        match arena.take(extents.next_class(parts.len())) {
            Ok(part) => {
                left = left.saturating_sub(u64::from(part.entries()));
                parts.push(part);
            }
            Err(error) => {
                arena.untake(&parts);
                return Err(error);
            }
        }
    }
    Ok(parts)
}

impl Extents {
    /// Writes the same entry at each of `offsets`: into the room that is left, then into new parts.
    pub(super) fn write(
        &mut self,
        arena: &Arena,
        (room, parts): (Option<(Part, u32)>, &[Part]),
        offsets: Range<u64>,
        entry: &Entry,
    ) {
        let mut at = offsets.start;
        let fill = |part: Part, from: u32, at: &mut u64| {
            let count = u64::from(part.entries() - from).min(offsets.end - *at) as u32;
            (from..from + count).for_each(|slot| arena.write(part, slot, entry));
            *at += u64::from(count);
        };
        if let Some((part, slot)) = room {
            fill(part, slot, &mut at);
        }
        for &part in parts {
            self.push(Extent { base: at, part: Some(part) });
            fill(part, 0, &mut at);
        }
        assert_eq!(at, offsets.end, "the parts were taken for all of them");
    }
}

impl Queue {
    /// The first offset of the record that has offset `at`.
    pub(crate) fn batch_start(&self, arena: &Arena, at: u64) -> u64 {
        let first = self.first.load(Ordering::Acquire);
        let before = at.checked_sub(1).filter(|before| *before >= first);
        match before.and_then(|before| self.record_at(arena, before)).zip(self.record_at(arena, at)) {
            Some((before, here)) if before == here => {
                self.search(arena, first, at, |_, entry| entry.log == here)
            }
            _ => at,
        }
    }

    /// One past the last offset of the record that has offset `at`.
    pub(crate) fn batch_end(&self, arena: &Arena, at: u64) -> u64 {
        match self.record_at(arena, at).zip(self.record_at(arena, at + 1)) {
            Some((here, next)) if here == next => {
                let end = self.dispatched.load(Ordering::Acquire);
                self.search(arena, at, end, |_, entry| entry.log != here)
            }
            _ => at + 1,
        }
    }

    /// Where the record lies that has offset `at`, if one has.
    fn record_at(&self, arena: &Arena, at: u64) -> Option<LogOffset> {
        let found = self.entry_at_or_after(arena, at).filter(|(found, _)| *found == at);
        found.map(|(_, entry)| entry.log)
    }
}
