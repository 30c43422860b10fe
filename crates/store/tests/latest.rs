// SPDX-License-Identifier: Apache-2.0
//! Topics that keep the latest message of each key: against a ledger, across retention, rebuilds, and deaths at every step.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use protocol::filter::Filter;
use protocol::names::{LogOffset, QueueId, QueueOffset};
use protocol::record::{Record, iterate};
use stdx::{Clock, Rng};
use store::disk::sim::SimDisk;
use store::{AppendError, Appended, Boundary, Draft, Durability, Read, Settled, Store, StoreConfig};

use crate::rig::*;

const TABLE: &str = "table";
const KEYS: u64 = 5;
const HOUR: Duration = Duration::from_secs(3600);

fn config(durability: Durability) -> StoreConfig {
    let mut config = small(durability);
    config.retention.delete_when = Vec::new();
    config.retention.reserved = HOUR;
    config.compact_after = HOUR / 4;
    config
}

fn put(store: &Store, key: &str, body: &[u8]) -> Result<Appended, AppendError> {
    let topic = topic(TABLE);
    let queue = store.queue(&topic, QueueId(0)).unwrap();
    queue.keep_latest();
    let properties = format!("KEYS\u{1}{key}\u{2}");
    let message = message(&topic, 0, body, properties.as_bytes());
    store.append(&[Draft { queue: &queue, message }])
}

/// A body that names its key and its number, of any length; `None` ends the key.
fn body(key: u64, number: Option<u64>) -> Vec<u8> {
    let Some(number) = number else { return Vec::new() };
    let mut body = [key.to_le_bytes(), number.to_le_bytes()].concat();
    body.resize(16 + (number * 53 % 300) as usize, number as u8);
    body
}

/// A message as a reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    offset: u64,
    key: u64,
    number: Option<u64>,
}

impl Shown {
    fn of(record: &Record<'_>) -> Shown {
        record.verify_crc().unwrap();
        let key = record.property("KEYS").unwrap()[1..].parse().unwrap();
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes[8..16].try_into().unwrap());
        let number = (!record.body().is_empty()).then(|| word(record.body()));
        assert_eq!(record.body(), body(key, number), "a body is what was sent");
        Shown { offset: record.queue_offset().0, key, number }
    }
}

/// What a reader sees who begins at an offset.
fn shown_from(store: &Arc<Store>, from: u64) -> Vec<Shown> {
    let Some(queue) = store.find_queue(TABLE, QueueId(0)) else { return Vec::new() };
    let (mut all, mut at) = (Vec::<Shown>::new(), from);
    loop {
        let next = match read_from(store, TABLE, 0, at, &Filter::All) {
            Read::Found(batch) => {
                let records = batch.slices.iter().flat_map(|slice| iterate(slice));
                all.extend(records.map(|record| Shown::of(&record.unwrap())));
                batch.next
            }
            Read::Filtered { next, .. } => next,
            // Where nothing is kept, readers are sent on as in any other queue.
            Read::Beyond(bounds) if at < bounds.first.0 => bounds.first,
            Read::Beyond(bounds) => panic!("{at} is not in {bounds:?}"),
            Read::AtTail(_) => break,
        };
        assert!(next.0 > at, "a reader gets on");
        at = next.0;
    }
    assert!(all.windows(2).all(|pair| pair[0].offset < pair[1].offset), "offsets rise: {all:?}");
    let bounds = queue.first().0..queue.next().0;
    assert!(
        all.iter().all(|shown| shown.offset >= from && bounds.contains(&shown.offset)),
        "{all:?} in {queue:?}"
    );
    all
}

fn shown(store: &Arc<Store>) -> Vec<Shown> {
    shown_from(store, 0)
}

fn offsets(store: &Arc<Store>) -> Vec<u64> {
    shown(store).into_iter().map(|shown| shown.offset).collect()
}

/// What was sent.
#[derive(Clone, Debug)]
struct Sent {
    key: u64,
    number: Option<u64>,
    offset: u64,
    end: LogOffset,
}

#[derive(Default)]
struct Ledger {
    tried: u64,
    sent: Vec<Sent>,
    settled: LogOffset,
    /// How far the log's start came.
    start: u64,
    /// Messages that a reader saw though the segment that they were sent to is gone.
    kept: u64,
    /// Times that a key had been ended and nothing of it was left.
    ended: u64,
}

