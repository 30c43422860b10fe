// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a name server is to be told next.
//! In: what it was told, the topics as they are, `now`. Out: everything, what changed, a question, or nothing.
//!
//! A small table goes whole every time, which also mends what a name server lost. A large one goes whole rarely: in between
//! only what changed, and the question whether the name server still has the version it should have.

use std::collections::HashMap;
use std::time::Duration;

use protocol::body::TopicConfig;
use protocol::data_version::DataVersion;
use protocol::names::TopicName;
use stdx::Timestamp;

/// Tables up to this size go whole.
const SMALL: usize = 1000;
/// How many changed topics go by themselves.
const CHANGED_MAX: usize = 256;
/// How often a large table goes whole although nothing asks for it.
const MENDING: Duration = Duration::from_secs(300);

/// What a name server was told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    version: DataVersion,
    topics: HashMap<TopicName, Shape>,
    whole_at: Timestamp,
}

/// What name servers know of a topic.
type Shape = [i32; 4];

/// What to tell next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// All topics.
    Whole,
    /// These topics.
    Update(Vec<TopicConfig>),
    /// Whether it still has the version it was told.
    Ask,
    /// It was asked and has it.
    Nothing,
}

impl Told {
    /// A name server that has just been told everything.
    pub(super) fn whole(version: DataVersion, topics: &[TopicConfig], now: Timestamp) -> Told {
        let topics = topics.iter().map(|topic| (topic.topic_name.clone(), shape(topic))).collect();
        Told { version, topics, whole_at: now }
    }

    /// Some topics were told on top.
    pub(super) fn add(&mut self, version: DataVersion, topics: &[TopicConfig]) {
        self.version = version;
        self.topics.extend(topics.iter().map(|topic| (topic.topic_name.clone(), shape(topic))));
    }
}

/// Decides what to tell.
pub(super) fn next(
    told: Option<&Told>,
    version: DataVersion,
    topics: &[TopicConfig],
    now: Timestamp,
) -> Next {
    let Some(told) = told.filter(|told| topics.len() > SMALL && now.since(told.whole_at) < MENDING) else {
        return Next::Whole;
    };
    if told.version == version {
        return Next::Ask;
    }
    let is_new = |topic: &&TopicConfig| told.topics.get(&topic.topic_name) != Some(&shape(topic));
    let changed: Vec<TopicConfig> = topics.iter().filter(is_new).take(CHANGED_MAX + 1).cloned().collect();
    match changed.len() {
        1..=CHANGED_MAX => Next::Update(changed),
        _ => Next::Whole,
    }
}

fn shape(topic: &TopicConfig) -> Shape {
    [topic.read_queue_nums, topic.write_queue_nums, topic.perm, topic.topic_sys_flag]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn topics(count: usize) -> Vec<TopicConfig> {
        (0..count).map(|n| TopicConfig::new(TopicName::stored(format!("t{n}")), 4, 6)).collect()
    }

    fn version(counter: i64) -> DataVersion {
        DataVersion { counter, ..DataVersion::default() }
    }

    #[test]
    fn a_small_table_goes_whole() {
        let few = topics(SMALL);
        assert_eq!(next(None, version(1), &few, NOW), Next::Whole);
        let told = Told::whole(version(1), &few, NOW);
        assert_eq!(next(Some(&told), version(1), &few, NOW), Next::Whole);
    }

    #[test]
    fn a_large_table_goes_by_its_changes() {
        let mut many = topics(SMALL + 1);
        assert_eq!(next(None, version(1), &many, NOW), Next::Whole);
        let mut told = Told::whole(version(1), &many, NOW);
        assert_eq!(next(Some(&told), version(1), &many, NOW), Next::Ask);
        many[7].perm = 4;
        many.extend(topics(SMALL + 2).split_off(SMALL + 1));
        let Next::Update(changed) = next(Some(&told), version(3), &many, NOW) else {
            panic!("two topics changed")
        };
        assert_eq!(changed, [many[7].clone(), many[SMALL + 1].clone()]);
        told.add(version(3), &changed);
        assert_eq!(next(Some(&told), version(3), &many, NOW), Next::Ask);
        // A removed topic is no topic to tell of: the whole list is.
        many.pop();
        assert_eq!(next(Some(&told), version(4), &many, NOW), Next::Whole);
        for topic in &mut many {
            topic.perm = 2;
        }
        assert_eq!(next(Some(&told), version(5), &many, NOW), Next::Whole);
        assert_eq!(next(Some(&told), version(3), &many, NOW + MENDING), Next::Whole);
    }
}
