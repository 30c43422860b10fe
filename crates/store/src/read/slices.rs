// SPDX-License-Identifier: Apache-2.0
//! The pieces of the log that a read found. Mostly the messages of a read lie side by side and are one piece, for which no
//! list is made.

use std::ops::Deref;

use bytes::Bytes;

/// As many messages as clients usually ask for: in the worst case each is a piece.
const USUAL: usize = 32;

/// Pieces of the log, in order; reads as a slice of them.
#[derive(Clone, Debug, Default)]
pub enum Slices {
    /// None yet.
    #[default]
    None,
    /// One.
    One(Bytes),
    /// Several.
    Many(Vec<Bytes>),
}

impl Slices {
    pub(super) fn push(&mut self, piece: Bytes) {
        *self = match std::mem::take(self) {
            Slices::None => Slices::One(piece),
            Slices::One(first) => {
                let mut all = Vec::with_capacity(USUAL);
                all.extend([first, piece]);
                Slices::Many(all)
            }
            Slices::Many(mut all) => {
                all.push(piece);
                Slices::Many(all)
            }
        }
    }

    /// Drops what lies behind the first `count` pieces.
    pub(super) fn truncate(&mut self, count: usize) {
        match self {
            Slices::Many(all) => all.truncate(count),
            Slices::None | Slices::One(_) if count > 0 => {}
            Slices::None | Slices::One(_) => *self = Slices::None,
        }
    }
}

impl Deref for Slices {
    type Target = [Bytes];
    fn deref(&self) -> &[Bytes] {
        match self {
            Slices::None => &[],
            Slices::One(piece) => std::slice::from_ref(piece),
            Slices::Many(all) => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_added_and_taken_back_in_order() {
        let mut slices = Slices::default();
        let mut all = Vec::new();
        for number in 0..40u8 {
            assert_eq!(slices[..], all[..]);
            let piece = Bytes::from(vec![number; 3]);
            slices.push(piece.clone());
            all.push(piece);
        }
        for count in [40, 39, 2, 1, 0] {
            slices.truncate(count);
            all.truncate(count);
            assert_eq!(slices[..], all[..]);
        }
        let mut one = Slices::One(Bytes::new());
        one.truncate(1);
        assert_eq!(one.len(), 1);
        one.truncate(0);
        assert!(one.is_empty());
    }
}