struct Story<'a> {
    disk: &'a SimDisk,
    durability: Durability,
    rng: Rng,
    ledger: Ledger,
    /// Looks after each step whether every latest value can be read.
    watched: bool,
}

impl Story<'_> {
    fn tell(&mut self, rounds: usize) {
        let disk = self.disk.clone();
        let told = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..2 {
                let clock = StillClock::new();
                clock.forward(HOUR * u32::try_from(self.ledger.tried).unwrap());
                let Ok(store) = open_at(&disk, config(self.durability), clock.clone()) else { return };
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
    }

    fn act(&mut self, store: &Arc<Store>, clock: &StillClock) {
        match self.rng.below(24) {
            0..=5 => self.put(store),
            6..=8 => _ = append(store, "others", 0, &[1; 800]),
            9..=11 => _ = store.drain_step(),
            12 => store.prepare_step(),
            13 => _ = store.flush_step(),
            14..=17 => _ = store.dispatch_step(1 + self.rng.below(8) as usize, &mut Vec::new()),
            18 | 19 => store.checkpoint_step(true),
            20 => store.compact_step(),
            _ => {
                clock.forward(HOUR / 2 + Duration::from_secs(1));
                store.retain_step();
            }
        }
        let last = self.ledger.sent.last().map_or(LogOffset(0), |sent| sent.end);
        if settled(store, last) == Some(Settled::Done) && !self.disk.is_dead() {
            self.ledger.settled = self.ledger.settled.max(last);
        }
        if self.watched {
            self.watch(store);
        }
    }

    fn watch(&mut self, store: &Arc<Store>) {
        let (upto, start) = (store.watermarks().dispatched.get(), store.watermarks().start.get());
        let all = check(store, &self.ledger, &|sent| sent.end.0 <= upto);
        self.ledger.start = start;
        let is_kept =
            |sent: &&Sent| sent.end.0 <= start && all.iter().any(|shown| shown.offset == sent.offset);
        self.ledger.kept += self.ledger.sent.iter().filter(is_kept).count() as u64;
        let is_over = |key: &u64| {
            let last = self.ledger.sent.iter().rfind(|sent| sent.key == *key && sent.end.0 <= upto);
            last.is_some_and(|sent| sent.number.is_none() && !all.iter().any(|shown| shown.key == *key))
        };
        self.ledger.ended += (0..KEYS).filter(is_over).count() as u64;
    }

    fn put(&mut self, store: &Store) {
        let (key, number) = (self.rng.below(KEYS), Some(self.ledger.tried));
        let number = number.filter(|_| self.rng.below(4) > 0);
        self.ledger.tried += 1;
        match put(store, &format!("k{key}"), &body(key, number)) {
            Ok(appended) if !self.disk.is_dead() => {
                let (offset, end) = (appended.first_queue_offset.0, appended.end);
                self.ledger.sent.push(Sent { key, number, offset, end });
            }
            Ok(_) | Err(AppendError::Busy { .. }) => {}
            Err(e) => assert!(self.disk.is_dead(), "{e}"),
        }
    }
}

/// The latest of each key that is `promised` can be read, or a later one; what ended a key is the last of it that is read,
/// and nothing is shown that was not sent.
fn check(store: &Arc<Store>, ledger: &Ledger, promised: &dyn Fn(&Sent) -> bool) -> Vec<Shown> {
    let all = shown(store);
    let mut latest = BTreeMap::new();
    for shown in &all {
        latest.insert(shown.key, shown.offset);
        assert!(shown.number.is_none_or(|number| number < ledger.tried), "no message from nowhere");
        let sent = ledger.sent.iter().find(|sent| sent.offset == shown.offset && promised(sent));
        assert!(
            sent.is_none_or(|sent| (sent.key, sent.number) == (shown.key, shown.number)),
            "{shown:?} is {sent:?}"
        );
    }
    let mut wanted = BTreeMap::new();
    for sent in ledger.sent.iter().filter(|sent| promised(sent)) {
        wanted.insert(sent.key, sent);
    }
    for (key, sent) in wanted {
        let found = latest.get(&key);
        let is_over = sent.number.is_none() && found.is_none();
        assert!(
            is_over || found >= Some(&sent.offset),
            "key {key}: the latest is {sent:?}, {found:?} is shown"
        );
    }
    all
}

