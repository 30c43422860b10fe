// SPDX-License-Identifier: Apache-2.0
//! How long requests spend where, from the bytes that were read to the bytes that were written. Connections of a server
//! record, whoever shows figures reads. What is counted are requests, each with the time of its own.
//! The clock is looked at a few times a turn, not for each request: those that are worked on together began and ended
//! together.

use stdx::Histogram;

use crate::admission::Class;

/// The stages of a request within a server.
#[derive(Debug, Default)]
pub struct Stages {
    /// From the read that brought it until work on it begins: how long it waited behind others of the same read.
    pub queueing: Histogram,
    /// From that read until the answer was ready to be written, of requests that store messages; waiting for the promised
    /// durability included.
    pub sends: Histogram,
    /// The same of requests that read messages and were answered at once.
    pub pulls: Histogram,
    /// The same of all others.
    pub others: Histogram,
    /// From the first answer that was ready until the system had taken all that were written with it, of each of them.
    pub write_out: Histogram,
}

impl Stages {
    fn of(&self, class: Class) -> &Histogram {
        match class {
            Class::Send => &self.sends,
            Class::Pull => &self.pulls,
            Class::Settle | Class::Client | Class::Admin | Class::Control => &self.others,
        }
    }

    /// Notes requests whose answers are ready.
    pub(crate) fn served(&self, class: Class, nanos: u64, requests: usize) {
        self.of(class).record(nanos, requests);
    }
}
