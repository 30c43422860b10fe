// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The ext fields of a frame without a map: the raw part of the header, read on demand.
//! `frame` cuts them out and checks them, header types read them in one pass and write them by hand.
//! Invariant: order, unknown and repeated fields are kept, because signatures cover them; of a repeated
//! field the last one counts, as in Apache's map. A field that is null is not there.

pub(crate) mod scan;
mod value;

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::frame::{EncodeError, Serialization};
use crate::names::ByteStr;
use crate::request::DecodeError;
use scan::{Quoted, Scanner, Value};
pub use value::{BadValue, Field, FieldValue};
pub(crate) use value::{missing, read};

/// The ext fields of a frame as they came, in their order.
#[derive(Clone, Default)]
pub struct Fields(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    Empty,
    /// A JSON object, braces included.
    Json(ByteStr),
    /// Entries of the binary header.
    Binary(Bytes),
}

impl Fields {
    pub(crate) fn json(object: ByteStr) -> Fields {
        Fields(Source::Json(object))
    }

    pub(crate) fn binary(entries: Bytes) -> Fields {
        Fields(Source::Binary(entries))
    }

    /// Every field in the order it came.
    pub fn iter(&self) -> impl Iterator<Item = Result<(ByteStr, ByteStr), DecodeError>> + '_ {
        self.entries().map(|entry| entry.map(|(name, raw)| (ByteStr::from(&*name), raw.to_byte_str())))
    }

    /// The value of the field called `name`.
    pub fn get(&self, name: &str) -> Option<ByteStr> {
        let found = self.entries().map_while(Result::ok).filter(|(found, _)| found == name).last();
        found.map(|(_, raw)| raw.to_byte_str())
    }

    /// True when there is no field.
    pub fn is_empty(&self) -> bool {
        self.entries().next().is_none()
    }

    /// Every field, nothing copied.
    pub(crate) fn entries(&self) -> Entries<'_> {
        let at = match &self.0 {
            Source::Empty => Place::End,
            Source::Json(text) => Place::Json { scanner: Scanner::new(text), first: true },
            Source::Binary(bytes) => Place::Binary { rest: bytes },
        };
        Entries { source: &self.0, at }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map_while(Result::ok)).finish()
    }
}

/// The text of one field as it stands in the header.
pub struct Raw<'a> {
    inner: Quoted<'a>,
    source: &'a Source,
}

impl<'a> Raw<'a> {
    /// The text with its escapes undone.
    pub fn text(&self) -> Cow<'a, str> {
        self.inner.plain()
    }

    /// True for the empty text.
    pub fn is_empty(&self) -> bool {
        self.inner.text.is_empty()
    }

    /// Where it starts within the ext fields.
    pub fn at(&self) -> usize {
        self.inner.at
    }

    /// The text as a slice of the frame, or of its own when an escape had to be undone.
    pub fn to_byte_str(&self) -> ByteStr {
        match self.source {
            Source::Json(whole) if !self.inner.is_escaped() => whole.slice_ref(self.inner.text),
            Source::Binary(whole) => ByteStr::from_utf8(whole.slice_ref(self.inner.text.as_bytes()))
                .expect("the same bytes were text a moment ago"),
            _ => ByteStr::from(self.inner.unescaped()),
        }
    }
}

/// Walks over the fields of one header.
pub(crate) struct Entries<'a> {
    source: &'a Source,
    at: Place<'a>,
}

enum Place<'a> {
    Json { scanner: Scanner<'a>, first: bool },
    Binary { rest: &'a [u8] },
    End,
}

type Entry<'a> = (Cow<'a, str>, Raw<'a>);

impl<'a> Entries<'a> {
    fn step(&mut self) -> Result<Option<Entry<'a>>, DecodeError> {
        let source = self.source;
        match &mut self.at {
            Place::Json { scanner, first } => json_entry(scanner, first, source),
            Place::Binary { rest } => binary_entry(rest, source),
            Place::End => Ok(None),
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if !matches!(step, Ok(Some(_))) {
            self.at = Place::End;
        }
        step.transpose()
    }
}

fn json_entry<'a>(
    scanner: &mut Scanner<'a>,
    first: &mut bool,
    source: &'a Source,
) -> Result<Option<Entry<'a>>, DecodeError> {
    loop {
        if *first {
            scanner.take(b'{', "extFields is not an object")?;
        }
        let Some(name) = scanner.member(std::mem::take(first))? else { return Ok(None) };
        let inner = match scanner.value()? {
            Value::Null => continue,
            Value::Text(quoted) | Value::Bare(quoted) => quoted,
        };
        return Ok(Some((name.plain(), Raw { inner, source })));
    }
}

fn binary_entry<'a>(rest: &mut &'a [u8], source: &'a Source) -> Result<Option<Entry<'a>>, DecodeError> {
    let Source::Binary(whole) = source else { return Ok(None) };
    loop {
        let at = whole.len().saturating_sub(rest.len());
        if rest.is_empty() {
            return Ok(None);
        }
        let name = binary_text::<2>(rest, at)?;
        let value = binary_text::<4>(rest, at)?;
        if !value.is_empty() {
            let value_at = whole.len().saturating_sub(rest.len()).saturating_sub(value.len());
            let inner = Quoted::bare(value, value_at);
            return Ok(Some((Cow::Borrowed(name), Raw { inner, source })));
        }
    }
}

