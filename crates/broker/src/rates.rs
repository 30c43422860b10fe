// SPDX-License-Identifier: Apache-2.0
//! How much goes through each topic and each group, and how fast. Sends and pulls note what they moved, the upkeep takes
//! a sample now and then, operators' tools read. Totals are in `counts`; here is who they came from, and when.
//! Invariant: counts only rise; what is kept of a topic or a group is bounded and goes when it is deleted.

mod series;
pub(crate) mod trail;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};
use protocol::names::{ByteStr, Group, QueueId, QueueOffset, TopicName};
use stdx::Timestamp;

use self::trail::{Kind, Step, Trail};
use crate::clients::ConnectionId;
use crate::counts::CountsNow;
use series::{History, Sample, Seconds};
pub(crate) use series::{Morning, Rate, Span};

/// The most queues of one topic that a group's reach is kept for.
const REACH_MAX: usize = 65_536;
/// The memory for the steps of all groups in all queues.
const TRAIL_BYTES: usize = 64 << 20;
/// The most readers of one topic in one group that have names here.
const READERS_MAX: usize = 256;

/// What went through one place.
#[derive(Debug)]
pub(crate) struct Traffic {
    messages: AtomicU64,
    bytes: AtomicU64,
    calls: AtomicU64,
    history: Mutex<History>,
}

/// What went through a topic, and who took it.
#[derive(Debug)]
pub(crate) struct TopicTraffic {
    pub(crate) puts: Traffic,
    groups: RwLock<HashMap<Group, Arc<GroupTraffic>>>,
}

/// What one group took of one topic, and gave back.
#[derive(Debug)]
pub(crate) struct GroupTraffic {
    pub(crate) gets: Traffic,
    pub(crate) sent_back: Traffic,
    /// What became dead letters, given back too often or for good.
    pub(crate) dead: Traffic,
    places: Mutex<Places>,
    /// Bytes that are left for the steps of every group.
    memory: Arc<AtomicUsize>,
    /// Since when steps are noted.
    since: Timestamp,
}

/// Where a group is in the queues of a topic.
#[derive(Debug, Default)]
struct Places {
    queues: BTreeMap<QueueId, Place>,
    /// Whose connections there were, the newest last.
    readers: VecDeque<(ConnectionId, ByteStr)>,
}

#[derive(Debug)]
struct Place {
    /// One past the last message given: ahead of the committed offset by what is in flight.
    reach: Option<QueueOffset>,
    trail: Trail,
}

/// A pull that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gift {
    pub(crate) queue: QueueId,
    /// What the reader asked for.
    pub(crate) from: QueueOffset,
    /// What it is to ask for next.
    pub(crate) next: QueueOffset,
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) by: ConnectionId,
    pub(crate) at: Timestamp,
}

/// What a group's steps say of one message.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) steps: Vec<Step>,
    /// Since when every gift is known, and since when every word of the group.
    pub(crate) since: (Timestamp, Timestamp),
    /// The readers that have names.
    pub(crate) readers: Vec<(ConnectionId, ByteStr)>,
}

/// All rates of a broker.
#[derive(Debug)]
pub(crate) struct Rates {
    pub(crate) started_at: Timestamp,
    topics: RwLock<HashMap<TopicName, Arc<TopicTraffic>>>,
    whole: Mutex<Whole>,
    memory: Arc<AtomicUsize>,
    /// A topic or a group was deleted, and with it its steps: what begins now knows nothing of before.
    has_forgotten: AtomicBool,
}

/// The series of the broker as a whole.
#[derive(Debug)]
struct Whole {
    puts: History,
    gets: History,
    seconds: Seconds,
    /// When topics and groups were sampled last.
    sampled_at: Timestamp,
}

impl Rates {
    pub(crate) fn new(now: Timestamp) -> Rates {
        Rates {
            started_at: now,
            topics: RwLock::default(),
            whole: Mutex::new(Whole {
                puts: History::new(now),
                gets: History::new(now),
                seconds: Seconds::new(now),
                sampled_at: now,
            }),
            memory: Arc::new(AtomicUsize::new(TRAIL_BYTES)),
            has_forgotten: AtomicBool::new(false),
        }
    }

