// SPDX-License-Identifier: Apache-2.0
//! The topics of this broker: settings, permissions, and the handles of their queues. Called by every operation on
//! a topic; a lookup is one hash and one counted reference. Settings are facts of the log, except for the topics
//! that every broker has, which follow from its configuration.
//! Invariants: a setting is part of the log before anyone sees it; a change raises the version with it, in the same
//! record; a lookup creates nothing.

mod journal;
mod system;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use protocol::body::TopicConfig;
use protocol::data_version::DataVersion;
use protocol::json;
use protocol::kind::{self, Kind};
use protocol::light;
use protocol::names::{AUTO_CREATE_TOPIC, LMQ_PREFIX, NameError, QueueId, TopicName};
use stdx::{Timestamp, Watermark};
use store::{AppendError, FactChange, QueueLimit, QueueRef, Store};

use self::journal::Journal;
use crate::config::BrokerConfig;
use crate::facts;
use crate::rates::{Rates, TopicTraffic};
use crate::room::{NoRoom, Room};

/// Bit of a permission: topics may be made from this one.
pub const INHERIT: i32 = 1;
/// Bit of a permission: messages may be sent.
pub const WRITE: i32 = 2;
/// Bit of a permission: messages may be read.
pub const READ: i32 = 4;

/// The attribute that says for how many milliseconds the messages of a topic are worth being read; ours.
pub(crate) const TTL_ATTRIBUTE: &str = "message.ttl.ms";

/// The queues of a topic whose handles are kept at hand; those beyond are looked up in the store.
const HANDLES_MAX: usize = 1024;

/// All topics of this broker.
pub struct Topics {
    table: RwLock<HashMap<TopicName, Arc<Topic>>>,
    /// Held while a change goes to the log and into the table, so that changes have one order.
    version: Mutex<DataVersion>,
    /// Rises with each change, for whoever registers topics elsewhere.
    changed: Watermark,
    /// What they were.
    journal: Mutex<Journal>,
    /// Light queues are topics that nobody makes.
    light: AtomicBool,
    /// Queues that all topics have together, used or not.
    queues: AtomicUsize,
    room: Arc<Room>,
}

/// One topic as it is set now. A change makes a new one.
pub struct Topic {
    config: TopicConfig,
    /// The latest message of each key is kept for ever. Only a new topic is made so.
    is_compacted: bool,
    handles: Box<[OnceLock<QueueRef>]>,
    turn: AtomicU32,
    traffic: OnceLock<Arc<TopicTraffic>>,
}

/// What an unknown topic is made from.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// The topic whose permission it inherits.
    pub topic: Option<TopicName>,
    /// How many queues the client would like.
    pub queues: u32,
    /// The flags it gets.
    pub sys_flag: i32,
}

/// A topic that is there by now.
pub(crate) struct Found {
    pub(crate) topic: Arc<Topic>,
    /// It was not a moment ago: whoever caused it may look for it at the name servers next.
    pub(crate) is_new: bool,
}

