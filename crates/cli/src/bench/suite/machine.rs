// SPDX-License-Identifier: Apache-2.0
//! What the machine did while something was measured, and whether it was quiet enough to believe the figures. Pure: `watch`
//! looks at the machine, the report prints this. What is not known is said to be so and never counted as quiet.

use hdrhistogram::Histogram;

use super::words;

/// Of the machine's time, above which the figures are those of its other guests.
pub(super) const STEAL: f64 = 0.05;
/// Of one core, above which other processes were at work.
pub(super) const OTHER: f64 = 0.10;
/// Nanoseconds; the 99.9th percentile of hiccups above which tails are the machine's own.
pub(super) const HICCUP: u64 = 5_000_000;

/// The machine during one span of time.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) seconds: f64,
    /// By how many nanoseconds a sleep of a millisecond was too long; a long one also counts for the sleeps that it swallowed.
    pub(super) hiccups: Histogram<u64>,
    /// For each tick, its end in seconds and its longest hiccup in nanoseconds.
    pub(super) peaks: Vec<(f64, u64)>,
    /// Nothing on a system without `/proc`.
    pub(super) processor: Option<Processor>,
}

/// Where the processor time went, in cores; steal and idle as shares of the whole machine.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Processor {
    pub(super) cores: usize,
    pub(super) steal: f64,
    pub(super) idle: f64,
    /// All processes together.
    pub(super) busy: f64,
    /// This process: the load and, in its turns, `echo`.
    pub(super) own: f64,
    pub(super) server: Server,
}

/// The processor time of the server that is measured, in cores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Server {
    /// It runs on another machine, or none is measured.
    Elsewhere,
    Here(f64),
    /// It runs here, but which process it is cannot be seen, or it ended.
    Hidden,
}

impl Processor {
    /// What neither the server nor the load used, in cores.
    pub(super) fn other(&self) -> Option<f64> {
        match self.server {
            Server::Elsewhere => Some((self.busy - self.own).max(0.0)),
            Server::Here(server) => Some((self.busy - self.own - server).max(0.0)),
            Server::Hidden => None,
        }
    }
}

/// What is to be thought of figures.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Quiet,
    /// Why it cannot be told.
    Unknown(Vec<String>),
    /// What was above its limit.
    Disturbed(Vec<String>),
}

impl Verdict {
    /// One word for scripts.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Verdict::Quiet => "quiet",
            Verdict::Unknown(_) => "unknown",
            Verdict::Disturbed(_) => "disturbed",
        }
    }

    pub(super) fn reasons(&self) -> &[String] {
        match self {
            Verdict::Quiet => &[],
            Verdict::Unknown(reasons) | Verdict::Disturbed(reasons) => reasons,
        }
    }
}

impl Machine {
    pub(super) fn hiccup(&self) -> u64 {
        self.hiccups.value_at_quantile(0.999)
    }

    /// Holds what was seen against the limits.
    pub(super) fn verdict(&self) -> Verdict {
        let (mut above, mut unknown) = (Vec::new(), Vec::new());
        match &self.processor {
            Some(processor) => {
                if processor.steal > STEAL {
                    let (found, limit) = (words::percent(processor.steal), words::percent(STEAL));
                    above.push(format!(
                        "other guests of the host took {found} of the machine (limit {limit})"
                    ));
                }
                match processor.other() {
                    Some(other) if other > OTHER => {
                        let (found, limit) = (words::percent(other), words::percent(OTHER));
                        above.push(format!("other processes took {found} of a core (limit {limit})"));
                    }
                    Some(_) => {}
                    None => unknown
                        .push("the server's process cannot be told from others on this machine".to_owned()),
                }
            }
            None => unknown.push("this system has no /proc that tells where processor time goes".to_owned()),
        }
        if self.hiccups.is_empty() {
            unknown.push("it was too short for hiccups to be seen".to_owned());
        } else if self.hiccup() > HICCUP {
            let (found, limit) = (words::nanos(self.hiccup() as f64), words::nanos(HICCUP as f64));
            let idle = self.processor.as_ref().map(|processor| words::percent(processor.idle));
            let idle = idle.map(|idle| format!(" with {idle} of the machine idle")).unwrap_or_default();
            above.push(format!("hiccups reached {found} at the 99.9th percentile (limit {limit}){idle}"));
        }
        match (above.is_empty(), unknown.is_empty()) {
            (false, _) => Verdict::Disturbed(above),
            (true, false) => Verdict::Unknown(unknown),
            (true, true) => Verdict::Quiet,
        }
    }
}

