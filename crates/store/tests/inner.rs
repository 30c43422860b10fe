// SPDX-License-Identifier: Apache-2.0
//! Inner batches: records that take several offsets of their queue, and are read whole from each of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use protocol::filter::Filter;
use protocol::names::{LogOffset, QueueId, QueueOffset};
use protocol::record::{Message, Record};
use store::disk::sim::SimDisk;
use store::{AppendError, Draft, Durability, Read, ReadLimit, Store};

use crate::rig::*;

fn property(store: &Store, at: LogOffset, name: &str) -> String {
    let bytes = store.record_at(at).unwrap().unwrap();
    Record::parse(&bytes).unwrap().property(name).unwrap_or("none").to_owned()
}

/// The records that a read finds, by their offsets, how many messages it counts, and where it goes on.
fn look(store: &Arc<Store>, from: u64, messages: usize, bytes: usize, filter: &Filter) -> String {
    let queue = store.find_queue("t", QueueId(0)).unwrap();
    match read(store, &queue, QueueOffset(from), ReadLimit { messages, bytes }, filter) {
        Read::Found(batch) => {
            let found = batch.slices.iter().flat_map(|slice| bodies(slice));
            let offsets: Vec<String> = found.map(|(offset, _)| offset.to_string()).collect();
            format!("{} count {} next {}", offsets.join(","), batch.count, batch.next)
        }
        Read::Filtered { next, .. } => format!("filtered, next {next}"),
        Read::AtTail(bounds) => format!("tail of {}..{}", bounds.first, bounds.next),
        Read::Beyond(bounds) => format!("beyond {}..{}", bounds.first, bounds.next),
    }
}

const ALL: usize = 1 << 20;

#[test]
fn a_record_takes_as_many_offsets_as_it_holds_messages() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    append(&store, "t", 0, b"plain").unwrap();
    let appended = append_batches(&store, "t", &[(7, b"seven"), (3, b"three"), (1, b"one")]).unwrap();
    let places: Vec<u64> = appended.places().map(|(_, offset)| offset.0).collect();
    assert_eq!(places, [1, 8, 11]);
    let last = append_batches(&store, "t", &[(90, b"ninety"), (2, b"two")]).unwrap();
    let bases: Vec<String> =
        appended.starts().chain(last.starts()).map(|at| property(&store, at, "INNER_BASE")).collect();
    assert_eq!(bases, ["1", "8", "11", "12", "102"], "also where an offset grows a digit");
    assert_eq!(append(&store, "t", 0, b"behind").unwrap().first_queue_offset.0, 104);
    let mut arrivals = Vec::new();
    store.dispatch_step(100, &mut arrivals);
    let told: Vec<u64> = arrivals.iter().map(|arrival| arrival.next.0).collect();
    assert_eq!(told, [1, 8, 11, 12, 102, 104, 105]);
    let queue = store.find_queue("t", QueueId(0)).unwrap();
    for (from, to, at) in [(1, 8, appended.start), (12, 102, last.start)] {
        assert!(
            store.entries(&queue, QueueOffset(from), to - from as usize).iter().all(|entry| entry.log == at)
        );
    }
}

