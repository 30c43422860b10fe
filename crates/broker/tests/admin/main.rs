// SPDX-License-Identifier: Apache-2.0
//! The broker as operators meet it: over loopback, through a real server, with its loops running.

mod broker;
mod groups;
mod members;
mod membership;
mod progress;
mod topics;

#[expect(dead_code, reason = "shared with the tests of clients, which use more of it")]
#[path = "../faces/site.rs"]
mod site;