/// Cuts a text off the front of `rest`; its length stands before it in `WIDTH` bytes, signed.
pub(crate) fn binary_text<'a, const WIDTH: usize>(
    rest: &mut &'a [u8],
    at: usize,
) -> Result<&'a str, DecodeError> {
    let (length, after) =
        rest.split_first_chunk::<WIDTH>().ok_or_else(|| DecodeError::new(at, "cut off before a length"))?;
    if length.first().is_some_and(|byte| byte & 0x80 != 0) {
        return Err(DecodeError::new(at, "negative length"));
    }
    let length = length.iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
    let (text, after) =
        after.split_at_checked(length).ok_or_else(|| DecodeError::new(at, "length beyond the header"))?;
    *rest = after;
    std::str::from_utf8(text).map_err(|_| DecodeError::new(at, "text is not UTF-8"))
}

/// Writes ext fields straight into the header being encoded.
pub struct FieldsOut<'a> {
    out: &'a mut BytesMut,
    form: Serialization,
    empty: bool,
    fault: Option<EncodeError>,
}

impl<'a> FieldsOut<'a> {
    pub(crate) fn new(out: &'a mut BytesMut, form: Serialization) -> FieldsOut<'a> {
        FieldsOut { out, form, empty: true, fault: None }
    }

    /// Writes one field.
    pub fn put(&mut self, name: &str, value: &impl FieldValue) {
        self.entry(name, |out| value.write(out));
    }

    /// Writes one field that is text.
    pub fn put_text(&mut self, name: &str, value: &str) {
        self.entry(name, |out| out.text(value));
    }

    fn entry(&mut self, name: &str, write: impl FnOnce(&mut ValueOut<'_>)) {
        match self.form {
            Serialization::Json => {
                let before: &[u8] = if self.empty { b",\"extFields\":{\"" } else { b",\"" };
                self.out.put_slice(before);
                put_escaped(self.out, name);
                self.out.put_slice(b"\":\"");
                write(&mut ValueOut { out: self.out, form: self.form });
                self.out.put_u8(b'"');
            }
            Serialization::RocketMq => {
                let Ok(length) = i16::try_from(name.len()) else {
                    self.fault = Some(EncodeError::FieldName { length: name.len() });
                    return;
                };
                self.out.put_i16(length);
                self.out.put_slice(name.as_bytes());
                put_measured(self.out, |out| write(&mut ValueOut { out, form: Serialization::RocketMq }));
            }
        }
        self.empty = false;
    }

    /// Ends the fields; a header without any says nothing about them in JSON.
    pub(crate) fn finish(self) -> Result<(), EncodeError> {
        if self.form == Serialization::Json && !self.empty {
            self.out.put_u8(b'}');
        }
        self.fault.map_or(Ok(()), Err)
    }
}

/// Writes the text of one value.
pub struct ValueOut<'a> {
    out: &'a mut BytesMut,
    form: Serialization,
}

impl ValueOut<'_> {
    /// Writes text, escaped where the form needs it.
    pub fn text(&mut self, text: &str) {
        match self.form {
            Serialization::Json => put_escaped(self.out, text),
            Serialization::RocketMq => self.out.put_slice(text.as_bytes()),
        }
    }

    /// Writes a number in decimal.
    pub fn integer(&mut self, value: i64) {
        put_integer(self.out, value);
    }
}

/// Writes what `write` writes, its length before it in four bytes.
pub(crate) fn put_measured(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    write(out);
    let length = out.len().saturating_sub(at).saturating_sub(4);
    // a header too long for its length field is refused as a whole, so the cast loses nothing that is sent
    if let Some(place) = out.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *place = (length as u32).to_be_bytes();
    }
}

/// Writes a number in decimal.
pub(crate) fn put_integer(out: &mut BytesMut, value: i64) {
    let mut digits = [0_u8; 20];
    let mut rest = value.unsigned_abs();
    let mut used = 0_usize;
    for place in digits.iter_mut().rev() {
        *place = b'0' | (rest % 10) as u8;
        rest /= 10;
        used = used.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.put_u8(b'-');
    }
    out.put_slice(digits.get(digits.len().saturating_sub(used)..).unwrap_or_default());
}

/// Writes text as the inside of a JSON string.
pub(crate) fn put_escaped(out: &mut BytesMut, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    loop {
        let (plain, from) = rest.split_at(scan::plain_prefix(rest));
        out.put_slice(plain);
        let Some((special, after)) = from.split_first() else { return };
        rest = after;
        match special {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            control => {
                let digit = |nibble: u8| HEX.get(usize::from(nibble & 0xf)).copied().unwrap_or(b'0');
                out.put_slice(&[b'\\', b'u', b'0', b'0', digit(control >> 4), digit(*control)]);
            }
        }
    }
}
