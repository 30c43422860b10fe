// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The body of a batch (320): messages of one queue, one behind the other. Clients write it, brokers take it
//! apart, consumers take inner batches apart. Layout: `docs/format/batch.md`.
//! Invariant: a unit never reaches past the body, and every byte of the body belongs to a unit.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use bytes::BufMut;

/// Bytes of a unit besides its body and its properties.
const FIXED: usize = 22;

/// One message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit<'a> {
    /// The application's own flag.
    pub flag: i32,
    pub body: &'a [u8],
    /// The text form of the properties.
    pub properties: &'a [u8],
}

/// Why a body is not a batch, or a message does not fit one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("unit {unit} of the batch ends inside its {part}")]
    Short { unit: usize, part: &'static str },
    #[error("unit {unit} of the batch has {part} of length {len}")]
    Length { unit: usize, part: &'static str, len: i32 },
    #[error("{part} of {len} bytes does not fit a batch")]
    TooLong { part: &'static str, len: usize },
}

/// Appends one message.
pub fn encode(unit: &Unit<'_>, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let (body, properties) = (unit.body.len(), unit.properties.len());
    if properties > i16::MAX as usize {
        return Err(BatchError::TooLong { part: "properties", len: properties });
    }
    let whole = FIXED.saturating_add(properties).saturating_add(body);
    let size = i32::try_from(whole).map_err(|_| BatchError::TooLong { part: "body", len: body })?;
    out.reserve(whole);
    out.put_i32(size);
    out.put_bytes(0, 8);
    out.put_i32(unit.flag);
    out.put_i32(body as i32);
    out.put_slice(unit.body);
    out.put_i16(properties as i16);
    out.put_slice(unit.properties);
    Ok(())
}

/// Walks the messages of a batch. After an error nothing follows.
///
/// COMPAT: the size at the start of a unit is not looked at; its parts say where it ends, as on Apache's side.
pub fn units(body: &[u8]) -> impl Iterator<Item = Result<Unit<'_>, BatchError>> {
    let mut cursor = Cursor { rest: body, unit: 0 };
    core::iter::from_fn(move || {
        if cursor.rest.is_empty() {
            return None;
        }
        let unit = cursor.unit();
        if unit.is_err() {
            cursor.rest = &[];
        }
        cursor.unit = cursor.unit.saturating_add(1);
        Some(unit)
    })
}

struct Cursor<'a> {
    rest: &'a [u8],
    unit: usize,
}

impl<'a> Cursor<'a> {
    fn unit(&mut self) -> Result<Unit<'a>, BatchError> {
        self.take("head", 12)?;
        let flag = self.number("flag")?;
        let body = self.part("body", 4)?;
        let properties = self.part("properties", 2)?;
        Ok(Unit { flag, body, properties })
    }

    fn take(&mut self, part: &'static str, len: usize) -> Result<&'a [u8], BatchError> {
        let short = BatchError::Short { unit: self.unit, part };
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self, part: &'static str) -> Result<i32, BatchError> {
        let bytes = self.take(part, 4)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | i32::from(*byte)))
    }

    /// Takes a length of `width` bytes and what it announces.
    fn part(&mut self, part: &'static str, width: usize) -> Result<&'a [u8], BatchError> {
        let len = match *self.take(part, width)? {
            [a, b, c, d] => i32::from_be_bytes([a, b, c, d]),
            [a, b] => i16::from_be_bytes([a, b]).into(),
            _ => unreachable!("lengths take two or four bytes"),
        };
        let wrong = BatchError::Length { unit: self.unit, part, len };
        self.take(part, usize::try_from(len).map_err(|_| wrong)?)
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(units: &[Unit<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        units.iter().for_each(|unit| encode(unit, &mut out).unwrap());
        out
    }

    #[test]
    fn every_cut_is_seen() {
        let two = [
            Unit { flag: -1, body: b"one", properties: b"A\x01b\x02" },
            Unit { flag: 7, body: b"", properties: b"" },
        ];
        let bytes = encoded(&two);
        assert_eq!(units(&bytes).collect::<Result<Vec<_>, _>>().unwrap(), two);
        let first = encoded(&two[..1]).len();
        for cut in (1..bytes.len()).filter(|cut| *cut != first) {
            assert!(units(&bytes[..cut]).any(|unit| unit.is_err()), "cut at {cut}");
        }
        assert_eq!(units(b"").count(), 0);
    }

    #[test]
    fn lying_lengths_are_named() {
        let mut bytes = encoded(&[Unit { flag: 0, body: b"x", properties: b"" }]);
        bytes[16] = 0x80;
        let error = units(&bytes).next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "unit 0 of the batch has body of length -2147483647");
        let long = vec![0; 32768];
        let unit = Unit { flag: 0, body: b"", properties: &long };
        assert_eq!(
            encode(&unit, &mut Vec::new()),
            Err(BatchError::TooLong { part: "properties", len: 32768 })
        );
    }

    proptest! {
        #[test]
        fn batches_round_trip(parts in proptest::collection::vec((any::<i32>(), any::<Vec<u8>>(), any::<Vec<u8>>()), 0..6)) {
            let all: Vec<_> = parts.iter().map(|(flag, body, properties)| Unit { flag: *flag, body, properties }).collect();
            let bytes = encoded(&all);
            prop_assert_eq!(units(&bytes).collect::<Result<Vec<_>, _>>().unwrap(), all);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(units(&bytes).count() <= 10);
        }
    }
}
