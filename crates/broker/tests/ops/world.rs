// SPDX-License-Identifier: Apache-2.0
//! A broker whose loops run only when the test says so. `kill` is what `kill -9` leaves: nothing is closed.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use broker::ops::pull::{Outcome, PullInput, PullRefused, Pulled};
use broker::ops::send::{SendInput, SendRefused, Sent};
use broker::topics::Template;
use broker::{Broker, BrokerConfig, Wake};
use bytes::Bytes;
use parking_lot::Mutex;
use protocol::names::{ByteStr, Group, QueueId, QueueOffset, TopicName};
use protocol::record;
use stdx::{Clock, Timestamp};
use store::disk::FileDisk;
use store::{Store, StoreConfig};
use tempfile::TempDir;

/// A clock that stands still until it is turned.
pub(crate) struct HandClock(Mutex<Hands>);

struct Hands {
    now: Timestamp,
    wakers: BTreeMap<(Timestamp, u64), Waker>,
    next: u64,
}

impl HandClock {
    fn new(now: Timestamp) -> Arc<HandClock> {
        Arc::new(HandClock(Mutex::new(Hands { now, wakers: BTreeMap::new(), next: 0 })))
    }

    fn turn(&self, time: Duration) {
        let mut hands = self.0.lock();
        hands.now = hands.now + time;
        let limit = (Timestamp(hands.now.0 + 1), 0);
        let later = hands.wakers.split_off(&limit);
        let due = std::mem::replace(&mut hands.wakers, later);
        drop(hands);
        due.into_values().for_each(Waker::wake);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        self.0.lock().now
    }
    fn wake_at(&self, at: Timestamp, waker: Waker) -> u64 {
        let mut hands = self.0.lock();
        hands.next += 1;
        let ticket = hands.next;
        hands.wakers.insert((at, ticket), waker);
        ticket
    }
    fn cancel(&self, at: Timestamp, ticket: u64) {
        self.0.lock().wakers.remove(&(at, ticket));
    }
}

pub(crate) const T0: Timestamp = Timestamp(1_700_000_000_000);

pub(crate) struct World {
    dir: TempDir,
    pub(crate) config: BrokerConfig,
    pub(crate) store_config: StoreConfig,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) store: Arc<Store>,
    pub(crate) broker: Arc<Broker>,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(|_, _| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut BrokerConfig, &mut StoreConfig)) -> World {
        let dir = TempDir::new().expect("a temporary directory");
        let mut store_config = StoreConfig::new(dir.path().join("data"));
        // How full the disk of whoever tests is says nothing.
        let retention = &mut store_config.retention;
        (retention.clean_ratio, retention.force_ratio) = (2.0, 2.0);
        (retention.refuse_ratio, retention.resume_ratio) = (2.0, 2.0);
        store_config.stage_dir = Some(dir.path().join("stages"));
        store_config.segment_size = 16 << 20;
        let mut config = BrokerConfig::default();
        change(&mut config, &mut store_config);
        let clock = HandClock::new(T0);
        let (store, broker) = open(&config, &store_config, &clock);
        World { dir, config, store_config, clock, store, broker }
    }

    /// Ends the process without a word and starts it again.
    pub(crate) fn kill(self) -> World {
        self.kill_and(|| {})
    }

    /// The same, with something that happens before it is started again.
    pub(crate) fn kill_and(self, meanwhile: impl FnOnce()) -> World {
        let World { dir, config, store_config, clock, store, broker } = self;
        drop((store, broker));
        meanwhile();
        let (store, broker) = open(&config, &store_config, &clock);
        World { dir, config, store_config, clock, store, broker }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Turns the clock; no loop runs.
    pub(crate) fn clock_forward(&self, time: Duration) {
        self.clock.turn(time);
    }

    /// Turns the clock back; no loop runs.
    pub(crate) fn clock_back(&self, time: Duration) {
        let mut hands = self.clock.0.lock();
        hands.now = Timestamp(hands.now.0 - time.as_millis() as i64);
    }

    /// Turns the clock and lets every loop do what it finds.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.turn(time);
        self.steps();
    }

    /// Lets every loop but the upkeep run until it has nothing to do now.
    pub(crate) fn steps(&self) {
        let now = self.now();
        let due = |wake: Wake| matches!(wake, Wake::Now) || matches!(wake, Wake::At(at) if at <= now);
        loop {
            let mut busy = due(self.broker.dispatch_step(now));
            busy |= due(self.broker.delay_step(now));
            busy |= due(self.broker.checks_step(now));
            busy |= due(self.broker.timer_step(now));
            busy |= due(self.broker.arrivals_step(now));
            if !busy {
                break;
            }
        }
    }

    /// Lets two hours pass and the segments go that begin at or before `place` in the log, in a world that keeps them for one.
    pub(crate) fn outlive(&self, place: u64) {
        let filler = "x".repeat(64 << 10);
        for _ in 0..300 {
            self.put("filler", 0, &[], &filler);
        }
        self.clock_forward(Duration::from_secs(2 * 3600));
        self.put("filler", 0, &[], "young");
        self.store.checkpoint_step(true);
        for _ in 0..12 {
            self.store.retain_on_demand();
            self.steps();
            self.store.checkpoint_step(true);
        }
        assert!(self.store.watermarks().start.get() > place, "what lay there is gone");
    }

    /// Runs an operation that must not wait for longer than the loops need.
    pub(crate) fn finish<F: Future>(&self, operation: F) -> F::Output {
        let mut operation = pin!(operation);
        for _ in 0..1000 {
            if let Poll::Ready(out) = poll(operation.as_mut()) {
                return out;
            }
            self.steps();
            self.store.flush_step();
            self.store.reader_step();
            std::thread::yield_now();
        }
        panic!("the operation waits");
    }

    pub(crate) fn send(&self, input: SendInput) -> Result<Sent, SendRefused> {
        let sent = self.finish(self.broker.send(input, self.now()));
        self.steps();
        sent
    }

    /// Sends a plain message and returns its queue offset.
    pub(crate) fn put(&self, topic: &str, queue: u32, properties: &[(&str, &str)], body: &str) -> u64 {
        self.send(input(topic, queue, properties, body)).expect("it is stored").queue_offset.0
    }

    pub(crate) fn pull(&self, input: PullInput) -> Result<Pulled, PullRefused> {
        self.finish(self.broker.pull(input, self.now()))
    }

    /// Pulls without waiting; the outcome in one line, the bodies of what was found.
    pub(crate) fn look(&self, topic: &str, queue: u32, from: u64) -> String {
        show(self.pull(pull_input(topic, queue, from)))
    }

    /// All bodies of a queue, from its beginning.
    pub(crate) fn bodies(&self, topic: &str, queue: u32) -> Vec<String> {
        self.records(topic, queue).into_iter().map(|record| record.body).collect()
    }

    /// All messages of a queue, from its beginning.
    pub(crate) fn records(&self, topic: &str, queue: u32) -> Vec<Seen> {
        let mut all = Vec::new();
        let mut from = 0;
        loop {
            let input = PullInput { messages: 100, ..pull_input(topic, queue, from) };
            match self.pull(input).expect("it is readable") {
                Pulled { outcome: Outcome::Found(batch), next, .. } => {
                    all.extend(batch.slices.iter().flat_map(|slice| seen(slice)));
                    from = next.0;
                }
                _ => return all,
            }
        }
    }
}

