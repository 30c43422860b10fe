// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Locks on queues, for consumers that keep the order of messages. The queues are the body.

use crate::request::request;

request! {
    /// Asks for the locks on queues; the answer's body lists those that were granted.
    LockBatchQueues = 41 -> ()
}

request! {
    /// Gives locks on queues back.
    UnlockBatchQueues = 42 -> ()
}
