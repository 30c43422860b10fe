// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. A strict JSON scanner over the header text: no tree, no allocation, no recursion.
//! `frame::json` finds the members of a header with it, `fields` the entries of `extFields`.
//! Invariant: what it hands out lies inside the text; a string it accepted can be unescaped.

use std::borrow::Cow;

use crate::caps;
use crate::request::DecodeError;

/// The inside of a JSON string as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted<'a> {
    /// Everything between the quotes.
    pub(crate) text: &'a str,
    /// Whether a backslash is in it.
    pub(crate) escaped: bool,
    /// Where it starts.
    pub(crate) at: usize,
}

impl<'a> Quoted<'a> {
    /// The text with its escapes undone.
    pub(crate) fn plain(&self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.text)) } else { Cow::Borrowed(self.text) }
    }
}

/// One member's value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Text(Quoted<'a>),
    /// A number, `true`, `false`, or a whole object or array, as it stands in the text.
    Bare(Quoted<'a>),
}

/// A place in a JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn fault(&self, what: &'static str) -> DecodeError {
        DecodeError::new(self.at, what)
    }

    /// The next byte that is not white space, left in place.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.byte() {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.step(1);
        }
        None
    }

    /// Steps over `wanted`, after white space.
    pub(crate) fn take(&mut self, wanted: u8, or: &'static str) -> Result<(), DecodeError> {
        if self.peek() != Some(wanted) {
            return Err(self.fault(or));
        }
        self.step(1);
        Ok(())
    }

    /// The name of an object's next member, the scanner left before its value; `None` after the closing brace.
    pub(crate) fn member(&mut self, first: bool) -> Result<Option<Quoted<'a>>, DecodeError> {
        if self.peek() == Some(b'}') {
            self.step(1);
            return Ok(None);
        }
        if !first {
            self.take(b',', "expected ',' or '}' after a member")?;
        }
        self.name().map(Some)
    }

    /// The value under the scanner.
    pub(crate) fn value(&mut self) -> Result<Value<'a>, DecodeError> {
        match self.peek() {
            Some(b'"') => self.quoted().map(Value::Text),
            Some(b'{' | b'[') => {
                let from = self.at;
                self.nested()?;
                self.since(from).map(Value::Bare)
            }
            _ => {
                let bare = self.scalar()?;
                Ok(if bare.text == "null" { Value::Null } else { Value::Bare(bare) })
            }
        }
    }

    /// Checks that nothing but white space is left.
    pub(crate) fn end(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fault("more text after the header")),
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }

    fn since(&self, from: usize) -> Result<Quoted<'a>, DecodeError> {
        let text = self.text.get(from..self.at).ok_or_else(|| self.fault("unterminated value"))?;
        Ok(Quoted { text, escaped: false, at: from })
    }

    fn name(&mut self) -> Result<Quoted<'a>, DecodeError> {
        if self.peek() != Some(b'"') {
            return Err(self.fault("expected a quoted member name"));
        }
        let name = self.quoted()?;
        self.take(b':', "expected ':' after a member name")?;
        Ok(name)
    }

    /// The string whose opening quote is under the scanner.
    fn quoted(&mut self) -> Result<Quoted<'a>, DecodeError> {
        self.step(1);
        let from = self.at;
        let mut escaped = false;
        loop {
            self.step(plain_prefix(self.text.as_bytes().get(self.at..).unwrap_or_default()));
            match self.byte() {
                Some(b'"') => {
                    let quoted = self.since(from)?;
                    self.step(1);
                    return Ok(Quoted { escaped, ..quoted });
                }
                Some(b'\\') => {
                    escaped = true;
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    let (_, length) = escape(rest).map_err(|what| self.fault(what))?;
                    self.step(length);
                }
                Some(_) => return Err(self.fault("control character in a string")),
                None => return Err(self.fault("unterminated string")),
            }
        }
    }

    fn scalar(&mut self) -> Result<Quoted<'a>, DecodeError> {
        let from = self.at;
        while let Some(byte) = self.byte() {
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')) {
                break;
            }
            self.step(1);
        }
        let bare = self.since(from)?;
        if matches!(bare.text, "true" | "false" | "null") || is_number(bare.text.as_bytes()) {
            return Ok(bare);
        }
        Err(DecodeError::new(from, "expected a value"))
    }

    /// Steps over an object or array without recursion, keeping the closing mark of each open level.
    fn nested(&mut self) -> Result<(), DecodeError> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.peek() {
                Some(start @ (b'{' | b'[')) => {
                    if open.len() >= caps::MAX_NESTING {
                        return Err(self.fault("nested too deeply"));
                    }
                    self.step(1);
                    open.push(if start == b'{' { b'}' } else { b']' });
                    if self.peek() != open.last().copied() {
                        self.name_inside(&open)?;
                        continue;
                    }
                }
                Some(b'"') => drop(self.quoted()?),
                _ => drop(self.scalar()?),
            }
            if self.close(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Inside an object a value has a name before it.
    fn name_inside(&mut self, open: &[u8]) -> Result<(), DecodeError> {
        if open.last() == Some(&b'}') { self.name().map(drop) } else { Ok(()) }
    }

    /// After a value: closes every level that ends here. True once none is left open.
    fn close(&mut self, open: &mut Vec<u8>) -> Result<bool, DecodeError> {
        while let Some(end) = open.last().copied() {
            if self.peek() == Some(end) {
                self.step(1);
                open.pop();
                continue;
            }
            self.take(b',', "expected ',' or the end of an object or array")?;
            self.name_inside(open)?;
            return Ok(false);
        }
        Ok(true)
    }
}

