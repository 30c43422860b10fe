// SPDX-License-Identifier: Apache-2.0
//! The log: append, read, recover, retain, and the views derived from it. No network, no async runtime.
//! Start with [`Store`]; `watermarks.rs` has the invariants, `docs/format` the bytes on disk.

pub mod disk;

mod append;
mod arena;
mod checkpoint;
mod cold;
mod config;
mod digest;
mod dispatch;
mod drain;
mod error;
mod facts;
mod flush;
pub mod halves;
mod health;
mod hints;
mod keys;
mod lag;
mod latest;
mod lock;
mod log;
mod metrics;
mod queue;
mod queues;
mod read;
mod recovery;
mod retention;
mod segment;
mod stage;
mod store;
mod timer;
mod views;
mod watermarks;

pub use append::{Appended, Draft};
pub use arena::ArenaShape;
pub use cold::Answer;
pub use config::{Durability, RetentionConfig, StoreConfig};
pub use error::{AppendError, OpenError, ReadError, Settled};
pub use facts::{FACTS_TOPIC, FactChange, FactKind};
pub use halves::Half;
pub use metrics::{Metrics, Stages};
pub use queue::{Boundary, Entry, QueueRef};
pub use queues::QueueLimit;
pub use read::{Batch, Bounds, Read, ReadLimit, Slices};
pub use recovery::{Damage, Opened};
pub use store::{Inspection, Near, SegmentSummary, Store, Usage, Verification};
pub use timer::hop::{due, origin, origin_mark};
pub use timer::{Hold, Slot, Timers, Waiting};
pub use views::{Arrival, Difference, ViewError, ViewsUsage};
pub use watermarks::Watermarks;
