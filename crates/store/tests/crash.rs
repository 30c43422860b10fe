// SPDX-License-Identifier: Apache-2.0
//! The store dies at every step of its stories, by a kill and by a power cut, for both durabilities, and again while it
//! recovers. What it promised before must hold afterwards, whatever the simulated disk lost, tore or reordered.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use protocol::names::{LogOffset, QueueId};
use protocol::record::Record;
use stdx::Rng;
use store::disk::sim::{SimDisk, SyncFault};
use store::{AppendError, Durability, FactChange, FactKind, OpenError, Settled, Store};

use crate::rig::*;

const KIND: FactKind = FactKind(20);
const QUEUES: [(&str, u32); 3] = [("a", 0), ("a", 1), ("b", 7)];
/// Light queues; their messages are in the first queue too.
const LIGHT: [&str; 3] = ["%LMQ%x", "%LMQ%y", "%LMQ%z"];

/// What a client knows: what it tried, what it was promised, what it saw.
#[derive(Clone, Default)]
struct Ledger {
    tried: u64,
    /// Appended, whatever was promised: queue, queue offset, number of the message, end in the log.
    appended: Vec<Sent>,
    /// The same for light queues.
    light: Vec<Sent>,
    /// Every value of the fact that was put, and its end in the log.
    facts: Vec<(u64, LogOffset)>,
    /// Up to here the promise was said to hold.
    settled: LogOffset,
    /// Queue offsets that a consumer saw as visible: one past the last, a queue.
    seen: BTreeMap<(String, u32), u64>,
}

#[derive(Clone, Debug)]
struct Sent {
    queue: usize,
    offset: u64,
    /// How many offsets it has.
    count: u64,
    number: u64,
    end: LogOffset,
}

fn body(number: u64) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(8 + (number * 37 % 400) as usize, number as u8);
    body
}

fn number(body: &[u8]) -> u64 {
    let number = u64::from_le_bytes(body[..8].try_into().unwrap());
    assert_eq!(body, self::body(number), "a body is what was sent");
    number
}

/// One client, one store, one seed: a story told until the disk dies.
struct Story<'a> {
    disk: &'a SimDisk,
    durability: Durability,
    rng: Rng,
    ledger: Ledger,
}

