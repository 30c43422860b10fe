// SPDX-License-Identifier: Apache-2.0
//! Delayed messages: they wait in the queue of their level and are delivered when their time has come. The shell of
//! `lanes` and `levels`; `step` runs in a loop of its own. The progress of each level is a fact of the log.
//!
//! Invariants: nothing is delivered before its store time plus its level's time; progress is noted after the
//! delivery is as lasting as was promised, so a process that ends delivers again rather than not at all; a full disk
//! or a busy store postpones, it never skips.

mod lanes;
mod levels;

use std::time::Duration;

use parking_lot::Mutex;
use protocol::names::{LogOffset, QueueId, QueueOffset, SCHEDULE_TOPIC, TopicName};
use protocol::properties;
use protocol::record::{Message, Record};
use stdx::{Timestamp, Watermark};
use store::{AppendError, Draft, Entry, FactChange, QueueRef, ReadError, Store};

use self::lanes::{Head, Lanes};
pub(crate) use self::levels::Level;
pub use self::levels::Levels;
use crate::facts;
use crate::loops::Wake;
use crate::topics::Topics;

/// The most messages that are delivered together, and the most bytes, unless one alone is larger.
const TOGETHER: usize = 64;
const TOGETHER_BYTES: usize = 1 << 20;
/// How long to leave a store alone that could not read or write.
const PAUSE: Duration = Duration::from_millis(200);
/// How long to wait for deliveries to become lasting before progress is noted.
const SETTLING: Duration = Duration::from_millis(20);

/// The delivery of delayed messages.
pub(crate) struct Delay {
    levels: Levels,
    state: Mutex<State>,
    /// Rises when something may have become due earlier than thought.
    alarm: Watermark,
}

struct State {
    lanes: Lanes,
    /// Lanes whose position is not yet a fact, with where their last delivery ends in the log.
    unsaved: Vec<Option<LogOffset>>,
}

/// A delayed message that is due, ready to store.
struct Due {
    queue: QueueRef,
    properties: String,
    record: bytes::Bytes,
}

/// What was found at a lane's position.
struct Seen {
    /// What to deliver, in order. A message that cannot be delivered is passed over and not in here.
    due: Vec<Due>,
    /// The position behind all of it.
    next: QueueOffset,
    /// What stands there, if it was looked at.
    head: Head,
}

impl Delay {
    /// Takes up where the facts say.
    pub(crate) fn open(levels: Levels, store: &Store) -> Delay {
        // A table that became shorter leaves queues behind, with messages in them.
        let used = store.queues_of(SCHEDULE_TOPIC).iter().map(|queue| queue.key().queue.0 as usize + 1).max();
        let lanes = Lanes::new((0..levels.count().max(used.unwrap_or(0))).map(|lane| saved(store, lane)));
        let unsaved = vec![None; lanes.len()];
        Delay { levels, state: Mutex::new(State { lanes, unsaved }), alarm: Watermark::default() }
    }

    /// The table of levels.
    pub(crate) fn levels(&self) -> &Levels {
        &self.levels
    }

    /// Rises when something may have become due earlier than thought.
    pub(crate) fn alarm(&self) -> &Watermark {
        &self.alarm
    }

    /// Says that a message came into a queue of the schedule topic.
    pub(crate) fn arrived(&self, queue: QueueId) {
        self.state.lock().lanes.arrived(queue.0 as usize);
        self.alarm.advance(self.alarm.get() + 1);
    }

    /// Returns how far each level has come, by queue.
    pub(crate) fn positions(&self) -> Vec<QueueOffset> {
        let state = self.state.lock();
        (0..state.lanes.len()).map(|lane| state.lanes.next(lane)).collect()
    }

    /// From where in the log on delayed messages are still owed: what was delivered counts once that is part of the log.
    pub(crate) fn owed_from(&self, store: &Store) -> Option<LogOffset> {
        let lanes = self.state.lock().lanes.len();
        let first = |lane: usize| {
            let queue = store.find_queue(&TopicName::stored(SCHEDULE_TOPIC), QueueId(lane as u32))?;
            let entries = store.entries(&queue, saved(store, lane).max(queue.first()), TOGETHER);
            entries.iter().find(|entry| !entry.is_hole()).map(|entry| entry.log)
        };
        (0..lanes).filter_map(first).min()
    }

    /// Delivers what is due; says when to look again.
    pub(crate) fn step(&self, store: &Store, topics: &Topics, now: Timestamp) -> Wake {
        let ready = self.state.lock().lanes.ready(now);
        for lane in ready {
            if let Err(error) = self.step_lane(lane, store, topics, now) {
                tracing::warn!(queue = lane, %error, "delayed messages could not be delivered yet");
                return Wake::At(now + PAUSE);
            }
        }
        self.save(store, store.watermarks().gate.get());
        let state = self.state.lock();
        let unsaved = state.unsaved.iter().any(Option::is_some).then(|| now + SETTLING);
        match state.lanes.next_due().into_iter().chain(unsaved).min() {
            None => Wake::Idle,
            Some(due) if due <= now => Wake::Now,
            Some(due) => Wake::At(due),
        }
    }

