// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The kinds of messages there are: what a message is, by what it asks for, and what a topic says it takes
//! (attribute `message.type`). Called by whoever takes messages and by whoever sets topics.

use std::fmt;

/// The attribute of a topic that says what it takes.
pub const ATTRIBUTE: &str = "message.type";

/// A kind of message, or of topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A topic that takes nothing in particular; no message is of this kind.
    Unspecified,
    /// Asks for nothing. A topic that says nothing takes these.
    #[default]
    Normal,
    /// In order with others of its group.
    Fifo,
    /// Delivered later.
    Delay,
    /// The first half of a transaction.
    Transaction,
    /// More or less urgent than others.
    Priority,
    /// For one light queue of its topic.
    Lite,
    /// A topic that takes every kind; no message is of this kind.
    Mixed,
}

/// What a message asks for, as far as it makes its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// It is the first half of a transaction.
    pub half: bool,
    /// It names a delay level or a time, whatever comes of it.
    pub later: bool,
    /// It names a group of messages that stay in order.
    pub in_order: bool,
    /// It names a priority.
    pub priority: bool,
    /// It names a light queue.
    pub lite: bool,
}

impl Kind {
    /// Every kind, in the order that texts name them.
    pub const ALL: [Kind; 8] = [
        Kind::Unspecified,
        Kind::Normal,
        Kind::Fifo,
        Kind::Delay,
        Kind::Transaction,
        Kind::Priority,
        Kind::Lite,
        Kind::Mixed,
    ];

    /// Its name in the attribute.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Unspecified => "UNSPECIFIED",
            Kind::Normal => "NORMAL",
            Kind::Fifo => "FIFO",
            Kind::Delay => "DELAY",
            Kind::Transaction => "TRANSACTION",
            Kind::Priority => "PRIORITY",
            Kind::Lite => "LITE",
            Kind::Mixed => "MIXED",
        }
    }

    /// The kind of that name, letter by letter.
    pub fn of_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind of a message: of all that it asks for, the first in this order counts.
    pub const fn of_message(wishes: Wishes) -> Kind {
        match wishes {
            Wishes { half: true, .. } => Kind::Transaction,
            Wishes { later: true, .. } => Kind::Delay,
            Wishes { in_order: true, .. } => Kind::Fifo,
            Wishes { priority: true, .. } => Kind::Priority,
            Wishes { lite: true, .. } => Kind::Lite,
            _ => Kind::Normal,
        }
    }

    /// True when a topic of this kind takes messages of that one.
    pub fn takes(self, message: Kind) -> bool {
        self == Kind::Mixed || (self == message && message != Kind::Unspecified)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::of_name("fifo"), None);
        assert_eq!(Kind::of_name(""), None);
    }

    #[test]
    fn the_first_wish_counts() {
        let all = Wishes { half: true, later: true, in_order: true, priority: true, lite: true };
        let rows = [
            (all, Kind::Transaction),
            (Wishes { half: false, ..all }, Kind::Delay),
            (Wishes { half: false, later: false, ..all }, Kind::Fifo),
            (Wishes { priority: true, lite: true, ..Wishes::default() }, Kind::Priority),
            (Wishes { lite: true, ..Wishes::default() }, Kind::Lite),
            (Wishes::default(), Kind::Normal),
        ];
        for (wishes, expected) in rows {
            assert_eq!(Kind::of_message(wishes), expected, "{wishes:?}");
        }
    }

    #[test]
    fn a_topic_takes_its_own_kind_and_a_mixed_one_all() {
        for message in [Kind::Normal, Kind::Fifo, Kind::Delay, Kind::Transaction, Kind::Priority, Kind::Lite]
        {
            for topic in Kind::ALL {
                assert_eq!(
                    topic.takes(message),
                    topic == message || topic == Kind::Mixed,
                    "{topic} {message}"
                );
            }
        }
    }
}
