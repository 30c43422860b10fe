// SPDX-License-Identifier: Apache-2.0
//! Figures of our server beside Apache's, `rocketmq-rust`'s and `echo`'s, from one run on one machine, in turn (A R K E A R K
//! E), written to `docs/benchmarks/`. The machine has to be idle before each sample, or the page says that it was not. A row
//! that fails is told and the others go on; servers and what they stored are gone at the end, however it comes.

mod book;
mod life;
pub(crate) mod machine;
mod page;
mod rows;
pub(crate) mod sides;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use self::book::{Book, Run, Sample, Set};
use self::life::Found;
use self::machine::Quiet;
pub(crate) use self::page::number;
use self::rows::{BASE, Load, PER_CPU_SECOND, READER, SETS, TASKS, Task, Work};
use self::sides::{Echo, Kind, Lab, Server, Side, placed};
use crate::process::{Owned, Signals};
use crate::{rocketmq_rust, shell};

/// A disk that is fuller than this makes servers delete messages before their time.
const CLEANING: f64 = 0.85;
/// What a sample may write at most, a second.
const PACE: u64 = 500_000_000;
/// Waits for an idle machine, over the whole run.
const IDLE_IN_ALL: Duration = Duration::from_secs(600);
/// After load, how long a server may go on with what it was left with; and how long it is watched then.
const CALM: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(10);
/// How long a server that was started may be unknown to its name server.
const REGISTERED: Duration = Duration::from_secs(30);
/// Load before a sample.
const WARMUP: u64 = 2;
/// The log that a cold reader reads: so much, and what it reads in a second at most.
const COLD: f64 = 2.5;
const COLD_PACE: f64 = 0.6;
/// Bytes on the disk for a gigabyte of bodies in it: what is around them, queues, and files made in advance.
const COLD_STORED: f64 = 1.8e9;

/// How the command was called.
pub(super) struct Options {
    pairs: usize,
    seconds: u64,
    /// Bodies in the long log.
    gigabytes: f64,
    idle_wait: u64,
    kiruna: PathBuf,
    generator: PathBuf,
    out: PathBuf,
    /// Sets of rows that are measured.
    sets: Vec<&'static str>,
    /// Who is measured beside ours.
    peers: Vec<Side>,
    /// Other sets of the page stay.
    merge: bool,
    /// What the page says of the server besides its commit.
    note: String,
    /// As it was called.
    command: String,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options {
            pairs: 5,
            seconds: 10,
            gigabytes: 10.0,
            idle_wait: 60,
            kiruna: shell::kiruna(),
            generator: PathBuf::new(),
            out: shell::root().join("docs/benchmarks"),
            sets: SETS.to_vec(),
            peers: vec![Side::Apache],
            merge: false,
            note: String::new(),
            command: "cargo xtask peers".to_owned(),
        };
        let mut rest = args.iter();
        while let Some(flag) = rest.next() {
            if flag == "--merge" {
                options.merge = true;
                continue;
            }
            let text = rest.next().with_context(|| format!("{flag} takes a value"))?;
            let wrong = || format!("{flag} {text}: not a number");
            match flag.as_str() {
                "--pairs" => options.pairs = text.parse().with_context(wrong)?,
                "--seconds" => options.seconds = text.parse().with_context(wrong)?,
                "--gigabytes" => options.gigabytes = text.parse().with_context(wrong)?,
                "--idle-wait" => options.idle_wait = text.parse().with_context(wrong)?,
                "--kiruna" => options.kiruna = std::path::absolute(text)?,
                "--generator" => options.generator = std::path::absolute(text)?,
                "--out" => options.out = std::path::absolute(text)?,
                "--rows" => options.sets = sets(text)?,
                "--peers" => options.peers = peers(text)?,
                "--note" => options.note.clone_from(text),
                _ => bail!("{flag} is not a flag of peers"),
            }
            // Paths of this machine tell a reader nothing.
            if !["--kiruna", "--generator", "--out", "--idle-wait", "--note"].contains(&flag.as_str()) {
                options.command.push_str(&format!(" {flag} {text}"));
            }
        }
        // Building it takes an hour: that is done for whoever asks for it.
        if !args.iter().any(|flag| flag == "--peers") && rocketmq_rust::is_built() {
            options.peers.push(Side::RocketmqRust);
        }
        if options.pairs == 0 || options.seconds == 0 {
            bail!("--pairs and --seconds are at least 1");
        }
        if options.generator.as_os_str().is_empty() {
            options.generator.clone_from(&options.kiruna);
        }
        Ok(options)
    }

    fn tasks(&self) -> Vec<&'static Task> {
        TASKS.iter().filter(|task| self.sets.contains(&task.set)).collect()
    }

    /// How long the log for a cold reader is.
    fn cold(&self) -> f64 {
        COLD.max(COLD_PACE * (self.seconds + WARMUP + 1) as f64)
    }

    /// About how long a task takes, in seconds, fresh servers apart.
    fn estimate(&self, task: &Task) -> f64 {
        let (pairs, peers) = (self.pairs as f64, self.peers.len() as f64);
        let each = (self.seconds + WARMUP + 3) as f64;
        match &task.work {
            Work::Load(load) => {
                let sides = 1 + usize::from(load.echo) + usize::from(load.base.is_some());
                pairs * each * (sides as f64 + if load.peers { peers } else { 0.0 })
            }
            Work::Processor => pairs * 20.0 * (1.0 + peers),
            Work::Life => (1.0 + peers) * (pairs * 9.0 + 30.0) + self.gigabytes * 20.0,
            Work::Many => pairs.min(3.0) * 15.0 + 30.0,
        }
    }
}

