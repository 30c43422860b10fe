// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. SQL92 expressions over the properties of a message, as Apache RocketMQ understands them. Called by `filter`.
//! An expression is read once; a message is then judged by one walk over its properties, without allocating and without
//! a look at its body.
//! Invariants: what is nested is not deeper than [`MAX_DEPTH`], so that judging, comparing and dropping an expression take
//! little stack; an expression that was read never panics, whatever the properties are.

mod condition;
mod lexer;
mod number;
mod parser;
mod slots;
mod value;

use self::condition::Condition;
use self::slots::Names;

/// The longest expression that is read, in bytes.
pub const MAX_TEXT: usize = 64 << 10;
/// How deep an expression may be nested.
pub const MAX_DEPTH: usize = 100;
/// With this many different properties in an expression or fewer, judging needs no memory of its own.
const SLOTS: usize = 16;

/// A compiled expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Sql {
    names: Names,
    condition: Condition,
}

/// No number in an expression is "not a number", so an expression equals itself.
impl Eq for Sql {}

/// What an expression says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The message is wanted.
    True,
    /// It is not wanted.
    False,
    /// A property is missing; the message is not wanted, and neither is it by the opposite of the expression.
    Unknown,
    /// Two things met that cannot be compared; the message is not wanted, whatever stands around it.
    Failed,
}

/// Why an expression cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {what}")]
pub struct SqlError {
    /// Where, counted in characters from 1.
    pub at: usize,
    /// What is wrong there.
    pub what: String,
}

impl Sql {
    /// Compiles an expression.
    pub fn parse(text: &str) -> Result<Sql, SqlError> {
        if text.len() > MAX_TEXT {
            let what = format!("an expression has at most {MAX_TEXT} bytes, this one has {}", text.len());
            return Err(SqlError { at: 1, what });
        }
        let mut names = Names::default();
        let condition = parser::parse(text, &mut names)?;
        Ok(Sql { names, condition })
    }

    /// Judges a message by the text form of its properties.
    pub fn judge(&self, properties: &str) -> Verdict {
        let verdict = if self.names.len() <= SLOTS {
            self.judge_in(&mut [None; SLOTS], properties)
        } else {
            self.judge_in(&mut vec![None; self.names.len()], properties)
        };
        match verdict {
            Ok(Some(true)) => Verdict::True,
            Ok(Some(false)) => Verdict::False,
            Ok(None) => Verdict::Unknown,
            Err(condition::Failed) => Verdict::Failed,
        }
    }

    fn judge_in<'a>(&'a self, slots: &mut [Option<&'a str>], properties: &'a str) -> condition::Judged {
        self.names.fill(properties, slots);
        self.condition.judge(slots)
    }

    /// Tells whether a message is wanted.
    pub fn matches(&self, properties: &str) -> bool {
        self.judge(properties) == Verdict::True
    }
}

#[cfg(test)]
mod tests;
