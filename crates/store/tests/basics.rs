// SPDX-License-Identifier: Apache-2.0
//! What a broker does with a store on a good day.

use std::time::Duration;

use protocol::filter::Filter;
use protocol::names::{LogOffset, QueueId, QueueOffset};
use protocol::record::{Record, iterate};
use stdx::{SystemClock, Timestamp};
use store::disk::FileDisk;
use store::disk::sim::SimDisk;
use store::{
    AppendError, Boundary, Draft, Durability, FactChange, FactKind, Read, ReadError, ReadLimit, Settled,
};

use crate::rig::*;

#[test]
fn messages_come_back_in_order_from_memory_and_from_files() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    let mut expected = [Vec::new(), Vec::new()];
    for n in 0..200u64 {
        let body = vec![n as u8; 100];
        let queue = (n % 2) as usize;
        let appended = append(&store, "orders", queue as u32, &body).unwrap();
        assert_eq!(appended.first_queue_offset, QueueOffset(n / 2));
        expected[queue].push((n / 2, body));
        if n % 10 == 9 {
            run(&store);
        }
    }
    for queue in 0..2 {
        assert_eq!(read_all(&store, "orders", queue), expected[queue as usize]);
    }
    assert!(store.usage().segments > 3);
    store.close();
    drop(store);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    assert_eq!(store.opened().replayed, 0, "a clean close leaves nothing to replay");
    for queue in 0..2 {
        assert_eq!(read_all(&store, "orders", queue), expected[queue as usize]);
    }
    let next = append(&store, "orders", 0, b"more").unwrap();
    assert_eq!(next.first_queue_offset, QueueOffset(100));
}

#[test]
fn nothing_is_visible_or_settled_before_the_promise_holds() {
    for durability in [Durability::Memory, Durability::Disk] {
        let disk = SimDisk::new(1);
        let store = open(&disk, small(durability)).unwrap();
        let appended = append(&store, "t", 0, b"hello").unwrap();
        let dispatched = store.dispatch_step(10, &mut Vec::new());
        match durability {
            Durability::Memory => {
                assert_eq!((dispatched, settled(&store, appended.end)), (1, Some(Settled::Done)));
            }
            Durability::Disk => {
                assert_eq!((dispatched, settled(&store, appended.end)), (0, None));
                store.drain_step();
                assert_eq!(settled(&store, appended.end), None);
                assert!(store.flush_step());
                assert_eq!(settled(&store, appended.end), Some(Settled::Done));
                assert_eq!(store.dispatch_step(10, &mut Vec::new()), 1);
            }
        }
        assert_eq!(read_all(&store, "t", 0).len(), 1);
    }
}

#[test]
fn one_append_is_one_piece() {
    let store = open(&SimDisk::new(1), small(Durability::Memory)).unwrap();
    let bodies: Vec<Vec<u8>> = (0..9).map(|n| vec![n; 200]).collect();
    let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    for _ in 0..20 {
        let appended = append_all(&store, "t", 3, &bodies).unwrap();
        let starts: Vec<_> = appended.starts().collect();
        assert_eq!((starts.len(), starts[0]), (9, appended.start));
        for start in starts {
            let bytes = store.record_at(start).unwrap().unwrap();
            assert_eq!(iterate(&bytes).count(), 1);
        }
        run(&store);
    }
    assert_eq!(read_all(&store, "t", 3).len(), 180);
    let large = vec![0; 3000];
    assert!(matches!(
        append_all(&store, "t", 3, &[&large, &large]),
        Err(AppendError::TooLarge { max: 4088, .. })
    ));
}

#[test]
fn arrivals_say_what_came() {
    let store = open(&SimDisk::new(1), small(Durability::Memory)).unwrap();
    append_tagged(&store, "t", "red", b"1");
    append(&store, "u", 4, b"2").unwrap();
    let mut arrivals = Vec::new();
    assert_eq!(store.dispatch_step(1, &mut arrivals), 1);
    assert_eq!(store.dispatch_step(10, &mut arrivals), 1);
    assert_eq!(store.dispatch_step(10, &mut arrivals), 0);
    let seen: Vec<_> =
        arrivals.iter().map(|a| (a.queue.key().to_string(), a.next.0, a.tag_hash != 0)).collect();
    assert_eq!(seen, [("t:0".to_owned(), 1, true), ("u:4".to_owned(), 1, false)]);
}

