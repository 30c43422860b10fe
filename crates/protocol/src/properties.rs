// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The properties of a message in the text form that travels and is stored:
//! name, byte 1, value, byte 2, repeated; the last byte 2 may be missing.
//! Broker, store and client read it in place; nobody builds a map of it on the way of a message.
//! Invariant: an empty name or value is no property, a value may hold byte 1, of equal names the last counts.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod names;

use crate::fields::{BadValue, FieldValue, InOrder, Raw, ValueOut};
use crate::names::ByteStr;
pub use names::*;

/// Stands between a name and its value.
pub const NAME_END: char = '\u{1}';
/// Stands after a value.
pub const VALUE_END: char = '\u{2}';

/// Every property in `text`, in order.
pub fn iter(text: &str) -> Iter<'_> {
    Iter { rest: text }
}

/// Walks over properties, at each step to the next separator.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        while !self.rest.is_empty() {
            let (pair, rest) = cut(self.rest, VALUE_END).unwrap_or((self.rest, ""));
            self.rest = rest;
            if let Some((name, value)) = cut(pair, NAME_END)
                && !name.is_empty()
                && !value.is_empty()
            {
                return Some((name, value));
            }
        }
        None
    }
}

/// What stands before and behind the first `separator`, which is one byte.
fn cut(text: &str, separator: char) -> Option<(&str, &str)> {
    let (before, from) = text.split_at_checked(memchr::memchr(separator as u8, text.as_bytes())?)?;
    Some((before, from.get(1..)?))
}

/// The value of the property called `name` in `text`.
pub fn get<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    iter(text).filter(|(found, _)| *found == name).last().map(|(_, value)| value)
}

/// True when a property can be written as it is: neither part is empty or holds a separator it must not.
pub fn fits(name: &str, value: &str) -> bool {
    !name.is_empty()
        && !value.is_empty()
        && !name.contains([NAME_END, VALUE_END])
        && !value.contains(VALUE_END)
}

/// A view over the text form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(ByteStr);

impl Properties {
    /// Takes the text form.
    pub fn new(text: impl Into<ByteStr>) -> Properties {
        Properties(text.into())
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text form, sharing its buffer.
    pub fn text(&self) -> &ByteStr {
        &self.0
    }

    /// The text form, taken out.
    pub fn into_text(self) -> ByteStr {
        self.0
    }

    /// True when there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every property, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        iter(&self.0)
    }

    /// The value of the property called `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        get(&self.0, name)
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Properties {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Properties {
        let mut out = PropertiesOut::default();
        pairs.into_iter().for_each(|(name, value)| out.push(name, value));
        out.finish()
    }
}

impl FieldValue for Properties {
    fn parse(raw: &Raw<'_>) -> Result<Properties, BadValue> {
        Ok(Properties(raw.to_byte_str()))
    }
    #[inline(always)]
    fn take(fields: &InOrder<'_>, at: usize) -> Option<(Properties, usize)> {
        let (text, end) = fields.brief_text(at)?;
        Some((Properties(text), end))
    }
    fn write(&self, out: &mut ValueOut<'_>) {
        out.text(&self.0);
    }
}

/// Writes the text form.
#[derive(Clone, Debug, Default)]
pub struct PropertiesOut(String);

impl PropertiesOut {
    /// Starts from properties that are there.
    pub fn from_text(text: &str) -> PropertiesOut {
        let mut out = PropertiesOut(String::with_capacity(text.len().saturating_add(128)));
        out.0.push_str(text);
        if !text.is_empty() && !text.ends_with(VALUE_END) {
            out.0.push(VALUE_END);
        }
        out
    }

    /// Adds a property. An empty name or value adds nothing. A separator inside becomes a space, so that
    /// one property never turns into two; whoever takes properties from people asks [`fits`] first.
    pub fn push(&mut self, name: &str, value: &str) {
        if name.is_empty() || value.is_empty() {
            return;
        }
        self.0.reserve(name.len().saturating_add(value.len()).saturating_add(2));
        self.0.extend(name.chars().map(|c| if c == NAME_END || c == VALUE_END { ' ' } else { c }));
        self.0.push(NAME_END);
        if value.contains(VALUE_END) {
            self.0.extend(value.chars().map(|c| if c == VALUE_END { ' ' } else { c }));
        } else {
            self.0.push_str(value);
        }
        self.0.push(VALUE_END);
    }

    /// Takes every property called `name` away.
    pub fn remove(&mut self, name: &str) {
        if get(&self.0, name).is_none() {
            return;
        }
        let kept = std::mem::take(&mut self.0);
        for (found, value) in iter(&kept).filter(|(found, _)| *found != name) {
            self.push(found, value);
        }
    }

    /// Makes `value` the only value of `name`.
    pub fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.push(name, value);
    }

    /// The value of the property called `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        get(&self.0, name)
    }

    /// The text so far.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The finished properties.
    pub fn finish(self) -> Properties {
        Properties(self.0.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(&str, &str)> {
        iter(text).collect()
    }

    #[test]
    fn odd_texts_are_read_as_apache_reads_them() {
        assert_eq!(pairs("A\u{1}1\u{2}B\u{1}2\u{2}"), [("A", "1"), ("B", "2")]);
        assert_eq!(pairs("A\u{1}1\u{2}B\u{1}2"), [("A", "1"), ("B", "2")]);
        assert_eq!(pairs("A\u{1}x\u{1}y\u{2}"), [("A", "x\u{1}y")]);
        assert_eq!(pairs("\u{1}x\u{2}A\u{1}\u{2}loose\u{2}\u{2}"), []);
        assert_eq!(get("A\u{1}1\u{2}A\u{1}2\u{2}", "A"), Some("2"));
        assert_eq!(get("A\u{1}1\u{2}", "B"), None);
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn a_separator_is_found_wherever_it_stands() {
        for length in 1..20 {
            for first in ["\u{0}", "\u{1}", "\u{3}", "\u{82}"] {
                let (name, value) = ("n".repeat(length), format!("{first}{}", "v".repeat(length)));
                let text = format!("{name}\u{1}{value}\u{2}B\u{1}\u{3}");
                assert_eq!(pairs(&text), [(&*name, &*value), ("B", "\u{3}")]);
            }
        }
    }

    #[test]
    fn writing_keeps_what_was_there() {
        let mut out = PropertiesOut::from_text("KEYS\u{1}k1\u{2}TAGS\u{1}t");
        out.push(CLUSTER, "main");
        out.set("KEYS", "k2");
        out.remove("nothing");
        out.push("", "x");
        out.push("x", "");
        assert_eq!(out.as_str(), "TAGS\u{1}t\u{2}CLUSTER\u{1}main\u{2}KEYS\u{1}k2\u{2}");
    }

    #[test]
    fn one_property_never_becomes_two() {
        let mut out = PropertiesOut::default();
        out.push("a\u{1}b\u{2}c", "x\u{1}y\u{2}z");
        assert_eq!(pairs(out.as_str()), [("a b c", "x\u{1}y z")]);
        assert!(!fits("a\u{1}", "x") && !fits("a", "x\u{2}") && !fits("", "x") && !fits("a", ""));
        assert!(fits("a", "x\u{1}"));
    }
}
