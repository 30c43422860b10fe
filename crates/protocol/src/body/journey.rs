// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The journey of a message as its broker tells it. Not Apache's, which has no such view: the body of our own
//! 30060.

use serde::{Deserialize, Serialize};

/// What became of a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageJourney {
    /// What happened, in its order.
    pub hops: Vec<JourneyHop>,
    /// The id that its producer gave it.
    pub id: String,
    /// The topic that it is for.
    pub topic: String,
}

/// One step of a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct JourneyHop {
    /// When, or not before; absent where that is not known.
    pub at: Option<i64>,
    pub client: Option<String>,
    pub detail: String,
    pub group: Option<String>,
    pub offset: u64,
    pub queue: u32,
    pub topic: String,
    /// Not after, or, of what waits, for how long; of what is not known, since when it would be.
    pub until: Option<i64>,
    /// `born`, `stored`, `dispatched`, `half`, `committed`, `rolled back`, `undecided`, `waits`, `recalled`, `given`,
    /// `passed over`, `acknowledged`, `moved`, `in flight`, `not given`, `failed`, `again`, `dead` or `not known`.
    pub what: String,
}
