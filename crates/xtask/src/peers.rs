// SPDX-License-Identifier: Apache-2.0
//! Figures of our server beside Apache's and beside `echo`, from one run on one machine, in turn (A B E A B E), written
//! to `docs/benchmarks/`. The machine has to be idle before each sample, or the page says that it was not. A row that
//! fails is told and the others go on; servers and what they stored are gone at the end, however it comes.

mod machine;
mod report;
mod rows;
pub(crate) mod sides;

use std::cell::Cell;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use self::machine::Quiet;
use self::report::Report;
use self::rows::{ROWS, SETS, Sample, Work};
use self::sides::{Echo, Lab, Server, Side};
use crate::process::{Owned, Signals};
use crate::shell;

/// A server that has stored more gives way to a fresh one.
const ROOM: u64 = 8_000_000_000;
/// What a sample may write at most, a second.
const PACE: u64 = 1_000_000_000;
/// Waits for an idle machine, over the whole run.
const IDLE_IN_ALL: Duration = Duration::from_secs(600);
/// After load, how long a server may go on with what it was left with; and how long it is watched then.
const CALM: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(10);
/// Restarts with the long log.
const KILLS: usize = 3;

/// How the command was called.
pub(super) struct Options {
    pairs: usize,
    seconds: u64,
    /// Bodies in the long log.
    gigabytes: f64,
    idle_wait: u64,
    kiruna: PathBuf,
    out: PathBuf,
    /// The sets of rows that are measured; all, when empty.
    sets: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options {
            pairs: 5,
            seconds: 10,
            gigabytes: 10.0,
            idle_wait: 60,
            kiruna: shell::kiruna(),
            out: shell::root().join("docs/benchmarks"),
            sets: Vec::new(),
        };
        let mut ready = std::env::var_os("KIRUNA_BIN").is_some();
        for pair in args.chunks(2) {
            let [flag, text] = pair else { bail!("{} takes a value", pair[0]) };
            let wrong = || format!("{flag} {text}: not a number");
            match flag.as_str() {
                "--pairs" => options.pairs = text.parse().with_context(wrong)?,
                "--seconds" => options.seconds = text.parse().with_context(wrong)?,
                "--gigabytes" => options.gigabytes = text.parse().with_context(wrong)?,
                "--idle-wait" => options.idle_wait = text.parse().with_context(wrong)?,
                "--kiruna" => (options.kiruna, ready) = (std::path::absolute(text)?, true),
                "--out" => options.out = std::path::absolute(text)?,
                "--rows" => options.sets = text.split(',').map(str::to_owned).collect(),
                _ => bail!("{flag} is not a flag of peers"),
            }
        }
        if options.pairs == 0 || options.seconds == 0 {
            bail!("--pairs and --seconds are at least 1");
        }
        if let Some(unknown) = options.sets.iter().find(|set| !SETS.contains(&set.as_str())) {
            bail!("--rows {unknown}: there are {}", SETS.join(", "));
        }
        if !ready {
            shell::build_kiruna()?;
        }
        Ok(options)
    }

    fn wants(&self, set: &str) -> bool {
        self.sets.is_empty() || self.sets.iter().any(|wanted| wanted == set)
    }
}

/// Runs the table and writes the page.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let signals = Signals::listen()?;
    let started = Instant::now();
    check_room(&options)?;
    let mut bench = Bench {
        lab: Lab { signals: &signals, kiruna: &options.kiruna },
        quiet: Quiet {
            signals: &signals,
            each: Duration::from_secs(options.idle_wait),
            left: Cell::new(IDLE_IN_ALL),
        },
        options: &options,
        report: Report::new(machine::describe(&options.kiruna), options.gigabytes),
    };
    for sync in [false, true] {
        bench.load(sync)?;
    }
    if options.wants("life") {
        bench.lives()?;
    }
    println!("took {:.0} minutes", started.elapsed().as_secs_f64() / 60.0);
    bench.report.write(&options)?;
    if bench.report.has_problems() {
        bail!("not every figure could be had; the page says which");
    }
    Ok(())
}

fn check_room(options: &Options) -> Result<()> {
    let load = 2 * ROOM + PACE * (options.seconds + 2);
    let long = (options.gigabytes * 1.3e9) as u64 + 2_000_000_000;
    let (dir, needed) = (std::env::temp_dir(), load.max(long));
    let free = machine::free(&dir)?;
    if free < needed {
        bail!(
            "{} has {} GB free, {} GB are needed; $TMPDIR names another place",
            dir.display(),
            free / 1_000_000_000,
            needed / 1_000_000_000
        );
    }
    Ok(())
}

/// A run under way.
struct Bench<'a> {
    lab: Lab<'a>,
    quiet: Quiet<'a>,
    options: &'a Options,
    report: Report,
}

