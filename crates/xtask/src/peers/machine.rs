// SPDX-License-Identifier: Apache-2.0
//! What the machine says: whether it is idle, what a process holds in memory, what a directory takes, what it is.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{Owned, Signals};
use crate::shell;

/// More than this and a figure is not believed.
pub(super) const BUSY: f64 = 0.1;

/// Waits for a quiet machine, for so long in all and not longer.
pub(super) struct Quiet<'a> {
    pub(super) signals: &'a Signals,
    /// The longest wait for one sample.
    pub(super) each: Duration,
    /// What is left for the whole run.
    pub(super) left: Cell<Duration>,
}

impl Quiet<'_> {
    /// Waits until what was written is on the disk and other work leaves the machine; returns how busy it still was.
    pub(super) fn wait(&self) -> Result<f64> {
        // One side's unwritten pages would slow down the next.
        Owned::start_piped(Command::new("sync"))?.output(self.signals, Duration::from_secs(120))?;
        let started = Instant::now();
        let mut told = started;
        loop {
            let before = cpu_times()?;
            self.signals.pause(Duration::from_secs(1))?;
            let after = cpu_times()?;
            let busy = 1.0 - (after.1 - before.1) / (after.0 - before.0).max(1.0);
            let waited = started.elapsed();
            if busy <= BUSY || waited > self.each || waited > self.left.get() {
                let second = Duration::from_secs(1);
                self.left.set(self.left.get().saturating_sub(waited.saturating_sub(second)));
                return Ok(busy.max(0.0));
            }
            if told.elapsed() > Duration::from_secs(5) {
                told = Instant::now();
                eprintln!("  the machine is {:.0} % busy, waiting for it to be idle", busy * 100.0);
            }
        }
    }
}

/// All and idle time of the processors, in ticks.
fn cpu_times() -> Result<(f64, f64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("no cpu line")?;
    let numbers: Vec<f64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    if numbers.len() < 5 {
        bail!("/proc/stat has another form than expected");
    }
    // What guests used is in the first two numbers already.
    Ok((numbers.iter().take(8).sum(), numbers[3] + numbers[4]))
}

/// Processor time that a process has taken so far.
pub(super) fn processor(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("reading what it took")?;
    // Behind the name, which may hold anything, in parentheses.
    let rest = stat.rsplit_once(')').context("no name in its stat")?.1;
    let words: Vec<u64> = rest.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
    let [user, system] = words.get(11..13).context("its stat is short")? else { bail!("its stat is short") };
    // A hundred ticks a second, on every Linux.
    Ok(Duration::from_millis((user + system) * 10))
}

/// Megabytes of a process that are in memory, but for the mapped files below `store`; those in `apart` are left out too.
pub(super) fn memory(pid: u32, store: &Path, apart: Option<&Path>) -> Result<f64> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).context("reading its mappings")?;
    let store = fs::canonicalize(store).with_context(|| format!("no {}", store.display()))?;
    let outside = |path: &str| {
        let path = Path::new(path);
        path.starts_with(&store) || apart.is_some_and(|apart| path.starts_with(apart))
    };
    let (mut total, mut left_out) = (0.0, false);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if !first.ends_with(':') {
            left_out = words.nth(4).is_some_and(outside);
        } else if first == if left_out { "Anonymous:" } else { "Rss:" } {
            total +=
                words.next().and_then(|kb| kb.parse::<f64>().ok()).context("a mapping without a size")?;
        }
    }
    Ok(total * 1024.0 / 1e6)
}

/// Bytes that the files below a directory take.
pub(crate) fn taken(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => taken(&entry.path()),
            Ok(found) => found.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// Has the system forget what it keeps in memory of the files below a directory.
pub(super) fn forget(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("no {}", dir.display()))?.flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(found) if found.is_dir() => forget(&path)?,
            Ok(found) if found.is_file() && found.len() > 0 => {
                let mut input = std::ffi::OsString::from("if=");
                input.push(&path);
                let mut dd = Command::new("dd");
                dd.arg(input).args(["iflag=nocache", "count=0", "status=none"]);
                // A file that is gone by now is forgotten.
                let _ = dd.stderr(Stdio::null()).status().context("cannot start dd")?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Descriptors that a process has open, and its mappings.
pub(super) fn handles(pid: u32) -> Result<(f64, f64)> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).context("reading its descriptors")?.count();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).context("reading its mappings")?;
    Ok((open as f64, maps.lines().count() as f64))
}

/// Bytes that can still be written to the disk of `dir`, and those that are taken.
pub(super) fn disk(dir: &Path) -> Result<(u64, u64)> {
    let dir = dir.display().to_string();
    let text = shell::output(shell::command("df", &["--output=avail,used", "-B1", &dir]))?;
    let numbers = text.lines().nth(1).context("df printed no numbers")?;
    let mut numbers = numbers.split_whitespace().map(|number| number.parse().context("df printed no number"));
    let mut next = || numbers.next().context("df printed too few numbers")?;
    Ok((next()?, next()?))
}

/// What a process takes of one core during a while, in percent.
pub(crate) fn share(pid: u32, signals: &Signals, watched: Duration) -> Result<f64> {
    let (before, started) = (processor(pid)?, Instant::now());
    signals.pause(watched)?;
    let spent = processor(pid)? - before;
    Ok(spent.as_secs_f64() / started.elapsed().as_secs_f64() * 100.0)
}

/// The machine and what runs on it, as pairs of name and text.
pub(crate) fn describe(kiruna: &Path) -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let said = |program: &str, args: &[&str]| {
        let text = shell::output(shell::command(program, args)).unwrap_or_default();
        text.lines().next().unwrap_or("unknown").trim().to_owned()
    };
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let temp = std::env::temp_dir().display().to_string();
    let described = [
        ("date", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit", said("git", &["describe", "--always", "--dirty"])),
        ("kiruna", said(&kiruna.display().to_string(), &["--version"])),
        ("apache", "RocketMQ 5.5.0".to_owned()),
        ("java", said("java", &["--version"])),
        ("processor", format!("{cores} × {}", field(&read("/proc/cpuinfo"), "model name"))),
        ("memory", field(&read("/proc/meminfo"), "MemTotal")),
        ("kernel", said("uname", &["-sr"])),
        ("disk", said("stat", &["-f", "-c", "%T", &temp])),
    ];
    described.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}
