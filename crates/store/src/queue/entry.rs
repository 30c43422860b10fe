// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. One consume-queue entry: where a record lies, how long it is, and the hash of its tag; 20 bytes,
//! big-endian, as in Apache's consume queue. Layout: `docs/format/queue.md`.

use protocol::names::LogOffset;

/// Where one message of a queue lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where its record starts.
    pub log: LogOffset,
    /// Bytes of the record; 0 where the message was lost to damage.
    pub size: u32,
    /// Hash of its tag, 0 without one.
    pub tag_hash: i64,
}

impl Entry {
    /// Bytes of an entry.
    pub const LEN: usize = 20;

    /// What stands for a message that was lost.
    pub const HOLE: Entry = Entry { log: LogOffset(0), size: 0, tag_hash: 0 };

    /// True where the message was lost.
    pub fn is_hole(&self) -> bool {
        self.size == 0
    }

    pub(crate) fn to_bytes(self) -> [u8; Entry::LEN] {
        let mut bytes = [0; Entry::LEN];
        bytes[..8].copy_from_slice(&self.log.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.size.to_be_bytes());
        bytes[12..].copy_from_slice(&self.tag_hash.to_be_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; Entry::LEN]) -> Entry {
        let (log, rest) = bytes.split_at(8);
        let (size, tag) = rest.split_at(4);
        Entry {
            log: LogOffset(u64::from_be_bytes(log.try_into().expect("eight bytes"))),
            size: u32::from_be_bytes(size.try_into().expect("four bytes")),
            tag_hash: i64::from_be_bytes(tag.try_into().expect("eight bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_document() {
        let entry = Entry { log: LogOffset(0x0102_0304), size: 1234, tag_hash: i64::from(i32::MIN) };
        let bytes = entry.to_bytes();
        assert_eq!(bytes[..8], [0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(bytes[8..12], [0, 0, 0x04, 0xD2]);
        assert_eq!(bytes[12..], [0xFF, 0xFF, 0xFF, 0xFF, 0x80, 0, 0, 0]);
        assert_eq!(Entry::from_bytes(&bytes), entry);
        assert!(Entry::HOLE.is_hole());
    }
}
