// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The recall handle: what a producer is given for a timed message and takes it back with. Version 1: five words
//! between spaces (`v1`, topic, broker, time, unique id), as base64 of the kind for addresses, padded.
//! In: words or text from outside. Out: text or words. Invariant: decoding never panics and takes no more than it was given.

use stdx::Timestamp;

const VERSION: &str = "v1";
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What a recall handle says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallHandle {
    /// The topic that the message is for.
    pub topic: String,
    /// The broker that keeps it.
    pub broker: String,
    /// When it is due.
    pub due: Timestamp,
    /// The id that its producer gave it.
    pub unique: String,
}

/// A text that is no recall handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("recall handle is invalid")]
pub struct HandleError;

impl RecallHandle {
    /// Writes the handle.
    pub fn encode(topic: &str, broker: &str, due: Timestamp, unique: &str) -> String {
        let mut digits = itoa::Buffer::new();
        let words = [VERSION, topic, broker, digits.format(due.0), unique];
        base64(words.join(" ").as_bytes())
    }

    /// Reads a handle.
    pub fn parse(text: &str) -> Result<RecallHandle, HandleError> {
        let bytes = unbase64(text).ok_or(HandleError)?;
        let words = core::str::from_utf8(&bytes).map_err(|_| HandleError)?;
        let mut words = words.split(' ');
        let mut word = || words.next().filter(|word| !word.is_empty()).ok_or(HandleError);
        if word()? != VERSION {
            return Err(HandleError);
        }
        let (topic, broker) = (word()?.to_owned(), word()?.to_owned());
        let due = Timestamp(word()?.parse().map_err(|_| HandleError)?);
        Ok(RecallHandle { topic, broker, due, unique: word()?.to_owned() })
    }
}

/// Each answer to a timed send has one: three bytes at a time, in a room that is there.
fn base64(bytes: &[u8]) -> String {
    let digit = |at: u32| DIGITS.get((at & 0x3F) as usize).copied().unwrap_or(b'=');
    let digits = |word: u32| [18, 12, 6, 0].map(|shift| digit(word >> shift));
    let mut out = vec![b'='; bytes.len().div_ceil(3) * 4];
    let (places, _) = out.as_chunks_mut::<4>();
    let (whole, rest) = bytes.as_chunks::<3>();
    for (place, &[a, b, c]) in places.iter_mut().zip(whole) {
        *place = digits(u32::from_be_bytes([0, a, b, c]));
    }
    if let Some(place) = places.get_mut(whole.len()) {
        let at = |index| rest.get(index).copied().unwrap_or(0);
        // A digit more than bytes; the signs behind them stay.
        let digits = digits(u32::from_be_bytes([0, at(0), at(1), 0]));
        place.iter_mut().zip(digits).take(rest.len() + 1).for_each(|(place, digit)| *place = digit);
    }
    String::from_utf8(out).expect("digits are text")
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.as_bytes().chunks(4) {
        let digit = |byte: &u8| DIGITS.iter().position(|digit| digit == byte);
        let mut word = 0u32;
        for byte in chunk {
            word = word << 6 | digit(byte)? as u32;
        }
        word <<= 6 * (4 - chunk.len());
        let whole = word.to_be_bytes();
        match chunk.len() {
            1 => return None,
            len => out.extend(whole.iter().skip(1).take(len - 1)),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_handle_is_what_java_makes_of_it() {
        let handle = RecallHandle::encode("orders", "broker-a", Timestamp(1_700_000_000_001), "AC11");
        assert_eq!(handle, "djEgb3JkZXJzIGJyb2tlci1hIDE3MDAwMDAwMDAwMDEgQUMxMQ==");
        let read = RecallHandle::parse(&handle).expect("it was just made");
        assert_eq!(
            (read.topic.as_str(), read.broker.as_str(), read.unique.as_str()),
            ("orders", "broker-a", "AC11")
        );
        assert_eq!(read.due, Timestamp(1_700_000_000_001));
        for bad in ["", "=", "djE", "djIgYSBiIDEgYw==", "not base64!", "djEgYSBiIHggYw=="] {
            assert_eq!(RecallHandle::parse(bad), Err(HandleError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            prop_assert_eq!(unbase64(&base64(&bytes)), Some(bytes));
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = RecallHandle::parse(&text);
        }
    }
}