fn tell(disk: &SimDisk, durability: Durability, seed: u64, rounds: usize, watched: bool) -> Ledger {
    let rng = Rng::new(seed);
    let mut story = Story { disk, durability, rng, ledger: Ledger::default(), watched };
    story.tell(rounds);
    story.ledger
}

#[test]
fn the_latest_of_each_key_can_be_read_at_every_moment() {
    let (mut start, mut kept, mut ended) = (0, 0, 0);
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let ledger = tell(&disk, Durability::Memory, seed, 250, true);
        (start, kept, ended) = (start + ledger.start, kept + ledger.kept, ended + ledger.ended);
        let store = open(&disk, config(Durability::Memory)).unwrap();
        let before = check(&store, &ledger, &|_| true);
        drop(store);
        let left = disk.kill();
        let verified = Store::verify(Path::new(DIR), left.shared()).unwrap();
        assert!(verified.differences.is_empty(), "seed {seed}: {:?}", verified.differences);
        Store::rebuild(Path::new(DIR), left.shared()).unwrap();
        let store = open(&left, config(Durability::Memory)).unwrap();
        assert_eq!(shown(&store), before, "seed {seed}: the log alone says the same");
    }
    assert!(
        start > 100_000 && kept > 100 && ended > 100,
        "{start} bytes went, {kept} stayed, {ended} were ended"
    );
}

fn die_everywhere(durability: Durability, cut: bool, seed: u64) {
    let rounds = 90;
    let whole = SimDisk::new(seed);
    tell(&whole, durability, seed, rounds, false);
    for step in 1..=whole.steps() + 1 {
        let disk = SimDisk::new(seed * 1_000_003 + step);
        disk.die_at(step);
        let ledger = tell(&disk, durability, seed, rounds, false);
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let left = if cut { disk.cut_power() } else { disk.kill() };
            let store = open(&left, config(durability)).unwrap();
            check(&store, &ledger, &|sent| !cut || sent.end <= ledger.settled);
            drop(store);
            let again = left.kill();
            let verified = Store::verify(Path::new(DIR), again.shared()).unwrap();
            assert!(verified.differences.is_empty(), "{:?}", verified.differences);
        }));
        assert!(checked.is_ok(), "seed {seed}, step {step} of {}, {durability:?}", whole.steps());
    }
}

#[test]
fn a_kill_takes_no_latest_message() {
    die_everywhere(Durability::Memory, false, 1);
}

#[test]
fn a_power_cut_takes_no_latest_message_that_was_settled() {
    die_everywhere(Durability::Disk, true, 11);
}

/// Lets many segments go.
fn fill(store: &Arc<Store>, clock: &StillClock) {
    for _ in 0..60 {
        while append(store, "others", 0, &[7; 900]).is_err() {
            run(store);
        }
        run(store);
    }
    clock.forward(2 * HOUR);
    append(store, "others", 0, b"now").unwrap();
    for _ in 0..40 {
        run(store);
        store.checkpoint_step(true);
        store.retain_step();
    }
}

fn keep(store: &Store, key: u64, number: impl Into<Option<u64>>) -> u64 {
    let appended = put(store, &format!("k{key}"), &body(key, number.into())).unwrap();
    run(store);
    appended.first_queue_offset.0
}

