// SPDX-License-Identifier: Apache-2.0
//! The rows about one server's life: what it takes when nobody uses it, after much was written, how soon it is ready; and what
//! many topics and queues take of ours. Called by the run; fills lists of figures by the names of their rows.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::rows::{
    DESCRIPTORS, FULL_MEMORY, IDLE_MEMORY, IDLE_PROCESSOR, MAKING, MANY_KILLED, MANY_STOPPED, MAPPINGS,
    QUEUE_MEMORY, READY_FRESH, READY_KILLED,
};
use super::sides::{Kind, Server, Side};
use super::{Bench, machine};

/// Restarts with the long log.
const KILLS: usize = 3;
/// How long an idle server is watched.
const IDLE: Duration = Duration::from_secs(20);
/// How long a server is left alone before its memory is looked at.
const SETTLED: Duration = Duration::from_secs(5);
/// Topics, and queues of each where there are a million.
pub(super) const TOPICS: &str = "100000";
const QUEUES: &str = "10";
const ALL_QUEUES: f64 = 1e6;

/// Figures by the name of their row, each with how busy the machine was before.
#[derive(Default)]
pub(super) struct Found(pub(super) Vec<(&'static str, f64, f64)>);

impl Found {
    fn note(&mut self, side: Side, what: &'static str, figure: f64, busy: f64) {
        eprintln!("  {}: {what} {figure:.3}", side.name());
        self.0.push((what, figure, busy));
    }
}

impl Bench<'_> {
    /// Starts a side's server again and again, leaves it alone, fills it, kills it.
    pub(super) fn life(&self, side: Side, found: &mut Found) -> Result<()> {
        eprintln!("{}: ready after start, {} times", side.name(), self.options.pairs);
        let fresh = |found: &mut Found| -> Result<Server> {
            let mut fresh = Server::prepare(side, "life", Kind::Plain, &self.lab)?;
            let busy = self.quiet.wait()?;
            found.note(side, READY_FRESH, fresh.start(self.lab.signals)?.as_secs_f64(), busy);
            Ok(fresh)
        };
        for _ in 1..self.options.pairs {
            drop(fresh(found)?);
        }
        let mut server = fresh(found)?;
        self.lab.signals.pause(SETTLED)?;
        found.note(side, IDLE_MEMORY, server.memory()?, 0.0);
        found.note(side, IDLE_PROCESSOR, machine::share(server.pid()?, self.lab.signals, IDLE)?, 0.0);
        if side == Side::RocketmqRust {
            // The long log is Apache's row and ours.
            return Ok(());
        }
        self.fill(&server, "KirunaBench", self.options.gigabytes)?;
        self.lab.signals.pause(SETTLED)?;
        found.note(side, FULL_MEMORY, server.memory()?, 0.0);
        eprintln!("{}: ready after kill -9, {KILLS} times", side.name());
        for _ in 0..KILLS {
            server.kill();
            let busy = self.quiet.wait()?;
            found.note(side, READY_KILLED, server.start(self.lab.signals)?.as_secs_f64(), busy);
        }
        Ok(())
    }

    /// Sends until so many gigabytes of bodies are there.
    pub(super) fn fill(&self, server: &Server, topic: &str, gigabytes: f64) -> Result<()> {
        let (namesrv, wanted) = (server.namesrv(), gigabytes * 1e9);
        let end = Instant::now() + Duration::from_secs(900);
        let mut sent = 0.0;
        while sent < wanted {
            if Instant::now() > end {
                bail!("only {:.1} GB were written in a quarter of an hour", sent / 1e9);
            }
            let batches = ["--outstanding", "8", "--batch", "32", "--warmup", "0", "--seconds", "2"];
            let place = ["send", "-n", &namesrv, "--topic", topic, "-c", "4"];
            let done = self.bench_known(Kind::Plain, &[&place, &batches[..]].concat())?;
            let messages = done["messages"].as_f64().context("the bench printed no messages")?;
            if messages == 0.0 && done["errors"] != 0 {
                bail!("no message was accepted: {}", done["failures"]);
            }
            sent += messages * done["size"].as_f64().context("the bench printed no size")?;
            eprintln!("  {:.1} of {:.1} GB", sent / 1e9, wanted / 1e9);
        }
        Ok(())
    }

    /// What many topics and queues take of our server.
    pub(super) fn many(&self, found: &mut Found) -> Result<()> {
        let (side, signals) = (Side::Kiruna, self.lab.signals);
        for _ in 0..self.options.pairs.min(3) {
            let mut server = Server::prepare(side, "many", Kind::Plain, &self.lab)?;
            server.start(signals)?;
            let busy = self.quiet.wait()?;
            found.note(side, MAKING, self.make_topics(&server, "1")?, busy);
            server.stop(signals)?;
            let busy = self.quiet.wait()?;
            found.note(side, MANY_STOPPED, server.start(signals)?.as_secs_f64(), busy);
            server.kill();
            let busy = self.quiet.wait()?;
            found.note(side, MANY_KILLED, server.start(signals)?.as_secs_f64(), busy);
        }
        let mut server = Server::prepare(side, "many", Kind::Plain, &self.lab)?;
        server.start(signals)?;
        signals.pause(SETTLED)?;
        let before = server.memory()?;
        self.make_topics(&server, QUEUES)?;
        let namesrv = server.namesrv();
        let sends = ["send", "-n", &namesrv, "--topic", "KirunaTopics", "--topics", TOPICS, "-c", "4"];
        self.bench(Kind::Plain, &[&sends[..], &["--warmup", "0", "--seconds", "5"]].concat())?;
        signals.pause(SETTLED)?;
        found.note(side, QUEUE_MEMORY, (server.memory()? - before) * 1e6 / ALL_QUEUES, 0.0);
        let (descriptors, mappings) = machine::handles(server.pid()?)?;
        found.note(side, DESCRIPTORS, descriptors, 0.0);
        found.note(side, MAPPINGS, mappings, 0.0);
        Ok(())
    }

    /// Makes the topics with so many queues each; returns the seconds that it took.
    pub(super) fn make_topics(&self, server: &Server, queues: &str) -> Result<f64> {
        let namesrv = server.namesrv();
        let args =
            ["topics", "-n", &namesrv, "--topic", "KirunaTopics", "--count", TOPICS, "--queues", queues];
        let made = self.bench_known(Kind::Plain, &args)?;
        made["seconds"].as_f64().context("the bench printed no seconds")
    }
}
