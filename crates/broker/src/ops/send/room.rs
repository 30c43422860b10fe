// SPDX-License-Identifier: Apache-2.0
//! Text whose room is used again: the properties of a message are written anew on its way into the log, and needed no
//! longer once it is there. Each thread keeps the room of a few for those that come next.
//! Invariant: a text begins empty, whoever had its room before.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// As many as a turn of requests holds at once.
const KEPT: usize = 64;
/// Longer ones are rare and not kept.
const KEPT_UP_TO: usize = 4096;

thread_local! {
    static SPARE: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A text that gives its room back.
#[derive(Debug)]
pub(super) struct Text(String);

impl Text {
    /// Begins a text.
    pub(super) fn new() -> Text {
        Text(SPARE.with_borrow_mut(Vec::pop).unwrap_or_default())
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let mut room = std::mem::take(&mut self.0);
        if room.capacity() > KEPT_UP_TO {
            return;
        }
        room.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < KEPT {
                spare.push(room);
            }
        });
    }
}

impl Deref for Text {
    type Target = String;
    fn deref(&self) -> &String {
        &self.0
    }
}

impl DerefMut for Text {
    fn deref_mut(&mut self) -> &mut String {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again_and_a_text_begins_empty() {
        let room = |text: &Text| (text.as_ptr(), text.capacity());
        let mut first = Text::new();
        first.push_str(&"x".repeat(100));
        let had = room(&first);
        drop(first);
        let second = Text::new();
        assert_eq!((second.as_str(), room(&second)), ("", had));
        let mut long = Text::new();
        long.push_str(&"x".repeat(KEPT_UP_TO + 1));
        drop(long);
        assert_eq!(Text::new().capacity(), 0, "it was too long to be kept");
        drop((0..2 * KEPT).map(|_| Text::new()).collect::<Vec<_>>());
        assert_eq!(SPARE.with_borrow(Vec::len), KEPT);
    }
}
