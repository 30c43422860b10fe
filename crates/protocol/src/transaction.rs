// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The end of a transaction, and the question after its state.

use crate::names::{ByteStr, Group, TopicName};
use crate::request::request;

/// A producer decided that the message is to be delivered.
pub const COMMIT: i32 = 8;
/// A producer decided that the message is to be forgotten.
pub const ROLLBACK: i32 = 12;
/// A producer does not know yet.
pub const UNKNOWN: i32 = 0;

request! {
    /// Ends a transaction. Clients send it one way.
    EndTransaction = 37 -> (), renewed {
        /// The topic, where known.
        topic: Option<TopicName> = "topic",
        /// The producer's group.
        group: Group = "producerGroup",
        /// Queue offset of the half message.
        half_offset: i64 = "tranStateTableOffset",
        /// Log offset of the half message.
        log_offset: i64 = "commitLogOffset",
        /// [`COMMIT`], [`ROLLBACK`] or [`UNKNOWN`].
        decision: i32 = "commitOrRollback",
        /// Whether a check-back was the reason.
        from_check: bool = "fromTransactionCheck" or false,
        /// The message's id: the producer's or the offset id.
        message_id: Option<ByteStr> = "msgId" absent as "",
        /// The transaction's id.
        transaction_id: Option<ByteStr> = "transactionId",
    }
}

request! {
    /// Server to client, one way: what became of the transaction whose half message is the body?
    CheckTransactionState = 39 -> () {
        /// The topic.
        topic: Option<TopicName> = "topic",
        /// Queue offset of the half message.
        half_offset: i64 = "tranStateTableOffset",
        /// Log offset of the half message.
        log_offset: i64 = "commitLogOffset",
        /// The message's id.
        message_id: Option<ByteStr> = "msgId",
        /// The transaction's id.
        transaction_id: Option<ByteStr> = "transactionId",
        /// The message's offset id.
        offset_id: Option<ByteStr> = "offsetMsgId",
        /// The broker that asks.
        broker: Option<ByteStr> = "bname",
    }
}
