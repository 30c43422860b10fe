// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Values that meet in an expression, and how they compare. Called by `condition`.
//! A property is always a text; against a number it is read as a number of just that kind, and one that cannot be read
//! so fails the whole expression. Numbers of two kinds meet in the wider one.

use std::cmp::Ordering;

use super::condition::Failed;
use super::number;

/// A value while a message is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(&'a str),
}

impl<'a> Value<'a> {
    /// Turns the sign around; nothing but a number has one.
    pub(super) fn negated(self) -> Value<'a> {
        match self {
            Value::Int(number) => Value::Int(number.wrapping_neg()),
            Value::Long(number) => Value::Long(number.wrapping_neg()),
            Value::Double(number) => Value::Double(-number),
            Value::Null | Value::Bool(_) | Value::Text(_) => Value::Null,
        }
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Value::Int(_) | Value::Long(_) | Value::Double(_))
    }
}

/// Compares two values for `=`; neither is null. Two texts have to be the same.
///
/// COMPAT: a boolean on the left and a text on the right fail, the other way round the text is read as a boolean. Kinds
/// that have nothing in common count as "less", so that they are not equal.
pub(super) fn compare(left: Value<'_>, right: Value<'_>) -> Result<Ordering, Failed> {
    use Value::{Bool, Double, Int, Long, Text};
    Ok(match (left, right) {
        (Bool(left), Bool(right)) => left.cmp(&right),
        (Bool(_), Text(_)) => return Err(Failed),
        (Text(left), Bool(right)) => number::boolean(left).cmp(&right),
        (Int(left), Int(right)) => left.cmp(&right),
        (Int(left), Long(right)) => i64::from(left).cmp(&right),
        (Int(left), Double(right)) => doubles(f64::from(left), right),
        (Int(left), Text(right)) => left.cmp(&number::int(right).ok_or(Failed)?),
        (Long(left), Int(right)) => left.cmp(&i64::from(right)),
        (Long(left), Long(right)) => left.cmp(&right),
        (Long(left), Double(right)) => doubles(left as f64, right),
        (Long(left), Text(right)) => left.cmp(&number::long(right).ok_or(Failed)?),
        (Double(left), Int(right)) => doubles(left, f64::from(right)),
        (Double(left), Long(right)) => doubles(left, right as f64),
        (Double(left), Double(right)) => doubles(left, right),
        (Double(left), Text(right)) => doubles(left, number::double(right).ok_or(Failed)?),
        (Text(left), Int(right)) => number::int(left).ok_or(Failed)?.cmp(&right),
        (Text(left), Long(right)) => number::long(left).ok_or(Failed)?.cmp(&right),
        (Text(left), Double(right)) => doubles(number::double(left).ok_or(Failed)?, right),
        (Text(left), Text(right)) => left.cmp(right),
        (Value::Null, _) | (_, Value::Null) | (Bool(_), _) | (_, Bool(_)) => Ordering::Less,
    })
}

/// Compares two values for `<` and its like; neither is null. Two texts are both read as doubles.
pub(super) fn order(left: Value<'_>, right: Value<'_>) -> Result<Ordering, Failed> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => {
            let left = number::double(left).ok_or(Failed)?;
            Ok(doubles(left, number::double(right).ok_or(Failed)?))
        }
        _ => compare(left, right),
    }
}

/// As `Double.compareTo`: what is no number is the largest and equals itself, and zero is more than its negative.
fn doubles(left: f64, right: f64) -> Ordering {
    let regular = |number: f64| if number.is_nan() { f64::NAN.copysign(1.0) } else { number };
    regular(left).total_cmp(&regular(right))
}
