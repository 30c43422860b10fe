// SPDX-License-Identifier: Apache-2.0
//! Measures dispatch alone: records are appended first, then applied to the views by one thread while nothing else
//! runs: read from the log, parsed, checksum, queue entry, keys, arrival.
//! `cargo run --release -p store --example dispatch -- [dir] [queues] [body bytes] [rounds]`
//! Prints nanoseconds a record by the clock and by processor time; the latter is less wrong on a busy machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::names::{QueueId, TopicName};
use protocol::record::Message;
use stdx::{SystemClock, Timestamp};
use store::disk::FileDisk;
use store::{Draft, QueueRef, Store, StoreConfig};

/// Records of one round; with large bodies they fit the stages.
const ROUND: usize = 8_000;

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or: usize| given.get(at).and_then(|text| text.parse().ok()).unwrap_or(or);
    let dir = given.first().cloned().unwrap_or_else(|| "/dev/shm/kiruna-dispatch".to_owned());
    let (count, body, rounds) = (number(1, 8), vec![7; number(2, 1024)], number(3, 40));
    let store = Store::open(StoreConfig::new(&dir), Arc::new(FileDisk), SystemClock::new())
        .expect("the directory can be opened");
    let queues: Vec<QueueRef> = (0..count)
        .map(|n| {
            let topic = TopicName::stored(format!("measured-topic-{:06}", n / 8));
            store.queue(&topic, QueueId(n as u32 % 8)).expect("so many queues are allowed")
        })
        .collect();
    let mut rng = stdx::Rng::new(1);
    let (mut wall, mut busy) = (Duration::ZERO, Duration::ZERO);
    for round in 0..=rounds {
        append(&store, &queues, &body, &mut rng);
        let (began, began_busy) = (Instant::now(), processor_time());
        dispatch(&store);
        // The first round meets memory that nobody touched before.
        if round > 0 {
            wall += began.elapsed();
            busy += processor_time() - began_busy;
        }
        store.checkpoint_step(false);
    }
    let records = (rounds * ROUND) as u128;
    println!(
        "{count} queues, {} B bodies: {} ns a record, {} ns of processor time",
        body.len(),
        wall.as_nanos() / records,
        busy.as_nanos() / records
    );
    store.close();
    std::fs::remove_dir_all(&dir).expect("the directory is ours");
}

fn append(store: &Store, queues: &[QueueRef], body: &[u8], rng: &mut stdx::Rng) {
    let host: SocketAddr = "127.0.0.1:10911".parse().expect("an address");
    for n in 0..ROUND {
        let queue = &queues[rng.below(queues.len() as u64) as usize];
        let properties = format!(
            "UNIQ_KEY\x01AC1400020D1018B4AAC2{n:012X}\x02WAIT\x01true\x02TAGS\x01blue\x02KEYS\x01order-{n}\x02\
             CLUSTER\x01DefaultCluster\x02MSG_REGION\x01DefaultRegion\x02TRACE_ON\x01true\x02"
        );
        let message = Message {
            topic: &queue.key().topic,
            queue: queue.key().queue,
            flag: 0,
            sys_flag: 0,
            born_at: Timestamp(0),
            born_host: host,
            store_host: host,
            reconsume: 0,
            prepared: protocol::names::LogOffset(0),
            body,
            properties: properties.as_bytes(),
        };
        while store.append(&[Draft { queue, message }]).is_err() {
            assert!(store.poisoned().is_none(), "the store failed");
            store.drain_step();
        }
    }
}

fn dispatch(store: &Store) {
    let mut arrivals = Vec::new();
    while store.dispatch_step(1024, &mut arrivals) > 0 {
        arrivals.clear();
    }
}

/// What this thread has used, as Linux counts it; zero elsewhere.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0))
}
