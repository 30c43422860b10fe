// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Ext fields written straight into the header being encoded, as JSON or in the binary form.
//! Called by what `request!` expands to; nothing is gathered first.

use bytes::{BufMut, BytesMut};

use super::FieldValue;
use super::scan::plain_prefix;
use crate::frame::{EncodeError, Serialization};

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

    /// Writes one field. The name must be one that JSON needs no escapes for.
    pub fn put(&mut self, name: &'static str, value: &impl FieldValue) {
        debug_assert_eq!(plain_prefix(name.as_bytes()), name.len(), "{name} needs escapes");
        self.entry(name, |out| out.put_slice(name.as_bytes()), |out| value.write(out));
    }

    /// Writes one field that is text, under any name.
    pub fn put_text(&mut self, name: &str, value: &str) {
        self.entry(name, |out| put_escaped(out, name), |out| out.text(value));
    }

    fn entry(
        &mut self,
        name: &str,
        write_name: impl FnOnce(&mut BytesMut),
        write_value: impl FnOnce(&mut ValueOut<'_>),
    ) {
        match self.form {
            Serialization::Json => {
                let before: &[u8] = if self.empty { b",\"extFields\":{\"" } else { b"\",\"" };
                self.out.put_slice(before);
                write_name(self.out);
                self.out.put_slice(b"\":\"");
                write_value(&mut ValueOut { out: self.out, form: self.form });
            }
            Serialization::RocketMq => {
                let Ok(length) = i16::try_from(name.len()) else {
                    self.fault = Some(EncodeError::FieldName { length: name.len() });
                    return;
                };
                self.out.put_i16(length);
                self.out.put_slice(name.as_bytes());
                put_measured(self.out, |out| {
                    write_value(&mut ValueOut { out, form: Serialization::RocketMq })
                });
            }
        }
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
pub(crate) fn put_integer(out: &mut BytesMut, value: i64) {
    let mut digits = [0_u8; 20];
    let mut rest = value.unsigned_abs();
    let mut used = 0_usize;
    for place in digits.iter_mut().rev() {
        *place = b'0' | (rest % 10) as u8;
        rest /= 10;
        used = used.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.put_u8(b'-');
    }
    out.put_slice(digits.get(digits.len().saturating_sub(used)..).unwrap_or_default());
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