#[test]
fn a_read_from_inside_gives_the_whole_and_never_ends_inside() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    for _ in 0..5 {
        append_batches(&store, "t", &[(20, b"x")]).unwrap();
    }
    append_all(&store, "t", 0, &[b"a", b"b", b"c"]).unwrap();
    append_batches(&store, "t", &[(600, b"large")]).unwrap();
    append(&store, "t", 0, b"d").unwrap();
    run(&store);
    let rows = [
        (5, 1, ALL, "0 count 20 next 20"),
        (5, 39, ALL, "0 count 20 next 20"),
        (5, 40, ALL, "0,20 count 40 next 40"),
        (19, 60, ALL, "0,20,40 count 60 next 60"),
        (20, 60, ALL, "20,40,60 count 60 next 80"),
        (99, 21, ALL, "80,100 count 21 next 101"),
        (100, 2, ALL, "100,101 count 2 next 102"),
        (101, 300, ALL, "101,102 count 2 next 103"),
        (101, 602, ALL, "101,102,103 count 602 next 703"),
        (102, 4000, ALL, "102,103,703 count 602 next 704"),
        (103, 1, ALL, "103 count 600 next 703"),
        (702, 601, ALL, "103,703 count 601 next 704"),
        (0, 4000, 1, "0 count 20 next 20"),
        (0, 4000, 300, "0,20 count 40 next 40"),
        (704, 32, ALL, "tail of 0..704"),
        (705, 32, ALL, "beyond 0..704"),
    ];
    let check = |store: &Arc<Store>| {
        for (from, messages, bytes, expected) in rows {
            assert_eq!(
                look(store, from, messages, bytes, &Filter::All),
                expected,
                "{from} {messages} {bytes}"
            );
        }
    };
    check(&store);
    store.checkpoint_step(true);
    drop(store);
    let store = open(&disk.kill(), small(Durability::Memory)).unwrap();
    check(&store);
}

#[test]
fn filters_ask_the_record() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    let name = topic("t");
    let queue = store.queue(&name, QueueId(0)).unwrap();
    for (tag, count) in [("a", 3), ("b", 4), ("a", 100), ("b", 1), ("c", 2)] {
        let text = format!("TAGS\u{1}{tag}\u{2}INNER_NUM\u{1}{count}\u{2}");
        let message = message(&name, 0, b"x", text.as_bytes());
        let message = Message { sys_flag: protocol::inner::FLAGS, ..message };
        store.append(&[Draft { queue: &queue, message }]).unwrap();
    }
    run(&store);
    for filter in [Filter::parse("TAG", "a").unwrap(), Filter::parse("SQL92", "TAGS = 'a'").unwrap()] {
        assert_eq!(look(&store, 0, 200, ALL, &filter), "0,7 count 103 next 110");
        assert_eq!(look(&store, 4, 200, ALL, &filter), "7 count 100 next 110");
        assert_eq!(look(&store, 107, 200, ALL, &filter), "filtered, next 110");
    }
}

#[test]
fn offsets_go_on_over_kills_and_what_is_rebuilt_is_the_same() {
    let mut disk = SimDisk::new(1);
    let mut next = 0;
    for round in 0..6 {
        let store = open(&disk, small(Durability::Memory)).unwrap();
        for count in [3, 9, 1] {
            assert_eq!(append_batches(&store, "t", &[(count, b"x")]).unwrap().first_queue_offset.0, next);
            next += count;
        }
        assert_eq!(append(&store, "t", 0, b"plain").unwrap().first_queue_offset.0, next);
        next += 1;
        if round % 2 == 0 {
            run(&store);
            store.checkpoint_step(true);
        }
        drop(store);
        disk = disk.kill();
    }
    let store = open(&disk, small(Durability::Memory)).unwrap();
    run(&store);
    assert_eq!(read_all(&store, "t", 0).len(), 24);
    store.checkpoint_step(true);
    store.close();
    drop(store);
    let verified = Store::verify(Path::new(DIR), disk.shared()).unwrap();
    assert!(verified.differences.is_empty(), "{:?}", verified.differences);
    Store::rebuild(Path::new(DIR), disk.shared()).unwrap();
    let store = open(&disk, small(Durability::Memory)).unwrap();
    let shown = format!("{:?}", store.find_queue("t", QueueId(0)).unwrap());
    assert_eq!(shown, format!("t/0 0..{next} next {next}"));
    assert_eq!(look(&store, 4, 20, ALL, &Filter::All), "3,12,13,14 count 14 next 17");
}

