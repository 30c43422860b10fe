// SPDX-License-Identifier: Apache-2.0
//! The broker: operations on topics, groups and messages, and the faces that clients reach them by.
//!
//! Two files tell what it does: `routes` (what it answers) and `loops` (what it does unasked). Reading order: `broker`,
//! `ops/send`, `ops/pull`, then the parts they use. Above the store and the sockets, below every role and tool.

#![forbid(unsafe_code)]

mod arrivals;
mod bodies;
mod broker;
pub mod clients;
pub mod config;
pub mod counts;
pub mod delay;
mod facts;
mod filters;
mod forbidden;
pub mod groups;
mod handlers;
mod locks;
mod loops;
mod membership;
mod modes;
pub mod offsets;
pub mod ops;
mod rates;
mod refusal;
pub mod room;
mod routes;
mod settings;
mod spread;
mod timer;
pub mod topics;
pub mod transaction;

pub use broker::{Broker, OpenRefused};
pub use config::BrokerConfig;
pub use loops::{Running, Wake};
pub use membership::Membership;
pub use routes::routes;
