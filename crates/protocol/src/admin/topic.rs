// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Topics: made, changed, listed, deleted.

use crate::names::{ByteStr, Group, TopicName};
use crate::request::{header, request};

request! {
    /// Makes a topic or changes one.
    UpdateAndCreateTopic = 17 -> () {
        /// The topic.
        topic: TopicName = "topic",
        /// The topic to take settings from.
        default_topic: Option<TopicName> = "defaultTopic" absent as "",
        /// How many queues can be read.
        read_queues: i32 = "readQueueNums",
        /// How many queues can be written.
        write_queues: i32 = "writeQueueNums",
        /// Permission bits.
        permission: i32 = "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        filter_type: ByteStr = "topicFilterType" or ByteStr::from_static("SINGLE_TAG"),
        /// System flags.
        sys_flag: Option<i32> = "topicSysFlag",
        /// Whether messages keep their order over all queues.
        order: bool = "order" or false,
        /// `+name=value` and `-name`, joined by commas.
        attributes: Option<ByteStr> = "attributes",
        /// Whether to change what is otherwise refused.
        force: Option<bool> = "force",
    }
}

request! {
    /// Makes or changes many topics; they are the body.
    UpdateAndCreateTopicList = 18 -> ()
}

request! {
    /// Lists the settings of every topic (the answer's body), a page at a time if all three fields are there.
    GetAllTopicConfig = 21 -> GetAllTopicConfigReply {
        /// The first one wanted.
        from: Option<i32> = "topicSeq",
        /// The version that the pages before it had.
        data_version: Option<ByteStr> = "dataVersion",
        /// How many at most.
        max: Option<i32> = "maxTopicNum",
    }
}

header! {
    /// How many there are.
    GetAllTopicConfigReply {
        /// All topics, on every page.
        total: Option<i32> = "totalTopicNum",
    }
}

request! {
    /// Asks for the offsets of every queue of a topic; they are the body.
    GetTopicStatsInfo = 202 -> () {
        /// The topic.
        topic: TopicName = "topic",
    }
}

request! {
    /// Deletes a topic on this broker.
    DeleteTopicInBroker = 215 -> () {
        /// The topic.
        topic: TopicName = "topic",
    }
}

request! {
    /// Lists the groups that consume a topic.
    QueryTopicConsumeByWho = 300 -> () {
        /// The topic.
        topic: TopicName = "topic",
    }
}

request! {
    /// Lists the topics that belong to this broker itself.
    GetSystemTopicListFromBroker = 305 -> ()
}

request! {
    /// Asks for the settings of one topic; they are the body.
    GetTopicConfig = 351 -> () {
        /// The topic.
        topic: TopicName = "topic",
    }
}

request! {
    /// Lists the topics that a group consumes.
    QueryTopicsByConsumer = 343 -> () {
        /// The group.
        group: Group = "group",
    }
}