    /// Returns the counters of a group on a topic, to note what it took or gave back.
    pub(crate) fn group(&self, topic: &TopicName, group: &Group, now: Timestamp) -> Arc<GroupTraffic> {
        let topic = self.of_topic(topic, now);
        if let Some(known) = topic.groups.read().get(group) {
            return known.clone();
        }
        let new = || {
            let [gets, sent_back, dead] = std::array::from_fn(|_| Traffic::new(now));
            let (memory, since) = (self.memory.clone(), self.known_since(now));
            Arc::new(GroupTraffic { gets, sent_back, dead, places: Mutex::default(), memory, since })
        };
        topic.groups.write().entry(group.detached()).or_insert_with(new).clone()
    }

    /// Returns the counters of a group on a topic, if it ever took or gave back anything.
    pub(crate) fn find_group(&self, topic: &str, group: &str) -> Option<Arc<GroupTraffic>> {
        self.topics.read().get(topic)?.groups.read().get(group).cloned()
    }

    /// What is known of a message and a group that nothing is known of.
    pub(crate) fn known_since(&self, now: Timestamp) -> Timestamp {
        if self.has_forgotten.load(Relaxed) { now } else { self.started_at }
    }

    /// The groups that ever took or gave back anything of a topic.
    pub(crate) fn groups_of(&self, topic: &str) -> Vec<Group> {
        let topic = self.topics.read().get(topic).cloned();
        topic.map(|topic| topic.groups.read().keys().cloned().collect()).unwrap_or_default()
    }

    /// Reads what was sent to a topic, if anything ever was.
    pub(crate) fn with_puts<T>(&self, topic: &str, read: impl FnOnce(&Traffic) -> T) -> Option<T> {
        let topic = self.topics.read().get(topic).cloned()?;
        (topic.puts.calls.load(Relaxed) > 0).then(|| read(&topic.puts))
    }

    /// Forgets a deleted topic.
    pub(crate) fn forget_topic(&self, topic: &TopicName) {
        self.has_forgotten.store(true, Relaxed);
        self.topics.write().remove(topic.as_str());
    }

    /// Forgets a deleted group.
    pub(crate) fn forget_group(&self, group: &Group) {
        self.has_forgotten.store(true, Relaxed);
        self.topics.read().values().for_each(|topic| drop(topic.groups.write().remove(group.as_str())));
    }

    /// Takes one sample of everything; called about once a second with the broker's totals.
    pub(crate) fn sample(&self, totals: &CountsNow, now: Timestamp) {
        let mut whole = self.whole.lock();
        let counts = [totals.sent_messages, totals.pulls_found, totals.pulls_missed, totals.pulled_messages];
        whole.seconds.push(now, counts);
        whole.puts.push(puts(totals, now));
        whole.gets.push(gets(totals, now));
        // There may be a hundred thousand topics: each is looked at no more often than its history has steps.
        if now.since(whole.sampled_at) < series::STEP {
            return;
        }
        whole.sampled_at = now;
        drop(whole);
        let topics: Vec<Arc<TopicTraffic>> = self.topics.read().values().cloned().collect();
        for topic in topics {
            topic.puts.take_sample(now);
            for group in topic.groups.read().values() {
                group.gets.take_sample(now);
                group.sent_back.take_sample(now);
                group.dead.take_sample(now);
            }
        }
    }

    /// How many messages were stored in the last while, by the whole broker.
    pub(crate) fn puts(&self, totals: &CountsNow, span: Span, now: Timestamp) -> Rate {
        self.whole.lock().puts.rate(span, puts(totals, now), |sample| sample.messages)
    }

    /// How many messages were given in the last while, by the whole broker.
    pub(crate) fn gets(&self, totals: &CountsNow, span: Span, now: Timestamp) -> Rate {
        self.whole.lock().gets.rate(span, gets(totals, now), |sample| sample.messages)
    }

    /// Reads the series of the last ten minutes.
    pub(crate) fn with_seconds<T>(&self, read: impl FnOnce(&Seconds) -> T) -> T {
        read(&self.whole.lock().seconds)
    }

