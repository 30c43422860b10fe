// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Moving groups to another offset, and asking their clients where they stand.

use stdx::Timestamp;

use crate::names::{ByteStr, Group, QueueId, QueueOffset, TopicName};
use crate::request::request;

request! {
    /// Moves a group to a time or an offset; the answer's body lists the new offsets.
    InvokeBrokerToResetOffset = 222 -> () {
        /// The group.
        group: Group = "group",
        /// The topic.
        topic: TopicName = "topic",
        /// Only this queue.
        queue: Option<QueueId> = "queueId" absent as "-1",
        /// To this offset.
        offset: Option<QueueOffset> = "offset",
        /// To this time, where no offset is given; -1 is the end.
        at: Timestamp = "timestamp",
        /// Whether the group may go forward too.
        force: bool = "isForce" or false,
    }
}

request! {
    /// Server to client, one way: go on from other offsets (the body).
    ResetConsumerClientOffset = 220 -> (), as InvokeBrokerToResetOffset
}

request! {
    /// Asks the members of a group where they stand; the answer is the body.
    InvokeBrokerToGetConsumerStatus = 223 -> () {
        /// The topic.
        topic: TopicName = "topic",
        /// The group.
        group: Group = "group",
        /// Only this client.
        client: Option<ByteStr> = "clientAddr",
    }
}

request! {
    /// Server to client: where do you stand? The answer is the body.
    GetConsumerStatusFromClient = 221 -> (), as InvokeBrokerToGetConsumerStatus
}
