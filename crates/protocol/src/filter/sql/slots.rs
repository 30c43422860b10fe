// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The properties that an expression speaks of, numbered, and their values in one message.
//! Called by `parser` (numbers) and when a message is judged (values). Case counts in names.

const NAME_END: u8 = crate::properties::NAME_END as u8;
const VALUE_END: u8 = crate::properties::VALUE_END as u8;
/// The end of a name that was not met.
const NOWHERE: usize = usize::MAX;

/// The number of a property in its expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

/// The values of a message's properties, by number.
pub(super) type Slots<'a> = [Option<&'a str>];

/// The names of an expression's properties, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    names: Vec<Box<str>>,
    /// A bit for each length modulo 64 that a name has: most properties of a message are passed over by it.
    lengths: u64,
}

impl Names {
    /// Returns the number of a name.
    pub(super) fn slot(&mut self, name: &str) -> Slot {
        let known = self.names.iter().position(|known| **known == *name);
        Slot(known.unwrap_or_else(|| {
            self.lengths |= length_bit(name.len());
            self.names.push(name.into());
            self.names.len().saturating_sub(1)
        }))
    }

    /// Returns how many different names there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Notes the values of one message. Where a name stands twice, the later value counts.
    ///
    /// Says of a text what [`crate::properties::iter`] says, at a quarter of its price: eight bytes at a time are searched
    /// for the two marks, and of most names nothing but the length is looked at.
    pub(super) fn fill<'a>(&self, properties: &'a str, slots: &mut Slots<'a>) {
        let bytes = properties.as_bytes();
        let (words, rest) = bytes.as_chunks::<8>();
        let (mut start, mut name_end) = (0, NOWHERE);
        let mut meet = |at: usize, byte: u8| {
            if byte == VALUE_END {
                self.note(properties, start, name_end, at, slots);
                (start, name_end) = (at + 1, NOWHERE);
            } else if byte == NAME_END && name_end == NOWHERE {
                name_end = at;
            }
        };
        for (number, word) in words.iter().enumerate() {
            let mut marks = small_bytes(u64::from_le_bytes(*word));
            while marks != 0 {
                let inside = marks.trailing_zeros() as usize / 8;
                meet(number * 8 + inside, word.get(inside).copied().unwrap_or_default());
                marks &= marks - 1;
            }
        }
        for (inside, byte) in rest.iter().enumerate() {
            meet(words.len() * 8 + inside, *byte);
        }
        meet(bytes.len(), VALUE_END);
    }

    /// Notes a property, if it is one and somebody may ask for it.
    #[inline]
    fn note<'a>(&self, text: &'a str, start: usize, name_end: usize, end: usize, slots: &mut Slots<'a>) {
        let is_asked = self.lengths & length_bit(name_end.wrapping_sub(start)) != 0;
        if is_asked && name_end != NOWHERE && name_end + 1 < end {
            self.note_asked(text, start, name_end, end, slots);
        }
    }

    #[inline(never)]
    fn note_asked<'a>(
        &self,
        text: &'a str,
        start: usize,
        name_end: usize,
        end: usize,
        slots: &mut Slots<'a>,
    ) {
        let name = text.as_bytes().get(start..name_end).unwrap_or_default();
        let mut known = self.names.iter().zip(slots.iter_mut());
        if let Some((_, slot)) = known.find(|(known, _)| known.as_bytes() == name) {
            *slot = text.get(name_end + 1..end);
        }
    }
}

/// The highest bit of each byte that is less than three, and now and then of the one after it.
fn small_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    word.wrapping_sub(3 * ONES) & !word & (ONES << 7)
}

impl Slot {
    /// Returns the property's value, if the message has it.
    pub(super) fn of<'a>(self, slots: &Slots<'a>) -> Option<&'a str> {
        slots.get(self.0).copied().flatten()
    }
}

fn length_bit(len: usize) -> u64 {
    1 << (len % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn says_what_properties_say(text in "([ab\u{0}\u{1}\u{2}\u{3}\u{ff}é]|aa\u{1}b|b\u{1}aaaa\u{2}){0,30}") {
            let mut names = Names::default();
            let asked = ["a", "b", "aa", "é", "aaaaaaaaaa"];
            let slots = asked.map(|name| names.slot(name));
            let mut found = [None; 5];
            names.fill(&text, &mut found);
            for (name, slot) in asked.iter().zip(slots) {
                prop_assert_eq!(slot.of(&found), properties::get(&text, name), "{} of {:?}", name, text);
            }
        }
    }
}
