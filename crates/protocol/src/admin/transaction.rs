// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. How operators look at transactions and decide them by hand. Codes of our own; answers are bodies.

use crate::names::{ByteStr, Group, TopicName};
use crate::request::request;

request! {
    /// Asks for transactions that wait for a decision, the oldest first.
    ListTransactions = 30020 -> () {
        /// Only of this topic.
        topic: Option<TopicName> = "topic",
        /// Only of this producer group.
        group: Option<Group> = "producerGroup",
        /// Only parked ones.
        parked: bool = "parked" or false,
        /// Only those behind this one.
        after: Option<u64> = "after",
        /// How many at most.
        max: u32 = "maxNum" or 100,
    }
}

request! {
    /// Asks what became of one transaction.
    ShowTransaction = 30021 -> () {
        /// Its place in the log, its offset id, or the id its producer gave it.
        id: ByteStr = "id",
    }
}

request! {
    /// Decides a transaction by hand.
    DecideTransaction = 30022 -> () {
        /// Its place in the log, its offset id, or the id its producer gave it.
        id: ByteStr = "id",
        /// As in [`crate::transaction::EndTransaction`].
        decision: i32 = "commitOrRollback",
        /// Who decides.
        by: ByteStr = "by",
        /// Why.
        why: ByteStr = "why",
    }
}
