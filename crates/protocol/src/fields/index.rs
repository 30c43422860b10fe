// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Where the fields of a header stand, noted while the frame is checked, so that a typed header reads
//! them without a second scan. Called by `frame`; read by `fields`.
//! Invariant: a header with more fields than fit, or longer than 16 bits reach, has no index and is scanned again.

use super::binary_text;
use super::scan::{Quoted, Scanner, Value};
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
        let mut first = true;
        (self.count, self.whole) = (0, true);
        scanner.take(b'{', "extFields is not an object")?;
        while let Some(name) = scanner.member(std::mem::take(&mut first))? {
            if let Value::Text(value) | Value::Bare(value) = scanner.value()? {
                self.note(start, name, value);
            }
        }
        Ok(())
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
