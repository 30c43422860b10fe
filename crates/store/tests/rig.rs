// SPDX-License-Identifier: Apache-2.0
//! A store on a simulated disk with a clock that stands still, and short words for what tests do all the time.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use protocol::filter::Filter;
use protocol::names::{LogOffset, QueueId, QueueOffset, TopicName};
use protocol::record::{Message, Record, iterate};
use stdx::{Clock, Timestamp};
use store::disk::Disk;
use store::{
    AppendError, Appended, ArenaShape, Draft, Durability, OpenError, QueueRef, Read, ReadError, ReadLimit,
    Settled, Store, StoreConfig,
};

/// A clock that moves when it is told to. It never wakes anyone: tests poll again.
pub(crate) struct StillClock(AtomicI64);

impl StillClock {
    pub(crate) fn new() -> Arc<StillClock> {
        Arc::new(StillClock(AtomicI64::new(1_700_000_000_000)))
    }

    pub(crate) fn forward(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
    fn wake_at(&self, _at: Timestamp, _waker: Waker) -> u64 {
        0
    }
    fn cancel(&self, _at: Timestamp, _ticket: u64) {}
}

pub(crate) const DIR: &str = "/data";
/// Whole blocks, so that some of the log is written past the system's memory.
pub(crate) const SEGMENT: u64 = 8192;

/// Small enough that a few messages fill a stage, and a few stages a segment.
pub(crate) fn small(durability: Durability) -> StoreConfig {
    let mut config = StoreConfig::new(DIR);
    config.stage_dir = Some("/memory".into());
    config.max_message = 1024;
    config.stage_size = 4096;
    config.segment_size = SEGMENT;
    (config.direct_min, config.page_cache) = (4096, 8192);
    config.stages_max = 3;
    config.durability = durability;
    config.arena = ArenaShape { top_class: 8, first_blocks: 1, max_blocks: 4 };
    config
}

pub(crate) fn open(disk: &dyn CloneDisk, config: StoreConfig) -> Result<Arc<Store>, OpenError> {
    open_at(disk, config, StillClock::new())
}

pub(crate) fn open_at(
    disk: &dyn CloneDisk,
    config: StoreConfig,
    clock: Arc<StillClock>,
) -> Result<Arc<Store>, OpenError> {
    Store::open(config, disk.shared(), clock).map(Arc::new)
}

/// A disk that can be handed to a store and kept.
pub(crate) trait CloneDisk {
    fn shared(&self) -> Arc<dyn Disk>;
}

impl<D: Disk + Clone> CloneDisk for D {
    fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::stored(name)
}

pub(crate) fn message<'a>(
    topic: &'a TopicName,
    queue: u32,
    body: &'a [u8],
    properties: &'a [u8],
) -> Message<'a> {
    let host: SocketAddr = "127.0.0.1:10911".parse().unwrap();
    Message {
        topic,
        queue: QueueId(queue),
        flag: 0,
        sys_flag: 0,
        born_at: Timestamp(1),
        born_host: host,
        store_host: host,
        reconsume: 0,
        prepared: LogOffset(0),
        body,
        properties,
    }
}

pub(crate) fn append(store: &Store, name: &str, queue: u32, body: &[u8]) -> Result<Appended, AppendError> {
    append_all(store, name, queue, &[body])
}

pub(crate) fn append_all(
    store: &Store,
    name: &str,
    queue: u32,
    bodies: &[&[u8]],
) -> Result<Appended, AppendError> {
    let topic = topic(name);
    let handle = store.queue(&topic, QueueId(queue)).unwrap();
    let drafts: Vec<_> = bodies
        .iter()
        .map(|body| Draft { queue: &handle, message: message(&topic, queue, body, b"") })
        .collect();
    store.append(&drafts)
}

pub(crate) fn append_tagged(store: &Store, name: &str, tag: &str, body: &[u8]) -> Appended {
    let topic = topic(name);
    let queue = store.queue(&topic, QueueId(0)).unwrap();
    let properties = format!("TAGS\u{1}{tag}\u{2}");
    let message = message(&topic, 0, body, properties.as_bytes());
    store.append(&[Draft { queue: &queue, message }]).unwrap()
}

/// Appends inner batches; the store believes how many messages are in them.
pub(crate) fn append_batches(
    store: &Store,
    name: &str,
    batches: &[(u64, &[u8])],
) -> Result<Appended, AppendError> {
    let topic = topic(name);
    let handle = store.queue(&topic, QueueId(0)).unwrap();
    let texts: Vec<String> = batches.iter().map(|(count, _)| format!("INNER_NUM\u{1}{count}\u{2}")).collect();
    let drafts: Vec<_> = batches
        .iter()
        .zip(&texts)
        .map(|((_, body), text)| {
            let message = message(&topic, 0, body, text.as_bytes());
            Draft { queue: &handle, message: Message { sys_flag: protocol::inner::FLAGS, ..message } }
        })
        .collect();
    store.append(&drafts)
}

