// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. How operators look at messages that wait for their time, take them back and give them another time. Codes of
//! our own; answers are bodies, but for a change, which is answered with one word.

use stdx::Timestamp;

use crate::names::{ByteStr, LogOffset, TopicName};
use crate::request::{header, request};

request! {
    /// Asks for messages that wait for their time, in due order.
    ListTimers = 30040 -> () {
        /// Only for this topic.
        topic: Option<TopicName> = "topic",
        /// Only those due then or later.
        from: Option<Timestamp> = "from",
        /// Only those due before then.
        until: Option<Timestamp> = "until",
        /// Of those due at `from`, only the ones behind this place in the log.
        behind: Option<LogOffset> = "behind",
        /// How many at most.
        max: u32 = "maxNum" or 100,
    }
}

request! {
    /// Asks what became of timed messages.
    ShowTimer = 30041 -> () {
        /// The topic that they are for.
        topic: TopicName = "topic",
        /// The id that their producer gave them.
        id: Option<ByteStr> = "id",
        /// One of their keys, where there is no id.
        key: Option<ByteStr> = "key",
    }
}

request! {
    /// Takes timed messages back, or gives them another time.
    ChangeTimer = 30042 -> ChangedTimer {
        /// The topic that they are for.
        topic: TopicName = "topic",
        /// The id that their producer gave them.
        id: Option<ByteStr> = "id",
        /// One of their keys, where there is no id.
        key: Option<ByteStr> = "key",
        /// When they are to be delivered; never, when absent.
        deliver_at: Option<Timestamp> = "deliverAt",
    }
}

header! {
    /// What became of timed messages.
    ChangedTimer {
        /// `cancelled`, `moved`, `too late` or `unknown`.
        outcome: ByteStr = "outcome",
    }
}

request! {
    /// Asks how many messages are due when.
    CountTimers = 30043 -> () {
        /// Only for this topic.
        topic: Option<TopicName> = "topic",
        /// Milliseconds of one bar.
        every: u64 = "every" or 3_600_000,
        /// How many bars at most.
        max: u32 = "maxNum" or 100,
    }
}
