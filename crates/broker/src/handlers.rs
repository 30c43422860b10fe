// SPDX-License-Identifier: Apache-2.0
//! The remoting faces: wire types in and out, one file for each of `ops`. A face translates; it decides nothing.

pub(crate) mod admin;
pub(crate) mod assignment;
pub(crate) mod heartbeat;
pub(crate) mod lock;
pub(crate) mod offset;
pub(crate) mod pull;
pub(crate) mod query;
pub(crate) mod recall;
pub(crate) mod reply;
pub(crate) mod send;
pub(crate) mod send_back;
pub(crate) mod transaction;

/// Set in the flags of a topic that clients of a unit read.
const UNIT_SUBSCRIBED: i32 = 0x2;
