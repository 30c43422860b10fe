// SPDX-License-Identifier: Apache-2.0
//! The gates of timed messages, on a server of their own: what many that wait cost, how late many are that are due
//! together, and whether any is lost, early or delivered twice while the server is killed again and again.
//! Fails when a promise is broken or a gate is missed.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::peers::sides::{Kind, Lab, Server, Side};
use crate::process::{Owned, Signals};
use crate::shell;

/// How long a broker that takes sends may be unknown to its name server.
const REGISTERED: Duration = Duration::from_secs(30);

/// How the command was called.
struct Options {
    /// Messages that wait.
    pending: u64,
    /// Messages that are due in one second.
    due: u64,
    /// Bytes of a body.
    size: u64,
    /// Seconds of each measurement of sends.
    seconds: u64,
    /// Kills the server, instead.
    kill: bool,
    minutes: f64,
    every: u64,
    kiruna: PathBuf,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options {
            pending: 10_000_000,
            due: 0,
            size: 100,
            seconds: 5,
            kill: false,
            minutes: 10.0,
            every: 20,
            kiruna: shell::kiruna(),
        };
        let mut ready = std::env::var_os("KIRUNA_BIN").is_some();
        let mut due = None;
        let mut rest = args.iter();
        while let Some(flag) = rest.next() {
            if flag == "--kill" {
                options.kill = true;
                continue;
            }
            let text = rest.next().with_context(|| format!("{flag} takes a value"))?;
            let wrong = || format!("{flag} {text}: not a number");
            match flag.as_str() {
                "--pending" => options.pending = text.parse().with_context(wrong)?,
                "--due" => due = Some(text.parse().with_context(wrong)?),
                "--size" => options.size = text.parse().with_context(wrong)?,
                "--seconds" => options.seconds = text.parse().with_context(wrong)?,
                "--minutes" => options.minutes = text.parse().with_context(wrong)?,
                "--every" => options.every = text.parse().with_context(wrong)?,
                "--kiruna" => (options.kiruna, ready) = (std::path::absolute(text)?, true),
                _ => bail!("{flag} is not a flag of timers"),
            }
        }
        options.due = due.unwrap_or(if options.kill { 200_000 } else { 1_000_000 });
        if options.every == 0 || options.minutes <= 0.0 || options.seconds == 0 {
            bail!("--every, --minutes and --seconds are above 0");
        }
        if !ready {
            shell::build_kiruna()?;
        }
        Ok(options)
    }
}

/// Runs the measurements, or the kills.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let signals = Signals::listen()?;
    let lab = Lab { signals: &signals, kiruna: &options.kiruna, generator: &options.kiruna };
    let mut table = Table::default();
    let server = Server::prepare(Side::Kiruna, "timers", Kind::Plain, &lab)?;
    let mut run = Run { options: &options, signals: &signals, server, table: &mut table };
    println!("ready after {:.2} s", run.server.start(&signals)?.as_secs_f64());
    if options.kill {
        run.kills()?;
    } else {
        run.together()?;
        run.pending()?;
    }
    drop(run);
    table.finish()
}

/// What was found, line by line.
#[derive(Default)]
struct Table {
    lines: Vec<[String; 4]>,
    missed: usize,
}

impl Table {
    fn note(&mut self, what: &str, figure: String, gate: &str, is_met: Option<bool>) {
        let verdict = match is_met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        self.missed += usize::from(is_met == Some(false));
        println!("{what}: {figure} {verdict}");
        self.lines.push([what.to_owned(), figure, gate.to_owned(), verdict.to_owned()]);
    }

    fn finish(&self) -> Result<()> {
        println!("\n| What | Figure | Gate | |\n|---|---|---|---|");
        for [what, figure, gate, verdict] in &self.lines {
            println!("| {what} | {figure} | {gate} | {verdict} |");
        }
        if self.missed > 0 {
            bail!("{} of these gates are missed", self.missed);
        }
        Ok(())
    }
}

struct Run<'a> {
    options: &'a Options,
    signals: &'a Signals,
    server: Server,
    table: &'a mut Table,
}

/// A delay that no run outlasts.
const LONG: &str = "24h..96h";

