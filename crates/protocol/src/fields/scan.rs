// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. A strict JSON scanner over the header text: no tree, no allocation, no recursion.
//! `frame::json` finds the members of a header with it, `fields` the entries of `extFields`.
//! Invariant: what it hands out lies inside the text; a string it accepted can be unescaped.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use crate::caps;
use crate::request::DecodeError;

/// The inside of a JSON string as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted<'a> {
    /// Everything between the quotes.
    pub(crate) text: &'a str,
    /// Its length once the escapes are undone, every one of which is longer than what it stands for.
    pub(crate) plain_len: usize,
    /// Where it starts.
    pub(crate) at: usize,
}

impl<'a> Quoted<'a> {
    /// Text that stands for itself.
    pub(crate) fn bare(text: &'a str, at: usize) -> Quoted<'a> {
        Quoted { text, plain_len: text.len(), at }
    }

    /// Whether an escape is in it.
    pub(crate) fn is_escaped(&self) -> bool {
        self.plain_len != self.text.len()
    }

    /// The text with its escapes undone.
    pub(crate) fn plain(&self) -> Cow<'a, str> {
        if self.is_escaped() { Cow::Owned(self.unescaped()) } else { Cow::Borrowed(self.text) }
    }

    /// The text with its escapes undone, in a buffer of just its length.
    pub(crate) fn unescaped(&self) -> String {
        let mut plain = String::with_capacity(self.plain_len);
        // the text was checked: nothing in it is left over
        undo_escapes(self.text, &mut plain);
        plain
    }
}

/// What takes a text piece by piece.
pub(crate) trait Plain {
    fn text(&mut self, text: &str);
    fn char(&mut self, char: char);
}

impl Plain for String {
    #[inline]
    fn text(&mut self, text: &str) {
        self.push_str(text);
    }
    #[inline]
    fn char(&mut self, char: char) {
        self.push(char);
    }
}

impl Plain for BytesMut {
    #[inline]
    fn text(&mut self, text: &str) {
        self.put_slice(text.as_bytes());
    }
    #[inline]
    fn char(&mut self, char: char) {
        match u8::try_from(char) {
            Ok(byte) if byte.is_ascii() => self.put_u8(byte),
            _ => self.put_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Appends `text` with its escapes undone, up to its end or a byte that must not stand in a string; returns how many
/// bytes that was, `None` when an escape stands for nothing.
pub(crate) fn undo_escapes(text: &str, plain: &mut impl Plain) -> Option<usize> {
    let mut rest = text;
    loop {
        let (before, from) = rest.split_at_checked(plain_prefix(rest.as_bytes()))?;
        plain.text(before);
        rest = match from.as_bytes() {
            // the separators of properties are most of all escapes
            [b'\\', b'u', b'0', b'0', b'0', digit @ b'0'..=b'7', ..] => {
                plain.char(char::from(digit & 7));
                from.get(6..)?
            }
            bytes @ [b'\\', ..] => {
                let (found, length) = escape(bytes).ok()?;
                plain.char(found);
                from.get(length..)?
            }
            end => return text.len().checked_sub(end.len()),
        };
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

/// A place in a JSON text: what is still unread.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, rest: text.as_bytes() }
    }

    pub(crate) fn at(&self) -> usize {
        self.text.len().saturating_sub(self.rest.len())
    }

    pub(crate) fn fault(&self, what: &'static str) -> DecodeError {
        DecodeError::new(self.at(), what)
    }

    /// The next byte that is not white space, left in place.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.rest {
                [byte, ..] if *byte > b' ' => return Some(*byte),
                [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] => self.rest = rest,
                rest => return rest.first().copied(),
            }
        }
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
        match self.peek() {
            Some(b'}') => {
                self.step(1);
                return Ok(None);
            }
            Some(b',') if !first => self.step(1),
            _ if first => {}
            _ => return Err(self.fault("expected ',' or '}' after a member")),
        }
        self.name().map(Some)
    }

