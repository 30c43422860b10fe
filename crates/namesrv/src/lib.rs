// SPDX-License-Identifier: Apache-2.0
//! The name server: which broker serves which topic. Brokers announce themselves, clients ask for routes, operators keep
//! key-value settings here. A role of its own or a part of the standalone process; runs on `remoting::Server`.
//!
//! Reading order: `routes` (what it answers), `table` (the rules), `server` (the shell), `handlers` (the faces).
#![forbid(unsafe_code)]

mod address;
mod bodies;
mod config;
mod file;
mod handlers;
mod kv;
mod registration;
mod routes;
mod server;
mod table;

pub use config::NameServerConfig;
pub use routes::routes;
pub use server::{NameServer, OpenError};