#[test]
fn many_senders_hand_out_each_offset_once() {
    let disk = SimDisk::new(1);
    let mut config = small(Durability::Memory);
    (config.stage_size, config.segment_size, config.stages_max) = (1 << 20, 1 << 20, 8);
    let store = open(&disk, config).unwrap();
    std::thread::scope(|scope| {
        for sender in 0..4u64 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..300u64 {
                    match (n + sender) % 3 {
                        0 => append(store, "t", 0, b"one").unwrap(),
                        _ => append_batches(store, "t", &[(1 + n % 7, b"x"), (3, b"y")]).unwrap(),
                    };
                }
            });
        }
    });
    run(&store);
    assert_eq!(store.poisoned(), None);
    // Dispatch compares each record with the end of its queue.
    let all = read_all(&store, "t", 0);
    let queue = store.find_queue("t", QueueId(0)).unwrap();
    assert_eq!((queue.first().0, queue.dispatched()), (0, queue.next()));
    assert_eq!(all.len(), 4 * 100 + 4 * 200 * 2);
}

/// Nothing that a sender or a copy says makes a record take what it was not given.
#[test]
fn what_a_text_says_does_not_count_where_it_was_not_given() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    let name = topic("t");
    let queue = store.queue(&name, QueueId(0)).unwrap();
    let put = |sys_flag, text: &str| {
        let text = text.replace('=', "\u{1}").replace(';', "\u{2}");
        let message = Message { sys_flag, ..message(&name, 0, b"x", text.as_bytes()) };
        store.append(&[Draft { queue: &queue, message }]).unwrap()
    };
    put(0, "INNER_NUM=9;INNER_BASE=0;");
    let copied = put(0xC0, "INNER_BASE=77;INNER_NUM=2;K=v");
    put(0xC0, "INNER_NUM=0;");
    put(0xC0, "INNER_NUM=40000;INNER_BASE=4;");
    put(0x80, "");
    put(0x40, "INNER_NUM=2;INNER_BASE=6;");
    assert_eq!(property(&store, copied.start, "INNER_BASE"), "1");
    assert_eq!(property(&store, copied.start, "K"), "v");
    run(&store);
    assert_eq!(store.poisoned(), None);
    let offsets: Vec<u64> = read_all(&store, "t", 0).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [0, 1, 3, 4, 5, 6]);
    drop(store);
    let store = open(&disk.kill(), small(Durability::Memory)).unwrap();
    assert_eq!(format!("{:?}", store.find_queue("t", QueueId(0)).unwrap()), "t/0 0..7 next 7");
}

#[test]
fn retention_takes_batches_whole_and_offsets_go_on() {
    let disk = SimDisk::new(1);
    let clock = StillClock::new();
    let mut config = small(Durability::Memory);
    config.retention.reserved = Duration::from_secs(60);
    config.retention.delete_when = Vec::new();
    let store = open_at(&disk, config.clone(), clock.clone()).unwrap();
    let mut next = 0;
    while store.opened().start.0 + store.watermarks().start.get() < 2 * SEGMENT {
        match append_batches(&store, "t", &[(50, &[7; 700])]) {
            Ok(appended) => {
                assert_eq!(appended.first_queue_offset.0, next);
                next += 50;
            }
            Err(AppendError::Busy { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        run(&store);
        clock.forward(Duration::from_secs(61));
        store.checkpoint_step(true);
        store.retain_step();
    }
    let queue = store.find_queue("t", QueueId(0)).unwrap();
    let first = queue.first().0;
    assert!(first > 0 && first.is_multiple_of(50) && queue.next().0 == next, "{queue:?}");
    assert_eq!(
        look(&store, first + 7, 1, ALL, &Filter::All),
        format!("{first} count 50 next {}", first + 50)
    );
    assert_eq!(look(&store, first - 1, 1, ALL, &Filter::All), format!("beyond {first}..{next}"));
    drop(store);
    let disk = disk.kill();
    let store = open_at(&disk, config, clock).unwrap();
    assert_eq!(append_batches(&store, "t", &[(2, b"x")]).unwrap().first_queue_offset.0, next);
}
