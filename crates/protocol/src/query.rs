// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Finding single messages: by key, by id, by place.

use stdx::Timestamp;

use crate::names::{ByteStr, Group, LogOffset, QueueId, TopicName};
use crate::request::{header, request};

request! {
    /// Finds messages by key or by unique id; they are the body.
    QueryMessage = 12 -> QueryMessageReply {
        /// The topic.
        topic: TopicName = "topic",
        /// The key, or the unique id.
        key: ByteStr = "key",
        /// How many at most.
        max: i32 = "maxNum",
        /// Stored at or after.
        begin: Timestamp = "beginTimestamp",
        /// Stored at or before.
        end: Timestamp = "endTimestamp",
        /// Whether `key` is a unique id.
        unique: bool = "_UNIQUE_KEY_QUERY" or false,
        /// Which index to look at.
        index: Option<ByteStr> = "indexType",
        /// Where the last answer ended.
        last_key: Option<ByteStr> = "lastKey",
    }
}

header! {
    /// How far the index has come.
    QueryMessageReply {
        /// Store time of the last message in it.
        indexed_at: Timestamp = "indexLastUpdateTimestamp",
        /// Log offset of the last message in it.
        indexed_to: LogOffset = "indexLastUpdatePhyoffset" or LogOffset(0),
    }
}

request! {
    /// Reads the record at a place of the log; it is the body.
    ViewMessageById = 33 -> () {
        /// The topic, where known.
        topic: Option<TopicName> = "topic",
        /// The place.
        offset: LogOffset = "offset",
    }
}

request! {
    /// Shows entries of a consume queue; they are the body.
    QueryConsumeQueue = 321 -> () {
        /// The topic.
        topic: TopicName = "topic",
        /// The queue.
        queue: QueueId = "queueId",
        /// The first entry; below 0 counts from the end.
        index: i64 = "index" or 0,
        /// How many.
        count: i32 = "count" or 0,
        /// Also tell which entries this group's filter takes.
        group: Option<Group> = "consumerGroup",
    }
}
