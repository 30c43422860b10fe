// SPDX-License-Identifier: Apache-2.0
//! What happened, line by line: a hash of all of it, the last lines for a failure, every line when asked for.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hasher};

use stdx::Timestamp;

use crate::clock::START;

/// How many lines a failure shows.
const KEPT: usize = 60;

/// The story of one seed.
pub(crate) struct Trace {
    hash: DefaultHasher,
    last: VecDeque<String>,
    told: bool,
    lines: u64,
    /// What came about at least once.
    pub(crate) reached: BTreeSet<String>,
}

impl Trace {
    /// `told` prints each line at once.
    pub(crate) fn new(told: bool) -> Trace {
        Trace { hash: DefaultHasher::new(), last: VecDeque::new(), told, lines: 0, reached: BTreeSet::new() }
    }

    /// Adds a line.
    pub(crate) fn note(&mut self, now: Timestamp, what: &str) {
        self.lines += 1;
        let line = format!("{:>6} {:>7} {what}", self.lines, now.0 - START.0);
        self.hash.write(line.as_bytes());
        if self.told {
            println!("{line}");
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Notes that something came about that a run of seeds has to reach.
    pub(crate) fn reach(&mut self, what: String) {
        self.reached.insert(what);
    }

    /// The same for the same story, and hardly for another.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// The last lines.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
