// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The broker itself: settings, figures, cleaning up.

use crate::names::{ByteStr, TopicName};
use crate::request::{header, request};

request! {
    /// Changes settings; they are the body, as properties text.
    UpdateBrokerConfig = 25 -> ()
}

request! {
    /// Asks for all settings; they are the body, as properties text.
    GetBrokerConfig = 26 -> GetBrokerConfigReply
}

header! {
    /// Which state of the settings it is.
    GetBrokerConfigReply {
        /// Their data version, as JSON.
        version: ByteStr = "version",
    }
}

request! {
    /// Asks for what the broker measures; it is the body.
    GetBrokerRuntimeInfo = 28 -> ()
}

request! {
    /// Asks for one series of figures; it is the body.
    ViewBrokerStatsData = 315 -> () {
        /// The kind of figure.
        name: ByteStr = "statsName",
        /// What it is about.
        key: ByteStr = "statsKey",
    }
}

request! {
    /// Drops queue entries whose messages are gone.
    CleanExpiredConsumeQueue = 306 -> ()
}

request! {
    /// Drops queues of topics that are gone.
    CleanUnusedTopic = 316 -> ()
}

request! {
    /// Drops parts of the log that are past their time.
    DeleteExpiredCommitLog = 329 -> ()
}

request! {
    /// Asks again about a half message that was given up.
    ResumeCheckHalfMessage = 323 -> () {
        /// The topic.
        topic: Option<TopicName> = "topic",
        /// The message's id.
        message_id: Option<ByteStr> = "msgId",
    }
}