#[test]
fn old_values_go_and_the_latest_stay_for_ever() {
    let (disk, clock) = (SimDisk::new(3), StillClock::new());
    let store = open_at(&disk, config(Durability::Memory), clock.clone()).unwrap();
    for number in 0..12 {
        keep(&store, number % 3, number);
    }
    assert_eq!(shown(&store).len(), 12, "who follows sees every message");
    store.compact_step();
    assert_eq!(shown(&store).len(), 12, "they are young");
    clock.forward(HOUR / 4 + Duration::from_secs(1));
    keep(&store, 1, 12);
    store.compact_step();
    assert_eq!(offsets(&store), [9, 11, 12], "10 is not the latest any more");
    for _ in 0..3 {
        fill(&store, &clock);
    }
    let (start, queue) = (store.watermarks().start.get(), store.find_queue(TABLE, QueueId(0)).unwrap());
    assert!(start > 100_000, "segments went: {start}");
    assert_eq!((queue.first().0, queue.next().0, offsets(&store)), (9, 13, vec![9, 11, 12]));
    let from = |at| shown_from(&store, at).iter().map(|shown| shown.offset).collect::<Vec<_>>();
    assert_eq!(
        (from(3), from(10), from(12)),
        (vec![9, 11, 12], vec![11, 12], vec![12]),
        "gaps are passed over"
    );
    assert!(matches!(read_from(&store, TABLE, 0, 13, &Filter::All), Read::AtTail(_)));
    assert!(matches!(read_from(&store, TABLE, 0, 14, &Filter::All), Read::Beyond(_)));
    let earliest = store.offset_by_time(&queue, stdx::Timestamp(0), Boundary::Lower);
    assert_eq!(earliest.0, 9, "a search by time finds what is kept");
    assert_eq!(store.offset_by_time(&queue, clock.now() + HOUR, Boundary::Lower).0, 13);
    assert_eq!(keep(&store, 0, 13), 13);
    assert_eq!(offsets(&store), [11, 12, 13]);
    let left = disk.kill();
    drop((queue, store));
    let store = open_at(&left, config(Durability::Memory), clock.clone()).unwrap();
    assert_eq!(offsets(&store), [11, 12, 13]);
    assert_eq!(keep(&store, 2, 14), 14, "offsets go on");
    store.remove_topic(&topic(TABLE), &[]).unwrap();
    run(&store);
    assert_eq!((shown(&store), store.kept_keys()), (vec![], 0));
    keep(&store, 0, 15);
    assert_eq!(shown(&store), [Shown { offset: 0, key: 0, number: Some(15) }], "another topic of that name");
    fill(&store, &clock);
    assert_eq!(offsets(&store), [0]);
}

#[test]
fn a_message_without_a_body_ends_its_key() {
    let (disk, clock) = (SimDisk::new(5), StillClock::new());
    let store = open_at(&disk, config(Durability::Memory), clock.clone()).unwrap();
    keep(&store, 0, 0);
    keep(&store, 1, 1);
    fill(&store, &clock);
    keep(&store, 0, None);
    assert_eq!(offsets(&store), [1, 2], "who follows sees that it ended");
    clock.forward(HOUR);
    keep(&store, 2, 3);
    store.compact_step();
    assert_eq!((offsets(&store), store.kept_keys()), (vec![1, 3], 3));
    fill(&store, &clock);
    assert_eq!((offsets(&store), store.kept_keys()), (vec![1, 3], 2), "nothing is left of it");
    let left = disk.kill();
    drop(store);
    Store::rebuild(Path::new(DIR), left.shared()).unwrap();
    let store = open_at(&left, config(Durability::Memory), clock).unwrap();
    assert_eq!((offsets(&store), store.kept_keys()), (vec![1, 3], 2));
}

/// The end of a key is in the log and not dispatched when the older message is written again, so that a log which begins
/// between them would bring it back.
#[test]
fn an_end_stays_while_an_older_message_lies_behind_it() {
    let (mut disk, clock) = (SimDisk::new(6), StillClock::new());
    let mut store = open_at(&disk, config(Durability::Memory), clock.clone()).unwrap();
    keep(&store, 0, 0);
    while store.watermarks().written.get() < 3 * SEGMENT {
        append(&store, "others", 0, &[7; 900]).unwrap();
        run(&store);
    }
    store.checkpoint_step(true);
    clock.forward(2 * HOUR);
    let end = put(&store, "k0", b"").unwrap().end.0;
    while store.watermarks().written.get() / SEGMENT == end / SEGMENT {
        append(&store, "others", 0, &[7; 900]).unwrap();
        store.prepare_step();
        while store.drain_step() > 0 {}
    }
    let written = store.watermarks().written.get();
    store.retain_step();
    assert!(
        store.watermarks().written.get() > written,
        "the older message was written again, in another segment"
    );
    assert_eq!(store.watermarks().start.get(), 0);
    run(&store);
    clock.forward(2 * HOUR);
    let mut starts = 0;
    while store.kept_keys() > 0 || store.watermarks().start.get() <= written {
        append(&store, "others", 0, &[7; 900]).unwrap();
        clock.forward(HOUR / 4);
        run(&store);
        store.checkpoint_step(true);
        if !store.retain_step() {
            continue;
        }
        starts += 1;
        assert!(shown(&store).iter().all(|shown| shown.number.is_none()), "it is over");
        drop(store);
        disk = disk.kill();
        let verified = Store::verify(Path::new(DIR), disk.shared()).unwrap();
        assert!(verified.differences.is_empty(), "after {starts} segments: {:?}", verified.differences);
        store = open_at(&disk, config(Durability::Memory), clock.clone()).unwrap();
    }
    assert_eq!((starts > 4, shown(&store)), (true, vec![]));
}

