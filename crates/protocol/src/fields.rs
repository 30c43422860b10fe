// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The ext fields of a frame without a map: the raw part of the header, read on demand.
//! `frame` cuts them out, checks them and notes where they stand; header types read them in one pass and
//! write them by hand.
//! Invariant: order, unknown and repeated fields are kept, because signatures cover them; of a repeated
//! field the last one counts, as in Apache's map. A field that is null is not there.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod out;
pub(crate) mod scan;
mod usual;
mod value;
mod variation;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::names::ByteStr;
use crate::request::DecodeError;
pub use out::{FieldName, FieldsOut, ValueOut};
pub(crate) use out::{put_escaped, put_integer, put_measured};
use scan::{Quoted, Scanner, Value};
pub use usual::InOrder;
pub(crate) use usual::{Unusual, skip_object, skip_text, usual};
pub use value::{BadValue, Field, FieldValue};
pub(crate) use value::{missing, read};
pub(crate) use variation::{Known, Variation};

/// The ext fields of a frame as they came, in their order.
#[derive(Clone, Default)]
pub struct Fields {
    source: Source,
    /// What is known of them because they are like others that came before.
    variation: Option<Variation>,
}

#[derive(Clone, Default)]
enum Source {
    #[default]
    Empty,
    /// A JSON object, braces included.
    Json(ByteStr),
    /// The same, known to be text because it is like another one and ASCII where it differs.
    Like(Bytes),
    /// Entries of the binary header.
    Binary(Bytes),
}

impl Source {
    fn bytes(&self) -> &[u8] {
        match self {
            Source::Empty => &[],
            Source::Json(text) => text.as_bytes(),
            Source::Like(bytes) | Source::Binary(bytes) => bytes,
        }
    }

    /// A part that is text, sharing the memory.
    fn slice(&self, range: Range<usize>) -> Option<ByteStr> {
        match self {
            Source::Empty => None,
            Source::Json(whole) => whole.get(range).map(|text| whole.slice_ref(text)),
            Source::Like(whole) | Source::Binary(whole) => {
                let part = whole.get(range)?;
                ByteStr::from_utf8(whole.slice_ref(part)).ok()
            }
        }
    }
}

impl Fields {
    /// Takes a checked JSON object.
    pub(crate) fn json(object: ByteStr) -> Fields {
        Fields { source: Source::Json(object), variation: None }
    }

    /// Takes a JSON object that is like others, and ASCII where it differs from them.
    pub(crate) fn like(object: Bytes, variation: Variation) -> Fields {
        Fields { source: Source::Like(object), variation: Some(variation) }
    }

    /// The number of what these fields are like: others of the same connection with the same number differ from them in a few
    /// values, and [`Header::renewed`](crate::request::Header::renewed) reads just those.
    pub fn likeness(&self) -> Option<u32> {
        self.variation.as_ref().map(Variation::number)
    }

    /// The same fields in memory of their own.
    pub fn detached(&self) -> Fields {
        let source = match &self.source {
            Source::Empty => Source::Empty,
            Source::Json(text) => Source::Json(text.detached()),
            Source::Like(bytes) => Source::Like(Bytes::copy_from_slice(bytes)),
            Source::Binary(bytes) => Source::Binary(Bytes::copy_from_slice(bytes)),
        };
        Fields { source, variation: self.variation }
    }

    /// Shows the fields that may differ from those of others that are like these: name, and where the value begins.
    pub(crate) fn varied<'a>(
        &'a self,
        visit: &mut impl FnMut(&'a [u8], &InOrder<'a>, usize) -> Option<()>,
    ) -> Option<()> {
        let fields = self.in_order()?;
        let text = self.source.bytes();
        self.variation.as_ref()?.holes().try_for_each(|hole| visit(hole.name(text)?, &fields, hole.value_at))
    }

    /// Takes checked entries of a binary header.
    pub(crate) fn binary(entries: Bytes) -> Fields {
        Fields { source: Source::Binary(entries), variation: None }
    }

    /// Every field in the order it came.
    pub fn iter(&self) -> impl Iterator<Item = Result<(ByteStr, ByteStr), DecodeError>> + '_ {
        self.entries().map(|entry| {
            let (name, raw) = entry?;
            let name = ByteStr::from_utf8(Bytes::copy_from_slice(&name))
                .map_err(|_| DecodeError::new(raw.at, "a field's name is not UTF-8"))?;
            Ok((name, raw.to_byte_str()))
        })
    }

    /// The value of the field called `name`.
    pub fn get(&self, name: &str) -> Option<ByteStr> {
        let wanted = name.as_bytes();
        let found = self.entries().map_while(Result::ok).filter(|(name, _)| &**name == wanted).last();
        found.map(|(_, raw)| raw.to_byte_str())
    }

    /// True when there is no field.
    pub fn is_empty(&self) -> bool {
        self.entries().next().is_none()
    }

    /// Shows every field to `visit`, nothing copied; what typed headers are read with. It may see a field twice.
    pub(crate) fn each(&self, visit: &mut Visit<'_>) -> Result<(), DecodeError> {
        match usual::each(&self.source, visit) {
            Some(shown) => shown,
            None => self.entries().try_for_each(|entry| entry.and_then(|(name, raw)| visit(&name, &raw))),
        }
    }

    /// Reads fields one after the other, for a header whose SDKs write them in its own order.
    #[inline(always)]
    pub(crate) fn in_order(&self) -> Option<InOrder<'_>> {
        InOrder::new(&self.source)
    }

    /// Every field, nothing copied.
    fn entries(&self) -> Entries<'_> {
        let place = match &self.source {
            Source::Empty => Place::End,
            Source::Json(text) => Place::Json { scanner: Scanner::new(text), first: true },
            Source::Like(bytes) => {
                let text = str::from_utf8(bytes).unwrap_or_default();
                Place::Json { scanner: Scanner::new(text), first: true }
            }
            Source::Binary(bytes) => Place::Binary { rest: bytes },
        };
        Entries { source: &self.source, place }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map_while(Result::ok)).finish()
    }
}