/// What a test wants to see of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) topic: String,
    pub(crate) queue: u32,
    pub(crate) offset: u64,
    pub(crate) log: u64,
    pub(crate) reconsumed: i32,
    pub(crate) stored_at: Timestamp,
    pub(crate) body: String,
    pub(crate) properties: BTreeMap<String, String>,
}

impl Seen {
    pub(crate) fn property(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }
}

pub(crate) fn seen(bytes: &[u8]) -> Vec<Seen> {
    let look = |record: record::Record<'_>| Seen {
        topic: record.topic().to_owned(),
        queue: record.queue().0,
        offset: record.queue_offset().0,
        log: record.log_offset().0,
        reconsumed: record.reconsume(),
        stored_at: record.stored_at(),
        body: String::from_utf8_lossy(record.body()).into_owned(),
        properties: record.each_property().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    };
    record::iterate(bytes).map(|record| look(record.expect("a whole record"))).collect()
}

fn open(
    config: &BrokerConfig,
    store_config: &StoreConfig,
    clock: &Arc<HandClock>,
) -> (Arc<Store>, Arc<Broker>) {
    let store =
        Store::open(store_config.clone(), Arc::new(FileDisk), clock.clone()).expect("the store opens");
    let store = Arc::new(store);
    let broker = Broker::open(config.clone(), store.clone(), clock.clone()).expect("the broker opens");
    (store, broker)
}

pub(crate) fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub(crate) fn text(properties: &[(&str, &str)]) -> String {
    properties.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect()
}

pub(crate) fn input(topic: &str, queue: u32, properties: &[(&str, &str)], body: &str) -> SendInput {
    SendInput {
        topic: TopicName::stored(topic),
        queue: Some(QueueId(queue)),
        template: Template { topic: Some(TopicName::stored("TBW102")), queues: 4, sys_flag: 0 },
        flag: 7,
        sys_flag: 0,
        born_at: T0,
        born_host: address("10.0.0.9:5000"),
        store_host: address("127.0.0.1:10911"),
        reconsumed: 0,
        reconsume_max: None,
        properties: ByteStr::from(text(properties)),
        body: Bytes::copy_from_slice(body.as_bytes()),
        batch: false,
    }
}

pub(crate) fn pull_input(topic: &str, queue: u32, from: u64) -> PullInput {
    PullInput {
        group: Group::stored("g"),
        topic: TopicName::stored(topic),
        queue: QueueId(queue),
        from: Some(QueueOffset(from)),
        messages: 32,
        bytes: None,
        wait: None,
        commit: None,
        filter: Some((ByteStr::from("TAG"), ByteStr::from("*"))),
        kind: None,
        sub_version: 0,
        connection: 1,
        lite: false,
    }
}

pub(crate) fn show(pulled: Result<Pulled, PullRefused>) -> String {
    let pulled = match pulled {
        Ok(pulled) => pulled,
        Err(refused) => return format!("refused: {refused}"),
    };
    let what = match &pulled.outcome {
        Outcome::Found(batch) => {
            let bodies: Vec<String> =
                batch.slices.iter().flat_map(|slice| seen(slice)).map(|record| record.body).collect();
            format!("found {}", bodies.join(" "))
        }
        other => format!("{other:?}"),
    };
    format!("{what}, next {} of {}..{}", pulled.next, pulled.first, pulled.end)
}
