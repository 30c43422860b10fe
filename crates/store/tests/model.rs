// SPDX-License-Identifier: Apache-2.0
//! Random operations against a map, with reopening in between: the store and the map always agree.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::disk::sim::SimDisk;
use store::{AppendError, Durability, FactChange, FactKind};

use crate::rig::*;

#[derive(Clone, Debug)]
enum Op {
    Append {
        topic: u8,
        queue: u32,
        sizes: Vec<usize>,
    },
    /// Inner batches, so many messages each.
    Whole {
        topic: u8,
        counts: Vec<u64>,
    },
    Fact {
        key: u8,
        value: Option<u8>,
    },
    RemoveTopic(u8),
    Drain,
    Flush,
    Checkpoint,
    Dispatch(usize),
    Reopen,
    Kill,
}

fn op() -> impl Strategy<Value = Op> {
    let sizes = proptest::collection::vec(0..900usize, 1..4);
    prop_oneof![
        12 => (0..3u8, 0..2u32, sizes).prop_map(|(topic, queue, sizes)| Op::Append { topic, queue, sizes }),
        4 => (0..3u8, proptest::collection::vec(1..300u64, 1..4)).prop_map(|(topic, counts)| Op::Whole { topic, counts }),
        2 => (0..3u8, proptest::option::of(any::<u8>())).prop_map(|(key, value)| Op::Fact { key, value }),
        1 => (0..3u8).prop_map(Op::RemoveTopic),
        4 => Just(Op::Drain),
        2 => Just(Op::Flush),
        1 => Just(Op::Checkpoint),
        4 => (1..20usize).prop_map(Op::Dispatch),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
    ]
}

/// The offset and the body of each record.
type Queues = BTreeMap<(u8, u32), Queue>;

#[derive(Default)]
struct Queue {
    next: u64,
    records: Vec<(u64, Vec<u8>)>,
}

impl Queue {
    fn push(&mut self, count: u64, body: Vec<u8>) {
        self.records.push((self.next, body));
        self.next += count;
    }
}

fn name(topic: u8) -> String {
    format!("topic-{topic}")
}

fn check(store: &std::sync::Arc<store::Store>, queues: &Queues, facts: &BTreeMap<u8, u8>) {
    while store.dispatch_step(1000, &mut Vec::new()) > 0 {}
    for ((topic, queue), expected) in queues {
        assert_eq!(read_all(store, &name(*topic), *queue), expected.records, "queue {topic}/{queue}");
    }
    let found: BTreeMap<u8, u8> =
        store.facts(FactKind(30)).into_iter().map(|(key, value)| (key[0], value[0])).collect();
    assert_eq!(&found, facts);
}

fn tell(ops: &[Op], durability: Durability) {
    let mut disk = SimDisk::new(1);
    let mut store = open(&disk, small(durability)).unwrap();
    let mut queues = Queues::new();
    let mut facts = BTreeMap::new();
    let mut fill = 0u8;
    for op in ops {
        match op {
            Op::Append { topic, queue, sizes } => {
                let bodies: Vec<Vec<u8>> = sizes
                    .iter()
                    .map(|size| {
                        fill = fill.wrapping_add(1);
                        vec![fill; *size]
                    })
                    .collect();
                let slices: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
                let first = loop {
                    match append_all(&store, &name(*topic), *queue, &slices) {
                        Ok(appended) => break appended.first_queue_offset.0,
                        Err(AppendError::Busy { .. }) => run(&store),
                        Err(e) => panic!("{e}"),
                    }
                };
                let known = queues.entry((*topic, *queue)).or_default();
                assert_eq!(first, known.next);
                bodies.into_iter().for_each(|body| known.push(1, body));
            }
            Op::Whole { topic, counts } => {
                fill = fill.wrapping_add(1);
                let body = [fill; 20];
                let batches: Vec<(u64, &[u8])> = counts.iter().map(|count| (*count, &body[..])).collect();
                let first = loop {
                    match append_batches(&store, &name(*topic), &batches) {
                        Ok(appended) => break appended.first_queue_offset.0,
                        Err(AppendError::Busy { .. }) => run(&store),
                        Err(e) => panic!("{e}"),
                    }
                };
                let known = queues.entry((*topic, 0)).or_default();
                assert_eq!(first, known.next);
                counts.iter().for_each(|count| known.push(*count, body.to_vec()));
            }
            Op::Fact { key, value } => {
                let change =
                    FactChange { kind: FactKind(30), key: vec![*key], value: value.map(|value| vec![value]) };
                while store.put_facts(std::slice::from_ref(&change)).is_err() {
                    run(&store);
                }
                match value {
                    Some(value) => facts.insert(*key, *value),
                    None => facts.remove(key),
                };
            }
            Op::RemoveTopic(gone) => {
                while store.remove_topic(&topic(&name(*gone)), &[]).is_err() {
                    run(&store);
                }
                queues.retain(|(topic, _), _| topic != gone);
            }
            Op::Drain => _ = store.drain_step(),
            Op::Flush => _ = store.flush_step(),
            Op::Checkpoint => store.checkpoint_step(true),
            Op::Dispatch(max) => _ = store.dispatch_step(*max, &mut Vec::new()),
            Op::Reopen => {
                run(&store);
                store.close();
                drop(store);
                store = open(&disk, small(durability)).unwrap();
                check(&store, &queues, &facts);
            }
            Op::Kill => {
                disk = disk.kill();
                store = open(&disk, small(durability)).unwrap();
                check(&store, &queues, &facts);
            }
        }
    }
    run(&store);
    check(&store, &queues, &facts);
    assert!(store.poisoned().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn the_store_is_a_map(ops in proptest::collection::vec(op(), 1..80), disk in any::<bool>()) {
        tell(&ops, if disk { Durability::Disk } else { Durability::Memory });
    }
}