#[test]
fn a_full_batch_is_filtered_and_goes_on_behind_gaps() {
    let (disk, clock) = (SimDisk::new(7), StillClock::new());
    let store = open_at(&disk, config(Durability::Memory), clock.clone()).unwrap();
    let (table, queue) = (topic(TABLE), store.queue(&topic(TABLE), QueueId(0)).unwrap());
    queue.keep_latest();
    for number in 0..600u64 {
        // Odd keys come once, the others again and again; each third is blue.
        let key = if number % 2 == 1 { number } else { 0 };
        let tag = if number % 3 == 0 { "blue" } else { "red" };
        let properties = format!("KEYS\u{1}k{key}\u{2}TAGS\u{1}{tag}\u{2}");
        let text = body(key, Some(number));
        while store
            .append(&[Draft { queue: &queue, message: message(&table, 0, &text, properties.as_bytes()) }])
            .is_err()
        {
            run(&store);
        }
        run(&store);
    }
    clock.forward(HOUR);
    keep(&store, 1, 600);
    store.compact_step();
    let wanted: Vec<u64> = (0..600).filter(|at| at % 2 == 1 && *at != 1 || *at == 598).chain([600]).collect();
    assert_eq!(offsets(&store), wanted);
    let blue = Filter::parse("TAG", "blue").unwrap();
    let sql = Filter::parse("SQL92", "TAGS = 'blue'").unwrap();
    for filter in [blue, sql] {
        let (mut found, mut at) = (Vec::new(), 0);
        loop {
            at = match read_from(&store, TABLE, 0, at, &filter) {
                Read::Found(batch) => {
                    found.extend(
                        batch.slices.iter().flat_map(|slice| bodies(slice)).map(|(offset, _)| offset),
                    );
                    batch.next.0
                }
                Read::Filtered { next, .. } => next.0,
                Read::AtTail(_) => break,
                Read::Beyond(bounds) => panic!("{at} is not in {bounds:?}"),
            };
        }
        let wanted: Vec<u64> = wanted.iter().copied().filter(|at| at % 3 == 0 && *at < 600).collect();
        assert_eq!(found, wanted);
    }
    assert_eq!(store.next_offset(&queue), QueueOffset(601));
}

#[test]
fn keys_are_counted() {
    let disk = SimDisk::new(4);
    let store = open(&disk, StoreConfig { keys_max: 2, ..config(Durability::Memory) }).unwrap();
    let takes = |key: &str| store.takes_keys(TABLE, QueueId(0), key);
    for key in ["a", "b"] {
        assert!(takes(key));
        put(&store, key, b"one").unwrap();
        run(&store);
    }
    assert!(takes("b") && !takes("c"), "two are known, and there is no room for a third");
    assert!(!store.takes_keys("other", QueueId(0), "b") && !store.takes_keys(TABLE, QueueId(1), "b"));
}

#[test]
fn nothing_is_written_again_for_a_topic_that_is_removed() {
    let (disk, clock) = (SimDisk::new(8), StillClock::new());
    let store = open_at(&disk, config(Durability::Memory), clock.clone()).unwrap();
    keep(&store, 0, 0);
    while store.watermarks().written.get() < 3 * SEGMENT {
        append(&store, "others", 0, &[7; 900]).unwrap();
        run(&store);
    }
    store.checkpoint_step(true);
    clock.forward(2 * HOUR);
    let end = store.remove_topic(&topic(TABLE), &[]).unwrap().end;
    assert!(!store.retain_step(), "its removal is not dispatched yet");
    assert_eq!(store.watermarks().written.get(), end.0);
    run(&store);
    fill(&store, &clock);
    assert!(store.watermarks().start.get() > SEGMENT);
    assert_eq!((shown(&store), store.kept_keys()), (vec![], 0));
}
