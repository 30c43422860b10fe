// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Every fixed limit of the protocol in one place; the constants assert each other.

/// Largest frame on the wire, its own length field included.
pub const MAX_FRAME: usize = 16 << 20;
/// Largest header of a frame: its length has 24 bits.
pub const MAX_HEADER: usize = (1 << 24) - 1;
/// Largest body of a message unless configured.
pub const MAX_MESSAGE: usize = 4 << 20;
/// Largest properties text of a message: its length field is a signed 16-bit number.
pub const MAX_PROPERTIES: usize = 32_767;
/// Longest topic name.
pub const TOPIC: usize = 127;
/// Longest retry or dead-letter topic name.
pub const LONG_TOPIC: usize = 255;
/// Longest group name.
pub const GROUP: usize = 120;
/// The most light queues that one message is put into.
pub const LIGHT_QUEUES: usize = 1024;
/// Deepest nesting of a header member that we skip.
pub const MAX_NESTING: usize = 64;
/// Largest code that the binary header carries: 16 bits, signed.
pub const MAX_BINARY_CODE: i32 = i16::MAX as i32;

/// A frame holds the largest message, its properties written as JSON escapes, and a header.
const _: () = assert!(MAX_FRAME >= MAX_MESSAGE + 6 * MAX_PROPERTIES + 65_536);
/// A topic's length stands in one signed byte of a version 1 record, or in two of a version 2 record.
const _: () = assert!(TOPIC <= i8::MAX as usize && LONG_TOPIC <= i16::MAX as usize);
/// Both topics made for a group fit.
const _: () = assert!(GROUP + "%RETRY%".len() <= LONG_TOPIC && GROUP + "%DLQ%".len() <= LONG_TOPIC);
/// A POP retry topic holds a group and a topic.
const _: () = assert!("%RETRY%".len() + GROUP + 1 + TOPIC <= LONG_TOPIC);
/// The skipper keeps one bit for each level.
const _: () = assert!(MAX_NESTING <= u64::BITS as usize);
