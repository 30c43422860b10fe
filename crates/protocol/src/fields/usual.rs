// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. A JSON object of fields as every SDK writes it: no white space, nothing but texts, names without escapes.
//! Works on places alone, because this is the larger part of what a header costs. Called by `frame` to step over the
//! fields and by `fields` to read them.
//! Invariant: an object that is any different is left to the strict scanner, whatever was read of it before.

use super::scan::{escape, plain_prefix};
use super::{FieldName, Raw, Source, Visit};
use crate::request::DecodeError;

/// The place behind `wanted`, if just that stands at `at`.
#[inline(always)]
pub(crate) fn usual(text: &[u8], at: usize, wanted: &[u8]) -> Option<usize> {
    text.get(at..)?.starts_with(wanted).then_some(at.wrapping_add(wanted.len()))
}

/// The place behind the object that begins at `start`.
pub(crate) fn skip_object(text: &[u8], start: usize) -> Option<usize> {
    let mut at = usual(text, start, b"{\"")?;
    loop {
        let value = usual_name(text, at)?.1;
        let end = usual_value(text, value)?.0;
        match usual(text, end, b"\",\"") {
            Some(next) => at = next,
            None => return usual(text, end, b"\"}"),
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
pub(crate) struct InOrder<'a> {
    source: &'a Source,
    text: &'a [u8],
    /// Where the next name begins, or one past the object's end.
    at: usize,
}

impl<'a> InOrder<'a> {
    pub(super) fn new(source: &'a Source) -> Option<InOrder<'a>> {
        let Source::Json(text) = source else { return None };
        let text = text.as_bytes();
        Some(InOrder { source, text, at: usual(text, 0, b"{\"")? })
    }

    /// The next field if it is the one called so: `None` when it is absent, and an error when it is anything unusual.
    #[inline(always)]
    pub(crate) fn field<T>(
        &mut self,
        name: &FieldName,
        read: impl FnOnce(&Raw<'_>) -> Result<T, super::BadValue>,
    ) -> Result<Option<T>, Unusual> {
        let Some(value_at) = usual(self.text, self.at, name.lead()) else { return Ok(None) };
        let (end, shrunk) = usual_value(self.text, value_at).ok_or(Unusual)?;
        let value = read(&raw(self.source, value_at, end, shrunk)).map_err(|_| Unusual)?;
        self.at = match usual(self.text, end, b"\",\"") {
            Some(next) => next,
            None => usual(self.text, end, b"\"}").ok_or(Unusual)?,
        };
        Ok(Some(value))
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
