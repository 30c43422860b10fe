// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Transactions as operators see them. Not Apache's, which has no such view: bodies of our own codes.

use serde::{Deserialize, Serialize};

/// A page of undecided transactions, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TransactionList {
    /// How many wait for a decision, parked ones included.
    pub open: u64,
    /// How many of them are parked.
    pub parked: u64,
    pub transactions: Vec<TransactionInfo>,
}

/// One transaction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TransactionInfo {
    pub body_size: u64,
    /// How often its producers were asked.
    pub checks: u32,
    pub decided_at: Option<i64>,
    /// Who decided, where it was an operator.
    pub decided_by: Option<String>,
    pub decided_why: Option<String>,
    pub group: String,
    /// Where its half message was first stored.
    pub id: u64,
    pub keys: Option<String>,
    /// When its producers are asked next; absent while nobody is there to ask.
    pub next_check: Option<i64>,
    pub queue_offset: u64,
    /// `open`, `parked`, `committed`, `rolled back` or `lost`.
    pub state: String,
    pub stored_at: i64,
    pub topic: String,
    pub unique_id: Option<String>,
}