impl Story<'_> {
    fn config(&self) -> store::StoreConfig {
        let mut config = small(self.durability);
        config.retention.reserved = Duration::from_secs(3600);
        config.retention.delete_when = Vec::new();
        config
    }

    /// Tells all of it, or until the disk dies; panics of a process that is dead already do not count.
    fn tell(&mut self, rounds: usize) {
        let disk = self.disk.clone();
        let told = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..2 {
                let clock = StillClock::new();
                let Ok(store) = open_at(&disk, self.config(), clock.clone()) else { return };
                self.check_poison(&store);
                for _ in 0..rounds {
                    if disk.is_dead() {
                        return;
                    }
                    self.act(&store, &clock);
                }
                store.close();
            }
        }));
        assert!(told.is_ok() || disk.is_dead(), "the store panicked on a living disk");
        assert!(disk.is_dead() || disk.steps() > 0);
    }

    fn check_poison(&self, store: &Store) {
        assert!(store.poisoned().is_none() || self.disk.is_dead());
    }

    fn act(&mut self, store: &Arc<Store>, clock: &StillClock) {
        match self.rng.below(20) {
            0..=2 => self.append(store),
            3 => self.append_batches(store),
            4..=6 => self.append_light(store),
            7 => self.put_fact(store),
            8..=10 => _ = store.drain_step(),
            11 => store.prepare_step(),
            12 => _ = store.flush_step(),
            13..=15 => self.dispatch(store),
            16 | 17 => store.checkpoint_step(true),
            _ => {
                clock.forward(Duration::from_secs(1801));
                store.retain_step();
            }
        }
        self.settle(store);
    }

    fn append(&mut self, store: &Store) {
        let queue = self.rng.below(QUEUES.len() as u64) as usize;
        let count = 1 + self.rng.below(3);
        let numbers: Vec<u64> = (self.ledger.tried..self.ledger.tried + count).collect();
        self.ledger.tried += count;
        let bodies: Vec<_> = numbers.iter().map(|number| body(*number)).collect();
        let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        let (name, id) = QUEUES[queue];
        match append_all(store, name, id, &bodies) {
            Ok(appended) if !self.disk.is_dead() => {
                for (index, number) in numbers.into_iter().enumerate() {
                    let offset = appended.first_queue_offset.0 + index as u64;
                    self.ledger.appended.push(Sent { queue, offset, count: 1, number, end: appended.end });
                }
            }
            Ok(_) | Err(AppendError::Busy { .. }) => {}
            Err(e) => assert!(self.disk.is_dead(), "{e}"),
        }
    }

    /// Inner batches, some longer than a part of the arena.
    fn append_batches(&mut self, store: &Store) {
        let counts: Vec<u64> = (0..1 + self.rng.below(2)).map(|_| 1 + self.rng.below(70)).collect();
        let numbers: Vec<u64> = (self.ledger.tried..self.ledger.tried + counts.len() as u64).collect();
        self.ledger.tried += counts.len() as u64;
        let bodies: Vec<_> = numbers.iter().map(|number| body(*number)).collect();
        let batches: Vec<(u64, &[u8])> =
            counts.iter().copied().zip(bodies.iter().map(Vec::as_slice)).collect();
        match append_batches(store, QUEUES[0].0, &batches) {
            Ok(appended) if !self.disk.is_dead() => {
                for ((number, count), (_, offset)) in numbers.into_iter().zip(counts).zip(appended.places()) {
                    let sent = Sent { queue: 0, offset: offset.0, count, number, end: appended.end };
                    self.ledger.appended.push(sent);
                }
            }
            Ok(_) | Err(AppendError::Busy { .. }) => {}
            Err(e) => assert!(self.disk.is_dead(), "{e}"),
        }
    }

    fn append_light(&mut self, store: &Store) {
        let queues: Vec<usize> = (0..LIGHT.len()).filter(|_| self.rng.chance(2)).collect();
        let list = if queues.is_empty() { vec![0] } else { queues };
        let names = list.iter().map(|queue| LIGHT[*queue]).collect::<Vec<_>>().join(",");
        let count = 1 + self.rng.below(3);
        let numbers: Vec<u64> = (self.ledger.tried..self.ledger.tried + count).collect();
        self.ledger.tried += count;
        let bodies: Vec<_> = numbers.iter().map(|number| body(*number)).collect();
        let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        match append_light(store, QUEUES[0].0, &names, &bodies) {
            Ok(appended) if !self.disk.is_dead() => {
                for (index, (number, at)) in numbers.into_iter().zip(appended.starts()).enumerate() {
                    let offset = appended.first_queue_offset.0 + index as u64;
                    self.ledger.appended.push(Sent { queue: 0, offset, count: 1, number, end: appended.end });
                    let Ok(Some(bytes)) = store.record_at(at) else { continue };
                    let record = Record::parse(&bytes).unwrap();
                    let offsets = record.property("INNER_MULTI_QUEUE_OFFSET").unwrap().split(',');
                    for (queue, offset) in list.iter().zip(offsets) {
                        let offset = offset.parse().unwrap();
                        let sent = Sent { queue: *queue, offset, count: 1, number, end: appended.end };
                        self.ledger.light.push(sent);
                    }
                }
            }
            Ok(_) | Err(AppendError::Busy { .. }) => {}
            Err(e) => assert!(self.disk.is_dead(), "{e}"),
        }
    }

    fn put_fact(&mut self, store: &Store) {
        let value = self.ledger.facts.len() as u64;
        let change = FactChange { kind: KIND, key: b"k".to_vec(), value: Some(value.to_le_bytes().to_vec()) };
        // Tried is enough to be allowed to show up, so it is noted whatever comes of it.
        self.ledger.facts.push((value, LogOffset(u64::MAX)));
        if let Ok(appended) = store.put_facts(&[change])
            && !self.disk.is_dead()
        {
            self.ledger.facts.last_mut().unwrap().1 = appended.end;
        }
    }

    fn dispatch(&mut self, store: &Store) {
        let mut arrivals = Vec::new();
        store.dispatch_step(1 + self.rng.below(8) as usize, &mut arrivals);
        if self.disk.is_dead() {
            return;
        }
        for arrival in arrivals {
            let key = arrival.queue.key();
            self.ledger.seen.insert((key.topic.to_string(), key.queue.0), arrival.next.0);
        }
    }

    /// Notes how far the promise holds.
    fn settle(&mut self, store: &Store) {
        let last = self.ledger.appended.last().map_or(LogOffset(0), |sent| sent.end);
        let facts = self.ledger.facts.iter().map(|(_, end)| *end).filter(|end| end.0 != u64::MAX);
        for end in facts.chain([last]) {
            let is_settled = settled(store, end) == Some(Settled::Done);
            if is_settled && !self.disk.is_dead() {
                self.ledger.settled = self.ledger.settled.max(end);
            }
        }
    }
}

/// What a reopened store must hold.
struct Promise<'a> {
    ledger: &'a Ledger,
    /// Nothing that was settled may be missing.
    settled: bool,
    /// Nothing that was appended may be missing.
    appended: bool,
}