/// Why a topic cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicRefused {
    /// There is no such topic, and it is not made by itself.
    #[error("topic[{topic}] not exist, apply first please!")]
    Missing {
        /// Its name.
        topic: TopicName,
    },
    /// The topic takes no messages.
    #[error("sending to the topic[{topic}] is forbidden: its permission is {permission}")]
    NotWritable {
        /// Its name.
        topic: TopicName,
        /// What it is.
        permission: i32,
    },
    /// The topic gives no messages.
    #[error("the topic[{topic}] pulling message is forbidden: its permission is {permission}")]
    NotReadable {
        /// Its name.
        topic: TopicName,
        /// What it is.
        permission: i32,
    },
    /// The topic belongs to the servers.
    #[error("Sending message to topic[{topic}] is forbidden.")]
    Reserved {
        /// Its name.
        topic: TopicName,
    },
    /// A topic cannot be called that.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// The topic has no such queue.
    #[error("queueId[{}] is illegal, topic:[{topic}] has {queues} queues", queue.0 as i32)]
    NoSuchQueue {
        /// What was asked for.
        queue: QueueId,
        /// How many there are.
        queues: u32,
        /// Of which topic.
        topic: TopicName,
    },
    /// The store has as many queues as it may have.
    #[error(transparent)]
    Queues(#[from] QueueLimit),
    /// Nothing more may be made.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// Its settings did not become part of the log.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Topics {
    /// Reads all settings back and adds the topics that every broker has.
    pub(crate) fn open(store: &Store, config: &BrokerConfig, room: Arc<Room>, now: Timestamp) -> Topics {
        let mut table: HashMap<TopicName, Arc<Topic>> = HashMap::new();
        for (name, value) in store.facts(facts::TOPICS) {
            match json::from_slice::<TopicConfig>(&value) {
                Ok(topic) => drop(table.insert(topic.topic_name.clone(), Arc::new(Topic::new(topic)))),
                Err(error) => {
                    tracing::error!(topic = %String::from_utf8_lossy(&name), %error, "settings are not readable");
                }
            }
        }
        let version = store.fact(facts::VERSIONS, b"topics").and_then(|value| json::from_slice(&value).ok());
        let topics = Topics {
            table: RwLock::new(table),
            version: Mutex::new(version.unwrap_or_else(|| DataVersion::new(now))),
            changed: Watermark::default(),
            journal: Mutex::default(),
            light: AtomicBool::new(true),
            queues: AtomicUsize::new(0),
            room,
        };
        topics.follow(config);
        let queues = topics.table.read().values().map(|topic| queues_of(&topic.config)).sum();
        topics.queues.store(queues, Ordering::Relaxed);
        topics
    }

    /// Adds and removes the topics that follow from the configuration.
    pub(crate) fn follow(&self, config: &BrokerConfig) {
        self.light.store(config.creation.light_queues, Ordering::Relaxed);
        let mut table = self.table.write();
        for topic in system::topics(config) {
            table.entry(topic.topic_name.clone()).or_insert_with(|| Arc::new(Topic::new(topic)));
        }
        if !config.creation.auto_create_topics {
            table.remove(AUTO_CREATE_TOPIC);
        }
        drop(table);
        self.changed_by(Journal::cut);
    }

    /// Looks a topic up. Every light queue is one.
    pub fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.table.read().get(name).cloned().or_else(|| self.light(name))
    }

    /// A light queue as the topic that it is for its readers; nothing of it is kept.
    fn light(&self, name: &str) -> Option<Arc<Topic>> {
        let is_one = self.light.load(Ordering::Relaxed) && light::check(name).is_ok();
        let config = || TopicConfig::new(TopicName::stored(name.to_owned()), 1, READ | WRITE);
        is_one.then(|| Arc::new(Topic::new(config())))
    }

    /// Returns the topic to send to, made from its template when it is unknown.
    pub(crate) fn for_write(
        &self,
        name: &TopicName,
        template: &Template,
        store: &Store,
        now: Timestamp,
    ) -> Result<Found, TopicRefused> {
        let found = match self.get(name) {
            Some(topic) => Found { topic, is_new: false },
            None => Found { topic: self.create_from(name, template, store, now)?, is_new: true },
        };
        if name.is_not_sendable() {
            return Err(TopicRefused::Reserved { topic: name.clone() });
        }
        let permission = found.topic.config.perm;
        if permission & WRITE == 0 {
            return Err(TopicRefused::NotWritable { topic: name.clone(), permission });
        }
        Ok(found)
    }

    /// Has the processor fetch what sends to these places will work on. With many topics nothing of it is in its caches, and
    /// message after message would wait for one piece after the other; so it fetches for many messages at once. What
    /// depends on a piece is looked at when that has been asked for on behalf of all.
    pub(crate) fn bring_near<'a>(&self, places: impl Iterator<Item = (&'a TopicName, QueueId)>) {
        const TOGETHER: usize = 64;
        let table = self.table.read();
        let (mut topics, mut count) = ([None; TOGETHER], 0);
        for ((name, queue), topic) in places.zip(&mut topics) {
            *topic = table.get(name.as_str()).map(|found| (found, queue.0 as usize));
            count += 1;
        }
        let topics = topics[..count].iter().flatten();
        let near = |(topic, _): &(&Arc<Topic>, usize)| topic.config.perm as usize ^ Arc::strong_count(topic);
        std::hint::black_box(topics.clone().map(near).fold(0, |all, one| all ^ one));
        for (topic, queue) in topics {
            let puts = topic.traffic.get().map(|traffic| traffic.puts.count());
            std::hint::black_box(puts);
            topic.handles.get(*queue).and_then(OnceLock::get).inspect(|queue| queue.bring_near());
        }
    }

    /// Returns the topic to read from.
    pub(crate) fn for_read(&self, name: &TopicName) -> Result<Arc<Topic>, TopicRefused> {
        let topic = self.get(name).ok_or_else(|| TopicRefused::Missing { topic: name.clone() })?;
        if topic.config.perm & READ == 0 {
            return Err(TopicRefused::NotReadable { topic: name.clone(), permission: topic.config.perm });
        }
        Ok(topic)
    }

    /// Returns a topic that belongs to a group (retry, dead letters), made with `queues` when it is unknown.
    pub(crate) fn ensure(
        &self,
        config: TopicConfig,
        store: &Store,
        now: Timestamp,
    ) -> Result<Found, TopicRefused> {
        match self.get(&config.topic_name) {
            Some(topic) => Ok(Found { topic, is_new: false }),
            None => Ok(Found { topic: self.put(config, true, store, now)?, is_new: true }),
        }
    }

    /// Sets a topic, new or not.
    pub fn update(
        &self,
        config: TopicConfig,
        store: &Store,
        now: Timestamp,
    ) -> Result<Arc<Topic>, TopicRefused> {
        self.put(config, false, store, now)
    }

    /// Removes a topic with its settings and its messages; false when there was none.
    pub fn remove(&self, name: &TopicName, store: &Store, now: Timestamp) -> Result<bool, TopicRefused> {
        let mut version = self.version.lock();
        // A power cut may have taken the settings and left messages; whoever makes the topic anew is not to find them.
        if self.get(name).is_none() && store.queues_of(name).is_empty() {
            return Ok(false);
        }
        let mut next = *version;
        next.advance(now, 0);
        let gone = FactChange { kind: facts::TOPICS, key: name.as_bytes().to_vec(), value: None };
        // One record: settings without messages, or messages without settings, would outlive a crash in between.
        store.remove_topic(name, &[gone, version_fact(&next)])?;
        let removed = self.table.write().remove(name.as_str());
        self.counted(removed.map_or(0, |topic| queues_of(&topic.config)), 0);
        *version = next;
        self.changed_by(Journal::cut);
        tracing::info!(topic = %name, "topic removed");
        Ok(true)
    }

    /// Returns all topics by name.
    pub fn all(&self) -> Vec<Arc<Topic>> {
        let mut all: Vec<Arc<Topic>> = self.table.read().values().cloned().collect();
        all.sort_by(|one, other| one.name().cmp(other.name()));
        all
    }

    /// Returns the version of the table.
    pub fn version(&self) -> DataVersion {
        *self.version.lock()
    }

    /// Rises with each change.
    pub fn changed(&self) -> &Watermark {
        &self.changed
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.table.read().len()
    }

    /// The topics that changed after so many changes, each once and as it is now; `None` when that is not known.
    pub(crate) fn since(&self, changes: u64) -> Option<Vec<Arc<Topic>>> {
        let journal = self.journal.lock();
        let names = journal.since(changes)?;
        let table = self.table.read();
        Some(names.into_iter().filter_map(|name| table.get(name.as_str()).cloned()).collect())
    }

    /// Notes a change and wakes those who follow.
    fn changed_by(&self, note: impl FnOnce(&mut Journal) -> u64) {
        let count = note(&mut self.journal.lock());
        self.changed.advance(count);
    }

    fn create_from(
        &self,
        name: &TopicName,
        template: &Template,
        store: &Store,
        now: Timestamp,
    ) -> Result<Arc<Topic>, TopicRefused> {
        name.check()?;
        let inherited = template.topic.as_ref().and_then(|topic| self.get(topic));
        let config = match inherited.filter(|source| source.config.perm & INHERIT != 0) {
            Some(source) => TopicConfig {
                topic_filter_type: source.config.topic_filter_type,
                topic_sys_flag: template.sys_flag,
                ..TopicConfig::new(
                    name.detached(),
                    i32::try_from(template.queues).unwrap_or(i32::MAX).min(source.config.write_queue_nums),
                    source.config.perm & !INHERIT,
                )
            },
            None if name.is_retry() => TopicConfig {
                topic_sys_flag: template.sys_flag,
                ..TopicConfig::new(name.detached(), 1, READ | WRITE)
            },
            None => return Err(TopicRefused::Missing { topic: name.clone() }),
        };
        self.put(config, true, store, now)
    }

    /// Puts settings into the log and the table. With `only_new`, a topic that is there meanwhile wins.
    fn put(
        &self,
        config: TopicConfig,
        only_new: bool,
        store: &Store,
        now: Timestamp,
    ) -> Result<Arc<Topic>, TopicRefused> {
        if let Some(light) = self.light(&config.topic_name) {
            // COMPAT: as in Apache, who makes one is told that it is there.
            return Ok(light);
        }
        config.topic_name.check().or_else(|error| {
            // A cluster or a host may be called what a client may not call a topic.
            if self.get(&config.topic_name).is_some() { Ok(()) } else { Err(error) }
        })?;
        let mut version = self.version.lock();
        let known = self.get(&config.topic_name);
        if only_new && let Some(topic) = known {
            return Ok(topic);
        }
        let (before, queues) = (known.as_deref().map(|topic| queues_of(&topic.config)), queues_of(&config));
        self.admit(&config.topic_name, before, queues)?;
        let mut next = *version;
        next.advance(now, 0);
        let key = config.topic_name.as_bytes().to_vec();
        let setting = FactChange { kind: facts::TOPICS, key, value: Some(json::to_vec(&config)) };
        store.put_facts(&[setting, version_fact(&next)])?;
        *version = next;
        tracing::info!(topic = %config.topic_name, queues = config.write_queue_nums, "topic set");
        let topic = Arc::new(Topic::new(config));
        self.table.write().insert(topic.name().clone(), topic.clone());
        self.counted(before.unwrap_or(0), queues);
        self.changed_by(|journal| journal.note(topic.name()));
        Ok(topic)
    }

    /// Says whether a topic that had `before` queues, if it is known, may have `queues`. Where messages go that failed is not
    /// refused: there are at most two such topics for each group.
    fn admit(&self, name: &TopicName, before: Option<usize>, queues: usize) -> Result<(), NoRoom> {
        let is_of_group = name.is_retry() || name.is_dlq();
        if !is_of_group && before.is_none() {
            self.room.admit_topic(self.count())?;
        }
        if !is_of_group && before.is_none_or(|before| queues > before) {
            let others = self.queues.load(Ordering::Relaxed).saturating_sub(before.unwrap_or(0));
            self.room.admit_queues(others.saturating_add(queues))?;
        }
        Ok(())
    }

    /// Notes that a topic has other queues; called by whoever holds the lock of changes.
    fn counted(&self, before: usize, after: usize) {
        let queues = self.queues.load(Ordering::Relaxed);
        self.queues.store(queues.saturating_sub(before).saturating_add(after), Ordering::Relaxed);
    }
}

