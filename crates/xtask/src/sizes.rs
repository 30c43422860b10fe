// SPDX-License-Identifier: Apache-2.0
//! Sends of every size: bodies, batches, headers and connections in one table, our server beside `echo`, in turn, written to
//! `docs/benchmarks/sizes.md`. What that page says of cliffs, behind the table, is written by people and kept.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::peers::sides::{Echo, Kind, Lab, Server, Side};
use crate::peers::{machine, number};
use crate::process::{Owned, Signals};
use crate::shell;

/// A server that has stored more gives way to a fresh one.
const ROOM: u64 = 6_000_000_000;
/// What a broker takes at most: a body and what is around it, or a batch with all that.
const LARGEST: u64 = (4 << 20) - 1024;
const BODIES: [u64; 5] = [16, 128, 1024, 64 << 10, LARGEST];
const BATCHES: [u64; 3] = [1, 32, 1024];
const CONNECTIONS: [u64; 5] = [1, 4, 16, 64, 1000];
const HEADERS: [&str; 2] = ["json", "binary"];
/// Calls under way in all, where their bytes allow it.
const UNDER_WAY: u64 = 256;
/// Bytes under way on one connection at most.
const BYTES: u64 = 4 << 20;
/// What stands around a message in a batch.
const AROUND: u64 = 128;
/// How long a server may go on with what it was left with, how often that is looked at, and the percent of a core that it may take
/// then.
const SETTLING: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(300);
const CALM: f64 = 7.0;
/// From here on the page is kept.
const KEPT: &str = "## Cliffs";

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    body: u64,
    batch: u64,
    header: &'static str,
    connections: u64,
}

impl Shape {
    fn outstanding(self) -> u64 {
        let fits = (BYTES / (self.body * self.batch)).max(1);
        (UNDER_WAY / self.connections).max(1).min(fits)
    }

    fn is_possible(self) -> bool {
        self.batch == 1 || (self.body + AROUND) * self.batch <= LARGEST
    }

    fn args(self) -> Vec<String> {
        let header = self.header.to_owned();
        let numbers = [self.body, self.batch, self.connections, self.outstanding()].map(|it| it.to_string());
        let flags = ["--size", "--batch", "--connections", "--outstanding"].map(str::to_owned);
        let pairs = flags.into_iter().zip(numbers).flat_map(|(flag, number)| [flag, number]);
        ["send".to_owned(), "--header".to_owned(), header].into_iter().chain(pairs).collect()
    }
}

/// All of them: bodies by batches by headers on four connections, then connections by bodies.
fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for batch in BATCHES {
        for body in BODIES {
            for header in HEADERS {
                shapes.push(Shape { body, batch, header, connections: 4 });
            }
        }
    }
    for body in [128, 1024, 64 << 10] {
        for connections in CONNECTIONS {
            for header in HEADERS {
                shapes.push(Shape { body, batch: 1, header, connections });
            }
        }
    }
    let mut once: Vec<Shape> = Vec::new();
    for shape in shapes.into_iter().filter(|shape| shape.is_possible()) {
        if !once.contains(&shape) {
            once.push(shape);
        }
    }
    once
}

struct Options {
    pairs: usize,
    seconds: u64,
    kiruna: PathBuf,
    generator: PathBuf,
    out: PathBuf,
    note: String,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options {
            pairs: 3,
            seconds: 2,
            kiruna: shell::kiruna(),
            generator: PathBuf::new(),
            out: shell::root().join("docs/benchmarks"),
            note: String::new(),
        };
        let mut ready = std::env::var_os("KIRUNA_BIN").is_some();
        for pair in args.chunks(2) {
            let [flag, text] = pair else { bail!("{} takes a value", pair[0]) };
            let wrong = || format!("{flag} {text}: not a number");
            match flag.as_str() {
                "--pairs" => options.pairs = text.parse().with_context(wrong)?,
                "--seconds" => options.seconds = text.parse().with_context(wrong)?,
                "--kiruna" => (options.kiruna, ready) = (std::path::absolute(text)?, true),
                "--generator" => options.generator = std::path::absolute(text)?,
                "--out" => options.out = std::path::absolute(text)?,
                "--note" => options.note.clone_from(text),
                _ => bail!("{flag} is not a flag of sizes"),
            }
        }
        if options.pairs == 0 || options.seconds == 0 {
            bail!("--pairs and --seconds are at least 1");
        }
        if options.generator.as_os_str().is_empty() {
            options.generator.clone_from(&options.kiruna);
        }
        if !ready {
            shell::build_kiruna()?;
        }
        Ok(options)
    }
}

