// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. UTF-8 text that shares the buffer it came from, so that reading a header copies nothing.
//! Invariant: the bytes are valid UTF-8; checked once, when the text is made.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;
use bytestring::ByteString;

/// UTF-8 text that shares the buffer it came from; cloning counts a reference.
#[derive(Clone, Default)]
pub struct ByteStr(ByteString);

/// The bytes are no UTF-8 text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not UTF-8 from byte {valid} on")]
pub struct NotUtf8 {
    /// How many bytes before the fault are fine.
    pub valid: usize,
}

impl ByteStr {
    /// Takes bytes that must be UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<ByteStr, NotUtf8> {
        ByteString::try_from(bytes).map(ByteStr).map_err(|e| NotUtf8 { valid: e.valid_up_to() })
    }

    /// Takes text that lives as long as the process.
    pub const fn from_static(text: &'static str) -> ByteStr {
        ByteStr(ByteString::from_static(text))
    }

    /// The bytes behind the text.
    pub fn as_bytes(&self) -> &Bytes {
        self.0.as_bytes()
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A part of this text that shares its buffer. `part` must lie inside it.
    pub fn slice_ref(&self, part: &str) -> ByteStr {
        if part.is_empty() {
            return ByteStr::default();
        }
        ByteStr(self.0.slice_ref(part))
    }

    /// A copy that owns its bytes and keeps no frame alive.
    pub fn detached(&self) -> ByteStr {
        ByteStr::from(self.as_str())
    }
}

impl Deref for ByteStr {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ByteStr {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ByteStr {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ByteStr {
    fn from(text: &str) -> ByteStr {
        ByteStr(ByteString::from(text))
    }
}

impl From<String> for ByteStr {
    fn from(text: String) -> ByteStr {
        ByteStr(ByteString::from(text))
    }
}

impl From<&String> for ByteStr {
    fn from(text: &String) -> ByteStr {
        ByteStr::from(text.as_str())
    }
}

impl From<&ByteStr> for ByteStr {
    fn from(text: &ByteStr) -> ByteStr {
        text.clone()
    }
}

impl PartialEq for ByteStr {
    fn eq(&self, other: &ByteStr) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ByteStr {}

impl PartialEq<str> for ByteStr {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for ByteStr {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for ByteStr {
    fn partial_cmp(&self, other: &ByteStr) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByteStr {
    fn cmp(&self, other: &ByteStr) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for ByteStr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for ByteStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ByteStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl serde::Serialize for ByteStr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ByteStr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<ByteStr, D::Error> {
        String::deserialize(deserializer).map(ByteStr::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_the_buffer() {
        let text = ByteStr::from("billing-EU");
        let part = text.slice_ref(&text[..7]);
        assert_eq!(part, "billing");
        assert_eq!(part.as_bytes().as_ptr(), text.as_bytes().as_ptr());
        assert_ne!(part.detached().as_bytes().as_ptr(), text.as_bytes().as_ptr());
        assert_eq!(text.slice_ref(&text[3..3]), "");
    }

    #[test]
    fn other_bytes_are_refused() {
        let got = ByteStr::from_utf8(Bytes::from_static(b"ab\xff"));
        assert_eq!(got, Err(NotUtf8 { valid: 2 }));
    }
}