/// The sets that a list names.
fn sets(list: &str) -> Result<Vec<&'static str>> {
    let mut sets = Vec::new();
    for wanted in list.split(',') {
        match SETS.iter().find(|set| **set == wanted) {
            Some(set) => sets.push(*set),
            None if wanted == "base" => sets.extend(BASE),
            None => bail!("--rows {wanted}: there are base, {}", SETS.join(", ")),
        }
    }
    Ok(sets)
}

/// The peers that a list names.
fn peers(list: &str) -> Result<Vec<Side>> {
    let all = [Side::Apache, Side::RocketmqRust];
    let names = list.split(',').filter(|name| !name.is_empty() && *name != "none");
    names
        .map(|name| {
            let found = all.into_iter().find(|side| side.name() == name);
            found.with_context(|| format!("--peers {name}: there are apache, rocketmq-rust, none"))
        })
        .collect()
}

/// Runs the table and writes the page.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut options = Options::parse(args)?;
    if std::env::var_os("KIRUNA_BIN").is_none() && !args.iter().any(|flag| flag == "--kiruna") {
        shell::build_kiruna()?;
    }
    let unbuilt = without_rocketmq_rust(&mut options);
    if let Some(why) = &unbuilt {
        eprintln!("rocketmq-rust is left out: {why}");
    }
    let signals = Signals::listen()?;
    let started = Instant::now();
    check_room(&options)?;
    let machine = describe(&options);
    let mut bench = Bench {
        lab: Lab { signals: &signals, kiruna: &options.kiruna, generator: &options.generator },
        quiet: Quiet {
            signals: &signals,
            each: Duration::from_secs(options.idle_wait),
            left: Cell::new(IDLE_IN_ALL),
        },
        options: &options,
        sets: Vec::new(),
        unbuilt,
        servers: BTreeMap::new(),
        echoes: BTreeMap::new(),
    };
    bench.announce();
    let outcome = bench.tasks(&machine);
    let sets = std::mem::take(&mut bench.sets);
    drop(bench);
    eprintln!("took {:.0} minutes", started.elapsed().as_secs_f64() / 60.0);
    let has_problems = sets.iter().any(|set| !set.problems.is_empty());
    // What was measured before a signal came is not thrown away, where it does not take the place of a whole page.
    if outcome.is_ok() || options.merge {
        write(&options, sets)?;
    }
    outcome?;
    if has_problems {
        bail!("not every figure could be had; the page says which");
    }
    Ok(())
}

/// Builds `rocketmq-rust` where it is wanted; leaves it out, and says why, where that fails or nobody asked for it.
fn without_rocketmq_rust(options: &mut Options) -> Option<String> {
    if !options.peers.contains(&Side::RocketmqRust) {
        let is_built = rocketmq_rust::is_built();
        return (!is_built)
            .then(|| "not built (--peers apache,rocketmq-rust builds it, for an hour)".to_owned());
    }
    let error = rocketmq_rust::programs().err()?;
    options.peers.retain(|side| *side != Side::RocketmqRust);
    Some(format!("could not be built: {error:#}"))
}