#[test]
fn a_read_answers_for_every_place() {
    let store = open(&SimDisk::new(1), small(Durability::Memory)).unwrap();
    for (n, tag) in ["red", "Aa", "BB", "red", "BB"].iter().enumerate() {
        append_tagged(&store, "t", tag, &[n as u8]);
    }
    run(&store);
    let read = |from, expression: &str| {
        let filter = Filter::parse("TAG", expression).unwrap();
        match read_from(&store, "t", 0, from, &filter) {
            Read::Found(batch) => {
                let all: Vec<_> = batch.slices.iter().flat_map(|slice| bodies(slice)).collect();
                format!("{:?} next {}", all.iter().map(|(at, _)| *at).collect::<Vec<_>>(), batch.next)
            }
            Read::AtTail(bounds) => format!("at tail of {}..{}", bounds.first, bounds.next),
            Read::Beyond(bounds) => format!("beyond {}..{}", bounds.first, bounds.next),
            Read::Filtered { next, .. } => format!("filtered next {next}"),
        }
    };
    assert_eq!(read(0, "*"), "[0, 1, 2, 3, 4] next 5");
    assert_eq!(read(1, "red"), "[3] next 5");
    // The two tags have the same hash.
    assert_eq!(read(0, "Aa"), "[1] next 5");
    assert_eq!(read(2, "Aa"), "filtered next 5");
    assert_eq!(read(0, "blue"), "filtered next 5");
    assert_eq!(read(5, "*"), "at tail of 0..5");
    assert_eq!(read(6, "*"), "beyond 0..5");
}

#[test]
fn limits_hold_but_for_the_first_message() {
    let store = open(&SimDisk::new(1), small(Durability::Memory)).unwrap();
    let ends: Vec<_> =
        (0..6).map(|n| append(&store, "t", 0, &[n; 300]).unwrap()).map(|a| a.end.0 - a.start.0).collect();
    run(&store);
    let queue = store.find_queue("t", QueueId(0)).unwrap();
    let count = |messages, bytes| match store
        .read(&queue, QueueOffset(0), ReadLimit { messages, bytes }, &Filter::All)
        .unwrap()
    {
        Read::Found(batch) => batch.count,
        other => panic!("{other:?}"),
    };
    let one = ends[0] as usize;
    assert_eq!(count(3, 1 << 20), 3);
    assert_eq!(count(32, 1), 1);
    assert_eq!(count(32, 2 * one), 2);
    assert_eq!(count(32, 3 * one - 1), 2);
    assert_eq!(count(1, 0), 1);
}

#[test]
fn facts_are_seen_at_once_and_after_a_restart() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    let kind = FactKind(20);
    let put = |key: &str, value: Option<&str>| {
        let value = value.map(|value| value.as_bytes().to_vec());
        store.put_facts(&[FactChange { kind, key: key.into(), value }]).unwrap()
    };
    put("a", Some("1"));
    assert_eq!(store.fact(kind, b"a").unwrap(), "1");
    put("b", Some("2"));
    put("a", None);
    let end = put("c", Some("3")).end;
    let all = [(b"b".to_vec(), "2".into()), (b"c".to_vec(), "3".into())];
    assert_eq!(store.facts(kind), all);
    assert_eq!(settled(&store, end), Some(Settled::Done));
    let store = open(&disk.kill(), small(Durability::Memory)).unwrap();
    assert_eq!(store.facts(kind), all);
}