/// Runs the table and writes the page.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let signals = Signals::listen()?;
    let lab = Lab { signals: &signals, kiruna: &options.kiruna, generator: &options.generator };
    let shapes = shapes();
    let each = (options.seconds + 3) * 2 * options.pairs as u64;
    eprintln!("{} rows, about {} minutes", shapes.len(), (shapes.len() as u64 * each).div_ceil(60));
    let mut bench = Bench { lab, options: &options, server: None, echo: Echo::start(Kind::Plain, &lab)? };
    let mut lines = Vec::new();
    let begun = Instant::now();
    for (at, shape) in shapes.iter().enumerate() {
        let line = bench.line(*shape)?;
        eprintln!("[{}/{}] {line}", at + 1, shapes.len());
        lines.push(line);
    }
    drop(bench);
    eprintln!("took {:.0} minutes", begun.elapsed().as_secs_f64() / 60.0);
    fs::create_dir_all(&options.out)?;
    let path = options.out.join("sizes.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, page(&options, &lines, &before))
        .with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("written to {}", path.display());
    Ok(())
}

struct Bench<'a> {
    lab: Lab<'a>,
    options: &'a Options,
    server: Option<Server>,
    echo: Echo,
}

/// The medians of a side, or why there are none.
type Figures = Result<[f64; 3], String>;

impl Bench<'_> {
    fn line(&mut self, shape: Shape) -> Result<String> {
        let mut turns: [Vec<[f64; 3]>; 2] = Default::default();
        let mut failures: [Option<String>; 2] = Default::default();
        for _ in 0..self.options.pairs {
            for side in 0..2 {
                let found = if side == 0 { self.ours(shape) } else { self.echo(shape) };
                match found {
                    Ok(figures) => turns[side].push(figures),
                    Err(error) if self.lab.signals.seen() => return Err(error),
                    Err(error) => failures[side] = Some(format!("{error:#}")),
                }
            }
        }
        let of = |side: usize| match &failures[side] {
            Some(failure) => Err(failure.clone()),
            None => Ok(std::array::from_fn(|column| {
                median(turns[side].iter().map(|figures| figures[column]).collect())
            })),
        };
        Ok(line(shape, &of(0), &of(1)))
    }

    fn ours(&mut self, shape: Shape) -> Result<[f64; 3]> {
        let is_full = |server: &mut Server| server.pid().is_err() || machine::taken(&server.store()) > ROOM;
        if self.server.as_mut().is_none_or(is_full) {
            self.server = None;
            let mut fresh = Server::prepare(Side::Kiruna, "sizes", Kind::Plain, &self.lab)?;
            fresh.start(self.lab.signals)?;
            self.server = Some(fresh);
            // It is known to its name server a moment after it accepts messages.
            self.lab.signals.pause(Duration::from_secs(2))?;
        }
        let server = self.server.as_mut().context("it was started")?;
        let (namesrv, pid) = (server.namesrv(), server.pid()?);
        // What the row before left to be written would be in the figures of this one.
        let begun = Instant::now();
        while machine::share(pid, self.lab.signals, LOOK)? > CALM && begun.elapsed() < SETTLING {}
        let found = self.sample(shape, ["-n", &namesrv]);
        if found.is_err() {
            self.server = None;
        }
        found
    }

    fn echo(&self, shape: Shape) -> Result<[f64; 3]> {
        self.sample(shape, ["--broker", &self.echo.address])
    }

    /// Messages and megabytes a second, and the 99th percentile in microseconds.
    fn sample(&self, shape: Shape, target: [&str; 2]) -> Result<[f64; 3]> {
        let mut command = std::process::Command::new(self.lab.generator);
        command.arg("bench").args(shape.args()).args(target);
        command.args(["--warmup", "1", "--seconds", &self.options.seconds.to_string(), "-o", "json"]);
        let patience = Duration::from_secs(self.options.seconds + 60);
        let text = Owned::start_piped(command)?.output(self.lab.signals, patience)?;
        let report: Value = serde_json::from_str(&text).context("the bench's report")?;
        if report[0]["errors"] != 0 {
            bail!("{}", report[0]["failures"].as_str().unwrap_or("calls failed"));
        }
        let figure = |name: &str| report[0][name].as_f64().with_context(|| format!("no {name}"));
        Ok([figure("per_second")?, figure("mb_per_second")?, figure("p99_us")?])
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    f64::midpoint(figures[(figures.len() - 1) / 2], figures[figures.len() / 2])
}

