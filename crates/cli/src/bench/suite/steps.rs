// SPDX-License-Identifier: Apache-2.0
//! What the suite runs, as data: each step is a name and the arguments of `kiruna bench` that do the same alone. Read by
//! the suite; knows nothing of running or reporting.

/// A table of the report. A step may stand in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Sends,
    Sizes,
    Connections,
    Open,
    Consumers,
    Later,
}

impl Part {
    pub(super) const ALL: [Part; 6] =
        [Part::Sends, Part::Sizes, Part::Connections, Part::Open, Part::Consumers, Part::Later];

    pub(super) fn title(self) -> &'static str {
        match self {
            Part::Sends => "Sends, closed loop",
            Part::Sizes => "Sizes of a body",
            Part::Connections => "Connections",
            Part::Open => "Sends, open loop",
            Part::Consumers => "Consumers",
            Part::Later => "Delayed messages and transactions",
        }
    }
}

/// One thing that is measured.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// Arguments of `kiruna bench`; where the load goes and how long it takes is added.
    pub(super) args: &'static [&'static str],
    pub(super) parts: &'static [Part],
    /// Open loop: the rate in percent of what [`MAXIMUM`] measured.
    pub(super) percent: Option<u32>,
    /// Whether `echo` gets the same load right after it.
    pub(super) echo: bool,
    /// Left out by `--quick`.
    pub(super) long: bool,
}

/// The step whose rate the open loops are shares of.
pub(super) const MAXIMUM: &str = "send-4x64";

const fn step(
    name: &'static str,
    parts: &'static [Part],
    what: &'static str,
    args: &'static [&'static str],
) -> Step {
    Step { name, what, args, parts, percent: None, echo: true, long: false }
}

const fn open(name: &'static str, what: &'static str, percent: u32) -> Step {
    Step { percent: Some(percent), ..step(name, &[Part::Open], what, &["send", "-c", "4", "--size", "1024"]) }
}

const fn alone(step: Step) -> Step {
    Step { echo: false, ..step }
}

/// All of them, in the order they run: what other steps build on comes first, what leaves messages behind comes last.
pub(super) const STEPS: [Step; 23] = [
    step(
        MAXIMUM,
        &[Part::Sends, Part::Sizes],
        "4 connections x 64 outstanding, 1 KiB",
        &["send", "-c", "4", "--outstanding", "64", "--size", "1024"],
    ),
    step(
        "send-16x1",
        &[Part::Sends],
        "16 connections x 1 outstanding, 1 KiB",
        &["send", "-c", "16", "--outstanding", "1", "--size", "1024"],
    ),
    step(
        "send-1x1",
        &[Part::Sends],
        "1 connection x 1 outstanding, 1 KiB",
        &["send", "-c", "1", "--outstanding", "1", "--size", "1024"],
    ),
    step(
        "batch-32",
        &[Part::Sends],
        "batches of 32, 4 connections x 16 outstanding, 1 KiB",
        &["send", "-c", "4", "--outstanding", "16", "--batch", "32", "--size", "1024"],
    ),
    step(
        "size-16b",
        &[Part::Sizes],
        "16 B, 4 connections x 64 outstanding",
        &["send", "-c", "4", "--outstanding", "64", "--size", "16"],
    ),
    step(
        "size-128b",
        &[Part::Sizes],
        "128 B, 4 connections x 64 outstanding",
        &["send", "-c", "4", "--outstanding", "64", "--size", "128"],
    ),
    step(
        "size-64k",
        &[Part::Sizes],
        "64 KiB, 4 connections x 16 outstanding",
        &["send", "-c", "4", "--outstanding", "16", "--size", "65536"],
    ),
    step(
        "size-4m",
        &[Part::Sizes],
        "4 MiB less 1 KiB for what is around it, 1 connection x 2 outstanding",
        &["send", "-c", "1", "--outstanding", "2", "--size", "4193280"],
    ),
    step(
        "connections-1",
        &[Part::Connections],
        "1 connection x 4 outstanding, 1 KiB",
        &["send", "-c", "1", "--outstanding", "4", "--size", "1024"],
    ),
    step(
        "connections-4",
        &[Part::Connections],
        "4 connections x 4 outstanding, 1 KiB",
        &["send", "-c", "4", "--outstanding", "4", "--size", "1024"],
    ),
    step(
        "connections-16",
        &[Part::Connections],
        "16 connections x 4 outstanding, 1 KiB",
        &["send", "-c", "16", "--outstanding", "4", "--size", "1024"],
    ),
    step(
        "connections-64",
        &[Part::Connections],
        "64 connections x 4 outstanding, 1 KiB",
        &["send", "-c", "64", "--outstanding", "4", "--size", "1024"],
    ),
    Step {
        long: true,
        ..step(
            "connections-1000",
            &[Part::Connections],
            "1000 connections x 4 outstanding, 1 KiB",
            &["send", "-c", "1000", "--outstanding", "4", "--size", "1024"],
        )
    },
    open("open-10", "10 % of the measured maximum, 4 connections, 1 KiB", 10),
    open("open-25", "25 % of the measured maximum, 4 connections, 1 KiB", 25),
    open("open-50", "50 % of the measured maximum, 4 connections, 1 KiB", 50),
    open("open-75", "75 % of the measured maximum, 4 connections, 1 KiB", 75),
    open("open-90", "90 % of the measured maximum, 4 connections, 1 KiB", 90),
    alone(step(
        "pull-hot",
        &[Part::Consumers],
        "4 connections, 32 messages a request, the newest 20,000 over and over",
        &["pull", "-c", "4", "--per-request", "32", "--hot", "20000", "--size", "1024"],
    )),
    alone(step(
        "e2e-1k",
        &[Part::Consumers],
        "end to end at 1,000 messages/s, 1 KiB",
        &["e2e", "--rate", "1000", "--size", "1024"],
    )),
    alone(step(
        "e2e-10k",
        &[Part::Consumers],
        "end to end at 10,000 messages/s, 1 KiB",
        &["e2e", "--rate", "10000", "--size", "1024"],
    )),
    alone(step(
        "tx",
        &[Part::Later],
        "half message and commit, 4 connections x 64 outstanding, 1 KiB",
        &["tx", "-c", "4", "--outstanding", "64", "--size", "1024"],
    )),
    alone(step(
        "delayed",
        &[Part::Later],
        "sends to be delivered in 3 to 24 hours, 4 connections x 64 outstanding, 1 KiB",
        &["send", "-c", "4", "--outstanding", "64", "--delay", "3h..24h", "--size", "1024"],
    )),
];

