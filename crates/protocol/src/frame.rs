// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. One frame of the remoting protocol: length, header (JSON or binary) and body, both ways.
//! `remoting` feeds a [`Decoder`] with what it read and writes what [`encode`] made; bodies are never copied.
//! Invariants: no input makes it panic or allocate more than the input holds; an answer is written in the
//! form of its request.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod binary;
mod json;
mod language;
mod likeness;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::caps;
use crate::fields::Fields;
use crate::names::ByteStr;
use crate::request::{DecodeError, Header};
pub use language::Language;
use likeness::Likeness;

/// The version that we say we are: V5_5_0.
pub const VERSION: i32 = 513;
/// Set in the flag of an answer.
pub const RESPONSE: i32 = 1;
/// Set in the flag of a request that wants no answer.
pub const ONE_WAY: i32 = 2;

/// How a header is written; the first byte of its length field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Serialization {
    /// A JSON object.
    #[default]
    Json,
    /// Fixed fields and length-prefixed texts, with a code of 16 bits.
    RocketMq,
}

impl Serialization {
    fn from_byte(byte: u8) -> Option<Serialization> {
        match byte {
            0 => Some(Serialization::Json),
            1 => Some(Serialization::RocketMq),
            _ => None,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Serialization::Json => 0,
            Serialization::RocketMq => 1,
        }
    }
}

/// One request or answer as it came.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Request code, or response code in an answer.
    pub code: i32,
    /// What the sender is written in.
    pub language: Language,
    /// Version ordinal of the sender.
    pub version: i32,
    /// Number that ties an answer to its request, chosen by the asker.
    pub opaque: i32,
    /// [`RESPONSE`] and [`ONE_WAY`] bits.
    pub flag: i32,
    /// Words for people, mostly in refusals.
    pub remark: Option<ByteStr>,
    /// The form of the header, which the answer must use too.
    pub serialization: Serialization,
    /// The typed header, not yet read.
    pub fields: Fields,
    /// What follows the header.
    pub body: Bytes,
}

impl Frame {
    /// True for an answer.
    pub fn is_response(&self) -> bool {
        self.flag & RESPONSE != 0
    }

    /// True for a request that wants no answer.
    pub fn is_one_way(&self) -> bool {
        self.flag & ONE_WAY != 0
    }

    /// Reads the typed header.
    pub fn decode<H: Header>(&self) -> Result<H, DecodeError> {
        H::decode(&self.fields)
    }
}

/// Cuts frames out of a stream of bytes. After an error the stream is lost and must be closed.
#[derive(Clone, Debug)]
pub struct Decoder {
    max_frame: usize,
    likeness: Likeness,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new(caps::MAX_FRAME)
    }
}

impl Decoder {
    /// Makes a decoder that refuses frames above `max_frame` bytes, their length field included.
    pub fn new(max_frame: usize) -> Decoder {
        Decoder { max_frame, likeness: Likeness::default() }
    }