    /// Returns the counters of a topic, to note what was sent to it. Whoever keeps them counts without a look-up.
    pub(crate) fn of_topic(&self, topic: &TopicName, now: Timestamp) -> Arc<TopicTraffic> {
        if let Some(known) = self.topics.read().get(topic) {
            return known.clone();
        }
        let new = || Arc::new(TopicTraffic { puts: Traffic::new(now), groups: RwLock::default() });
        self.topics.write().entry(topic.detached()).or_insert_with(new).clone()
    }
}

fn puts(totals: &CountsNow, at: Timestamp) -> Sample {
    Sample { at, messages: totals.sent_messages, bytes: totals.sent_bytes, calls: totals.sent_messages }
}

fn gets(totals: &CountsNow, at: Timestamp) -> Sample {
    Sample { at, messages: totals.pulled_messages, bytes: totals.pulled_bytes, calls: totals.pulls_found }
}

impl Traffic {
    fn new(now: Timestamp) -> Traffic {
        let zero = AtomicU64::default;
        Traffic { messages: zero(), bytes: zero(), calls: zero(), history: Mutex::new(History::new(now)) }
    }

    /// Notes one request that moved this much.
    pub(crate) fn add(&self, messages: usize, bytes: usize) {
        self.add_all(1, messages, bytes);
    }

    /// Notes several requests that moved this much together.
    pub(crate) fn add_all(&self, requests: usize, messages: usize, bytes: usize) {
        self.messages.fetch_add(messages as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.calls.fetch_add(requests as u64, Relaxed);
    }

    /// How many messages went through so far.
    pub(crate) fn count(&self) -> u64 {
        self.messages.load(Relaxed)
    }

    /// How many messages went through in the last while.
    pub(crate) fn messages(&self, span: Span, now: Timestamp) -> Rate {
        self.history.lock().rate(span, self.sample(now), |sample| sample.messages)
    }

    /// How many bytes went through in the last while.
    pub(crate) fn bytes(&self, span: Span, now: Timestamp) -> Rate {
        self.history.lock().rate(span, self.sample(now), |sample| sample.bytes)
    }

    fn sample(&self, at: Timestamp) -> Sample {
        let load = |count: &AtomicU64| count.load(Relaxed);
        Sample { at, messages: load(&self.messages), bytes: load(&self.bytes), calls: load(&self.calls) }
    }

    fn take_sample(&self, now: Timestamp) {
        let sample = self.sample(now);
        self.history.lock().push(sample);
    }
}

impl GroupTraffic {
    /// Notes messages that the group was given, and to whom. `name` is asked for readers that are new here.
    pub(crate) fn pulled(&self, gift: Gift, name: impl FnOnce() -> Option<ByteStr>) {
        if gift.messages > 0 {
            self.gets.add(gift.messages, gift.bytes);
        }
        let messages = u32::try_from(gift.messages).unwrap_or(u32::MAX);
        let Gift { from, next, by, at, .. } = gift;
        let step =
            Step { kind: Kind::Given { messages }, from: from.min(next), to: next, first: at, last: at, by };
        let mut places = self.places.lock();
        let Places { queues, readers } = &mut *places;
        let Some(place) = self.place(queues, gift.queue) else { return };
        place.reach = Some(next);
        if place.trail.last_reader() != Some(by) && !readers.iter().any(|(known, _)| *known == by) {
            if readers.len() >= READERS_MAX {
                readers.pop_front();
            }
            readers.extend(name().map(|name| (by, name)));
        }
        place.trail.note(step, |bytes| self.take(bytes));
    }

    /// Notes that the group, or an operator for it, said where it stands.
    pub(crate) fn moved(&self, queue: QueueId, step: Step) {
        let mut places = self.places.lock();
        if let Some(place) = self.place(&mut places.queues, queue) {
            place.trail.note(step, |bytes| self.take(bytes));
        }
    }

    /// One past the last message of a queue that the group was given.
    pub(crate) fn reach(&self, queue: QueueId) -> Option<QueueOffset> {
        self.places.lock().queues.get(&queue)?.reach
    }

    /// What is known of a message.
    pub(crate) fn told(&self, queue: QueueId, offset: QueueOffset) -> Told {
        let places = self.places.lock();
        let readers = places.readers.iter().cloned().collect();
        match places.queues.get(&queue) {
            Some(Place { trail, .. }) => {
                Told { steps: trail.of(offset).collect(), since: trail.known_since(), readers }
            }
            None => {
                let since = if places.queues.len() < REACH_MAX { self.since } else { Timestamp(i64::MAX) };
                Told { steps: Vec::new(), since: (since, since), readers }
            }
        }
    }

