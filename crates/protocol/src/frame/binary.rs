// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The binary form of a header: fixed fields, then texts with their lengths before them.
//! A code above 32,767 does not fit and is refused, never cut; text of length zero is absent.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Frame, Head, Language, Serialization};
use crate::fields::{Fields, FieldsOut, binary_text, put_measured};
use crate::frame::EncodeError;
use crate::names::ByteStr;
use crate::request::{DecodeError, Header};

/// Bytes of code, language, version, opaque and flag.
const FIXED: usize = 13;

pub(super) fn decode(header: Bytes) -> Result<Frame, DecodeError> {
    let Some((mut fixed, mut rest)) = header.split_at_checked(FIXED) else {
        return Err(DecodeError::new(header.len(), "binary header is cut off"));
    };
    let remark = binary_text::<4>(&mut rest, FIXED)?;
    let at = header.len().saturating_sub(rest.len());
    let entries = entries(rest, at)?;
    check(entries, at.saturating_add(4))?;
    Ok(Frame {
        code: i32::from(fixed.get_i16()),
        language: Language(fixed.get_u8()),
        version: i32::from(fixed.get_i16()),
        opaque: fixed.get_i32(),
        flag: fixed.get_i32(),
        remark: (!remark.is_empty()).then(|| shared(&header, remark)),
        serialization: Serialization::RocketMq,
        fields: match entries {
            [] => Fields::default(),
            _ => Fields::binary(header.slice_ref(entries)),
        },
        body: Bytes::new(),
    })
}

fn shared(header: &Bytes, text: &str) -> ByteStr {
    ByteStr::from_utf8(header.slice_ref(text.as_bytes())).expect("the same bytes were text a moment ago")
}

/// The entries at the end of the header, checked to fill it.
fn entries(rest: &[u8], at: usize) -> Result<&[u8], DecodeError> {
    let (length, entries) =
        rest.split_first_chunk::<4>().ok_or_else(|| DecodeError::new(at, "cut off before ext fields"))?;
    if usize::try_from(i32::from_be_bytes(*length)) != Ok(entries.len()) {
        return Err(DecodeError::new(at, "ext fields do not end with the header"));
    }
    Ok(entries)
}

/// Checks that every entry is whole. `at` says where they stand in the header, for complaints.
fn check(entries: &[u8], at: usize) -> Result<(), DecodeError> {
    let mut rest = entries;
    while !rest.is_empty() {
        let at = at.saturating_add(entries.len()).saturating_sub(rest.len());
        binary_text::<2>(&mut rest, at)?;
        binary_text::<4>(&mut rest, at)?;
    }
    Ok(())
}

pub(super) fn encode<H: Header>(head: &Head<'_>, header: &H, out: &mut BytesMut) -> Result<(), EncodeError> {
    out.put_i16(i16::try_from(head.code).map_err(|_| EncodeError::Code { code: head.code })?);
    out.put_u8(head.language.0);
    out.put_i16(i16::try_from(head.version).map_err(|_| EncodeError::Version { version: head.version })?);
    out.put_i32(head.opaque);
    out.put_i32(head.flag);
    put_measured(out, |out| out.put_slice(head.remark.unwrap_or_default().as_bytes()));
    let mut written = Ok(());
    put_measured(out, |out| {
        let mut fields = FieldsOut::new(out, Serialization::RocketMq);
        header.encode(&mut fields);
        written = fields.finish();
    });
    written
}
