// SPDX-License-Identifier: Apache-2.0
//! What std lacks, for every crate above. No domain noun lives here; an item needs three users.
//! Called by everyone, calls no one, and knows no async runtime: its futures use wakers only.
#![forbid(unsafe_code)]

mod clock;
pub mod config;
mod histogram;
mod rng;
mod size;
mod threads;
mod watermark;

pub use clock::{Clock, Deadline, SystemClock, Timestamp, deadline};
pub use histogram::{Histogram, LONGEST, Times};
pub use rng::Rng;
pub use size::ByteSize;
pub use threads::{Stop, Threads};
pub use watermark::{Closed, Reached, Watermark};
