// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Locks on queues, for consumers that keep the order (41, 42).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::MessageQueue;
use crate::names::Group;

/// Asks for locks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LockBatchRequestBody {
    pub client_id: String,
    pub consumer_group: Group,
    pub mq_set: BTreeSet<MessageQueue>,
    pub only_this_broker: bool,
}

/// The locks that were given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockBatchResponseBody {
    #[serde(rename = "lockOKMQSet")]
    pub lock_ok_mq_set: BTreeSet<MessageQueue>,
}

/// Gives locks back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UnlockBatchRequestBody {
    pub client_id: String,
    pub consumer_group: Group,
    pub mq_set: BTreeSet<MessageQueue>,
    pub only_this_broker: bool,
}
