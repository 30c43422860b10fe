// SPDX-License-Identifier: Apache-2.0
//! Moves the log from stages into segment files, a little at a time. Run by the drain loop, by the flush when
//! somebody waits for it, and by close.
//! The system keeps a copy of all it writes, in memory that it has to find first: fresh memory costs more than the write
//! itself. So the copies of what lies far behind are let go, and their memory is what the next write finds.
//! Invariants: bytes are written in log order; `drained` moves only after the write of everything below it; one
//! drain runs at a time. A full disk is waited out, any other failed write is the last one.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::health::Health;
use crate::log::Log;
use crate::stage::Stage;
use crate::watermarks::Watermarks;

/// The largest single write: long enough to be cheap, short enough not to hold up others.
const WRITE_MAX: u64 = 256 << 10;
/// The device is asked to begin after so many bytes, so that the next flush finds little to do.
const WRITEBACK_EACH: u64 = 4 << 20;

pub(crate) struct Drain {
    /// Log offset up to which the device was asked to begin.
    begun: Mutex<u64>,
    /// So many bytes stay in the system's memory.
    page_cache: u64,
}

impl Drain {
    pub(crate) fn new(page_cache: u64) -> Drain {
        Drain { begun: Mutex::default(), page_cache }
    }

    /// Writes up to about `most` bytes; returns how many bytes of the log are now in files.
    pub(crate) fn step(&self, log: &Log, marks: &Watermarks, health: &Health, most: u64) -> io::Result<u64> {
        let mut begun = self.begun.lock();
        let start = marks.drained.get();
        let written = marks.written.get();
        let mut at = start;
        while at < written && at - start < most {
            let Some(stage) = log.stages().from(at) else { break };
            match write_some(log, &stage, at, written) {
                Ok(to) => at = to,
                Err(e) if e.kind() == io::ErrorKind::StorageFull => {
                    health.set_full(Some(e.to_string()));
                    return Ok(at - start);
                }
                Err(e) => return Err(e),
            }
            marks.advance_drained(at);
        }
        if at - (*begun).min(at) >= WRITEBACK_EACH {
            let from = (*begun).max(start);
            log.start_writeback(from, at)?;
            log.uncache(from.saturating_sub(self.page_cache), at.saturating_sub(self.page_cache))?;
            *begun = at;
        }
        Ok(at - start)
    }
}

/// Writes the next bytes of `stage`; returns where the log continues.
fn write_some(log: &Log, stage: &Arc<Stage>, at: u64, written: u64) -> io::Result<u64> {
    // Behind a filler the log continues with the next stage, in the next segment.
    let at = at.max(stage.base());
    let end = stage.limit().min(written).min(at + WRITE_MAX);
    log.write(&stage.tape().bytes()[stage.at(at)..stage.at(end)], at)?;
    stage.note_drained(end);
    let is_over = end == stage.limit() && end < written;
    Ok(match log.stages().from(end) {
        Some(next) if is_over => next.base().min(written),
        _ => end,
    })
}
