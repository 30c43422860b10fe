// SPDX-License-Identifier: Apache-2.0
//! A consumer gives back a message that it could not handle: it is delivered again later, or becomes a dead letter.
//! Called by the face of 36. Invariants: the copy has the body, the flags, the times and the properties of its
//! original; a copy is in the log before the answer says so.

use std::borrow::Cow;
use std::net::SocketAddr;

use bytes::Bytes;
use protocol::body::{SubscriptionGroupConfig, TopicConfig};
use protocol::ids::OffsetId;
use protocol::inner;
use protocol::names::{ByteStr, Group, LogOffset, QueueId, SCHEDULE_TOPIC, TIMER_TOPIC, TopicName};
use protocol::properties::{self, PropertiesOut};
use protocol::record::{INNER_BATCH, Message, Record};
use stdx::Timestamp;
use store::{AppendError, Draft, QueueRef, ReadError, Settled};

use crate::Broker;
use crate::delay::Level;
use crate::groups::GroupRefused;
use crate::topics::{self, Found, TopicRefused, WRITE};

/// What a consumer gives back.
#[derive(Clone, Debug)]
pub struct SendBackInput {
    /// Its group.
    pub group: Group,
    /// Where the record lies.
    pub offset: LogOffset,
    /// The id of the message, which says which one of a batch it is.
    pub id: Option<ByteStr>,
    /// When to try again: a level, 0 for the usual one, below 0 for never.
    pub delay_level: i32,
    /// How often the client lets it be tried again.
    pub max: Option<i32>,
    /// How often it failed before this failure, where the client knows more than the record.
    pub reconsumed: Option<i32>,
    /// The flags of a retry topic that has to be made.
    pub topic_flag: i32,
    /// Where the client reached us.
    pub store_host: SocketAddr,
}

/// Why a message cannot be given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendBackRefused {
    /// This broker takes no messages at all.
    #[error("the broker[{broker}] sending message is forbidden")]
    BrokerNotWritable {
        /// Its name.
        broker: String,
    },
    /// The group cannot be used.
    #[error(transparent)]
    Group(#[from] GroupRefused),
    /// The group's retry or dead-letter topic cannot be used.
    #[error(transparent)]
    Topic(#[from] TopicRefused),
    /// No message lies there.
    #[error("look message by offset failed, {at}")]
    NotThere {
        /// Where.
        at: LogOffset,
    },
    /// A batch lies there, and the consumer does not say which of its messages it means.
    #[error(
        "the message at {at} is an inner batch, and has no message with id {id:?}: what a consumer got whole is not taken back"
    )]
    NotInBatch {
        /// Where.
        at: LogOffset,
        /// What the consumer said.
        id: String,
    },
    /// The store could not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store took nothing.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Where a copy goes.
enum Fate {
    /// To be tried again after this level's time.
    Retry(Level),
    /// To be tried again then, as its group's policy has it.
    RetryAt(Timestamp),
    /// To the dead letters.
    Dead,
}

/// A copy in the log.
struct Copied {
    end: LogOffset,
    /// A topic was made for it.
    made_topic: bool,
}

impl Broker {
    /// Stores a copy for a later try, or as a dead letter; returns once the promised durability holds.
    pub async fn send_back(&self, input: SendBackInput, now: Timestamp) -> Result<Settled, SendBackRefused> {
        let group = self.groups.find_or_create(&input.group, &self.config().creation, &self.store, now)?;
        if self.config().identity.permission & WRITE as u32 == 0 {
            return Err(SendBackRefused::BrokerNotWritable { broker: self.config().identity.name.clone() });
        }
        // COMPAT: a group without retry queues does not want failed messages again, and is told that all is well.
        if group.retry_queue_nums <= 0 {
            return Ok(Settled::Done);
        }
        let original = self.store.record(input.offset).await?;
        let original = original.ok_or(SendBackRefused::NotThere { at: input.offset })?;
        let Copied { end, made_topic } = self.store_copy(&input, &group, &original, now)?;
        let patience = self.config().sending.settle_timeout;
        let settled = self.store.settled(end, now + patience).await;
        if made_topic {
            self.announced(now).await;
        }
        Ok(settled)
    }

