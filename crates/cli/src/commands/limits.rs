// SPDX-License-Identifier: Apache-2.0
//! What the system allows this process: descriptors, of which the log keeps some for itself, and memory, in small pages
//! while it is little. Asked by the server roles at their start and once a second.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};
use stdx::ByteSize;

use crate::exit::Exit;

/// Descriptors that are kept for the log, its views, and the name servers we talk to. The log holds two for each of up to 64
/// files, the rest stays below as many again.
const KEPT: usize = 320;
/// With fewer than these nothing useful is left.
const FEWEST: usize = 128;

/// Lets this process have as many descriptors as the system allows, and says how many of them connections may take.
pub(crate) fn seats(wanted: usize) -> anyhow::Result<usize> {
    let limit = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).is_err() {
        tracing::warn!("the limit of descriptors stays as it is");
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
    if allowed < FEWEST {
        let needs = format!("{allowed} descriptors are allowed, a server needs {FEWEST} or more (ulimit -n)");
        return Err(Exit::config(needs).into());
    }
    let seats = left_of(allowed);
    if seats < wanted {
        tracing::warn!(
            allowed,
            connections = seats,
            wanted,
            "fewer connections than configured: the system allows no more descriptors"
        );
    }
    Ok(seats)
}

/// A small allowance is halved.
fn left_of(allowed: usize) -> usize {
    allowed - KEPT.min(allowed / 2)
}

/// Memory of its own above which a process is given huge pages.
const LARGE: u64 = 64 << 20;

/// Does without huge pages, of which each thread of an idle server would touch one or two: 10 MB for nothing.
pub(crate) fn begin_small() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay as they are");
    }
}

/// Takes huge pages once there is so much in memory that finding it costs more than they do: with 100,000 topics, 8 % of the
/// processor time of a send.
pub(crate) fn grow() {
    let is_large =
        || number_of("RssAnon:", &fs::read_to_string("/proc/self/status").ok()?).map(|bytes| bytes > LARGE);
    if transparent_huge_pages_are_disabled().unwrap_or(false) && is_large().unwrap_or(false) {
        let _ = disable_transparent_huge_pages(false);
    }
}

/// Says why nothing new should be made: less than `reserve` of memory is left on the machine, or for the group of processes
/// that this one belongs to.
pub(crate) fn lack_of_memory(reserve: ByteSize) -> Option<String> {
    if reserve.0 == 0 {
        return None;
    }
    let left = number_of("MemAvailable:", &fs::read_to_string("/proc/meminfo").ok()?)
        .into_iter()
        .chain(left_of_group())
        .min()?;
    (left < reserve.0)
        .then(|| format!("{} of memory are left, less than the {reserve} of memory_reserve", ByteSize(left)))
}

/// A line of kilobytes of the kernel's, in bytes.
fn number_of(name: &str, text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// What is left of the limit of our group of processes, where it has one.
fn left_of_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let dir = Path::new("/sys/fs/cgroup").join(path);
    let number = |name: &str| fs::read_to_string(dir.join(name)).ok()?.trim().parse::<u64>().ok();
    let (max, current) = (number("memory.max")?, number("memory.current")?);
    let cached = cached(&fs::read_to_string(dir.join("memory.stat")).ok()?);
    Some(max.saturating_sub(current.saturating_sub(cached)))
}

/// Memory of files that nobody used lately.
fn cached(stat: &str) -> u64 {
    let line = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
    line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_its_part() {
        assert_eq!([128, 256, 1024, 20_000].map(left_of), [64, 128, 704, 19_680]);
    }

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal:  10 kB\nMemAvailable:   20563 kB\n";
        assert_eq!(number_of("MemAvailable:", text), Some(20_563 << 10));
        assert_eq!(number_of("RssAnon:", text), None);
        assert_eq!(cached("anon 5\ninactive_file 4096\nfile 1\n"), 4096);
        assert_eq!(lack_of_memory(ByteSize(0)), None);
        assert!(lack_of_memory(ByteSize(u64::MAX)).is_some_and(|why| why.contains("memory_reserve")));
    }
}
