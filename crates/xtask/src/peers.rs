// SPDX-License-Identifier: Apache-2.0
//! Figures of our server beside Apache's and beside `echo`, from one run on one machine, in turn (A B A B), written to
//! `docs/benchmarks/`. The machine has to be idle before each sample, or the report says that it was not.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::apache::Apache;
use crate::interop::Server;
use crate::shell;

/// One line of the table.
struct Row {
    name: &'static str,
    args: &'static [&'static str],
    /// The figure that is compared, a column of the bench's report.
    figure: &'static str,
    /// Whether `echo` can do it too.
    echo: bool,
}

const ROWS: [Row; 8] = [
    Row {
        name: "send 4 x 64",
        args: &["send", "-c", "4", "--outstanding", "64"],
        figure: "per_second",
        echo: true,
    },
    Row {
        name: "send 16 x 1",
        args: &["send", "-c", "16", "--outstanding", "1"],
        figure: "per_second",
        echo: true,
    },
    Row {
        name: "send 1 x 1, p50 (us)",
        args: &["send", "-c", "1", "--outstanding", "1"],
        figure: "p50_us",
        echo: true,
    },
    Row {
        name: "open loop 10 k/s, p99.9 (us)",
        args: &["send", "-c", "4", "--rate", "10000"],
        figure: "p999_us",
        echo: true,
    },
    Row {
        name: "batches of 32, 4 x 16",
        args: &["send", "-c", "4", "--outstanding", "16", "--batch", "32"],
        figure: "per_second",
        echo: true,
    },
    Row {
        name: "pull hot, 4 x 32 (MB/s)",
        args: &["pull", "-c", "4", "--per-request", "32"],
        figure: "mb_per_second",
        echo: false,
    },
    Row {
        name: "end to end 1 k/s, p50 (us)",
        args: &["e2e", "--rate", "1000"],
        figure: "p50_us",
        echo: false,
    },
    Row {
        name: "end to end 10 k/s, p99 (us)",
        args: &["e2e", "--rate", "10000"],
        figure: "p99_us",
        echo: false,
    },
];
/// With the disk's promise on both sides.
const SYNC: Row = Row {
    name: "sync flush 16 x 16",
    args: &["send", "-c", "16", "--outstanding", "16"],
    figure: "per_second",
    echo: false,
};

struct Sample {
    ours: f64,
    apache: f64,
    echo: Option<f64>,
}

/// Runs the table; `--pairs N` and `--seconds N` change its length.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let number = |flag: &str, usual: usize| -> Result<usize> {
        match args.iter().position(|arg| arg == flag) {
            None => Ok(usual),
            Some(at) => args
                .get(at + 1)
                .and_then(|text| text.parse().ok())
                .with_context(|| format!("{flag} takes a number")),
        }
    };
    let (pairs, seconds) = (number("--pairs", 3)?, number("--seconds", 8)?.to_string());
    shell::run(shell::command("cargo", &["build", "--release", "--locked", "--package", "cli"]))?;
    let mut report = String::new();
    let mut busiest = 0.0_f64;
    {
        let ours = Server::start("peers", &[])?;
        let apache = Apache::start(&[])?;
        let echo = Echo::start()?;
        warm(&apache.namesrv)?;
        warm(&ours.namesrv)?;
        for row in &ROWS {
            let samples = (0..pairs).map(|_| {
                busiest = busiest.max(await_idle()?);
                sample(
                    row,
                    &ours.namesrv,
                    &apache.namesrv,
                    row.echo.then_some(echo.address.as_str()),
                    &seconds,
                )
            });
            line(&mut report, row, &samples.collect::<Result<Vec<_>>>()?);
        }
        memory(&mut report, ours.pid(), apache.broker_pid)?;
    }
    {
        let ours = Server::start("peers-sync", &["--set", "durability=disk"])?;
        let apache = Apache::start(&["flushDiskType=SYNC_FLUSH"])?;
        warm(&apache.namesrv)?;
        let samples = (0..pairs).map(|_| {
            busiest = busiest.max(await_idle()?);
            sample(&SYNC, &ours.namesrv, &apache.namesrv, None, &seconds)
        });
        line(&mut report, &SYNC, &samples.collect::<Result<Vec<_>>>()?);
    }
    write(&report, pairs, &seconds, busiest)
}

fn sample(row: &Row, ours: &str, apache: &str, echo: Option<&str>, seconds: &str) -> Result<Sample> {
    Ok(Sample {
        ours: bench(row, &["-n", ours], seconds)?,
        apache: bench(row, &["-n", apache], seconds)?,
        echo: echo.map(|address| bench(row, &["--broker", address], seconds)).transpose()?,
    })
}

