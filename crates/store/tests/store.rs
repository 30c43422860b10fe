// SPDX-License-Identifier: Apache-2.0
//! The store from outside, on the simulated disk and on the real one.

mod basics;
mod crash;
mod rig;
