// SPDX-License-Identifier: Apache-2.0
//! The log: append, read, recover, retain, and the views derived from it. No network, no async runtime.

pub mod disk;

mod arena;
mod checkpoint;
mod facts;
mod keys;
mod queue;
mod queues;
mod views;
