// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Asking a broker what became of a message. A code of our own; the answer is a body.

use crate::names::{ByteStr, TopicName};
use crate::request::request;

request! {
    /// Asks for the journey of a message.
    TraceMessage = 30060 -> () {
        /// The id that its producer gave it, or the one of its place.
        id: ByteStr = "id",
        /// The topic that it is for.
        topic: Option<TopicName> = "topic",
    }
}
