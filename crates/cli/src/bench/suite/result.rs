// SPDX-License-Identifier: Apache-2.0
//! What a suite measured, as one value: made by the runner, read by everything that reports. Pure.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::environment::Environment;
use super::machine::{Machine, Server, Verdict};
use super::steps::{Part, Step};
use super::words;
use crate::bench::report::Work;
use crate::bench::series::Point;

/// One run of the suite.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) environment: Environment,
    /// Seconds that each step measures, and before it starts to.
    pub(super) seconds: f64,
    pub(super) warmup: f64,
    /// Seconds of sends before the first step.
    pub(super) heat: f64,
    /// The machine before the first step, with no load of ours on it.
    pub(super) rest: Option<Machine>,
    pub(super) steps: Vec<Ran>,
    /// Steps that were asked for.
    pub(super) wanted: usize,
    /// It was ended by a signal.
    pub(super) is_interrupted: bool,
    /// Why the machine's ceiling is missing.
    pub(super) no_echo: Option<String>,
}

/// One step that was tried.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) step: &'static Step,
    /// What does the same alone.
    pub(super) command: String,
    /// Open loop: messages a second that were due.
    pub(super) offered: Option<f64>,
    /// Seconds it took with everything around it.
    pub(super) took: f64,
    pub(super) outcome: Outcome,
    pub(super) echo: Option<Outcome>,
}

/// What came of a load.
#[derive(Debug)]
pub(super) enum Outcome {
    Done(Box<Figures>),
    Failed(String),
    /// It was not tried, and why.
    Skipped(String),
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) work: Work,
    pub(super) seconds: f64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) latency: Histogram<u64>,
    pub(super) points: Vec<Point>,
    pub(super) machine: Machine,
    /// It was ended before its time.
    pub(super) is_cut: bool,
}

impl Figures {
    pub(super) fn per_second(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    pub(super) fn megabytes(&self) -> f64 {
        self.bytes as f64 / self.seconds / 1e6
    }

    /// A percentile of the latency in nanoseconds.
    pub(super) fn nanos(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64
    }

    pub(super) fn failures(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Messages that were answered while the machine was watched: an open loop that builds up a queue has answers after that.
    fn answered_inside(&self) -> f64 {
        self.points
            .iter()
            .filter(|point| point.at - point.seconds / 2.0 < self.seconds)
            .map(|point| point.messages as f64)
            .sum()
    }

    /// Messages for each second that the server's process was on a processor.
    pub(super) fn per_server_second(&self) -> Option<f64> {
        match self.machine.processor.as_ref()?.server {
            Server::Here(cores) if cores > 0.0 => Some(self.answered_inside() / self.seconds / cores),
            _ => None,
        }
    }
}

/// The errors of a load in a sentence.
pub(super) fn told(errors: &BTreeMap<String, u64>) -> String {
    let all: Vec<String> = errors.iter().map(|(what, count)| format!("{count} x {what}")).collect();
    all.join("; ")
}

impl Outcome {
    pub(super) fn figures(&self) -> Option<&Figures> {
        match self {
            Outcome::Done(figures) => Some(figures),
            Outcome::Failed(_) | Outcome::Skipped(_) => None,
        }
    }
}

impl Ran {
    pub(super) fn figures(&self) -> Option<&Figures> {
        self.outcome.figures()
    }

    pub(super) fn echo(&self) -> Option<&Figures> {
        self.echo.as_ref()?.figures()
    }

    /// Closed loop: how much of what `echo` does the endpoint does.
    pub(super) fn share(&self) -> Option<f64> {
        let (own, echo) = (self.figures()?.per_second(), self.echo()?.per_second());
        (self.step.percent.is_none() && echo > 0.0).then_some(own / echo)
    }

    /// Open loop: how many times the 99.9th percentile of `echo` that of the endpoint is.
    pub(super) fn factor(&self) -> Option<f64> {
        let (own, echo) = (self.figures()?.nanos(0.999), self.echo()?.nanos(0.999));
        (self.step.percent.is_some() && echo > 0.0).then_some(own / echo)
    }

    /// What is wrong with the figures, the endpoint's and those of `echo` that they are compared with.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let own = self.figures()?.machine.verdict();
        let Some(echo) = self.echo().map(|figures| figures.machine.verdict()) else { return Some(own) };
        let of_echo = |reasons: &[String]| -> Vec<String> {
            reasons.iter().map(|reason| format!("during echo {reason}")).collect()
        };
        Some(match (own, echo) {
            (Verdict::Disturbed(own), Verdict::Disturbed(echo)) => {
                Verdict::Disturbed([own, of_echo(&echo)].concat())
            }
            (Verdict::Disturbed(own), _) => Verdict::Disturbed(own),
            (_, Verdict::Disturbed(echo)) => Verdict::Disturbed(of_echo(&echo)),
            (Verdict::Unknown(own), _) => Verdict::Unknown(own),
            (Verdict::Quiet, Verdict::Unknown(echo)) => Verdict::Unknown(echo),
            (Verdict::Quiet, Verdict::Quiet) => Verdict::Quiet,
        })
    }
}

impl Suite {
    pub(super) fn of_part(&self, part: Part) -> impl Iterator<Item = &Ran> {
        self.steps.iter().filter(move |ran| ran.step.parts.contains(&part))
    }