    fn step_lane(
        &self,
        lane: usize,
        store: &Store,
        topics: &Topics,
        now: Timestamp,
    ) -> Result<(), DeliverError> {
        let Some(queue) = store.find_queue(&TopicName::stored(SCHEDULE_TOPIC), QueueId(lane as u32)) else {
            self.state.lock().lanes.saw(lane, Head::Empty);
            return Ok(());
        };
        let position = self.state.lock().lanes.next(lane);
        // What is gone was taken to make room on a full disk, by an operator's leave; age alone takes nothing that is owed.
        let from = position.max(queue.first());
        let Seen { due, next, head } = self.look(lane, &queue, from, store, topics, now)?;
        let end = deliver(&due, store)?;
        let mut state = self.state.lock();
        if next > position {
            state.lanes.advance(lane, next);
            state.unsaved[lane] = Some(end.or(state.unsaved[lane]).unwrap_or_default());
        }
        state.lanes.saw(lane, head);
        // A message that arrived between the look and this line would otherwise wait for the next one.
        if head == Head::Empty && queue.dispatched() > next {
            state.lanes.saw(lane, Head::Unknown);
        }
        Ok(())
    }

    /// Collects what is due at a lane's position.
    fn look(
        &self,
        lane: usize,
        queue: &QueueRef,
        from: QueueOffset,
        store: &Store,
        topics: &Topics,
        now: Timestamp,
    ) -> Result<Seen, DeliverError> {
        let mut seen = Seen { due: Vec::new(), next: from, head: Head::Empty };
        let mut bytes = 0;
        // What is delivered together has to fit one append, with topics that may be longer than the one it waits in.
        let config = store.config();
        let room = (config.stage_size as u64).min(config.segment_size) as usize / 2;
        for entry in store.entries(queue, from, TOGETHER) {
            let Entry { log, .. } = entry;
            let raw = if entry.is_hole() { None } else { store.record_at(log)? };
            let Some(raw) = raw else {
                tracing::error!(queue = lane, offset = %seen.next, "a delayed message was lost to damage of the log");
                seen.next.0 += 1;
                continue;
            };
            let Ok(record) = Record::parse(&raw) else { return Err(DeliverError::Damaged { at: log }) };
            let due = self.levels.due(lane, record.stored_at());
            if due > now {
                seen.head = Head::Due(due);
                return Ok(seen);
            }
            bytes += raw.len();
            if bytes > TOGETHER_BYTES.min(room) && !seen.due.is_empty() {
                break;
            }
            seen.due.extend(destination(&record, store, topics).map(|(queue, properties)| Due {
                queue,
                properties,
                record: raw.clone(),
            }));
            seen.next.0 += 1;
        }
        if seen.next > from {
            seen.head = Head::Unknown;
        }
        Ok(seen)
    }

    /// Makes positions facts whose deliveries end below `upto`: one that outlived its deliveries would skip them.
    /// One that cannot be saved now is saved later; until then a restart delivers again.
    pub(crate) fn save(&self, store: &Store, upto: u64) {
        let mut state = self.state.lock();
        let is_ready = |lane: &usize| state.unsaved[*lane].is_some_and(|end| end.0 <= upto);
        let lanes: Vec<usize> = (0..state.unsaved.len()).filter(is_ready).collect();
        let change = |lane: &usize| FactChange {
            kind: facts::DELAY,
            key: facts::queue_key(QueueId(*lane as u32)),
            value: Some(state.lanes.next(*lane).0.to_be_bytes().to_vec()),
        };
        let changes: Vec<FactChange> = lanes.iter().map(change).collect();
        if changes.is_empty() {
            return;
        }
        match store.put_facts(&changes) {
            Ok(_) => lanes.into_iter().for_each(|lane| state.unsaved[lane] = None),
            Err(error) => tracing::warn!(%error, "the progress of delayed messages could not be saved yet"),
        }
    }
}

/// How far a lane has come, as the log says it.
fn saved(store: &Store, lane: usize) -> QueueOffset {
    let fact = store.fact(facts::DELAY, &facts::queue_key(QueueId(lane as u32)));
    let bytes = fact.and_then(|value| <[u8; 8]>::try_from(value.as_ref()).ok());
    QueueOffset(bytes.map_or(0, u64::from_be_bytes))
}

/// Why nothing was delivered this time.
#[derive(Debug, thiserror::Error)]
enum DeliverError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("no record lies at {at}")]
    Damaged { at: LogOffset },
}

/// Returns where a due message goes and what it says then; `None` when there is no such place any more.
fn destination(record: &Record<'_>, store: &Store, topics: &Topics) -> Option<(QueueRef, String)> {
    let name = record.property(properties::REAL_TOPIC)?;
    let Some(topic) = topics.get(name) else {
        tracing::warn!(topic = name, "a delayed message is dropped: its topic was removed");
        return None;
    };
    let wanted: u32 = record.property(properties::REAL_QID)?.parse().ok()?;
    let queue = topic.queue(topic.still_read(QueueId(wanted)), store).ok()?;
    let mut out = properties::PropertiesOut::default();
    let is_stale = |name| [properties::DELAY, properties::INNER_MULTI_QUEUE_OFFSET].contains(&name);
    let kept = record.each_property().filter(|(name, _)| !is_stale(name));
    kept.for_each(|(name, value)| out.push(name, value));
    Some((queue, out.as_str().to_owned()))
}

/// Appends due messages to their real queues, all or none. Returns where they end in the log, if there are any.
fn deliver(due: &[Due], store: &Store) -> Result<Option<LogOffset>, DeliverError> {
    let mut drafts = Vec::with_capacity(due.len());
    for Due { queue, properties, record } in due {
        let record = Record::parse(record).map_err(|_| DeliverError::Damaged { at: LogOffset(0) })?;
        let message = Message::again(&record, &queue.key().topic, queue.key().queue, properties.as_bytes());
        drafts.push(Draft { queue, message });
    }
    if drafts.is_empty() {
        return Ok(None);
    }
    Ok(Some(store.append_light(&drafts)?.end))
}
