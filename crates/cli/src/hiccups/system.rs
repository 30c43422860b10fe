// SPDX-License-Identifier: Apache-2.0
//! What Linux counts about who had the processors, read from `/proc`. Figures that a system does not give are zero.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use super::ledger::Hints;

/// Nanoseconds of what `/proc/stat` counts in.
const TICK: u64 = 10_000_000;

/// The files that are read again and again.
pub(crate) struct System {
    /// How long this thread ran and waited.
    thread: Option<File>,
    /// All about the process.
    process: Option<File>,
    /// All about the processors.
    machine: Option<File>,
}

impl System {
    /// Opens them, for the thread that calls.
    pub(crate) fn open() -> System {
        let open = |path: &str| File::open(path).ok();
        System {
            thread: open("/proc/thread-self/schedstat"),
            process: open("/proc/self/stat"),
            machine: open("/proc/stat"),
        }
    }

    /// How long the thread was ready and had no processor.
    pub(crate) fn meter_waited(&self) -> u64 {
        read(self.thread.as_ref()).map_or(0, |text| waited(&text))
    }

    /// Reads all figures.
    pub(crate) fn look(&self) -> Hints {
        Hints {
            meter_waited: self.meter_waited(),
            threads_waited: threads_waited(),
            stolen: read(self.machine.as_ref()).map_or(0, |text| stolen(&text)),
            major_faults: read(self.process.as_ref()).map_or(0, |text| major_faults(&text)),
        }
    }
}

/// The beginning of a file, where all is that is looked for.
fn read(file: Option<&File>) -> Option<String> {
    let mut bytes = [0; 1024];
    let length = file?.read_at(&mut bytes, 0).ok()?;
    Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

fn threads_waited() -> u64 {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return 0 };
    let waited = |thread: fs::DirEntry| {
        fs::read_to_string(thread.path().join("schedstat")).map_or(0, |text| waited(&text))
    };
    threads.flatten().map(waited).sum()
}

/// The second number: how long it was ready and had no processor.
fn waited(schedstat: &str) -> u64 {
    number(schedstat.split_whitespace().nth(1))
}

/// The eighth number of the line of all processors.
fn stolen(stat: &str) -> u64 {
    let line = stat.lines().next().filter(|line| line.starts_with("cpu ")).unwrap_or_default();
    number(line.split_whitespace().nth(8)).saturating_mul(TICK)
}

/// The tenth figure behind the name, which is in brackets and may hold anything.
fn major_faults(stat: &str) -> u64 {
    number(stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(9)))
}

fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_where_the_system_puts_them() {
        assert_eq!(waited("244044 3174104 2\n"), 3_174_104);
        assert_eq!(stolen("cpu  5581899 3382256 1901797 5668768 79936 0 185772 318 0 0\ncpu0 1"), 318 * TICK);
        let stat = "77 (a (b) c) S 1 77 77 0 -1 4194304 2601 11 42 0 5 6 0 0 20 0";
        assert_eq!(major_faults(stat), 42);
        assert_eq!((waited(""), stolen("intr 5"), major_faults("1 (x")), (0, 0, 0));
    }

    #[test]
    fn figures_only_rise() {
        let system = System::open();
        let before = system.look();
        let after = system.look();
        assert_eq!(before.since(after).major_faults, 0);
        assert!(after.meter_waited >= before.meter_waited && after.stolen >= before.stolen);
    }
}
