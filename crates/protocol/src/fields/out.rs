// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Ext fields written straight into the header being encoded, as JSON or in the binary form.
//! Called by what `request!` expands to; nothing is gathered first.

use bytes::{BufMut, BytesMut};

use super::FieldValue;
use super::scan::plain_prefix;
use crate::frame::{EncodeError, Serialization};

/// Opens the object and the name of its first field.
const FIRST: &[u8] = b",\"extFields\":{\"";

/// The name of a field that needs no escapes, and what stands between the value before it and its own in JSON.
pub struct FieldName {
    plain: &'static str,
    json: &'static str,
}

impl FieldName {
    /// Takes the name and `","name":"`; the macro that declares headers writes both.
    pub(crate) const fn new(plain: &'static str, json: &'static str) -> FieldName {
        assert!(json.len() == plain.len().saturating_add(6), "the two forms of a name belong together");
        FieldName { plain, json }
    }

    /// What stands between the opening quote of its name and its value.
    #[inline(always)]
    pub(super) fn lead(&self) -> &'static [u8] {
        self.json.as_bytes().get(3..).unwrap_or_default()
    }

    /// The name itself.
    pub fn as_str(&self) -> &'static str {
        self.plain
    }
}

/// Writes ext fields straight into the header being encoded.
pub struct FieldsOut<'a> {
    out: &'a mut BytesMut,
    form: Serialization,
    empty: bool,
    fault: Option<EncodeError>,
}

impl<'a> FieldsOut<'a> {
    pub(crate) fn new(out: &'a mut BytesMut, form: Serialization) -> FieldsOut<'a> {
        FieldsOut { out, form, empty: true, fault: None }
    }

    /// Writes one field.
    #[inline]
    pub fn put(&mut self, name: &FieldName, value: &impl FieldValue) {
        match self.form {
            Serialization::Json => {
                let lead = name.json.as_bytes();
                match self.empty {
                    true => self.first(lead),
                    false => self.out.put_slice(lead),
                }
                self.empty = false;
                value.write(&mut ValueOut { out: self.out, form: Serialization::Json });
            }
            Serialization::RocketMq => self.binary(name.plain, |out| value.write(out)),
        }
    }

    /// Writes one field that is text, under any name.
    pub fn put_text(&mut self, name: &str, value: &str) {
        match self.form {
            Serialization::Json => {
                let before: &[u8] = if self.empty { FIRST } else { b"\",\"" };
                self.empty = false;
                self.out.put_slice(before);
                put_escaped(self.out, name);
                self.out.put_slice(b"\":\"");
                put_escaped(self.out, value);
            }
            Serialization::RocketMq => self.binary(name, |out| out.text(value)),
        }
    }

    /// The lead of the first field opens the object instead of closing the field before.
    #[inline(never)]
    fn first(&mut self, lead: &[u8]) {
        self.out.put_slice(FIRST);
        self.out.put_slice(lead.get(3..).unwrap_or_default());
    }

    fn binary(&mut self, name: &str, write_value: impl FnOnce(&mut ValueOut<'_>)) {
        let Ok(length) = i16::try_from(name.len()) else {
            self.fault = Some(EncodeError::FieldName { length: name.len() });
            return;
        };
        self.out.put_i16(length);
        self.out.put_slice(name.as_bytes());
        put_measured(self.out, |out| write_value(&mut ValueOut { out, form: Serialization::RocketMq }));
        self.empty = false;
    }

    /// Ends the fields; a header without any says nothing about them in JSON.
    pub(crate) fn finish(self) -> Result<(), EncodeError> {
        if self.form == Serialization::Json && !self.empty {
            self.out.put_slice(b"\"}");
        }
        self.fault.map_or(Ok(()), Err)
    }
}

/// Writes the text of one value.
pub struct ValueOut<'a> {
    out: &'a mut BytesMut,
    form: Serialization,
}

impl ValueOut<'_> {
    /// Writes text, escaped where the form needs it.
    pub fn text(&mut self, text: &str) {
        match self.form {
            Serialization::Json => put_escaped(self.out, text),
            Serialization::RocketMq => self.out.put_slice(text.as_bytes()),
        }
    }

    /// Writes text that needs no escapes.
    pub(crate) fn plain(&mut self, text: &str) {
        self.out.put_slice(text.as_bytes());
    }

    /// Writes a number in decimal.
    pub fn integer(&mut self, value: i64) {
        put_integer(self.out, value);
    }
}

/// Writes what `write` writes, its length before it in four bytes.
pub(crate) fn put_measured(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    write(out);
    let length = out.len().saturating_sub(at).saturating_sub(4);
    // a header too long for its length field is refused as a whole, so the cast loses nothing that is sent
    if let Some(place) = out.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *place = (length as u32).to_be_bytes();
    }
}

/// Writes a number in decimal.
#[inline]
pub(crate) fn put_integer(out: &mut BytesMut, value: i64) {
    if let Ok(digit @ 0..=9) = u8::try_from(value) {
        out.put_u8(b'0' | digit);
        return;
    }
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes text as the inside of a JSON string.
pub(crate) fn put_escaped(out: &mut BytesMut, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    loop {
        let (plain, from) = rest.split_at(plain_prefix(rest));
        out.put_slice(plain);
        let Some((special, after)) = from.split_first() else { return };
        rest = after;
        match special {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            control => {
                let digit = |nibble: u8| HEX.get(usize::from(nibble & 0xf)).copied().unwrap_or(b'0');
                out.put_slice(&[b'\\', b'u', b'0', b'0', digit(control >> 4), digit(*control)]);
            }
        }
    }
}
