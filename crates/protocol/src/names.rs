// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What things are called: text that shares its buffer, topics, groups, brokers, queues and offsets.
//! Every crate uses these instead of bare strings and integers.
//!
//! A name read from a request or from our own log is taken as it stands, so that a lookup of an odd name
//! simply finds nothing (system topics are called after clusters and hosts, which may hold dots).
//! Whoever *creates* something calls `parse` or `check` first; that is the one place where names are judged,
//! by byte length and by character.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod room;
mod text;

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use crate::{caps, light};
pub use text::{ByteStr, NotUtf8};

/// What goes before the group's name in its retry topic.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// What goes before the group's name in its dead-letter topic.
pub const DLQ_PREFIX: &str = "%DLQ%";
/// What goes before every light queue.
pub const LMQ_PREFIX: &str = "%LMQ%";
/// What every topic made for a server's own use starts with.
pub const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
/// What every group made for a server's own use starts with.
pub const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";

/// The template that a topic created by its first message inherits from.
pub const AUTO_CREATE_TOPIC: &str = "TBW102";
/// Where messages with a delay level wait; queue `level - 1`.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Where messages with a delivery time of their own wait.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Where half messages of transactions are kept.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Where the ends of transactions are noted.
pub const HALF_OP_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Where half messages go that were asked about too often.
pub const CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Where SDKs send their traces.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// A topic for diagnosis.
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// A topic for the events of consumers whose offset was moved.
pub const OFFSET_MOVED_TOPIC: &str = "OFFSET_MOVED_EVENT";
/// The topic of Apache's benchmark tool.
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";

const SYSTEM_TOPICS: [&str; 10] = [
    AUTO_CREATE_TOPIC,
    SCHEDULE_TOPIC,
    BENCHMARK_TOPIC,
    HALF_TOPIC,
    TRACE_TOPIC,
    HALF_OP_TOPIC,
    CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_TOPIC,
    "CHECKPOINT_TOPIC",
];

const NOT_SENDABLE: [&str; 7] = [
    SCHEDULE_TOPIC,
    TIMER_TOPIC,
    HALF_TOPIC,
    HALF_OP_TOPIC,
    CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_TOPIC,
];

const SYSTEM_GROUPS: [&str; 13] = [
    "DEFAULT_PRODUCER",
    "DEFAULT_CONSUMER",
    "TOOLS_CONSUMER",
    "SCHEDULE_CONSUMER",
    "FILTERSRV_CONSUMER",
    "__MONITOR_CONSUMER",
    "CLIENT_INNER_PRODUCER",
    "SELF_TEST_P_GROUP",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_ONSAPI_PULL",
];

/// Why a name cannot be given to a new thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left of the name.
    #[error("the {kind} is blank")]
    Empty {
        /// What was to be named.
        kind: &'static str,
    },
    /// The name is longer than records and files can hold.
    #[error("the {kind} is {length} bytes long, at most {max} are allowed")]
    TooLong {
        /// What was to be named.
        kind: &'static str,
        /// Length of the name in bytes.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A character outside letters, digits, `%`, `|`, `-` and `_`.
    #[error("the {kind} contains {found:?} at byte {at}; allowed are letters, digits, '%', '|', '-' and '_'")]
    Character {
        /// What was to be named.
        kind: &'static str,
        /// Where it stands.
        at: usize,
        /// The character.
        found: char,
    },
}

/// Judges a name that is about to be created. `also` is one more character that is fine in this place.
fn check_name(kind: &'static str, name: &str, max: usize, also: Option<char>) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if name.len() > max {
        return Err(NameError::TooLong { kind, length: name.len(), max });
    }
    let fine = |c: char| c.is_ascii_alphanumeric() || "%|-_".contains(c) || Some(c) == also;
    match name.char_indices().find(|(_, c)| !fine(*c)) {
        Some((at, found)) => Err(NameError::Character { kind, at, found }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(ByteStr);

        impl $name {
            /// Takes a valid name; for everything that is about to be created.
            pub fn parse(name: impl Into<ByteStr>) -> Result<$name, NameError> {
                let name = $name(name.into());
                name.check()?;
                Ok(name)
            }
            /// Takes a name as it stands, for what we read back or only look up.
            pub fn stored(name: impl Into<ByteStr>) -> $name {
                $name(name.into())
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
            /// The name as text that shares its buffer.
            pub fn text(&self) -> &ByteStr {
                &self.0
            }
            /// Moves the name out of a shared buffer, so that keeping it does not keep the frame it came in.
            pub fn detached(&self) -> $name {
                $name(self.0.detached())
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }
        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }
        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                ByteStr::deserialize(deserializer).map($name)
            }
        }
    };
}

name! {
    /// The name of a topic.
    TopicName
}
name! {
    /// The name of a group of producers or consumers.
    Group
}
name! {
    /// The name of a broker, shared by a master and its replicas.
    BrokerName
}

impl TopicName {
    /// Tells whether a topic of this name may be created.
    ///
    /// A POP retry topic holds a `+` between group and topic, so retry topics may hold one.
    pub fn check(&self) -> Result<(), NameError> {
        if self.is_retry() || self.is_dlq() {
            return check_name("topic name", self, caps::LONG_TOPIC, Some('+'));
        }
        if self.is_light() {
            return light::check(self);
        }
        check_name("topic name", self, caps::TOPIC, None)
    }

