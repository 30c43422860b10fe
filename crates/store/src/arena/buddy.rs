// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Which parts of the arena are free: a buddy allocator over units of four entries.
//! In: grow, take, give. Out: unit addresses. A part of class `c` has `1 << c` units and starts at a multiple of
//! them; the arena consists of whole parts of the top class.
//! Invariants: free parts never overlap; two free buddies are always one free part of the next class; the free
//! units are exactly those grown or given and not taken since.

use std::collections::BTreeSet;

/// Number of size classes there may be.
pub(crate) const CLASSES: u8 = 15;

/// Units of one part of `class`.
pub(crate) fn units(class: u8) -> u32 {
    1 << class
}

/// Two parts that claim the same units, or one that lies outside the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("arena part of {units} units at {unit} overlaps another part or the arena's end")]
pub(crate) struct Overlap {
    pub(crate) unit: u32,
    pub(crate) units: u32,
}

/// The free parts of the arena.
#[derive(Debug)]
pub(crate) struct Buddy {
    free: [BTreeSet<u32>; CLASSES as usize],
    top: u8,
    end: u32,
    free_units: u64,
}

impl Buddy {
    /// An arena of `end` units with parts up to class `top`, of which `used` are taken.
    pub(crate) fn with_used(top: u8, end: u32, used: &mut [(u32, u8)]) -> Result<Buddy, Overlap> {
        assert!(top < CLASSES && end.is_multiple_of(units(top)), "an arena has whole parts of its top class");
        let mut buddy = Buddy { free: Default::default(), top, end, free_units: 0 };
        used.sort_unstable();
        let mut at = 0;
        for &mut (unit, class) in used {
            let overlap = Overlap { unit, units: if class <= top { units(class) } else { 0 } };
            if class > top || unit < at || !unit.is_multiple_of(units(class)) {
                return Err(overlap);
            }
            let next = unit.checked_add(units(class)).filter(|&next| next <= end).ok_or(overlap)?;
            buddy.give_span(at, unit);
            at = next;
        }
        buddy.give_span(at, end);
        Ok(buddy)
    }

    /// Units in the arena.
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    /// Units that are free.
    pub(crate) fn free_units(&self) -> u64 {
        self.free_units
    }

    /// Adds `by` units at the end.
    pub(crate) fn grow(&mut self, by: u32) {
        assert!(by.is_multiple_of(units(self.top)), "an arena grows by whole parts of its top class");
        let end = self.end.checked_add(by).expect("the arena's owner keeps its size below the address space");
        let start = std::mem::replace(&mut self.end, end);
        self.give_span(start, end);
    }

    /// Takes the lowest free part of `class`, splitting a larger one if need be.
    pub(crate) fn take(&mut self, class: u8) -> Option<u32> {
        let from = (class..=self.top).find(|&c| !self.free[usize::from(c)].is_empty())?;
        let unit = self.free[usize::from(from)].pop_first()?;
        for smaller in (class..from).rev() {
            self.free[usize::from(smaller)].insert(unit + units(smaller));
        }
        self.free_units -= u64::from(units(class));
        Some(unit)
    }

    /// Gives a part back.
    pub(crate) fn give(&mut self, unit: u32, class: u8) {
        assert!(
            class <= self.top && unit.is_multiple_of(units(class)) && unit < self.end,
            "{unit} is no part"
        );
        self.free_units += u64::from(units(class));
        let (mut unit, mut class) = (unit, class);
        while class < self.top && self.free[usize::from(class)].remove(&(unit ^ units(class))) {
            unit &= !units(class);
            class += 1;
        }
        let is_new = self.free[usize::from(class)].insert(unit);
        assert!(is_new, "arena part at {unit} was free already");
    }

    fn give_span(&mut self, from: u32, to: u32) {
        let mut at = from;
        while at < to {
            let aligned = at.trailing_zeros().min(u32::from(self.top)) as u8;
            let fits = (to - at).ilog2().min(u32::from(self.top)) as u8;
            let class = aligned.min(fits);
            self.give(at, class);
            at += units(class);
        }
    }

    /// Asserts the invariants.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let mut spans: Vec<(u32, u32)> = Vec::new();
        for (class, parts) in self.free.iter().enumerate() {
            for &unit in parts {
                assert!(unit.is_multiple_of(1 << class));
                assert!(
                    class as u8 == self.top || !parts.contains(&(unit ^ (1 << class))),
                    "buddies are joined"
                );
                spans.push((unit, unit + (1 << class)));
            }
        }
        spans.sort_unstable();
        assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "free parts overlap");
        assert_eq!(spans.iter().map(|span| u64::from(span.1 - span.0)).sum::<u64>(), self.free_units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOP: u8 = 9;

    #[test]
    fn refuses_parts_that_overlap() {
        let check =
            |used: &[(u32, u8)]| Buddy::with_used(TOP, units(TOP), &mut used.to_vec()).err().map(|e| e.unit);
        assert_eq!(check(&[(0, 2), (4, 0)]), None);
        assert_eq!(check(&[(0, 2), (3, 0)]), Some(3), "inside the one before");
        assert_eq!(check(&[(2, 2)]), Some(2), "not aligned");
        assert_eq!(check(&[(0, TOP + 1)]), Some(0), "no such class");
        assert_eq!(check(&[(units(TOP), 0)]), Some(units(TOP)), "outside");
    }

    proptest! {
        #[test]
        fn parts_never_overlap(steps in proptest::collection::vec((any::<bool>(), 0..=TOP, any::<u16>()), 1..300)) {
            let mut buddy = Buddy::with_used(TOP, 0, &mut []).unwrap();
            let mut taken: Vec<(u32, u8)> = Vec::new();
            for (takes, class, pick) in steps {
                if takes || taken.is_empty() {
                    let unit = buddy.take(class).unwrap_or_else(|| {
                        buddy.grow(units(TOP));
                        buddy.take(class).unwrap()
                    });
                    let end = unit + units(class);
                    prop_assert!(taken.iter().all(|&(u, c)| end <= u || u + units(c) <= unit));
                    taken.push((unit, class));
                } else {
                    let (unit, class) = taken.swap_remove(usize::from(pick) % taken.len());
                    buddy.give(unit, class);
                }
                buddy.check();
                let used: u64 = taken.iter().map(|&(_, class)| u64::from(units(class))).sum();
                prop_assert_eq!(used + buddy.free_units(), u64::from(buddy.end()));
            }
            let reopened = Buddy::with_used(TOP, buddy.end(), &mut taken).unwrap();
            reopened.check();
            prop_assert_eq!(reopened.free, buddy.free);
        }
    }
}
