// SPDX-License-Identifier: Apache-2.0
//! The store from outside, on the simulated disk and on the real one.
#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod basics;
mod crash;
mod faults;
mod hints;
mod inner;
mod kill;
mod latest;
mod light;
mod model;
mod recovery;
mod rig;
mod stages;
mod timers;
