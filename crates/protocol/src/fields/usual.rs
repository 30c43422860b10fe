// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. A JSON object of fields as every SDK writes it: no white space, nothing but texts, names without escapes.
//! Works on places alone, because this is the larger part of what a header costs. Called by `frame` to step over the
//! fields and by `fields` to read them.
//! Invariant: an object that is any different is left to the strict scanner, whatever was read of it before.

use bytes::BytesMut;

use super::scan::{escape, plain_prefix, undo_escapes};
use super::{Field, FieldName, Known, Raw, Source, Visit};
use crate::names::ByteStr;
use crate::request::DecodeError;

/// The place behind `wanted`, if just that stands at `at`.
#[inline(always)]
pub(crate) fn usual(text: &[u8], at: usize, wanted: &[u8]) -> Option<usize> {
    text.get(at..)?.starts_with(wanted).then_some(at.wrapping_add(wanted.len()))
}

/// The place behind the object that begins at `start`. Whether its escapes stand for anything is seen when it is read.
pub(crate) fn skip_object(text: &[u8], start: usize) -> Option<usize> {
    let mut at = usual(text, start, b"{\"")?;
    loop {
        let end = skip_text(text, usual_name(text, at)?.1)?;
        match usual(text, end, b"\",\"") {
            Some(next) => at = next,
            None => return usual(text, end, b"\"}"),
        }
    }
}

/// The fields of the object that begins at `start`.
pub(super) fn known(text: &[u8], start: usize) -> Option<Vec<Known>> {
    let mut fields = Vec::new();
    let mut at = usual(text, start, b"{\"")?;
    loop {
        let (name_end, value_at) = usual_name(text, at)?;
        let end = skip_text(text, value_at)?;
        fields.push(Known { name_len: name_end.checked_sub(at)?, value_at, end });
        match usual(text, end, b"\",\"") {
            Some(next) => at = next,
            None => return usual(text, end, b"\"}").map(|_| fields),
        }
    }
}

/// Shows every field of the object that `source` is.
pub(super) fn each(source: &Source, visit: &mut Visit<'_>) -> Option<Result<(), DecodeError>> {
    let text = source.bytes();
    let mut at = usual(text, 0, b"{\"")?;
    loop {
        let (name_end, value_at) = usual_name(text, at)?;
        let (end, shrunk) = usual_value(text, value_at)?;
        let name = text.get(at..name_end)?;
        if let Err(error) = visit(name, &raw(source, value_at, end, shrunk)) {
            return Some(Err(error));
        }
        match usual(text, end, b"\",\"") {
            Some(next) => at = next,
            None => return (usual(text, end, b"\"}")? == text.len()).then_some(Ok(())),
        }
    }
}

/// Reads fields that come in the order in which a header declares them, as its SDKs write them; one that is absent is
/// stepped over. That spares comparing names.
pub struct InOrder<'a> {
    source: &'a Source,
    text: &'a [u8],
    /// Where the next name begins, or one past the object's end.
    at: usize,
}