/// How many bytes at the start of `bytes` are neither a quote, a backslash nor a control character; eight at a time.
pub(crate) fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut plain = 0_usize;
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES.wrapping_mul(0x20)) & !word & HIGHS;
        let special =
            control | zero_in(word ^ ONES.wrapping_mul(0x22)) | zero_in(word ^ ONES.wrapping_mul(0x5c));
        if special != 0 {
            // the lowest flagged byte is exact; borrows only spoil bytes above it
            return plain.saturating_add((special.trailing_zeros() / 8) as usize);
        }
        plain = plain.saturating_add(8);
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    plain.saturating_add(tail.iter().position(is_special).unwrap_or(tail.len()))
}

/// The number grammar of JSON.
fn is_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, rest) = digits(text);
    if whole.is_empty() || (whole.len() > 1 && whole.first() == Some(&b'0')) {
        return false;
    }
    let rest = match rest.strip_prefix(b".") {
        Some(after) => match digits(after) {
            ([], _) => return false,
            (_, rest) => rest,
        },
        None => rest,
    };
    let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) else {
        return rest.is_empty();
    };
    let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
    matches!(digits(exponent), ([_, ..], []))
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let count = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(count)
}

/// The character that the escape at the start of `text` stands for, and the escape's length.
fn escape(text: &str) -> Result<(char, usize), &'static str> {
    let plain = match text.as_bytes().get(1) {
        Some(b'u') => return unicode_escape(text),
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(_) => return Err("unknown escape in a string"),
        None => return Err("unterminated string"),
    };
    Ok((plain, 2))
}

fn unicode_escape(text: &str) -> Result<(char, usize), &'static str> {
    let unit = hex4(text.get(2..6))?;
    if let Some(found) = char::from_u32(unit) {
        return Ok((found, 6));
    }
    if text.get(6..8) != Some("\\u") {
        return Err("lone surrogate in a string");
    }
    let second = hex4(text.get(8..12))?;
    char::decode_utf16([unit as u16, second as u16])
        .next()
        .and_then(Result::ok)
        .map(|found| (found, 12))
        .ok_or("lone surrogate in a string")
}

fn hex4(digits: Option<&str>) -> Result<u32, &'static str> {
    let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
    digits.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or("a \\u escape needs four hexadecimal digits")
}

/// Undoes the escapes of a string that the scanner accepted.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let (found, length) = escape(from).unwrap_or((char::REPLACEMENT_CHARACTER, from.len()));
        plain.push(found);
        rest = from.get(length..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_ends_a_plain_prefix_or_not() {
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                let mut bytes = [b'a'; 20];
                bytes[at] = byte;
                let special = byte < 0x20 || byte == b'"' || byte == b'\\';
                assert_eq!(plain_prefix(&bytes), if special { at } else { 20 }, "{byte:#x} at {at}");
                // what stands behind the first one changes nothing
                bytes[at..].fill(byte);
                assert_eq!(plain_prefix(&bytes), if special { at } else { 20 }, "{byte:#x} from {at}");
            }
        }
    }
}
