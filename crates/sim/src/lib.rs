// SPDX-License-Identifier: Apache-2.0
//! The whole one-node server in one thread, from one seed: a broker over a simulated disk and a clock that moves when
//! it is told to. A seed decides what clients do, which ready thing goes next, and what fails when.
//!
//! Reading order: `plan` (what a seed decides), `world` (one turn after the other), `nemesis` (what fails), `oracle`
//! (what must hold, one file a promise in `invariants`), `run` (a seed from its start to its verdict).
//! Never a part of the product; never reads the machine's clock, and starts no thread.

#![forbid(unsafe_code)]

mod clock;
mod crash;
mod executor;
mod invariants;
mod message;
mod nemesis;
mod node;
mod oracle;
mod plan;
mod run;
mod steps;
mod trace;
mod workload;
mod world;

pub use run::{Failure, Options, Outcome, run};