fn describe(options: &Options) -> Vec<(String, String)> {
    let mut machine = machine::describe(&options.kiruna);
    if let Some((_, commit)) = machine.iter_mut().find(|(name, _)| name == "commit")
        && !options.note.is_empty()
    {
        commit.push_str(&format!(" ({})", options.note));
    }
    if options.peers.contains(&Side::RocketmqRust) {
        machine.push(("rocketmq-rust".to_owned(), rocketmq_rust::VERSION.to_owned()));
    }
    machine
}

fn write(options: &Options, sets: Vec<Set>) -> Result<()> {
    fs::create_dir_all(&options.out)?;
    let path = options.out.join("peers.json");
    let mut book = if options.merge { Book::read(&path)? } else { Book::default() };
    book.take(sets, options.merge);
    book.write(&path)?;
    let page = options.out.join("peers.md");
    fs::write(&page, page::page(&book)).with_context(|| format!("cannot write {}", page.display()))?;
    eprintln!("written to {} and {}", page.display(), path.display());
    Ok(())
}

fn check_room(options: &Options) -> Result<()> {
    let peers: u64 = options.peers.iter().map(|side| room(*side)).sum();
    let load = peers + room(Side::Kiruna) + PACE * (options.seconds + WARMUP);
    let wants = |set| options.sets.contains(&set);
    let long = if wants("life") { (options.gigabytes * 1.3e9) as u64 + 2_000_000_000 } else { 0 };
    let cold = if wants("cold") { (options.cold() * COLD_STORED) as u64 + room(Side::Kiruna) } else { 0 };
    let (dir, needed) = (std::env::temp_dir(), load.max(long).max(cold));
    let (free, used) = machine::disk(&dir)?;
    let full = (used + needed) as f64 / (used + free).max(1) as f64;
    let gigabytes = |bytes: u64| bytes / 1_000_000_000;
    if free < needed || (wants("cold") && full > CLEANING) {
        bail!(
            "{} has {} GB free and {} GB in use, {} GB are needed, and above {:.0} % servers delete what is oldest; $TMPDIR names another place",
            dir.display(),
            gigabytes(free),
            gigabytes(used),
            gigabytes(needed),
            CLEANING * 100.0
        );
    }
    if full > CLEANING {
        eprintln!("the disk may get {:.0} % full: servers delete what is oldest meanwhile", full * 100.0);
    }
    Ok(())
}

/// A server that has stored more gives way to a fresh one. Ours is soon warm again, and writes the most.
fn room(side: Side) -> u64 {
    if side == Side::Kiruna { 2_000_000_000 } else { 5_000_000_000 }
}

/// A run under way.
struct Bench<'a> {
    lab: Lab<'a>,
    quiet: Quiet<'a>,
    options: &'a Options,
    sets: Vec<Set>,
    /// Why `rocketmq-rust` is not there.
    unbuilt: Option<String>,
    servers: BTreeMap<(Side, Kind), Server>,
    echoes: BTreeMap<Kind, Echo>,
}

/// Where a sample's load goes.
struct Place<'a> {
    kind: Kind,
    target: [&'a str; 2],
    /// The server's process, where its processor time is wanted.
    pid: Option<u32>,
    /// The files that a cold reader finds.
    cold: Option<PathBuf>,
}

