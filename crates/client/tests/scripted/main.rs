// SPDX-License-Identifier: Apache-2.0
//! The SDK against servers that misbehave on cue: refusals, silence, lost connections, restarts, stolen locks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod consumer;
mod producer;
mod script;
