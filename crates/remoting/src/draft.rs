// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Frames on their way out: heads and small bodies in one reused buffer, large bodies where they lie.
//! In: push, advance. Out: slices for one vectored write. Never copies a large body and never reorders.
//! Invariant: what the slices spell, call after call, is exactly the pushed frames in the order of their pushes.

use std::io::IoSlice;

use bytes::{Bytes, BytesMut};
use protocol::frame::{self, EncodeError, Head};
use protocol::request::Header;

use crate::reply::Body;

/// A piece up to this size is cheaper to copy than to describe to the kernel.
const COPIED_UP_TO: usize = 2048;
/// A buffer that grew beyond this for one burst is not kept.
const KEPT_UP_TO: usize = 256 << 10;

/// Frames that nobody has begun to write.
#[derive(Default)]
pub(crate) struct Draft {
    bytes: BytesMut,
    /// Each piece follows the first `.0` copied bytes.
    pieces: Vec<(usize, Bytes)>,
    pieces_len: usize,
    frames: usize,
}

impl Draft {
    /// Appends a frame; a frame that cannot be encoded leaves no trace.
    pub(crate) fn push<H: Header>(
        &mut self,
        head: &Head<'_>,
        header: &H,
        body: Body,
    ) -> Result<(), EncodeError> {
        let start = self.bytes.len();
        if let Err(error) = frame::encode(head, header, body.len(), &mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.frames += 1;
        match body {
            Body::Empty => {}
            Body::One(piece) => self.append(piece),
            Body::Many(pieces) => pieces.into_iter().for_each(|piece| self.append(piece)),
        }
        Ok(())
    }

    fn append(&mut self, piece: Bytes) {
        if piece.len() <= COPIED_UP_TO {
            self.bytes.extend_from_slice(&piece);
        } else {
            self.pieces_len += piece.len();
            self.pieces.push((self.bytes.len(), piece));
        }
    }

    /// Bytes to write.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.pieces_len
    }

    /// Returns true when there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives back memory that holds nothing.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            *self = Draft::default();
        }
    }

    fn clear(&mut self) {
        self.pieces.clear();
        (self.pieces_len, self.frames) = (0, 0);
        if self.bytes.capacity() > KEPT_UP_TO {
            self.bytes = BytesMut::new();
        } else {
            self.bytes.clear();
        }
    }
}

/// Frames that are being written.
#[derive(Default)]
pub(crate) struct Writing {
    draft: Draft,
    /// Copied bytes already written.
    copied: usize,
    /// Pieces already written, and the written bytes of the next one.
    pieces: usize,
    within: usize,
}

impl Writing {
    /// Takes over what was drafted, once everything before it is written. The emptied buffers go back with it.
    pub(crate) fn begin(&mut self, draft: &mut Draft) {
        debug_assert!(self.is_done());
        std::mem::swap(&mut self.draft, draft);
    }

    /// Returns true when all is written.
    pub(crate) fn is_done(&self) -> bool {
        self.copied == self.draft.bytes.len() && self.pieces == self.draft.pieces.len()
    }

    /// How many frames were taken over.
    pub(crate) fn frames(&self) -> usize {
        self.draft.frames
    }

    /// Bytes still to write.
    pub(crate) fn left(&self) -> usize {
        let pieces = self.draft.pieces.get(self.pieces..).unwrap_or_default();
        let pieces: usize = pieces.iter().map(|(_, piece)| piece.len()).sum();
        self.draft.bytes.len() - self.copied + pieces - self.within
    }

    /// Fills `slices` with what comes next and returns how many it used.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut copied = self.copied;
        let mut within = self.within;
        for (at, piece) in self.draft.pieces.get(self.pieces..).unwrap_or_default() {
            if used + 2 > slices.len() {
                return used;
            }
            if copied < *at {
                slices[used] = IoSlice::new(&self.draft.bytes[copied..*at]);
                used += 1;
                copied = *at;
            }
            slices[used] = IoSlice::new(&piece[within..]);
            used += 1;
            within = 0;
        }
        if copied < self.draft.bytes.len() && used < slices.len() {
            slices[used] = IoSlice::new(&self.draft.bytes[copied..]);
            used += 1;
        }
        used
    }

    /// Notes that `written` more bytes have left. A finished piece is let go.
    pub(crate) fn advance(&mut self, mut written: usize) {
        while let Some((at, piece)) = self.draft.pieces.get_mut(self.pieces) {
            let before = (*at - self.copied).min(written);
            self.copied += before;
            written -= before;
            let inside = (piece.len() - self.within).min(written);
            self.within += inside;
            written -= inside;
            if self.within < piece.len() {
                break;
            }
            *piece = Bytes::new();
            self.pieces += 1;
            self.within = 0;
        }
        self.copied += written;
        if self.is_done() {
            self.draft.clear();
            (self.copied, self.pieces, self.within) = (0, 0, 0);
        }
    }

    /// Gives back the memory of an idle connection.
    pub(crate) fn release(&mut self) {
        if self.is_done() {
            self.draft.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spell(writing: &Writing, most: usize) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(&[]); most];
        let used = writing.slices(&mut slices);
        slices[..used].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn any_split_of_the_writes_spells_the_frames(
            bodies in proptest::collection::vec(proptest::collection::vec(0usize..5000, 0..4), 1..12),
            steps in proptest::collection::vec(1usize..4000, 1..200),
            most in 2usize..9,
        ) {
            let mut draft = Draft::default();
            let mut expected = Vec::new();
            for (n, sizes) in bodies.iter().enumerate() {
                let pieces: Vec<Bytes> = sizes.iter().map(|size| vec![n as u8 + 1; *size].into()).collect();
                for piece in [Bytes::from(vec![0xAA; n])].iter().chain(&pieces) {
                    expected.extend_from_slice(piece);
                    draft.append(piece.clone());
                }
            }
            prop_assert_eq!(draft.len(), expected.len());
            let mut writing = Writing::default();
            writing.begin(&mut draft);
            let mut written = Vec::new();
            for step in steps.iter().cycle() {
                if writing.is_done() {
                    break;
                }
                let mut next = spell(&writing, most);
                prop_assert!(!next.is_empty());
                next.truncate(*step);
                writing.advance(next.len());
                written.extend(next);
                prop_assert_eq!(writing.left(), expected.len() - written.len());
            }
            prop_assert_eq!(written, expected);
        }
    }
}