impl Bench<'_> {
    /// All rows of load that take servers of this kind.
    fn load(&mut self, sync: bool) -> Result<()> {
        let mut servers = [None, None];
        let mut echo = None;
        for (at, row) in ROWS.iter().enumerate() {
            let is_load = matches!(row.work, Work::Bench { .. } | Work::Processor);
            if !is_load || row.work.sync() != sync || !self.options.wants(row.set) {
                continue;
            }
            let mut samples = Vec::new();
            for turn in 0..self.options.pairs {
                println!("{}: turn {} of {}", row.name, turn + 1, self.options.pairs);
                let mut sample = Sample::default();
                self.turn(at, &mut servers, &mut echo, &mut sample)?;
                samples.push(sample);
            }
            self.report.note(at, samples);
        }
        Ok(())
    }

    /// One sample of each side. What fails is noted and leaves a gap; only a signal ends the run.
    fn turn(
        &mut self,
        at: usize,
        servers: &mut [Option<Server>; 2],
        echo: &mut Option<Echo>,
        sample: &mut Sample,
    ) -> Result<()> {
        let sync = ROWS[at].work.sync();
        for (side, server) in [Side::Apache, Side::Kiruna].into_iter().zip(servers) {
            let who = format!("{side:?}");
            let outcome = match ROWS[at].work {
                Work::Processor => self.processor(server.as_mut()),
                _ => self
                    .ready(side, sync, server)
                    .and_then(|namesrv| self.sample(at, &who, &["-n", &namesrv], &mut sample.busy)),
            };
            let figure = self.told(&format!("{}, {who}", ROWS[at].name), outcome)?;
            match side {
                Side::Apache => sample.apache = figure,
                Side::Kiruna => sample.kiruna = figure,
            }
            if figure.is_none() {
                *server = None;
            }
        }
        if matches!(ROWS[at].work, Work::Bench { echo: true, .. }) {
            let outcome = self
                .echo(echo)
                .and_then(|address| self.sample(at, "echo", &["--broker", &address], &mut sample.busy));
            sample.echo = self.told(&format!("{}, echo", ROWS[at].name), outcome)?;
        }
        Ok(())
    }

    /// Turns a failure into a problem of the report, unless it is a signal.
    fn told<T>(&mut self, what: &str, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Ok(figure) => Ok(Some(figure)),
            Err(error) if self.lab.signals.seen() => Err(error),
            Err(error) => {
                self.report.problem(format!("{what}: {error:#}"));
                Ok(None)
            }
        }
    }

    /// A warm server with room for another sample; returns the address of its name server.
    fn ready(&self, side: Side, sync: bool, server: &mut Option<Server>) -> Result<String> {
        if let Some(running) = server
            && running.pid().is_ok()
            && machine::taken(&running.store()) < ROOM
        {
            return Ok(running.namesrv());
        }
        *server = None;
        println!("  a fresh server: {side:?}");
        let mut fresh = Server::prepare(side, "load", sync, &self.lab)?;
        fresh.start(self.lab.signals)?;
        let namesrv = fresh.namesrv();
        let seconds = if side == Side::Apache { "15" } else { "3" };
        let warm = ["send", "-n", &namesrv, "--warmup", "0", "--seconds", seconds];
        if let Err(error) = self.bench(&warm) {
            // A broker accepts messages a moment before its name server knows it.
            println!("  not warm yet: {error:#}; once more");
            self.lab.signals.pause(Duration::from_secs(2))?;
            self.bench(&warm)?;
        }
        *server = Some(fresh);
        Ok(namesrv)
    }

    fn echo(&self, echo: &mut Option<Echo>) -> Result<String> {
        if echo.as_mut().is_none_or(|running| running.check().is_err()) {
            *echo = Some(Echo::start(&self.lab)?);
        }
        Ok(echo.as_ref().context("echo was started")?.address.clone())
    }

    /// What a server that was under load takes of a processor when nobody asks it anything.
    fn processor(&self, server: Option<&mut Server>) -> Result<f64> {
        let server = server.context("there is no server that was under load before")?;
        self.lab.signals.pause(CALM)?;
        let pid = server.pid()?;
        let before = machine::processor(pid)?;
        let started = Instant::now();
        self.lab.signals.pause(WATCHED)?;
        let spent = machine::processor(pid)? - before;
        let percent = spent.as_secs_f64() / started.elapsed().as_secs_f64() * 100.0;
        println!("  {percent:.2} % of a core");
        Ok(percent)
    }

    /// One figure.
    fn sample(&mut self, at: usize, who: &str, target: &[&str], busy: &mut f64) -> Result<f64> {
        let Work::Bench { args, figure, .. } = ROWS[at].work else { bail!("not a row of load") };
        *busy = busy.max(self.quiet.wait()?);
        let seconds = self.options.seconds.to_string();
        let all = [args, target, &["--warmup", "2", "--seconds", &seconds]].concat();
        let found = self.bench(&all)?;
        let errors = found["errors"].as_u64().context("the bench printed no errors")?;
        if errors > 0 {
            let failures = found["failures"].as_str().unwrap_or_default();
            self.report.refused(format!("{}, {who}: {failures}; they are not in the figure", ROWS[at].name));
        }
        let value = found[figure].as_f64().with_context(|| format!("the bench printed no {figure}"))?;
        println!("  {who}: {value}");
        Ok(value)
    }

    /// Runs the load generator and returns the row it prints.
    fn bench(&self, args: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.options.kiruna);
        command.arg("bench").args(args).args(["-o", "json"]).stdout(Stdio::piped());
        let patience = Duration::from_secs(self.options.seconds + 180);
        let text = Owned::start(command)?.output(self.lab.signals, patience)?;
        let report: Value = serde_json::from_str(&text).context("the bench's report")?;
        Ok(report[0].clone())
    }

    /// The rows about one server's life: memory, and how soon it is ready.
    fn lives(&mut self) -> Result<()> {
        let mut samples: Vec<Vec<Sample>> = ROWS.iter().map(|_| Vec::new()).collect();
        for side in [Side::Apache, Side::Kiruna] {
            let mut found = Vec::new();
            let outcome = self.life(side, &mut found);
            self.told(&format!("memory and readiness, {side:?}"), outcome)?;
            for (at, row) in ROWS.iter().enumerate() {
                let of_row = found
                    .iter()
                    .filter(|(work, ..)| std::mem::discriminant(work) == std::mem::discriminant(&row.work));
                for (turn, (_, figure, busy)) in of_row.enumerate() {
                    if samples[at].len() == turn {
                        samples[at].push(Sample::default());
                    }
                    let sample = &mut samples[at][turn];
                    sample.busy = sample.busy.max(*busy);
                    match side {
                        Side::Apache => sample.apache = Some(*figure),
                        Side::Kiruna => sample.kiruna = Some(*figure),
                    }
                }
            }
        }
        for (at, samples) in samples.into_iter().enumerate() {
            if !matches!(ROWS[at].work, Work::Bench { .. } | Work::Processor) {
                self.report.note(at, samples);
            }
        }
        Ok(())
    }

    fn life(&self, side: Side, found: &mut Vec<(Work, f64, f64)>) -> Result<()> {
        let note = |found: &mut Vec<_>, work: Work, figure: f64, busy: f64| {
            println!("  {side:?}: {figure:.3}");
            found.push((work, figure, busy));
        };
        println!("{side:?}: ready after start, {} times", self.options.pairs);
        let fresh = |found: &mut Vec<_>| -> Result<Server> {
            let mut fresh = Server::prepare(side, "life", false, &self.lab)?;
            let busy = self.quiet.wait()?;
            note(found, Work::ReadyFresh, fresh.start(self.lab.signals)?.as_secs_f64(), busy);
            Ok(fresh)
        };
        for _ in 1..self.options.pairs {
            drop(fresh(found)?);
        }
        let mut server = fresh(found)?;
        self.lab.signals.pause(Duration::from_secs(5))?;
        println!("{side:?}: memory");
        note(found, Work::IdleMemory, server.memory()?, 0.0);
        self.fill(&server)?;
        self.lab.signals.pause(Duration::from_secs(5))?;
        note(found, Work::FullMemory, server.memory()?, 0.0);
        println!("{side:?}: ready after kill -9, {KILLS} times");
        for _ in 0..KILLS {
            server.kill();
            let busy = self.quiet.wait()?;
            note(found, Work::ReadyKilled, server.start(self.lab.signals)?.as_secs_f64(), busy);
        }
        Ok(())
    }

    /// Sends until the long log is there.
    fn fill(&self, server: &Server) -> Result<()> {
        let (namesrv, wanted) = (server.namesrv(), self.options.gigabytes * 1e9);
        let end = Instant::now() + Duration::from_secs(900);
        let mut sent = 0.0;
        while sent < wanted {
            if Instant::now() > end {
                bail!("only {:.1} GB were written in a quarter of an hour", sent / 1e9);
            }
            let batches = ["--outstanding", "8", "--batch", "32", "--warmup", "0", "--seconds", "2"];
            let done = self.bench(&[&["send", "-n", &namesrv, "-c", "4"], &batches[..]].concat())?;
            let messages = done["messages"].as_f64().context("the bench printed no messages")?;
            if messages == 0.0 {
                bail!("no message was accepted: {}", done["failures"]);
            }
            sent += messages * done["size"].as_f64().context("the bench printed no size")?;
            println!("  {:.1} of {:.1} GB", sent / 1e9, wanted / 1e9);
        }
        Ok(())
    }
}
