// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The JSON form of a header, read in one pass over its bytes and written by hand.
//! Members that we do not know are skipped, a member that comes twice counts the last time, null is absent.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Frame, Head, Language, Serialization};
use crate::fields::scan::{Quoted, Scanner, Value, plain_prefix};
use crate::fields::{Fields, FieldsOut, put_escaped, put_integer, skip_object, usual};
use crate::frame::EncodeError;
use crate::names::ByteStr;
use crate::request::{DecodeError, Header};

pub(super) fn decode(header: Bytes) -> Result<Frame, DecodeError> {
    let text =
        ByteStr::from_utf8(header).map_err(|e| DecodeError::new(e.valid, "JSON header is not UTF-8"))?;
    let members = match Members::usual(text.as_bytes()) {
        Some(members) => members,
        None => Members::any(&text)?,
    };
    let remark = members.remark.map(|remark| {
        if remark.is_escaped() { ByteStr::from(remark.unescaped()) } else { text.slice_ref(remark.text) }
    });
    Ok(Frame {
        code: members.code.ok_or_else(|| DecodeError::new(0, "JSON header has no code"))?,
        language: members.language,
        version: members.version,
        opaque: members.opaque,
        flag: members.flag,
        remark,
        serialization: Serialization::Json,
        fields: match members.fields.and_then(|object| text.get(object)) {
            Some(object) => Fields::json(text.slice_ref(object)),
            None => Fields::default(),
        },
        body: Bytes::new(),
    })
}

#[derive(Default)]
pub(super) struct Members<'a> {
    code: Option<i32>,
    language: Language,
    version: i32,
    opaque: i32,
    flag: i32,
    remark: Option<Quoted<'a>>,
    /// Where the object stands, with its braces.
    pub(super) fields: Option<Range<usize>>,
}

impl<'a> Members<'a> {
    /// A header as every SDK writes it: no white space, no remark, nothing unknown. `None` when it is any different.
    pub(super) fn usual(text: &[u8]) -> Option<Members<'static>> {
        let mut members = Members::default();
        let mut at = usual(text, 0, b"{")?;
        loop {
            at = members.usual_member(text, at)?;
            match text.get(at)? {
                b',' => at = at.saturating_add(1),
                b'}' if text.len() == at.saturating_add(1) => return Some(members),
                _ => return None,
            }
        }
    }

    /// Reads the member that begins at `at`; returns the place behind it.
    fn usual_member(&mut self, text: &[u8], at: usize) -> Option<usize> {
        // The second byte of a member is the first of its name, and these names begin differently.
        match text.get(at.saturating_add(1))? {
            b'c' => {
                let (code, end) = usual_integer(text, usual(text, at, b"\"code\":")?)?;
                self.code = Some(code);
                Some(end)
            }
            // The fields that count are read later; others that came before would never be looked at.
            b'e' if self.fields.is_none() => {
                let start = usual(text, at, b"\"extFields\":")?;
                let end = skip_object(text, start)?;
                self.fields = Some(start..end);
                Some(end)
            }
            b'f' => put(&mut self.flag, usual_integer(text, usual(text, at, b"\"flag\":")?)?),
            b'l' => {
                let start = usual(text, at, b"\"language\":\"")?;
                let end = start.saturating_add(plain_prefix(text.get(start..)?));
                self.language = Language::from_name(str::from_utf8(text.get(start..end)?).ok()?);
                usual(text, end, b"\"")
            }
            b'o' => put(&mut self.opaque, usual_integer(text, usual(text, at, b"\"opaque\":")?)?),
            b's' => usual(text, at, b"\"serializeTypeCurrentRPC\":\"JSON\""),
            b'v' => put(&mut self.version, usual_integer(text, usual(text, at, b"\"version\":")?)?),
            _ => None,
        }
    }

    /// Any header.
    fn any(text: &'a str) -> Result<Members<'a>, DecodeError> {
        let mut scanner = Scanner::new(text);
        let mut members = Members::default();
        scanner.take(b'{', "JSON header is not an object")?;
        let mut first = true;
        while let Some(name) = scanner.member(first)? {
            first = false;
            members.read(name, &mut scanner)?;
        }
        scanner.end()?;
        Ok(members)
    }

    fn read(&mut self, name: Quoted<'a>, scanner: &mut Scanner<'a>) -> Result<(), DecodeError> {
        let name = name.plain();
        let start = scanner.peek();
        let at = scanner.at();
        let value = scanner.value()?;
        if start == Some(b'{') && name == "extFields" {
            self.fields = Some(at..scanner.at());
            return Ok(());
        }
        let wrong = |what| Err(DecodeError::new(at, what));
        match (&*name, value) {
            ("language", Value::Text(name)) => self.language = Language::from_name(&name.plain()),
            ("language", Value::Bare(_)) => return wrong("language is not a name"),
            ("remark", Value::Text(remark)) => self.remark = Some(remark),
            ("remark", Value::Null) => self.remark = None,
            ("remark", Value::Bare(_)) => return wrong("remark is not text"),
            ("code", Value::Bare(number)) => self.code = Some(integer(number)?),
            ("opaque", Value::Bare(number)) => self.opaque = integer(number)?,
            ("flag", Value::Bare(number)) => self.flag = integer(number)?,
            ("version", Value::Bare(number)) => self.version = integer(number)?,
            ("code" | "opaque" | "flag" | "version", Value::Text(_)) => return wrong("expected a number"),
            ("extFields", Value::Null) => self.fields = None,
            ("extFields", _) => return wrong("extFields is not an object"),
            _ => {}
        }
        Ok(())
    }
}

/// Keeps a number and passes on the place behind it.
fn put(place: &mut i32, (number, end): (i32, usize)) -> Option<usize> {
    *place = number;
    Some(end)
}

/// A number without sign, and the place behind it. What is no plain one is left for [`integer`] to judge.
pub(super) fn usual_integer(text: &[u8], at: usize) -> Option<(i32, usize)> {
    let rest = text.get(at..)?;
    let mut sum = 0_i32;
    for (index, byte) in rest.iter().take(11).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            // a first zero stands alone
            let is_plain = index == 1 || index > 1 && rest.first() != Some(&b'0');
            return is_plain.then_some((sum, at.saturating_add(index)));
        }
        sum = sum.checked_mul(10)?.checked_add(i32::from(digit))?;
    }
    None
}

fn integer(number: Quoted<'_>) -> Result<i32, DecodeError> {
    number.text.parse().map_err(|_| DecodeError::new(number.at, "not a 32-bit integer"))
}

/// Members in the order of Apache's writer. Answers and requests alike say which form they are in, because
/// Apache's clients read that member.
pub(super) fn encode<H: Header>(head: &Head<'_>, header: &H, out: &mut BytesMut) -> Result<(), EncodeError> {
    out.put_slice(b"{\"code\":");
    put_integer(out, i64::from(head.code));
    let mut fields = FieldsOut::new(out, Serialization::Json);
    header.encode(&mut fields);
    fields.finish()?;
    out.put_slice(b",\"flag\":");
    put_integer(out, i64::from(head.flag));
    out.put_slice(b",\"language\":\"");
    out.put_slice(head.language.name().as_bytes());
    out.put_slice(b"\",\"opaque\":");
    put_integer(out, i64::from(head.opaque));
    if let Some(remark) = head.remark {
        out.put_slice(b",\"remark\":\"");
        put_escaped(out, remark);
        out.put_u8(b'"');
    }
    out.put_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    put_integer(out, i64::from(head.version));
    out.put_u8(b'}');
    Ok(())
}
