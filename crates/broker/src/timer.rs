// SPDX-License-Identifier: Apache-2.0
//! The delivery of messages with a time of their own. What waits is a view of the log, `store::Timers`; `step`, in a
//! loop of its own, takes in hand what is due, in due order, and appends it to the topics it is for.
//!
//! Invariants: nothing is delivered before its time; a delivered record names the record that waited, so there is no
//! progress to save and nothing that a crash could leave half done; what cannot be stored now is let go of and tried
//! again, it is never skipped; a slot that somebody else holds is not delivered.

mod pace;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::names::{LogOffset, QueueId, TIMER_TOPIC, TopicName};
use protocol::record::{Message, Record};
use protocol::{caps, properties};
use stdx::{Timestamp, Watermark};
use store::{AppendError, Draft, QueueLimit, QueueRef, ReadError, Slot, Store};

use self::pace::Pace;
use crate::loops::Wake;
use crate::topics::Topics;

/// The most messages that are delivered together, and the most bytes, unless one alone is larger.
const TOGETHER: usize = 64;
const TOGETHER_BYTES: usize = 1 << 20;
/// The most that are delivered and not yet dispatched.
const HELD_MAX: usize = 8192;
/// How long to leave a store alone that could not read or write.
const PAUSE: Duration = Duration::from_millis(50);
/// How long to wait for dispatch.
const DISPATCH: Duration = Duration::from_millis(1);

/// The delivery of timed messages.
#[derive(Default)]
pub(crate) struct Timer {
    pace: Mutex<Pace>,
    /// Rises when something is due earlier than thought.
    alarm: Watermark,
    /// The loop sleeps until then.
    asleep_until: AtomicI64,
    /// Where messages wait. Its topic is never removed.
    queue: OnceLock<QueueRef>,
}

/// A message that is due, ready to store.
struct Due {
    slot: Slot,
    queue: QueueRef,
    properties: String,
    record: Bytes,
}

/// Why nothing was delivered this time.
#[derive(Debug, thiserror::Error)]
enum DeliverError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Timer {
    /// Rises when something is due earlier than thought.
    pub(crate) fn alarm(&self) -> &Watermark {
        &self.alarm
    }

    /// The queue in which messages wait, without a look-up for each of them.
    pub(crate) fn queue(&self, store: &Store) -> Result<&QueueRef, QueueLimit> {
        if let Some(known) = self.queue.get() {
            return Ok(known);
        }
        let found = store.queue(&TopicName::stored(TIMER_TOPIC), QueueId(0))?;
        Ok(self.queue.get_or_init(|| found))
    }

    /// Says that something began to wait.
    pub(crate) fn arrived(&self, store: &Store) {
        let next = store.timers().next_due();
        if next.is_some_and(|due| due.0 < self.asleep_until.load(Ordering::SeqCst)) {
            self.alarm.advance(self.alarm.get() + 1);
        }
    }

    /// Delivers some of what is due, `rate` in a second at most; says when to look again.
    pub(crate) fn step(&self, store: &Store, topics: &Topics, rate: u32, now: Timestamp) -> Wake {
        let timers = store.timers();
        if timers.next_due().is_none_or(|due| due > now) {
            return self.sleep(store);
        }
        if timers.count().1 >= HELD_MAX {
            return Wake::After(DISPATCH);
        }
        let share = self.pace.lock().take(now, rate, TOGETHER);
        if share == 0 {
            return Wake::At(self.pace.lock().next());
        }
        let slots = timers.hold_due(now, share);
        self.pace.lock().give_back(share - slots.len());
        match deliver(&slots, store, topics, now) {
            Ok(()) => Wake::Now,
            Err(error) => {
                tracing::warn!(%error, "timed messages could not be delivered yet");
                Wake::At(now + PAUSE)
            }
        }
    }

    fn sleep(&self, store: &Store) -> Wake {
        let until = |due: Option<Timestamp>| due.map_or(i64::MAX, |due| due.0);
        let next = store.timers().next_due();
        self.asleep_until.store(until(next), Ordering::SeqCst);
        // What came before that line rang for nobody.
        if until(store.timers().next_due()) < until(next) {
            return Wake::Now;
        }
        next.map_or(Wake::Idle, Wake::At)
    }
}

