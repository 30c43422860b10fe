// SPDX-License-Identifier: Apache-2.0
//! Light queues: a message that is stored once and is in several queues, with offsets that its record names.

use std::path::Path;

use protocol::filter::Filter;
use protocol::names::{QueueId, QueueOffset};
use protocol::record::Record;
use store::disk::sim::SimDisk;
use store::{AppendError, Draft, Durability, FactChange, FactKind, Read, Store};

use crate::rig::*;

fn offsets_of(store: &Store, at: protocol::names::LogOffset) -> String {
    let bytes = store.record_at(at).unwrap().unwrap();
    Record::parse(&bytes).unwrap().property("INNER_MULTI_QUEUE_OFFSET").unwrap_or("none").to_owned()
}

#[test]
fn a_message_is_stored_once_and_is_in_every_queue_it_lists() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    append_light(&store, "t", "%LMQ%a", &[b"one"]).unwrap();
    let two = append_light(&store, "t", "%LMQ%a,%LMQ%b", &[b"two"]).unwrap();
    append(&store, "t", 0, b"plain").unwrap();
    assert_eq!(store.find_queue("%LMQ%a", QueueId(0)).unwrap().dispatched().0, 0, "not dispatched yet");
    let mut arrivals = Vec::new();
    store.dispatch_step(10, &mut arrivals);
    let told: Vec<_> =
        arrivals.iter().map(|arrival| (arrival.queue.key().topic.to_string(), arrival.next.0)).collect();
    let wanted = [("%LMQ%a", 1), ("t", 1), ("%LMQ%a", 2), ("%LMQ%b", 1), ("t", 2), ("t", 3)];
    assert_eq!(told, wanted.map(|(name, next)| (name.to_owned(), next)));
    assert_eq!(light_bodies(&store, "%LMQ%a"), [(0, b"one".to_vec()), (1, b"two".to_vec())]);
    assert_eq!(light_bodies(&store, "%LMQ%b"), [(0, b"two".to_vec())]);
    assert_eq!(read_all(&store, "t", 0).len(), 3);
    assert_eq!(offsets_of(&store, two.start), "1,0");
    assert_eq!(store.light_queues(), 2);
    let Read::Found(batch) = read_from(&store, "%LMQ%a", 0, 1, &Filter::All) else { panic!("it is there") };
    assert_eq!((batch.count, batch.next), (1, QueueOffset(2)));
    let Read::AtTail(_) = read_from(&store, "%LMQ%b", 0, 1, &Filter::All) else { panic!("it is the end") };
}

#[test]
fn offsets_grow_longer_within_an_append_and_between_two() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    let bodies: Vec<&[u8]> = vec![b"x"; 7];
    let appended = append_light(&store, "t", "%LMQ%a,%LMQ%b", &bodies).unwrap();
    let all: Vec<String> = appended.starts().map(|at| offsets_of(&store, at)).collect();
    assert_eq!(all, ["0,0", "1,1", "2,2", "3,3", "4,4", "5,5", "6,6"]);
    let appended = append_light(&store, "t", "%LMQ%b,%LMQ%new,%LMQ%a", &bodies).unwrap();
    let all: Vec<String> = appended.starts().map(|at| offsets_of(&store, at)).collect();
    assert_eq!(all, ["7,0,7", "8,1,8", "9,2,9", "10,3,10", "11,4,11", "12,5,12", "13,6,13"]);
    run(&store);
    assert_eq!(light_bodies(&store, "%LMQ%b").len(), 14);
}

#[test]
fn a_queue_is_taken_once_by_a_record_that_lists_it_twice_and_a_foreign_name_is_passed_over() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    let list = "%LMQ%a,orders,%LMQ%a,,%LMQ%b,%LMQ%a/b";
    let appended = append_light(&store, "t", list, &[b"one", b"two"]).unwrap();
    let all: Vec<String> = appended.starts().map(|at| offsets_of(&store, at)).collect();
    assert_eq!(all, ["0,,0,,0,", "1,,1,,1,"]);
    run(&store);
    assert_eq!(light_bodies(&store, "%LMQ%a").len(), 2);
    assert_eq!(light_bodies(&store, "%LMQ%b").len(), 2);
    assert!(store.find_queue("orders", QueueId(0)).is_none() && store.light_queues() == 2);
    assert_eq!(store.poisoned(), None);
}

#[test]
fn topics_of_servers_and_groups_and_a_store_that_is_told_so_put_nothing_into_light_queues() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    for name in
        ["%RETRY%g", "%DLQ%g", "%LMQ%z", "rmq_sys_x", "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC"]
    {
        let appended = append_light(&store, name, "%LMQ%a", &[b"x"]).unwrap();
        assert_eq!(offsets_of(&store, appended.start), "none", "{name}");
    }
    store.set_light(false);
    let appended = append_light(&store, "t", "%LMQ%a", &[b"x"]).unwrap();
    assert_eq!(offsets_of(&store, appended.start), "none");
    run(&store);
    assert!(store.find_queue("%LMQ%a", QueueId(0)).is_none());
    assert_eq!((store.light_queues(), store.poisoned()), (1, None));
}

