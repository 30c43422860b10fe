// SPDX-License-Identifier: Apache-2.0
//! What dispatch is told by senders makes the same views as what it reads: any messages, seen as they arrive and compared
//! with what a replay of the log says.

use std::path::Path;

use proptest::prelude::*;
use protocol::names::LogOffset;
use protocol::record::{self, Message};
use store::disk::sim::SimDisk;
use store::{Draft, Durability, Read, Store};

use crate::rig::*;

/// Plain topics, and some whose records say more than their place.
const TOPICS: [&str; 6] =
    ["a", "b", "%RETRY%group", "rmq_sys_wheel_timer", "SCHEDULE_TOPIC_XXXX", "TRANS_CHECK_MAX_TIME_TOPIC"];
const PROPERTIES: [&str; 9] = [
    "TAGS=red",
    "TAGS=blue",
    "KEYS=one",
    "KEYS=one two",
    "KEYS= one  two three ",
    "UNIQ_KEY=7F000001",
    "__EXPIRE=60",
    "TIMER_OUT_MS=1700000009000;REAL_TOPIC=a",
    "INNER_MULTI_DISPATCH=%LMQ%a",
];

#[derive(Clone, Debug)]
struct Sent {
    topic: usize,
    queue: u32,
    properties: Vec<usize>,
    is_commit: bool,
    /// Which of the records before it names.
    names: Option<usize>,
}

impl Sent {
    fn text(&self) -> String {
        let pairs =
            self.properties.iter().map(|&at| PROPERTIES[at].replace('=', "\x01").replace(';', "\x02"));
        pairs.map(|pair| pair + "\x02").collect()
    }

    fn tag(&self) -> &str {
        let tags = self.properties.iter().rev().map(|&at| PROPERTIES[at]);
        tags.filter_map(|text| text.strip_prefix("TAGS=")).next().unwrap_or_default()
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let topic = prop_oneof![4 => 0..3usize, 2 => 3..TOPICS.len()];
    let properties = proptest::collection::vec(0..PROPERTIES.len(), 0..4);
    let names = proptest::option::weighted(0.3, 0..50usize);
    (topic, 0..2u32, properties, proptest::bool::weighted(0.1), names).prop_map(
        |(topic, queue, properties, is_commit, names)| Sent { topic, queue, properties, is_commit, names },
    )
}

fn send(store: &Store, all: &[Sent], starts: &mut Vec<LogOffset>) {
    let texts: Vec<String> = all.iter().map(Sent::text).collect();
    let topics: Vec<_> = all.iter().map(|sent| topic(TOPICS[sent.topic])).collect();
    let queue = |(sent, topic): (&Sent, _)| store.queue(topic, protocol::names::QueueId(sent.queue)).unwrap();
    let queues: Vec<_> = all.iter().zip(&topics).map(queue).collect();
    let drafts: Vec<Draft<'_>> = (0..all.len())
        .map(|at| {
            let message = message(&topics[at], all[at].queue, b"body", texts[at].as_bytes());
            let sys_flag = if all[at].is_commit { record::COMMITTED } else { 0 };
            let named = all[at].names.and_then(|index| starts.get(index));
            let prepared = named.map_or(LogOffset(0), |&at| store::origin_mark(at));
            Draft { queue: &queues[at], message: Message { sys_flag, prepared, ..message } }
        })
        .collect();
    starts.extend(store.append(&drafts).unwrap().starts());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn what_senders_tell_is_what_the_log_says(
        turns in proptest::collection::vec((proptest::collection::vec(sent(), 1..6), 0..12usize), 1..40),
    ) {
        let disk = SimDisk::new(1);
        let mut config = small(Durability::Memory);
        config.stages_max = 64;
        let store = open(&disk, config.clone()).unwrap();
        let (mut arrivals, mut starts) = (Vec::new(), Vec::new());
        for (all, steps) in &turns {
            send(&store, all, &mut starts);
            store.dispatch_step(*steps, &mut arrivals);
            store.drain_step();
            store.prepare_step();
        }
        run(&store);
        while store.dispatch_step(100, &mut arrivals) > 0 {}
        let all: Vec<&Sent> = turns.iter().flat_map(|(all, _)| all).collect();
        // What was dispatched on the way was told then; the rest by `run`, to nobody.
        for (arrival, sent) in arrivals.iter().zip(&all) {
            prop_assert_eq!(&*arrival.queue.key().topic, TOPICS[sent.topic]);
            prop_assert_eq!(arrival.queue.key().queue.0, sent.queue);
            prop_assert_eq!(arrival.tag_hash, record::tag_hash(sent.tag()));
        }
        store.close();
        drop((store, arrivals));
        let found = Store::verify(Path::new(DIR), disk.shared()).unwrap();
        prop_assert_eq!(found.records as usize, all.len());
        prop_assert!(found.differences.is_empty(), "{:?}", found.differences);
    }
}

#[test]
fn a_message_that_expires_is_not_taken_for_a_plain_one() {
    let store = open(&SimDisk::new(1), small(Durability::Memory)).unwrap();
    let expiring = Sent { topic: 0, queue: 0, properties: vec![6], is_commit: false, names: None };
    send(&store, &[expiring], &mut Vec::new());
    run(&store);
    let found = read_from(&store, TOPICS[0], 0, 0, &protocol::filter::Filter::All);
    assert!(matches!(found, Read::Filtered { .. }), "{found:?}");
}

#[test]
fn a_gate_within_a_record_lets_nothing_of_it_through() {
    // What dispatch is told of, and what it reads.
    for name in ["t", "SCHEDULE_TOPIC_XXXX"] {
        let mut config = small(Durability::Disk);
        (config.max_message, config.stage_size, config.segment_size) = (1 << 20, 4 << 20, 16 << 20);
        let store = open(&SimDisk::new(1), config).unwrap();
        let body = vec![7; 100_000];
        append_all(&store, name, 0, &[&body[..]; 15]).unwrap();
        // One step of the drain writes a megabyte, and what it wrote is synced.
        store.drain_step();
        store.flush_step();
        let mut arrivals = Vec::new();
        store.dispatch_step(100, &mut arrivals);
        assert!((1..15).contains(&arrivals.len()), "{name}: {} have passed", arrivals.len());
        run(&store);
        assert_eq!((read_all(&store, name, 0).len(), store.poisoned()), (15, None), "{name}");
    }
}
