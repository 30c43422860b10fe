// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. How far groups have come, as tools look at it. Answers are bodies.

use crate::names::{ByteStr, Group, TopicName};
use crate::request::request;

request! {
    /// Asks for the progress of a group in every queue.
    GetConsumeStats = 208 -> () {
        /// The group.
        group: Group = "consumerGroup",
        /// Only in this topic.
        topic: Option<TopicName> = "topic",
        /// Only in these topics, joined by semicolons.
        topics: Option<ByteStr> = "topicList",
    }
}

request! {
    /// Asks for the progress of every group.
    GetBrokerConsumeStats = 317 -> () {
        /// Only groups that keep the order of messages.
        order: bool = "isOrder" or false,
    }
}

request! {
    /// Asks from when to when the messages are that a group has and has not consumed.
    QueryConsumeTimeSpan = 303 -> () {
        /// The topic.
        topic: TopicName = "topic",
        /// The group.
        group: Group = "group",
    }
}

request! {
    /// Compares the progress of groups with that of another.
    QueryCorrectionOffset = 308 -> () {
        /// The groups, joined by commas.
        filter_groups: Option<ByteStr> = "filterGroups",
        /// The group to compare with.
        compare_group: Group = "compareGroup",
        /// The topic.
        topic: TopicName = "topic",
    }
}

request! {
    /// Copies the progress of one group to another.
    CloneGroupOffset = 314 -> () {
        /// The group that has it.
        source: Group = "srcGroup",
        /// The group that gets it.
        target: Group = "destGroup",
        /// Only in this topic.
        topic: Option<TopicName> = "topic",
        /// Whether the target must be offline.
        offline: bool = "offline" or false,
    }
}