    /// Takes the next whole frame off the front of `input`. `None` asks for more bytes.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let Some(lengths) = self.lengths(input)? else { return Ok(None) };
        let Some(total) = lengths.total.checked_add(4).filter(|total| *total <= input.len()) else {
            return Ok(None);
        };
        let mut header = input.split_to(total).freeze();
        header.advance(8);
        let body = header.split_off(lengths.header);
        let mut frame = match lengths.serialization {
            Serialization::Json => self.json(header)?,
            Serialization::RocketMq => binary::decode(header)?,
        };
        // an empty body would keep the whole frame in memory for nothing
        if !body.is_empty() {
            frame.body = body;
        }
        Ok(Some(frame))
    }

    /// Reads a JSON header, if it can be by comparing it with one before.
    fn json(&mut self, mut header: Bytes) -> Result<Frame, DecodeError> {
        if let Some(frame) = self.likeness.read(&mut header) {
            return Ok(frame);
        }
        let frame = json::decode(header.clone())?;
        self.likeness.learn(&header, &frame);
        Ok(frame)
    }

    /// Judges the first eight bytes before the rest is waited for.
    fn lengths(&self, input: &[u8]) -> Result<Option<Lengths>, DecodeError> {
        let Some((total, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
        let total = usize::try_from(i32::from_be_bytes(*total))
            .map_err(|_| DecodeError::new(0, "negative frame length"))?;
        if total < 4 {
            return Err(DecodeError::new(0, "frame too short for a header length"));
        }
        if total.saturating_add(4) > self.max_frame {
            return Err(DecodeError::new(0, "frame longer than allowed"));
        }
        let Some(&[form, a, b, c]) = rest.first_chunk::<4>() else { return Ok(None) };
        let serialization =
            Serialization::from_byte(form).ok_or_else(|| DecodeError::new(4, "unknown header form"))?;
        let header = u32::from_be_bytes([0, a, b, c]) as usize;
        if header > total.saturating_sub(4) {
            return Err(DecodeError::new(5, "header longer than its frame"));
        }
        Ok(Some(Lengths { total, serialization, header }))
    }
}

struct Lengths {
    total: usize,
    serialization: Serialization,
    header: usize,
}

/// Head of a frame to write. The body follows in one or many slices that are not copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// Request or response code.
    pub code: i32,
    /// Number that ties an answer to its request.
    pub opaque: i32,
    /// [`RESPONSE`] and [`ONE_WAY`] bits.
    pub flag: i32,
    /// Version ordinal, mostly [`VERSION`].
    pub version: i32,
    /// What the writer is written in.
    pub language: Language,
    /// Words for people.
    pub remark: Option<&'a str>,
    /// The form of the header; an answer's is that of its request.
    pub serialization: Serialization,
}

/// Why a frame cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The binary header has 16 bits for the code.
    #[error("code {code} does not fit the binary header, which has 16 bits for it; use JSON headers")]
    Code {
        /// The code.
        code: i32,
    },
    /// The binary header has 16 bits for the version.
    #[error("version {version} does not fit the binary header, which has 16 bits for it")]
    Version {
        /// The version ordinal.
        version: i32,
    },
    /// The name of an ext field is too long for its length field.
    #[error("an ext field's name of {length} bytes does not fit the binary header")]
    FieldName {
        /// Its length.
        length: usize,
    },
    /// The header's length has 24 bits.
    #[error("a header of {length} bytes is too long, at most {} fit", caps::MAX_HEADER)]
    Header {
        /// Its length.
        length: usize,
    },
    /// No peer takes a frame above 16 MiB.
    #[error("a frame of {length} bytes is too long, at most {} are allowed", caps::MAX_FRAME)]
    Frame {
        /// Its length.
        length: usize,
    },
}

/// Appends length and header of a frame to `out`; the caller sends `body_len` bytes of body after it.
/// On an error `out` is as before.
pub fn encode<H: Header>(
    head: &Head<'_>,
    header: &H,
    body_len: usize,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let start = out.len();
    let written = write(head, header, body_len, out, start);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Room made before a header is written; most need no more.
const USUAL_HEADER: usize = 512;

fn write<H: Header>(
    head: &Head<'_>,
    header: &H,
    body_len: usize,
    out: &mut BytesMut,
    start: usize,
) -> Result<(), EncodeError> {
    out.reserve(USUAL_HEADER);
    out.put_u64(0);
    match head.serialization {
        Serialization::Json => json::encode(head, header, out)?,
        Serialization::RocketMq => binary::encode(head, header, out)?,
    }
    let length = out.len().saturating_sub(start).saturating_sub(8);
    if length > caps::MAX_HEADER {
        return Err(EncodeError::Header { length });
    }
    let total = length.saturating_add(4).saturating_add(body_len);
    if total.saturating_add(4) > caps::MAX_FRAME {
        return Err(EncodeError::Frame { length: total.saturating_add(4) });
    }
    // both fit: a frame is capped far below 2^31 and a header below 2^24
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [t0, t1, t2, t3] = (total as u32).to_be_bytes();
    if let Some(place) = out.get_mut(start..).and_then(|rest| rest.first_chunk_mut::<8>()) {
        *place = [t0, t1, t2, t3, head.serialization.byte(), a, b, c];
    }
    Ok(())
}
