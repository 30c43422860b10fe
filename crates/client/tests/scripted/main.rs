// SPDX-License-Identifier: Apache-2.0
//! The SDK against servers that misbehave on cue: refusals, silence, lost connections, restarts, stolen locks.

mod consumer;
mod producer;
mod script;
