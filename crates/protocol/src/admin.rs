// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What tools ask brokers: about topics, groups, the broker itself, progress, and resetting it.

pub mod broker;
pub mod group;
pub mod journey;
pub mod progress;
pub mod replica;
pub mod reset;
pub mod timer;
pub mod topic;
pub mod transaction;