    pub(super) fn named(&self, name: &str) -> Option<&Figures> {
        self.steps.iter().find(|ran| ran.step.name == name)?.figures()
    }

    /// Whether there is one figure at all.
    pub(super) fn is_measured(&self) -> bool {
        self.steps.iter().any(|ran| ran.figures().is_some())
    }

    /// Steps that have no figures although they were tried.
    pub(super) fn failed(&self) -> usize {
        self.steps.iter().filter(|ran| matches!(ran.outcome, Outcome::Failed(_))).count()
    }

    /// Whether the figures of all steps can be believed: the worst of all, with its reasons by step.
    pub(super) fn verdict(&self) -> Verdict {
        let (mut disturbed, mut unknown) = (Vec::new(), Vec::new());
        for ran in &self.steps {
            let name = ran.step.name;
            match ran.verdict() {
                Some(Verdict::Disturbed(reasons)) => {
                    disturbed.push(format!("{name}: {}", reasons.join("; ")));
                }
                Some(Verdict::Unknown(reasons)) => unknown.extend(reasons),
                Some(Verdict::Quiet) | None => {}
            }
        }
        // What is unknown is so for the same reason each time.
        unknown.sort();
        unknown.dedup();
        let before = self.rest.as_ref().map(Machine::verdict);
        if let (false, Some(Verdict::Disturbed(reasons))) = (disturbed.is_empty(), before) {
            disturbed.insert(0, format!("before the first step, without load: {}", reasons.join("; ")));
        }
        match (disturbed.is_empty(), unknown.is_empty()) {
            (false, _) => Verdict::Disturbed(disturbed),
            (true, false) => Verdict::Unknown(unknown),
            (true, true) if self.is_measured() => Verdict::Quiet,
            (true, true) => Verdict::Unknown(vec!["nothing was measured".to_owned()]),
        }
    }

    /// The verdict in a sentence.
    pub(super) fn judged(&self) -> String {
        let measured = self.steps.iter().filter(|ran| ran.figures().is_some()).count();
        match self.verdict() {
            Verdict::Quiet => {
                format!("The machine was quiet enough to believe these figures. {}", self.worst())
            }
            Verdict::Unknown(_) => "Whether the machine was quiet enough is not known.".to_owned(),
            Verdict::Disturbed(_) => {
                let is_disturbed = |ran: &&Ran| matches!(ran.verdict(), Some(Verdict::Disturbed(_)));
                let disturbed = self.steps.iter().filter(is_disturbed).count();
                format!(
                    "The machine was not quiet: {disturbed} of {measured} measured steps were disturbed. Do not rely on their figures."
                )
            }
        }
    }

    /// The worst of what was seen in any step.
    fn worst(&self) -> String {
        let machines = || {
            let runs = self.steps.iter().flat_map(|ran| [ran.figures(), ran.echo()]);
            runs.flatten().map(|figures| &figures.machine)
        };
        let processors = || machines().filter_map(|machine| machine.processor.as_ref());
        let steal = processors().map(|processor| processor.steal).fold(0.0, f64::max);
        let other = processors().filter_map(|processor| processor.other()).fold(0.0, f64::max);
        let hiccup = machines().map(Machine::hiccup).max().unwrap_or_default();
        format!(
            "In every step at most {} of its time was stolen, other processes took at most {} of a core, and the 99.9th percentile of hiccups was at most {}.",
            words::percent(steal),
            words::percent(other),
            words::nanos(hiccup as f64)
        )
    }
}