impl Bench<'_> {
    fn announce(&self) {
        let tasks = self.options.tasks();
        let mut servers: Vec<(Side, Kind)> =
            tasks.iter().flat_map(|task| task.servers(&self.options.peers)).collect();
        servers.sort_unstable();
        servers.dedup();
        let fresh = |(side, kind): &(Side, Kind)| match (side, kind) {
            (Side::Apache, _) => 45.0,
            (_, Kind::Cold) => 10.0 + self.options.cold() * 4.0,
            _ => 12.0,
        };
        let seconds: f64 = tasks.iter().map(|task| self.options.estimate(task)).sum();
        let seconds = seconds + servers.iter().map(fresh).sum::<f64>() * 1.3;
        let names: Vec<&str> = self.options.peers.iter().map(|side| side.name()).collect();
        eprintln!(
            "{} pairs of {} s, rows {}, beside {}: about {:.0} minutes on an idle machine",
            self.options.pairs,
            self.options.seconds,
            self.options.sets.join(","),
            if names.is_empty() { "nobody".to_owned() } else { names.join(" and ") },
            (seconds / 60.0).ceil()
        );
    }

    /// All that was asked for, in order.
    fn tasks(&mut self, machine: &[(String, String)]) -> Result<()> {
        let tasks = self.options.tasks();
        for (at, task) in tasks.iter().enumerate() {
            if self.sets.last().is_none_or(|set| set.name != task.set) {
                self.sets.push(self.set(task.set, machine));
            }
            eprintln!("[{}/{}] {}", at + 1, tasks.len(), task.name());
            let mut did = BTreeMap::new();
            if let Some(why) = &self.unbuilt {
                did.insert(Side::RocketmqRust.name().to_owned(), why.clone());
            }
            let samples = match &task.work {
                Work::Load(_) | Work::Processor => self.turns(task, &mut did)?,
                Work::Life => {
                    let sides = self.options.peers.clone();
                    self.figures(task, &sides, &mut did, Bench::life)?
                }
                Work::Many => self.figures(task, &[], &mut did, |bench, _, found| bench.many(found))?,
            };
            let long = format!("{} GB", self.options.gigabytes);
            let set = self.sets.last_mut().context("the set was made")?;
            let from = set.rows.len();
            set.note(task, &long, samples, &did);
            set.rows[from..].iter().for_each(|row| eprintln!("{}", page::line(row)));
            let later = || tasks[at + 1..].iter().flat_map(|task| task.servers(&self.options.peers));
            self.servers.retain(|key, _| later().any(|needed| needed == *key));
        }
        Ok(())
    }

    fn set(&self, name: &str, machine: &[(String, String)]) -> Set {
        let run = Run {
            command: self.options.command.clone(),
            machine: machine.to_vec(),
            pairs: self.options.pairs,
            seconds: self.options.seconds,
            gigabytes: self.options.gigabytes,
        };
        Set { name: name.to_owned(), run, ..Set::default() }
    }

    /// The samples of a task with turns: of each of its rows, a list.
    fn turns(&mut self, task: &Task, did: &mut BTreeMap<String, String>) -> Result<Vec<Vec<Sample>>> {
        let mut samples = vec![Vec::new(); task.rows.len()];
        for turn in 0..self.options.pairs {
            eprintln!(" turn {} of {}", turn + 1, self.options.pairs);
            let mut of_turn = vec![Sample::default(); task.rows.len()];
            match &task.work {
                Work::Load(load) => self.turn(task, load, turn, &mut of_turn, did)?,
                _ => self.processors(task, &mut of_turn)?,
            }
            samples.iter_mut().zip(of_turn).for_each(|(all, sample)| all.push(sample));
        }
        Ok(samples)
    }

    /// One sample of each side. What fails is noted and leaves a gap; only a signal ends the run.
    fn turn(
        &mut self,
        task: &Task,
        load: &Load,
        turn: usize,
        samples: &mut [Sample],
        did: &mut BTreeMap<String, String>,
    ) -> Result<()> {
        for side in self.options.peers.iter().copied().filter(|_| load.peers) {
            if did.contains_key(side.name()) {
                continue;
            }
            let found = self.on(side, load.kind, task, load.args, false, samples);
            if let Err(error) = &found
                && side == Side::RocketmqRust
                && !self.lab.signals.seen()
            {
                // That it cannot do this is a finding, not a fault of the run.
                eprintln!("  {}: {error:#}", side.name());
                did.insert(side.name().to_owned(), format!("{error:#}"));
                self.servers.remove(&(side, load.kind));
                continue;
            }
            if let Some(found) = self.told(task, side.name(), found)? {
                put(task, samples, &found, |sample, figure| *sample.of(side) = figure);
            }
        }
        // What is compared with ourselves goes first in every other turn.
        let mut ours = vec![(false, load.kind, load.args)];
        if let Some(base) = &load.base {
            ours.insert(1 - turn % 2, (true, base.kind, base.args));
        }
        for (is_base, kind, args) in ours {
            let who = if is_base { "kiruna, to compare with" } else { "kiruna" };
            let found = self.on(Side::Kiruna, kind, task, args, load.reader && !is_base, samples);
            if let Some(found) = self.told(task, who, found)? {
                let failed = found["errors"].as_u64().unwrap_or(0);
                samples.iter_mut().for_each(|sample| sample.failed += failed);
                put(task, samples, &found, |sample, figure| match is_base {
                    true => sample.base = figure,
                    false => sample.kiruna = figure,
                });
            }
        }
        if load.echo {
            let found = self.on_echo(task, load, samples);
            if let Some(found) = self.told(task, "echo", found)? {
                put(task, samples, &found, |sample, figure| sample.echo = figure);
            }
        }
        Ok(())
    }

    /// A sample of a side's server; a server that fails is not used again.
    fn on(
        &mut self,
        side: Side,
        kind: Kind,
        task: &Task,
        args: &[&str],
        reader: bool,
        samples: &mut [Sample],
    ) -> Result<Value> {
        let found = self.ready(side, kind).and_then(|(namesrv, pid, store)| {
            let cold = (kind == Kind::Cold).then_some(store);
            let place = Place { kind, target: ["-n", &namesrv], pid: Some(pid), cold };
            self.sample(task, side.name(), args, &place, reader, samples)
        });
        if found.is_err() {
            self.servers.remove(&(side, kind));
        }
        found
    }

    fn on_echo(&mut self, task: &Task, load: &Load, samples: &mut [Sample]) -> Result<Value> {
        if self.echoes.get_mut(&load.kind).is_none_or(|running| running.check().is_err()) {
            let echo = Echo::start(load.kind, &self.lab)?;
            self.echoes.insert(load.kind, echo);
        }
        let echo = self.echoes.get(&load.kind).context("echo was started")?;
        let (address, pid) = (echo.address.clone(), echo.pid());
        let place = Place { kind: load.kind, target: ["--broker", &address], pid: Some(pid), cold: None };
        self.sample(task, "echo", load.args, &place, false, samples)
    }

    /// Turns a failure into a problem of the set, unless it is a signal.
    fn told<T>(&mut self, task: &Task, who: &str, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Ok(figure) => Ok(Some(figure)),
            Err(error) if self.lab.signals.seen() => Err(error),
            Err(error) => {
                let text = format!("{}, {who}: {error:#}", task.name());
                eprintln!("PROBLEM {text}");
                if let Some(set) = self.sets.last_mut() {
                    set.problems.push(text);
                }
                Ok(None)
            }
        }
    }

    /// A warm server with room for another sample; returns its name server's address, its process and its files.
    fn ready(&mut self, side: Side, kind: Kind) -> Result<(String, u32, PathBuf)> {
        let long = if kind == Kind::Cold { (self.options.cold() * COLD_STORED) as u64 } else { 0 };
        let room = long + room(side);
        if let Some(running) = self.servers.get_mut(&(side, kind))
            && machine::taken(&running.store()) < room
            && let Ok(pid) = running.pid()
        {
            return Ok((running.namesrv(), pid, running.store()));
        }
        self.servers.remove(&(side, kind));
        eprintln!("  a fresh server: {}, {kind:?}", side.name());
        let mut fresh = Server::prepare(side, &format!("{kind:?}").to_lowercase(), kind, &self.lab)?;
        fresh.start(self.lab.signals)?;
        let namesrv = fresh.namesrv();
        self.warm(side, kind, &namesrv)?;
        match kind {
            Kind::Topics => _ = self.make_topics(&fresh, "1")?,
            Kind::Cold => self.fill(&fresh, "KirunaCold", self.options.cold())?,
            Kind::Plain | Kind::Sync | Kind::OneCore => {}
        }
        let found = (namesrv, fresh.pid()?, fresh.store());
        self.servers.insert((side, kind), fresh);
        Ok(found)
    }

    /// Sends to a server that was just started. One on a Java machine gets faster for a while: it is warm when it no longer does.
    fn warm(&self, side: Side, kind: Kind, namesrv: &str) -> Result<()> {
        let (seconds, least, most) = match side {
            Side::Apache => ("5", 3, 12),
            Side::RocketmqRust => ("5", 1, 1),
            Side::Kiruna => ("3", 1, 1),
        };
        let mut best = 0.0;
        for stretch in 1..=most {
            let args = ["send", "-n", namesrv, "--warmup", "0", "--seconds", seconds];
            let rate = self.bench_known(kind, &args)?["per_second"].as_f64().unwrap_or(0.0);
            if stretch >= least && rate < best * 1.1 {
                break;
            }
            best = rate.max(best);
        }
        Ok(())
    }

    /// What servers that were under load take of a processor when nobody asks them anything.
    fn processors(&mut self, task: &Task, samples: &mut [Sample]) -> Result<()> {
        let sides: Vec<Side> = self.options.peers.iter().copied().chain([Side::Kiruna]).collect();
        for side in sides {
            let outcome = match self.servers.get_mut(&(side, Kind::Plain)) {
                None if side == Side::RocketmqRust => continue,
                None => Err(anyhow::anyhow!("there is no server that was under load before")),
                Some(server) => self
                    .lab
                    .signals
                    .pause(CALM)
                    .and_then(|()| machine::share(server.pid()?, self.lab.signals, WATCHED)),
            };
            if let Some(percent) = self.told(task, side.name(), outcome)? {
                eprintln!("  {}: {percent:.2} % of a core", side.name());
                samples.iter_mut().for_each(|sample| *sample.of(side) = Some(percent));
            }
        }
        Ok(())
    }

    /// One figure, or some: the row that the bench prints, with what we saw ourselves.
    fn sample(
        &mut self,
        task: &Task,
        who: &str,
        args: &[&str],
        place: &Place<'_>,
        reader: bool,
        samples: &mut [Sample],
    ) -> Result<Value> {
        if let Some(store) = &place.cold {
            machine::forget(store)?;
        }
        let busy = self.quiet.wait()?;
        samples.iter_mut().for_each(|sample| sample.busy = sample.busy.max(busy));
        let (warmup, seconds) = (WARMUP.to_string(), self.options.seconds.to_string());
        let times = ["--warmup", &warmup, "--seconds", &seconds];
        let beside = reader.then(|| self.reader(place)).transpose()?;
        let command = [args, &place.target, &times].concat();
        let (mut found, per_second) = self.bench_watched(place.kind, &command, place.pid)?;
        found[PER_CPU_SECOND] = json!(per_second);
        if let Some(beside) = beside {
            let patience = Duration::from_secs(self.options.seconds + 60);
            let read: Value = serde_json::from_str(&beside.output(self.lab.signals, patience)?)?;
            found[READER] = read[0]["mb_per_second"].clone();
            ensure!(read[0]["errors"] == 0, "the reader beside it failed: {}", read[0]["failures"]);
        }
        let errors = found["errors"].as_u64().context("the bench printed no errors")?;
        if errors > 0 {
            let failures = found["failures"].as_str().unwrap_or_default();
            let text = format!("{}, {who}: {failures}; they are not in the figure", task.name());
            eprintln!("  {text}");
            if let Some(set) = self.sets.last_mut() {
                set.refused.push(text);
            }
        }
        ensure!(found["messages"] != 0, "no message was accepted: {}", found["failures"]);
        let shown: Vec<String> =
            task.rows.iter().map(|row| found[row.figure].as_f64().map_or_else(String::new, number)).collect();
        eprintln!("  {who}: {}", shown.join(" · "));
        Ok(found)
    }

    /// A consumer that reads the long log from its beginning until a little after the sample.
    fn reader(&self, place: &Place<'_>) -> Result<Owned> {
        let seconds = (self.options.seconds + 1).to_string();
        let mut command = placed(self.lab.generator, place.kind);
        command.args(["bench", "pull", "--all", "--topic", "KirunaCold", "-c", "8"]).args(place.target);
        command.args(["--warmup", &WARMUP.to_string(), "--seconds", &seconds, "-o", "json"]);
        Owned::start_piped(command)
    }

    /// Runs the load generator and returns the row it prints.
    fn bench(&self, kind: Kind, args: &[&str]) -> Result<Value> {
        Ok(self.bench_watched(kind, args, None)?.0)
    }

    /// The same with a server that was just started: it accepts messages a while before its name server knows it.
    fn bench_known(&self, kind: Kind, args: &[&str]) -> Result<Value> {
        let end = Instant::now() + REGISTERED;
        loop {
            match self.bench(kind, args) {
                Err(error) if Instant::now() < end => {
                    eprintln!("  not yet: {error:#}");
                    self.lab.signals.pause(Duration::from_secs(1))?;
                }
                outcome => return outcome,
            }
        }
    }

    /// The same; and how many messages there were for each second that a process was on a processor while they counted.
    fn bench_watched(&self, kind: Kind, args: &[&str], pid: Option<u32>) -> Result<(Value, Option<f64>)> {
        let mut command = placed(self.lab.generator, kind);
        command.arg("bench").args(args).args(["-o", "json"]);
        let patience = Duration::from_secs(self.options.seconds + 180);
        // Within the part that counts, whatever the start took.
        let begin = Duration::from_secs(WARMUP) + Duration::from_millis(200);
        let end = Duration::from_secs(WARMUP + self.options.seconds);
        let mut seen: Vec<(Duration, Duration)> = Vec::new();
        let look = |at: Duration| -> Result<()> {
            if let Some(pid) = pid.filter(|_| begin <= at && at <= end) {
                seen.truncate(1);
                seen.push((at, machine::processor(pid)?));
            }
            Ok(())
        };
        let text = Owned::start_piped(command)?.output_watched(self.lab.signals, patience, look)?;
        let report: Value = serde_json::from_str(&text).context("the bench's report")?;
        let found = report[0].clone();
        let rate = found["per_second"].as_f64();
        let cores = match seen[..] {
            [(from, before), (to, after)] => Some((after - before).as_secs_f64() / (to - from).as_secs_f64()),
            _ => None,
        };
        let per_second = rate.zip(cores).filter(|(_, cores)| *cores > 0.0).map(|(rate, cores)| rate / cores);
        Ok((found, per_second))
    }

    /// The samples of a task whose sides are measured one after the other.
    fn figures(
        &mut self,
        task: &Task,
        peers: &[Side],
        did: &mut BTreeMap<String, String>,
        work: impl Fn(&Self, Side, &mut Found) -> Result<()>,
    ) -> Result<Vec<Vec<Sample>>> {
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); task.rows.len()];
        for side in peers.iter().copied().chain([Side::Kiruna]) {
            let mut found = Found::default();
            let outcome = work(self, side, &mut found);
            match outcome {
                Err(error) if side == Side::RocketmqRust && !self.lab.signals.seen() => {
                    did.insert(side.name().to_owned(), format!("{error:#}"));
                }
                outcome => _ = self.told(task, side.name(), outcome)?,
            }
            for (row, samples) in task.rows.iter().zip(&mut samples) {
                let of_row = found.0.iter().filter(|(what, ..)| *what == row.figure);
                for (turn, (_, figure, busy)) in of_row.enumerate() {
                    if samples.len() == turn {
                        samples.push(Sample::default());
                    }
                    samples[turn].busy = samples[turn].busy.max(*busy);
                    *samples[turn].of(side) = Some(*figure);
                }
            }
        }
        Ok(samples)
    }
}