fn bench(row: &Row, target: &[&str], seconds: &str) -> Result<f64> {
    let mut command = Command::new(shell::kiruna());
    command.arg("bench").args(row.args).args(target).args(["-o", "json", "--seconds", seconds]);
    let report: Value = serde_json::from_str(&shell::output(command)?)?;
    let errors = report[0]["errors"].as_u64().unwrap_or(u64::MAX);
    if errors > 0 {
        println!("  {} had {errors} errors: {}", row.name, report[0]["failures"]);
    }
    report[0][row.figure].as_f64().with_context(|| format!("the bench printed no {}", row.figure))
}

/// Apache's code has to be compiled, our pages touched.
fn warm(namesrv: &str) -> Result<()> {
    let mut command = Command::new(shell::kiruna());
    command.args(["bench", "send", "-n", namesrv, "-o", "json", "--seconds", "15"]);
    shell::output(command).map(drop)
}

fn line(report: &mut String, row: &Row, samples: &[Sample]) {
    let (ours, apache) = (median(samples.iter().map(|s| s.ours)), median(samples.iter().map(|s| s.apache)));
    let ratio = median(samples.iter().map(|s| s.ours / s.apache));
    let mut text = format!("| {} | {ours:.0} | {apache:.0} | {ratio:.2} ", row.name);
    if row.echo {
        let echo = median(samples.iter().filter_map(|s| s.echo));
        let share = median(samples.iter().filter_map(|s| s.echo.map(|echo| s.ours / echo)));
        let _ = write!(text, "| {echo:.0} | {share:.2} ");
    } else {
        text.push_str("| | ");
    }
    let spread: Vec<String> = samples.iter().map(|s| format!("{:.2}", s.ours / s.apache)).collect();
    let _ = writeln!(text, "| {} |", spread.join(" "));
    print!("{text}");
    report.push_str(&text);
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn memory(report: &mut String, ours: u32, apache: u32) -> Result<()> {
    let anonymous = |pid: u32| -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
        Ok(line.split_whitespace().next().context("no number")?.parse::<f64>()? / 1024.0)
    };
    let (ours, apache) = (anonymous(ours)?, anonymous(apache)?);
    let text = format!(
        "| memory after the rows above (MB, mappings left out) | {ours:.0} | {apache:.0} | {:.3} | | | |\n",
        ours / apache
    );
    print!("{text}");
    report.push_str(&text);
    Ok(())
}

/// Waits until other work leaves the machine; returns how busy it still was.
fn await_idle() -> Result<f64> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let before = cpu_times()?;
        std::thread::park_timeout(Duration::from_secs(1));
        let after = cpu_times()?;
        let busy = 1.0 - (after.1 - before.1) / (after.0 - before.0).max(1.0);
        if busy < 0.1 || Instant::now() > end {
            return Ok(busy);
        }
    }
}

/// All and idle time of the processors, in ticks.
fn cpu_times() -> Result<(f64, f64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let numbers: Vec<f64> = stat
        .lines()
        .next()
        .context("no cpu line")?
        .split_whitespace()
        .skip(1)
        .filter_map(|n| n.parse().ok())
        .collect();
    if numbers.len() < 5 {
        bail!("/proc/stat has another form than expected");
    }
    Ok((numbers.iter().sum(), numbers[3] + numbers[4]))
}

fn write(rows: &str, pairs: usize, seconds: &str, busiest: f64) -> Result<()> {
    let commit = shell::output(shell::command("git", &["rev-parse", "--short", "HEAD"]))?;
    let text = format!(
        "# Beside Apache RocketMQ 5.5.0\n\n\
         Written by `cargo xtask peers` at {}. {pairs} samples of {seconds} s a row, both sides and `echo` in turn in one run on one\n\
         machine of two cores, load generator included; medians, and the ratio of each pair. Apache: 2 GiB heap, warmed for 15 s.\n\
         1 KiB bodies, JSON headers. Busiest the machine was before a sample: {:.0} %{}.\n\n\
         | Work | KirunaMQ | Apache | ratio | echo | share of echo | pairs |\n|---|---|---|---|---|---|---|\n{rows}",
        commit.trim(),
        busiest * 100.0,
        if busiest > 0.1 { ": too busy to believe the figures" } else { "" },
    );
    let path = shell::root().join("docs/benchmarks/peers.md");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("written to {}", path.display());
    Ok(())
}

/// The server that stores nothing.
struct Echo {
    child: Child,
    address: String,
}

impl Echo {
    fn start() -> Result<Echo> {
        let mut child =
            Command::new(shell::kiruna()).args(["bench", "echo"]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output is piped")?).read_line(&mut line)?;
        let address =
            line.trim().strip_prefix("ready echo=").with_context(|| format!("echo printed '{line}'"))?;
        Ok(Echo { address: address.to_owned(), child })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
