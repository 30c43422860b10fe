// SPDX-License-Identifier: Apache-2.0
//! The SDK against a running cluster, Apache's or ours, named by `KIRUNA_TEST_NAMESRV` (`host:port`). Without it every
//! test says so and passes. Each test makes its own topics and groups, so that they run side by side.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod cluster;
mod killed;
mod orderly;
mod pull;
mod push;
mod rebalance;
mod requests;
mod send;
mod transactions;
