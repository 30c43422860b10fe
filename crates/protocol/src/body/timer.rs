// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Messages that wait for their time, as operators see them. Not Apache's, which has no such view: bodies of our
//! own codes.

use serde::{Deserialize, Serialize};

/// A page of messages that wait, in due order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TimerList {
    pub timers: Vec<TimerInfo>,
    /// What waits, by topic, sorted by name.
    pub topics: Vec<TimerTopic>,
    /// How many wait in all.
    pub waiting: u64,
}

/// How many messages wait for a topic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TimerTopic {
    pub topic: String,
    pub waiting: u64,
}

/// A timed message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TimerInfo {
    pub body_size: u64,
    pub due: i64,
    pub keys: Option<String>,
    /// Where the record lies that waits, or waited last.
    pub log_offset: u64,
    pub queue: Option<u32>,
    /// `waiting`, `delivered` or `cancelled`.
    pub state: String,
    /// When it was stored, or last changed.
    pub stored_at: i64,
    pub topic: String,
    pub unique_id: Option<String>,
}

/// How many messages are due when, the earliest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TimerHistogram {
    /// Bars that are not empty.
    pub bars: Vec<TimerBar>,
    pub every: u64,
    /// How many are due behind the last bar.
    pub later: u64,
}

/// One bar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TimerBar {
    pub count: u64,
    /// Those due from then on, for the length of a bar.
    pub from: i64,
}
