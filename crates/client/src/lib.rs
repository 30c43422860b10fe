// SPDX-License-Identifier: Apache-2.0
//! The Rust SDK: producers, push and pull consumers, admin calls, for KirunaMQ and Apache RocketMQ alike.
//!
//! Everything runs on the tokio runtime it was started on, ends when it is dropped, and ends in good order when it is
//! shut down. Nothing waits for ever: every call has a deadline.
//!
//! Reading order: `session` (what all clients share), `routes`, `producer`, `consumer`, `admin`; the cores `rebalance`
//! and `retry`; `lane` for load generators.

#![forbid(unsafe_code)]

mod admin;
mod config;
mod consumer;
mod lane;
mod message;
mod producer;
mod queue;
mod rebalance;
mod retry;
mod routes;
mod session;

pub use admin::{
    Admin, AdminError, ClientTrace, DeadLetterFilter, DeadLetters, GroupProgress, KeyQuery, Master,
    PlannedMove, QueueProgress, ResetScope, ResetTo, ScanQuery, Scanned, TimedName, TimerQuery,
    TransactionQuery,
};
pub use config::ClientConfig;
pub use consumer::{
    ConsumeFrom, Consumed, Delivery, Mode, Model, OffsetError, Place, PullConfig, PullConsumer, PullError,
    Pulled, PushConfig, PushConsumer, Received, Subscription, WindowLimits,
};
pub use lane::{Lane, Prepared};
pub use message::{InvalidMessage, Message};
pub use producer::{
    Ended, NotARequest, Outcome, Producer, ProducerConfig, RecallError, Replied, RequestError, SendError,
    Sent, Stored, TransactionProducer,
};
pub use protocol::assignment::Allocation;
pub use queue::Queue;
pub use retry::RetryLimits;
pub use routes::{Route, RouteError};
pub use session::StartError;