/// The queues that a topic has for senders or readers.
fn queues_of(config: &TopicConfig) -> usize {
    usize::try_from(config.write_queue_nums.max(config.read_queue_nums)).unwrap_or(0)
}

/// The name under which the traffic of a topic is counted: light queues are too many to count each by itself.
pub(crate) fn counted_as(name: &TopicName) -> Cow<'_, TopicName> {
    if name.is_light() { Cow::Owned(TopicName::stored(LMQ_PREFIX)) } else { Cow::Borrowed(name) }
}

fn version_fact(version: &DataVersion) -> FactChange {
    FactChange { kind: facts::VERSIONS, key: b"topics".to_vec(), value: Some(json::to_vec(version)) }
}

impl Topic {
    fn new(config: TopicConfig) -> Topic {
        let handles = queues_of(&config).min(HANDLES_MAX);
        let handles = (0..handles).map(|_| OnceLock::new()).collect();
        let policy = config.attributes.get("cleanup.policy");
        let is_compacted = policy.is_some_and(|policy| policy.eq_ignore_ascii_case("COMPACTION"));
        Topic { config, is_compacted, handles, turn: AtomicU32::new(0), traffic: OnceLock::new() }
    }

    /// Its name.
    pub fn name(&self) -> &TopicName {
        &self.config.topic_name
    }

