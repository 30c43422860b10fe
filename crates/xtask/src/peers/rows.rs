// SPDX-License-Identifier: Apache-2.0
//! What is measured and what is asked of it: the rows, their gates, and the figures of a row.

/// What a name says of the long log; a run with another one says so instead.
pub(super) const LONG: &str = "10 GB";

/// One line of the table.
pub(super) struct Row {
    /// The set it belongs to, by which `--rows` chooses.
    pub(super) set: &'static str,
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) work: Work,
    pub(super) gates: &'static [Gate],
}

/// How a row comes by its figures.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// `kiruna bench` with these flags; the figure is a column of its report.
    Bench { args: &'static [&'static str], figure: &'static str, echo: bool, sync: bool },
    /// Processor time of the server of the row before, once nobody asks it anything: percent of a core.
    Processor,
    /// Memory of a server that nobody uses.
    IdleMemory,
    /// Memory after much was written.
    FullMemory,
    /// From starting the process on an empty directory to the first accepted send.
    ReadyFresh,
    /// The same after `kill -9` with a long log.
    ReadyKilled,
}

/// What must hold for the medians.
pub(super) enum Gate {
    /// This many times Apache's figure or more.
    OverApache(f64),
    /// This many times Apache's figure or less.
    UnderApache(f64),
    /// The same of echo's.
    OverEcho(f64),
    UnderEcho(f64),
    /// Not more than that, whatever the others do.
    Under(f64),
}

const fn bench(args: &'static [&'static str], figure: &'static str, echo: bool) -> Work {
    Work::Bench { args, figure, echo, sync: false }
}

/// The sets of rows.
pub(super) const SETS: [&str; 5] = ["base", "delay", "tx", "sql", "life"];

pub(super) const ROWS: [Row; 15] = [
    Row {
        set: "base",
        name: "send, 4 connections × 64 outstanding",
        unit: "msg/s",
        work: bench(&["send", "-c", "4", "--outstanding", "64"], "per_second", true),
        gates: &[Gate::OverApache(5.0), Gate::OverEcho(0.4)],
    },
    Row {
        set: "base",
        name: "send, 16 × 1",
        unit: "msg/s",
        work: bench(&["send", "-c", "16", "--outstanding", "1"], "per_second", true),
        gates: &[Gate::OverApache(3.5), Gate::OverEcho(0.65)],
    },
    Row {
        set: "base",
        name: "send, 1 × 1, p50",
        unit: "µs",
        work: bench(&["send", "-c", "1", "--outstanding", "1"], "p50_us", true),
        gates: &[Gate::UnderEcho(1.4)],
    },
    Row {
        set: "base",
        name: "open loop 10 k msg/s, p99.9",
        unit: "µs",
        work: bench(&["send", "-c", "4", "--rate", "10000"], "p999_us", true),
        gates: &[Gate::UnderEcho(2.0)],
    },
    Row {
        set: "base",
        name: "sync flush, 16 × 16",
        unit: "msg/s",
        work: Work::Bench {
            args: &["send", "-c", "16", "--outstanding", "16"],
            figure: "per_second",
            echo: true,
            sync: true,
        },
        gates: &[Gate::OverApache(2.5)],
    },
    Row {
        set: "base",
        name: "pull of hot data, 4 connections, 32 a request",
        unit: "MB/s",
        work: bench(&["pull", "-c", "4", "--per-request", "32"], "mb_per_second", false),
        gates: &[Gate::OverApache(2.0)],
    },
    Row {
        set: "base",
        name: "end to end at 1 k msg/s, p50",
        unit: "µs",
        work: bench(&["e2e", "--rate", "1000"], "p50_us", false),
        gates: &[Gate::UnderApache(0.5)],
    },
    Row {
        set: "delay",
        name: "send with a delay, 4 × 64",
        unit: "msg/s",
        work: bench(&["send", "-c", "4", "--outstanding", "64", "--delay", "3h..24h"], "per_second", false),
        gates: &[Gate::OverApache(5.0)],
    },
    Row {
        set: "tx",
        name: "half message + commit, 4 × 64",
        unit: "pairs/s",
        work: bench(&["tx", "-c", "4", "--outstanding", "64"], "per_second", false),
        gates: &[Gate::OverApache(5.0)],
    },
    Row {
        set: "tx",
        name: "processor afterwards, nobody asks anything",
        unit: "% of a core",
        work: Work::Processor,
        gates: &[Gate::Under(1.0)],
    },
    Row {
        set: "sql",
        name: "pull with an SQL92 expression that 1 % passes",
        unit: "msg/s passed",
        work: bench(
            &["pull", "-c", "4", "--sql", "--topic", "KirunaSql", "--hot", "100000"],
            "per_second",
            false,
        ),
        gates: &[Gate::OverApache(5.0)],
    },
    Row {
        set: "life",
        name: "memory, idle",
        unit: "MB",
        work: Work::IdleMemory,
        gates: &[Gate::Under(40.0)],
    },
    Row {
        set: "life",
        name: "memory, after 10 GB written",
        unit: "MB",
        work: Work::FullMemory,
        gates: &[Gate::Under(200.0)],
    },
    Row {
        set: "life",
        name: "ready after start",
        unit: "s",
        work: Work::ReadyFresh,
        gates: &[Gate::Under(0.3)],
    },
    Row {
        set: "life",
        name: "ready after kill -9 with 10 GB of log",
        unit: "s",
        work: Work::ReadyKilled,
        gates: &[Gate::Under(1.0)],
    },
];

