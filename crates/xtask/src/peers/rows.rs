// SPDX-License-Identifier: Apache-2.0
//! What is measured and what is asked of it, as data: tasks, the rows that each gives, their gates. Read by the run; knows
//! nothing of servers.

use super::sides::{Kind, Side};

/// What a name says of the long log; a run with another one says so instead.
pub(super) const LONG: &str = "10 GB";

/// Something that is measured, and the rows that its figures stand in.
pub(super) struct Task {
    /// The set it belongs to, by which `--rows` chooses.
    pub(super) set: &'static str,
    pub(super) work: Work,
    pub(super) rows: &'static [Row],
}

/// One line of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// The column of the bench's report, or one of the names below.
    pub(super) figure: &'static str,
    pub(super) gates: &'static [Gate],
}

/// Messages a second that the server's process was on a processor.
pub(super) const PER_CPU_SECOND: &str = "per_cpu_second";
/// Megabytes a second of the cold reader beside the load.
pub(super) const READER: &str = "reader_mb_per_second";

/// How a task comes by its figures.
pub(super) enum Work {
    Load(Load),
    /// Processor time of the server that the tasks before used, once nobody asks it anything: percent of a core.
    Processor,
    /// Memory of one server, and how soon it is ready.
    Life,
    /// What many topics and queues take.
    Many,
}

/// `kiruna bench` with these flags.
pub(super) struct Load {
    pub(super) args: &'static [&'static str],
    /// The servers that it takes.
    pub(super) kind: Kind,
    /// Whether the peers get it too.
    pub(super) peers: bool,
    pub(super) echo: bool,
    /// Whether a consumer reads from the beginning of a long log all the while.
    pub(super) reader: bool,
    /// A load that ours is compared with on our own server, instead of a peer's.
    pub(super) base: Option<Base>,
}

/// What a figure of ours is compared with when it is ours too.
pub(super) struct Base {
    pub(super) name: &'static str,
    pub(super) args: &'static [&'static str],
    pub(super) kind: Kind,
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
    /// The same of the figure of ours that it is compared with.
    OverBase(f64),
    UnderBase(f64),
    /// Not more than that, whatever the others do.
    Under(f64),
}

const PLAIN: Load =
    Load { args: &[], kind: Kind::Plain, peers: true, echo: false, reader: false, base: None };

const fn peers(args: &'static [&'static str]) -> Work {
    Work::Load(Load { args, ..PLAIN })
}

const fn peers_and_echo(args: &'static [&'static str]) -> Work {
    Work::Load(Load { args, echo: true, ..PLAIN })
}

const fn row(name: &'static str, unit: &'static str, figure: &'static str, gates: &'static [Gate]) -> Row {
    Row { name, unit, figure, gates }
}

/// The sets of rows, in the order of the page.
pub(super) const SETS: [&str; 14] = [
    "send", "open", "pull", "e2e", "core", "sync", "fanin", "topics", "cold", "delay", "tx", "sql", "life",
    "many",
];
/// What `--rows base` stands for.
pub(super) const BASE: [&str; 5] = ["send", "open", "pull", "e2e", "sync"];

use Gate::{OverApache, OverBase, OverEcho, Under, UnderApache, UnderBase, UnderEcho};

