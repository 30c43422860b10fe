// SPDX-License-Identifier: Apache-2.0
//! The views against a plain model of the log: a story appends records as the store would, feeds the views, crashes,
//! reopens, retains, and says what must be there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use protocol::names::{LogOffset, QueueId, QueueOffset, TIMER_TOPIC, TopicName};
use protocol::record::{self, Message, Record};
use stdx::Timestamp;

use super::load::ViewsOpened;
use super::verify::Difference;
use super::{Views, ViewsConfig};
use crate::arena::ArenaShape;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::facts::{FACTS_TOPIC, FactChange, FactKind, change};
use crate::queue::{Boundary, Entry};
use crate::timer::{Slot, hop};

mod crash;
mod damage;
mod format;
mod inner;
mod light;
mod model;
mod scale;
mod table;

/// Where the log of every story starts, so that offset 0 is nothing special.
const LOG_START: u64 = 4096;

/// A log in memory, and the views that follow it.
struct Story {
    disk: SimDisk,
    config: ViewsConfig,
    views: Option<Views>,
    /// What was appended, by log offset; damage may take some out.
    log: BTreeMap<u64, Vec<u8>>,
    /// Every change of the record list that the model needs, in order.
    end: u64,
    first: u64,
    now: i64,
}

/// What must be found in one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ModelQueue {
    first: u64,
    entries: BTreeMap<u64, Entry>,
    end: u64,
}

#[derive(Debug, Default)]
struct Model {
    queues: BTreeMap<(String, u32), ModelQueue>,
    facts: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    /// Topic and key, with the records that carry it, oldest first.
    keys: BTreeMap<(String, String), Vec<u64>>,
    /// When what waits at a log offset is due, and for which topic.
    timers: BTreeMap<u64, (i64, String)>,
}

fn small(dir: &str) -> ViewsConfig {
    ViewsConfig {
        arena: ArenaShape { top_class: 8, first_blocks: 1, max_blocks: 2 },
        run_entries: 8,
        delta_bytes: 600,
        ..ViewsConfig::new(dir)
    }
}

impl Story {
    fn new(disk: SimDisk) -> Story {
        let mut story = Story {
            disk,
            config: small("/views"),
            views: None,
            log: BTreeMap::new(),
            end: LOG_START,
            first: LOG_START,
            now: 1_000_000,
        };
        story.open();
        story.views().go_live();
        story
    }

    fn views(&self) -> &Views {
        self.views.as_ref().expect("the story has opened its views")
    }

    fn open(&mut self) -> ViewsOpened {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let (views, opened) = Views::open(self.config.clone(), &disk, LogOffset(self.first)).unwrap();
        self.views = Some(views);
        opened
    }

    /// Opens on what a crash left and replays the log from where the checkpoint ends.
    fn reopen(&mut self, disk: SimDisk) -> ViewsOpened {
        self.disk = disk;
        let opened = self.open();
        self.replay(opened.resume.0);
        opened
    }

    fn replay(&self, from: u64) {
        for (&at, bytes) in self.log.range(from..) {
            let record = Record::parse(bytes).unwrap();
            self.views().apply(&record, LogOffset(at), None).unwrap();
        }
        self.views().go_live();
        self.views().check().unwrap();
    }

    /// Appends a record as the sequencer would, and dispatches it.
    fn send(&mut self, topic: &str, queue: u32, properties: &str) -> u64 {
        self.try_send(topic, queue, properties, b"body").unwrap()
    }

    fn try_send(
        &mut self,
        topic: &str,
        queue: u32,
        properties: &str,
        body: &[u8],
    ) -> Result<u64, super::ViewError> {
        let at = self.append(topic, queue, properties, body);
        self.dispatch(at)
    }

    fn dispatch(&self, at: u64) -> Result<u64, super::ViewError> {
        let record = Record::parse(&self.log[&at]).unwrap();
        self.views().apply(&record, LogOffset(at), None)?;
        Ok(at)
    }

    /// Appends without dispatch.
    fn append(&mut self, topic: &str, queue: u32, properties: &str, body: &[u8]) -> u64 {
        self.append_after(None, topic, queue, properties, body)
    }

