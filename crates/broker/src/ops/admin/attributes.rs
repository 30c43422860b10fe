// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Attributes of topics: changes as operators write them (`+name=value,-name`) and what may be changed.
//! In: what is, and what is to change. Out: what is then, or why not. Called when topics and groups are set.

use std::collections::{BTreeMap, BTreeSet};

use protocol::kind::{self, Kind};

use crate::topics::TTL_ATTRIBUTE;

/// Attributes by name.
pub(crate) type Attributes = BTreeMap<String, String>;

/// Why attributes stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributesRefused {
    /// Neither `+name=value` nor `-name`.
    #[error("wrong format of the attribute change {0:?}: write +name=value or -name")]
    Format(String),
    /// One name stands there twice.
    #[error("alter duplication key. key: {0}")]
    Twice(String),
    /// There is no such attribute.
    #[error("unsupported key: {0}")]
    Unknown(String),
    /// Nothing of a new topic can be removed.
    #[error("only add attribute is supported while creating topic. key: {0}")]
    New(String),
    /// Nothing is there to remove.
    #[error("attempt to delete a nonexistent key: {0}")]
    NotThere(String),
    /// Only a new topic gets this one.
    #[error("attempt to update an unchangeable attribute. key: {0}")]
    Fixed(String),
    /// The attribute cannot have that value.
    #[error("value {value:?} is not in the range of {key}: {allowed}")]
    Value {
        /// The attribute.
        key: String,
        /// The value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// Keys are kept one by one, batches whole.
    #[error(
        "a topic with cleanup.policy=COMPACTION cannot have queue.type=BatchCQ: the latest message of a key may stand inside of a batch"
    )]
    KeepsBatches,
}

struct Known {
    name: &'static str,
    /// False: only a new topic gets it.
    changeable: bool,
    values: Values,
}

enum Values {
    OneOf(&'static [&'static str], &'static str),
    /// A kind of message.
    Kind,
    /// A whole number from here to there.
    Between(i64, i64, &'static str),
}

const KNOWN: [Known; 6] = [
    Known {
        name: "queue.type",
        changeable: false,
        values: Values::OneOf(&["BatchCQ", "SimpleCQ"], "BatchCQ, SimpleCQ"),
    },
    Known {
        name: "cleanup.policy",
        changeable: false,
        values: Values::OneOf(&["DELETE", "COMPACTION"], "DELETE, COMPACTION"),
    },
    Known { name: kind::ATTRIBUTE, changeable: true, values: Values::Kind },
    Known {
        name: "reserve.time",
        changeable: true,
        values: Values::Between(-1, i64::MAX, "a whole number from -1"),
    },
    Known {
        name: TTL_ATTRIBUTE,
        changeable: true,
        values: Values::Between(1, 315_360_000_000, "milliseconds from 1 to 315360000000"),
    },
    Known {
        name: "lite.topic.expiration",
        changeable: true,
        values: Values::Between(-1, 43_200, "a whole number from -1 to 43200"),
    },
];

/// What `message.type` may be.
const KINDS: &str = "UNSPECIFIED, NORMAL, FIFO, DELAY, TRANSACTION, PRIORITY, LITE, MIXED";

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Set(String),
    Remove,
}

/// Changes of attributes, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes(BTreeMap<String, Change>);

impl Changes {
    /// Reads `+name=value,-name`.
    pub(crate) fn read(text: &str) -> Result<Changes, AttributesRefused> {
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        let pairs = parts.map(|part| match part.split_once('=') {
            Some((name, value)) => (name, value),
            None => (part, ""),
        });
        Changes::collect(pairs)
    }

