// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a consumer wants of a topic, compiled once. Broker and client make filters, the store asks them.
//! Asked twice: by the consume-queue entry, which costs nothing and may err on the side of "yes", then by the record,
//! which is exact. Invariant: a record that passes also passes by its entry.
#![deny(clippy::indexing_slicing)]

pub mod sql;
mod tag;

use std::sync::Arc;

use crate::properties;
use crate::record::Record;
use sql::{Sql, SqlError};
pub use tag::Tags;

/// The kind of expression that lists tags.
pub const TAG: &str = "TAG";
/// The kind of expression that asks for properties.
pub const SQL92: &str = "SQL92";

/// True for the kind of expressions that list tags; no kind means tags.
pub fn is_tag_kind(kind: &str) -> bool {
    kind.is_empty() || kind == TAG
}

/// A compiled subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// Everything.
    #[default]
    All,
    /// Messages with one of these tags.
    Tags(Tags),
    /// Messages whose properties make a condition true.
    Sql(Box<Sql>),
    /// Messages that one of these takes.
    Any(Vec<Arc<Filter>>),
}

/// Why an expression cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// There is no compiler for this kind of expression.
    #[error("expressions of type {kind:?} are not supported")]
    Unsupported { kind: String },
    /// Only separators.
    #[error("no tag stands in the expression {expression:?}")]
    NoTag { expression: String },
    /// The SQL92 expression is none.
    #[error("the SQL92 expression cannot be used: {0}")]
    Sql(#[from] SqlError),
}

impl Filter {
    /// Compiles an expression. No type means tags; no expression means everything.
    pub fn parse(kind: &str, expression: &str) -> Result<Filter, FilterError> {
        if kind == SQL92 {
            return Ok(Filter::Sql(Box::new(Sql::parse(expression)?)));
        }
        if !is_tag_kind(kind) {
            return Err(FilterError::Unsupported { kind: kind.to_owned() });
        }
        match expression {
            "" | "*" => Ok(Filter::All),
            _ => Tags::parse(expression).map(Filter::Tags),
        }
    }

    /// Tells from the hash in a consume-queue entry whether the message may be wanted.
    pub fn by_entry(&self, tag_hash: i64) -> bool {
        match self {
            Filter::All | Filter::Sql(_) => true,
            Filter::Tags(tags) => tags.has_hash(tag_hash),
            Filter::Any(filters) => filters.iter().any(|filter| filter.by_entry(tag_hash)),
        }
    }

    /// True when an entry says little: most that pass by it may still fail by their record.
    pub fn needs_records(&self) -> bool {
        match self {
            Filter::All | Filter::Tags(_) => false,
            Filter::Sql(_) => true,
            Filter::Any(filters) => filters.iter().any(|filter| filter.needs_records()),
        }
    }

    /// Tells whether the message is wanted. Two tags with one hash are told apart here.
    pub fn by_record(&self, record: &Record<'_>) -> bool {
        self.is_all() || self.by_properties(record.properties_text())
    }

    /// Tells the same from the text form of the message's properties, which is all that filters look at.
    pub fn by_properties(&self, properties: &str) -> bool {
        match self {
            Filter::All => true,
            Filter::Tags(tags) => {
                properties::get(properties, properties::TAGS).is_some_and(|tag| tags.has(tag))
            }
            Filter::Sql(sql) => sql.matches(properties),
            Filter::Any(filters) => filters.iter().any(|filter| filter.by_properties(properties)),
        }
    }

