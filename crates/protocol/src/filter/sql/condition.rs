// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The compiled expression and how it judges a message. Built by `parser`.
//! Three values: a comparison with a missing property is neither true nor false. A failure is a fourth that nothing
//! around it can mend; but what is decided already is not looked at any more, from the left to the right.

use std::cmp::Ordering;

use super::slots::{Slot, Slots};
use super::value::{self, Value};

/// Two values met that cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed;

/// True, false or, as `None`, unknown.
pub(super) type Judged = Result<Option<bool>, Failed>;

/// Something that has a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Literal(Literal),
    Property(Slot),
    Negated(Box<Expr>),
    Condition(Box<Condition>),
}

/// A value that stands in the expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(Box<str>),
}

/// Something that is true, false or unknown.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    Constant(Option<bool>),
    /// A property as a condition. COMPAT: it is a text, so it is never true.
    Cast(Slot),
    Not(Box<Condition>),
    And(Box<[Condition]>),
    Or(Box<[Condition]>),
    Equal(Box<[Expr; 2]>),
    IsNull(Expr),
    Order(Relation, Box<[Expr; 2]>),
    /// The value, the lowest and the highest.
    Between(Box<[Expr; 3]>),
    NotBetween(Box<[Expr; 3]>),
    In(Choice),
    Affix(Box<Affix>),
}

/// How two numbers stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// One of some texts, or none of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) of: Slot,
    /// Sorted.
    pub(super) texts: Box<[Box<str>]>,
    pub(super) is_in: bool,
}

/// A text that has, or has not, another one in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Affix {
    pub(super) of: Expr,
    pub(super) part: Box<str>,
    pub(super) place: Place,
    pub(super) has: bool,
}

/// Where one text is looked for in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Anywhere,
    Start,
    End,
}

impl Literal {
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Literal::Null => Value::Null,
            Literal::Bool(value) => Value::Bool(*value),
            Literal::Int(value) => Value::Int(*value),
            Literal::Long(value) => Value::Long(*value),
            Literal::Double(value) => Value::Double(*value),
            Literal::Text(value) => Value::Text(value),
        }
    }
}

impl Expr {
    fn value<'a>(&'a self, slots: &Slots<'a>) -> Result<Value<'a>, Failed> {
        Ok(match self {
            Expr::Literal(literal) => literal.value(),
            Expr::Property(slot) => slot.of(slots).map_or(Value::Null, Value::Text),
            Expr::Negated(inner) => inner.value(slots)?.negated(),
            Expr::Condition(condition) => condition.judge(slots)?.map_or(Value::Null, Value::Bool),
        })
    }
}

impl Condition {
    pub(super) fn judge<'a>(&'a self, slots: &Slots<'a>) -> Judged {
        Ok(match self {
            Condition::Constant(value) => *value,
            Condition::Cast(slot) => slot.of(slots).map(|_| false),
            Condition::Not(inner) => inner.judge(slots)?.map(|value| !value),
            Condition::And(conditions) => {
                return until(conditions.iter().map(|condition| condition.judge(slots)), false);
            }
            Condition::Or(conditions) => {
                return until(conditions.iter().map(|condition| condition.judge(slots)), true);
            }
            Condition::Equal(sides) => return equal(sides, slots),
            Condition::IsNull(expr) => Some(expr.value(slots)? == Value::Null),
            Condition::Order(relation, sides) => {
                let [left, right] = &**sides;
                return relation.holds(left.value(slots)?, right, slots);
            }
            Condition::Between(parts) => return between(parts, slots),
            Condition::NotBetween(parts) => return not_between(parts, slots),
            Condition::In(choice) => choice.of.of(slots).map(|text| choice.has(text) == choice.is_in),
            Condition::Affix(affix) => Some(affix.holds(affix.of.value(slots)?)),
        })
    }
}

/// Judges one after the other until one is `decisive`. Unknown counts only if none is.
fn until(judged: impl Iterator<Item = Judged>, decisive: bool) -> Judged {
    let mut all = Some(!decisive);
    for one in judged {
        match one? {
            Some(value) if value == decisive => return Ok(Some(decisive)),
            Some(_) => {}
            None => all = None,
        }
    }
    Ok(all)
}

/// COMPAT: two missing values are equal, and one that is there never equals one that is missing on the right; only
/// a missing one on the left leaves it open.
fn equal<'a>(sides: &'a [Expr; 2], slots: &Slots<'a>) -> Judged {
    let [left, right] = sides;
    let (left, right) = (left.value(slots)?, right.value(slots)?);
    Ok(match (left, right) {
        (Value::Null, Value::Null) => Some(true),
        (Value::Null, _) => None,
        (_, Value::Null) => Some(false),
        (Value::Text(left), Value::Text(right)) => Some(left == right),
        _ => Some(value::compare(left, right)?.is_eq()),
    })
}

fn between<'a>(parts: &'a [Expr; 3], slots: &Slots<'a>) -> Judged {
    let [inner, low, high] = parts;
    let value = inner.value(slots)?;
    let bounds = [(Relation::GreaterEqual, low), (Relation::LessEqual, high)];
    until(bounds.into_iter().map(|(relation, bound)| relation.holds(value, bound, slots)), false)
}

fn not_between<'a>(parts: &'a [Expr; 3], slots: &Slots<'a>) -> Judged {
    let [inner, low, high] = parts;
    let value = inner.value(slots)?;
    let bounds = [(Relation::Less, low), (Relation::Greater, high)];
    until(bounds.into_iter().map(|(relation, bound)| relation.holds(value, bound, slots)), true)
}

impl Relation {
    /// The right side is not looked at when there is nothing on the left.
    fn holds<'a>(self, left: Value<'a>, right: &'a Expr, slots: &Slots<'a>) -> Judged {
        if left == Value::Null {
            return Ok(None);
        }
        let right = right.value(slots)?;
        if right == Value::Null {
            return Ok(None);
        }
        let order = value::order(left, right)?;
        Ok(Some(match self {
            Relation::Less => order == Ordering::Less,
            Relation::LessEqual => order != Ordering::Greater,
            Relation::Greater => order == Ordering::Greater,
            Relation::GreaterEqual => order != Ordering::Less,
        }))
    }
}

impl Choice {
    fn has(&self, text: &str) -> bool {
        self.texts.binary_search_by(|one| (**one).cmp(text)).is_ok()
    }
}

impl Affix {
    /// COMPAT: never unknown. What is missing or no text has nothing in it and does not lack it either, and an empty
    /// text is neither found nor missed.
    fn holds(&self, value: Value<'_>) -> bool {
        let Value::Text(text) = value else { return false };
        let found = match self.place {
            Place::Anywhere => text.contains(&*self.part),
            Place::Start => text.starts_with(&*self.part),
            Place::End => text.ends_with(&*self.part),
        };
        !self.part.is_empty() && found == self.has
    }
}
