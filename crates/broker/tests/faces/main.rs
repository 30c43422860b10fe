// SPDX-License-Identifier: Apache-2.0
//! The broker as clients meet it: over loopback, through a real server, with its loops running.

mod assignments;
mod bodies;
mod groups;
mod messages;
mod replies;
mod site;
mod timers;
mod transactions;
