// SPDX-License-Identifier: Apache-2.0
//! Servers and clients over real sockets of this machine: what both ends promise each other, and what they promise
//! themselves against peers that do not play along.

mod calls;
mod client;
mod hostile;
mod limits;
mod stages;
mod support;
