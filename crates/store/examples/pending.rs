// SPDX-License-Identifier: Apache-2.0
//! Measures what a store with many messages that wait for their time costs: appending and dispatching one more beside
//! a plain one, by processor time, and the start after a sudden end and after a clean one.
//! `cargo run --release -p store --example pending -- [dir] [messages]`, once to fill it, which ends as `kill -9` does,
//! and again, as often as wanted, to open what is there: it fills, where it finds nothing. With `close` behind, the
//! store is closed; with `remove`, its directory removed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::names::{LogOffset, QueueId, TIMER_TOPIC, TopicName};
use protocol::record::Message;
use stdx::{Rng, SystemClock, Threads, Timestamp};
use store::disk::FileDisk;
use store::{AppendError, Draft, Store, StoreConfig};

const TOGETHER: u64 = 64;
/// Any time will do: nothing here delivers.
const NOW_MS: i64 = 1_800_000_000_000;
/// Messages of one measurement.
const SOME: u64 = 100_000;

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let dir = given.first().cloned().unwrap_or_else(|| "target/pending".to_owned());
    let messages = given.get(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let then = given.get(2).map_or("", String::as_str);
    let began = Instant::now();
    let (store, mut loops) = open(&dir);
    let opened = store.opened();
    println!(
        "opened in {:?}: {} wait, {} records replayed, {} bytes from stages",
        began.elapsed(),
        store.timers().count().0,
        opened.replayed,
        opened.from_stages
    );
    if store.timers().count().0 == 0 {
        let mut rng = Rng::new(1);
        cost(&store, &mut rng);
        fill(&store, messages, &mut rng);
        cost(&store, &mut rng);
    }
    if then == "close" || then == "remove" {
        loops.join();
        store.close();
    }
    if then == "remove" {
        std::fs::remove_dir_all(&dir).expect("the directory is ours");
    }
    println!("{} wait", store.timers().count().0);
    // As a kill would: without a close, nothing is saved and stages stay.
    std::process::exit(0);
}

fn open(dir: &str) -> (Arc<Store>, Threads) {
    let mut config = StoreConfig::new(dir);
    config.retention.delete_when = Vec::new();
    let store = Store::open(config, Arc::new(FileDisk), SystemClock::new()).expect("it can be opened");
    let store = Arc::new(store);
    let mut loops = Threads::default();
    store.start(&mut loops).expect("threads start");
    (store, loops)
}

/// Says what plain messages cost, and what messages cost that wait.
fn cost(store: &Store, rng: &mut Rng) {
    let waiting = store.timers().count().0;
    let mut figures = Vec::new();
    for waits in [false, true, false, true] {
        let before = on_cpu();
        (0..SOME / TOGETHER).for_each(|_| some(store, waits, rng));
        figures.push((on_cpu() - before).as_nanos() as u64 / SOME);
    }
    println!(
        "with {waiting} that wait: plain {} and {} ns, one that waits {} and {} ns",
        figures[0], figures[2], figures[1], figures[3]
    );
}

fn fill(store: &Store, messages: u64, rng: &mut Rng) {
    let began = Instant::now();
    (0..messages / TOGETHER).for_each(|_| some(store, true, rng));
    println!("{messages} more that wait in {:?}", began.elapsed());
}

/// Appends some messages and dispatches them.
fn some(store: &Store, waits: bool, rng: &mut Rng) {
    let topic = TopicName::stored(if waits { TIMER_TOPIC } else { "orders" });
    let queue = store.queue(&topic, QueueId(0)).expect("there is room");
    let properties: Vec<String> = (0..TOGETHER).map(|_| properties(waits, rng)).collect();
    let drafts: Vec<Draft<'_>> =
        properties.iter().map(|text| Draft { queue: &queue, message: message(&topic, text) }).collect();
    while let Err(error) = store.append(&drafts) {
        assert!(matches!(error, AppendError::Busy { .. }), "{error}");
        let drained = &store.watermarks().drained;
        drained.wait_past(drained.get(), Duration::from_millis(5));
    }
    let mut arrivals = Vec::with_capacity(TOGETHER as usize);
    while store.dispatch_step(TOGETHER as usize, &mut arrivals) > 0 {
        arrivals.clear();
    }
}

/// What the broker stores of a message, due within three days if it waits.
fn properties(waits: bool, rng: &mut Rng) -> String {
    let id = rng.next();
    let mut text = format!("UNIQ_KEY\u{1}7F000001000018B4{id:016X}\u{2}WAIT\u{1}true\u{2}");
    if waits {
        let due = NOW_MS + 86_400_000 + (rng.next() % (3 * 86_400_000)) as i64;
        let floor = due - 1;
        text += &format!(
            "TIMER_OUT_MS\u{1}{floor}\u{2}TIMER_DELIVER_MS\u{1}{due}\u{2}REAL_TOPIC\u{1}orders\u{2}REAL_QID\u{1}0\u{2}"
        );
    }
    text + "MSG_REGION\u{1}DefaultRegion\u{2}TRACE_ON\u{1}true\u{2}CLUSTER\u{1}DefaultCluster\u{2}"
}

fn message<'a>(topic: &'a TopicName, properties: &'a str) -> Message<'a> {
    let host: SocketAddr = "127.0.0.1:10911".parse().expect("an address");
    Message {
        topic,
        queue: QueueId(0),
        flag: 0,
        sys_flag: 0,
        born_at: Timestamp(0),
        born_host: host,
        store_host: host,
        reconsume: 0,
        prepared: LogOffset(0),
        body: &[b'x'; 100],
        properties: properties.as_bytes(),
    }
}

/// How long this thread has had a processor.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says it");
    let nanos = text.split(' ').next().and_then(|text| text.parse().ok()).expect("a number");
    Duration::from_nanos(nanos)
}