impl<'a> InOrder<'a> {
    pub(super) fn new(source: &'a Source) -> Option<InOrder<'a>> {
        let text = match source {
            Source::Json(text) => text.as_bytes(),
            Source::Like(bytes) => bytes,
            Source::Empty | Source::Binary(_) => return None,
        };
        Some(InOrder { source, text, at: usual(text, 0, b"{\"")? })
    }

    /// The next field if it is the one called so: `None` when it is absent, and an error when it is anything unusual.
    #[inline(always)]
    pub(crate) fn field<T: Field>(&mut self, name: &FieldName) -> Result<Option<T>, Unusual> {
        let Some(value_at) = usual(self.text, self.at, name.lead()) else { return Ok(None) };
        let (value, end) = T::take(self, value_at).ok_or(Unusual)?;
        self.at = match usual(self.text, end, b"\",\"") {
            Some(next) => next,
            None => usual(self.text, end, b"\"}").ok_or(Unusual)?,
        };
        Ok(Some(value))
    }

    /// The field whose value begins at `at`, if it is nothing unusual.
    #[inline(always)]
    pub(crate) fn at<T: Field>(&self, at: usize) -> Option<T> {
        let (value, end) = T::take(self, at)?;
        self.is(end, b"\"").then_some(value)
    }

    /// The byte at `at`.
    #[inline(always)]
    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    /// Whether just `wanted` stands at `at`.
    #[inline(always)]
    pub(super) fn is(&self, at: usize, wanted: &[u8]) -> bool {
        usual(self.text, at, wanted).is_some()
    }

    /// The value that begins at `at`, and the place of the quote behind it.
    #[inline(always)]
    pub(super) fn value(&self, at: usize) -> Option<(Raw<'a>, usize)> {
        let (end, shrunk) = usual_value(self.text, at)?;
        Some((raw(self.source, at, end, shrunk), end))
    }

    /// The text that begins at `at` with its escapes undone, and the place of the quote behind it.
    pub(super) fn text(&self, at: usize) -> Option<(ByteStr, usize)> {
        self.text_by(at, |escaped| {
            let mut plain = String::with_capacity(escaped.len());
            (undo_escapes(escaped, &mut plain)? == escaped.len()).then(|| ByteStr::from(plain))
        })
    }

    /// The same of a text that nobody keeps for long.
    pub(crate) fn brief_text(&self, at: usize) -> Option<(ByteStr, usize)> {
        self.text_by(at, |escaped| {
            let undo = |plain: &mut BytesMut| undo_escapes(escaped, plain) == Some(escaped.len());
            ByteStr::brief(escaped.len(), undo)
        })
    }

    #[inline(always)]
    fn text_by(
        &self,
        at: usize,
        unescaped: impl FnOnce(&str) -> Option<ByteStr>,
    ) -> Option<(ByteStr, usize)> {
        let end = at.wrapping_add(plain_prefix(self.text.get(at..)?));
        if self.byte(end) == Some(b'"') {
            return Some((self.source.slice(at..end)?, end));
        }
        let end = skip_text(self.text, at)?;
        let escaped = str::from_utf8(self.text.get(at..end)?).ok()?;
        Some((unescaped(escaped)?, end))
    }

    /// Says whether nothing is left.
    #[inline(always)]
    pub(crate) fn is_over(&self) -> bool {
        self.at == self.text.len()
    }
}

/// The strict scanner has to look at it.
pub(crate) struct Unusual;

impl From<DecodeError> for Unusual {
    fn from(_: DecodeError) -> Unusual {
        Unusual
    }
}

#[inline(always)]
fn raw(source: &Source, at: usize, end: usize, shrunk: usize) -> Raw<'_> {
    let len = end.wrapping_sub(at);
    Raw { source, at, len, plain_len: len.wrapping_sub(shrunk) }
}

/// Where the name that begins at `at` ends, and where its value begins. Sends have names of one letter.
#[inline(always)]
fn usual_name(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let end = at.wrapping_add(1);
    if let Some(value_at) = usual(text, end, b"\":\"")
        && text.get(at).is_some_and(u8::is_ascii_alphanumeric)
    {
        return Some((end, value_at));
    }
    let end = at.wrapping_add(plain_prefix(text.get(at..)?));
    Some((end, usual(text, end, b"\":\"")?))
}

/// The place of the quote behind the text that begins at `at`.
#[inline(always)]
pub(crate) fn skip_text(text: &[u8], at: usize) -> Option<usize> {
    if is_one(text, at) {
        return Some(at.wrapping_add(1));
    }
    let mut end = at;
    loop {
        end = memchr::memchr(b'"', text.get(end..)?)?.wrapping_add(end);
        // an odd number of backslashes before it makes it a part of the text
        let before = text.get(at..end)?.iter().rev().take_while(|byte| **byte == b'\\').count();
        if before.is_multiple_of(2) {
            return Some(end);
        }
        end = end.wrapping_add(1);
    }
}

/// The place behind the text that begins at `at`, and by how much its escapes are longer than what they stand for.
#[inline(always)]
fn usual_value(text: &[u8], at: usize) -> Option<(usize, usize)> {
    if is_one(text, at) { Some((at.wrapping_add(1), 0)) } else { longer_value(text, at) }
}

/// Apart from its callers: as code it is long, and they have it for each field.
#[inline(never)]
fn longer_value(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut end = at;
    let mut shrunk = 0_usize;
    loop {
        let rest = text.get(end..)?;
        end = end.wrapping_add(plain_prefix(rest));
        if text.get(end) != Some(&b'\\') {
            return Some((end, shrunk));
        }
        let (found, length) = escape(text.get(end..)?).ok()?;
        shrunk = shrunk.wrapping_add(length).wrapping_sub(found.len_utf8());
        end = end.wrapping_add(length);
    }
}

/// Whether the text that begins at `at` is a single digit or letter, as half of all values are.
#[inline(always)]
fn is_one(text: &[u8], at: usize) -> bool {
    let value = text.get(at..).and_then(|rest| rest.first_chunk::<2>());
    value.is_some_and(|[only, end]| *end == b'"' && only.is_ascii_alphanumeric())
}
