// SPDX-License-Identifier: Apache-2.0
//! What a broker can do, one file an operation and one `impl Broker` in each. Domain types in and out: faces translate.
//! No operation names a runtime; each may be dropped where it waits.

pub mod admin;
pub mod assignment;
pub mod heartbeat;
pub mod lock;
pub mod offset;
pub mod pull;
pub mod query;
pub mod recall;
pub mod reply;
pub mod send;
pub mod send_back;
pub mod transaction;
