// SPDX-License-Identifier: Apache-2.0
//! Makes drained bytes lasting. One sync serves everyone who waits: those who come during a sync share the next.
//! Invariant: `durable` moves only after a sync that began after the bytes below it were drained. A failed sync is
//! never tried again: the system may have dropped what it could not write.

use std::io;

use parking_lot::Mutex;

use crate::log::Log;
use crate::metrics::Watch;
use crate::watermarks::Watermarks;

#[derive(Default)]
pub(crate) struct Flush {
    running: Mutex<()>,
}

impl Flush {
    /// Syncs what is drained. Returns true when there was something to sync.
    pub(crate) fn step(&self, log: &Log, marks: &Watermarks, watch: Watch<'_>) -> io::Result<bool> {
        let _running = self.running.lock();
        let (from, to) = (marks.durable.get(), marks.drained.get());
        if from == to {
            return Ok(false);
        }
        watch.time(&watch.stages.flush, || log.sync(from, to), Result::is_ok)?;
        marks.advance_durable(to);
        Ok(true)
    }
}