fn line(shape: Shape, ours: &Figures, echo: &Figures) -> String {
    let cells = |figures: &Figures| match figures {
        Ok(figures) => figures.map(number).join(" | "),
        Err(failure) => format!("{} | | ", failure.replace('|', "/")),
    };
    let share = match (ours, echo) {
        (Ok(ours), Ok(echo)) => format!("{:.0} %", ours[0] / echo[0] * 100.0),
        _ => "–".to_owned(),
    };
    format!(
        "| {} | {} | {} | {} × {} | {} | {} | {share} |",
        bytes(shape.body),
        number(shape.batch as f64).trim_end_matches(".0").trim_end_matches(".00"),
        shape.header,
        shape.connections,
        shape.outstanding(),
        cells(ours),
        cells(echo)
    )
}

fn bytes(count: u64) -> String {
    match count {
        LARGEST => "4 MiB – 1 KiB".to_owned(),
        small if small < 1024 => format!("{small} B"),
        large => format!("{} KiB", large >> 10),
    }
}

/// The page, with what people wrote behind the table before.
fn page(options: &Options, lines: &[String], before: &str) -> String {
    let mut page = format!(
        "# Small and large\n\nThe table is written by `cargo xtask sizes --pairs {} --seconds {}`; what is said of cliffs below it is kept.\n\n\
         | | |\n|---|---|\n",
        options.pairs, options.seconds
    );
    for (name, text) in machine::describe(&options.kiruna) {
        if name == "apache" || name == "java" {
            continue;
        }
        let note = if name == "commit" && !options.note.is_empty() {
            format!(" ({})", options.note)
        } else {
            String::new()
        };
        let _ = writeln!(page, "| {name} | {text}{note} |");
    }
    page.push_str(
        "\nSends to 8 queues, closed loop, memory durability; our server, when it has written what the row before left, then `echo`; medians of the turns. So many calls are under way on each connection that \
         there are 256 in all, and no more than 4 MiB on one. A batch is one call, so p99 is that of a batch. What a broker takes at most is 4 MiB, for a \
         message with what is around it as for a batch: larger products of body and batch cannot be.\n\n\
         | Body | Batch | Header | Connections × under way | msg/s | MB/s | p99 µs | `echo` msg/s | MB/s | p99 µs | share |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    lines.iter().for_each(|line| page.push_str(&format!("{line}\n")));
    let kept = before.find(KEPT).map_or(KEPT, |at| before[at..].trim_end());
    page.push_str(&format!("\n{kept}\n"));
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_can_be_sent() {
        let shapes = shapes();
        for shape in &shapes {
            assert!(shape.body * shape.batch <= 4 << 20, "{shape:?}");
            assert!((1..=UNDER_WAY).contains(&shape.outstanding()), "{shape:?}");
        }
        let has = |wanted: fn(&Shape) -> bool| shapes.iter().any(wanted);
        assert!(has(|shape| shape.body == LARGEST && shape.outstanding() == 1));
        assert!(has(|shape| shape.batch == 1024 && shape.body == 1024));
        assert!(has(|shape| shape.connections == 1000 && shape.header == "binary"));
        assert!(!has(|shape| shape.batch == 1024 && shape.body > 4096));
        let small = Shape { body: 1024, batch: 1, header: "json", connections: 4 };
        assert_eq!(
            small.args().join(" "),
            "send --header json --size 1024 --batch 1 --connections 4 --outstanding 64"
        );
    }

    #[test]
    fn what_people_wrote_is_kept() {
        let options = Options::parse(&["--kiruna".to_owned(), "/nonexistent".to_owned()]).expect("flags");
        let shape = Shape { body: 65_536, batch: 32, header: "json", connections: 4 };
        let line = line(shape, &Ok([1_000.0, 65.5, 900.0]), &Err("code 13".to_owned()));
        assert_eq!(line, "| 64 KiB | 32 | json | 4 × 2 | 1,000 | 65.5 | 900 | code 13 | |  | – |");
        let page = page(&options, std::slice::from_ref(&line), "old table\n\n## Cliffs\n\nNone.\n");
        assert!(page.contains(&line) && !page.contains("old table"));
        assert!(page.ends_with("\n\n## Cliffs\n\nNone.\n"), "{page}");
    }
}
