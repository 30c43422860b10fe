// SPDX-License-Identifier: Apache-2.0
//! Operations on a real store in a temporary directory, with a clock that the test turns and no runtime.

mod bank;
mod compaction;
mod delays;
mod expiry;
mod filters;
mod inner;
mod journey;
mod kinds;
mod light;
mod progress;
mod pulls;
mod races;
mod retries;
mod sends;
mod settings;
mod timers;
mod transactions;
mod world;
