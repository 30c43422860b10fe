// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. How one header field is read from text and written as text, for every type a header may hold.
//! Used by what `request!` expands to. Sentinels end here: a negative number read into an `Option` of an
//! unsigned type is `None`.

use std::borrow::Cow;
use std::time::Duration;

use stdx::Timestamp;

use super::{FieldName, FieldsOut, InOrder, Raw, ValueOut};
use crate::names::{BrokerName, ByteStr, Group, LogOffset, QueueId, QueueOffset, TopicName};
use crate::request::DecodeError;

/// Why a field's text is no value of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadValue {
    /// A negative number where none belongs.
    Negative,
    /// Not of this type at all.
    Not(&'static str),
}

/// A type that a header field may have.
pub trait FieldValue: Sized {
    /// Reads the value from its text.
    fn parse(raw: &Raw<'_>) -> Result<Self, BadValue>;
    /// Reads the value that begins at `at`; returns the place of the quote behind it too. `None` leaves all judgement to
    /// [`FieldValue::parse`].
    #[inline(always)]
    fn take(fields: &InOrder<'_>, at: usize) -> Option<(Self, usize)> {
        let (raw, end) = fields.value(at)?;
        Some((Self::parse(&raw).ok()?, end))
    }
    /// Writes the value as text.
    fn write(&self, out: &mut ValueOut<'_>);
}

/// A field of a header: a value that must be there, or an `Option` of one.
pub trait Field: Sized {
    /// Reads the field.
    fn read(raw: &Raw<'_>) -> Result<Self, BadValue>;
    /// Reads the field from where it stands, as [`FieldValue::take`] does.
    fn take(fields: &InOrder<'_>, at: usize) -> Option<(Self, usize)>;
    /// What the field is when its name is absent; `None` if it must not be.
    fn missing() -> Option<Self>;
    /// Writes the field; an empty one as `sentinel`, or not at all.
    fn put(&self, name: &FieldName, sentinel: Option<&str>, out: &mut FieldsOut<'_>);
}

impl<T: FieldValue> Field for T {
    #[inline]
    fn read(raw: &Raw<'_>) -> Result<T, BadValue> {
        T::parse(raw)
    }
    #[inline(always)]
    fn take(fields: &InOrder<'_>, at: usize) -> Option<(T, usize)> {
        <T as FieldValue>::take(fields, at)
    }
    fn missing() -> Option<T> {
        None
    }
    #[inline]
    fn put(&self, name: &FieldName, _sentinel: Option<&str>, out: &mut FieldsOut<'_>) {
        out.put(name, self);
    }
}

impl<T: FieldValue> Field for Option<T> {
    /// Empty text and negative numbers of unsigned types are nothing.
    #[inline]
    fn read(raw: &Raw<'_>) -> Result<Option<T>, BadValue> {
        if raw.is_empty() {
            return Ok(None);
        }
        match T::parse(raw) {
            Ok(value) => Ok(Some(value)),
            Err(BadValue::Negative) => Ok(None),
            Err(bad) => Err(bad),
        }
    }
    #[inline(always)]
    fn take(fields: &InOrder<'_>, at: usize) -> Option<(Option<T>, usize)> {
        if fields.is(at, b"\"") {
            return Some((None, at));
        }
        let (value, end) = <T as FieldValue>::take(fields, at)?;
        Some((Some(value), end))
    }
    fn missing() -> Option<Option<T>> {
        Some(None)
    }
    #[inline]
    fn put(&self, name: &FieldName, sentinel: Option<&str>, out: &mut FieldsOut<'_>) {
        match (self, sentinel) {
            (Some(value), _) => out.put(name, value),
            (None, Some(sentinel)) => out.put_text(name.as_str(), sentinel),
            (None, None) => {}
        }
    }
}

/// Reads the field called `name`, or says what is wrong with it.
#[inline]
pub(crate) fn read<T: Field>(name: &'static str, raw: &Raw<'_>) -> Result<T, DecodeError> {
    T::read(raw).map_err(|bad| unreadable(name, raw, bad))
}

#[cold]
fn unreadable(name: &'static str, raw: &Raw<'_>, bad: BadValue) -> DecodeError {
    let wanted = match bad {
        BadValue::Negative => "a number of at least 0",
        BadValue::Not(wanted) => wanted,
    };
    let text = raw.text();
    let shown: String = text.chars().take(40).collect();
    DecodeError { at: raw.at(), what: Cow::Owned(format!("field {name} is not {wanted}: {shown:?}")) }
}

/// The value of a field whose name is absent, or the complaint that it must be there.
pub(crate) fn missing<T: Field>(name: &'static str) -> Result<T, DecodeError> {
    T::missing()
        .ok_or_else(|| DecodeError { at: 0, what: Cow::Owned(format!("required field {name} is missing")) })
}

/// A decimal number that fits 64 bits, with or without a sign.
#[inline]
fn integer(text: &[u8]) -> Option<i64> {
    match text {
        [digit @ b'0'..=b'9'] => Some(i64::from(digit & 0xf)),
        text => longer_integer(text),
    }
}

#[inline(never)]
fn longer_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    if digits.len() > SAFE_DIGITS {
        return long_integer(negative, digits);
    }
    let mut sum = 0_i64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum.wrapping_mul(10).wrapping_add(i64::from(digit));
    }
    Some(if negative { sum.wrapping_neg() } else { sum })
}

/// No number of so many digits is too large.
const SAFE_DIGITS: usize = 18;

#[cold]
fn long_integer(negative: bool, digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |sum, digit| {
        let digit = i64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        let sum = sum.checked_mul(10)?;
        if negative { sum.checked_sub(digit) } else { sum.checked_add(digit) }
    })
}

#[cold]
fn escaped_integer(raw: &Raw<'_>) -> Option<i64> {
    integer(raw.text().as_bytes())
}

macro_rules! integer {
    ($($type:ty),*) => {$(
        impl FieldValue for $type {
            #[inline]
            fn parse(raw: &Raw<'_>) -> Result<$type, BadValue> {
                let number = if raw.is_escaped() { escaped_integer(raw) } else { integer(raw.bytes()) };
                let number = number.and_then(|number| <$type>::try_from(number).ok());
                number.ok_or(BadValue::Not(concat!("of type ", stringify!($type))))
            }
            #[inline(always)]
            fn take(fields: &InOrder<'_>, at: usize) -> Option<($type, usize)> {
                if let Some((digit, end)) = single_digit(fields, at) {
                    return Some((<$type>::from(digit), end));
                }
                let (raw, end) = fields.value(at)?;
                Some((Self::parse(&raw).ok()?, end))
            }
            #[inline]
            fn write(&self, out: &mut ValueOut<'_>) {
                out.integer(i64::from(*self));
            }
        }
    )*};
}

/// A number of one digit and the place behind it, as most numbers are.
#[inline(always)]
fn single_digit(fields: &InOrder<'_>, at: usize) -> Option<(u8, usize)> {
    let digit = fields.byte(at)?.wrapping_sub(b'0');
    let end = at.wrapping_add(1);
    (digit < 10 && fields.is(end, b"\"")).then_some((digit, end))
}

integer!(i32, i64);

impl FieldValue for u32 {
    /// The wire has signed 32-bit numbers; the upper half does not exist.
    #[inline]
    fn parse(raw: &Raw<'_>) -> Result<u32, BadValue> {
        u32::try_from(i32::parse(raw)?).map_err(|_| BadValue::Negative)
    }
    #[inline(always)]
    fn take(fields: &InOrder<'_>, at: usize) -> Option<(u32, usize)> {
        let (number, end) = <i32 as FieldValue>::take(fields, at)?;
        Some((u32::try_from(number).ok()?, end))
    }
    fn write(&self, out: &mut ValueOut<'_>) {
        out.integer(i64::from(*self));
    }
}

impl FieldValue for u64 {
    /// The wire has signed 64-bit numbers; the upper half does not exist.
    #[inline]
    fn parse(raw: &Raw<'_>) -> Result<u64, BadValue> {
        u64::try_from(i64::parse(raw)?).map_err(|_| BadValue::Negative)
    }
    fn write(&self, out: &mut ValueOut<'_>) {
        out.integer(i64::try_from(*self).unwrap_or(i64::MAX));
    }
}

impl FieldValue for bool {
    /// `true` in any case is true, all else is false.
    fn parse(raw: &Raw<'_>) -> Result<bool, BadValue> {
        Ok(raw.bytes().eq_ignore_ascii_case(b"true"))
    }
    #[inline(always)]
    fn take(fields: &InOrder<'_>, at: usize) -> Option<(bool, usize)> {
        if fields.is(at, b"false\"") {
            return Some((false, at.wrapping_add(5)));
        }
        let (raw, end) = fields.value(at)?;
        Some((Self::parse(&raw).ok()?, end))
    }
    fn write(&self, out: &mut ValueOut<'_>) {
        out.plain(if *self { "true" } else { "false" });
    }
}

impl FieldValue for ByteStr {
    fn parse(raw: &Raw<'_>) -> Result<ByteStr, BadValue> {
        Ok(raw.to_byte_str())
    }
    #[inline(always)]
    fn take(fields: &InOrder<'_>, at: usize) -> Option<(ByteStr, usize)> {
        fields.text(at)
    }
    fn write(&self, out: &mut ValueOut<'_>) {
        out.text(self);
    }
}

macro_rules! wrapped {
    ($($type:ident($inner:ty)),*) => {$(
        impl FieldValue for $type {
            #[inline]
            fn parse(raw: &Raw<'_>) -> Result<$type, BadValue> {
                <$inner>::parse(raw).map($type)
            }
            #[inline(always)]
            fn take(fields: &InOrder<'_>, at: usize) -> Option<($type, usize)> {
                let (inner, end) = <$inner as FieldValue>::take(fields, at)?;
                Some(($type(inner), end))
            }
            fn write(&self, out: &mut ValueOut<'_>) {
                self.0.write(out);
            }
        }
    )*};
}

wrapped!(QueueId(u32), QueueOffset(u64), LogOffset(u64), Timestamp(i64));

impl FieldValue for Duration {
    /// Milliseconds.
    fn parse(raw: &Raw<'_>) -> Result<Duration, BadValue> {
        u64::parse(raw).map(Duration::from_millis)
    }
    fn write(&self, out: &mut ValueOut<'_>) {
        out.integer(i64::try_from(self.as_millis()).unwrap_or(i64::MAX));
    }
}

macro_rules! named {
    ($($type:ident),*) => {$(
        impl FieldValue for $type {
            /// A name is taken as it stands, but there must be one.
            fn parse(raw: &Raw<'_>) -> Result<$type, BadValue> {
                if raw.is_empty() {
                    return Err(BadValue::Not("a name"));
                }
                Ok($type::stored(raw.to_byte_str()))
            }
            #[inline(always)]
            fn take(fields: &InOrder<'_>, at: usize) -> Option<($type, usize)> {
                let (name, end) = fields.text(at)?;
                if name.is_empty() { None } else { Some(($type::stored(name), end)) }
            }
            fn write(&self, out: &mut ValueOut<'_>) {
                out.text(self.as_str());
            }
        }
    )*};
}

named!(TopicName, Group, BrokerName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_64_bits_end() {
        for (text, number) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("+7", Some(7)),
            ("007", Some(7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("18446744073709551617", None),
            ("99999999999999999999999", None),
            ("", None),
            ("-", None),
            ("--1", None),
            ("1 ", None),
            ("1.0", None),
            ("0x1", None),
            ("1:", None),
        ] {
            assert_eq!(integer(text.as_bytes()), number, "{text:?}");
        }
    }
}
