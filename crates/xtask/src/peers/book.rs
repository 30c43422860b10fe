// SPDX-License-Identifier: Apache-2.0
//! The figures of a page as values: sets of rows, each with the run that it came from. Kept as JSON, so that sets that were
//! measured one after the other stand on one page. Pure but for reading and writing the file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::rows::{Gate, SETS, Task};
use super::sides::Side;

/// Rises when a name or its meaning changes.
const FORMAT: u32 = 2;

/// All sets, in the order of the page.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Book {
    format: u32,
    pub(super) sets: Vec<Set>,
}

/// The rows of one set, from one run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Set {
    pub(super) name: String,
    pub(super) run: Run,
    pub(super) rows: Vec<Measured>,
    /// Calls that a server refused while it was measured.
    pub(super) refused: Vec<String>,
    /// Figures that are missing.
    pub(super) problems: Vec<String>,
}

/// How and on what was measured.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Run {
    /// As it was called.
    pub(super) command: String,
    /// The machine and the versions of what ran on it, as pairs of name and text.
    pub(super) machine: Vec<(String, String)>,
    pub(super) pairs: usize,
    pub(super) seconds: u64,
    pub(super) gigabytes: f64,
}

/// A row with what was found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) unit: String,
    /// What a figure of ours is compared with, where that is ours too.
    pub(super) base: Option<String>,
    pub(super) gates: Vec<Judged>,
    pub(super) samples: Vec<Sample>,
    /// What a peer did that gave no figure, in words.
    pub(super) did: BTreeMap<String, String>,
}

/// A gate, and whether it holds; nothing when a figure for it is missing.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Judged {
    pub(super) gate: String,
    pub(super) met: Option<bool>,
}

/// The figures of one turn; a side without one could not do it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct Sample {
    pub(super) apache: Option<f64>,
    pub(super) rocketmq_rust: Option<f64>,
    pub(super) kiruna: Option<f64>,
    pub(super) echo: Option<f64>,
    /// What ours is compared with, where that is ours too.
    pub(super) base: Option<f64>,
    /// Calls of ours that failed: a gate with such is missed.
    pub(super) failed: u64,
    /// How busy the machine was at most, before one of them.
    pub(super) busy: f64,
}

impl Sample {
    pub(super) fn of(&mut self, side: Side) -> &mut Option<f64> {
        match side {
            Side::Apache => &mut self.apache,
            Side::RocketmqRust => &mut self.rocketmq_rust,
            Side::Kiruna => &mut self.kiruna,
        }
    }
}

/// What the samples of a row say together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Summary {
    pub(super) apache: Option<Spread>,
    pub(super) rocketmq_rust: Option<Spread>,
    pub(super) kiruna: Option<Spread>,
    pub(super) echo: Option<Spread>,
    pub(super) base: Option<Spread>,
    /// Ours to Apache's, turn by turn.
    pub(super) to_apache: Option<Spread>,
    pub(super) to_rocketmq_rust: Option<Spread>,
    pub(super) to_echo: Option<Spread>,
    pub(super) to_base: Option<Spread>,
    failed: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = Option<f64>>) -> Option<Spread> {
        let mut figures: Vec<f64> = figures.flatten().collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Spread { median: f64::midpoint(low, high), least, most })
    }
}

impl Summary {
    pub(super) fn of(samples: &[Sample]) -> Summary {
        let all = |figure: fn(&Sample) -> Option<f64>| Spread::of(samples.iter().map(figure));
        let ratio = |other: fn(&Sample) -> Option<f64>| {
            Spread::of(
                samples.iter().map(|sample| Some(sample.kiruna? / other(sample).filter(|it| *it > 0.0)?)),
            )
        };
        Summary {
            apache: all(|sample| sample.apache),
            rocketmq_rust: all(|sample| sample.rocketmq_rust),
            kiruna: all(|sample| sample.kiruna),
            echo: all(|sample| sample.echo),
            base: all(|sample| sample.base),
            to_apache: ratio(|sample| sample.apache),
            to_rocketmq_rust: ratio(|sample| sample.rocketmq_rust),
            to_echo: ratio(|sample| sample.echo),
            to_base: ratio(|sample| sample.base),
            failed: samples.iter().map(|sample| sample.failed).sum(),
        }
    }
}