#[test]
fn a_removed_topic_begins_again() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    append(&store, "t", 0, b"old").unwrap();
    let old = store.find_queue("t", QueueId(0)).unwrap();
    store.remove_topic(&topic("t"), &[]).unwrap();
    assert!(old.is_detached());
    assert_eq!(append(&store, "t", 0, b"new").unwrap().first_queue_offset, QueueOffset(0));
    run(&store);
    assert_eq!(read_all(&store, "t", 0), [(0, b"new".to_vec())]);
    let store = open(&disk.kill(), small(Durability::Memory)).unwrap();
    assert_eq!(read_all(&store, "t", 0), [(0, b"new".to_vec())]);
}

/// All that a filter passes from `from` on, and whether every read got on.
fn chosen(store: &std::sync::Arc<store::Store>, queue: u32, from: u64, filter: &Filter) -> Vec<u64> {
    let (mut at, mut all) = (from, Vec::new());
    loop {
        match read_from(store, "t", queue, at, filter) {
            Read::Found(batch) => {
                all.extend(batch.slices.iter().flat_map(|slice| bodies(slice)).map(|(offset, _)| offset));
                at = batch.next.0;
            }
            Read::Filtered { next, .. } => {
                assert!(next.0 > at, "it gets on");
                at = next.0;
            }
            Read::AtTail(_) => return all,
            Read::Beyond(bounds) => panic!("{at} is not in {bounds:?}"),
        }
    }
}

#[test]
fn a_filter_finds_the_same_however_often_it_looks() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    let write = |n: u64, salt: u64| {
        let (name, queue) = (topic("t"), (n % 2) as u32);
        let handle = store.queue(&name, QueueId(queue)).unwrap();
        let properties = format!("n\u{1}{}\u{2}TAGS\u{1}é{}\u{2}", (n / 2 + salt) % 50, n % 3);
        let text = if n.is_multiple_of(7) { "" } else { &properties };
        let message = message(&name, queue, &[b'x'; 40], text.as_bytes());
        store.append(&[Draft { queue: &handle, message }]).unwrap();
        if n % 10 == 9 {
            run(&store);
        }
    };
    let wanted = |n: u64, salt: u64| !n.is_multiple_of(7) && [3, 17].contains(&((n / 2 + salt) % 50));
    let expected = |queue: u64, from: u64, upto: u64, salt: u64| -> Vec<u64> {
        (from..upto).filter(|offset| wanted(offset * 2 + queue, salt)).collect()
    };
    let filter = Filter::parse("SQL92", "n IN ('3', '17') AND TAGS IS NOT NULL").unwrap();
    let mut rng = stdx::Rng::new(7);
    for upto in [300, 1000] {
        let begun = if upto == 300 { 0 } else { 600 };
        (begun..upto * 2).for_each(|n| write(n, 0));
        for _ in 0..20 {
            let (queue, from) = (rng.below(2), rng.below(upto));
            assert_eq!(chosen(&store, queue as u32, from, &filter), expected(queue, from, upto, 0));
        }
    }
    (0..2).for_each(|queue| _ = chosen(&store, queue, 0, &filter));
    let before = store.metrics().looks.get();
    for queue in 0..2 {
        assert_eq!(chosen(&store, queue as u32, 0, &filter), expected(queue, 0, 1000, 0));
        let other = Filter::parse("SQL92", "n = '9' OR TAGS = 'é1'").unwrap();
        let others = chosen(&store, queue as u32, 0, &other);
        let is_other = |n: u64| !n.is_multiple_of(7) && (n / 2 % 50 == 9 || n % 3 == 1);
        assert_eq!(others, (0..1000).filter(|offset| is_other(offset * 2 + queue)).collect::<Vec<_>>());
    }
    let looks = store.metrics().looks.get() - before;
    let found = 2 * (40 + 330);
    assert!(looks < found + 600, "what is remembered is not looked at again: {looks}");
    // The queues begin again, with other messages under the same offsets.
    store.remove_topic(&topic("t"), &[]).unwrap();
    (0..2000).for_each(|n| write(n, 5));
    for queue in 0..2 {
        assert_eq!(chosen(&store, queue as u32, 0, &filter), expected(queue, 0, 1000, 5));
    }
}