    /// The value under the scanner.
    pub(crate) fn value(&mut self) -> Result<Value<'a>, DecodeError> {
        match self.peek() {
            Some(b'"') => self.quoted().map(Value::Text),
            Some(b'{' | b'[') => {
                let from = self.at();
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

    #[inline]
    fn step(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// What was stepped over since `from`.
    pub(crate) fn since(&self, from: usize) -> Result<Quoted<'a>, DecodeError> {
        let text = self.text.get(from..self.at()).ok_or_else(|| self.fault("unterminated value"))?;
        Ok(Quoted::bare(text, from))
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
        let from = self.at();
        let mut shrunk = 0_usize;
        loop {
            self.step(plain_prefix(self.rest));
            match self.rest {
                [b'"', rest @ ..] => {
                    let quoted = self.since(from)?;
                    self.rest = rest;
                    return Ok(Quoted { plain_len: quoted.plain_len.saturating_sub(shrunk), ..quoted });
                }
                [b'\\', ..] => {
                    let (found, length) = escape(self.rest).map_err(|what| self.fault(what))?;
                    shrunk = shrunk.saturating_add(length).saturating_sub(found.len_utf8());
                    self.step(length);
                }
                [_, ..] => return Err(self.fault("control character in a string")),
                [] => return Err(self.fault("unterminated string")),
            }
        }
    }

    fn scalar(&mut self) -> Result<Quoted<'a>, DecodeError> {
        let from = self.at();
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        self.step(self.rest.iter().position(|byte| !part(byte)).unwrap_or(self.rest.len()));
        let bare = self.since(from)?;
        if matches!(bare.text, "true" | "false" | "null") || is_number(bare.text.as_bytes()) {
            return Ok(bare);
        }
        Err(DecodeError::new(from, "expected a value"))
    }

    /// Steps over an object or array without recursion.
    fn nested(&mut self) -> Result<(), DecodeError> {
        let mut open = Levels::default();
        loop {
            match self.peek() {
                Some(start @ (b'{' | b'[')) => {
                    let inside = if start == b'{' { Inside::Object } else { Inside::Array };
                    if !open.enter(inside) {
                        return Err(self.fault("nested too deeply"));
                    }
                    self.step(1);
                    if self.peek() != Some(inside.end()) {
                        self.name_inside(inside)?;
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
    fn name_inside(&mut self, inside: Inside) -> Result<(), DecodeError> {
        if inside == Inside::Object { self.name().map(drop) } else { Ok(()) }
    }

    /// After a value: closes every level that ends here. True once none is left open.
    fn close(&mut self, open: &mut Levels) -> Result<bool, DecodeError> {
        while let Some(inside) = open.innermost() {
            if self.peek() == Some(inside.end()) {
                self.step(1);
                open.leave();
                continue;
            }
            self.take(b',', "expected ',' or the end of an object or array")?;
            self.name_inside(inside)?;
            return Ok(false);
        }
        Ok(true)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Object,
    Array,
}

impl Inside {
    fn end(self) -> u8 {
        match self {
            Inside::Object => b'}',
            Inside::Array => b']',
        }
    }
}

/// Which objects and arrays are open: one bit for each level, the innermost last, set for objects.
#[derive(Default)]
struct Levels {
    depth: usize,
    objects: u64,
}

impl Levels {
    /// False when it would be too deep.
    fn enter(&mut self, inside: Inside) -> bool {
        self.objects = (self.objects << 1) | u64::from(inside == Inside::Object);
        self.depth = self.depth.saturating_add(1);
        self.depth <= caps::MAX_NESTING
    }

    fn leave(&mut self) {
        self.objects >>= 1;
        self.depth = self.depth.saturating_sub(1);
    }

    fn innermost(&self) -> Option<Inside> {
        let inside = if self.objects & 1 == 1 { Inside::Object } else { Inside::Array };
        (self.depth > 0).then_some(inside)
    }
}

/// How many bytes at the start of `bytes` are neither a quote, a backslash nor a control character; eight at a time.
#[inline(always)]
pub(crate) fn plain_prefix(bytes: &[u8]) -> usize {
    let mut plain = 0_usize;
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        rest = after;
        let special = specials(word);
        if special != 0 {
            // the lowest flagged byte is exact; borrows only spoil bytes above it
            return plain.wrapping_add((special.trailing_zeros() / 8) as usize);
        }
        plain = plain.wrapping_add(8);
    }
    // What is left of a longer text is looked at once more with what stands before it, if that settles it.
    if bytes.last_chunk::<8>().is_some_and(|word| specials(word) == 0) {
        return bytes.len();
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    plain.saturating_add(rest.iter().position(is_special).unwrap_or(rest.len()))
}

/// Flags the bytes that are no plain ones.
#[inline(always)]
fn specials(word: &[u8; 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    const QUOTES: u64 = ONES.wrapping_mul(b'"' as u64);
    const BACKSLASHES: u64 = ONES.wrapping_mul(b'\\' as u64);
    const SPACES: u64 = ONES.wrapping_mul(b' ' as u64);
    let word = u64::from_le_bytes(*word);
    let quote = (word ^ QUOTES).wrapping_sub(ONES);
    let backslash = (word ^ BACKSLASHES).wrapping_sub(ONES);
    (quote | backslash | word.wrapping_sub(SPACES)) & !word & HIGHS
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
#[inline]
pub(crate) fn escape(text: &[u8]) -> Result<(char, usize), &'static str> {
    // the separators of properties are most of all escapes
    if let Some([b'\\', b'u', b'0', b'0', b'0', digit @ b'0'..=b'7']) = text.first_chunk::<6>() {
        return Ok((char::from(digit & 7), 6));
    }
    let plain = match text.get(1) {
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

fn unicode_escape(text: &[u8]) -> Result<(char, usize), &'static str> {
    let unit = hex4(text.get(2..6))?;
    if let Some(found) = char::from_u32(u32::from(unit)) {
        return Ok((found, 6));
    }
    if text.get(6..8) != Some(b"\\u") {
        return Err("lone surrogate in a string");
    }
    let second = hex4(text.get(8..12))?;
    let pair = char::decode_utf16([unit, second]).next().and_then(Result::ok);
    pair.map(|found| (found, 12)).ok_or("lone surrogate in a string")
}

fn hex4(digits: Option<&[u8]>) -> Result<u16, &'static str> {
    const NIBBLES: [u8; 256] = nibbles();
    let mut number = 0_u16;
    let mut wrong = 0_u8;
    for digit in digits.unwrap_or(b"?") {
        let nibble = NIBBLES.get(usize::from(*digit)).copied().unwrap_or(NO_DIGIT);
        wrong |= nibble & NO_DIGIT;
        number = (number << 4) | u16::from(nibble & 0xf);
    }
    if wrong == 0 { Ok(number) } else { Err("a \\u escape needs four hexadecimal digits") }
}

/// Marks a byte that is no hexadecimal digit.
const NO_DIGIT: u8 = 0x80;

/// The value of every byte as a hexadecimal digit.
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "checked when it is compiled")]
const fn nibbles() -> [u8; 256] {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::indexing_slicing, reason = "a test may panic")]
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