    /// Appends a record that ends or replaces the one at `origin`.
    fn append_after(
        &mut self,
        origin: Option<u64>,
        topic: &str,
        queue: u32,
        properties: &str,
        body: &[u8],
    ) -> u64 {
        let topic = TopicName::stored(topic);
        let handle = self.views().queue(&topic, QueueId(queue)).unwrap();
        let number = properties.split(';').find_map(|pair| pair.strip_prefix("INNER_NUM="));
        let (count, sys_flag) = number.map_or((1, 0), |number| (number.parse().unwrap(), 0xC0));
        let base = number.map(|_| format!("INNER_BASE={};", handle.next())).unwrap_or_default();
        let properties = format!("{properties}{base}").replace('=', "\x01").replace(';', "\x02");
        let host: SocketAddr = "127.0.0.1:10911".parse().unwrap();
        let message = Message {
            topic: &topic,
            queue: QueueId(queue),
            flag: 0,
            sys_flag,
            born_at: Timestamp(self.now),
            born_host: host,
            store_host: host,
            reconsume: 0,
            prepared: origin.map_or(LogOffset(0), |at| hop::origin_mark(LogOffset(at))),
            body,
            properties: properties.as_bytes(),
        };
        let mut bytes = Vec::new();
        record::encode(&message, &mut bytes).unwrap();
        self.now += 400;
        let at = self.end;
        record::patch(&mut bytes, LogOffset(at), handle.reserve(count), Timestamp(self.now));
        self.end += bytes.len() as u64;
        self.log.insert(at, bytes);
        at
    }

    /// A message waits for a topic, or what waits at `origin` is moved.
    fn wait(&mut self, topic: &str, due: i64, origin: Option<(u64, i64)>) -> u64 {
        let was = origin.map_or(String::new(), |(_, was)| format!("KIRUNA_TIMER_WAS_MS={was};"));
        let text = format!("{was}TIMER_OUT_MS={};TIMER_DELIVER_MS={due};REAL_TOPIC={topic};", due - 1);
        let at = self.append_after(origin.map(|(at, _)| at), TIMER_TOPIC, 0, &text, b"later");
        self.dispatch(at).unwrap()
    }

    /// What waits at `origin` is delivered, or taken back.
    fn end(&mut self, topic: &str, origin: u64, due: i64, is_recalled: bool) -> u64 {
        let text = format!("TIMER_OUT_MS={};TIMER_DELIVER_MS={due};", due - 1);
        let at = match is_recalled {
            false => self.append_after(Some(origin), topic, 0, &text, b"later"),
            true => self.append_after(Some(origin), TIMER_TOPIC, 0, &(text + "TIMER_DEL_UNIQKEY=k;"), b"0"),
        };
        self.dispatch(at).unwrap()
    }

    fn waiting(&self) -> Vec<(i64, u64, String)> {
        let mut all = Vec::new();
        self.views().timers().visit(Slot::FIRST, None, &mut |waiting| {
            all.push((waiting.slot.due.0, waiting.slot.at.0, waiting.topic.to_string()));
            true
        });
        all
    }

    fn put_facts(&mut self, changes: &[FactChange]) -> u64 {
        self.try_send(FACTS_TOPIC, 0, "", &change::encode(changes)).unwrap()
    }

    fn fact(&mut self, key: &str, value: Option<&str>) -> u64 {
        let value = value.map(|value| value.as_bytes().to_vec());
        self.put_facts(&[FactChange { kind: FactKind(16), key: key.as_bytes().to_vec(), value }])
    }

    fn remove_topic(&mut self, topic: &str) {
        self.views().detach_topic(topic);
        self.put_facts(&[FactChange::remove_topic(topic)]);
    }

    fn checkpoint(&self) -> u64 {
        self.views().checkpoint(LogOffset(self.end)).unwrap().0
    }

