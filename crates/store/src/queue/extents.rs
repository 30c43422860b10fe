// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Which arena part holds which offsets of one queue.
//! In: extend at the tail, drop at the front. Out: spans to read.
//! Invariants: bases rise strictly; an extent ends where the next begins, the last one at the queue's end; a stored
//! extent never spans more offsets than its part has entries. Holes are extents without a part, so a gap of any
//! length costs sixteen bytes.

use crate::arena::Part;
use crate::arena::buddy;

/// A run of offsets from `base` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) base: u64,
    /// Where the entries lie; `None` where messages were lost.
    pub(crate) part: Option<Part>,
}

/// Offsets `from..to` that lie side by side; `slot` is where `from` lies in the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) slot: u32,
    pub(crate) part: Option<Part>,
}

/// All extents of a queue, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extents(Vec<Extent>);

impl Extents {
    /// The list, for a checkpoint.
    pub(crate) fn list(&self) -> &[Extent] {
        &self.0
    }

    /// The part and slot where offset `end` goes, when the last part has room.
    pub(crate) fn room(&self, end: u64) -> Option<(Part, u32)> {
        let last = self.0.last()?;
        let part = last.part?;
        let slot = end - last.base;
        (slot < u64::from(part.entries())).then_some((part, slot as u32))
    }

    /// The class the next part should have when `more` were taken: a queue's room about doubles each time, as far as the
    /// arena has it.
    pub(crate) fn next_class(&self, more: usize) -> u8 {
        (self.0.len() + more).saturating_sub(1).min(usize::from(buddy::CLASSES)) as u8
    }

    /// Adds an extent at the queue's end.
    pub(crate) fn push(&mut self, extent: Extent) {
        assert!(self.0.last().is_none_or(|last| last.base < extent.base), "extents rise");
        // Most queues stay short, so room is taken one by one at first.
        if self.0.len() < 4 {
            self.0.reserve_exact(1);
        }
        self.0.push(extent);
    }

    /// Adds an extent that a file lists; false when it cannot follow the last.
    pub(crate) fn try_push(&mut self, extent: Extent) -> bool {
        let follows = self.0.last().is_none_or(|last| last.base < extent.base);
        if follows {
            self.push(extent);
        }
        follows
    }

    /// The longest span that starts at `from`, for a queue that ends at `end`.
    pub(crate) fn span(&self, from: u64, end: u64) -> Option<Span> {
        let index = self.0.partition_point(|extent| extent.base <= from).checked_sub(1)?;
        let extent = self.0[index];
        let to = self.0.get(index + 1).map_or(end, |next| next.base);
        (from < to).then(|| Span { from, to, slot: (from - extent.base) as u32, part: extent.part })
    }

    /// Drops extents that end at or below `first`, and gives their parts to `freed`.
    pub(crate) fn drop_below(&mut self, first: u64, end: u64, freed: &mut Vec<Part>) {
        let keep = match self.0.last() {
            Some(_) if first >= end => self.0.len(),
            _ => self.0.partition_point(|extent| extent.base <= first).saturating_sub(1),
        };
        freed.extend(self.0.drain(..keep).filter_map(|extent| extent.part));
        self.0.shrink_to_fit();
    }

    /// Bytes of memory the list takes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Extent>()
    }

    /// Holds for every queue with entries `first..end`.
    pub(crate) fn covers(&self, first: u64, end: u64) -> bool {
        match self.0.first() {
            Some(front) => front.base <= first && self.is_sound(end),
            None => first == end,
        }
    }

    fn is_sound(&self, end: u64) -> bool {
        let rises = self.0.windows(2).all(|pair| pair[0].base < pair[1].base);
        let bases = self.0.iter().skip(1).map(|extent| extent.base).chain([end]);
        let fits = self.0.iter().zip(bases).all(|(extent, next)| {
            let fits =
                |part: Part| part.class < buddy::CLASSES && next - extent.base <= u64::from(part.entries());
            next > extent.base && extent.part.is_none_or(fits)
        });
        rises && fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(unit: u32, class: u8) -> Option<Part> {
        Some(Part { unit, class })
    }

    fn sample() -> Extents {
        let mut extents = Extents::default();
        extents.push(Extent { base: 10, part: part(0, 0) });
        extents.push(Extent { base: 14, part: None });
        extents.push(Extent { base: 1_000_000, part: part(4, 1) });
        extents
    }

    #[test]
    fn spans_follow_each_other() {
        let extents = sample();
        let end = 1_000_003;
        assert!(extents.is_sound(end));
        assert_eq!(extents.span(9, end), None, "before the first");
        assert_eq!(extents.span(11, end), Some(Span { from: 11, to: 14, slot: 1, part: part(0, 0) }));
        assert_eq!(extents.span(20, end), Some(Span { from: 20, to: 1_000_000, slot: 6, part: None }));
        assert_eq!(extents.span(1_000_002, end).map(|span| (span.slot, span.to)), Some((2, end)));
        assert_eq!(extents.span(end, end), None);
        assert_eq!(extents.room(end).map(|(_, slot)| slot), Some(3));
        assert_eq!(extents.room(1_000_008), None, "the part is full");
    }

    #[test]
    fn dropping_keeps_what_is_partly_needed() {
        let check = |first: u64, left: usize, freed: usize| {
            let mut extents = sample();
            let mut parts = Vec::new();
            extents.drop_below(first, 1_000_003, &mut parts);
            assert_eq!((extents.list().len(), parts.len()), (left, freed), "first {first}");
        };
        check(13, 3, 0);
        check(14, 2, 1);
        check(1_000_000, 1, 1);
        check(1_000_002, 1, 1);
        check(1_000_003, 0, 2);
    }

    #[test]
    fn unsound_lists_are_refused() {
        let stored = |list: &[Extent], first, end| {
            let mut extents = Extents::default();
            list.iter().all(|&extent| extents.try_push(extent)) && extents.covers(first, end)
        };
        let one = Extent { base: 0, part: part(0, 0) };
        assert!(stored(&[one], 2, 4));
        assert!(!stored(&[one], 2, 5), "more than fits");
        assert!(!stored(&[one], 0, 0), "empty extent");
        assert!(!stored(&[one, one], 0, 1), "bases do not rise");
        assert!(!stored(&[Extent { base: 3, part: part(0, 0) }], 2, 4), "starts above the first");
        assert!(!stored(&[Extent { base: 0, part: part(0, 99) }], 0, 1), "no such class");
        assert!(stored(&[], 7, 7) && !stored(&[], 7, 8));
    }
}
