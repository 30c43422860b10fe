// SPDX-License-Identifier: Apache-2.0
//! Applies the log behind the gate to the views. Driven by the broker's dispatch loop, which then tells waiting consumers.
//! Nothing else makes a message visible. Of plain messages it is told by who appended them ([`crate::hints`]); all others
//! it reads.
//! Invariants: every record is applied once, in log order, and never past the gate; its place and (by the views) its queue
//! offset are checked again, and so is its checksum when it comes from a file. In a stage it is as this process put it
//! there.

use std::collections::VecDeque;

use parking_lot::Mutex;
use protocol::names::LogOffset;
use protocol::record::{self, Record, Scan};

use crate::append::Sequencer;
use crate::disk::is_shortage;
use crate::hints::Hint;
use crate::log::{Log, Part};
use crate::views::{Arrival, ViewError, Views};
use crate::watermarks::Watermarks;

/// How much is read at once from a file.
const CHUNK: usize = 256 << 10;

/// Why dispatch does not go on.
#[derive(Debug)]
pub(crate) enum Stuck {
    /// The views need room. The record is tried again.
    Full(String),
    /// Log and views do not fit together.
    Broken(String),
}

#[derive(Default)]
pub(crate) struct Dispatch {
    /// Held while a step runs: what it knows of records that it has not reached.
    hints: Mutex<VecDeque<Hint>>,
}

/// What a step works on.
#[derive(Clone, Copy)]
pub(crate) struct Ways<'a> {
    pub(crate) log: &'a Log,
    pub(crate) marks: &'a Watermarks,
    pub(crate) views: &'a Views,
    pub(crate) sequencer: &'a Sequencer,
}

impl Dispatch {
    /// Applies up to `max` records; returns how many, and why it stopped if that was not for want of records.
    pub(crate) fn step(
        &self,
        ways: Ways<'_>,
        max: usize,
        arrivals: &mut Vec<Arrival>,
    ) -> (usize, Option<Stuck>) {
        let mut hints = self.hints.lock();
        let Ways { log, marks, views, sequencer } = ways;
        let gate = marks.gate.get();
        let mut run = Run { views, at: marks.dispatched.get(), left: max, is_from_file: false, arrivals };
        let mut most = CHUNK;
        let mut stuck = None;
        while run.at < gate && run.left > 0 && stuck.is_none() {
            if hints.is_empty() {
                sequencer.take_hints(&mut hints);
            }
            debug_assert!(hints.front().is_none_or(|hint| hint.at.0 >= run.at), "a hint came late");
            let before = run.at;
            stuck = run.apply_hints(&mut hints, gate).err();
            if stuck.is_none() && run.at == before {
                // Up to the next record of which there is a hint.
                let end = hints.front().map_or(gate, |hint| hint.at.0.min(gate));
                if end == run.at {
                    // The gate is within that record: it is dispatched when all of it has passed.
                    break;
                }
                stuck = match log.some(run.at, end, most) {
                    Ok(part) => {
                        // What is cut off at the end of a read comes whole with the next one; at the gate, when that has
                        // moved on. Only the end of what is written is the end of a record for sure.
                        let is_last = run.at + part.bytes.len() as u64 == gate && gate < marks.written.get();
                        let is_cut = part.bytes.len() == most && most < record::MAX_LEN;
                        let outcome = run.apply_all(&part, is_cut || is_last);
                        if is_last && run.at == before && outcome.is_ok() {
                            break;
                        }
                        outcome.err()
                    }
                    Err(e) => Some(Stuck::Broken(e.to_string())),
                };
            }
            most = if run.at == before { most * 4 } else { CHUNK };
            marks.advance_dispatched(run.at);
        }
        (max - run.left, stuck)
    }
}

/// One step on its way.
struct Run<'a> {
    views: &'a Views,
    /// Everything below is applied.
    at: u64,
    left: usize,
    /// What is applied was read from a file.
    is_from_file: bool,
    arrivals: &'a mut Vec<Arrival>,
}

impl Run<'_> {
    /// Applies the hints of the records that come next, as far as they follow each other.
    fn apply_hints(&mut self, hints: &mut VecDeque<Hint>, gate: u64) -> Result<(), Stuck> {
        let end = |at: u64, hint: &Hint| Some(hint.end().0).filter(|&end| hint.at.0 == at && end <= gate);
        let mut upto = self.at;
        let count =
            hints.iter().take(self.left).map_while(|hint| end(upto, hint).inspect(|&end| upto = end)).count();
        if count == 0 {
            return Ok(());
        }
        let before = self.arrivals.len();
        let outcome = self.views.apply_hints(hints, count, self.arrivals);
        let applied = self.arrivals.len() - before;
        self.left -= applied;
        self.at = if applied == count { upto } else { hints.front().map_or(self.at, |hint| hint.at.0) };
        outcome.map_err(stuck)
    }

    fn apply_all(&mut self, part: &Part, may_be_cut: bool) -> Result<(), Stuck> {
        self.is_from_file = part.is_from_file;
        let mut rest = &part.bytes[..];
        while !rest.is_empty() && self.left > 0 {
            match record::scan(rest) {
                Scan::Record(record) => {
                    self.apply(&record)?;
                    self.left -= 1;
                    self.at += record.len() as u64;
                    rest = &rest[record.len()..];
                }
                // Nothing follows it in this segment.
                Scan::Blank { len } => {
                    self.at += len as u64;
                    return Ok(());
                }
                Scan::End if may_be_cut => return Ok(()),
                Scan::End => return Err(self.broken("the log ends before its gate")),
                Scan::Bad(e) => return Err(self.broken(&e.to_string())),
            }
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record<'_>) -> Result<(), Stuck> {
        let checked = if self.is_from_file { check(record, self.at) } else { check_place(record, self.at) };
        checked.map_err(Stuck::Broken)?;
        self.views.apply(record, LogOffset(self.at), Some(self.arrivals)).map_err(stuck)
    }

    fn broken(&self, what: &str) -> Stuck {
        Stuck::Broken(format!("the log at {} cannot be read: {what}", self.at))
    }
}

fn stuck(error: ViewError) -> Stuck {
    match error {
        ViewError::Disk { source, .. } if is_shortage(&source) => Stuck::Full(source.to_string()),
        error => Stuck::Broken(error.to_string()),
    }
}

fn check_place(record: &Record<'_>, at: u64) -> Result<(), String> {
    if record.log_offset().0 == at {
        return Ok(());
    }
    Err(format!("the record at {at} belongs at {}", record.log_offset()))
}

/// Says whether `record` is the one that belongs at `at`, whole.
pub(crate) fn check(record: &Record<'_>, at: u64) -> Result<(), String> {
    check_place(record, at)?;
    record.verify_crc().map_err(|e| format!("the record at {at} is damaged: {e}"))
}
