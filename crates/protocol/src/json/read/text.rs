// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Strings of the dialect: either quote, JSON's escapes and the few more that fastjson knows.
//! Called by the reader. A string without a backslash is borrowed from the text.

use std::borrow::Cow;

use super::super::JsonError;
use super::{Read, Reader};

impl<'de> Reader<'de> {
    /// Takes a string that starts at the current quote.
    pub(super) fn string(&mut self) -> Read<Cow<'de, str>> {
        let quote = self.peek()?;
        self.at += 1;
        let plain = self.plain(quote)?;
        if self.byte() == Some(quote) {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        while self.byte() == Some(b'\\') {
            self.at += 1;
            text.push(self.escape()?);
            text.push_str(self.plain(quote)?);
        }
        self.at += 1;
        Ok(Cow::Owned(text))
    }

    /// Takes everything up to the closing quote or a backslash, one of which is there.
    fn plain(&mut self, quote: u8) -> Read<&'de str> {
        let rest = self.rest();
        let end = rest.bytes().position(|byte| byte == quote || byte == b'\\');
        let end = end.ok_or_else(|| self.error("a string does not end"))?;
        self.at += end;
        Ok(rest.get(..end).unwrap_or_default())
    }

    /// Takes what follows a backslash.
    fn escape(&mut self) -> Read<char> {
        let byte = self.byte().ok_or_else(|| self.error("a string does not end"))?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\'' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' | b'F' => '\u{C}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'v' => '\u{B}',
            b'0'..=b'7' => char::from(byte - b'0'),
            b'x' => char::from_u32(self.hex(2)?).unwrap_or(char::REPLACEMENT_CHARACTER),
            b'u' => self.unit()?,
            _ => return Err(JsonError::new(self.at - 1, "an unknown escape")),
        })
    }

    /// Takes the digits of one or two UTF-16 units. Half a pair, which Java can hold, becomes U+FFFD.
    fn unit(&mut self) -> Read<char> {
        let high = self.hex(4)?;
        if !(0xD800..0xDC00).contains(&high) || !self.rest().starts_with("\\u") {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.at;
        self.at += 2;
        let low = self.hex(4)?;
        if !(0xDC00..0xE000).contains(&low) {
            self.at = before;
            return Ok(char::REPLACEMENT_CHARACTER);
        }
        let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self, digits: usize) -> Read<u32> {
        let text = self.rest().get(..digits).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let text = text.ok_or_else(|| self.error("hexadecimal digits are expected"))?;
        self.at += digits;
        u32::from_str_radix(text, 16).map_err(|_| self.error("hexadecimal digits are expected"))
    }
}