    fn store_copy(
        &self,
        input: &SendBackInput,
        group: &SubscriptionGroupConfig,
        original: &Bytes,
        now: Timestamp,
    ) -> Result<Copied, SendBackRefused> {
        let not_there = SendBackRefused::NotThere { at: input.offset };
        let record = Record::parse(original).map_err(|_| not_there)?;
        let letter = letter(&record, input)?;
        let Found { topic: retry, is_new } = self.retry_topic(group, input.topic_flag, now)?;
        let reconsumed = record.reconsume().max(input.reconsumed.unwrap_or(0));
        let fate = self.fate(input, group, reconsumed, now);
        let (queue, more, made_topic) = match &fate {
            Fate::Retry(level) => {
                (self.schedule_queue(*level)?, delayed(*level, retry.name(), retry.any_queue()), is_new)
            }
            Fate::RetryAt(due) => {
                let queue = self.store.queue(&TopicName::stored(TIMER_TOPIC), QueueId(0));
                (queue.map_err(TopicRefused::from)?, timed(*due, retry.name(), retry.any_queue()), is_new)
            }
            Fate::Dead => {
                let (queue, is_also_new) = self.dead_letters(&input.group, now)?;
                (queue, dead(&record, &letter), is_new || is_also_new)
            }
        };
        let properties = copied_properties(&record, &letter, more, matches!(fate, Fate::RetryAt(_)));
        let key = queue.key();
        let again = Message::again(&record, &key.topic, key.queue, properties.as_bytes());
        let message = Message {
            store_host: input.store_host,
            reconsume: reconsumed.saturating_add(1),
            flag: letter.flag,
            sys_flag: again.sys_flag & !inner::FLAGS,
            body: letter.body,
            ..again
        };
        let end = self.store.append(&[Draft { queue: &queue, message }])?.end;
        let origin = letter.property(properties::RETRY_TOPIC).unwrap_or(record.topic());
        if let Some(topic) = self.topics.get(origin) {
            let traffic = self.rates.group(topic.name(), &input.group, now);
            traffic.sent_back.add(1, letter.body.len());
            if matches!(fate, Fate::Dead) {
                traffic.dead.add(1, letter.body.len());
            }
        }
        Ok(Copied { end, made_topic })
    }

    /// Decides what becomes of a message that failed `reconsumed` times before.
    fn fate(
        &self,
        input: &SendBackInput,
        group: &SubscriptionGroupConfig,
        reconsumed: i32,
        now: Timestamp,
    ) -> Fate {
        let max = input.max.unwrap_or(group.retry_max_times);
        if input.delay_level < 0 || reconsumed >= max {
            return Fate::Dead;
        }
        // A level that the consumer names is a wish for this one message and goes before what holds for all.
        let policy = group.group_retry_policy.wait(reconsumed).filter(|_| input.delay_level == 0);
        if let Some(wait) = policy {
            return Fate::RetryAt(now + wait.min(self.timer_max()));
        }
        let usual = i64::from(reconsumed).saturating_add(3);
        let asked = if input.delay_level == 0 { usual } else { i64::from(input.delay_level) };
        self.delay.levels().clamp(asked).map_or(Fate::Dead, Fate::Retry)
    }

    /// Returns a group's retry topic, made when it is unknown.
    pub(crate) fn retry_topic(
        &self,
        group: &SubscriptionGroupConfig,
        topic_flag: i32,
        now: Timestamp,
    ) -> Result<Found, TopicRefused> {
        let name = TopicName::retry_of(&group.group_name);
        let config = TopicConfig::new(name, group.retry_queue_nums.max(0), topics::READ | topics::WRITE);
        let config = TopicConfig { topic_sys_flag: topic_flag, ..config };
        self.topics.ensure(config, &self.store, now)
    }

    fn schedule_queue(&self, level: Level) -> Result<QueueRef, TopicRefused> {
        Ok(self.store.queue(&TopicName::stored(SCHEDULE_TOPIC), level.queue())?)
    }
}

/// The one message of a record that is given back.
struct Letter<'a> {
    flag: i32,
    body: &'a [u8],
    /// The text form of its properties, with what the record says for it.
    properties: Cow<'a, str>,
}

impl Letter<'_> {
    fn property(&self, name: &str) -> Option<&str> {
        properties::get(&self.properties, name)
    }
}

/// What a batch says for each of its messages.
const OF_ALL: [&str; 4] =
    [properties::CLUSTER, properties::MSG_REGION, properties::TRACE_ON, properties::EXPIRES];