/// Appends a message that lists light queues.
pub(crate) fn append_light(
    store: &Store,
    name: &str,
    list: &str,
    bodies: &[&[u8]],
) -> Result<Appended, AppendError> {
    let topic = topic(name);
    let handle = store.queue(&topic, QueueId(0)).unwrap();
    let properties = format!("INNER_MULTI_DISPATCH\u{1}{list}\u{2}");
    let drafts: Vec<_> = bodies
        .iter()
        .map(|body| Draft { queue: &handle, message: message(&topic, 0, body, properties.as_bytes()) })
        .collect();
    store.append_light(&drafts)
}

/// What a light queue holds: offsets, with the bodies of the records that lie there.
pub(crate) fn light_bodies(store: &Store, name: &str) -> Vec<(u64, Vec<u8>)> {
    let Some(queue) = store.find_queue(name, QueueId(0)) else { return Vec::new() };
    let record = |offset: u64| {
        let entry = *store.entries(&queue, QueueOffset(offset), 1).first().unwrap();
        // A drive that lied may have lost it.
        let bytes = if entry.is_hole() { None } else { store.record_at(entry.log).unwrap() }?;
        let record = Record::parse(&bytes).unwrap();
        let list = (record.property("INNER_MULTI_DISPATCH"), record.property("INNER_MULTI_QUEUE_OFFSET"));
        let mut places = list.0.unwrap().split(',').zip(list.1.unwrap().split(','));
        let place = places.find(|(known, _)| *known == name).map(|(_, offset)| offset.parse().unwrap());
        assert_eq!(place, Some(offset), "{name}: the record says where it is");
        Some((offset, record.body().to_vec()))
    };
    (queue.first().0..queue.dispatched().0).filter_map(record).collect()
}

/// Does everything that loops would do, until nothing is left to do.
pub(crate) fn run(store: &Store) {
    while store.drain_step() > 0 {}
    store.prepare_step();
    store.flush_step();
    while store.dispatch_step(64, &mut Vec::new()) > 0 {}
}

pub(crate) fn settled(store: &Store, end: LogOffset) -> Option<Settled> {
    let future = pin!(store.settled(end, Timestamp(i64::MAX)));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(settled) => Some(settled),
        Poll::Pending => None,
    }
}

pub(crate) fn read_from(store: &Arc<Store>, name: &str, queue: u32, from: u64, filter: &Filter) -> Read {
    let limit = ReadLimit { messages: 32, bytes: 1 << 20 };
    let handle = store.queue(&topic(name), QueueId(queue)).unwrap();
    read(store, &handle, QueueOffset(from), limit, filter)
}

/// Reads at once or, when the device has to be asked, as the broker does.
pub(crate) fn read(
    store: &Arc<Store>,
    queue: &QueueRef,
    from: QueueOffset,
    limit: ReadLimit,
    filter: &Filter,
) -> Read {
    match store.read(queue, from, limit, filter) {
        Err(ReadError::Cold) => {
            let mut answer = pin!(store.read_cold(queue, from, limit, filter));
            loop {
                store.reader_step();
                if let Poll::Ready(found) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    return found.unwrap();
                }
                // The store's own threads have it.
                std::thread::yield_now();
            }
        }
        found => found.unwrap(),
    }
}

/// All records of a queue as (queue offset, body), in order.
pub(crate) fn read_all(store: &Arc<Store>, name: &str, queue: u32) -> Vec<(u64, Vec<u8>)> {
    let records = walk(store, name, queue, true);
    records.into_iter().map(|(offset, _, body)| (offset, body)).collect()
}

/// The same with how many offsets each takes, also from a drive that lied.
pub(crate) fn read_records(store: &Arc<Store>, name: &str, queue: u32) -> Vec<(u64, u64, Vec<u8>)> {
    walk(store, name, queue, false)
}

fn walk(store: &Arc<Store>, name: &str, queue: u32, is_whole: bool) -> Vec<(u64, u64, Vec<u8>)> {
    let Some(handle) = store.find_queue(name, QueueId(queue)) else { return Vec::new() };
    let limit = ReadLimit { messages: 7, bytes: 1 << 20 };
    let mut all = Vec::new();
    let mut at = handle.first();
    loop {
        match read(store, &handle, at, limit, &Filter::All) {
            Read::Found(batch) => {
                let before = all.len();
                batch.slices.iter().for_each(|slice| all.extend(records(slice)));
                let messages: u64 = all[before..].iter().map(|(_, count, _)| count).sum();
                assert!(messages == batch.count as u64 || !is_whole, "{messages} are not {}", batch.count);
                assert_eq!(batch.slices.iter().map(Bytes::len).sum::<usize>(), batch.bytes);
                at = batch.next;
            }
            Read::Filtered { next, .. } => at = next,
            Read::AtTail(_) => return all,
            Read::Beyond(bounds) => panic!("{at} is not in {bounds:?}"),
        }
    }
}

pub(crate) fn bodies(slice: &[u8]) -> Vec<(u64, Vec<u8>)> {
    records(slice).into_iter().map(|(offset, _, body)| (offset, body)).collect()
}

fn records(slice: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
    let look = |record: Record<'_>| {
        record.verify_crc().unwrap();
        (record.queue_offset().0, protocol::inner::taken(&record), record.body().to_vec())
    };
    iterate(slice).map(|record| look(record.unwrap())).collect()
}

pub(crate) fn log_file(base: u64) -> std::path::PathBuf {
    Path::new(DIR).join("commitlog").join(format!("{base:020}"))
}
