// SPDX-License-Identifier: Apache-2.0
//! What a broker can do, one file an operation and one `impl Broker` in each. Domain types in and out: faces translate.
//! No operation names a runtime; each may be dropped where it waits.

pub(crate) mod heartbeat;
pub(crate) mod lock;
pub(crate) mod offset;
pub(crate) mod pull;
pub(crate) mod query;
pub(crate) mod send;
pub(crate) mod send_back;
