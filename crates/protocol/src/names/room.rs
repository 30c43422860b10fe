// SPDX-License-Identifier: Apache-2.0
//! Room for texts that are written for one request and gone with its answer: properties with their escapes undone, ids of
//! messages. Each thread fills one piece of memory after the other, mostly the same one again. It is memory and no state:
//! what a text says never depends on it.
//! Invariant: a text that is kept for long keeps one piece alive, so nothing is written here that a table keeps.

use std::cell::RefCell;

use bytes::BytesMut;

use super::ByteStr;

/// What the requests of one read need together.
const PIECE: usize = 8 << 10;

thread_local! {
    static ROOM: RefCell<BytesMut> = RefCell::default();
}

impl ByteStr {
    /// A text of at most about `most` bytes, as `write` writes it; `None` when that says false or it is no text.
    pub fn brief(most: usize, write: impl FnOnce(&mut BytesMut) -> bool) -> Option<ByteStr> {
        if most > PIECE / 4 {
            return written(&mut BytesMut::with_capacity(most), write);
        }
        ROOM.with_borrow_mut(|room| {
            if room.capacity() < most {
                // The same piece once nobody holds a text in it, else a new one.
                room.reserve(PIECE);
            }
            written(room, write)
        })
    }
}

fn written(room: &mut BytesMut, write: impl FnOnce(&mut BytesMut) -> bool) -> Option<ByteStr> {
    room.clear();
    let is_whole = write(room);
    let text = room.split().freeze();
    ByteStr::from_utf8(text).ok().filter(|_| is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(size: usize) -> ByteStr {
        let write = |out: &mut BytesMut| {
            out.resize(size, b'x');
            true
        };
        ByteStr::brief(size, write).expect("it is text")
    }

    #[test]
    fn texts_stay_what_they_are_and_room_is_used_again() {
        let held: Vec<ByteStr> = (0..1000).map(|n| text(n % 300)).collect();
        for (n, held) in held.iter().enumerate() {
            assert_eq!(held.as_str(), "x".repeat(n % 300));
        }
        drop(held);
        let mut places: Vec<*const u8> = (0..20 * PIECE / 100).map(|_| text(100).as_ptr()).collect();
        places.sort();
        places.dedup();
        assert!(
            places.len() <= 2 * (PIECE / 100 + 1),
            "what is gone at once takes one piece: {}",
            places.len()
        );
    }

    #[test]
    fn what_is_no_text_leaves_nothing() {
        assert_eq!(ByteStr::brief(3, |_| false), None);
        let write = |bytes: &'static [u8]| {
            move |out: &mut BytesMut| {
                out.extend_from_slice(bytes);
                !bytes.is_empty()
            }
        };
        assert_eq!(ByteStr::brief(1, write(b"\xff")), None);
        assert_eq!(
            ByteStr::brief(1, write(b"longer than was said")).as_deref(),
            Some("longer than was said")
        );
        assert_eq!(ByteStr::brief(PIECE, write(b"y")).as_deref(), Some("y"));
    }
}