#[test]
fn many_senders_hand_out_each_offset_once() {
    let disk = SimDisk::new(1);
    let mut config = small(Durability::Memory);
    (config.stage_size, config.segment_size, config.stages_max) = (1 << 20, 1 << 20, 8);
    let store = open(&disk, config).unwrap();
    std::thread::scope(|scope| {
        for sender in 0..4u8 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..300u32 {
                    let own = format!("%LMQ%all,%LMQ%own{sender}");
                    let bodies: Vec<&[u8]> = vec![b"x"; 1 + (n % 3) as usize];
                    append_light(store, "t", if n % 2 == 0 { &own } else { "%LMQ%all" }, &bodies).unwrap();
                }
            });
        }
    });
    run(&store);
    // `light_bodies` compares each record with its place.
    assert_eq!(light_bodies(&store, "%LMQ%all").len(), 4 * 600);
    assert_eq!(light_bodies(&store, "%LMQ%own2").len(), 300);
    drop(store);
    let store = open(&disk.kill(), small(Durability::Memory)).unwrap();
    assert_eq!(light_bodies(&store, "%LMQ%all").len(), 4 * 600);
}

/// What a client made up, what a copy of a record still says, and what an older log has: it moves nobody back, nothing is
/// poisoned, and a process that reads the log again finds the same.
#[test]
fn offsets_that_nobody_handed_out_harm_nothing() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    let (name, queue) = (topic("t"), store.queue(&topic("t"), QueueId(0)).unwrap());
    append_light(&store, "t", "%LMQ%a", &[b"0", b"1", b"2"]).unwrap();
    for offsets in ["1", "5", "-1", "x", "5,5", "99999999999999999999", "9223372036854775807"] {
        let text = format!("INNER_MULTI_DISPATCH\u{1}%LMQ%a\u{2}INNER_MULTI_QUEUE_OFFSET\u{1}{offsets}\u{2}");
        let message = message(&name, 0, b"made up", text.as_bytes());
        store.append(&[Draft { queue: &queue, message }]).unwrap();
    }
    run(&store);
    let shown = |store: &Store| format!("{:?}", store.find_queue("%LMQ%a", QueueId(0)).unwrap());
    assert_eq!((shown(&store).as_str(), store.poisoned()), ("%LMQ%a/0 0..6 next 6", None));
    append_light(&store, "t", "%LMQ%a", &[b"6"]).unwrap();
    run(&store);
    assert_eq!(shown(&store), "%LMQ%a/0 0..7 next 7");
    drop(store);
    let store = open(&disk.kill(), small(Durability::Memory)).unwrap();
    assert_eq!((shown(&store).as_str(), read_all(&store, "t", 0).len()), ("%LMQ%a/0 0..7 next 7", 11));
}

#[test]
fn a_removed_light_queue_begins_anew() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    append_light(&store, "t", "%LMQ%a", &[b"0", b"1"]).unwrap();
    store.remove_topic(&topic("%LMQ%a"), &[]).unwrap();
    let appended = append_light(&store, "t", "%LMQ%a", &[b"again"]).unwrap();
    assert_eq!(offsets_of(&store, appended.start), "0");
    run(&store);
    let wanted = [(0, b"again".to_vec())];
    assert_eq!(light_bodies(&store, "%LMQ%a"), wanted);
    drop(store);
    let store = open(&disk.kill(), small(Durability::Memory)).unwrap();
    assert_eq!(light_bodies(&store, "%LMQ%a"), wanted);
    assert_eq!(read_all(&store, "t", 0).len(), 3);
}

/// Its records are gone, its offsets go on: with retention, with a checkpoint and with views that are built anew.
#[test]
fn offsets_go_on_when_all_messages_of_a_light_queue_are_gone() {
    let disk = SimDisk::new(1);
    let clock = StillClock::new();
    let mut config = small(Durability::Memory);
    config.retention.reserved = std::time::Duration::from_secs(60);
    config.retention.delete_when = Vec::new();
    let store = open_at(&disk, config.clone(), clock.clone()).unwrap();
    let bodies: Vec<&[u8]> = vec![b"early"; 12];
    append_light(&store, "t", "%LMQ%a", &bodies).unwrap();
    while store.opened().start.0 + store.watermarks().start.get() < 2 * SEGMENT {
        match append(&store, "t", 0, &[7; 900]) {
            Ok(_) | Err(AppendError::Busy { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        run(&store);
        clock.forward(std::time::Duration::from_secs(61));
        store.checkpoint_step(true);
        store.retain_step();
    }
    let queue = store.find_queue("%LMQ%a", QueueId(0)).unwrap();
    assert_eq!((queue.first().0, queue.next().0), (12, 12));
    drop(store);
    let disk = disk.kill();
    // The log alone says so too: nothing in it names the queue but what retention wrote.
    let verified = Store::verify(Path::new(DIR), disk.shared()).unwrap();
    assert!(verified.differences.is_empty(), "{:?}", verified.differences);
    let store = open_at(&disk, config.clone(), clock.clone()).unwrap();
    let appended = append_light(&store, "t", "%LMQ%a", &[b"late"]).unwrap();
    assert_eq!(offsets_of(&store, appended.start), "12");
    run(&store);
    drop(store);
    let store = open_at(&disk.kill(), config, clock).unwrap();
    assert_eq!(light_bodies(&store, "%LMQ%a"), [(12, b"late".to_vec())]);
}

#[test]
fn a_decision_and_facts_go_with_light_queues_in_one_log() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Disk)).unwrap();
    append_light(&store, "t", "%LMQ%a", &[b"x"]).unwrap();
    let change = FactChange { kind: FactKind(20), key: b"k".to_vec(), value: Some(b"v".to_vec()) };
    store.put_facts(&[change]).unwrap();
    assert!(light_bodies(&store, "%LMQ%a").is_empty(), "not before it is lasting");
    run(&store);
    assert_eq!(light_bodies(&store, "%LMQ%a").len(), 1);
}