/// What looks at one field after the other: name and value.
type Visit<'a> = dyn FnMut(&[u8], &Raw<'_>) -> Result<(), DecodeError> + 'a;

/// The text of one field as it stands in the header.
pub struct Raw<'a> {
    source: &'a Source,
    at: usize,
    len: usize,
    plain_len: usize,
}

impl<'a> Raw<'a> {
    fn new(source: &'a Source, value: Quoted<'_>) -> Raw<'a> {
        Raw { source, at: value.at, len: value.text.len(), plain_len: value.plain_len }
    }

    /// The bytes as they stand, escapes and all.
    #[inline]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.source.bytes().get(self.at..self.at.saturating_add(self.len)).unwrap_or_default()
    }

    fn quoted(&self) -> Quoted<'a> {
        let text = std::str::from_utf8(self.bytes()).unwrap_or_default();
        Quoted { text, plain_len: self.plain_len, at: self.at }
    }

    /// The text with its escapes undone.
    pub fn text(&self) -> Cow<'a, str> {
        self.quoted().plain()
    }

    /// True when an escape stands in the text.
    pub(crate) fn is_escaped(&self) -> bool {
        self.plain_len != self.len
    }

    /// True for the empty text.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it starts within the ext fields.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The text as a slice of the frame, or of its own when an escape had to be undone.
    pub fn to_byte_str(&self) -> ByteStr {
        let range = self.at..self.at.saturating_add(self.len);
        if self.is_escaped() {
            return ByteStr::from(self.quoted().unescaped());
        }
        self.source.slice(range).unwrap_or_default()
    }
}

/// Walks over the fields of one header.
struct Entries<'a> {
    source: &'a Source,
    place: Place<'a>,
}

enum Place<'a> {
    Json { scanner: Scanner<'a>, first: bool },
    Binary { rest: &'a [u8] },
    End,
}

type Entry<'a> = (Cow<'a, [u8]>, Raw<'a>);

impl<'a> Entries<'a> {
    fn step(&mut self) -> Result<Option<Entry<'a>>, DecodeError> {
        let source = self.source;
        match &mut self.place {
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
        if step.is_err() {
            self.place = Place::End;
        }
        step.transpose()
    }
}

fn json_entry<'a>(
    scanner: &mut Scanner<'a>,
    first: &mut bool,
    source: &'a Source,
) -> Result<Option<Entry<'a>>, DecodeError> {
    if *first {
        scanner.take(b'{', "extFields is not an object")?;
    }
    while let Some(name) = scanner.member(std::mem::take(first))? {
        if let Value::Text(value) | Value::Bare(value) = scanner.value()? {
            let name = match name.plain() {
                Cow::Borrowed(name) => Cow::Borrowed(name.as_bytes()),
                Cow::Owned(name) => Cow::Owned(name.into_bytes()),
            };
            return Ok(Some((name, Raw::new(source, value))));
        }
    }
    Ok(None)
}

fn binary_entry<'a>(rest: &mut &'a [u8], source: &'a Source) -> Result<Option<Entry<'a>>, DecodeError> {
    let whole = source.bytes().len();
    while !rest.is_empty() {
        let at = whole.saturating_sub(rest.len());
        let name = binary_text::<2>(rest, at)?;
        let value = binary_text::<4>(rest, at)?;
        if !value.is_empty() {
            let at = whole.saturating_sub(rest.len()).saturating_sub(value.len());
            let raw = Raw::new(source, Quoted::bare(value, at));
            return Ok(Some((Cow::Borrowed(name.as_bytes()), raw)));
        }
    }
    Ok(None)
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