    /// Reads a table whose names have a sign.
    pub(crate) fn of_table(table: &Attributes) -> Result<Changes, AttributesRefused> {
        Changes::collect(table.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    fn collect<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Changes, AttributesRefused> {
        let mut changes = Changes::default();
        for (signed, value) in pairs {
            let wrong = || AttributesRefused::Format(signed.to_owned());
            let (name, change) = match signed.split_at_checked(1) {
                Some(("+", name)) => (name, Change::Set(value.to_owned())),
                Some(("-", name)) if value.is_empty() => (name, Change::Remove),
                _ => return Err(wrong()),
            };
            if name.is_empty() || name.contains(['+', '-']) {
                return Err(wrong());
            }
            if changes.0.insert(name.to_owned(), change).is_some() {
                return Err(AttributesRefused::Twice(name.to_owned()));
            }
        }
        Ok(changes)
    }

    /// The value that an attribute is to get.
    pub(crate) fn wanted(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Change::Set(value) => Some(value),
            Change::Remove => None,
        }
    }

    /// The names that are to change.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// Makes the changes to what is there; `None` is a new topic.
    pub(crate) fn apply(&self, current: Option<&Attributes>) -> Result<Attributes, AttributesRefused> {
        let mut next = current.cloned().unwrap_or_default();
        for (name, change) in &self.0 {
            if current.is_none() && *change == Change::Remove {
                return Err(AttributesRefused::New(name.clone()));
            }
            let known = KNOWN.iter().find(|known| known.name == name);
            let known = known.ok_or_else(|| AttributesRefused::Unknown(name.clone()))?;
            let is_same = matches!(change, Change::Set(value) if next.get(name) == Some(value));
            if current.is_some() && !known.changeable && !is_same {
                return Err(AttributesRefused::Fixed(name.clone()));
            }
            match change {
                Change::Set(value) => {
                    known.check(value)?;
                    next.insert(name.clone(), value.clone());
                }
                Change::Remove if next.remove(name).is_none() => {
                    return Err(AttributesRefused::NotThere(name.clone()));
                }
                Change::Remove => {}
            }
        }
        let is = |name: &str, value: &str| next.get(name).is_some_and(|is| is == value);
        if is("cleanup.policy", "COMPACTION") && is("queue.type", "BatchCQ") {
            return Err(AttributesRefused::KeepsBatches);
        }
        Ok(next)
    }
}

impl Known {
    fn check(&self, value: &str) -> Result<(), AttributesRefused> {
        let (fine, allowed) = match self.values {
            Values::OneOf(values, allowed) => (values.contains(&value), allowed),
            Values::Kind => (Kind::of_name(value).is_some(), KINDS),
            Values::Between(least, most, allowed) => {
                (value.parse().is_ok_and(|number: i64| (least..=most).contains(&number)), allowed)
            }
        };
        if fine {
            return Ok(());
        }
        Err(AttributesRefused::Value { key: self.name.to_owned(), value: value.to_owned(), allowed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(current: Option<&[(&str, &str)]>, text: &str, expected: Expect) {
        let current = current.map(|pairs| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<Attributes>()
        });
        let outcome = Changes::read(text).and_then(|changes| changes.apply(current.as_ref()));
        let shown = match outcome {
            Ok(next) => format!("{next:?}"),
            Err(refused) => refused.to_string(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn changes_are_made_or_refused_by_name() {
        check(None, "", expect!["{}"]);
        check(
            None,
            "+message.type=FIFO,+cleanup.policy=DELETE",
            expect![[r#"{"cleanup.policy": "DELETE", "message.type": "FIFO"}"#]],
        );
        check(None, "+cleanup.policy=COMPACTION", expect![[r#"{"cleanup.policy": "COMPACTION"}"#]]);
        check(
            None,
            "+cleanup.policy=COMPACTION,+queue.type=BatchCQ",
            expect![
                "a topic with cleanup.policy=COMPACTION cannot have queue.type=BatchCQ: the latest message of a key may stand inside of a batch"
            ],
        );
        check(None, "+queue.type=SimpleCQ", expect![[r#"{"queue.type": "SimpleCQ"}"#]]);
        check(None, "+queue.type=BatchCQ", expect![[r#"{"queue.type": "BatchCQ"}"#]]);
        check(
            None,
            "+queue.type=batchcq",
            expect![[r#"value "batchcq" is not in the range of queue.type: BatchCQ, SimpleCQ"#]],
        );
        check(None, "+nope=1", expect!["unsupported key: nope"]);
        check(
            None,
            "message.type=FIFO",
            expect![[r#"wrong format of the attribute change "message.type": write +name=value or -name"#]],
        );
        check(None, "+message.type=FIFO,-message.type", expect!["alter duplication key. key: message.type"]);
        check(
            None,
            "+message.type=WRONG",
            expect![[
                r#"value "WRONG" is not in the range of message.type: UNSPECIFIED, NORMAL, FIFO, DELAY, TRANSACTION, PRIORITY, LITE, MIXED"#
            ]],
        );
        check(
            None,
            "-message.type",
            expect!["only add attribute is supported while creating topic. key: message.type"],
        );
        check(
            None,
            "+reserve.time=-2",
            expect![[r#"value "-2" is not in the range of reserve.time: a whole number from -1"#]],
        );
        check(
            None,
            "+lite.topic.expiration=43201",
            expect![[
                r#"value "43201" is not in the range of lite.topic.expiration: a whole number from -1 to 43200"#
            ]],
        );
        check(
            None,
            "+",
            expect![[r#"wrong format of the attribute change "+": write +name=value or -name"#]],
        );
    }

    #[test]
    fn every_kind_can_be_set_and_is_named_when_none_is() {
        let names = Kind::ALL.map(Kind::name);
        assert_eq!(names.join(", "), KINDS);
        for name in names {
            let set = Changes::read(&format!("+message.type={name}")).and_then(|changes| changes.apply(None));
            assert_eq!(set.expect("it is a kind").get(kind::ATTRIBUTE).map(String::as_str), Some(name));
        }
    }

    #[test]
    fn some_are_for_new_topics_only() {
        let there: &[(&str, &str)] = &[("cleanup.policy", "DELETE"), ("message.type", "FIFO")];
        check(Some(there), "-message.type", expect![[r#"{"cleanup.policy": "DELETE"}"#]]);
        check(
            Some(there),
            "+message.type=DELAY",
            expect![[r#"{"cleanup.policy": "DELETE", "message.type": "DELAY"}"#]],
        );
        check(
            Some(there),
            "+cleanup.policy=COMPACTION",
            expect!["attempt to update an unchangeable attribute. key: cleanup.policy"],
        );
        check(
            Some(there),
            "+cleanup.policy=DELETE",
            expect![[r#"{"cleanup.policy": "DELETE", "message.type": "FIFO"}"#]],
        );
        check(
            Some(&[("cleanup.policy", "COMPACTION")]),
            "+cleanup.policy=COMPACTION",
            expect![[r#"{"cleanup.policy": "COMPACTION"}"#]],
        );
        check(Some(there), "-reserve.time", expect!["attempt to delete a nonexistent key: reserve.time"]);
    }
}
