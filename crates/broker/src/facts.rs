// SPDX-License-Identifier: Apache-2.0
//! The kinds of facts a broker keeps in its log, and how their keys are put together. A kind's number is part of
//! the data on disk: it is never given to something else.

use protocol::names::{Group, QueueId, QueueKey, TopicName};
use store::FactKind;

/// Topic name → its settings as JSON.
pub(crate) const TOPICS: FactKind = FactKind(16);
/// Group name → its settings as JSON.
pub(crate) const GROUPS: FactKind = FactKind(17);
/// What is versioned (`topics`, `groups`) → its data version as JSON.
pub(crate) const VERSIONS: FactKind = FactKind(18);
/// Group and topic → a row of `offsets::progress`.
pub(crate) const OFFSETS: FactKind = FactKind(19);
/// Queue of the schedule topic → the next offset to deliver, 8 bytes.
pub(crate) const DELAY: FactKind = FactKind(20);
/// Our name of a setting that was changed while running → its text.
pub(crate) const SETTINGS: FactKind = FactKind(21);
/// Group and topic that it may not read → nothing.
pub(crate) const FORBIDDEN: FactKind = FactKind(22);
/// Group, topic and queue → the client that holds the queue's lock.
pub(crate) const LOCKS: FactKind = FactKind(30);

/// Where a half message was first stored → how often its producers were asked, and when last.
pub(crate) const CHECKS: FactKind = FactKind(40);

/// Group and topic → how it consumes the topic, as JSON.
pub(crate) const MODES: FactKind = FactKind(50);

/// Stands between the two names of a key; no name holds it.
const BETWEEN: u8 = 1;

/// Joins a group and a topic into a key.
pub(crate) fn join_pair(group: &Group, topic: &TopicName) -> Vec<u8> {
    [group.as_bytes(), &[BETWEEN], topic.as_bytes()].concat()
}

/// Takes a key of [`join_pair`] apart.
pub(crate) fn split_pair(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key).ok()?.split_once(char::from(BETWEEN))
}

/// The key of a group's lock on a queue.
pub(crate) fn lock_key(group: &Group, queue: &QueueKey) -> Vec<u8> {
    [join_pair(group, &queue.topic), queue_key(queue.queue)].concat()
}

/// Takes a key of [`lock_key`] apart.
pub(crate) fn split_lock(key: &[u8]) -> Option<(Group, QueueKey)> {
    let (pair, queue) = key.split_last_chunk::<4>()?;
    let (group, topic) = split_pair(pair)?;
    let topic = TopicName::stored(topic.to_owned());
    Some((Group::stored(group.to_owned()), QueueKey { topic, queue: QueueId(u32::from_be_bytes(*queue)) }))
}

/// The key of a queue.
pub(crate) fn queue_key(queue: QueueId) -> Vec<u8> {
    queue.0.to_be_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_apart_again() {
        let key = join_pair(&Group::stored("g"), &TopicName::stored("%RETRY%g"));
        assert_eq!(split_pair(&key), Some(("g", "%RETRY%g")));
        assert_eq!(split_pair(b"alone"), None);
        assert_eq!(split_pair(&[0xFF, 1, 2]), None);
        let (group, queue) =
            (Group::stored("g"), QueueKey { topic: TopicName::stored("t"), queue: QueueId(0x0101_0101) });
        assert_eq!(split_lock(&lock_key(&group, &queue)), Some((group, queue)));
        assert_eq!(split_lock(b"g\x01t"), None);
    }
}
