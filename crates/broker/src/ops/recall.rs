// SPDX-License-Identifier: Apache-2.0
//! Taking timed messages back, or giving them another time. Called by the face of 370 and by the tools' codes.
//! A message is found by its id or by a key, which the store's index knows, then taken in hand; whoever has it in hand
//! is the only one who may end it. So the answer is exact: cancelled or moved, too late, or unknown.
//! Never changes a message that is delivered, or about to be.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::names::{ByteStr, LogOffset, TIMER_TOPIC, TopicName};
use protocol::properties::{self, PropertiesOut};
use protocol::record::{Message, Record};
use stdx::Timestamp;
use store::{AppendError, Draft, Hold, ReadError, Settled, Slot, Store};

use super::send::Clockwork;
use crate::Broker;
use crate::timer::{ended, follower, timer_queue};

/// The most messages that one key names.
const MATCHES: usize = 1024;
/// How often to look for what others are at.
const LOOKS: usize = 8;
/// How long what was sent a moment ago may take to become visible.
pub(crate) const VISIBLE: Duration = Duration::from_secs(3);

/// Which messages are meant.
#[derive(Clone, Debug)]
pub enum Which {
    /// Those with this id.
    Id(ByteStr),
    /// Those with this key.
    Key(ByteStr),
}

/// What is to become of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// They are not delivered.
    Cancel,
    /// They are delivered then; in the past means at once.
    Move(Timestamp),
}

/// What became of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They wait no more, by this wish or an earlier one.
    Cancelled,
    /// They are due at the new time.
    Moved,
    /// One of them is delivered, or about to be.
    TooLate,
    /// No such message waits or waited, as far as is known.
    Unknown,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecallRefused {
    /// The operator does not allow it.
    #[error("recall failed, operation is forbidden")]
    Forbidden,
    /// There is no such topic.
    #[error("recall failed, the topic[{topic}] not exist")]
    NoTopic {
        /// Its name.
        topic: TopicName,
    },
    /// The text is no handle.
    #[error("recall handle is invalid")]
    BadHandle,
    /// The handle is one of another topic.
    #[error("recall failed, topic not match")]
    OtherTopic,
    /// The handle is one of another broker.
    #[error("recall failed, broker service not available: the handle is one of {broker}")]
    OtherBroker {
        /// Its name.
        broker: String,
    },
    /// The message is delivered, or about to be.
    #[error("recall failed, too late: the message is delivered")]
    TooLate,
    /// No such message is known.
    #[error("recall failed, unknown: no such message waits")]
    Unknown,
    /// The new time lies too far ahead.
    #[error("the new time should not be further ahead than {}ms", max.as_millis())]
    TooFar {
        /// The limit.
        max: Duration,
    },
    /// What was sent or changed last is not visible yet.
    #[error("recall failed, broker busy: what became of the message is not known yet, ask again")]
    Behind,
    /// The store took nothing.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The store could not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nobody knows whether it lasts.
    #[error("the store is poisoned: {0}")]
    Poisoned(Arc<str>),
}

/// What the log holds of the messages that are meant.
#[derive(Default)]
pub(crate) struct Found {
    /// Records that wait or waited, newest first.
    pub(crate) waits: Vec<Bytes>,
    /// One of them was taken back earlier.
    pub(crate) was_cancelled: bool,
}

impl Broker {
    /// Does to timed messages of a topic what is wished, and says what became of them.
    pub async fn change_timed(
        self: &Arc<Broker>,
        topic: &TopicName,
        which: Which,
        wish: Wish,
        now: Timestamp,
    ) -> Result<Outcome, RecallRefused> {
        if let Wish::Move(due) = wish {
            let Clockwork { max, .. } = self.clockwork(now);
            if due.since(now) > max {
                return Err(RecallRefused::TooFar { max });
            }
        }
        let until = now + VISIBLE;
        let (mut changed, mut has_looked) = (0, false);
        for _ in 0..LOOKS {
            let is_visible = self.visible(until).await;
            let (name, which) = (topic.clone(), which.clone());
            let found = self.store.query(move |store| find(store, &name, &which)).await?;
            let (held, busy) = self.change_all(&found.waits, wish)?;
            changed += held;
            let outcome = match wish {
                // Somebody is at it: the next look shows what came of that.
                _ if busy > 0 => None,
                Wish::Cancel if changed > 0 => Some(Outcome::Cancelled),
                Wish::Move(_) if changed > 0 => Some(Outcome::Moved),
                _ if found.was_cancelled => Some(Outcome::Cancelled),
                _ if found.waits.is_empty() => is_visible.then_some(Outcome::Unknown),
                // Somebody may have been at it between the look and the try.
                _ => has_looked.then_some(Outcome::TooLate),
            };
            has_looked = true;
            if let Some(outcome) = outcome {
                if changed > 0 {
                    self.promised(now).await?;
                }
                return Ok(outcome);
            }
        }
        Err(RecallRefused::Behind)
    }

