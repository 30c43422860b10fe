// SPDX-License-Identifier: Apache-2.0
//! What each step of the store costs by itself, on one thread: `cargo bench -p store --bench log [-- FILTER]`. Nothing is
//! asserted. What threads and the device add is measured by the examples beside this (`append`, `dispatch`).

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use protocol::filter::Filter;
use protocol::names::{LogOffset, QueueId, QueueOffset, TopicName};
use protocol::record::Message;
use stdx::{SystemClock, Timestamp};
use store::disk::FileDisk;
use store::{Draft, QueueRef, Read, ReadLimit, Store, StoreConfig};

const BODY: [u8; 1024] = [b'x'; 1024];
const PROPERTIES: &str = "UNIQ_KEY\u{1}7F0000010000123400000000000004D2\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}\
    MSG_REGION\u{1}DefaultRegion\u{2}TRACE_ON\u{1}true\u{2}CLUSTER\u{1}DefaultCluster\u{2}";
/// Messages between two times that the log is written down, outside of what is measured.
const TOGETHER: usize = 64;

/// A store without threads, and one of its queues.
struct Rig {
    store: Store,
    queue: QueueRef,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Rig {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(StoreConfig::new(dir.path()), Arc::new(FileDisk), SystemClock::new())
            .expect("the store opens");
        let queue = store.queue(&TopicName::stored("orders"), QueueId(0)).expect("the first queue");
        Rig { store, queue, dir }
    }

    fn draft(&self) -> Draft<'_> {
        let host = "127.0.0.1:10911".parse().expect("an address");
        let key = self.queue.key();
        let message = Message {
            topic: &key.topic,
            queue: key.queue,
            flag: 0,
            sys_flag: 0,
            born_at: Timestamp(1_700_000_000_000),
            born_host: host,
            store_host: host,
            reconsume: 0,
            prepared: LogOffset(0),
            body: &BODY,
            properties: PROPERTIES.as_bytes(),
        };
        Draft { queue: &self.queue, message }
    }

    fn append(&self, drafts: &[Draft<'_>]) {
        black_box(self.store.append(drafts).expect("there is room"));
    }

    fn dispatch(&self) {
        let mut arrivals = Vec::new();
        while self.store.dispatch_step(256, &mut arrivals) > 0 {
            arrivals.clear();
        }
    }

    /// Writes everything down and makes room for as much again.
    fn settle(&self) {
        self.dispatch();
        while self.store.drain_step() > 0 {}
        self.store.prepare_step();
    }

    /// Measures `work`, which stores [`TOGETHER`] messages or makes them visible, as often as criterion wants.
    fn measured(&self, rounds: u64, mut before: impl FnMut(), mut work: impl FnMut()) -> Duration {
        let mut took = Duration::ZERO;
        for _ in 0..rounds {
            before();
            let began = Instant::now();
            work();
            took += began.elapsed();
            self.settle();
        }
        took
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.store.close();
        assert!(self.dir.path().exists(), "nobody else removes it");
    }
}

fn append(c: &mut Criterion) {
    let rig = Rig::new();
    let one = [rig.draft()];
    let many = [rig.draft(); TOGETHER];
    let mut group = c.benchmark_group("append");
    group.bench_function("64 messages of 1 KiB, one by one", |b| {
        b.iter_custom(|rounds| rig.measured(rounds, || {}, || (0..TOGETHER).for_each(|_| rig.append(&one))));
    });
    group.bench_function("64 messages of 1 KiB, at once", |b| {
        b.iter_custom(|rounds| rig.measured(rounds, || {}, || rig.append(&many)));
    });
    group.finish();
}

fn dispatch(c: &mut Criterion) {
    let rig = Rig::new();
    let many = [rig.draft(); TOGETHER];
    c.bench_function("dispatch/64 messages of 1 KiB", |b| {
        b.iter_custom(|rounds| rig.measured(rounds, || rig.append(&many), || rig.dispatch()));
    });
}

fn read(c: &mut Criterion) {
    let rig = Rig::new();
    rig.append(&[rig.draft(); TOGETHER]);
    rig.settle();
    let limit = ReadLimit { messages: 32, bytes: 1 << 20 };
    let mut group = c.benchmark_group("read");
    for (name, filter) in [
        ("32 messages", Filter::All),
        ("32 messages with a tag", Filter::parse("TAG", "TagA").expect("a filter")),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| match rig.store.read(&rig.queue, QueueOffset(0), limit, &filter) {
                Ok(Read::Found(batch)) => batch.count,
                other => panic!("{other:?}"),
            });
        });
    }
    group.finish();
}

/// Short, because each round writes to the disk.
fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
}

criterion_group! { name = benches; config = short(); targets = append, dispatch, read }
criterion_main!(benches);