    /// Its settings.
    pub fn config(&self) -> &TopicConfig {
        &self.config
    }

    /// How many queues there are to read.
    pub fn read_queues(&self) -> u32 {
        u32::try_from(self.config.read_queue_nums).unwrap_or(0)
    }

    /// The queue for a message that was for `wanted` and waited: the topic may have fewer queues by now, and in one that
    /// nobody reads it would be lost.
    pub(crate) fn still_read(&self, wanted: QueueId) -> QueueId {
        QueueId(wanted.0 % self.read_queues().max(1))
    }

    /// How many queues there are to write.
    pub fn write_queues(&self) -> u32 {
        u32::try_from(self.config.write_queue_nums).unwrap_or(0)
    }

    /// True when the latest message of each key is kept for ever.
    pub(crate) fn is_compacted(&self) -> bool {
        self.is_compacted
    }

    /// True when batches that are sent to it stay together, each as one record.
    pub(crate) fn keeps_batches(&self) -> bool {
        self.config.attributes.get("queue.type").is_some_and(|kind| kind == "BatchCQ")
    }

    /// The kind of messages that it takes.
    pub(crate) fn kind(&self) -> Kind {
        let name = self.config.attributes.get(kind::ATTRIBUTE);
        name.and_then(|name| Kind::of_name(name)).unwrap_or_default()
    }

