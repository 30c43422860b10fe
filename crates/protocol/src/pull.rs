// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Reading a queue: the pull, its flags and its answer.

use std::time::Duration;

use crate::names::{ByteStr, Group, QueueId, QueueOffset, TopicName};
use crate::request::{header, request};

/// Set in [`PullMessage::sys_flag`] when `commit` is to be stored as the group's progress.
pub const COMMIT_OFFSET: i32 = 0x1;
/// The broker may wait for a message.
pub const SUSPEND: i32 = 0x2;
/// `subscription` counts, instead of what the group's heartbeat said.
pub const SUBSCRIPTION: i32 = 0x4;
/// Filtering by a class; no server does that any more.
pub const CLASS_FILTER: i32 = 0x8;
/// The pull comes from a consumer without callbacks.
pub const LITE_PULL: i32 = 0x10;

/// What a queue is that the reader numbers below 0: one that no topic has.
pub const NO_QUEUE: QueueId = QueueId(u32::MAX);
/// What an offset is that the reader puts below 0: before every message. The wire has no number as large as this.
pub const BEFORE_ALL: QueueOffset = QueueOffset(u64::MAX);

request! {
    /// Reads a batch from one queue, waiting for it if allowed.
    PullMessage = 11 -> PullReply {
        /// The consumer's group.
        group: Group = "consumerGroup",
        /// The topic.
        topic: TopicName = "topic",
        /// The queue.
        queue: QueueId = "queueId" or NO_QUEUE,
        /// The first offset wanted.
        from: QueueOffset = "queueOffset" or BEFORE_ALL,
        /// How many messages at most.
        max_messages: i32 = "maxMsgNums",
        /// [`COMMIT_OFFSET`], [`SUSPEND`], [`SUBSCRIPTION`] and the others.
        sys_flag: i32 = "sysFlag",
        /// Progress to store on the way.
        commit: Option<QueueOffset> = "commitOffset" absent as "0",
        /// How long the broker may wait.
        suspend: Option<Duration> = "suspendTimeoutMillis" absent as "0",
        /// The filter expression.
        subscription: Option<ByteStr> = "subscription",
        /// The version of the subscription that the client knows.
        sub_version: i64 = "subVersion" or 0,
        /// The filter's kind: `TAG` or `SQL92`.
        expression_type: Option<ByteStr> = "expressionType",
        /// How many bytes at most.
        max_bytes: Option<u32> = "maxMsgBytes",
        /// Who asks on whose behalf; absent for SDKs.
        request_source: Option<i32> = "requestSource",
        /// The client behind a proxy.
        proxied_client: Option<ByteStr> = "proxyFrowardClientId",
    }
}

request! {
    /// The same for consumers without callbacks.
    LitePullMessage = 361 -> PullReply, as PullMessage
}

header! {
    /// Where to go on; the records are the body.
    PullReply {
        /// The broker to ask next: 0 is the master.
        suggested_broker: i64 = "suggestWhichBrokerId" or 0,
        /// The offset to ask for next.
        next: QueueOffset = "nextBeginOffset",
        /// The first offset that is there.
        min: QueueOffset = "minOffset" or QueueOffset(0),
        /// One past the last offset that is there.
        max: QueueOffset = "maxOffset" or QueueOffset(0),
        /// What to add to the offsets of records in a moved queue.
        offset_delta: Option<i64> = "offsetDelta",
        /// Flags of the topic.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Flags of the group.
        group_sys_flag: Option<i32> = "groupSysFlag",
        /// Why reading is forbidden.
        forbidden: Option<i32> = "forbiddenType",
    }
}
