// SPDX-License-Identifier: Apache-2.0
//! Moves the log from stages into segment files, a little at a time. Run by the drain loop, by the flush when
//! somebody waits for it, and by close.
//! Whole blocks go to the device as they are: the system keeps a copy of everything else that it writes, in memory that it
//! has to find first, and fresh memory costs more than the write itself. Only while somebody reads behind the stages, or
//! when there is little to write, do bytes go through the system's memory; copies that lie far behind are let go.
//! Invariants: bytes are written in log order; `drained` moves only after the write of everything below it; one
//! drain runs at a time. A full disk is waited out, any other failed write is the last one.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::is_shortage;
use crate::health::Health;
use crate::log::Log;
use crate::metrics::Watch;
use crate::stage::Stage;
use crate::watermarks::Watermarks;

/// The largest single write through the system's memory: long enough to be cheap, short enough not to hold up others.
const WRITE_MAX: u64 = 256 << 10;
/// The device is asked to begin after so many bytes, so that the next flush finds little to do.
const WRITEBACK_EACH: u64 = 4 << 20;

pub(crate) struct Drain {
    state: Mutex<State>,
    /// So many bytes stay in the system's memory when there are readers for them.
    page_cache: u64,
}

#[derive(Default)]
struct State {
    /// Log offset up to which the device was asked to begin.
    begun: u64,
    /// Reads behind the stages when it was looked the last time.
    lagging: u64,
    /// Bytes below this go through the system's memory: somebody who lags comes by.
    cached_to: u64,
}

impl Drain {
    pub(crate) fn new(page_cache: u64) -> Drain {
        Drain { state: Mutex::default(), page_cache }
    }

    /// Writes up to about `most` bytes; returns how many bytes of the log are now in files.
    pub(crate) fn step(
        &self,
        log: &Log,
        marks: &Watermarks,
        health: &Health,
        watch: Watch<'_>,
        most: u64,
    ) -> io::Result<u64> {
        let mut state = self.state.lock();
        let start = marks.drained.get();
        let written = marks.written.get();
        if state.begun == 0 {
            state.begun = start;
        }
        let lagging = log.lagging();
        if lagging != state.lagging {
            (state.lagging, state.cached_to) = (lagging, start + self.page_cache);
        }
        let mut at = start;
        while at < written && at - start < most {
            let Some(stage) = log.stages().from(at) else { break };
            let direct = at >= state.cached_to;
            let write = || write_some(log, &stage, at, written, direct);
            match watch.time(&watch.stages.drain, write, Result::is_ok) {
                Ok(to) => at = to,
                Err(e) if is_shortage(&e) => {
                    health.set_full(Some(e.to_string()));
                    return Ok(at - start);
                }
                Err(e) => return Err(e),
            }
            marks.advance_drained(at);
        }
        if at - state.begun.min(at) >= WRITEBACK_EACH {
            log.start_writeback(state.begun, at)?;
            let behind = state.begun.saturating_sub(self.page_cache)..at.saturating_sub(self.page_cache);
            log.uncache(behind.start, behind.end)?;
            state.begun = at;
        }
        Ok(at - start)
    }
}

/// Writes the next bytes of `stage`; returns where the log continues.
fn write_some(log: &Log, stage: &Arc<Stage>, at: u64, written: u64, direct: bool) -> io::Result<u64> {
    // Behind a filler the log continues with the next stage, in the next segment.
    let at = at.max(stage.base());
    let end = stage.limit().min(written);
    let data = &stage.tape().bytes()[stage.at(at)..stage.at(end)];
    let to = match if direct { log.write_direct(data, at)? } else { None } {
        Some(to) => to,
        None => {
            let part = &data[..data.len().min(WRITE_MAX as usize)];
            log.write(part, at)?;
            at + part.len() as u64
        }
    };
    stage.note_drained(to);
    let is_over = to == stage.limit() && to < written;
    Ok(match log.stages().from(to) {
        Some(next) if is_over => next.base().min(written),
        _ => to,
    })
}