    fn is_all(&self) -> bool {
        matches!(self, Filter::All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{LogOffset, QueueId, TopicName};
    use crate::record::{self, Message, tag_hash};
    use proptest::prelude::*;
    use stdx::Timestamp;

    fn with_record<T>(tag: Option<&str>, look: impl FnOnce(&Record<'_>) -> T) -> T {
        let topic = TopicName::stored("t");
        let properties = tag.map(|tag| format!("K\x01v\x02TAGS\x01{tag}\x02")).unwrap_or_default();
        let message = Message {
            topic: &topic,
            queue: QueueId(0),
            flag: 0,
            sys_flag: 0,
            born_at: Timestamp(0),
            born_host: ([127, 0, 0, 1], 1).into(),
            store_host: ([127, 0, 0, 1], 2).into(),
            reconsume: 0,
            prepared: LogOffset(0),
            body: b"",
            properties: properties.as_bytes(),
        };
        let mut bytes = Vec::new();
        record::encode(&message, &mut bytes).unwrap();
        look(&Record::parse(&bytes).unwrap())
    }

    /// What passes by entry, and what passes by record.
    fn ask(expression: &str, tag: Option<&str>) -> (bool, bool) {
        let filter = Filter::parse("TAG", expression).unwrap();
        with_record(tag, |record| (filter.by_entry(record.tag_hash()), filter.by_record(record)))
    }

    #[test]
    fn expressions_choose() {
        let cases = [
            ("*", None, (true, true)),
            ("", Some("a"), (true, true)),
            ("a", Some("a"), (true, true)),
            ("a || b", Some("b"), (true, true)),
            ("a||b", Some("c"), (false, false)),
            ("  a  ||  ", Some("a"), (true, true)),
            (" a||b ", Some(" b"), (false, false)),
            ("a|b", Some("a|b"), (true, true)),
            ("a", None, (false, false)),
            (" || ", Some("a"), (false, false)),
            (" || ", None, (false, false)),
            ("标签", Some("标签"), (true, true)),
            ("*||a", Some("b"), (false, false)),
        ];
        for (expression, tag, expected) in cases {
            assert_eq!(ask(expression, tag), expected, "{expression:?} {tag:?}");
        }
    }

    #[test]
    fn a_collision_passes_the_entry_but_not_the_record() {
        assert_eq!(tag_hash("Aa"), tag_hash("BB"));
        assert_eq!(ask("Aa", Some("BB")), (true, false));
        assert_eq!(ask("Aa || BB", Some("BB")), (true, true));
    }

    #[test]
    fn sql_asks_the_record() {
        let filter = Filter::parse("SQL92", "TAGS = 'x' AND K IS NOT NULL").unwrap();
        let ask =
            |tag| with_record(tag, |record| (filter.by_entry(record.tag_hash()), filter.by_record(record)));
        assert_eq!((ask(Some("x")), ask(Some("y")), ask(None)), ((true, true), (true, false), (true, false)));
    }

    #[test]
    fn other_types_are_refused_by_name() {
        assert_eq!(
            Filter::parse("LUA", "a > 1").unwrap_err().to_string(),
            r#"expressions of type "LUA" are not supported"#
        );
        assert_eq!(
            Filter::parse("SQL92", "a > ").unwrap_err().to_string(),
            "the SQL92 expression cannot be used: at character 5: a property, a number, a text or a condition should \
             stand here instead of the end"
        );
        assert_eq!(Filter::parse("", "*"), Ok(Filter::All));
        assert!(matches!(Filter::parse("TAG", "||"), Err(FilterError::NoTag { .. })));
    }

    proptest! {
        #[test]
        fn an_expression_takes_exactly_its_tags(
            tags in proptest::collection::vec("[a-zA-Z0-9é_|-]{1,6}", 1..20),
            tag in "[a-zA-Z0-9é_|-]{1,6}",
        ) {
            let tags: Vec<_> = tags.into_iter().filter(|tag| !tag.contains("||") && !tag.starts_with('|') && !tag.ends_with('|')).collect();
            prop_assume!(!tags.is_empty());
            let expression = tags.join(" || ");
            for tag in tags.iter().chain([&tag]) {
                let (entry, record) = ask(&expression, Some(tag));
                prop_assert_eq!(record, tags.contains(tag));
                prop_assert!(entry || !record);
            }
        }
    }
}
