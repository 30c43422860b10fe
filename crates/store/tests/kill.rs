// SPDX-License-Identifier: Apache-2.0
//! A real process on the real disk, killed in the middle of its work, again and again: what it said was appended is there.
//! `KIRUNA_KILLS=n` kills that often.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use stdx::{SystemClock, Threads};
use store::disk::FileDisk;
use store::{AppendError, Durability, Store, StoreConfig};

use crate::rig::*;

const DIR_VAR: &str = "KIRUNA_KILL_TEST_DIR";
const DISK_VAR: &str = "KIRUNA_KILL_TEST_DISK";

fn config(dir: &Path, durability: Durability) -> StoreConfig {
    let mut config = StoreConfig::new(dir);
    (config.stage_size, config.max_message, config.segment_size) = (64 << 10, 8 << 10, 1 << 20);
    config.direct_min = 16 << 10;
    config.durability = durability;
    config.stage_dir = Some(dir.join("memory"));
    config.checkpoint_interval = Duration::from_millis(50);
    config
}

fn open_real(dir: &Path, durability: Durability) -> Arc<Store> {
    // The lock of the killed process goes with it, a moment after `wait` returned or at once.
    Arc::new(Store::open(config(dir, durability), FileDisk.shared(), SystemClock::new()).unwrap())
}

/// What the killed process runs. Does nothing when it is not told where.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR_VAR) else { return };
    let durability = if std::env::var(DISK_VAR).is_ok() { Durability::Disk } else { Durability::Memory };
    let store = open_real(Path::new(&dir), durability);
    let mut loops = Threads::default();
    store.start(&mut loops).unwrap();
    let dispatching = store.clone();
    loops
        .spawn("dispatch", move |stop| {
            while !stop.wait(Duration::from_millis(1)) {
                while dispatching.dispatch_step(100, &mut Vec::new()) > 0 {}
            }
        })
        .unwrap();
    let mut out = std::io::stdout().lock();
    for n in 0u64.. {
        match append(&store, "t", (n % 3) as u32, &body(n)) {
            Ok(appended) => {
                let gate = &store.watermarks().gate;
                while gate.get() < appended.end.0 {
                    gate.wait_past(appended.end.0 - 1, Duration::from_secs(1));
                }
                let offset = appended.first_queue_offset.0;
                if writeln!(out, "acked {} {offset} {n}", n % 3).is_err() {
                    return;
                }
            }
            Err(AppendError::Busy { .. }) => {
                let drained = &store.watermarks().drained;
                drained.wait_past(drained.get(), Duration::from_millis(5));
            }
            Err(e) => panic!("{e}"),
        }
    }
}

fn body(n: u64) -> Vec<u8> {
    let mut body = n.to_le_bytes().to_vec();
    body.resize(8 + (n * 31 % 900) as usize, n as u8);
    body
}

/// Lets a child append until it has said so `acks` times, kills it, and notes what it said.
fn run_and_kill(dir: &Path, durability: Durability, acks: usize, ledger: &mut BTreeMap<(u32, u64), u64>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kill::child", "--nocapture"]).env(DIR_VAR, dir).stdout(Stdio::piped());
    if durability == Durability::Disk {
        command.env(DISK_VAR, "1");
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut note = |line: &str| {
        let Some(line) = line.split_once("acked ").map(|(_, line)| line) else { return 0 };
        let numbers: Vec<u64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
        // The last line may be cut short by the kill.
        let &[queue, offset, n] = numbers.as_slice() else { return 0 };
        assert!(ledger.insert((queue as u32, offset), n).is_none(), "offset {offset} was given out twice");
        1
    };
    let mut seen = 0;
    while seen < acks {
        seen += note(&lines.next().expect("the child runs until it is killed").unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Lines without an end, cut by the kill, are not promises.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    rest.iter().take(rest.len().saturating_sub(1)).for_each(|line| _ = note(line));
}

fn check(dir: &Path, durability: Durability, ledger: &BTreeMap<(u32, u64), u64>) {
    let store = open_real(dir, durability);
    assert!(store.opened().damaged.is_empty() && store.opened().cut == 0, "{:?}", store.opened());
    for queue in 0..3 {
        let found: BTreeMap<u64, Vec<u8>> = read_all(&store, "t", queue).into_iter().collect();
        for ((_, offset), n) in ledger.range((queue, 0)..(queue + 1, 0)) {
            assert_eq!(found.get(offset), Some(&body(*n)), "queue {queue} offset {offset}");
        }
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), (0..found.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn a_killed_process_keeps_its_word() {
    let kills: usize = std::env::var("KIRUNA_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    for durability in [Durability::Memory, Durability::Disk] {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = BTreeMap::new();
        for round in 0..kills {
            run_and_kill(dir.path(), durability, 50 + round * 137 % 900, &mut ledger);
            check(dir.path(), durability, &ledger);
        }
        assert!(ledger.len() >= 50 * kills);
    }
}
