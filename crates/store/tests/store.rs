// SPDX-License-Identifier: Apache-2.0
//! The store from outside, on the simulated disk and on the real one.

mod basics;
mod crash;
mod faults;
mod model;
mod recovery;
mod rig;