/// Delivers held slots, in order. What is not delivered is let go of.
fn deliver(slots: &[Slot], store: &Store, topics: &Topics, now: Timestamp) -> Result<(), DeliverError> {
    let mut rest = slots;
    while !rest.is_empty() {
        let outcome = some(rest, store, topics, now).and_then(|(due, taken)| {
            append(&due, store)?;
            Ok(taken)
        });
        match outcome {
            Ok(taken) => rest = &rest[taken..],
            Err(error) => {
                store.timers().release(rest);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Prepares as many as fit one append; says how many slots that are.
fn some(
    slots: &[Slot],
    store: &Store,
    topics: &Topics,
    now: Timestamp,
) -> Result<(Vec<Due>, usize), DeliverError> {
    let config = store.config();
    // Where a message goes its topic may have a longer name.
    let room = (config.stage_size as u64).min(config.segment_size) as usize / 2;
    let mut due = Vec::with_capacity(slots.len());
    let mut bytes = 0;
    for (index, slot) in slots.iter().enumerate() {
        let Some(record) = store.record_at(slot.at)? else {
            tracing::error!(offset = slot.at.0, "a timed message was lost to damage of the log");
            store.timers().forget(*slot);
            continue;
        };
        bytes += record.len();
        if bytes > TOGETHER_BYTES.min(room) && !due.is_empty() {
            return Ok((due, index));
        }
        due.push(ready(*slot, record, store, topics, now)?);
    }
    Ok((due, slots.len()))
}

/// Says where a message goes and what it says then. One whose topic was removed goes nowhere: the record that is
/// stored instead only ends its waiting.
fn ready(
    slot: Slot,
    bytes: Bytes,
    store: &Store,
    topics: &Topics,
    now: Timestamp,
) -> Result<Due, DeliverError> {
    let record = Record::parse(&bytes).expect("the store gives whole records");
    let (queue, properties) = match real_queue(&record, store, topics) {
        Some(queue) => (queue, delivered(&record, now)),
        None => {
            let topic = record.property(properties::REAL_TOPIC);
            tracing::warn!(topic, "a timed message is dropped: its topic was removed");
            (timer_queue(store)?, ended(&record, slot))
        }
    };
    Ok(Due { slot, queue, properties, record: bytes })
}

fn real_queue(record: &Record<'_>, store: &Store, topics: &Topics) -> Option<QueueRef> {
    let topic = topics.get(record.property(properties::REAL_TOPIC)?)?;
    let wanted: u32 = record.property(properties::REAL_QID)?.parse().ok()?;
    topic.queue(topic.still_read(QueueId(wanted)), store).ok()
}

/// The queue in which messages wait.
pub(crate) fn timer_queue(store: &Store) -> Result<QueueRef, AppendError> {
    store.queue(&TopicName::stored(TIMER_TOPIC), QueueId(0)).map_err(|_| AppendError::Removed)
}

/// What a message says once it is delivered: what it said, with where it was to go, as consumers of Apache's see it; and when it was taken and let go.
fn delivered(record: &Record<'_>, now: Timestamp) -> String {
    let mut out = properties::PropertiesOut::default();
    let is_stale = |name| [properties::TIMER_WAS_MS, properties::INNER_MULTI_QUEUE_OFFSET].contains(&name);
    let kept = record.each_property().filter(|(name, _)| !is_stale(name));
    kept.for_each(|(name, value)| out.push(name, value));
    // Nice to know, but no reason for a message to become too large.
    if out.as_str().len() + 80 <= caps::MAX_PROPERTIES {
        out.push(properties::TIMER_ENQUEUE_MS, &record.stored_at().to_string());
        out.push(properties::TIMER_DEQUEUE_MS, &now.to_string());
    }
    out.as_str().to_owned()
}

/// What the record says that ends the waiting of `record` without a delivery.
pub(crate) fn ended(record: &Record<'_>, slot: Slot) -> String {
    let property = |name| record.property(name).unwrap_or_default();
    let (topic, unique) = (property(properties::REAL_TOPIC), property(properties::UNIQ_KEY));
    let mut out = properties::PropertiesOut::default();
    out.push(properties::TIMER_DEL_UNIQKEY, &format!("{topic}+{unique}"));
    out.push(properties::UNIQ_KEY, unique);
    out.push(properties::TIMER_OUT_MS, &(slot.due.0 - 1).to_string());
    out.push(properties::TIMER_DELIVER_MS, &slot.due.to_string());
    out.push(properties::REAL_TOPIC, topic);
    out.as_str().to_owned()
}

/// Appends what is due, all or none.
fn append(due: &[Due], store: &Store) -> Result<(), AppendError> {
    let records: Vec<Record<'_>> =
        due.iter().map(|due| Record::parse(&due.record).expect("the store gives whole records")).collect();
    let mut drafts = Vec::with_capacity(due.len());
    for (Due { slot, queue, properties, .. }, record) in due.iter().zip(&records) {
        drafts.push(Draft { queue, message: follower(record, slot.at, queue, properties) });
    }
    if drafts.is_empty() { Ok(()) } else { store.append_light(&drafts).map(drop) }
}

/// The message that ends or takes the place of the record at `at`.
pub(crate) fn follower<'a>(
    record: &Record<'a>,
    at: LogOffset,
    queue: &'a QueueRef,
    properties: &'a str,
) -> Message<'a> {
    Message {
        prepared: store::origin_mark(at),
        ..Message::again(record, &queue.key().topic, queue.key().queue, properties.as_bytes())
    }
}
