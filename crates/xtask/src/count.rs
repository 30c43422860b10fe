// SPDX-License-Identifier: Apache-2.0
//! Instructions that the server takes for a send and for a pull, counted by callgrind on the release build itself, with a
//! fixed load over loopback: a guard against regressions of speed that no busy machine disturbs. What is there now is
//! compared with what was accepted (`docs/benchmarks/instructions.json`). Never measures time.

mod figures;
mod load;
mod profile;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::interop::{self, Server};
use crate::process::Signals;
use crate::shell;
use figures::{Figures, Found};
use load::{Load, PULLED};
use profile::Profile;

/// Rounds of which the least counts.
const ROUNDS: usize = 3;
/// So long after the last answer all is dispatched and drained.
const SETTLED: Duration = Duration::from_millis(500);

/// One kind of load.
struct Workload {
    name: &'static str,
    /// What one round asks, and how many messages it stores.
    requests: u64,
    messages: u64,
    round: fn(&mut Load) -> Result<()>,
}

const TURNS: u64 = 32;
const TOGETHER: u64 = 64;
const SINGLES: u64 = 512;
const PULLS: u64 = 192;
// What is pulled was stored by the rounds before.
const _: () = assert!(PULLS * PULLED <= (ROUNDS as u64 + 1) * TURNS * TOGETHER);

const WORKLOADS: [Workload; 3] = [
    Workload {
        name: "send, 64 in one piece",
        requests: TURNS * TOGETHER,
        messages: TURNS * TOGETHER,
        round: |load| load.send(TURNS, TOGETHER),
    },
    Workload {
        name: "send, one by one",
        requests: SINGLES,
        messages: SINGLES,
        round: |load| load.send(SINGLES, 1),
    },
    Workload { name: "pull of 32", requests: PULLS, messages: 0, round: |load| load.pull(PULLS) },
];

/// Counts, and compares or accepts.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let accepts = match args {
        [] => false,
        [flag] if flag == "--accept" => true,
        _ => bail!("count takes --accept or nothing"),
    };
    if !shell::exists("valgrind", "--version") {
        println!("count: SKIPPED, NOTHING IS CHECKED: valgrind is not installed");
        return Ok(());
    }
    shell::build_kiruna()?;
    let figures = Figures { made_with: made_with()?, found: count()? };
    print!("{}", figures.page());
    let folder = shell::root().join("docs/benchmarks");
    if accepts { figures.write(&folder) } else { figures.compare(&Figures::read(&folder)?) }
}

/// What the figures depend on besides our own code. The C library copies and compares in ways that depend on the processor.
fn made_with() -> Result<String> {
    let tools = [("rustc", "--version"), ("getconf", "GNU_LIBC_VERSION"), ("valgrind", "--version")];
    let names: Vec<String> = tools
        .iter()
        .map(|(program, flag)| Ok(shell::output(shell::command(program, &[flag]))?.trim().to_owned()))
        .collect::<Result<_>>()?;
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |wanted: &&str| flags.split_whitespace().any(|flag| flag == *wanted);
    let ways: Vec<&str> = ["sse4_2", "avx2", "bmi2", "erms", "fsrm", "avx512f", "pclmulqdq", "vpclmulqdq"]
        .into_iter()
        .filter(|flag| has(flag))
        .collect();
    Ok(format!("{}, {} with {}", names.join(", "), std::env::consts::ARCH, ways.join(" ")))
}

fn count() -> Result<Vec<Found>> {
    let signals = Signals::listen()?;
    let dir = std::env::temp_dir().join(format!("kiruna-count-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let file = format!("--callgrind-out-file={}", dir.join("profile").display());
    let tool = ["valgrind", "--quiet", "--tool=callgrind", "--separate-threads=yes", "--dump-line=no"];
    let under: Vec<&str> = tool.into_iter().chain([file.as_str(), "--fair-sched=try"]).collect();
    let server = Server::under(&under, "counted", &[])?;
    let counting = Counting { signals: &signals, server: &server, dir: &dir };
    let found = counting.count_all();
    let ended = server.stop()?;
    for folder in [Some(dir), interop::stages(&ended.join("data")), Some(ended)].into_iter().flatten() {
        let _ = fs::remove_dir_all(folder);
    }
    found
}

struct Counting<'a> {
    signals: &'a Signals,
    server: &'a Server,
    dir: &'a Path,
}

impl Counting<'_> {
    fn count_all(&self) -> Result<Vec<Found>> {
        let mut load = Load::connect(self.server.broker())?;
        load.join()?;
        WORKLOADS.iter().map(|workload| self.count(workload, &mut load)).collect()
    }

    fn count(&self, workload: &Workload, load: &mut Load) -> Result<Found> {
        (workload.round)(load)?;
        self.profiles()?;
        let mut least: Option<(Profile, Profile)> = None;
        for _ in 0..ROUNDS {
            (workload.round)(load)?;
            let (connection, others) = self.profiles()?;
            println!("{}: {} a request", workload.name, connection.total / workload.requests);
            least = Some(match least {
                Some(least) => (least.0.least(&connection), least.1.least(&others)),
                None => (connection, others),
            });
        }
        let (connection, others) = least.context("there is a round")?;
        Ok(Found::new(workload.name, (&connection, workload.requests), (&others, workload.messages)))
    }

    /// What was done since the last look: by the thread of the connection, and by all others.
    fn profiles(&self) -> Result<(Profile, Profile)> {
        self.signals.pause(SETTLED)?;
        shell::output(shell::command("callgrind_control", &["--dump", &self.server.pid().to_string()]))?;
        let (mut connection, mut others) = (Profile::default(), Profile::default());
        for entry in fs::read_dir(self.dir)? {
            let path = entry?.path();
            // One for each thread and dump; the file without an extension is written at the end.
            if path.extension().is_none() {
                continue;
            }
            let profile = Profile::parse(&fs::read_to_string(&path)?)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let is_connection = profile.within("remoting::") > 0 && profile.total > connection.total;
            let other = if is_connection { std::mem::replace(&mut connection, profile) } else { profile };
            others = others.and(other);
            fs::remove_file(path)?;
        }
        if connection.total == 0 {
            bail!("no thread served the connection, or the names of functions were stripped");
        }
        Ok((connection, others))
    }
}