    /// Moves the log's start as the store does it.
    fn retain(&mut self, first: u64) {
        let changes = self.views().carry(LogOffset(first));
        if !changes.is_empty() {
            self.put_facts(&changes);
        }
        for (due, at, topic) in self.waiting().into_iter().filter(|(_, at, _)| *at < first) {
            self.wait(&topic, due, Some((at, due)));
        }
        self.first = first;
        self.views().retain(LogOffset(first));
    }

    /// Says what the views must hold, from the whole history.
    fn model(&self) -> Model {
        let mut model = Model::default();
        for (&at, bytes) in &self.log {
            let record = Record::parse(bytes).unwrap();
            model.add(at, &record);
        }
        for queue in model.queues.values_mut() {
            let gone = queue.entries.iter().rev().find(|(_, entry)| entry.log.0 < self.first);
            if let Some((&offset, _)) = gone {
                queue.entries = queue.entries.split_off(&(offset + 1));
                queue.first = queue.entries.first_key_value().map_or(queue.end, |(&offset, _)| offset);
            }
        }
        for records in model.keys.values_mut() {
            records.retain(|&at| at >= self.first);
        }
        // What waited there was written again; where damage took that record, the message is gone.
        model.timers.retain(|&at, _| at >= self.first);
        model
    }

    /// Compares everything.
    fn check(&self) {
        let model = self.model();
        self.views().check().unwrap();
        self.check_queues(&model);
        self.check_facts(&model);
        self.check_keys(&model);
        let mut waiting: Vec<(i64, u64, String)> =
            model.timers.iter().map(|(at, (due, topic))| (*due, *at, topic.clone())).collect();
        waiting.sort_unstable();
        assert_eq!(self.waiting(), waiting, "what waits");
    }

    fn check_queues(&self, model: &Model) {
        let views = self.views();
        let found: Vec<(String, u32)> = views
            .list_queues()
            .iter()
            .filter(|queue| queue.dispatched().0 > 0)
            .map(|queue| (queue.key().topic.to_string(), queue.key().queue.0))
            .collect();
        assert_eq!(found, model.queues.keys().cloned().collect::<Vec<_>>(), "the queues that exist");
        for ((topic, number), expected) in &model.queues {
            let queue = views.find_queue(topic, QueueId(*number)).unwrap();
            let bounds = (queue.first().0, queue.dispatched().0, queue.next().0);
            assert_eq!(bounds, (expected.first, expected.end, expected.end), "{topic}/{number}");
            let mut entries = Vec::new();
            views.entries(&queue, QueueOffset(expected.first), usize::MAX, &mut entries);
            let wanted: Vec<Entry> = (expected.first..expected.end)
                .map(|offset| expected.entries.get(&offset).copied().unwrap_or(Entry::HOLE))
                .collect();
            assert_eq!(entries, wanted, "entries of {topic}/{number}");
        }
    }

    fn check_facts(&self, model: &Model) {
        for kind in [16, 17] {
            let found: BTreeMap<Vec<u8>, Vec<u8>> = self
                .views()
                .facts(FactKind(kind))
                .into_iter()
                .map(|(key, value)| (key, value.to_vec()))
                .collect();
            let wanted: BTreeMap<Vec<u8>, Vec<u8>> = model
                .facts
                .iter()
                .filter(|((of, _), _)| *of == kind)
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect();
            assert_eq!(found, wanted, "facts of kind {kind}");
            for (key, value) in wanted {
                assert_eq!(self.views().fact(FactKind(kind), &key).unwrap(), value);
            }
        }
    }

    fn check_keys(&self, model: &Model) {
        for ((topic, key), records) in &model.keys {
            let mut found = self.by_key(topic, key, i64::MIN, i64::MAX);
            found.reverse();
            assert_eq!(&found, records, "records of {topic}#{key}");
        }
    }

    /// Looks a key up and compares the records, as the store does.
    fn by_key(&self, topic: &str, key: &str, from: i64, to: i64) -> Vec<u64> {
        let mut found = Vec::new();
        let mut visit = |at: LogOffset| {
            if let Some(bytes) = self.log.get(&at.0) {
                let record = Record::parse(bytes).unwrap();
                if record.topic() == topic && keys_of(&record).any(|found| found == key) {
                    found.push(at.0);
                }
            }
            ControlFlow::Continue(())
        };
        self.views().by_key(topic, key, Timestamp(from), Timestamp(to), &mut visit).unwrap();
        found
    }

