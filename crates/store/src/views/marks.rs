// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What the views need of a record's properties, found in one pass over their text.
//! In: the properties of a record. Out: tag hash and index keys. Where a name stands twice the later one counts.

use protocol::record::{self, Record};

use crate::keys::KeyEntry;
use crate::keys::hash;

const VALUE_END: u8 = 2;

/// The marks of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks<'a> {
    tag: &'a [u8],
    unique: &'a [u8],
    keys: &'a [u8],
}

impl<'a> Marks<'a> {
    pub(crate) fn of(properties: &'a [u8]) -> Marks<'a> {
        let mut marks = Marks::default();
        let mut rest = properties;
        while !rest.is_empty() {
            let pair;
            (pair, rest) = split(rest, VALUE_END);
            // Only names of four and eight bytes matter; looking for a few bytes beats looking for the end.
            if let Some(value) = pair.strip_prefix(b"TAGS\x01") {
                marks.tag = value;
            } else if let Some(value) = pair.strip_prefix(b"KEYS\x01") {
                marks.keys = value;
            } else if let Some(value) = pair.strip_prefix(b"UNIQ_KEY\x01") {
                marks.unique = value;
            }
        }
        marks
    }

    /// What the queue entry holds for the tag.
    pub(crate) fn tag_hash(&self) -> i64 {
        str::from_utf8(self.tag).map_or(0, record::tag_hash)
    }

    /// The index entries of the record at `log`, the unique key first.
    pub(crate) fn keys(
        &self,
        record: &Record<'_>,
        topic_hash: u64,
        log: u64,
    ) -> impl Iterator<Item = KeyEntry> + use<'a> {
        let stored_at = record.stored_at().0;
        let tokens = self.keys.split(|&byte| byte == b' ').filter(|token| !token.is_empty());
        let unique = (!self.unique.is_empty()).then_some(self.unique);
        unique.into_iter().chain(tokens).map(move |key| KeyEntry {
            hash: hash::of_key(topic_hash, key),
            log,
            stored_at,
        })
    }

    /// True when [`Marks::keys`] is not empty.
    pub(crate) fn has_keys(&self) -> bool {
        !self.unique.is_empty() || !self.keys.is_empty()
    }
}

/// Splits behind the first `mark`; without one the whole is the first part.
fn split(bytes: &[u8], mark: u8) -> (&[u8], &[u8]) {
    match find(bytes, mark) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

/// Eight bytes at a time: this runs for every message stored.
fn find(bytes: &[u8], mark: u8) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let pattern = LOW * u64::from(mark);
    let mut words = bytes.chunks_exact(8);
    let mut at = 0;
    for word in &mut words {
        let differs = u64::from_le_bytes(word.try_into().expect("eight bytes")) ^ pattern;
        let zeros = differs.wrapping_sub(LOW) & !differs & (LOW << 7);
        if zeros != 0 {
            return Some(at + (zeros.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    words.remainder().iter().position(|&byte| byte == mark).map(|index| at + index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn marks(properties: &str) -> [String; 3] {
        let bytes = properties.replace('=', "\x01").replace(';', "\x02").into_bytes();
        let marks = Marks::of(&bytes);
        [marks.tag, marks.unique, marks.keys].map(|part| String::from_utf8(part.to_vec()).unwrap())
    }

    #[test]
    fn finds_the_three_names() {
        assert_eq!(marks(""), ["", "", ""]);
        assert_eq!(marks("UNIQ_KEY=0A;WAIT=true;TAGS=t1;KEYS=a b;CLUSTER=c;"), ["t1", "0A", "a b"]);
        assert_eq!(marks("TAGS=t1;TAGS=t2"), ["t2", "", ""], "the later counts, the last mark may be absent");
        assert_eq!(marks("XTAGS=t1;TAGSX=t2;TAGS"), ["", "", ""]);
    }

    proptest! {
        #[test]
        fn finds_bytes_as_a_plain_search_does(bytes in proptest::collection::vec(0..4u8, 0..64), mark in 0..4u8) {
            prop_assert_eq!(find(&bytes, mark), bytes.iter().position(|&byte| byte == mark));
        }
    }
}