    /// Waits until all that was sent before is in the index, or says that it is not by then.
    pub(crate) async fn visible(&self, until: Timestamp) -> bool {
        self.dispatch_answered();
        let marks = self.store.watermarks();
        let reached = marks.dispatched.reached(marks.written.get());
        matches!(stdx::deadline(&self.clock, until, reached).await, Some(Ok(())))
    }

    /// Changes those that nobody is at. Says how many, and how many somebody is at.
    fn change_all(&self, waits: &[Bytes], wish: Wish) -> Result<(usize, usize), RecallRefused> {
        let (mut held, mut busy) = (0, 0);
        for bytes in waits {
            match self.change_one(bytes, wish)? {
                Hold::Held => held += 1,
                Hold::Busy => busy += 1,
                Hold::Gone => {}
            }
        }
        Ok((held, busy))
    }

    /// Waits for the promise of what was just written.
    async fn promised(&self, now: Timestamp) -> Result<(), RecallRefused> {
        let end = LogOffset(self.store.watermarks().written.get());
        match self.store.settled(end, now + self.config().sending.settle_timeout).await {
            Settled::Done | Settled::FlushTimeout => Ok(()),
            Settled::Poisoned(why) => Err(RecallRefused::Poisoned(why)),
        }
    }

    /// Ends or moves one record, if nobody else is at it.
    fn change_one(&self, bytes: &Bytes, wish: Wish) -> Result<Hold, RecallRefused> {
        let record = Record::parse(bytes).expect("the store gives whole records");
        let Some(due) = store::due(&record) else { return Ok(Hold::Gone) };
        let slot = Slot { due, at: record.log_offset() };
        let hold = self.store.timers().hold(slot);
        if hold == Hold::Held {
            self.write_change(&record, slot, wish).inspect_err(|_| self.store.timers().release(&[slot]))?;
        }
        Ok(hold)
    }

    fn write_change(&self, record: &Record<'_>, slot: Slot, wish: Wish) -> Result<(), AppendError> {
        let queue = timer_queue(&self.store)?;
        let properties = match wish {
            Wish::Cancel => ended(record, slot),
            Wish::Move(due) => moved(record, slot, due),
        };
        let message = follower(record, slot.at, &queue, &properties);
        let message = match wish {
            // As Apache has it: nothing of the message is needed any more.
            Wish::Cancel => Message { body: b"0", sys_flag: 0, ..message },
            Wish::Move(_) => message,
        };
        self.store.append(&[Draft { queue: &queue, message }]).map(drop)
    }
}

/// What a message says that waits for another time now.
fn moved(record: &Record<'_>, slot: Slot, due: Timestamp) -> String {
    let mut out = PropertiesOut::from_text(record.properties_text());
    out.set(properties::TIMER_OUT_MS, &due.0.saturating_sub(1).to_string());
    out.set(properties::TIMER_DELIVER_MS, &due.to_string());
    out.set(properties::TIMER_WAS_MS, &slot.due.to_string());
    out.as_str().to_owned()
}

/// Finds the records of the messages that are meant.
fn find(store: &Store, topic: &TopicName, which: &Which) -> Result<Found, ReadError> {
    let mut all = Found::default();
    for id in ids(store, topic, which)? {
        let found = by_id(store, topic, &id)?;
        all.waits.extend(found.waits);
        all.was_cancelled |= found.was_cancelled;
    }
    Ok(all)
}

/// The ids of the messages that are meant, as far as the index has them.
pub(crate) fn ids(store: &Store, topic: &TopicName, which: &Which) -> Result<Vec<String>, ReadError> {
    let key = match which {
        Which::Id(id) => return Ok(vec![id.to_string()]),
        Which::Key(key) => key,
    };
    let mut ids: Vec<String> = Vec::new();
    for bytes in store.by_key(&timers(), key, MATCHES, Timestamp(i64::MIN), Timestamp(i64::MAX))? {
        let record = Record::parse(&bytes).expect("the store gives whole records");
        let id = record.property(properties::UNIQ_KEY).filter(|_| is_for(&record, topic));
        ids.extend(id.map(str::to_owned));
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// What the log holds of one message.
pub(crate) fn by_id(store: &Store, topic: &TopicName, id: &str) -> Result<Found, ReadError> {
    let mut found = Found::default();
    for bytes in store.by_unique_id(&timers(), id, MATCHES, Timestamp(i64::MIN), Timestamp(i64::MAX))? {
        let record = Record::parse(&bytes).expect("the store gives whole records");
        if !is_for(&record, topic) {
            continue;
        }
        match record.property(properties::TIMER_DEL_UNIQKEY) {
            Some(_) => found.was_cancelled = true,
            None => found.waits.push(bytes),
        }
    }
    Ok(found)
}

fn is_for(record: &Record<'_>, topic: &TopicName) -> bool {
    record.property(properties::REAL_TOPIC) == Some(topic.as_str())
}

fn timers() -> TopicName {
    TopicName::stored(TIMER_TOPIC)
}