#[test]
fn time_finds_its_offset() {
    let clock = StillClock::new();
    let store = open_at(&SimDisk::new(1), small(Durability::Memory), clock.clone()).unwrap();
    let mut times = Vec::new();
    for n in 0..10 {
        times.push(append(&store, "t", 0, &[n]).unwrap().stored_at);
        clock.forward(Duration::from_millis(10));
    }
    run(&store);
    let queue = store.find_queue("t", QueueId(0)).unwrap();
    let lower = |time: Timestamp| store.offset_by_time(&queue, time, Boundary::Lower).0;
    assert_eq!(lower(times[4]), 4);
    assert_eq!(lower(Timestamp(times[4].0 + 1)), 5);
    assert_eq!(lower(Timestamp(0)), 0);
    assert_eq!(lower(Timestamp(i64::MAX)), 10);
    assert_eq!(store.offset_by_time(&queue, times[4], Boundary::Upper).0, 4);
    assert_eq!(store.stored_at(&queue, QueueOffset(7)), Some(times[7]));
    assert_eq!(store.stored_at(&queue, QueueOffset(10)), None);
}

#[test]
fn offsets_from_outside_find_records_or_nothing() {
    let store = open(&SimDisk::new(1), small(Durability::Memory)).unwrap();
    let first = append(&store, "t", 0, &[0xDA; 300]).unwrap();
    let last = append(&store, "t", 0, b"x").unwrap();
    for at in 0..last.end.0 + 200 {
        let found = store.record_at(LogOffset(at)).unwrap();
        assert_eq!(found.is_some(), at == first.start.0 || at == last.start.0, "{at}");
    }
    assert_eq!(store.record_at(LogOffset(u64::MAX)).unwrap(), None);
}

#[test]
fn records_are_found_near_each_other_and_apart() {
    let store = open(&SimDisk::new(1), small(Durability::Memory)).unwrap();
    let starts: Vec<LogOffset> = (0..60u8)
        .map(|n| {
            let appended = append(&store, "t", 0, &[n; 300]).unwrap();
            // the last ones stay in memory, in two stages
            if n < 40 {
                run(&store);
            }
            appended.start
        })
        .collect();
    let body = |near: &mut store::Near<'_>, at: LogOffset| match near.look(at, |raw, record| {
        assert_eq!((raw.len(), &raw[..]), (record.len(), record.raw()));
        record.body()[0]
    }) {
        Err(ReadError::Cold) => {
            store.record_at(at).unwrap().map(|raw| Record::parse(&raw).unwrap().body()[0])
        }
        found => found.unwrap(),
    };
    let mut rng = stdx::Rng::new(5);
    let mut near = store.near();
    for _ in 0..500 {
        let n = rng.below(60);
        assert_eq!(body(&mut near, starts[n as usize]), Some(n as u8));
        assert_eq!(body(&mut near, LogOffset(starts[n as usize].0 + 1 + rng.below(300))), None);
    }
    assert_eq!(body(&mut near, LogOffset(u64::MAX)), None);
}

#[test]
fn the_real_disk_with_its_loops() {
    let dir = tempfile::tempdir().unwrap();
    for durability in [Durability::Memory, Durability::Disk] {
        let mut config = small(durability);
        config.dir = dir.path().join(format!("{durability:?}"));
        config.stage_dir = Some(dir.path().join("memory"));
        let clock = SystemClock::new();
        let store = store::Store::open(config.clone(), FileDisk.shared(), clock.clone()).unwrap();
        let store = std::sync::Arc::new(store);
        let mut threads = stdx::Threads::default();
        store.start(&mut threads).unwrap();
        let mut sent = 0;
        while sent < 500 {
            match append(&store, "t", 0, &[7; 100]) {
                Ok(appended) => {
                    let gate = &store.watermarks().gate;
                    while gate.wait_past(appended.end.0 - 1, Duration::from_secs(10)) < appended.end.0 {}
                    sent += 1;
                }
                Err(AppendError::Busy { .. }) => {
                    while store.dispatch_step(1000, &mut Vec::new()) > 0 {}
                    let seen = store.watermarks().drained.get();
                    store.watermarks().drained.wait_past(seen, Duration::from_millis(10));
                }
                Err(e) => panic!("{e}"),
            }
        }
        while store.dispatch_step(1000, &mut Vec::new()) > 0 {}
        assert_eq!(store.poisoned(), None);
        assert_eq!(read_all(&store, "t", 0).len(), 500);
        threads.join();
        store.close();
        drop(store);
        let store = store::Store::open(config, FileDisk.shared(), clock).unwrap();
        eprintln!("{durability:?} {:?}", store.opened());
        assert_eq!(read_all(&std::sync::Arc::new(store), "t", 0).len(), 500);
    }
}

