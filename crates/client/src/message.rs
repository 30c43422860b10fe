// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. A message on its way out, as the application builds it, and the form it is sent in.
//! Invariant: what cannot be sent is found by `Message::check` before a byte goes out; properties stay in their
//! text form all along, so nothing is converted twice.

use std::time::Duration;

use bytes::Bytes;
use protocol::caps;
use protocol::names::{NameError, TopicName};
use protocol::properties::{self, PropertiesOut};
use stdx::Timestamp;

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it goes.
    pub topic: TopicName,
    /// What it says.
    pub body: Bytes,
    /// A number for the application's own use.
    pub flag: i32,
    properties: PropertiesOut,
    fault: Option<InvalidMessage>,
}

/// Why a message cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMessage {
    /// The topic cannot exist.
    #[error(transparent)]
    Topic(#[from] NameError),
    /// Clients may not send to this topic.
    #[error("topic {0} belongs to the servers")]
    Reserved(TopicName),
    /// The body is beyond what servers take.
    #[error("the body has {size} bytes, at most {max} are allowed")]
    BodyTooLarge {
        /// Its size, before compression.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// All properties together do not fit.
    #[error("the properties take {size} bytes, at most {max} are allowed")]
    PropertiesTooLarge {
        /// Their size in text form.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The name is used by the messaging system itself.
    #[error("property {0:?} is reserved")]
    ReservedProperty(String),
    /// The name is empty or holds a separator, or the value does.
    #[error(
        "property {0:?} has an empty name or value, or holds a control character that separates properties"
    )]
    IllegalProperty(String),
    /// Messages of one batch differ where they must not.
    #[error("a batch needs one or more messages of one topic, without delay, none of it a retry topic")]
    MixedBatch,
}

impl Message {
    /// Starts a message.
    pub fn new(topic: TopicName, body: impl Into<Bytes>) -> Message {
        Message { topic, body: body.into(), flag: 0, properties: PropertiesOut::default(), fault: None }
    }

    /// Sets the tag that consumers filter by.
    #[must_use]
    pub fn tag(self, tag: &str) -> Message {
        self.set(properties::TAGS, tag)
    }

    /// Sets the keys it can be found by.
    #[must_use]
    pub fn keys<'a>(self, keys: impl IntoIterator<Item = &'a str>) -> Message {
        let keys: Vec<&str> = keys.into_iter().collect();
        self.set(properties::KEYS, &keys.join(" "))
    }

    /// Has it delivered after a delay, in one of the broker's levels: 1 is one second, 18 two hours.
    #[must_use]
    pub fn delay_level(self, level: u32) -> Message {
        self.set(properties::DELAY, &level.to_string())
    }

    /// Has it delivered after a delay.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Message {
        self.set(properties::TIMER_DELAY_MS, &delay.as_millis().to_string())
    }

    /// Has it delivered at a time.
    #[must_use]
    pub fn deliver_at(self, at: Timestamp) -> Message {
        self.set(properties::TIMER_DELIVER_MS, &at.to_string())
    }

    /// Says for how long it is worth being read, from when it can be read first; only brokers of ours heed it.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Message {
        self.set(properties::TTL_MS, &ttl.as_millis().to_string())
    }

    /// Says how urgent it is: the higher, the more. Its broker chooses its queue by it.
    #[must_use]
    pub fn priority(self, priority: u32) -> Message {
        self.set(properties::PRIORITY, &priority.min(i32::MAX as u32).to_string())
    }

    /// Names the group of messages it is in order with.
    #[must_use]
    pub fn sharding_key(self, key: &str) -> Message {
        self.set(properties::SHARDING_KEY, key)
    }

    /// Adds a property of the application.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Message {
        if properties::RESERVED.contains(&name) {
            self.fault.get_or_insert_with(|| InvalidMessage::ReservedProperty(name.to_owned()));
            return self;
        }
        self.set(name, value)
    }

    /// Reads a property back.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.properties.get(name)
    }

    /// The text form of all properties.
    pub(crate) fn properties(&self) -> &str {
        self.properties.as_str()
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Message {
        if properties::fits(name, value) {
            self.properties.set(name, value);
        } else {
            self.fault.get_or_insert_with(|| InvalidMessage::IllegalProperty(name.to_owned()));
        }
        self
    }

    /// Finds what a server would refuse.
    pub(crate) fn check(&self) -> Result<(), InvalidMessage> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        self.topic.check()?;
        if self.topic.is_not_sendable() {
            return Err(InvalidMessage::Reserved(self.topic.clone()));
        }
        if self.body.len() > caps::MAX_MESSAGE {
            return Err(InvalidMessage::BodyTooLarge { size: self.body.len(), max: caps::MAX_MESSAGE });
        }
        check_properties(self.properties.as_str())
    }

    pub(crate) fn is_delayed(&self) -> bool {
        [
            properties::DELAY,
            properties::TIMER_DELAY_MS,
            properties::TIMER_DELAY_SEC,
            properties::TIMER_DELIVER_MS,
        ]
        .iter()
        .any(|name| self.get(name).is_some())
    }
}

/// All properties must fit the two bytes of their length.
pub(crate) fn check_properties(text: &str) -> Result<(), InvalidMessage> {
    if text.len() > caps::MAX_PROPERTIES {
        return Err(InvalidMessage::PropertiesTooLarge { size: text.len(), max: caps::MAX_PROPERTIES });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message::new(TopicName::stored("t"), "body")
    }

    #[test]
    fn properties_are_kept_in_text_form_and_set_once() {
        let message = message().tag("a").keys(["k1", "k2"]).property("color", "red").tag("b");
        assert_eq!(message.properties(), "KEYS\u{1}k1 k2\u{2}color\u{1}red\u{2}TAGS\u{1}b\u{2}");
        assert_eq!(
            (message.get("color"), message.get("TAGS"), message.get("x")),
            (Some("red"), Some("b"), None)
        );
        assert_eq!(message.check(), Ok(()));
    }

    #[test]
    fn what_a_server_would_refuse_is_refused_here() {
        let check = |message: Message| message.check().unwrap_err().to_string();
        assert_eq!(check(message().property("TAGS", "x")), "property \"TAGS\" is reserved");
        assert!(check(message().property("", "x")).contains("empty name"));
        assert!(check(message().property("a\u{1}b", "x")).contains("separates"));
        assert!(check(message().property("a", "x\u{2}y")).contains("separates"));
        assert!(check(message().property("long", &"x".repeat(32_767))).contains("32773 bytes"));
        assert!(check(Message::new(TopicName::stored("a b"), "")).contains("' '"));
        assert!(check(Message::new(TopicName::stored("SCHEDULE_TOPIC_XXXX"), "")).contains("servers"));
        let large = Message::new(TopicName::stored("t"), vec![0; caps::MAX_MESSAGE + 1]);
        assert!(check(large).contains("4194305"));
    }

    #[test]
    fn delays_are_seen() {
        assert!(!message().is_delayed());
        assert!(message().delay_level(3).is_delayed());
        assert!(message().delay(Duration::from_secs(1)).is_delayed());
        assert!(message().deliver_at(Timestamp(5)).is_delayed());
    }
}
