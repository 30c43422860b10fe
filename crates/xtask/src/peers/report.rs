// SPDX-License-Identifier: Apache-2.0
//! The page for readers and the raw figures for whoever wants to compute again.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::Options;
use super::machine::BUSY;
use super::rows::{LONG, ROWS, Row, Sample, Spread, Summary};
use crate::apache::HEAP;

/// What a run found.
pub(super) struct Report {
    machine: Vec<(&'static str, String)>,
    /// How long the long log is.
    long: String,
    samples: Vec<Vec<Sample>>,
    /// Calls that a server refused while it was measured.
    refused: Vec<String>,
    /// Figures that are missing.
    problems: Vec<String>,
}

impl Report {
    pub(super) fn new(machine: Vec<(&'static str, String)>, gigabytes: f64) -> Report {
        Report {
            long: format!("{gigabytes} GB"),
            machine,
            samples: vec![Vec::new(); ROWS.len()],
            refused: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Takes a row's samples and prints its line.
    pub(super) fn note(&mut self, row: usize, samples: Vec<Sample>) {
        self.samples[row] = samples;
        println!("{}", self.line(&ROWS[row], &self.samples[row]));
    }

    /// Calls that failed within a sample.
    pub(super) fn refused(&mut self, text: String) {
        println!("  {text}");
        self.refused.push(text);
    }

    /// A figure that could not be had.
    pub(super) fn problem(&mut self, text: String) {
        println!("PROBLEM {text}");
        self.problems.push(text);
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Writes `peers.md` and `peers.json`.
    pub(super) fn write(&self, options: &Options) -> Result<()> {
        let busy = self.samples.iter().flatten().filter(|sample| sample.busy > BUSY).count();
        fs::create_dir_all(&options.out)?;
        write(&options.out.join("peers.md"), &self.page(options, busy))?;
        write(&options.out.join("peers.json"), &format!("{:#}\n", self.raw(options)))
    }

    fn page(&self, options: &Options, busy: usize) -> String {
        let rows = match &options.sets[..] {
            [] => String::new(),
            sets => format!(" --rows {}", sets.join(",")),
        };
        let mut page = format!(
            "# Beside Apache RocketMQ\n\nWritten by `cargo xtask peers --pairs {} --seconds {}{rows}`; the raw figures are in \
             [peers.json](peers.json).\n\n| | |\n|---|---|\n",
            options.pairs, options.seconds
        );
        for (name, text) in &self.machine {
            let _ = writeln!(page, "| {name} | {text} |");
        }
        page.push_str(
            "\n1 KiB bodies, JSON headers, 8 queues. Median (least – most) of the turns; a ratio is taken turn by turn. A \
             gate is met or missed by the median.\n\n\
             | Work | Apache | KirunaMQ | echo | to Apache | to echo | Gate | |\n|---|---|---|---|---|---|---|---|\n",
        );
        for (row, samples) in ROWS.iter().zip(&self.samples).filter(|(row, _)| options.wants(row.set)) {
            let _ = writeln!(page, "{}", self.line(row, samples));
        }
        let all: usize = self.samples.iter().map(Vec::len).sum();
        let _ = write!(page, "\n{}", method(options));
        let idle = (BUSY * 100.0).round();
        let _ = match busy {
            0 => writeln!(page, "- The machine was at most {idle} % busy before each of the {all} turns."),
            _ => writeln!(
                page,
                "- **The machine was more than {idle} % busy before {busy} of {all} turns: do not believe these figures.**"
            ),
        };
        for (title, lines) in
            [("Calls that failed", &self.refused), ("Figures that are missing", &self.problems)]
        {
            if !lines.is_empty() {
                let _ = write!(page, "\n## {title}\n\n- {}\n", lines.join("\n- "));
            }
        }
        page
    }

    fn line(&self, row: &Row, samples: &[Sample]) -> String {
        let found = Summary::of(samples);
        let gates: Vec<String> = row.gates.iter().map(|gate| gate.describe(row.unit)).collect();
        let verdicts: Vec<&str> = row
            .gates
            .iter()
            .map(|gate| match gate.met(&found) {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "no figure",
            })
            .collect();
        let unit = row.unit;
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            row.name.replace(LONG, &self.long),
            cell(found.apache, unit),
            cell(found.kiruna, unit),
            cell(found.echo, unit),
            cell(found.to_apache, "×"),
            cell(found.to_echo, "×"),
            gates.join(", "),
            verdicts.join(", ")
        )
    }

    fn raw(&self, options: &Options) -> Value {
        let machine: Map<String, Value> =
            self.machine.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        let rows: Vec<Value> =
            ROWS.iter().zip(&self.samples).map(|(row, samples)| raw_row(row, &self.long, samples)).collect();
        json!({
            "machine": machine,
            "pairs": options.pairs,
            "seconds": options.seconds,
            "gigabytes": options.gigabytes,
            "apache_java": HEAP,
            "rows": rows,
            "refused": self.refused,
            "problems": self.problems,
        })
    }
}

fn method(options: &Options) -> String {
    format!(
        "## How\n\n\
         - One run, one machine, load generator included; turns go Apache, KirunaMQ, echo, Apache, … `echo` is \
         `kiruna bench echo`: it answers at once and stores nothing.\n\
         - Apache: `{}`, its defaults otherwise, warmed by 15 s of sends. KirunaMQ: its defaults, warmed by 3 s. For \
         *sync flush* `flushDiskType=SYNC_FLUSH` and `durability=disk`.\n\
         - Each sample is {} s after 2 s of the same load, begun when what was written before is on the disk. A server that has stored more than 8 GB gives way to a fresh and \
         warmed one, on both sides alike.\n\
         - Open loop and end to end count from the moment a message was due.\n\
         - Memory: all resident pages of the broker's process (`Rss` of each mapping in `/proc/PID/smaps`), but for \
         the pages of files that it maps from its store (log, queues, index); of ours, the files of the stages in shared memory \
         are counted whole, mapped or not, and the name server runs in the same process. Idle is 5 s after the start; the long log is {} GB of bodies, \
         sent in batches of 32 on 4 connections, looked at 5 s later.\n\
         - Ready: from starting the process until a send from outside, tried again every 2 ms, is accepted; on an empty \
         directory, and after `kill -9` with the long log. Apache's name server is up already; ours starts with the broker.\n",
        HEAP.join(" "),
        options.seconds,
        options.gigabytes,
    )
}

fn cell(spread: Option<Spread>, unit: &str) -> String {
    let Some(Spread { median, least, most }) = spread else { return "–".to_owned() };
    let median = format!("{} {unit}", number(median));
    if least >= most { median } else { format!("{median} ({} – {})", number(least), number(most)) }
}

/// Three digits that count, thousands set apart.
fn number(figure: f64) -> String {
    let digits = match figure.abs() {
        0.0..0.1 => 4,
        0.1..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let text = format!("{figure:.digits$}");
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), String::new()), |(w, r)| (w, format!(".{r}")));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + &rest
}

fn raw_row(row: &Row, long: &str, samples: &[Sample]) -> Value {
    let found = Summary::of(samples);
    let samples: Vec<Value> = samples
        .iter()
        .map(|sample| {
            json!({ "apache": sample.apache, "kiruna": sample.kiruna, "echo": sample.echo, "busy_before": sample.busy })
        })
        .collect();
    let gates: Vec<Value> = row
        .gates
        .iter()
        .map(|gate| json!({ "gate": gate.describe(row.unit), "met": gate.met(&found) }))
        .collect();
    json!({ "name": row.name.replace(LONG, long), "unit": row.unit, "gates": gates, "samples": samples })
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("written to {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_read_at_a_glance() {
        let texts = [0.0312, 9.99, 42.42, 703.6, 81_234.4, 1_234_567.0].map(number);
        assert_eq!(texts, ["0.0312", "9.99", "42.4", "704", "81,234", "1,234,567"]);
    }
}