/// What is not dispatched yet stays in the stages, so that dispatch need not read it from files; senders wait meanwhile.
#[test]
fn senders_wait_for_dispatch_as_for_the_disk() {
    for durability in [Durability::Memory, Durability::Disk] {
        let config = small(durability);
        // A stage has a block more, for the alignment of its first.
        let room = config.stages_max * (config.stage_size + 4096);
        let store = open(&SimDisk::new(1), config).unwrap();
        let fill = || {
            let mut taken = 0;
            while taken <= 2 * room {
                match append(&store, "t", 0, &[7; 100]) {
                    Ok(_) => taken += 100,
                    Err(AppendError::Busy { .. }) => break,
                    Err(e) => panic!("{e}"),
                }
                drained(&store);
            }
            taken
        };
        let taken = fill();
        assert!(taken <= room, "{durability:?}: {taken} bytes fit {room}, with dispatch nowhere");
        assert_eq!(fill(), 0, "{durability:?}");
        while store.dispatch_step(1000, &mut Vec::new()) > 0 {}
        assert!(fill() > 0, "{durability:?}: dispatch went on, and so does the sender");
    }
}

fn drained(store: &store::Store) {
    while store.drain_step() > 0 {}
    store.flush_step();
    store.prepare_step();
}

#[test]
fn a_closed_store_answers_so() {
    let store = open(&SimDisk::new(1), small(Durability::Memory)).unwrap();
    append(&store, "t", 0, b"x").unwrap();
    run(&store);
    store.close();
    assert_eq!(append(&store, "t", 0, b"y").unwrap_err(), AppendError::Closed);
    let queue = store.find_queue("t", QueueId(0)).unwrap();
    let limit = ReadLimit { messages: 1, bytes: 1 };
    let answer = std::pin::pin!(store.read_cold(&queue, QueueOffset(0), limit, &Filter::All));
    let poll =
        std::future::Future::poll(answer, &mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(matches!(poll, std::task::Poll::Ready(Err(ReadError::Closed))));
}

#[test]
fn the_largest_message_fits_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = store::StoreConfig::new(dir.path());
    config.stage_dir = Some(dir.path().join("memory"));
    let (body, properties) = (vec![7; config.max_message], vec![b'x'; 32_767]);
    let store = store::Store::open(config, FileDisk.shared(), StillClock::new()).unwrap();
    let name = topic(&"t".repeat(255));
    let queue = store.queue(&name, QueueId(0)).unwrap();
    for _ in 0..3 {
        let message = message(&name, 0, &body, &properties);
        let appended = store.append(&[store::Draft { queue: &queue, message }]).unwrap();
        assert!(store.record_at(appended.start).unwrap().unwrap().len() > body.len() + properties.len());
    }
    run(&store);
    assert_eq!(queue.dispatched().0, 3);
    store.close();
}

