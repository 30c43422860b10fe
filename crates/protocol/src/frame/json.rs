// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The JSON form of a header, read in one pass over its bytes and written by hand.
//! Members that we do not know are skipped, a member that comes twice counts the last time, null is absent.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Frame, Head, Language, Serialization};
use crate::fields::scan::{Quoted, Scanner, Value};
use crate::fields::{Fields, FieldsOut, Index, put_escaped, put_integer};
use crate::frame::EncodeError;
use crate::names::ByteStr;
use crate::request::{DecodeError, Header};

pub(super) fn decode(header: Bytes) -> Result<Frame, DecodeError> {
    let text =
        ByteStr::from_utf8(header).map_err(|e| DecodeError::new(e.valid, "JSON header is not UTF-8"))?;
    let mut scanner = Scanner::new(&text);
    let mut members = Members::default();
    scanner.take(b'{', "JSON header is not an object")?;
    let mut first = true;
    while let Some(name) = scanner.member(first)? {
        first = false;
        members.read(name, &mut scanner)?;
    }
    scanner.end()?;
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
        fields: match members.fields {
            Some(object) => Fields::json(text.slice_ref(object), members.index),
            None => Fields::default(),
        },
        body: Bytes::new(),
    })
}

#[derive(Default)]
struct Members<'a> {
    code: Option<i32>,
    language: Language,
    version: i32,
    opaque: i32,
    flag: i32,
    remark: Option<Quoted<'a>>,
    /// The object with its braces.
    fields: Option<&'a str>,
    /// Where its members stand.
    index: Index,
}

impl<'a> Members<'a> {
    fn read(&mut self, name: Quoted<'a>, scanner: &mut Scanner<'a>) -> Result<(), DecodeError> {
        let start = scanner.peek();
        let at = scanner.at();
        if name.is_escaped() {
            return self.read_any(&name.plain(), scanner);
        }
        match name.text {
            "extFields" if start == Some(b'{') => {
                self.index.json(scanner)?;
                self.fields = Some(scanner.since(at)?.text);
                return Ok(());
            }
            "code" | "opaque" | "flag" | "version" => {
                if let Some(number) = scanner.usual_integer() {
                    self.number(name.text, number);
                    return Ok(());
                }
            }
            _ => {}
        }
        self.read_any(name.text, scanner)
    }

    fn number(&mut self, name: &str, number: i32) {
        match name {
            "code" => self.code = Some(number),
            "opaque" => self.opaque = number,
            "flag" => self.flag = number,
            _ => self.version = number,
        }
    }

    fn read_any(&mut self, name: &str, scanner: &mut Scanner<'a>) -> Result<(), DecodeError> {
        let start = scanner.peek();
        let at = scanner.at();
        if start == Some(b'{') && name == "extFields" {
            self.index.json(scanner)?;
            self.fields = Some(scanner.since(at)?.text);
            return Ok(());
        }
        let value = scanner.value()?;
        let wrong = |what| Err(DecodeError::new(at, what));
        match (name, value) {
            ("language", Value::Text(name)) => self.language = Language::from_name(&name.plain()),
            ("language", Value::Bare(_)) => return wrong("language is not a name"),
            ("remark", Value::Text(remark)) => self.remark = Some(remark),
            ("remark", Value::Null) => self.remark = None,
            ("remark", Value::Bare(_)) => return wrong("remark is not text"),
            ("code" | "opaque" | "flag" | "version", Value::Bare(number)) => {
                self.number(name, integer(number)?);
            }
            ("code" | "opaque" | "flag" | "version", Value::Text(_)) => return wrong("expected a number"),
            ("extFields", Value::Null) => self.fields = None,
            ("extFields", _) => return wrong("extFields is not an object"),
            _ => {}
        }
        Ok(())
    }
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