/// In the order they run, so that tasks of one kind of server follow each other.
pub(super) const TASKS: [Task; 20] = [
    Task {
        set: "send",
        work: peers_and_echo(&["send", "-c", "4", "--outstanding", "64"]),
        rows: &[
            row(
                "send, 4 connections × 64 outstanding",
                "msg/s",
                "per_second",
                &[OverApache(7.0), OverEcho(0.55)],
            ),
            row(
                "the same, a second of the broker's processor time",
                "msg/s",
                PER_CPU_SECOND,
                &[OverApache(12.0)],
            ),
        ],
    },
    Task {
        set: "send",
        work: peers_and_echo(&["send", "-c", "16", "--outstanding", "1"]),
        rows: &[row("send, 16 × 1", "msg/s", "per_second", &[OverApache(4.5), OverEcho(0.8)])],
    },
    Task {
        set: "send",
        work: peers_and_echo(&["send", "-c", "1", "--outstanding", "1"]),
        rows: &[row("send, 1 × 1, p50", "µs", "p50_us", &[UnderEcho(1.4)])],
    },
    Task {
        set: "send",
        work: peers_and_echo(&["send", "-c", "4", "--outstanding", "16", "--batch", "32"]),
        rows: &[row("send, batches of 32, 4 × 16", "msg/s", "per_second", &[OverApache(6.0)])],
    },
    Task {
        set: "open",
        work: peers_and_echo(&["send", "-c", "4", "--rate", "10000"]),
        rows: &[row("open loop 10 k msg/s, p99.9", "µs", "p999_us", &[UnderEcho(1.7)])],
    },
    Task {
        set: "open",
        work: peers_and_echo(&["send", "-c", "4", "--rate", "50000"]),
        rows: &[row("open loop 50 k msg/s, p99.9", "µs", "p999_us", &[UnderEcho(1.7)])],
    },
    Task {
        set: "pull",
        work: peers(&["pull", "-c", "4", "--per-request", "32"]),
        rows: &[row(
            "pull of hot data, 4 connections, 32 a request",
            "MB/s",
            "mb_per_second",
            &[OverApache(3.0)],
        )],
    },
    Task {
        set: "e2e",
        work: peers(&["e2e", "--rate", "1000"]),
        rows: &[row("end to end at 1 k msg/s, p50", "µs", "p50_us", &[UnderApache(0.5)])],
    },
    Task {
        set: "e2e",
        work: peers(&["e2e", "--rate", "10000"]),
        rows: &[
            row("end to end at 10 k msg/s, p50", "µs", "p50_us", &[UnderApache(1.0 / 4.0)]),
            row("end to end at 10 k msg/s, p99", "µs", "p99_us", &[UnderApache(1.0 / 12.0)]),
        ],
    },
    Task {
        set: "delay",
        work: peers(&["send", "-c", "4", "--outstanding", "64", "--delay", "3h..24h"]),
        rows: &[row("send with a delay, 4 × 64", "msg/s", "per_second", &[OverApache(5.0)])],
    },
    Task {
        set: "tx",
        work: peers(&["tx", "-c", "4", "--outstanding", "64"]),
        rows: &[row("half message + commit, 4 × 64", "pairs/s", "per_second", &[OverApache(5.0)])],
    },
    Task {
        set: "tx",
        work: Work::Processor,
        rows: &[row("processor afterwards, nobody asks anything", "% of a core", "", &[Under(1.0)])],
    },
    Task {
        set: "sql",
        work: peers(&["pull", "-c", "4", "--sql", "--topic", "KirunaSql", "--hot", "100000"]),
        rows: &[row(
            "pull with an SQL92 expression that 1 % passes",
            "msg/s passed",
            "per_second",
            &[OverApache(5.0)],
        )],
    },
    Task {
        set: "topics",
        work: Work::Load(Load {
            args: &[
                "send",
                "-c",
                "4",
                "--outstanding",
                "64",
                "--topic",
                "KirunaTopics",
                "--topics",
                "100000",
            ],
            kind: Kind::Topics,
            peers: false,
            base: Some(Base {
                name: "1 topic, 8 queues",
                args: &["send", "-c", "4", "--outstanding", "64"],
                kind: Kind::Plain,
            }),
            ..PLAIN
        }),
        rows: &[row(
            "send 4 × 64 to 100,000 topics × 1 queue, uniform",
            "msg/s",
            "per_second",
            &[OverBase(0.85)],
        )],
    },
    Task {
        set: "fanin",
        work: Work::Load(Load {
            args: &["send", "-c", "64", "--outstanding", "16"],
            kind: Kind::Sync,
            peers: false,
            base: Some(Base {
                name: "memory durability",
                args: &["send", "-c", "64", "--outstanding", "16"],
                kind: Kind::Plain,
            }),
            ..PLAIN
        }),
        rows: &[row("disk durability, 64 × 16 (1,024 outstanding)", "msg/s", "per_second", &[OverBase(0.5)])],
    },
    Task {
        set: "sync",
        work: Work::Load(Load {
            args: &["send", "-c", "16", "--outstanding", "16"],
            kind: Kind::Sync,
            echo: true,
            ..PLAIN
        }),
        rows: &[row("sync flush, 16 × 16", "msg/s", "per_second", &[OverApache(3.5)])],
    },
    Task {
        set: "core",
        work: Work::Load(Load {
            args: &["send", "-c", "1", "--outstanding", "1"],
            kind: Kind::OneCore,
            peers: false,
            echo: true,
            ..PLAIN
        }),
        rows: &[
            row("both ends on one core, 1 × 1, p50", "µs", "p50_us", &[Under(20.0)]),
            row("both ends on one core, 1 × 1, p99.99", "µs", "p9999_us", &[Under(500.0)]),
        ],
    },
    Task {
        set: "cold",
        work: Work::Load(Load {
            args: &["send", "-c", "4", "--rate", "50000"],
            kind: Kind::Cold,
            peers: false,
            reader: true,
            base: Some(Base {
                name: "no reader",
                args: &["send", "-c", "4", "--rate", "50000"],
                kind: Kind::Cold,
            }),
            ..PLAIN
        }),
        rows: &[
            row("sends at 50 k/s beside a cold reader, p99.9", "µs", "p999_us", &[UnderBase(2.0)]),
            row("the cold reader meanwhile", "MB/s", READER, &[]),
        ],
    },
    Task {
        set: "life",
        work: Work::Life,
        rows: &[
            row("memory, idle", "MB", IDLE_MEMORY, &[Under(30.0)]),
            row("processor, idle", "% of a core", IDLE_PROCESSOR, &[Under(0.3)]),
            row("memory, after 10 GB written", "MB", FULL_MEMORY, &[Under(200.0)]),
            row("ready after start", "s", READY_FRESH, &[Under(0.3)]),
            row("ready after kill -9 with 10 GB of log", "s", READY_KILLED, &[Under(1.0)]),
        ],
    },
    Task {
        set: "many",
        work: Work::Many,
        rows: &[
            row("making 100,000 topics", "s", MAKING, &[Under(10.0)]),
            row("ready after a clean stop with 100,000 topics", "s", MANY_STOPPED, &[Under(2.0)]),
            row("ready after kill -9 with 100,000 topics", "s", MANY_KILLED, &[Under(5.0)]),
            row("1,000,000 queues: memory a queue, all told", "bytes", QUEUE_MEMORY, &[Under(1_500.0)]),
            row("1,000,000 queues: descriptors", "", DESCRIPTORS, &[Under(499.0)]),
            row("1,000,000 queues: mappings", "", MAPPINGS, &[Under(499.0)]),
        ],
    },
];

