// SPDX-License-Identifier: Apache-2.0
//! Measures the append path alone: threads that append, the store's own loops, a dispatch loop, nothing else.
//! `cargo run --release -p store --example append -- [dir] [threads] [body bytes] [seconds] [memory|disk] [keep]`
//! A directory that a killed run left is opened as it is, which shows how long recovery takes.
//! Prints nanoseconds an append, appends a second, and how the time of single appends is spread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use protocol::names::{LogOffset, QueueId, TopicName};
use protocol::record::Message;
use stdx::{SystemClock, Threads, Timestamp};
use store::disk::FileDisk;
use store::{AppendError, Draft, Durability, Store, StoreConfig};

struct Args {
    dir: String,
    threads: usize,
    body: usize,
    seconds: u64,
    durability: Durability,
    keep: bool,
}

fn args() -> Args {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or: u64| given.get(at).and_then(|text| text.parse().ok()).unwrap_or(or);
    Args {
        dir: given.first().cloned().unwrap_or_else(|| "/dev/shm/kiruna-append".to_owned()),
        threads: number(1, 2) as usize,
        body: number(2, 1024) as usize,
        seconds: number(3, 5),
        durability: if given.get(4).is_some_and(|text| text == "disk") {
            Durability::Disk
        } else {
            Durability::Memory
        },
        keep: given.get(5).is_some_and(|text| text == "keep"),
    }
}

fn main() {
    let args = args();
    let mut config = StoreConfig::new(&args.dir);
    config.durability = args.durability;
    if !args.keep {
        config.retention.reserved = Duration::ZERO;
        config.retention.delete_when = Vec::new();
        config.retention.pace = Duration::from_millis(10);
    }
    let began = Instant::now();
    let store =
        Store::open(config, Arc::new(FileDisk), SystemClock::new()).expect("the directory can be opened");
    println!("opened in {:?}: {:?}", began.elapsed(), store.opened());
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
    measure(&args, &store);
    loops.join();
    store.close();
    std::fs::remove_dir_all(&args.dir).expect("the directory is ours");
}

fn measure(args: &Args, store: &Arc<Store>) {
    let over = Arc::new(AtomicBool::new(false));
    let busy = Arc::new(AtomicU64::new(0));
    let mut workers = Threads::default();
    let (sender, results) = std::sync::mpsc::channel();
    let began = Instant::now();
    for number in 0..args.threads {
        let (store, over, busy, sender) = (store.clone(), over.clone(), busy.clone(), sender.clone());
        let body = vec![b'x'; args.body];
        workers
            .spawn(&format!("append-{number}"), move |_| {
                let _ = sender.send(append_until(&store, number as u32, &body, &over, &busy));
            })
            .expect("a thread starts");
    }
    drop(sender);
    workers.stop_flag().wait(Duration::from_secs(args.seconds));
    over.store(true, Ordering::Relaxed);
    let mut spread = vec![0u64; BUCKETS];
    let mut cpu = Duration::ZERO;
    for (counts, time) in results {
        cpu += time;
        spread.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let took = began.elapsed();
    let count: u64 = spread.iter().sum();
    let each = took.as_nanos() as f64 * args.threads as f64 / count as f64;
    println!(
        "{} threads, {} byte bodies, {:?}: {:.2} M appends/s, {each:.0} ns each ({} ns of CPU), {} times busy",
        args.threads,
        args.body,
        args.durability,
        count as f64 / took.as_secs_f64() / 1e6,
        cpu.as_nanos() / u128::from(count.max(1)),
        busy.load(Ordering::Relaxed)
    );
    for part in [0.5, 0.99, 0.999, 0.9999, 0.99999, 1.0] {
        println!("  p{:<7} {:>12?}", part * 100.0, Duration::from_nanos(quantile(&spread, count, part)));
    }
    println!("  {:?} segments, poisoned: {:?}", store.usage().segments, store.poisoned());
}

/// Buckets of an eighth of a power of two.
const BUCKETS: usize = 40 * 8;

fn bucket(nanos: u64) -> usize {
    let log = 63 - (nanos | 8).leading_zeros() as usize;
    (log * 8 + ((nanos >> (log - 3)) & 7) as usize).min(BUCKETS - 1)
}

fn quantile(spread: &[u64], count: u64, part: f64) -> u64 {
    let mut left = (count as f64 * part) as u64;
    for (index, in_bucket) in spread.iter().enumerate() {
        if left <= *in_bucket && *in_bucket > 0 {
            return (8 + index as u64 % 8 + 1) << (index / 8).saturating_sub(3);
        }
        left = left.saturating_sub(*in_bucket);
    }
    0
}

fn append_until(
    store: &Store,
    number: u32,
    body: &[u8],
    over: &AtomicBool,
    busy: &AtomicU64,
) -> (Vec<u64>, Duration) {
    let topic = TopicName::stored("bench");
    let queue = store.queue(&topic, QueueId(number)).expect("there is room for a queue");
    let host: SocketAddr = "127.0.0.1:10911".parse().expect("an address");
    let message = Message {
        topic: &topic,
        queue: QueueId(number),
        flag: 0,
        sys_flag: 0,
        born_at: Timestamp(0),
        born_host: host,
        store_host: host,
        reconsume: 0,
        prepared: LogOffset(0),
        body,
        properties: b"UNIQ_KEY\x017F000001000018B4AAC20000000000A7\x02TAGS\x01a\x02",
    };
    let mut spread = vec![0; BUCKETS];
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        match store.append(&[Draft { queue: &queue, message }]) {
            Ok(_) => spread[bucket(began.elapsed().as_nanos() as u64)] += 1,
            Err(AppendError::Busy { .. }) => {
                busy.fetch_add(1, Ordering::Relaxed);
                let drained = &store.watermarks().drained;
                drained.wait_past(drained.get(), Duration::from_millis(5));
            }
            Err(e) => panic!("{e}"),
        }
    }
    (spread, cpu_time())
}

/// What the calling thread has run so far, by the kernel's account.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