impl Work {
    /// Whether it takes servers that answer only when the device has the message.
    pub(super) fn sync(self) -> bool {
        matches!(self, Work::Bench { sync: true, .. })
    }
}

/// The figures of one turn; a side without one could not do it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) apache: Option<f64>,
    pub(super) kiruna: Option<f64>,
    pub(super) echo: Option<f64>,
    /// How busy the machine was at most, before one of the three.
    pub(super) busy: f64,
}

/// What the samples of a row say together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Summary {
    pub(super) apache: Option<Spread>,
    pub(super) kiruna: Option<Spread>,
    pub(super) echo: Option<Spread>,
    /// Ours to Apache's, turn by turn.
    pub(super) to_apache: Option<Spread>,
    pub(super) to_echo: Option<Spread>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = Option<f64>>) -> Option<Spread> {
        let mut figures: Vec<f64> = figures.flatten().collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Spread { median: f64::midpoint(low, high), least, most })
    }
}

impl Summary {
    pub(super) fn of(samples: &[Sample]) -> Summary {
        let ratio = |ours: Option<f64>, theirs: Option<f64>| Some(ours? / theirs?);
        Summary {
            apache: Spread::of(samples.iter().map(|sample| sample.apache)),
            kiruna: Spread::of(samples.iter().map(|sample| sample.kiruna)),
            echo: Spread::of(samples.iter().map(|sample| sample.echo)),
            to_apache: Spread::of(samples.iter().map(|sample| ratio(sample.kiruna, sample.apache))),
            to_echo: Spread::of(samples.iter().map(|sample| ratio(sample.kiruna, sample.echo))),
        }
    }
}

impl Gate {
    /// In words.
    pub(super) fn describe(&self, unit: &str) -> String {
        match self {
            Gate::OverApache(times) => format!("≥ {times} × Apache"),
            Gate::UnderApache(times) => format!("≤ {times} × Apache"),
            Gate::OverEcho(times) => format!("≥ {times} × echo"),
            Gate::UnderEcho(times) => format!("≤ {times} × echo"),
            Gate::Under(limit) => format!("≤ {limit} {unit}"),
        }
    }

    /// Whether it holds; nothing when a figure for it is missing.
    pub(super) fn met(&self, summary: &Summary) -> Option<bool> {
        let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
        Some(match self {
            Gate::OverApache(times) => median(summary.to_apache)? >= *times,
            Gate::UnderApache(times) => median(summary.to_apache)? <= *times,
            Gate::OverEcho(times) => median(summary.to_echo)? >= *times,
            Gate::UnderEcho(times) => median(summary.to_echo)? <= *times,
            Gate::Under(limit) => median(summary.kiruna)? <= *limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_met_by_the_median_of_the_turns() {
        let turn = |kiruna, apache, echo| Sample {
            kiruna: Some(kiruna),
            apache: Some(apache),
            echo,
            ..Sample::default()
        };
        let samples = [turn(50.0, 10.0, None), turn(10.0, 10.0, Some(20.0)), turn(66.0, 11.0, Some(100.0))];
        let summary = Summary::of(&samples);
        let met = |gate: Gate| gate.met(&summary);
        assert_eq!(met(Gate::OverApache(5.0)), Some(true));
        assert_eq!(met(Gate::OverApache(5.1)), Some(false));
        assert_eq!(met(Gate::UnderApache(5.0)), Some(true));
        assert_eq!(met(Gate::OverEcho(0.58)), Some(true), "between 0.5 and 0.66");
        assert_eq!(met(Gate::UnderEcho(0.57)), Some(false));
        assert_eq!(met(Gate::Under(49.9)), Some(false));
        assert_eq!(Gate::OverEcho(0.1).met(&Summary::of(&[Sample::default()])), None);
    }
}
