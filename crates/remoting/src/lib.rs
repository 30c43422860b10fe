// SPDX-License-Identifier: Apache-2.0
//! The only crate of the lower layers with sockets: servers, clients, and between them connections that carry requests
//! both ways. Roles bring a [`Router`] of typed handlers; what a request means is none of this crate's business.
//!
//! Reading order: `router`, `connection` (the task), `gather`, `handle` (what others see of it), `call`, `server`, `client`;
//! the cores `admission`, `pending` and `draft`; `stages` for how long all that takes; `net` for the sockets themselves.

#![forbid(unsafe_code)]

mod admission;
mod call;
mod client;
mod connection;
mod draft;
mod error;
mod gather;
mod handle;
mod net;
mod pending;
mod quiet;
mod reply;
mod router;
mod seats;
mod server;
mod stages;

pub use admission::Class;
pub use call::{Call, Response};
pub use client::{Client, ClientConfig};
pub use error::CallError;
pub use gather::{Answer, Asked, Turn};
pub use handle::Connection;
pub use reply::{Body, Refusal, Reply};
pub use router::{Ctx, Router};
pub use seats::Seats;
pub use server::{Server, ServerConfig, ServerUsage};
pub use stages::Stages;