impl Run<'_> {
    /// What `pending` waiting messages cost: memory, a restart, one more.
    fn pending(&mut self) -> Result<()> {
        let Options { pending, size, .. } = *self.options;
        let count = pending.to_string();
        let started = Instant::now();
        let bytes = size.to_string();
        self.bench(&[
            "send",
            "--messages",
            &count,
            "--size",
            &bytes,
            "--delay",
            LONG,
            "--outstanding",
            "256",
        ])?;
        println!("filled in {:.0} s", started.elapsed().as_secs_f64());
        let waiting = self.settled()?;
        if waiting < pending {
            bail!("{pending} timed messages were stored, {waiting} wait");
        }
        self.signals.pause(Duration::from_secs(5))?;
        let memory = self.server.memory()?;
        let what = format!("memory with {waiting} that wait");
        self.table.note(&what, format!("{memory:.0} MB"), "≤ 600 MB", Some(memory <= 600.0));
        for turn in 1..=3 {
            self.server.kill();
            let ready = self.server.start(self.signals)?.as_secs_f64();
            let what = format!("ready after kill -9, {turn}");
            self.table.note(&what, format!("{ready:.2} s"), "≤ 3 s", Some(ready <= 3.0));
            let now = self.registered()?;
            let is_same = now == waiting;
            self.table.note("still waiting", format!("{now} of {waiting}"), "all", Some(is_same));
        }
        let memory = self.server.memory()?;
        self.table.note(
            "memory after the restart",
            format!("{memory:.0} MB"),
            "≤ 600 MB",
            Some(memory <= 600.0),
        );
        self.one_more()
    }

    /// Plain sends and sends with a delay in turn.
    fn one_more(&mut self) -> Result<()> {
        let seconds = self.options.seconds.to_string();
        let bytes = self.options.size.to_string();
        let all = ["send", "--outstanding", "64", "--warmup", "1", "--seconds", &seconds, "--size", &bytes];
        let rate = |found: &Value| found["per_second"].as_f64().context("the bench printed no rate");
        let (mut plain, mut timed) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            plain.push(rate(&self.bench(&all)?)?);
            timed.push(rate(&self.bench(&[&all[..], &["--delay", LONG]].concat())?)?);
        }
        let median = |figures: &mut Vec<f64>| {
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        let (plain, timed) = (median(&mut plain), median(&mut timed));
        let cost = plain / timed;
        let figure = format!("{cost:.2} × a plain send ({timed:.0} of {plain:.0} msg/s)");
        self.table.note("cost of one more", figure, "≤ 1.2 ×", Some(cost <= 1.2));
        Ok(())
    }

    /// Many that are due in one second: how late they are, and whether in order.
    fn together(&mut self) -> Result<()> {
        let (waiting, due) = self.fill("TimersTogether", Duration::from_secs(1))?;
        let patience = due + Duration::from_secs(60 + self.options.due / 5_000);
        self.delivered(patience)?;
        let found = self.audit("TimersTogether", waiting)?;
        let number = |name: &str| found[name].as_f64().unwrap_or(f64::NAN);
        let what = format!("{waiting} due in one second");
        let (p50, p99, most) = (number("late_p50_ms"), number("late_p99_ms"), number("late_max_ms"));
        let figure = format!("late p50 {p50:.0} ms, p99 {p99:.0} ms, max {most:.0} ms");
        self.table.note(&what, figure, "", None);
        let rate = format!("{:.0} msg/s", number("per_second"));
        self.table.note("their rate", rate, "100,000 msg/s (timer_rate)", None);
        self.promises(&found);
        Ok(())
    }

    /// `kill -9` again and again while messages are due.
    fn kills(&mut self) -> Result<()> {
        let (minutes, every) = (self.options.minutes, self.options.every);
        let length = Duration::from_secs_f64(minutes * 60.0);
        let begun = Instant::now();
        let (waiting, span) = self.fill("TimersKilled", length)?;
        let mut kills = 0;
        while begun.elapsed() < span {
            self.signals.pause(Duration::from_secs(every))?;
            self.server.kill();
            let ready = self.server.start(self.signals)?;
            kills += 1;
            println!("  kill {kills}: ready after {:.2} s, {} wait", ready.as_secs_f64(), self.registered()?);
        }
        self.delivered(Duration::from_secs(120))?;
        self.table.note("kills", kills.to_string(), "", None);
        let found = self.audit("TimersKilled", waiting)?;
        self.promises(&found);
        Ok(())
    }

    fn promises(&mut self, found: &Value) {
        for name in ["lost", "early", "twice", "out_of_order"] {
            let count = found[name].as_u64();
            let figure = count.map_or("unknown".to_owned(), |count| count.to_string());
            self.table.note(&name.replace('_', " "), figure, "0", Some(count == Some(0)));
        }
    }

    /// Sends what is due within `length`, beginning after a while, to a topic of its own. Returns how many wait, and how
    /// long until the last is due.
    fn fill(&mut self, topic: &str, length: Duration) -> Result<(u64, Duration)> {
        let count = self.options.due.to_string();
        // A second for each ten thousand, so that none is due before all are stored.
        let lead = LEAD + Duration::from_secs(self.options.due / 10_000);
        let at = format!("+{}s", lead.as_secs());
        let within = format!("{}ms", length.as_millis());
        let started = Instant::now();
        let size = self.options.size.to_string();
        let times = ["--deliver-at", &at, "--within", &within, "--outstanding", "256", "--size", &size];
        self.bench(&[&["send", "--topic", topic, "--messages", &count], &times[..]].concat())?;
        let waiting = self.settled()?;
        println!(
            "{waiting} wait, sent in {:.1} s, the first is due {} s after",
            started.elapsed().as_secs_f64(),
            lead.as_secs()
        );
        if started.elapsed() >= lead {
            bail!("the first were due before all were stored: this machine needs a smaller --due");
        }
        if waiting < self.options.due {
            bail!("{count} timed messages were stored, {waiting} wait");
        }
        Ok((waiting, lead + length))
    }

    /// Waits until nothing waits any more.
    fn delivered(&mut self, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        loop {
            let waiting = self.waiting()?;
            if waiting == 0 {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("{waiting} still wait long after the last was due");
            }
            self.signals.pause(Duration::from_millis(500))?;
        }
    }

    fn audit(&self, topic: &str, expected: u64) -> Result<Value> {
        let namesrv = self.server.namesrv();
        let mut command = Command::new(&self.options.kiruna);
        let count = expected.to_string();
        command.args(["bench", "timers", "-n", &namesrv, "--topic", topic, "--expect", &count, "-o", "json"]);
        // It fails where a promise is broken, and says so all the same.
        let output = command.stderr(Stdio::inherit()).output().context("cannot start the audit")?;
        serde_json::from_slice(&output.stdout).context("the audit's report")
    }

    /// How many wait, once that no longer changes: what was sent last is counted a moment later.
    fn settled(&mut self) -> Result<u64> {
        let mut last = self.waiting()?;
        loop {
            self.signals.pause(Duration::from_millis(300))?;
            let now = self.waiting()?;
            if now == last {
                return Ok(now);
            }
            last = now;
        }
    }

    /// How many wait, once the name server knows the broker again.
    fn registered(&mut self) -> Result<u64> {
        let end = Instant::now() + REGISTERED;
        loop {
            match self.waiting() {
                Err(_) if Instant::now() < end => self.signals.pause(Duration::from_millis(100))?,
                found => return found,
            }
        }
    }

    /// How many wait.
    fn waiting(&mut self) -> Result<u64> {
        self.server.pid()?;
        let namesrv = self.server.namesrv();
        let rows = self.ask(&["delay", "topics", "-n", &namesrv])?;
        let counts = rows.as_array().context("a list of topics")?.iter();
        counts.map(|row| row["waiting"].as_u64().context("a topic without a count")).sum()
    }

    fn bench(&self, args: &[&str]) -> Result<Value> {
        let namesrv = self.server.namesrv();
        let rows = self.ask(&[&["bench"], args, &["-n", &namesrv]].concat())?;
        let found = rows[0].clone();
        if found["errors"].as_u64() != Some(0) {
            println!("  {}", found["failures"]);
        }
        Ok(found)
    }

    fn ask(&self, args: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.options.kiruna);
        command.args(args).args(["-o", "json"]).stdout(Stdio::piped());
        let text = Owned::start(command)?.output(self.signals, Duration::from_secs(1_900))?;
        serde_json::from_str(&text).with_context(|| format!("the answer of {args:?}"))
    }
}

/// So long before the first is due, all are sent.
const LEAD: Duration = Duration::from_secs(20);
