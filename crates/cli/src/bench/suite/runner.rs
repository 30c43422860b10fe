// SPDX-License-Identifier: Apache-2.0
//! Runs steps, one after the other: the endpoint first, `echo` with the same load right after it, the machine watched during
//! both. A step that fails is told and does not end the suite; a signal cuts the step under way short and skips the rest.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use stdx::Stop;
use tokio::runtime::Runtime;

use super::machine::Machine;
use super::processor::Servers;
use super::progress;
use super::result::{self, Figures, Outcome, Ran};
use super::steps::{MAXIMUM, Step};
use super::watch::Watch;
use crate::bench::load::{self, Span, Terms};
use crate::bench::{Bench, Loaded};

/// What all steps have in common.
pub(super) struct Runner {
    pub(super) runtime: Runtime,
    pub(super) stop: Stop,
    /// Arguments that say where the load goes.
    pub(super) endpoint: Vec<String>,
    /// The same for `echo`, where it runs.
    pub(super) echo: Option<Vec<String>>,
    pub(super) seconds: Duration,
    pub(super) warmup: Duration,
    /// Messages a second that the endpoint took at most.
    pub(super) maximum: Option<f64>,
}

const INTERRUPTED: &str = "ended by a signal";

impl Runner {
    /// The machine with no load of ours, for a moment.
    pub(super) fn rest(&self) -> Result<Machine> {
        let length = self.seconds.min(Duration::from_secs(1));
        let span = Span::starting_now(Duration::ZERO, length);
        Watch::start(span, self.tick(), Servers::default())?.rest(span, &self.stop)
    }

    /// Sends to the endpoint for a while without measuring, and says what came of it. What fails here fails again, and is told,
    /// in the first step.
    pub(super) fn heat(&self, length: Duration) -> String {
        let arguments = ["send", "-c", "4", "--outstanding", "64", "--size", "1024"].map(str::to_owned);
        let driven = || -> Result<u64> {
            let bench = Bench::parse(&[&arguments[..], &self.endpoint].concat())?;
            let Loaded { lanes, .. } = self.runtime.block_on(bench.load(&self.stop))?;
            let terms = Terms { stop: self.stop.clone(), ..Terms::default() };
            Ok(load::drive(lanes, Span::starting_now(Duration::ZERO, length), &terms)?.messages)
        };
        let seconds = length.as_secs_f64();
        match driven() {
            Ok(messages) => format!("warmed by {seconds} s of sends, {messages} messages"),
            Err(error) => format!("not warmed: {}", progress::plain(&super::reasons(&error))),
        }
    }

    /// One step with all that belongs to it.
    pub(super) fn step(&mut self, step: &'static Step) -> Ran {
        let begun = Instant::now();
        let offered = step.percent.and_then(|percent| Some(self.maximum? * f64::from(percent) / 100.0));
        let mut arguments: Vec<String> = step.args.iter().map(|&argument| argument.to_owned()).collect();
        arguments.extend(offered.into_iter().flat_map(|rate| ["--rate".to_owned(), format!("{rate:.0}")]));
        let is_baseless = step.percent.is_some() && offered.is_none_or(|rate| rate < 1.0);
        let (outcome, echo) = if is_baseless {
            (Outcome::Skipped(format!("it is a share of {MAXIMUM}, which gave no rate")), None)
        } else {
            let outcome = self.outcome(&arguments, &self.endpoint);
            // A ceiling without anything below it says nothing.
            let wants_echo = step.echo && outcome.figures().is_some_and(|figures| !figures.is_cut);
            let echo = self.echo.as_ref().filter(|_| wants_echo);
            (outcome, echo.map(|echo| self.outcome(&arguments, echo)))
        };
        if let Some(figures) = outcome.figures().filter(|_| step.name == MAXIMUM) {
            self.maximum = Some(figures.per_second());
        }
        let times = ["--seconds".to_owned(), whole(self.seconds), "--warmup".to_owned(), whole(self.warmup)];
        let words = [vec!["kiruna".to_owned(), "bench".to_owned()], arguments, self.endpoint.clone()];
        let command = words.concat().into_iter().chain(times).collect::<Vec<_>>().join(" ");
        Ran { step, command, offered, took: begun.elapsed().as_secs_f64(), outcome, echo }
    }

    fn outcome(&self, arguments: &[String], place: &[String]) -> Outcome {
        if self.stop.is_set() {
            return Outcome::Skipped(INTERRUPTED.to_owned());
        }
        match self.measure(&[arguments, place].concat()) {
            Ok(figures) => Outcome::Done(Box::new(figures)),
            Err(_) if self.stop.is_set() => Outcome::Skipped(INTERRUPTED.to_owned()),
            Err(error) => Outcome::Failed(super::reasons(&error)),
        }
    }

    fn measure(&self, arguments: &[String]) -> Result<Figures> {
        let bench = Bench::parse(arguments)?;
        let Loaded { work, lanes, brokers } = self.runtime.block_on(bench.load(&self.stop))?;
        let servers = Servers::find(&brokers);
        let span = Span::starting_now(self.warmup, self.seconds);
        let watch = Watch::start(span, self.tick(), servers)?;
        let terms = Terms { enough: None, stop: self.stop.clone(), tick: Some(self.tick()) };
        let driven = load::drive(lanes, span, &terms);
        let machine = watch.finish();
        let (measured, machine) = (driven?, machine?);
        let seconds = (measured.span.end - measured.span.begin).as_secs_f64();
        if measured.messages == 0 || seconds <= 0.0 {
            match measured.errors.is_empty() {
                true => bail!("nothing was answered in {:.1} s", self.seconds.as_secs_f64()),
                false => bail!("everything was refused: {}", result::told(&measured.errors)),
            }
        }
        Ok(Figures {
            work,
            seconds,
            messages: measured.messages,
            bytes: measured.bytes,
            errors: measured.errors,
            latency: measured.latency,
            points: measured.points,
            machine,
            is_cut: measured.span.end < span.end,
        })
    }

    /// How finely time is told: short steps by the tenth of a second, long ones so that there are some hundred points.
    fn tick(&self) -> Duration {
        match self.seconds.as_secs_f64() {
            short if short <= 10.0 => Duration::from_millis(100),
            long => Duration::from_secs((long / 600.0).ceil() as u64),
        }
    }
}

/// Seconds as the other commands take them.
fn whole(time: Duration) -> String {
    (time.as_secs_f64().ceil() as u64).to_string()
}

/// Lets this process have as many connections as the system allows: a thousand to the endpoint and both ends of a thousand
/// to `echo` are more than the usual limit.
pub(in crate::bench) fn allow_connections() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })
        .context("cannot raise the limit of files")
}