impl Gate {
    /// Whether it holds; nothing when a figure for it is missing.
    pub(super) fn met(&self, found: &Summary) -> Option<bool> {
        let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
        let holds = match self {
            Gate::OverApache(times) => median(found.to_apache)? >= *times,
            Gate::UnderApache(times) => median(found.to_apache)? <= *times,
            Gate::OverEcho(times) => median(found.to_echo)? >= *times,
            Gate::UnderEcho(times) => median(found.to_echo)? <= *times,
            Gate::OverBase(times) => median(found.to_base)? >= *times,
            Gate::UnderBase(times) => median(found.to_base)? <= *times,
            Gate::Under(limit) => median(found.kiruna)? <= *limit,
        };
        Some(holds && found.failed == 0)
    }
}

impl Book {
    /// Reads what was written before; nothing when there is none.
    pub(super) fn read(path: &Path) -> Result<Book> {
        let Ok(text) = fs::read_to_string(path) else { return Ok(Book::default()) };
        let book: Book = serde_json::from_str(&text).unwrap_or_default();
        if book.format != FORMAT {
            eprintln!("{} is of another format; it is written anew", path.display());
            return Ok(Book::default());
        }
        Ok(book)
    }

    /// Puts these in place of those with the same names, or of all.
    pub(super) fn take(&mut self, sets: Vec<Set>, merge: bool) {
        self.format = FORMAT;
        let is_new = |old: &Set| sets.iter().any(|set| set.name == old.name);
        self.sets.retain(|old| merge && !is_new(old));
        self.sets.extend(sets);
        let place = |set: &Set| SETS.iter().position(|name| *name == set.name).unwrap_or(SETS.len());
        self.sets.sort_by_key(place);
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = format!("{}\n", serde_json::to_string_pretty(self)?);
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Set {
    /// Takes the samples of one task: of each of its rows, a list.
    pub(super) fn note(
        &mut self,
        task: &Task,
        long: &str,
        samples: Vec<Vec<Sample>>,
        did: &BTreeMap<String, String>,
    ) {
        for (row, samples) in task.rows.iter().zip(samples) {
            let found = Summary::of(&samples);
            let base = task.base().unwrap_or_default();
            let judge = |gate: &Gate| Judged { gate: gate.describe(row.unit, base), met: gate.met(&found) };
            self.rows.push(Measured {
                name: row.name.replace(super::rows::LONG, long),
                unit: row.unit.to_owned(),
                base: task.base().map(str::to_owned),
                gates: row.gates.iter().map(judge).collect(),
                samples,
                did: did.clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_met_by_the_median_of_the_turns() {
        let turn = |kiruna, apache, echo| Sample {
            kiruna: Some(kiruna),
            apache: Some(apache),
            echo,
            ..Sample::default()
        };
        let mut samples =
            [turn(50.0, 10.0, None), turn(10.0, 10.0, Some(20.0)), turn(66.0, 11.0, Some(100.0))];
        let summary = Summary::of(&samples);
        let met = |gate: Gate| gate.met(&summary);
        assert_eq!(met(Gate::OverApache(5.0)), Some(true));
        assert_eq!(met(Gate::OverApache(5.1)), Some(false));
        assert_eq!(met(Gate::UnderApache(5.0)), Some(true));
        assert_eq!(met(Gate::OverEcho(0.58)), Some(true), "between 0.5 and 0.66");
        assert_eq!(met(Gate::UnderEcho(0.57)), Some(false));
        assert_eq!(met(Gate::Under(49.9)), Some(false));
        assert_eq!(met(Gate::OverBase(0.1)), None, "there is nothing to compare with");
        assert_eq!(Gate::OverEcho(0.1).met(&Summary::of(&[Sample::default()])), None);
        samples[0].failed = 1;
        assert_eq!(Gate::OverApache(5.0).met(&Summary::of(&samples)), Some(false), "a call of ours failed");
    }

    #[test]
    fn a_set_takes_the_place_of_the_one_measured_before() {
        let set = |name: &str, command: &str| Set {
            name: name.to_owned(),
            run: Run { command: command.to_owned(), ..Run::default() },
            ..Set::default()
        };
        let names = |book: &Book| -> Vec<(String, String)> {
            book.sets.iter().map(|set| (set.name.clone(), set.run.command.clone())).collect()
        };
        let pair = |name: &str, command: &str| (name.to_owned(), command.to_owned());
        let mut book = Book::default();
        book.take(vec![set("life", "first"), set("send", "first")], true);
        book.take(vec![set("send", "second"), set("pull", "second")], true);
        assert_eq!(names(&book), [pair("send", "second"), pair("pull", "second"), pair("life", "first")]);
        let text = serde_json::to_string(&book).expect("it is JSON");
        let mut back: Book = serde_json::from_str(&text).expect("and comes back");
        assert_eq!(names(&back), names(&book));
        back.take(vec![set("open", "third")], false);
        assert_eq!(names(&back), [pair("open", "third")]);
    }
}
