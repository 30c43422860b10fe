// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Compact JSON out, with or without quotes around keys that are not text.
//! Called by `json` only. Leaves out members that are `null`, as fastjson does.

use serde::Serialize;
use serde::ser::{self, Impossible, Serializer};

use super::JsonError;

/// How keys that are not text are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// As strings.
    Standard,
    /// Bare.
    Fastjson,
}

pub(super) fn write<T: Serialize + ?Sized>(value: &T, dialect: Dialect) -> Vec<u8> {
    let mut writer = Writer { out: Vec::with_capacity(128), dialect };
    value.serialize(&mut writer).expect("body types use only what the writer supports");
    writer.out
}

struct Writer {
    out: Vec<u8>,
    dialect: Dialect,
}

impl Writer {
    fn display(&mut self, value: impl core::fmt::Display) {
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    fn string(&mut self, text: &str) {
        self.out.push(b'"');
        for byte in text.bytes() {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                0x0C => self.out.extend_from_slice(b"\\f"),
                0..0x20 | 0x7F => self.out.extend_from_slice(format!("\\u{byte:04X}").as_bytes()),
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    /// Prints a key. A key that did not print itself as a string is quoted here, where the dialect asks for it.
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), JsonError> {
        let start = self.out.len();
        key.serialize(&mut *self)?;
        if self.dialect == Dialect::Standard && self.out.get(start) != Some(&b'"') {
            let text = String::from_utf8(self.out.split_off(start)).expect("the writer prints UTF-8");
            self.string(&text);
        }
        Ok(())
    }
}

/// An array or an object that is being printed.
struct Nest<'a> {
    writer: &'a mut Writer,
    first: bool,
    close: &'static [u8],
    /// Where the current member began, so that it can be taken back when its value is `null`.
    member: usize,
    /// What `first` was before the current member.
    was_first: bool,
}

impl<'a> Nest<'a> {
    fn open(writer: &'a mut Writer, open: u8, close: &'static [u8]) -> Self {
        writer.out.push(open);
        Nest { writer, first: true, close, member: 0, was_first: true }
    }

    fn comma(&mut self) {
        self.member = self.writer.out.len();
        self.was_first = self.first;
        if !core::mem::replace(&mut self.first, false) {
            self.writer.out.push(b',');
        }
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.writer.out.push(b':');
        let start = self.writer.out.len();
        value.serialize(&mut *self.writer)?;
        if self.writer.out.get(start..) == Some(b"null") {
            self.writer.out.truncate(self.member);
            self.first = self.was_first;
        }
        Ok(())
    }

    fn close(self) -> Result<(), JsonError> {
        self.writer.out.extend_from_slice(self.close);
        Ok(())
    }
}

macro_rules! numbers {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method(self, value: $type) -> Result<(), JsonError> {
            self.display(value);
            Ok(())
        }
    )*};
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = JsonError;
    type SerializeSeq = Nest<'a>;
    type SerializeTuple = Nest<'a>;
    type SerializeTupleStruct = Nest<'a>;
    type SerializeTupleVariant = Impossible<(), JsonError>;
    type SerializeMap = Nest<'a>;
    type SerializeStruct = Nest<'a>;
    type SerializeStructVariant = Nest<'a>;

    numbers! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
    }

    fn serialize_f32(self, value: f32) -> Result<(), JsonError> {
        self.serialize_f64(value.into())
    }

    /// A number that JSON cannot hold is `null`, hence left out.
    fn serialize_f64(self, value: f64) -> Result<(), JsonError> {
        if value.is_finite() {
            self.display(format_args!("{value:?}"));
            return Ok(());
        }
        self.serialize_none()
    }

    fn serialize_char(self, value: char) -> Result<(), JsonError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), JsonError> {
        self.string(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), JsonError> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<(), JsonError> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), JsonError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), JsonError> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), JsonError> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), JsonError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), JsonError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: &T,
    ) -> Result<(), JsonError> {
        Err(ser::Error::custom(format_args!("variant {variant} with data")))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Nest<'a>, JsonError> {
        Ok(Nest::open(self, b'[', b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Nest<'a>, JsonError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Nest<'a>, JsonError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Impossible<(), JsonError>, JsonError> {
        Err(ser::Error::custom(format_args!("variant {variant} with data")))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Nest<'a>, JsonError> {
        Ok(Nest::open(self, b'{', b"}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Nest<'a>, JsonError> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Nest<'a>, JsonError> {
        Err(ser::Error::custom(format_args!("variant {variant} with data")))
    }
}

macro_rules! elements {
    ($($trait:ident::$method:ident)*) => {$(
        impl ser::$trait for Nest<'_> {
            type Ok = ();
            type Error = JsonError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
                self.comma();
                value.serialize(&mut *self.writer)
            }

            fn end(self) -> Result<(), JsonError> {
                self.close()
            }
        }
    )*};
}

elements! { SerializeSeq::serialize_element SerializeTuple::serialize_element SerializeTupleStruct::serialize_field }

macro_rules! members {
    ($($trait:ident)*) => {$(
        impl ser::$trait for Nest<'_> {
            type Ok = ();
            type Error = JsonError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), JsonError> {
                self.comma();
                self.writer.string(key);
                self.value(value)
            }

            fn end(self) -> Result<(), JsonError> {
                self.close()
            }
        }
    )*};
}

members! { SerializeStruct SerializeStructVariant }

impl ser::SerializeMap for Nest<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), JsonError> {
        self.comma();
        self.writer.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.value(value)
    }

    fn end(self) -> Result<(), JsonError> {
        self.close()
    }
}
