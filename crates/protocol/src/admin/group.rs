// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Groups: made, changed, listed, deleted, and who is in them.

use crate::names::{ByteStr, Group, TopicName};
use crate::request::{header, request};

request! {
    /// Makes or changes a group; its settings are the body.
    UpdateAndCreateSubscriptionGroup = 200 -> ()
}

request! {
    /// Makes or changes many groups; they are the body.
    UpdateAndCreateSubscriptionGroupList = 225 -> ()
}

request! {
    /// Lists the settings of every group (the answer's body), a page at a time if all three fields are there.
    GetAllSubscriptionGroupConfig = 201 -> GetAllSubscriptionGroupConfigReply {
        /// The first one wanted.
        from: Option<i32> = "groupSeq",
        /// The version that the pages before it had.
        data_version: Option<ByteStr> = "dataVersion",
        /// How many at most.
        max: Option<i32> = "maxGroupNum",
    }
}

header! {
    /// How many there are.
    GetAllSubscriptionGroupConfigReply {
        /// All groups, on every page.
        total: Option<i32> = "totalGroupNum",
    }
}

request! {
    /// Asks for the settings of one group; they are the body.
    GetSubscriptionGroupConfig = 352 -> () {
        /// The group.
        group: Group = "group",
    }
}

request! {
    /// Deletes a group on this broker.
    DeleteSubscriptionGroup = 207 -> () {
        /// The group.
        group: Group = "groupName",
        /// Whether its progress goes too.
        clean_offset: bool = "cleanOffset" or false,
    }
}

request! {
    /// Lists the connected members of a consumer group; they are the body.
    GetConsumerConnectionList = 203 -> () {
        /// The group.
        group: Group = "consumerGroup",
    }
}

request! {
    /// Lists the connected members of a producer group; they are the body.
    GetProducerConnectionList = 204 -> () {
        /// The group.
        group: Group = "producerGroup",
    }
}

request! {
    /// Lists every connected producer; they are the body.
    GetAllProducerInfo = 328 -> ()
}

request! {
    /// Asks for one subscription of a group; it is the body.
    QuerySubscriptionByConsumer = 345 -> () {
        /// The group.
        group: Group = "group",
        /// The topic.
        topic: Option<TopicName> = "topic",
    }
}

request! {
    /// Forbids a group to read a topic, or allows it, or tells; the answer is the body.
    UpdateAndGetGroupForbidden = 353 -> () {
        /// The group.
        group: Group = "group",
        /// The topic.
        topic: TopicName = "topic",
        /// Whether it may read; absent only asks.
        readable: Option<bool> = "readable",
    }
}
