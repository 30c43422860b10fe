// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Light queues: a message that is stored once, in its topic, and appears in the queue 0 of every name that its
//! property `INNER_MULTI_DISPATCH` lists; `INNER_MULTI_QUEUE_OFFSET` has its offset in each of them, in the same order.
//! Layout: `docs/format/light.md`. Called by the store (append, dispatch) and by sends.
//! In: lists as they stand in properties. Out: names and offsets. Nothing here panics on bytes from outside.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::caps;
use crate::names::{LMQ_PREFIX, NameError, RETRY_PREFIX, SCHEDULE_TOPIC, SYSTEM_TOPIC_PREFIX, TopicName};

/// What stands between two names, and between two offsets.
pub const SEPARATOR: char = ',';

/// True for the names of light queues, and for groups that read them without being set up.
pub fn is_light(name: &str) -> bool {
    name.starts_with(LMQ_PREFIX)
}

/// Judges the name of a light queue. Any text goes behind the prefix that can be part of a list and, with Apache, a
/// file's name.
pub fn check(name: &str) -> Result<(), NameError> {
    const KIND: &str = "light queue's name";
    let Some(own) = name.strip_prefix(LMQ_PREFIX).filter(|own| !own.is_empty()) else {
        return Err(NameError::Empty { kind: KIND });
    };
    if name.len() > caps::LONG_TOPIC {
        return Err(NameError::TooLong { kind: KIND, length: name.len(), max: caps::LONG_TOPIC });
    }
    match own.char_indices().find(|(_, c)| c.is_control() || *c == SEPARATOR || *c == '/') {
        Some((at, found)) => {
            Err(NameError::Character { kind: KIND, at: at.saturating_add(LMQ_PREFIX.len()), found })
        }
        None => Ok(()),
    }
}

/// True for topics whose messages appear in light queues, when somebody reads a log: as in Apache.
pub fn is_read_from(topic: &str) -> bool {
    !topic.starts_with(RETRY_PREFIX) && !topic.starts_with(SYSTEM_TOPIC_PREFIX) && topic != SCHEDULE_TOPIC
}

/// True for topics whose messages are put into light queues.
///
/// COMPAT: Apache does so again with each half message, each dead letter and each parked transaction; here what an
/// application sent appears once, when it can be read in its topic.
pub fn is_written_from(topic: &TopicName) -> bool {
    !topic.is_retry() && !topic.is_dlq() && !topic.is_system() && !is_light(topic)
}

/// The parts of a list, blank ones included.
pub fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(SEPARATOR)
}

/// Names with their offsets, as a stored record has them. What is no light queue or has no offset is left out, and a record
/// whose lists are not equally long is in none, as in Apache.
pub fn assigned<'a>(names: &'a str, offsets: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
    let count = |list: &str| list.split(SEPARATOR).count();
    let fits = count(names) == count(offsets);
    let pairs = names.split(SEPARATOR).zip(offsets.split(SEPARATOR)).filter(move |_| fits);
    let offset = |text: &str| text.parse().ok().filter(|offset| *offset < i64::MAX.unsigned_abs());
    pairs.filter_map(move |(name, text)| Some((name, offset(text)?))).filter(|(name, _)| check(name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_judged() {
        for fine in ["%LMQ%a", "%LMQ%$parent$child", "%LMQ%home%+%temp", "%LMQ%ä b.c@d:1#"] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for bad in
            ["", "%LMQ%", "a", "%lmq%a", " %LMQ%a", "%LMQ%a/b", "%LMQ%a,b", "%LMQ%a\u{1}", "%LMQ%\u{2}"]
        {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check(&format!("%LMQ%{}", "x".repeat(250))), Ok(()));
        assert!(matches!(
            check(&format!("%LMQ%{}", "x".repeat(251))),
            Err(NameError::TooLong { length: 256, .. })
        ));
        assert!(matches!(check("%LMQ%ab/c"), Err(NameError::Character { at: 7, found: '/', .. })));
    }

    #[test]
    fn topics_of_servers_and_groups_are_in_no_light_queue() {
        let rows = [
            ("orders", true, true),
            ("%RETRY%g", false, false),
            ("rmq_sys_wheel_timer", false, false),
            ("SCHEDULE_TOPIC_XXXX", false, false),
            ("RMQ_SYS_TRANS_HALF_TOPIC", true, false),
            ("TRANS_CHECK_MAX_TIME_TOPIC", true, false),
            ("%DLQ%g", true, false),
            ("%LMQ%a", true, false),
        ];
        for (topic, read, written) in rows {
            let found = (is_read_from(topic), is_written_from(&TopicName::stored(topic)));
            assert_eq!(found, (read, written), "{topic}");
        }
    }

    #[test]
    fn lists_are_read_side_by_side() {
        let read = |names, offsets| assigned(names, offsets).collect::<Vec<_>>();
        assert_eq!(read("%LMQ%a,%LMQ%b", "5,0"), [("%LMQ%a", 5), ("%LMQ%b", 0)]);
        assert_eq!(read("%LMQ%a", "007"), [("%LMQ%a", 7)]);
        assert_eq!(read("%LMQ%a,b,%LMQ%c", "5,,6"), [("%LMQ%a", 5), ("%LMQ%c", 6)]);
        assert_eq!(read("%LMQ%a,%LMQ%b", "5"), []);
        assert_eq!(read("%LMQ%a", "5,6"), []);
        assert_eq!(read("%LMQ%a,%LMQ%b", "-1,9223372036854775807"), []);
        assert_eq!(read("", ""), []);
    }

    proptest! {
        #[test]
        fn no_text_panics(names in "\\PC{0,40}", offsets in "[0-9,x-]{0,40}") {
            let _ = assigned(&names, &offsets).count();
            let _ = check(&names);
        }
    }
}
