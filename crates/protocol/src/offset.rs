// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Where queues begin and end, and how far groups have come in them.

use std::borrow::Cow;

use stdx::Timestamp;

use crate::fields::{BadValue, FieldValue, Raw, ValueOut};
use crate::names::{Group, QueueId, QueueOffset, TopicName};
use crate::request::{header, request};

header! {
    /// An offset in a queue. Where Apache says -1 for an empty queue, it is 0.
    OffsetReply {
        /// The offset.
        offset: QueueOffset = "offset" or QueueOffset(0),
    }
}

request! {
    /// Asks how far a group has come in a queue.
    QueryConsumerOffset = 14 -> OffsetReply {
        /// The group.
        group: Group = "consumerGroup",
        /// The topic.
        topic: TopicName = "topic",
        /// The queue.
        queue: QueueId = "queueId",
        /// Whether a group that was never seen may be told 0 for a young queue; absent means yes.
        zero_if_not_found: Option<bool> = "setZeroIfNotFound",
    }
}

request! {
    /// Stores how far a group has come in a queue.
    UpdateConsumerOffset = 15 -> () {
        /// The group.
        group: Group = "consumerGroup",
        /// The topic.
        topic: TopicName = "topic",
        /// The queue.
        queue: QueueId = "queueId",
        /// One past the last message that was consumed.
        commit: QueueOffset = "commitOffset",
    }
}

/// Which of several messages of the same time is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Boundary {
    /// The first.
    #[default]
    Lower,
    /// The last.
    Upper,
}

impl FieldValue for Boundary {
    /// `upper` in any case is the upper one, all else the lower.
    fn parse(raw: &Raw<'_>) -> Result<Boundary, BadValue> {
        let text: Cow<'_, str> = raw.text();
        Ok(if text.eq_ignore_ascii_case("upper") { Boundary::Upper } else { Boundary::Lower })
    }
    fn write(&self, out: &mut ValueOut<'_>) {
        out.text(match self {
            Boundary::Lower => "LOWER",
            Boundary::Upper => "UPPER",
        });
    }
}

request! {
    /// Asks for the offset of the message that was stored at a time.
    SearchOffset = 29 -> OffsetReply {
        /// The topic.
        topic: TopicName = "topic",
        /// The queue.
        queue: QueueId = "queueId",
        /// The time.
        at: Timestamp = "timestamp",
        /// Which one of several.
        boundary: Boundary = "boundaryType" or Boundary::Lower,
    }
}

request! {
    /// Asks for the end of a queue: one past its last message.
    GetMaxOffset = 30 -> OffsetReply {
        /// The topic.
        topic: TopicName = "topic",
        /// The queue.
        queue: QueueId = "queueId",
        /// Whether only what consumers can see counts; absent means yes.
        committed: Option<bool> = "committed",
    }
}

request! {
    /// Asks for the beginning of a queue.
    GetMinOffset = 31 -> OffsetReply {
        /// The topic.
        topic: TopicName = "topic",
        /// The queue.
        queue: QueueId = "queueId",
    }
}

request! {
    /// Asks when the first message of a queue was stored.
    GetEarliestStoreTime = 32 -> StoreTimeReply {
        /// The topic.
        topic: TopicName = "topic",
        /// The queue.
        queue: QueueId = "queueId",
    }
}

header! {
    /// A time.
    StoreTimeReply {
        /// The time; -1 when the queue is empty.
        at: Timestamp = "timestamp",
    }
}
