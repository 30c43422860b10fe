// SPDX-License-Identifier: Apache-2.0
//! What operators see of messages that wait for their time. Called by the faces of 30040, 30041 and 30043; changes go the
//! way of any recall (`ops::recall`). Reads run on the threads of the store and hold up no delivery for longer than a page.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::names::TopicName;
use protocol::record::Record;
use stdx::Timestamp;
use store::{ReadError, Slot, Store, Waiting};

use crate::Broker;
use crate::ops::recall::{self, RecallRefused, VISIBLE, Which};

/// The most messages of one answer.
const LIST_MAX: usize = 1000;
/// The most bars of one histogram.
const BARS_MAX: usize = 10_000;

/// Which waiting messages are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// For this topic.
    pub topic: Option<TopicName>,
    /// The first one that may be meant.
    pub from: Slot,
    /// Due before then.
    pub until: Option<Timestamp>,
    /// How many at most.
    pub max: usize,
}

/// Waiting messages.
#[derive(Clone, Debug)]
pub struct Listed {
    /// How many wait in all.
    pub waiting: u64,
    /// How many wait for each topic, sorted by name.
    pub topics: Vec<(Arc<str>, u64)>,
    /// Those that were wanted, in due order, each with its record where that can be read.
    pub page: Vec<(Waiting, Option<Bytes>)>,
}

/// What became of a timed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits.
    Waiting,
    /// It was delivered, or is about to be.
    Delivered,
    /// It was taken back.
    Cancelled,
}

/// How many messages are due when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Beginnings of bars that are not empty, and how many are due in each.
    pub bars: Vec<(Timestamp, u64)>,
    /// How many are due behind the last bar.
    pub later: u64,
}

impl Broker {
    /// Lists messages that wait, in due order.
    pub async fn timers(self: &Arc<Broker>, wanted: Wanted) -> Result<Listed, ReadError> {
        self.dispatch_answered();
        self.store.query(move |store| list(store, &wanted)).await
    }

    /// Tells what became of timed messages of a topic: one record each, its last one.
    pub async fn timed(
        self: &Arc<Broker>,
        topic: &TopicName,
        which: Which,
        now: Timestamp,
    ) -> Result<Vec<(State, Bytes)>, RecallRefused> {
        self.visible(now + VISIBLE).await;
        let topic = topic.clone();
        Ok(self.store.query(move |store| seen(store, &topic, &which)).await?)
    }

    /// Counts what waits by due time, in bars of the length `every`, `max` of them at most.
    pub async fn count_timers(
        self: &Arc<Broker>,
        topic: Option<TopicName>,
        every: Duration,
        max: usize,
    ) -> Result<Histogram, ReadError> {
        self.dispatch_answered();
        self.store.query(move |store| Ok(count(store, topic.as_deref(), every, max))).await
    }
}

fn list(store: &Store, wanted: &Wanted) -> Result<Listed, ReadError> {
    let max = wanted.max.min(LIST_MAX);
    let mut found: Vec<Waiting> = Vec::new();
    if max > 0 {
        store.timers().visit(wanted.from, wanted.topic.as_deref(), &mut |waiting| {
            let is_meant = wanted.until.is_none_or(|until| waiting.slot.due < until);
            if is_meant {
                found.push(waiting);
            }
            is_meant && found.len() < max
        });
    }
    let mut topics = store.timers().topics();
    topics.sort();
    let read = |waiting: Waiting| store.record_at(waiting.slot.at).map(|raw| (waiting, raw));
    let page = found.into_iter().map(read).collect::<Result<_, ReadError>>()?;
    Ok(Listed { waiting: store.timers().count().0 as u64, topics, page })
}

fn seen(store: &Store, topic: &TopicName, which: &Which) -> Result<Vec<(State, Bytes)>, ReadError> {
    let mut all = Vec::new();
    for id in recall::ids(store, topic, which)? {
        let found = recall::by_id(store, topic, &id)?;
        let waits = |raw: &&Bytes| {
            let record = Record::parse(raw).expect("the store gives whole records");
            let slot = store::due(&record).map(|due| Slot { due, at: record.log_offset() });
            slot.is_some_and(|slot| store.timers().is_waiting(slot))
        };
        let last = found.waits.first();
        all.extend(match found.waits.iter().find(waits) {
            Some(raw) => Some((State::Waiting, raw.clone())),
            None if found.was_cancelled => last.map(|raw| (State::Cancelled, raw.clone())),
            None => last.map(|raw| (State::Delivered, raw.clone())),
        });
    }
    Ok(all)
}

fn count(store: &Store, topic: Option<&str>, every: Duration, max: usize) -> Histogram {
    let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
    let mut histogram = Histogram::default();
    store.timers().visit(Slot::FIRST, topic, &mut |waiting| {
        let from = Timestamp(waiting.slot.due.0.div_euclid(every) * every);
        let has_room = histogram.bars.len() < max.min(BARS_MAX);
        match histogram.bars.last_mut() {
            Some((last, count)) if *last == from => *count += 1,
            _ if has_room => histogram.bars.push((from, 1)),
            _ => histogram.later += 1,
        }
        true
    });
    histogram
}