/// An empty histogram of hiccups.
pub(super) fn no_hiccups() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are in order")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// A machine with these figures, for tests of what looks at one.
    pub(in crate::bench::suite) fn machine(steal: f64, busy: f64, server: Server, hiccup: u64) -> Machine {
        let mut hiccups = no_hiccups();
        (0..1_000).for_each(|_| hiccups.saturating_record(hiccup));
        let processor = Processor { cores: 2, steal, idle: 0.5, busy, own: 0.8, server };
        Machine { seconds: 1.0, hiccups, peaks: vec![(1.0, hiccup)], processor: Some(processor) }
    }

    fn check(machine: &Machine, expected: Expect) {
        let verdict = machine.verdict();
        expected.assert_eq(&format!("{}: {}", verdict.word(), verdict.reasons().join("; ")));
    }

    #[test]
    fn what_is_within_the_limits_is_quiet() {
        check(&machine(0.0, 1.0, Server::Here(0.2), 100_000), expect!["quiet: "]);
        check(&machine(0.05, 0.9, Server::Elsewhere, 4_990_000), expect!["quiet: "]);
        // A sum of clock ticks may be a little less than its parts.
        check(&machine(0.0, 0.7, Server::Here(0.2), 100_000), expect!["quiet: "]);
    }

    #[test]
    fn each_limit_is_one_of_its_own() {
        check(
            &machine(0.051, 1.0, Server::Here(0.2), 100_000),
            expect!["disturbed: other guests of the host took 5.1 % of the machine (limit 5 %)"],
        );
        check(
            &machine(0.0, 1.11, Server::Here(0.2), 100_000),
            expect!["disturbed: other processes took 11 % of a core (limit 10 %)"],
        );
        check(
            &machine(0.0, 0.91, Server::Elsewhere, 100_000),
            expect!["disturbed: other processes took 11 % of a core (limit 10 %)"],
        );
        check(
            &machine(0.0, 1.0, Server::Here(0.2), 5_100_000),
            expect![
                "disturbed: hiccups reached 5.1 ms at the 99.9th percentile (limit 5 ms) with 50 % of the machine idle"
            ],
        );
        check(
            &machine(0.2, 1.9, Server::Hidden, 90_000_000),
            expect![
                "disturbed: other guests of the host took 20 % of the machine (limit 5 %); hiccups reached 90 ms at the 99.9th percentile (limit 5 ms) with 50 % of the machine idle"
            ],
        );
    }

    #[test]
    fn what_cannot_be_seen_is_not_quiet() {
        check(
            &machine(0.0, 1.9, Server::Hidden, 100_000),
            expect!["unknown: the server's process cannot be told from others on this machine"],
        );
        let blind = Machine { processor: None, ..machine(0.0, 1.0, Server::Elsewhere, 100_000) };
        check(&blind, expect!["unknown: this system has no /proc that tells where processor time goes"]);
        let loud = Machine { processor: None, ..machine(0.0, 1.0, Server::Elsewhere, 9_000_000) };
        check(&loud, expect!["disturbed: hiccups reached 9 ms at the 99.9th percentile (limit 5 ms)"]);
        let short = Machine { hiccups: no_hiccups(), ..machine(0.0, 0.8, Server::Elsewhere, 0) };
        check(&short, expect!["unknown: it was too short for hiccups to be seen"]);
    }
}
