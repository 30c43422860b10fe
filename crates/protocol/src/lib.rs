// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The language that RocketMQ clients and servers speak: frames, typed requests, records, names, limits.
//! Everything above uses it; it knows no socket, no file, no clock and no runtime.
//!
//! Reading order: `names`, `fields`, `request`, `frame`, then the requests by subject, then what travels in bodies.

#![forbid(unsafe_code)]

pub mod admin;
pub mod assignment;
pub mod batch;
pub mod body;
pub mod caps;
pub mod codes;
pub mod compress;
pub mod data_version;
pub mod fields;
pub mod filter;
pub mod frame;
pub mod heartbeat;
pub mod ids;
pub mod inner;
pub mod json;
pub mod kind;
pub mod light;
pub mod lock;
pub mod names;
pub mod offset;
pub mod properties;
pub mod pull;
pub mod query;
pub mod record;
pub mod request;
pub mod route;
pub mod send;
pub mod trace;
pub mod transaction;

pub use codes::ResponseCode;
pub use fields::{Fields, FieldsOut};
pub use frame::{Decoder, EncodeError, Frame, Head, Language, Serialization};
pub use names::{BrokerName, ByteStr, Group, LogOffset, QueueId, QueueKey, QueueOffset, TopicName};
pub use request::{DecodeError, Header, Request};