    fn place<'a>(&self, queues: &'a mut BTreeMap<QueueId, Place>, queue: QueueId) -> Option<&'a mut Place> {
        if queues.len() >= REACH_MAX && !queues.contains_key(&queue) {
            return None;
        }
        let new = || Place { reach: None, trail: Trail::new(self.since) };
        Some(queues.entry(queue).or_insert_with(new))
    }

    fn take(&self, bytes: usize) -> bool {
        self.memory.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

impl Drop for GroupTraffic {
    fn drop(&mut self) {
        let taken: usize = self.places.get_mut().queues.values().map(|place| place.trail.bytes()).sum();
        self.memory.fetch_add(taken, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_000_000_000 + seconds * 1000)
    }

    #[test]
    fn a_topic_counts_by_minute_hour_and_day() {
        let rates = Rates::new(at(0));
        let topic = TopicName::stored("t");
        for second in 0..7200 {
            rates.of_topic(&topic, at(second)).puts.add(2, 20);
            rates.sample(&CountsNow::default(), at(second + 1));
        }
        let now = at(7200);
        let minute = rates.with_puts("t", |puts| puts.messages(Span::Minute, now)).expect("it has traffic");
        assert_eq!((minute.sum, minute.per_second, minute.per_call), (120, 2.0, 2.0));
        let sum = |span| rates.with_puts("t", |puts| puts.bytes(span, now).sum);
        assert_eq!((sum(Span::Hour), sum(Span::Day)), (Some(72_000), Some(144_000)));
        rates.forget_topic(&topic);
        assert_eq!(sum(Span::Day), None);
    }

    #[test]
    fn a_group_is_found_only_after_it_did_something() {
        let rates = Rates::new(at(0));
        let (topic, group) = (TopicName::stored("t"), Group::stored("g"));
        assert!(rates.find_group("t", "g").is_none());
        let gift = Gift {
            queue: QueueId(1),
            from: QueueOffset(6),
            next: QueueOffset(9),
            messages: 3,
            bytes: 30,
            by: 7,
            at: at(1),
        };
        rates.group(&topic, &group, at(0)).pulled(gift, || Some(ByteStr::from("me")));
        let found = rates.find_group("t", "g").expect("it pulled");
        let rate = found.gets.messages(Span::Minute, at(3));
        assert_eq!((rate.sum, rate.per_second), (3, 1.0));
        assert_eq!((found.reach(QueueId(1)), found.reach(QueueId(0))), (Some(QueueOffset(9)), None));
        assert!(rates.with_puts("t", |_| ()).is_none(), "nothing was sent to the topic");
        let told = found.told(QueueId(1), QueueOffset(8));
        assert_eq!((told.steps.len(), told.since.0), (1, at(0)));
        assert_eq!(told.readers, [(7, ByteStr::from("me"))]);
        drop(found);
        assert!(rates.memory.load(Relaxed) < TRAIL_BYTES);
        rates.forget_group(&group);
        assert!(rates.find_group("t", "g").is_none());
        assert_eq!(rates.memory.load(Relaxed), TRAIL_BYTES, "it is given back");
    }

    #[test]
    fn the_broker_counts_by_second_and_by_span() {
        let rates = Rates::new(at(0));
        let totals = |second: u64| CountsNow {
            sent_messages: second * 5,
            pulls_found: second,
            ..CountsNow::default()
        };
        for second in 1..=60 {
            rates.sample(&totals(second as u64), at(second));
        }
        rates.with_seconds(|seconds| {
            assert_eq!(
                (seconds.puts(10), seconds.found(60), seconds.puts(600)),
                (Some(5.0), Some(1.0), None)
            );
            assert_eq!((seconds.missed(10), seconds.given(10)), (Some(0.0), Some(0.0)));
        });
        assert_eq!(rates.puts(&totals(60), Span::Minute, at(60)).sum, 300);
        assert_eq!(rates.gets(&totals(60), Span::Hour, at(60)).sum, 0);
    }
}
