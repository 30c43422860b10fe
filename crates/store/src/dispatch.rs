// SPDX-License-Identifier: Apache-2.0
//! Reads the log behind the gate and applies it to the views. Driven by the broker's dispatch loop, which then
//! tells waiting consumers. Nothing else makes a message visible.
//! Invariants: every record is applied once, in log order, and never past the gate; its place, its checksum and
//! (by the views) its queue offset are checked again.

use parking_lot::Mutex;
use protocol::names::LogOffset;
use protocol::record::{self, Record, Scan};

use crate::log::Log;
use crate::views::{Arrival, Views};
use crate::watermarks::Watermarks;

/// How much is read at once from a file.
const CHUNK: usize = 256 << 10;

#[derive(Default)]
pub(crate) struct Dispatch {
    running: Mutex<()>,
}

impl Dispatch {
    /// Applies up to `max` records; returns how many. An error says what is wrong with the log or the views.
    pub(crate) fn step(
        &self,
        log: &Log,
        marks: &Watermarks,
        views: &Views,
        max: usize,
        arrivals: &mut Vec<Arrival>,
    ) -> Result<usize, String> {
        let _running = self.running.lock();
        let gate = marks.gate.get();
        let mut at = marks.dispatched.get();
        let mut applied = 0;
        let mut most = CHUNK;
        while at < gate && applied < max {
            let bytes = log.some(at, gate, most).map_err(|e| e.to_string())?;
            let mut pos = 0;
            let mut skip = 0;
            while pos < bytes.len() && applied < max && skip == 0 {
                match record::scan(&bytes[pos..]) {
                    Scan::Record(record) => {
                        apply(views, &record, at + pos as u64, arrivals)?;
                        pos += record.len();
                        applied += 1;
                    }
                    Scan::Blank { len } => skip = len,
                    Scan::End if bytes.len() - pos < record::MAX_LEN && bytes.len() == most => break,
                    Scan::End => {
                        return Err(format!("the log ends at {} before its gate {gate}", at + pos as u64));
                    }
                    Scan::Bad(e) => return Err(format!("the log is damaged at {}: {e}", at + pos as u64)),
                }
            }
            // A record longer than one read needs a longer one.
            most = if pos + skip == 0 { most * 4 } else { CHUNK };
            at += (pos + skip) as u64;
            marks.advance_dispatched(at);
        }
        Ok(applied)
    }
}

fn apply(views: &Views, record: &Record<'_>, at: u64, arrivals: &mut Vec<Arrival>) -> Result<(), String> {
    check(record, at)?;
    views.apply(record, LogOffset(at), Some(arrivals)).map_err(|e| e.to_string())
}

/// Says whether `record` is the one that belongs at `at`.
pub(crate) fn check(record: &Record<'_>, at: u64) -> Result<(), String> {
    if record.log_offset().0 != at {
        return Err(format!("the record at {at} belongs at {}", record.log_offset()));
    }
    record.verify_crc().map_err(|e| format!("the record at {at} is damaged: {e}"))
}
