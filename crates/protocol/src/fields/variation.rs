// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Where the fields of a header differ from those of others of its connection. `frame::likeness` finds the places,
//! a typed header reads only what stands there.

use super::usual::known;

/// Where a field stands in a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) name_len: usize,
    pub(crate) value_at: usize,
    /// The place of the quote behind the value.
    pub(crate) end: usize,
}

impl Known {
    /// The fields of the object that begins at `start`. `None` if it is unusual, or a name stands there twice: then the
    /// last one counts, and no other may be looked at alone.
    pub(crate) fn all(text: &[u8], start: usize) -> Option<Vec<Known>> {
        let fields = known(text, start)?;
        let mut names: Vec<_> = fields.iter().map(|field| field.name(text)).collect();
        names.sort_unstable();
        names.dedup();
        (names.len() == fields.len()).then_some(fields)
    }

    pub(crate) fn name<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        // a quote, a colon and a quote stand between the two
        let end = self.value_at.checked_sub(3)?;
        text.get(end.checked_sub(self.name_len)?..end)
    }

    pub(crate) fn value<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        text.get(self.value_at..self.end)
    }
}

/// Where the fields of a header differ from those of the others with the same number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variation {
    number: u32,
    count: u8,
    holes: [(u16, u16); Variation::MOST],
}

/// A field that may differ.
pub(crate) struct Hole {
    name_len: usize,
    pub(crate) value_at: usize,
}

impl Variation {
    /// Headers that differ in more fields are not worth it.
    pub(crate) const MOST: usize = 6;

    pub(crate) fn new(number: u32) -> Variation {
        Variation { number, count: 0, holes: [(0, 0); Variation::MOST] }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Notes that a field may differ whose value begins at `value_at`.
    pub(crate) fn add(&mut self, value_at: usize, name_len: usize) -> Option<()> {
        let hole = self.holes.get_mut(usize::from(self.count))?;
        *hole = (u16::try_from(name_len).ok()?, u16::try_from(value_at).ok()?);
        self.count = self.count.saturating_add(1);
        Some(())
    }

    pub(crate) fn holes(&self) -> impl Iterator<Item = Hole> + '_ {
        let hole = |(name_len, value_at): &(u16, u16)| Hole {
            name_len: usize::from(*name_len),
            value_at: usize::from(*value_at),
        };
        self.holes.iter().take(usize::from(self.count)).map(hole)
    }
}

impl Hole {
    pub(crate) fn name<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        Known { name_len: self.name_len, value_at: self.value_at, end: self.value_at }.name(text)
    }
}