/// Puts the figures of a report where the rows of its task want them.
fn put(task: &Task, samples: &mut [Sample], found: &Value, set: impl Fn(&mut Sample, Option<f64>)) {
    for (row, sample) in task.rows.iter().zip(samples) {
        set(sample, found[row.figure].as_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&args)
    }

    #[test]
    fn a_run_is_what_its_flags_say() {
        let all = parse("").expect("nothing is needed");
        assert_eq!(
            (all.pairs, all.sets.len(), all.peers[0], all.merge),
            (5, SETS.len(), Side::Apache, false)
        );
        let some =
            parse("--rows base,life --merge --pairs 3 --peers apache --kiruna /x --note old").expect("flags");
        assert_eq!(some.sets, ["send", "open", "pull", "e2e", "sync", "life"]);
        assert_eq!((some.merge, some.peers), (true, vec![Side::Apache]));
        assert_eq!(some.command, "cargo xtask peers --rows base,life --pairs 3 --peers apache");
        assert_eq!(some.generator, some.kiruna, "the server makes the load, unless another program is named");
        assert!(parse("--peers none").expect("flags").peers.is_empty());
        for bad in ["--rows nonsense", "--peers kafka", "--pairs 0", "--pairs", "--pairs x", "--nonsense 1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn servers_are_those_that_a_task_takes() {
        let of = |set: &str| -> Vec<(Side, Kind)> {
            let task = TASKS.iter().find(|task| task.set == set).expect("a task");
            task.servers(&[Side::Apache])
        };
        assert_eq!(of("send"), [(Side::Apache, Kind::Plain), (Side::Kiruna, Kind::Plain)]);
        assert_eq!(of("topics"), [(Side::Kiruna, Kind::Plain), (Side::Kiruna, Kind::Topics)]);
        assert_eq!(of("core"), [(Side::Kiruna, Kind::OneCore)]);
        assert_eq!(of("life"), []);
    }
}