pub(super) const IDLE_MEMORY: &str = "idle_memory";
pub(super) const IDLE_PROCESSOR: &str = "idle_processor";
pub(super) const FULL_MEMORY: &str = "full_memory";
pub(super) const READY_FRESH: &str = "ready_fresh";
pub(super) const READY_KILLED: &str = "ready_killed";
pub(super) const MAKING: &str = "making";
pub(super) const MANY_STOPPED: &str = "many_stopped";
pub(super) const MANY_KILLED: &str = "many_killed";
pub(super) const QUEUE_MEMORY: &str = "queue_memory";
pub(super) const DESCRIPTORS: &str = "descriptors";
pub(super) const MAPPINGS: &str = "mappings";

impl Task {
    /// What it is called while it runs.
    pub(super) fn name(&self) -> &'static str {
        self.rows[0].name
    }

    /// What its figures are compared with, where that is ours.
    pub(super) fn base(&self) -> Option<&'static str> {
        match &self.work {
            Work::Load(Load { base: Some(base), .. }) => Some(base.name),
            _ => None,
        }
    }

    /// The peers beside which it runs, and the servers that it takes.
    pub(super) fn servers(&self, peers: &[Side]) -> Vec<(Side, Kind)> {
        match &self.work {
            Work::Load(load) => {
                let peers = peers.iter().filter(|_| load.peers).map(|side| (*side, load.kind));
                let base = load.base.iter().map(|base| (Side::Kiruna, base.kind));
                peers.chain(base).chain([(Side::Kiruna, load.kind)]).collect()
            }
            Work::Processor => peers.iter().chain([&Side::Kiruna]).map(|side| (*side, Kind::Plain)).collect(),
            Work::Life | Work::Many => Vec::new(),
        }
    }
}

impl Gate {
    /// In words.
    pub(super) fn describe(&self, unit: &str, base: &str) -> String {
        let base = base.split(',').next().unwrap_or_default();
        match self {
            OverApache(times) => format!("≥ {times} × Apache"),
            UnderApache(times) => format!("≤ {} Apache", share(*times)),
            OverEcho(times) => format!("≥ {times} × echo"),
            UnderEcho(times) => format!("≤ {times} × echo"),
            OverBase(times) => format!("≥ {times} × {base}"),
            UnderBase(times) => format!("≤ {times} × {base}"),
            Under(limit) => format!("≤ {limit} {unit}").trim_end().to_owned(),
        }
    }
}

/// `1/12 of` for what divides one, else `0.3 ×`.
fn share(times: f64) -> String {
    let parts = 1.0 / times;
    if (parts - parts.round()).abs() < 1e-9 { format!("1/{parts:.0} of") } else { format!("{times} ×") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_has_a_task_and_every_task_a_set() {
        for task in &TASKS {
            assert!(SETS.contains(&task.set), "{}", task.set);
            assert!(!task.rows.is_empty());
        }
        for set in SETS.iter().chain(&BASE) {
            assert!(TASKS.iter().any(|task| task.set == *set), "{set}");
        }
        let names: Vec<&str> = TASKS.iter().flat_map(|task| task.rows).map(|row| row.name).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name} stands there twice");
        }
    }

    #[test]
    fn gates_read_like_those_of_the_table() {
        assert_eq!(OverApache(7.0).describe("msg/s", ""), "≥ 7 × Apache");
        assert_eq!(UnderApache(1.0 / 12.0).describe("µs", ""), "≤ 1/12 of Apache");
        assert_eq!(OverBase(0.85).describe("msg/s", "1 topic, 8 queues"), "≥ 0.85 × 1 topic");
        assert_eq!(Under(30.0).describe("MB", ""), "≤ 30 MB");
        assert_eq!(Under(499.0).describe("", ""), "≤ 499");
    }
}