impl Promise<'_> {
    fn covers(&self, end: LogOffset) -> bool {
        end.0 != u64::MAX && (self.appended || (self.settled && end <= self.ledger.settled))
    }

    fn check(&self, store: &Arc<Store>) {
        for (index, (name, id)) in QUEUES.iter().enumerate() {
            let Some(handle) = store.find_queue(name, QueueId(*id)) else {
                let lost = self.ledger.appended.iter().find(|s| s.queue == index && self.covers(s.end));
                assert!(lost.is_none(), "queue {name}/{id} is gone with {lost:?}");
                continue;
            };
            let records = read_records(store, name, *id);
            let offsets: u64 = records.iter().map(|(_, count, _)| count).sum();
            let found: BTreeMap<u64, u64> =
                records.into_iter().map(|(offset, _, body)| (offset, number(&body))).collect();
            let numbers: BTreeSet<u64> = found.values().copied().collect();
            assert_eq!(numbers.len(), found.len(), "no message twice");
            assert!(numbers.iter().all(|number| *number < self.ledger.tried), "no message from nowhere");
            for sent in self.ledger.appended.iter().filter(|sent| sent.queue == index) {
                if sent.offset < handle.first().0 {
                    continue;
                }
                match found.get(&sent.offset) {
                    Some(number) if self.covers(sent.end) => {
                        assert_eq!(
                            *number, sent.number,
                            "{name}/{id} offset {} holds another message",
                            sent.offset
                        );
                    }
                    None => assert!(!self.covers(sent.end), "{name}/{id} lost {sent:?}"),
                    Some(_) => {}
                }
            }
            if self.settled {
                let seen = self.ledger.seen.get(&((*name).to_owned(), *id)).copied().unwrap_or(0);
                assert!(
                    handle.next().0 >= seen,
                    "{name}/{id} forgot what a consumer saw: {handle:?} < {seen}"
                );
            }
            let is_gapless = offsets == handle.next().0 - handle.first().0;
            assert!(is_gapless || !self.appended, "{name}/{id} has holes: {handle:?} {:?}", found.keys());
        }
        self.check_light(store);
        self.check_facts(store);
    }

    /// What is in a light queue is in its first queue too, and where the record says; what was promised is there.
    fn check_light(&self, store: &Store) {
        for (index, name) in LIGHT.iter().enumerate() {
            let found: BTreeMap<u64, u64> =
                light_bodies(store, name).into_iter().map(|(offset, body)| (offset, number(&body))).collect();
            let numbers: BTreeSet<u64> = found.values().copied().collect();
            assert_eq!(numbers.len(), found.len(), "{name}: no message twice");
            let queue = store.find_queue(name, QueueId(0));
            let (first, next) = queue.map_or((0, 0), |queue| (queue.first().0, queue.next().0));
            for sent in self.ledger.light.iter().filter(|sent| sent.queue == index && self.covers(sent.end)) {
                assert!(sent.offset < next, "{name} forgot {sent:?}");
                if sent.offset >= first {
                    assert_eq!(found.get(&sent.offset), Some(&sent.number), "{name} lost {sent:?}");
                }
            }
            let seen = self.ledger.seen.get(&((*name).to_owned(), 0)).copied().unwrap_or(0);
            assert!(!self.settled || next >= seen, "{name} forgot what a consumer saw: {next} < {seen}");
            let is_gapless = found.len() as u64 == next - first;
            assert!(is_gapless || !self.appended, "{name} has holes: {first}..{next} {:?}", found.keys());
        }
    }

    fn check_facts(&self, store: &Store) {
        let found = store.fact(KIND, b"k").map(|value| u64::from_le_bytes(value[..].try_into().unwrap()));
        let promised =
            self.ledger.facts.iter().rev().find(|(_, end)| self.covers(*end)).map(|(value, _)| *value);
        assert!(found >= promised, "fact went back from {promised:?} to {found:?}");
        assert!(found.is_none_or(|value| value < self.ledger.facts.len() as u64));
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Crash {
    Kill,
    PowerCut,
}

fn after(disk: &SimDisk, crash: Crash) -> SimDisk {
    match crash {
        Crash::Kill => disk.kill(),
        Crash::PowerCut => disk.cut_power(),
    }
}

/// Opens what a crash left, first with another crash inside, then twice, checking each time.
fn check_after(mut disk: SimDisk, crash: Crash, durability: Durability, ledger: &Ledger, rng: &mut Rng) {
    let lies = crash == Crash::PowerCut && durability == Durability::Memory;
    let promise = Promise { ledger, settled: !lies, appended: crash == Crash::Kill };
    disk.die_at(1 + rng.below(40));
    let reopened = catch_unwind(AssertUnwindSafe(|| open(&disk, small(durability)).map(drop)));
    assert!(reopened.is_ok() || disk.is_dead(), "opening panicked");
    disk = after(&disk, crash);
    let store = open(&disk, small(durability)).unwrap_or_else(|e| panic!("cannot be opened: {e}"));
    promise.check(&store);
    assert!(store.opened().damaged.is_empty() || !promise.appended);
    // A queue offset that was promised is never given out again.
    let (name, id) = QUEUES[0];
    let appended = append(&store, name, id, &body(0)).unwrap_or_else(|e| panic!("cannot append: {e}"));
    let offset = appended.first_queue_offset.0;
    let used = ledger.appended.iter().filter(|sent| sent.queue == 0 && promise.covers(sent.end));
    assert!(
        used.map(|sent| sent.offset + sent.count - 1).max().is_none_or(|used| offset > used),
        "offset {offset} again"
    );
    drop(store);
    open_twice(disk.kill(), durability);
}

/// A second opening changes nothing more.
fn open_twice(disk: SimDisk, durability: Durability) {
    let contents = |disk: &SimDisk| -> Vec<_> {
        let store = open(disk, small(durability)).unwrap();
        let plain = QUEUES.iter().map(|(name, id)| read_all(&store, name, *id));
        plain.chain(LIGHT.iter().map(|name| light_bodies(&store, name))).collect()
    };
    let first = contents(&disk);
    let disk = disk.kill();
    assert_eq!(first, contents(&disk), "opening twice finds the same log");
    // On an honest disk a checkpoint never knows more than the log, whatever a crash took.
    let verified = Store::verify(Path::new(DIR), disk.kill().shared()).unwrap();
    assert!(verified.differences.is_empty(), "views and log differ: {:?}", verified.differences);
}

fn tell(disk: &SimDisk, durability: Durability, seed: u64, rounds: usize) -> Ledger {
    let mut story = Story { disk, durability, rng: Rng::new(seed), ledger: Ledger::default() };
    story.tell(rounds);
    story.ledger
}

fn crash_everywhere(durability: Durability, crash: Crash, seeds: std::ops::Range<u64>, rounds: usize) {
    for seed in seeds {
        let whole = SimDisk::new(seed);
        tell(&whole, durability, seed, rounds);
        let steps = whole.steps();
        for step in 1..=steps + 1 {
            let disk = SimDisk::new(seed * 1_000_003 + step);
            disk.die_at(step);
            let ledger = tell(&disk, durability, seed, rounds);
            let mut rng = Rng::new(step);
            let left = after(&disk, crash);
            let checked = catch_unwind(AssertUnwindSafe(|| {
                check_after(left, crash, durability, &ledger, &mut rng);
            }));
            assert!(checked.is_ok(), "seed {seed}, step {step} of {steps}, {durability:?}, {crash:?}");
        }
    }
}

/// The first seed is tried with every build; `KIRUNA_CRASH_SEEDS=n` tries that many.
fn seeds(first: u64) -> std::ops::Range<u64> {
    let count = std::env::var("KIRUNA_CRASH_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    first..first + count
}

#[test]
fn a_kill_loses_nothing_that_was_appended_to_memory() {
    crash_everywhere(Durability::Memory, Crash::Kill, seeds(0), 60);
}

#[test]
fn a_kill_loses_nothing_that_was_appended_to_disk() {
    crash_everywhere(Durability::Disk, Crash::Kill, seeds(1000), 60);
}

#[test]
fn a_power_cut_loses_nothing_that_was_settled_on_disk() {
    crash_everywhere(Durability::Disk, Crash::PowerCut, seeds(2000), 60);
}

#[test]
fn a_power_cut_leaves_a_log_in_order_whatever_it_takes_from_memory() {
    crash_everywhere(Durability::Memory, Crash::PowerCut, seeds(3000), 60);
}

/// A drive that says "synced" and is not keeps no promise; what is left must still be a log in order.
#[test]
fn a_lying_drive_breaks_the_promise_and_nothing_else() {
    let mut lost = 0;
    for seed in 0..30 {
        let disk = SimDisk::new(seed);
        let honest = tell(&disk, Durability::Disk, seed, 20);
        disk.set_sync_fault(SyncFault::Lies);
        let mut story =
            Story { disk: &disk, durability: Durability::Disk, rng: Rng::new(seed), ledger: honest };
        story.tell(30);
        let next = disk.cut_power();
        let store = match open(&next, small(Durability::Disk)) {
            Ok(store) => store,
            // Refused in plain words is fine too.
            Err(OpenError::Config(text)) if text.contains("is damaged") => {
                lost += 1;
                continue;
            }
            Err(e) => panic!("{e}"),
        };
        let order = Promise { ledger: &story.ledger, settled: false, appended: false };
        order.check(&store);
        let kept = catch_unwind(AssertUnwindSafe(|| {
            Promise { settled: true, ..order }.check(&store);
        }));
        lost += usize::from(kept.is_err());
    }
    assert!(lost > 0, "the simulated drive lied to no effect");
}
