// SPDX-License-Identifier: Apache-2.0
//! One promise a file. Each keeps what it has to remember, is told what happens, and panics when it cannot be.

pub(crate) mod delay;
pub(crate) mod latest;
pub(crate) mod light;
pub(crate) mod locks;
pub(crate) mod progress;
pub(crate) mod reads;
pub(crate) mod retry;
pub(crate) mod settings;
pub(crate) mod timers;
pub(crate) mod transaction;
pub(crate) mod waits;
