// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a consumer wants of a topic: the form people write, the compiled form, the form brokers are told.

use protocol::body::SubscriptionData;
use protocol::filter::{Filter, FilterError, SQL92, TAG};
use protocol::names::{ByteStr, TopicName};
use protocol::record;

/// A topic and what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    topic: TopicName,
    kind: &'static str,
    expression: String,
}

impl Subscription {
    /// Wants every message.
    pub fn all(topic: TopicName) -> Subscription {
        Subscription::tags(topic, "*")
    }

    /// Wants messages with one of these tags, as `a || b`; `*` is every message.
    pub fn tags(topic: TopicName, expression: &str) -> Subscription {
        Subscription { topic, kind: TAG, expression: expression.trim().to_owned() }
    }

    /// Wants messages whose properties satisfy an SQL92 expression, such as `price > 10 AND kind IN ('book', 'map')`.
    /// The broker evaluates it; what is no expression is refused before anything starts.
    pub fn sql(topic: TopicName, expression: &str) -> Subscription {
        Subscription { topic, kind: SQL92, expression: expression.trim().to_owned() }
    }

    /// The topic.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }
}

/// A subscription in use.
#[derive(Clone, Debug)]
pub(crate) struct Interest {
    pub(crate) kind: ByteStr,
    pub(crate) expression: ByteStr,
    pub(crate) version: i64,
    pub(crate) filter: Filter,
}

impl Interest {
    /// Compiles a subscription; `version` grows with every change of what a group wants.
    pub(crate) fn new(subscription: &Subscription, version: i64) -> Result<Interest, FilterError> {
        let expression = if subscription.expression.is_empty() { "*" } else { &subscription.expression };
        let filter = match Filter::parse(subscription.kind, expression)? {
            // The broker's to evaluate; what it sends has passed.
            Filter::Sql(_) => Filter::All,
            filter => filter,
        };
        Ok(Interest {
            kind: ByteStr::from_static(subscription.kind),
            expression: ByteStr::from(expression),
            version,
            filter,
        })
    }

    /// Wants every message, whatever the topic.
    pub(crate) fn all() -> Interest {
        let (kind, expression) = (ByteStr::from_static(TAG), ByteStr::from_static("*"));
        Interest { kind, expression, version: 0, filter: Filter::All }
    }

    /// The form that heartbeats carry.
    pub(crate) fn data(&self, topic: &TopicName) -> SubscriptionData {
        let expression = self.expression.as_str();
        let is_tags = self.kind.as_str() == TAG && expression != "*";
        let tags = expression.split("||").map(str::trim).filter(|tag| is_tags && !tag.is_empty());
        SubscriptionData {
            topic: topic.clone(),
            sub_string: expression.to_owned(),
            tags_set: tags.clone().map(str::to_owned).collect(),
            code_set: tags.map(record::string_hash).collect(),
            sub_version: self.version,
            expression_type: self.kind.to_string(),
            class_filter_mode: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(subscription: &Subscription, expected: Expect) {
        let data = Interest::new(subscription, 7).unwrap().data(subscription.topic());
        expected.assert_eq(&format!(
            "{} {:?} {:?} {:?}",
            data.expression_type, data.sub_string, data.tags_set, data.code_set
        ));
    }

    #[test]
    fn a_broken_expression_is_refused_here() {
        let refused =
            |expression| Interest::new(&Subscription::sql(TopicName::stored("t"), expression), 7).is_err();
        assert!(refused("x >") && refused("") && refused("x LIKE 'y'") && !refused("x > 3"));
    }

    #[test]
    fn brokers_are_told_tags_and_their_hashes() {
        let topic = || TopicName::stored("t");
        check(&Subscription::all(topic()), expect![[r#"TAG "*" {} {}"#]]);
        check(&Subscription::tags(topic(), ""), expect![[r#"TAG "*" {} {}"#]]);
        check(&Subscription::tags(topic(), "a|| b "), expect![[r#"TAG "a|| b" {"a", "b"} {97, 98}"#]]);
        check(&Subscription::sql(topic(), "x > 3"), expect![[r#"SQL92 "x > 3" {} {}"#]]);
    }
}