    /// Replays the log that is left into new views and compares with the old ones.
    fn check_rebuilt(&self) {
        self.check_rebuilt_after(false);
    }

    fn check_rebuilt_after(&self, was_damaged: bool) {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(7));
        let config = small("/replayed");
        let (replayed, opened) = Views::open(config, &disk, LogOffset(self.first)).unwrap();
        assert_eq!(opened.resume.0, self.first);
        for (&at, bytes) in self.log.range(self.first..) {
            replayed.apply(&Record::parse(bytes).unwrap(), LogOffset(at), None).unwrap();
        }
        let mut differences = self.views().compare(&replayed, 10).unwrap();
        // Where damage took the only record of a queue that retention had left, the checkpoint alone knows the queue.
        let is_empty = |bounds: &str| bounds.split_once("..").is_some_and(|(first, end)| first == end);
        differences.retain(|difference| match difference {
            Difference::Bounds { found, expected, .. } if was_damaged => {
                expected != "nothing" || !is_empty(found)
            }
            _ => true,
        });
        assert_eq!(differences, []);
    }

    fn offset_by_time(&self, topic: &str, queue: u32, time: i64, boundary: Boundary) -> u64 {
        let queue = self.views().find_queue(topic, QueueId(queue)).unwrap();
        let mut stored_at =
            |at: LogOffset| self.log.get(&at.0).map(|bytes| Record::parse(bytes).unwrap().stored_at());
        self.views().offset_by_time(&queue, Timestamp(time), boundary, &mut stored_at).0
    }
}

fn keys_of<'a>(record: &Record<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    let tokens = record.property("KEYS").unwrap_or("").split(' ').filter(|token| !token.is_empty());
    record.property("UNIQ_KEY").into_iter().chain(tokens)
}

impl Model {
    fn add(&mut self, at: u64, record: &Record<'_>) {
        let name = (record.topic().to_owned(), record.queue().0);
        let queue = self.queues.entry(name).or_default();
        let offset = record.queue_offset().0;
        assert!(offset >= queue.end, "the story never goes back");
        if queue.entries.is_empty() && offset > queue.end {
            queue.first = offset;
        }
        let entry = Entry {
            log: LogOffset(at),
            size: record.len() as u32,
            tag_hash: record.property("TAGS").map_or(0, record::tag_hash),
        };
        let count = record.property("INNER_NUM").map_or(1, |number| number.parse().unwrap());
        queue.end = offset + count;
        queue.entries.extend((offset..queue.end).map(|offset| (offset, entry)));
        for key in keys_of(record) {
            let records = self.keys.entry((record.topic().to_owned(), key.to_owned())).or_default();
            if records.last() != Some(&at) {
                records.push(at);
            }
        }
        if let Some(origin) = record.prepared().0.checked_sub(1) {
            self.timers.remove(&origin);
        }
        if record.topic() == TIMER_TOPIC && record.property("TIMER_DEL_UNIQKEY").is_none() {
            let due = record.property("TIMER_DELIVER_MS").unwrap().parse().unwrap();
            self.timers.insert(at, (due, record.property("REAL_TOPIC").unwrap().to_owned()));
        }
        if record.topic() == FACTS_TOPIC {
            self.add_facts(record.body());
        }
    }

    fn add_facts(&mut self, body: &[u8]) {
        for change in change::decode(body).unwrap() {
            match (change.kind, change.value) {
                (FactKind::REMOVE_TOPIC, _) => {
                    let topic = str::from_utf8(change.key).unwrap();
                    self.queues.retain(|(name, _), _| name != topic);
                }
                (FactKind::QUEUE_NEXT, _) => {}
                (kind, Some(value)) => {
                    self.facts.insert((kind.0, change.key.to_vec()), value.to_vec());
                }
                (kind, None) => {
                    self.facts.remove(&(kind.0, change.key.to_vec()));
                }
            }
        }
    }
}
