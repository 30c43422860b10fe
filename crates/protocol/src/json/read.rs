// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Reads standard JSON and fastjson's dialect straight into serde types, borrowing text where it can.
//! Called by `json` only. Invariants: `at` never passes the end and always stands on a character boundary; nesting
//! is counted on every way down, so no input exhausts the stack.
#![deny(clippy::indexing_slicing)]

mod text;

use std::borrow::Cow;

use serde::de::value::{BorrowedStrDeserializer, CowStrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{JsonError, MAX_DEPTH};

/// A place in a text.
pub(super) struct Reader<'de> {
    text: &'de str,
    at: usize,
    depth: usize,
}

type Read<T> = Result<T, JsonError>;

impl<'de> Reader<'de> {
    pub(super) fn new(text: &'de str) -> Reader<'de> {
        Reader { text, at: 0, depth: 0 }
    }

    /// Adds the current place to an error that a type made.
    pub(super) fn place(&self, error: JsonError) -> JsonError {
        if error.at == 0 { JsonError { at: self.at, ..error } } else { error }
    }

    /// Checks that nothing follows the value.
    pub(super) fn finish(mut self) -> Read<()> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.error("something follows the value")) }
    }

    fn error(&self, what: &'static str) -> JsonError {
        JsonError::new(self.at, what)
    }

    fn rest(&self) -> &'de str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Returns the first byte of the next token without taking it.
    fn peek(&mut self) -> Read<u8> {
        self.skip_space();
        self.byte().ok_or_else(|| self.error("the text ends too early"))
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Read<()> {
        if self.peek()? != byte {
            return Err(self.error(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Takes an array or an object apart, one level deeper.
    fn nested<T>(&mut self, open: u8, inside: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.expect(open, if open == b'{' { "an object is expected" } else { "an array is expected" })?;
        if self.depth == MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        self.depth += 1;
        let value = inside(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// Stands before the next element, or past `close`. Commas may be missing or doubled nowhere but at the ends.
    fn more(&mut self, close: u8, first: &mut bool) -> Read<bool> {
        let mut comma = core::mem::replace(first, false);
        while self.peek()? == b',' {
            self.at += 1;
            comma = true;
        }
        if self.peek()? == close {
            self.at += 1;
            return Ok(false);
        }
        if comma { Ok(true) } else { Err(self.error("a comma is missing")) }
    }

    /// Takes a bare word or number: everything up to a separator.
    fn word(&mut self) -> Read<&'de str> {
        self.skip_space();
        let rest = self.rest();
        let stop = |c: char| c.is_ascii_whitespace() || ",:{}[]\"'\\".contains(c);
        let word = rest.split(stop).next().unwrap_or_default();
        if word.is_empty() {
            return Err(self.error("a value is expected"));
        }
        self.at += word.len();
        Ok(word)
    }

    /// Passes over one value and returns its text.
    fn skip(&mut self) -> Read<&'de str> {
        self.skip_space();
        let start = self.at;
        match self.peek()? {
            b'"' | b'\'' => drop(self.string()?),
            b'{' => self.nested(b'{', |reader| {
                let mut first = true;
                while reader.more(b'}', &mut first)? {
                    reader.skip()?;
                    reader.expect(b':', "a colon is expected")?;
                    reader.skip()?;
                }
                Ok(())
            })?,
            b'[' => self.nested(b'[', |reader| {
                let mut first = true;
                while reader.more(b']', &mut first)? {
                    reader.skip()?;
                }
                Ok(())
            })?,
            _ => drop(self.word()?),
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// Takes `null` if it is next.
    fn null(&mut self) -> Read<bool> {
        self.skip_space();
        let found = self.rest().starts_with("null");
        let ends = !self.rest().as_bytes().get(4).is_some_and(u8::is_ascii_alphanumeric);
        if found && ends {
            self.at += 4;
        }
        Ok(found && ends)
    }

    /// Takes any scalar as text: a string, or the characters of a number or a boolean.
    fn scalar(&mut self) -> Read<Cow<'de, str>> {
        match self.peek()? {
            b'"' | b'\'' => self.string(),
            b'{' | b'[' => Err(self.error("a plain value is expected")),
            _ => self.word().map(Cow::Borrowed),
        }
    }

    fn number<T: Number>(&mut self) -> Read<T> {
        let text = self.scalar()?;
        T::from_text(text.trim()).ok_or_else(|| {
            JsonError::new(self.at, format!("{:?} is not a number that fits here", clip(&text)))
        })
    }

    fn boolean(&mut self) -> Read<bool> {
        match self.scalar()?.as_ref() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(self.error("true or false is expected")),
        }
    }

    fn text(&mut self) -> Read<Cow<'de, str>> {
        match self.peek()? {
            b'{' | b'[' => self.skip().map(Cow::Borrowed),
            _ => self.scalar(),
        }
    }
}

/// The first part of a text, for an error message.
fn clip(text: &str) -> &str {
    let end = text.char_indices().nth(40).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default()
}

/// A number that may have been written as `1`, `"1"` or `1.0`.
trait Number: Sized {
    fn from_text(text: &str) -> Option<Self>;
}

macro_rules! number {
    ($($type:ty)*) => {$(
        impl Number for $type {
            fn from_text(text: &str) -> Option<$type> {
                if let Ok(value) = text.parse() {
                    return Some(value);
                }
                let value: f64 = f64::from_text(text)?;
                let fits = value.fract() == 0.0 && value.abs() < 9e15;
                fits.then_some(value as i64)?.try_into().ok()
            }
        }
    )*};
}

number! { i8 i16 i32 i64 u8 u16 u32 u64 }

impl Number for f64 {
    fn from_text(text: &str) -> Option<f64> {
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        text.parse().ok().filter(|value: &f64| plain && value.is_finite())
    }
}

macro_rules! read_numbers {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
            visitor.$visit(self.number()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        match self.peek()? {
            b'{' => self.deserialize_map(visitor),
            b'[' => self.deserialize_seq(visitor),
            b'"' | b'\'' => self.deserialize_str(visitor),
            _ => match self.word()? {
                "null" => visitor.visit_unit(),
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                word => match (word.parse::<i64>(), word.parse::<u64>(), f64::from_text(word)) {
                    (Ok(value), _, _) => visitor.visit_i64(value),
                    (_, Ok(value), _) => visitor.visit_u64(value),
                    (_, _, Some(value)) => visitor.visit_f64(value),
                    _ => Err(JsonError::new(self.at, format!("{:?} is not a value", clip(word)))),
                },
            },
        }
    }

    read_numbers! {
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32 deserialize_i64 visit_i64
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32 deserialize_u64 visit_u64
        deserialize_f32 visit_f64 deserialize_f64 visit_f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        visitor.visit_bool(self.boolean()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        match self.text()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        if self.null()? { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        if self.null()? { visitor.visit_unit() } else { Err(self.error("null is expected")) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.nested(b'[', |reader| {
            let mut elements = Elements { reader, first: true, done: false };
            let value = visitor.visit_seq(&mut elements)?;
            if elements.done { Ok(value) } else { Err(elements.reader.error("the array is too long")) }
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.nested(b'{', |reader| {
            let mut members = Members { reader, first: true, done: false };
            let value = visitor.visit_map(&mut members)?;
            if members.done { Ok(value) } else { Err(members.reader.error("the object is too long")) }
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Read<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Read<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Read<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        let name = self.scalar()?;
        visitor.visit_enum(CowStrDeserializer::new(name))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.skip()?;
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { bytes byte_buf unit_struct i128 u128 }
}

struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    first: bool,
    done: bool,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = JsonError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Read<Option<T::Value>> {
        if !self.reader.more(b']', &mut self.first)? {
            self.done = true;
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

struct Members<'a, 'de> {
    reader: &'a mut Reader<'de>,
    first: bool,
    done: bool,
}

impl<'de> Members<'_, 'de> {
    /// Takes the next key whose value is not `null`, and the colon after it.
    fn next_key(&mut self) -> Read<Option<Cow<'de, str>>> {
        while self.reader.more(b'}', &mut self.first)? {
            let key = self.reader.text()?;
            self.reader.expect(b':', "a colon is expected")?;
            if !self.reader.null()? {
                return Ok(Some(key));
            }
        }
        self.done = true;
        Ok(None)
    }
}

impl<'de> MapAccess<'de> for Members<'_, 'de> {
    type Error = JsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Read<Option<K::Value>> {
        let Some(key) = self.next_key()? else { return Ok(None) };
        seed.deserialize(Key { text: key, at: self.reader.at }).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Read<V::Value> {
        seed.deserialize(&mut *self.reader)
    }
}

/// A key: text, but read as a number where the type asks for one.
struct Key<'de> {
    text: Cow<'de, str>,
    at: usize,
}

macro_rules! key_numbers {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
            let number = Number::from_text(&self.text);
            visitor.$visit(number.ok_or_else(|| JsonError::new(self.at, "a number is expected as key"))?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        match self.text {
            Cow::Borrowed(text) => BorrowedStrDeserializer::new(text).deserialize_any(visitor),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    key_numbers! {
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32 deserialize_i64 visit_i64
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32 deserialize_u64 visit_u64
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Read<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        visitor.visit_enum(CowStrDeserializer::new(self.text))
    }

    serde::forward_to_deserialize_any! {
        bool f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any i128 u128
    }
}
