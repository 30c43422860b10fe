// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Message ids as text: the offset id, which says where a record lies, and the unique id, which its sender made.
//! Both are upper-case hexadecimal, 32 digits with an IPv4 address and 56 with an IPv6 one.
#![deny(clippy::indexing_slicing)]

mod recall;
mod unique;

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::names::LogOffset;
pub use recall::{HandleError, RecallHandle};
pub use unique::{UniqueId, UniqueIds};

/// Where a record lies: its broker and its place in that broker's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OffsetId {
    pub host: SocketAddr,
    pub offset: LogOffset,
}

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("a message id has 32 or 56 hexadecimal digits, not {len} characters")]
    Length { len: usize },
    #[error("a message id has hexadecimal digits only; byte {at} is none")]
    Digit { at: usize },
    #[error("{port} in a message id is no port")]
    Port { port: u32 },
}

impl OffsetId {
    /// Reads an id. Lower-case digits are taken too.
    pub fn parse(text: &str) -> Result<OffsetId, IdError> {
        let mut digits = Digits::new(text)?;
        let ip = digits.ip()?;
        let port = digits.number(8)? as u32;
        let port = u16::try_from(port).map_err(|_| IdError::Port { port })?;
        Ok(OffsetId { host: SocketAddr::new(ip, port), offset: LogOffset(digits.number(16)?) })
    }
}

impl OffsetId {
    /// Writes the id, past the formatter of the standard library: every answer to a send has one.
    pub fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let (port, offset) = (u64::from(self.host.port()), self.offset.0);
        match self.host.ip().to_canonical() {
            IpAddr::V4(ip) => hex::<32>(&[u64::from(ip.to_bits()) << 32 | port, offset], out),
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                hex::<32>(&[(bits >> 64) as u64, bits as u64], out)?;
                hex::<24>(&[port, offset], out)
            }
        }
    }
}

impl fmt::Display for OffsetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

fn hex_ip(ip: IpAddr, f: &mut impl fmt::Write) -> fmt::Result {
    match ip.to_canonical() {
        IpAddr::V4(ip) => hex::<8>(&[u64::from(ip.to_bits())], f),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            hex::<32>(&[(bits >> 64) as u64, bits as u64], f)
        }
    }
}

/// Writes the lowest `DIGITS` hexadecimal digits of `numbers`, 16 of each.
fn hex<const DIGITS: usize>(numbers: &[u64], f: &mut impl fmt::Write) -> fmt::Result {
    const PAIRS: [[u8; 2]; 256] = pairs();
    let mut text = [0; DIGITS];
    for (digits, number) in text.rchunks_mut(16).zip(numbers.iter().rev()) {
        for (place, byte) in digits.as_chunks_mut::<2>().0.iter_mut().rev().zip(number.to_le_bytes()) {
            *place = PAIRS.get(usize::from(byte)).copied().unwrap_or_default();
        }
    }
    f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

/// Every byte as two digits.
#[expect(clippy::indexing_slicing, reason = "checked when it is compiled")]
const fn pairs() -> [[u8; 2]; 256] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
}

/// Takes numbers off the front of a text whose length was checked.
struct Digits<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Digits<'a> {
    fn new(text: &'a str) -> Result<Digits<'a>, IdError> {
        if !matches!(text.len(), 32 | 56) {
            return Err(IdError::Length { len: text.len() });
        }
        match text.bytes().position(|byte| !byte.is_ascii_hexdigit()) {
            Some(at) => Err(IdError::Digit { at }),
            None => Ok(Digits { text: text.as_bytes(), at: 0 }),
        }
    }

    fn wide(&mut self, digits: usize) -> Result<u128, IdError> {
        let end = self.at + digits;
        let taken = self.text.get(self.at..end).ok_or(IdError::Length { len: self.text.len() })?;
        self.at = end;
        Ok(taken.iter().fold(0, |number, byte| {
            number << 4 | u128::from(char::from(*byte).to_digit(16).unwrap_or_default())
        }))
    }

    fn number(&mut self, digits: usize) -> Result<u64, IdError> {
        Ok(self.wide(digits)? as u64)
    }

    fn ip(&mut self) -> Result<IpAddr, IdError> {
        Ok(if self.text.len() == 32 {
            IpAddr::V4((self.number(8)? as u32).into())
        } else {
            IpAddr::V6(self.wide(32)?.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn offset_ids_print_and_read() {
        let cases = [
            ("10.0.0.1:10911", 255, "0A00000100002A9F00000000000000FF"),
            ("[2001:db8::1]:1", u64::MAX, "20010DB800000000000000000000000100000001FFFFFFFFFFFFFFFF"),
        ];
        for (host, offset, text) in cases {
            let id = OffsetId { host: host.parse().unwrap(), offset: LogOffset(offset) };
            assert_eq!(id.to_string(), text);
            assert_eq!(OffsetId::parse(text), Ok(id));
            assert_eq!(OffsetId::parse(&text.to_lowercase()), Ok(id));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        assert_eq!(OffsetId::parse("0A"), Err(IdError::Length { len: 2 }));
        assert_eq!(OffsetId::parse("0A00000100002A9F00000000000000Fx"), Err(IdError::Digit { at: 31 }));
        assert_eq!(
            OffsetId::parse("0A000001FFFFFFFF00000000000000FF"),
            Err(IdError::Port { port: u32::MAX })
        );
        assert!(OffsetId::parse("ééééééééééééééééé").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>(), hex in "[0-9a-fA-F]{32}|[0-9a-fA-F]{56}") {
            let _ = (OffsetId::parse(&text), UniqueId::parse(&text));
            let _ = OffsetId::parse(&hex);
            prop_assert!(UniqueId::parse(&hex).is_ok());
        }
    }
}
