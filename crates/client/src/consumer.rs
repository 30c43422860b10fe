// SPDX-License-Identifier: Apache-2.0
//! Consumers. Reading order: `push` (what the application sees), `member` (the loop behind it), `worker` (one queue),
//! `delivery` (one batch), the cores `window` and `subscription`; `pull` is the consumer that does nothing unasked.

mod answers;
mod delivery;
mod group;
mod held;
mod inbox;
mod listener;
mod member;
mod offsets;
mod progress;
mod pull;
mod push;
mod reading;
pub(crate) mod received;
mod subscription;
mod window;
mod worker;

pub use listener::{Consumed, Delivery};
pub use offsets::OffsetError;
pub use pull::{PullConfig, PullConsumer};
pub use push::{ConsumeFrom, Mode, Model, PushConfig, PushConsumer};
pub(crate) use reading::Reading;
pub use reading::{Place, PullError, Pulled};
pub use received::Received;
#[cfg(test)]
pub(crate) use received::tests::stored;
pub(crate) use subscription::Interest;
pub use subscription::Subscription;
pub use window::WindowLimits;
