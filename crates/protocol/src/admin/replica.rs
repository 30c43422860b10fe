// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a replica copies besides the log, who copies, and how cold data is read.

use crate::request::request;

request! {
    /// Asks for the progress of every group; it is the body.
    GetAllConsumerOffset = 43 -> ()
}

request! {
    /// Asks how far each delay level has come; it is the body.
    GetAllDelayOffset = 45 -> ()
}

request! {
    /// Asks who copies this broker's log; it is the body.
    GetBrokerHaStatus = 907 -> ()
}

request! {
    /// Limits what groups may read of cold data; the limits are the body, as properties text.
    UpdateColdDataFlowControl = 2001 -> ()
}

request! {
    /// Lifts the limit of the group that is the body.
    RemoveColdDataFlowControl = 2002 -> ()
}

request! {
    /// Asks for all limits and what was read; they are the body.
    GetColdDataFlowControl = 2003 -> ()
}

request! {
    /// Sets how the log is read ahead.
    SetCommitLogReadMode = 2004 -> () {
        /// An advice number of POSIX: 0 normal, 1 random.
        mode: Option<i32> = "READ_AHEAD_MODE",
    }
}