    /// True for the retry topic of a group.
    pub fn is_retry(&self) -> bool {
        self.starts_with(RETRY_PREFIX)
    }

    /// True for the dead-letter topic of a group.
    pub fn is_dlq(&self) -> bool {
        self.starts_with(DLQ_PREFIX)
    }

    /// True for names that belong to the servers (reserved ones and everything under `rmq_sys_`).
    pub fn is_system(&self) -> bool {
        SYSTEM_TOPICS.contains(&self.as_str()) || self.starts_with(SYSTEM_TOPIC_PREFIX)
    }

    /// True for light queues, which are read as topics of one queue.
    pub fn is_light(&self) -> bool {
        light::is_light(self)
    }

    /// True for topics that no client may send to.
    pub fn is_not_sendable(&self) -> bool {
        NOT_SENDABLE.contains(&self.as_str())
    }

    /// The topic that `group` reads its failed messages from again.
    pub fn retry_of(group: &Group) -> TopicName {
        TopicName([RETRY_PREFIX, group.as_str()].concat().into())
    }

    /// The topic that keeps what `group` gave up on.
    pub fn dlq_of(group: &Group) -> TopicName {
        TopicName([DLQ_PREFIX, group.as_str()].concat().into())
    }

    /// The group whose retry topic this is.
    pub fn retry_group(&self) -> Option<Group> {
        self.0.strip_prefix(RETRY_PREFIX).map(|group| Group(self.0.slice_ref(group)))
    }

    /// The group whose dead letters these are.
    pub fn dlq_group(&self) -> Option<Group> {
        self.0.strip_prefix(DLQ_PREFIX).map(|group| Group(self.0.slice_ref(group)))
    }
}

impl Group {
    /// Tells whether a group of this name may be created.
    pub fn check(&self) -> Result<(), NameError> {
        if self.is_light() && self.len() <= caps::GROUP {
            return light::check(self);
        }
        check_name("group name", self, caps::GROUP, None)
    }

    /// True for groups that read light queues and need no settings.
    pub fn is_light(&self) -> bool {
        light::is_light(self)
    }

    /// True for groups that belong to the servers and tools.
    pub fn is_system(&self) -> bool {
        SYSTEM_GROUPS.contains(&self.as_str()) || self.starts_with(SYSTEM_GROUP_PREFIX)
    }
}

impl BrokerName {
    /// Tells whether a broker may carry this name. Host names are broker names, so a dot is fine.
    pub fn check(&self) -> Result<(), NameError> {
        check_name("broker name", self, caps::TOPIC, Some('.'))
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// The number of a queue within its topic on one broker.
    QueueId(u32)
}
number! {
    /// The place of a message in its queue, counted in messages.
    QueueOffset(u64)
}
number! {
    /// The place of a record in the log, counted in bytes.
    LogOffset(u64)
}

/// One queue of one topic on this broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// The topic.
    pub topic: TopicName,
    /// The queue within the topic.
    pub queue: QueueId,
}

impl fmt::Display for QueueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic, self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_judged_by_bytes_and_characters() {
        let long = |n| "t".repeat(n);
        let check = |name: &str| TopicName::parse(name).err().map(|e| e.to_string());
        assert_eq!(check("orders-EU_1|%"), None);
        assert_eq!(check(""), Some("the topic name is blank".into()));
        assert_eq!(check(&long(127)), None);
        assert_eq!(
            check(&long(128)),
            Some("the topic name is 128 bytes long, at most 127 are allowed".into())
        );
        assert_eq!(check(&format!("%RETRY%{}", long(248))), None);
        assert!(check(&format!("%RETRY%{}", long(249))).is_some());
        assert_eq!(check("%RETRY%group+topic"), None);
        for bad in ["a b", "a.b", "a+b", "ä", "a\u{1}b", "$a"] {
            assert!(check(bad).is_some(), "{bad:?}");
        }
        // 43 characters of three bytes each are too long before they are wrong
        assert!(matches!(TopicName::parse("漢".repeat(43)), Err(NameError::TooLong { length: 129, .. })));
    }

    #[test]
    fn groups_end_at_120_bytes() {
        assert!(Group::parse("g".repeat(120)).is_ok());
        assert!(Group::parse("g".repeat(121)).is_err());
        assert!(Group::stored("CID_RMQ_SYS_TRANS").is_system());
        assert!(!Group::stored("orders").is_system());
    }

    #[test]
    fn retry_and_dead_letters_name_their_group() {
        let group = Group::stored("billing");
        let retry = TopicName::retry_of(&group);
        assert_eq!(retry, "%RETRY%billing");
        assert_eq!(retry.retry_group(), Some(group.clone()));
        assert_eq!(TopicName::dlq_of(&group).dlq_group(), Some(group));
        assert_eq!(TopicName::stored("orders").retry_group(), None);
        assert!(retry.is_retry() && !retry.is_dlq() && !retry.is_system());
    }

    #[test]
    fn reserved_names_are_known() {
        for (name, system, closed) in [
            ("TBW102", true, false),
            ("SCHEDULE_TOPIC_XXXX", true, true),
            ("rmq_sys_anything", true, false),
            ("BenchmarkTest", true, false),
            ("OFFSET_MOVED_EVENT", true, true),
            ("orders", false, false),
        ] {
            let topic = TopicName::stored(name);
            assert_eq!((topic.is_system(), topic.is_not_sendable()), (system, closed), "{name}");
        }
    }
}