/// Finds what is given back: the record, or of an inner batch the message with the id that the consumer names.
///
/// COMPAT: Apache refuses to take back any message of an inner batch, and its clients then send it again by themselves.
/// Whoever got a batch whole, like a client before 5.0, is refused as there.
fn letter<'a>(record: &Record<'a>, input: &SendBackInput) -> Result<Letter<'a>, SendBackRefused> {
    if record.sys_flag() & INNER_BATCH == 0 {
        let properties = Cow::Borrowed(record.properties_text());
        return Ok(Letter { flag: record.flag(), body: record.body(), properties });
    }
    let id = input.id.as_deref().unwrap_or_default();
    let refused = || SendBackRefused::NotInBatch { at: input.offset, id: id.to_owned() };
    let unit = inner::find(record, id).ok_or_else(refused)?;
    let mut out = PropertiesOut::from_text(str::from_utf8(unit.properties).unwrap_or_default());
    for name in OF_ALL {
        record.property(name).into_iter().for_each(|value| out.set(name, value));
    }
    let properties = Cow::Owned(out.as_str().to_owned());
    Ok(Letter { flag: unit.flag, body: unit.body, properties })
}

type More = Vec<(&'static str, String)>;

/// What a copy says that waits for its next try.
fn delayed(level: Level, topic: &TopicName, queue: QueueId) -> More {
    vec![
        (properties::DELAY, level.number().to_string()),
        (properties::REAL_TOPIC, topic.to_string()),
        (properties::REAL_QID, queue.to_string()),
    ]
}

/// What a copy says that waits for a time of its own.
fn timed(due: Timestamp, topic: &TopicName, queue: QueueId) -> More {
    vec![
        (properties::TIMER_OUT_MS, due.0.saturating_sub(1).to_string()),
        (properties::TIMER_DELIVER_MS, due.to_string()),
        (properties::REAL_TOPIC, topic.to_string()),
        (properties::REAL_QID, queue.to_string()),
    ]
}

/// What a dead letter says of its origin.
fn dead(record: &Record<'_>, letter: &Letter<'_>) -> More {
    let topic = letter.property(properties::RETRY_TOPIC).unwrap_or(record.topic());
    vec![
        (properties::DLQ_ORIGIN_TOPIC, topic.to_owned()),
        (properties::DLQ_ORIGIN_MESSAGE_ID, origin_id(record, letter)),
    ]
}

/// The id that a message's first copy had.
fn origin_id(record: &Record<'_>, letter: &Letter<'_>) -> String {
    let place = OffsetId { host: record.store_host(), offset: record.log_offset() };
    letter.property(properties::ORIGIN_MESSAGE_ID).map_or_else(|| place.to_string(), str::to_owned)
}

/// Properties of an earlier try that do not hold for the next one.
const STALE: [&str; 8] = [
    properties::DELAY,
    properties::REAL_TOPIC,
    properties::REAL_QID,
    properties::DLQ_ORIGIN_TOPIC,
    properties::DLQ_ORIGIN_MESSAGE_ID,
    properties::INNER_MULTI_QUEUE_OFFSET,
    properties::INNER_NUM,
    properties::INNER_BASE,
];

/// What says of a delivered message when it was due. A message that waited by its producer's wish keeps it; the waits
/// between its retries are nobody's business any more.
const WAITED: [&str; 5] = [
    properties::TIMER_OUT_MS,
    properties::TIMER_DELIVER_MS,
    properties::TIMER_ENQUEUE_MS,
    properties::TIMER_DEQUEUE_MS,
    properties::TIMER_WAS_MS,
];

/// The properties of the original with where it came from, and `more`. The first topic and the first id stay.
fn copied_properties(record: &Record<'_>, letter: &Letter<'_>, more: More, waits_again: bool) -> String {
    let mut out = PropertiesOut::default();
    let has_retried = waits_again || letter.property(properties::RETRY_TOPIC).is_some();
    let is_stale = |name: &str| STALE.contains(&name) || (has_retried && WAITED.contains(&name));
    let kept = properties::iter(&letter.properties).filter(|(name, _)| !is_stale(name));
    kept.for_each(|(name, value)| out.push(name, value));
    if letter.property(properties::RETRY_TOPIC).is_none() {
        out.push(properties::RETRY_TOPIC, record.topic());
    }
    if letter.property(properties::ORIGIN_MESSAGE_ID).is_none() {
        out.push(properties::ORIGIN_MESSAGE_ID, &origin_id(record, letter));
    }
    more.iter().for_each(|(name, value)| out.push(name, value));
    out.as_str().to_owned()
}