/// Four producers, the store's loops, a dispatcher and a reader at once: offsets stay in order, nothing is torn.
#[test]
fn many_threads_at_once() {
    const EACH: u64 = 3000;
    let dir = tempfile::tempdir().unwrap();
    let mut config = store::StoreConfig::new(dir.path());
    (config.stage_size, config.max_message, config.segment_size) = (64 << 10, 8 << 10, 1 << 20);
    config.direct_min = 16 << 10;
    config.stage_dir = Some(dir.path().join("memory"));
    let store = store::Store::open(config, FileDisk.shared(), SystemClock::new()).unwrap();
    let store = std::sync::Arc::new(store);
    let mut loops = stdx::Threads::default();
    store.start(&mut loops).unwrap();
    let dispatching = store.clone();
    loops
        .spawn("dispatch", move |stop| {
            while !stop.is_set() {
                if dispatching.dispatch_step(100, &mut Vec::new()) == 0 {
                    let marks = dispatching.watermarks();
                    marks.gate.wait_past(marks.dispatched.get(), Duration::from_millis(20));
                }
            }
        })
        .unwrap();
    std::thread::scope(|scope| {
        for producer in 0..4u64 {
            let store = &store;
            scope.spawn(move || {
                let mut last = None;
                for n in 0..EACH {
                    let mut body = vec![producer as u8; 16 + (n % 700) as usize];
                    body[8..16].copy_from_slice(&n.to_le_bytes());
                    let appended = loop {
                        match append(store, "t", (producer % 2) as u32, &body) {
                            Err(AppendError::Busy { .. }) => {
                                let seen = store.watermarks().drained.get();
                                store.watermarks().drained.wait_past(seen, Duration::from_millis(5));
                            }
                            other => break other.unwrap(),
                        }
                    };
                    assert!(last.is_none_or(|last| appended.first_queue_offset > last));
                    last = Some(appended.first_queue_offset);
                }
            });
        }
        for queue in 0..2 {
            let store = &store;
            scope.spawn(move || {
                let mut next = [0u64; 4];
                let mut at = 0;
                while at < 2 * EACH {
                    let Read::Found(batch) = read_from(store, "t", queue, at, &Filter::All) else {
                        let marks = store.watermarks();
                        marks.dispatched.wait_past(marks.dispatched.get(), Duration::from_millis(5));
                        continue;
                    };
                    for (offset, body) in batch.slices.iter().flat_map(|slice| bodies(slice)) {
                        assert_eq!(offset, at);
                        let n = u64::from_le_bytes(body[8..16].try_into().unwrap());
                        let producer = usize::from(body[0]);
                        assert_eq!(
                            n,
                            std::mem::replace(&mut next[producer], n + 1),
                            "in the order of its producer"
                        );
                        at += 1;
                    }
                }
            });
        }
    });
    loops.join();
    assert_eq!(store.poisoned(), None);
    store.close();
}

/// Both keys have one hash under this topic, in all its 64 bits.
#[test]
fn a_key_finds_no_message_of_another_key_with_its_hash() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    let (name, keys) = (topic("topic34132"), ["order--11NXS7g65", "order--21NXS7g65"]);
    let queue = store.queue(&name, QueueId(0)).unwrap();
    for property in ["KEYS", "UNIQ_KEY"] {
        for key in keys {
            let properties = format!("{property}\u{1}{key}\u{2}");
            let message = message(&name, 0, property.as_bytes(), properties.as_bytes());
            store.append(&[Draft { queue: &queue, message }]).unwrap();
        }
    }
    run(&store);
    let all = (Timestamp(0), Timestamp(i64::MAX));
    for (index, key) in keys.into_iter().enumerate() {
        let found = |records: Result<Vec<bytes::Bytes>, ReadError>| -> Vec<u64> {
            let records = records.unwrap();
            records.iter().map(|raw| Record::parse(raw).unwrap().queue_offset().0).collect()
        };
        assert_eq!(found(store.by_key(&name, key, 10, all.0, all.1)), [index as u64]);
        assert_eq!(
            found(store.by_key(&name, key, 1, all.0, all.1)),
            [index as u64],
            "the other takes no room"
        );
        assert_eq!(found(store.by_unique_id(&name, key, 10, all.0, all.1)), [2 + index as u64]);
    }
}
