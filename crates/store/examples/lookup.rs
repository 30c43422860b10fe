// SPDX-License-Identifier: Apache-2.0
//! Measures how long it takes to find a message by its key among many: cold, with nothing of the store in the system's
//! page cache, and warm. Fills a store, closes it, opens it again, asks.
//! `cargo run --release -p store --example lookup -- [dir] [messages] [look-ups]`; `cargo xtask lookup` does that.
//! Prints the median, the 99th percentile and the slowest of each. What another process keeps mapped stays cached.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::names::{LogOffset, QueueId, TopicName};
use protocol::record::{Message, Record};
use stdx::{Rng, SystemClock, Threads, Timestamp};
use store::disk::{Disk, FileDisk, OpenMode};
use store::{AppendError, Draft, QueueRef, Store, StoreConfig};

const TOPIC: &str = "orders";
const QUEUES: u32 = 8;
const TOGETHER: u64 = 64;

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or: u64| given.get(at).and_then(|text| text.parse().ok()).unwrap_or(or);
    let dir = given.first().cloned().unwrap_or_else(|| "target/lookup".to_owned());
    let (messages, lookups) = (number(1, 1_000_000), number(2, 1000));
    let began = Instant::now();
    let (store, mut loops) = open(&dir);
    fill(&store, messages);
    loops.join();
    store.close();
    drop(store);
    println!("{messages} messages with an id and a key each, stored and closed in {:?}", began.elapsed());
    let began = Instant::now();
    let (store, mut loops) = open(&dir);
    println!("opened in {:?}", began.elapsed());
    let mut rng = Rng::new(1);
    let mut cold = Vec::new();
    for _ in 0..lookups.min(200) {
        uncache(Path::new(&dir));
        cold.push(find(&store, rng.next() % messages));
    }
    tell("cold", cold);
    // Once to warm up, the same once more to measure.
    let wanted: Vec<u64> = (0..lookups).map(|_| rng.next() % messages).collect();
    wanted.iter().for_each(|number| {
        find(&store, *number);
    });
    tell("warm", wanted.iter().map(|number| find(&store, *number)).collect());
    loops.join();
    store.close();
    drop(store);
    std::fs::remove_dir_all(&dir).expect("the directory is ours");
}

fn open(dir: &str) -> (Arc<Store>, Threads) {
    let mut config = StoreConfig::new(dir);
    config.retention.delete_when = Vec::new();
    let store =
        Store::open(config, Arc::new(FileDisk), SystemClock::new()).expect("the directory can be opened");
    let store = Arc::new(store);
    let mut loops = Threads::default();
    store.start(&mut loops).expect("threads start");
    let dispatching = store.clone();
    loops
        .spawn("dispatch", move |stop| {
            let mut arrivals = Vec::new();
            while !stop.is_set() {
                arrivals.clear();
                if dispatching.dispatch_step(1024, &mut arrivals) == 0 {
                    let marks = dispatching.watermarks();
                    marks.gate.wait_past(marks.dispatched.get(), Duration::from_millis(100));
                }
            }
        })
        .expect("a thread starts");
    (store, loops)
}

fn fill(store: &Store, messages: u64) {
    let topic = TopicName::stored(TOPIC);
    let queues: Vec<QueueRef> =
        (0..QUEUES).map(|queue| store.queue(&topic, QueueId(queue)).expect("there is room")).collect();
    let body = [b'x'; 16];
    for first in (0..messages).step_by(TOGETHER as usize) {
        let numbers = first..messages.min(first + TOGETHER);
        let properties: Vec<String> = numbers.clone().map(properties).collect();
        let drafts: Vec<Draft<'_>> = numbers
            .zip(&properties)
            .map(|(number, properties)| {
                let queue = &queues[(number % u64::from(QUEUES)) as usize];
                Draft { queue, message: message(&topic, queue.key().queue, &body, properties) }
            })
            .collect();
        while let Err(error) = store.append(&drafts) {
            assert!(matches!(error, AppendError::Busy { .. }), "{error}");
            let drained = &store.watermarks().drained;
            drained.wait_past(drained.get(), Duration::from_millis(5));
        }
    }
    let marks = store.watermarks();
    while marks.dispatched.get() < marks.written.get() {
        marks.dispatched.wait_past(marks.dispatched.get(), Duration::from_millis(100));
    }
}

fn key(number: u64) -> String {
    format!("order-{number}")
}

fn properties(number: u64) -> String {
    format!("UNIQ_KEY\u{1}7F000001000018B4AAC2{number:012X}\u{2}KEYS\u{1}{}\u{2}TAGS\u{1}a\u{2}", key(number))
}

fn message<'a>(topic: &'a TopicName, queue: QueueId, body: &'a [u8], properties: &'a str) -> Message<'a> {
    let host: SocketAddr = "127.0.0.1:10911".parse().expect("an address");
    Message {
        topic,
        queue,
        flag: 0,
        sys_flag: 0,
        born_at: Timestamp(0),
        born_host: host,
        store_host: host,
        reconsume: 0,
        prepared: LogOffset(0),
        body,
        properties: properties.as_bytes(),
    }
}

/// Looks for one message, as mqadmin does: up to 64 with the key, of any time.
fn find(store: &Store, number: u64) -> Duration {
    let (topic, key) = (TopicName::stored(TOPIC), key(number));
    let began = Instant::now();
    let found = store.by_key(&topic, &key, 64, Timestamp(0), Timestamp(i64::MAX)).expect("it reads");
    let took = began.elapsed();
    assert_eq!(found.len(), 1, "{key} is there once");
    let record = Record::parse(&found[0]).expect("a record");
    assert_eq!(record.property("KEYS"), Some(key.as_str()));
    took
}

/// Asks the system to forget what it has of all files.
fn uncache(dir: &Path) {
    for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            uncache(&path);
        } else if let Ok(file) = FileDisk.open(&path, OpenMode::Read) {
            let len = file.len().unwrap_or(0);
            // Advice: where it is not taken the look-up is not as cold, and no worse.
            let _ = file.uncache(0, len);
        }
    }
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "{what}: {} look-ups, p50 {:?}, p99 {:?}, slowest {:?}",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
