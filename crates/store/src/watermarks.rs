// SPDX-License-Identifier: Apache-2.0
//! How far the log has come, in bytes. Advanced by the sequencer, the drain, the flush, dispatch and retention;
//! waited on by producers, loops and the broker.
//!
//! Invariants, asserted on every move:
//! ```text
//! start ≤ dispatched ≤ gate ≤ written        drained ≤ written        durable ≤ written
//! gate = written    when Durability::Memory        (flush later)
//!        durable    when Durability::Disk          (flush first)
//! ```
//! A consumer sees nothing past `dispatched`, hence nothing that the promised failures can take back.

use stdx::Watermark;

use crate::config::Durability;

/// The marks of one log. The others are read by waiting on them or by `get`; only the store advances them.
pub struct Watermarks {
    /// The first byte that is kept.
    pub start: Watermark,
    /// One past the last record that survives the death of the process.
    pub written: Watermark,
    /// One past the last byte that was handed to the log's files.
    pub drained: Watermark,
    /// One past the last byte that survives a power cut.
    pub durable: Watermark,
    /// How far the promised durability holds.
    pub gate: Watermark,
    /// One past the last record that the views, and with them consumers, know.
    pub dispatched: Watermark,
    durability: Durability,
}

impl Watermarks {
    pub(crate) fn new(durability: Durability, start: u64) -> Watermarks {
        let at = || Watermark::new(start);
        Watermarks {
            start: at(),
            written: at(),
            drained: at(),
            durable: at(),
            gate: at(),
            dispatched: at(),
            durability,
        }
    }

    /// What an acknowledgement promises.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    pub(crate) fn advance_written(&self, to: u64) {
        self.written.advance(to);
        if self.durability == Durability::Memory {
            self.gate.advance(to);
        }
    }

    pub(crate) fn advance_drained(&self, to: u64) {
        assert!(to <= self.written.get(), "drained {to} would pass written {}", self.written.get());
        self.drained.advance(to);
    }

    pub(crate) fn advance_durable(&self, to: u64) {
        assert!(to <= self.drained.get(), "durable {to} would pass drained {}", self.drained.get());
        self.durable.advance(to);
        if self.durability == Durability::Disk {
            self.gate.advance(to);
        }
    }

    pub(crate) fn advance_dispatched(&self, to: u64) {
        assert!(to <= self.gate.get(), "dispatched {to} would pass the gate {}", self.gate.get());
        self.dispatched.advance(to);
    }

    pub(crate) fn advance_start(&self, to: u64) {
        assert!(to <= self.dispatched.get(), "start {to} would pass dispatched {}", self.dispatched.get());
        self.start.advance(to);
    }

    /// Tells everyone who waits that no further promise is made.
    pub(crate) fn close(&self) {
        for mark in [&self.start, &self.written, &self.drained, &self.durable, &self.gate, &self.dispatched] {
            mark.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn the_gate_follows_the_promise() {
        let memory = Watermarks::new(Durability::Memory, 10);
        memory.advance_written(20);
        assert_eq!(memory.gate.get(), 20);
        let disk = Watermarks::new(Durability::Disk, 10);
        disk.advance_written(20);
        assert_eq!(disk.gate.get(), 10);
        disk.advance_drained(20);
        disk.advance_durable(20);
        assert_eq!(disk.gate.get(), 20);
    }

    #[test]
    fn no_mark_passes_the_one_it_depends_on() {
        let marks = Watermarks::new(Durability::Disk, 10);
        marks.advance_written(20);
        for wrong in [
            Watermarks::advance_drained as fn(&Watermarks, u64),
            Watermarks::advance_durable,
            Watermarks::advance_dispatched,
            Watermarks::advance_start,
        ] {
            assert!(catch_unwind(AssertUnwindSafe(|| wrong(&marks, 21))).is_err());
        }
    }
}
