// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Where the fields of a header stand, noted while the frame is checked, so that a typed header reads
//! them without a second scan. Called by `frame`; read by `fields`.
//! Invariant: a header with more fields than fit, or longer than 16 bits reach, has no index and is scanned again.

use super::binary_text;
use super::scan::{Quoted, Scanner, Value, escape, plain_prefix, usual};
use crate::request::DecodeError;

/// Sends and pulls of every SDK have fewer fields.
const SPANS: usize = 20;

/// Where one field stands, counted from the start of the ext fields.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) name_at: u16,
    pub(super) name_len: u16,
    pub(super) at: u16,
    pub(super) len: u16,
    pub(super) plain_len: u16,
}

/// Where every field of a header stands.
#[derive(Clone)]
pub(crate) struct Index {
    spans: [Span; SPANS],
    count: u8,
    /// False when a field is missing here.
    whole: bool,
}

impl Default for Index {
    fn default() -> Index {
        Index { spans: [Span::default(); SPANS], count: 0, whole: true }
    }
}

impl Index {
    /// The spans, unless some are missing.
    pub(super) fn spans(&self) -> Option<&[Span]> {
        if self.whole { self.spans.get(..usize::from(self.count)) } else { None }
    }

    /// Checks the JSON object under the scanner and steps over it.
    pub(crate) fn json(&mut self, scanner: &mut Scanner<'_>) -> Result<(), DecodeError> {
        let start = scanner.at();
        (self.count, self.whole) = (0, true);
        let mut first = true;
        scanner.take(b'{', "extFields is not an object")?;
        while let Some(name) = scanner.member(std::mem::take(&mut first))? {
            if let Value::Text(value) | Value::Bare(value) = scanner.value()? {
                self.note(start, name, value);
            }
        }
        Ok(())
    }

    /// The object at `start` as every SDK writes it: no white space, nothing but texts, names without escapes, and few
    /// enough of them. Returns the place behind it; `None` when it is any different, and then nothing that was done
    /// counts. Works on places alone, because this is the larger part of what a header costs.
    pub(crate) fn usual_json(&mut self, text: &[u8], start: usize) -> Option<usize> {
        // nothing lies further from the start than 16 bits reach
        u16::try_from(text.len()).ok()?;
        let mut at = usual(text, start, b"{\"")?;
        for (span, count) in self.spans.iter_mut().zip(1..) {
            let (name_end, value_at) = usual_name(text, at)?;
            let (value_end, shrunk) = usual_value(text, value_at)?;
            let len = value_end.wrapping_sub(value_at);
            *span = Span {
                name_at: at.wrapping_sub(start) as u16,
                name_len: name_end.wrapping_sub(at) as u16,
                at: value_at.wrapping_sub(start) as u16,
                len: len as u16,
                plain_len: len.wrapping_sub(shrunk) as u16,
            };
            match usual(text, value_end, b"\",\"") {
                Some(next) => at = next,
                None => {
                    (self.count, self.whole) = (count, true);
                    return usual(text, value_end, b"\"}");
                }
            }
        }
        None
    }

    /// Checks that binary entries are whole. `at` says where they stand in the header, for complaints.
    pub(crate) fn binary(&mut self, entries: &[u8], at: usize) -> Result<(), DecodeError> {
        let mut rest = entries;
        while !rest.is_empty() {
            let at = at.saturating_add(entries.len()).saturating_sub(rest.len());
            let name = binary_text::<2>(&mut rest, at)?;
            let name_at = entries.len().saturating_sub(rest.len()).saturating_sub(name.len());
            let value = binary_text::<4>(&mut rest, at)?;
            let value_at = entries.len().saturating_sub(rest.len()).saturating_sub(value.len());
            if !value.is_empty() {
                self.note(0, Quoted::bare(name, name_at), Quoted::bare(value, value_at));
            }
        }
        Ok(())
    }

    fn note(&mut self, start: usize, name: Quoted<'_>, value: Quoted<'_>) {
        let span = span(start, name, value);
        match (self.spans.get_mut(usize::from(self.count)), span) {
            (Some(free), Some(span)) => {
                *free = span;
                self.count = self.count.saturating_add(1);
            }
            _ => self.whole = false,
        }
    }
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

fn span(start: usize, name: Quoted<'_>, value: Quoted<'_>) -> Option<Span> {
    let short = |number: usize| u16::try_from(number).ok();
    if name.is_escaped() {
        return None;
    }
    Some(Span {
        name_at: short(name.at.checked_sub(start)?)?,
        name_len: short(name.text.len())?,
        at: short(value.at.checked_sub(start)?)?,
        len: short(value.text.len())?,
        plain_len: short(value.plain_len)?,
    })
}