/// The steps that were asked for: by name, or by the word before the first hyphen for all of a kind. An open loop brings the
/// step that it is a share of.
pub(super) fn select(quick: bool, only: &[String]) -> Result<Vec<&'static Step>, String> {
    let is_meant = |wanted: &str, step: &Step| {
        step.name == wanted || step.name.split_once('-').is_some_and(|(kind, _)| kind == wanted)
    };
    if let Some(unknown) = only.iter().find(|wanted| !STEPS.iter().any(|step| is_meant(wanted, step))) {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return Err(format!("there is no step '{unknown}'; there are {}", names.join(", ")));
    }
    let is_wanted = |step: &Step| only.iter().any(|wanted| is_meant(wanted, step));
    // What was asked for by its full name is not left out for being long.
    let is_chosen = |step: &Step| match only {
        [] => !(quick && step.long),
        only => is_wanted(step) && (!(quick && step.long) || only.iter().any(|wanted| wanted == step.name)),
    };
    let needs_maximum = STEPS.iter().any(|step| is_chosen(step) && step.percent.is_some());
    let chosen: Vec<&Step> =
        STEPS.iter().filter(|step| is_chosen(step) || (needs_maximum && step.name == MAXIMUM)).collect();
    if chosen.is_empty() { Err("--quick leaves out all that --only names".to_owned()) } else { Ok(chosen) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;

    fn names(quick: bool, only: &str) -> Result<Vec<&'static str>, String> {
        let only: Vec<String> = only.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        select(quick, &only).map(|steps| steps.iter().map(|step| step.name).collect())
    }

    #[test]
    fn names_differ_and_every_row_is_a_command_of_its_own() {
        for (index, step) in STEPS.iter().enumerate() {
            assert!(STEPS[..index].iter().all(|other| other.name != step.name), "{}", step.name);
            let line: Vec<String> = step.args.iter().map(|&argument| argument.to_owned()).collect();
            let bench = Bench::parse(&line).expect("the arguments are those of a command");
            assert!(bench.common().is_some_and(|common| common.size > 0), "{} is a load", step.name);
            assert!(!step.parts.is_empty() && !step.what.is_empty());
        }
        assert!(STEPS.iter().any(|step| step.name == MAXIMUM && step.percent.is_none()));
    }

    #[test]
    fn steps_are_chosen_by_name_and_by_kind() {
        assert_eq!(names(false, "").map(|all| all.len()), Ok(23));
        assert_eq!(names(true, "").map(|all| all.len()), Ok(22));
        assert!(!names(true, "").expect("all of them").contains(&"connections-1000"));
        assert_eq!(names(false, "tx,send-1x1"), Ok(vec!["send-1x1", "tx"]));
        assert_eq!(names(false, "e2e"), Ok(vec!["e2e-1k", "e2e-10k"]));
        assert_eq!(names(false, "open-50"), Ok(vec![MAXIMUM, "open-50"]));
        assert_eq!(names(true, "connections").map(|some| some.len()), Ok(4));
        assert_eq!(names(true, "connections-1000"), Ok(vec!["connections-1000"]));
        let refusal = names(false, "send-4x64,nonsense").expect_err("nothing is called that");
        assert!(refusal.contains("'nonsense'") && refusal.contains("pull-hot"), "{refusal}");
    }
}
