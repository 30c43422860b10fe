// SPDX-License-Identifier: Apache-2.0
//! A frame that is written once and copied for every call, with the few places that differ overwritten. Made by the
//! kinds of load. Invariant: what differs always has the same number of bytes, so that the frame keeps its length.

use anyhow::{Context, Result, ensure};
use bytes::BytesMut;
use protocol::frame::{self, Head, Language, Serialization, VERSION};
use protocol::request::Request;

/// The number in a frame whose real number comes later: ten digits, as all of them have.
const PLACEHOLDER: i32 = 1_888_888_888;

/// A whole frame, its body included, and where its number stands.
pub(super) struct Prepared {
    bytes: Vec<u8>,
    serialization: Serialization,
    number_at: usize,
}

impl Prepared {
    pub(super) fn new<R: Request>(
        request: &R,
        body: &[u8],
        serialization: Serialization,
    ) -> Result<Prepared> {
        let head = Head {
            code: R::CODE,
            opaque: PLACEHOLDER,
            version: VERSION,
            language: Language::RUST,
            serialization,
            ..Head::default()
        };
        let mut bytes = BytesMut::new();
        frame::encode(&head, request, body.len(), &mut bytes)?;
        bytes.extend_from_slice(body);
        let bytes = Vec::from(bytes);
        let number_at = match serialization {
            Serialization::Json => {
                let name = format!("\"opaque\":{PLACEHOLDER}");
                only(&bytes, name.as_bytes())? + name.len() - 10
            }
            // after the two lengths, the code, the language and the version
            Serialization::RocketMq => 13,
        };
        Ok(Prepared { bytes, serialization, number_at })
    }

    /// Where `text` stands in the frame; it must be there once.
    pub(super) fn find(&self, text: &[u8]) -> Result<usize> {
        only(&self.bytes, text)
    }

    /// Where each of `texts` stands in the frame, one behind the other: in one pass, however many there are.
    pub(super) fn find_all<'a>(&self, texts: impl Iterator<Item = &'a [u8]>) -> Result<Vec<usize>> {
        let mut from = 0;
        texts
            .map(|text| {
                let rest = &self.bytes[from..];
                let at = rest.windows(text.len()).position(|window| window == text);
                let at = from + at.context("a prepared frame lacks what is to be overwritten")?;
                from = at + text.len();
                Ok(at)
            })
            .collect()
    }

    /// Appends the frame with this number and returns its copy, for what else differs.
    pub(super) fn copy<'a>(&self, number: i32, out: &'a mut Vec<u8>) -> &'a mut [u8] {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let copy = &mut out[start..];
        match self.serialization {
            Serialization::Json => put_decimal(&mut copy[self.number_at..][..10], number as u64),
            Serialization::RocketMq => {
                copy[self.number_at..][..4].copy_from_slice(&number.to_be_bytes());
            }
        }
        copy
    }
}

fn only(bytes: &[u8], text: &[u8]) -> Result<usize> {
    let find = |from: usize| {
        bytes[from..].windows(text.len()).position(|window| window == text).map(|found| from + found)
    };
    let at = find(0).context("a prepared frame lacks what is to be overwritten")?;
    ensure!(find(at + 1).is_none(), "a prepared frame has twice what is to be overwritten");
    Ok(at)
}

/// Overwrites `place` with the last digits of `number`.
pub(super) fn put_decimal(place: &mut [u8], number: u64) {
    let mut rest = number;
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Overwrites `place` with the last hexadecimal digits of `number`.
pub(super) fn put_hex(place: &mut [u8], number: u64) {
    let mut rest = number;
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789ABCDEF"[(rest & 15) as usize];
        rest >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_found_one_behind_the_other() {
        let bytes = b"..id1..id2..id1".to_vec();
        let frame = Prepared { bytes, serialization: Serialization::Json, number_at: 0 };
        let find = |texts: &[&str]| frame.find_all(texts.iter().map(|text| text.as_bytes()));
        assert_eq!(find(&["id1", "id2", "id1"]).expect("all are there"), [2, 7, 12]);
        assert!(find(&["id2", "id2"]).is_err(), "there is no other behind it");
    }
}