    /// For how long its messages are worth being read, if they do not say so themselves.
    pub(crate) fn ttl(&self) -> Option<Duration> {
        let ttl = self.config.attributes.get(TTL_ATTRIBUTE)?;
        ttl.parse().ok().map(Duration::from_millis)
    }

    /// The queue of a priority: the most urgent share the last one.
    pub(crate) fn queue_of_priority(&self, priority: u32) -> QueueId {
        QueueId(priority.min(self.write_queues().saturating_sub(1)))
    }

    /// Returns the handle of a queue.
    pub fn queue(&self, queue: QueueId, store: &Store) -> Result<QueueRef, QueueLimit> {
        self.queue_handle(queue, store).map(Cow::into_owned)
    }

    /// Returns the handle of a queue, the topic's own where it has one.
    pub(crate) fn queue_handle(
        &self,
        queue: QueueId,
        store: &Store,
    ) -> Result<Cow<'_, QueueRef>, QueueLimit> {
        let Some(handle) = self.handles.get(queue.0 as usize) else {
            return self.found(queue, store).map(Cow::Owned);
        };
        match handle.get() {
            Some(known) => Ok(Cow::Borrowed(known)),
            None => {
                let found = self.found(queue, store)?;
                Ok(Cow::Borrowed(handle.get_or_init(|| found)))
            }
        }
    }

    fn found(&self, queue: QueueId, store: &Store) -> Result<QueueRef, QueueLimit> {
        let found = store.queue(self.name(), queue)?;
        if self.is_compacted {
            found.keep_latest();
        }
        Ok(found)
    }

    /// What was sent to it, kept from the first message on.
    pub(crate) fn traffic(&self, rates: &Rates, now: Timestamp) -> &TopicTraffic {
        self.traffic.get_or_init(|| rates.of_topic(&counted_as(self.name()), now))
    }

    /// Picks a queue for a sender that leaves the choice to us: each in its turn.
    pub(crate) fn any_queue(&self) -> QueueId {
        QueueId(self.turn.fetch_add(1, Ordering::Relaxed) % self.write_queues().max(1))
    }
}
