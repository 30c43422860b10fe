// SPDX-License-Identifier: Apache-2.0
//! Sending: from what a producer asks to a stored message. Called by the faces of 10, 310 and 320, later by others.
//! The story is `Broker::put`: topic, check, plan, append; and for what one connection sent at once `send_together`,
//! which does the same with one append for all. A send then waits once, for the promised durability; the
//! message that made a topic also for the name servers to know it, so that whoever was answered finds the topic.
//! Never answers a client; a message that is stored is never reported as refused.

mod batch;
mod check;
mod half;
mod inner;
mod keyed;
mod light;
mod plan;
mod room;
mod stamp;
mod timing;
mod together;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::batch::BatchError;
use protocol::body::TopicConfig;
use protocol::kind::Kind;
use protocol::names::{ByteStr, Group, LogOffset, QueueId, QueueOffset, SCHEDULE_TOPIC, TopicName};
use protocol::record::Message;
use protocol::{caps, properties};
use stdx::Timestamp;
use store::{AppendError, Draft, QueueLimit, QueueRef, Settled};

use self::check::{check, check_kind};
pub(crate) use self::half::Onward;
use self::half::Opening;
pub use self::light::LightRefused;
use self::plan::{RetryRule, Route, plan};
use self::room::Text;
pub(crate) use self::stamp::Brand;
pub(crate) use self::stamp::Said;
pub(crate) use self::timing::Clockwork;
use crate::Broker;
use crate::config::BrokerConfig;
use crate::groups::GroupRefused;
use crate::topics::{self, Found, Template, Topic, TopicRefused};

/// What a producer asks.
#[derive(Clone, Debug)]
pub struct SendInput {
    /// Where to.
    pub topic: TopicName,
    /// The queue; `None` leaves the choice to the broker.
    pub queue: Option<QueueId>,
    /// What an unknown topic is made from.
    pub template: Template,
    /// The application's flag, carried untouched.
    pub flag: i32,
    /// What the body is, among others whether it is compressed.
    pub sys_flag: i32,
    /// When the client made the message.
    pub born_at: Timestamp,
    /// Where the client is.
    pub born_host: SocketAddr,
    /// Where the client reached us.
    pub store_host: SocketAddr,
    /// How often a message to a retry topic was consumed already.
    pub reconsumed: i32,
    /// How often its consumer lets it be consumed again.
    pub reconsume_max: Option<i32>,
    /// The text form of its properties.
    pub properties: ByteStr,
    /// The body; a sequence of units when `batch`.
    pub body: Bytes,
    /// The body holds several messages.
    pub batch: bool,
}

/// Messages that are stored.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where the first record lies.
    pub start: LogOffset,
    /// Where those of the other messages of a batch lie, in order.
    pub rest: Vec<LogOffset>,
    /// Where the client reached us: with these places it makes the message ids.
    pub store_host: SocketAddr,
    /// The queue that the messages are for, even if they wait elsewhere first.
    pub queue: QueueId,
    /// The first message's place in the queue it was stored in.
    pub queue_offset: QueueOffset,
    /// The id its client gave the message, or that it was given here.
    pub unique: Option<ByteStr>,
    /// What it is taken back with, if it waits for a time of its own. Retries are not taken back.
    pub timed: Option<Box<Timed>>,
    /// It is a batch that is one record, with one id.
    pub is_inner: bool,
    /// How far the promise has come.
    pub settled: Settled,
}

/// A message that waits for a time of its own.
#[derive(Clone, Debug)]
pub struct Timed {
    /// The topic it is for.
    pub topic: TopicName,
    /// When it is due.
    pub due: Timestamp,
}

impl Sent {
    /// Returns where each record lies, in order.
    pub fn starts(&self) -> impl ExactSizeIterator<Item = LogOffset> + '_ {
        let at = |index: usize| index.checked_sub(1).map_or(self.start, |index| self.rest[index]);
        (0..self.rest.len() + 1).map(at)
    }
}

/// Why messages were not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendRefused {
    /// This broker takes no messages at all.
    #[error("the broker[{broker}] sending message is forbidden")]
    BrokerNotWritable {
        /// Its name.
        broker: String,
    },
    /// The topic cannot be used.
    #[error(transparent)]
    Topic(#[from] TopicRefused),
    /// The group of a retry topic cannot be used.
    #[error(transparent)]
    Group(#[from] GroupRefused),
    /// The message is empty.
    #[error("the message has no body")]
    NoBody,
    /// The message is too large.
    #[error("the message body is {size} bytes long, at most {max} are allowed")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// Its properties do not fit the record.
    #[error("the message properties are {size} bytes long, at most {max} are allowed")]
    PropertiesTooLarge {
        /// Their size.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// Its properties are no text.
    #[error("the message properties are not UTF-8")]
    PropertiesNotText,
    /// A compacted topic keeps the latest message of a key.
    #[error("Required message key is missing")]
    KeyMissing,
    /// Keys are held in memory where the latest message of each is kept.
    #[error("the message key is {size} bytes long, in a compaction topic at most {max} are allowed")]
    KeyTooLong {
        /// Its size.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// So many keys have a latest message that no further one may.
    #[error(
        "[TOO_MANY_KEYS] {max} keys of compaction topics have a latest message, and there may not be more"
    )]
    TooManyKeys {
        /// The limit.
        max: usize,
    },
    /// The topic takes messages of another kind.
    #[error("TopicMessageType validate failed, the expected type is {expected}, but actual type is {actual}")]
    OtherKind {
        /// What the topic takes.
        expected: Kind,
        /// What the message is.
        actual: Kind,
    },
    /// The batch cannot be taken apart.
    #[error("the batch is not readable: {0}")]
    BadBatch(#[from] BatchError),
    /// A batch of nothing, or of too many.
    #[error("a batch holds 1 to {max} messages, this one {count}")]
    BatchCount {
        /// How many it holds, or one more than the limit.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// Batches go to ordinary topics and at once.
    #[error("batch request does not support {what}")]
    NotInBatch {
        /// What was asked.
        what: &'static str,
    },
    /// Only a batch says how many messages it holds, and only this broker says so of a record.
    #[error("the message had property INNER_NUM but is not an inner batch")]
    CountsItself,
    /// This broker takes no half messages.
    #[error("the broker[{broker}] sending transaction message is forbidden")]
    Half {
        /// Its name.
        broker: String,
    },
    /// So many transactions wait for a decision that no further one may.
    #[error("[TOO_MANY_TRANSACTIONS] {open} transactions wait for a decision, at most {max} may: try later")]
    TooManyOpen {
        /// How many wait.
        open: usize,
        /// The limit.
        max: usize,
    },
    /// A delivery time that is none.
    #[error("timer message illegal: {name} is \"{value}\", which is no number of milliseconds or seconds")]
    BadTime {
        /// The property.
        name: &'static str,
        /// What it says.
        value: String,
    },
    /// A delivery time that lies too far ahead.
    #[error("timer message illegal: the delay time should not be bigger than the max delay {}ms", max.as_millis())]
    TooFar {
        /// The limit.
        max: Duration,
    },
    /// Apache's older way of taking a timed message back.
    #[error(
        "timer message illegal: a message is taken back with its recall handle, not with TIMER_DEL_UNIQKEY"
    )]
    TimerDelete,
    /// It cannot be put into the light queues that it lists.
    #[error(transparent)]
    Light(#[from] LightRefused),
    /// The store took nothing.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl From<QueueLimit> for SendRefused {
    fn from(limit: QueueLimit) -> SendRefused {
        SendRefused::Topic(limit.into())
    }
}

/// Messages in the log whose promise may still be open.
struct Stored {
    sent: Sent,
    /// What to wait for, and for how long; `None` when the producer does not.
    end: LogOffset,
    patience: Option<Duration>,
    /// A topic was made on the way.
    made_topic: bool,
}

/// Where a message is stored.
struct Place<'a> {
    queue: Cow<'a, QueueRef>,
    /// The queue that its sender is told.
    told: QueueId,
    /// Its topic was made for this.
    is_new: bool,
}

/// A message that can go into the log as it is.
struct Planned<'a> {
    input: &'a SendInput,
    place: Place<'a>,
    properties: Text,
    unique: Option<ByteStr>,
    timed: Option<Box<Timed>>,
    patience: Option<Duration>,
    is_dead: bool,
    /// It is the first half of a transaction.
    half: Option<Opening<'a>>,
    /// It goes to light queues too, now.
    is_light: bool,
}

/// A send under way.
pub enum Sending {
    /// It is over.
    Done(Result<Sent, SendRefused>),
    /// Its promise, or room for it, is still awaited.
    Waits(Pin<Box<dyn Future<Output = Result<Sent, SendRefused>> + Send>>),
}

impl Broker {
    /// Stores messages; the future resolves once the promised durability holds, or says why they were not stored.
    pub fn send(
        self: &Arc<Broker>,
        input: SendInput,
        now: Timestamp,
    ) -> impl Future<Output = Result<Sent, SendRefused>> + Send + use<> {
        let sending = self.send_begun(input, now);
        async move {
            match sending {
                Sending::Done(sent) => sent,
                Sending::Waits(sent) => sent.await,
            }
        }
    }

    /// Does the same; all but the waiting is done when this returns.
    pub fn send_begun(self: &Arc<Broker>, input: SendInput, now: Timestamp) -> Sending {
        let stored = self.put(&input, now);
        self.settling(input, stored, now)
    }

    /// What is left to do for a send after its messages went into the log, or did not.
    fn settling(
        self: &Arc<Broker>,
        input: SendInput,
        stored: Result<Stored, SendRefused>,
        now: Timestamp,
    ) -> Sending {
        match stored {
            Ok(stored) if self.is_settled(&stored) => Sending::Done(Ok(stored.sent)),
            Ok(stored) => {
                let broker = self.clone();
                Sending::Waits(Box::pin(async move { Ok(broker.settle(stored, now).await) }))
            }
            Err(refused) if is_crowded(&refused) => {
                let broker = self.clone();
                Sending::Waits(Box::pin(async move {
                    let stored = broker.put_when_roomier(input, now).await?;
                    Ok(broker.settle(stored, now).await)
                }))
            }
            Err(refused) => Sending::Done(Err(refused)),
        }
    }

    /// Waits while the disk is behind: a moment of it is no reason to send a producer away, a second is.
    async fn put_when_roomier(&self, input: SendInput, now: Timestamp) -> Result<Stored, SendRefused> {
        let until = now + self.config().sending.busy_wait;
        loop {
            self.store.roomier(until).await;
            match self.put(&input, now) {
                Err(refused) if is_crowded(&refused) && self.clock.now() < until => {}
                stored => return stored,
            }
        }
    }

    /// Puts messages into the log.
    fn put(&self, input: &SendInput, now: Timestamp) -> Result<Stored, SendRefused> {
        let config = self.config();
        let Found { topic, is_new } =
            self.topics.for_write(&input.topic, &input.template, &self.store, now)?;
        check(input, &topic, &config)?;
        let mut stored = match input.batch {
            false => self.store_one(input, &topic, &config, now)?,
            true => self.store_batch(input, &topic, now)?,
        };
        stored.made_topic |= is_new;
        self.dispatch_at_once(stored.end);
        Ok(stored)
    }

    /// Judges a message without storing it. Returns the queue that it is for; its topic is made if need be.
    pub(crate) fn queue_for(&self, input: &SendInput, now: Timestamp) -> Result<QueueId, SendRefused> {
        let found = self.topics.for_write(&input.topic, &input.template, &self.store, now)?;
        check(input, &found.topic, &self.config())?;
        Ok(input.queue.unwrap_or_else(|| found.topic.any_queue()))
    }

    /// Says whether nothing is left to wait for.
    fn is_settled(&self, stored: &Stored) -> bool {
        !stored.made_topic
            && (stored.patience.is_none() || self.store.watermarks().gate.get() >= stored.end.0)
    }

    /// Waits for the promised durability, if the producer does, and for the topic to be known, if it is new.
    async fn settle(&self, stored: Stored, now: Timestamp) -> Sent {
        let Stored { mut sent, end, patience, made_topic } = stored;
        let is_done = self.store.watermarks().gate.get() >= end.0;
        if let Some(patience) = patience.filter(|_| !is_done) {
            sent.settled = self.store.settled(end, now + patience).await;
        }
        if made_topic {
            self.announced(now).await;
        }
        sent
    }

    /// Plans one message and appends it.
    fn store_one(
        &self,
        input: &SendInput,
        topic: &Topic,
        config: &BrokerConfig,
        now: Timestamp,
    ) -> Result<Stored, SendRefused> {
        let planned = self.planned(input, topic, config, now)?;
        let appended = match planned.is_light {
            false => self.store.append(&[planned.draft()])?,
            true => self.store.append_light(&[planned.draft()])?,
        };
        self.count_sent(topic, 1, 1, (appended.end.0 - appended.start.0) as usize, now);
        self.count_dead(&planned, now);
        let place = (appended.start, appended.first_queue_offset);
        self.note_half(&planned, place, appended.stored_at);
        Ok(planned.stored(place, appended.end))
    }

    /// Decides everything about one message before it goes into the log.
    fn planned<'a>(
        &'a self,
        input: &'a SendInput,
        topic: &'a Topic,
        config: &BrokerConfig,
        now: Timestamp,
    ) -> Result<Planned<'a>, SendRefused> {
        let mut said = Said::read(&input.properties);
        counts_itself(&said)?;
        if topic.is_compacted() && !said.keyed {
            return Err(SendRefused::KeyMissing);
        }
        if config.sending.check_message_types {
            check_kind(topic, said.kind())?;
        }
        let urgent = said.urgency().map(|urgency| topic.queue_of_priority(urgency));
        let rule = self.retry_rule(input, now)?;
        let route = plan(&said, self.delay.levels(), rule, input.reconsumed, self.clockwork(now))?;
        if route == Route::Half {
            self.admit_half()?;
        }
        self.expire(&mut said, topic, route, now);
        let told = urgent.or(input.queue).unwrap_or_else(|| topic.any_queue());
        if topic.is_compacted() {
            self.admit_keys(topic, told, &input.properties)?;
        }
        let place = self.place(topic, told, route, now)?;
        let fresh = said.unique.is_none().then(|| self.ids.next(now));
        let properties = self.properties(&said, &input.topic, &place, route, fresh.as_deref())?;
        let is_light = self.admit_light(said.light, topic, properties.len())? && route == Route::Direct;
        Ok(Planned {
            input,
            place,
            properties,
            is_light,
            unique: said.unique.map(|id| input.properties.slice_ref(id)).or(fresh.map(ByteStr::from)),
            timed: match route {
                Route::Timed(due) if !input.topic.is_retry() => {
                    Some(Box::new(Timed { topic: input.topic.clone(), due }))
                }
                Route::Timed(_) | Route::Direct | Route::Delayed(_) | Route::Half | Route::DeadLetters => {
                    None
                }
            },
            patience: said.wait.then_some(config.sending.settle_timeout),
            is_dead: matches!(route, Route::DeadLetters),
            half: (route == Route::Half).then(|| Opening {
                topic: topic.name(),
                group: said.group.unwrap_or_default(),
                immunity: said.immunity,
            }),
        })
    }

    /// Decides until when a message is worth being read. Half a message is not, and what nobody wanted any more is for ever.
    fn expire(&self, said: &mut Said<'_>, topic: &Topic, route: Route, now: Timestamp) {
        let from = match route {
            Route::Direct => now,
            Route::Delayed(level) => self.delay.levels().due(level.queue().0 as usize, now),
            Route::Timed(due) => due,
            Route::Half | Route::DeadLetters => return,
        };
        said.expire(from, topic.ttl());
    }

    fn count_sent(&self, topic: &Topic, calls: usize, messages: usize, bytes: usize, now: Timestamp) {
        self.counts.sent(messages, bytes);
        topic.traffic(&self.rates, now).puts.add_all(calls, messages, bytes);
    }

    /// Notes a message that its consumer gave up by itself.
    fn count_dead(&self, planned: &Planned<'_>, now: Timestamp) {
        if !planned.is_dead {
            return;
        }
        let input = planned.input;
        let origin = properties::get(&input.properties, properties::RETRY_TOPIC);
        if let (Some(origin), Some(group)) = (origin, input.topic.retry_group())
            && let Some(topic) = self.topics.get(origin)
        {
            self.rates.group(topic.name(), &group, now).dead.add(1, input.body.len());
        }
    }

    pub(super) fn clockwork(&self, now: Timestamp) -> Clockwork {
        Clockwork { now, max: self.timer_max() }
    }

    /// How far ahead a message may be due.
    pub(super) fn timer_max(&self) -> Duration {
        Duration::from_secs(self.config().sending.timer_max_delay_secs)
    }

    fn patience(&self, wait: bool) -> Option<Duration> {
        wait.then(|| self.config().sending.settle_timeout)
    }

    /// What the group of a retry topic allows; `None` for other topics.
    fn retry_rule(&self, input: &SendInput, now: Timestamp) -> Result<Option<RetryRule>, SendRefused> {
        let Some(group) = input.topic.retry_group() else { return Ok(None) };
        let config = self.groups.find_or_create(&group, &self.config().creation, &self.store, now)?;
        let max = input.reconsume_max.unwrap_or(config.retry_max_times);
        let failed = input.reconsumed.saturating_sub(1);
        let wait = config.group_retry_policy.wait(failed).filter(|_| input.reconsumed > 0);
        let in_order = self.locks.is_held(&group, now) && !is_replay(input);
        Ok(Some(RetryRule { max, in_order, wait }))
    }

    fn place<'a>(
        &'a self,
        topic: &'a Topic,
        told: QueueId,
        route: Route,
        now: Timestamp,
    ) -> Result<Place<'a>, SendRefused> {
        let (queue, is_new) = match route {
            Route::Direct => (topic.queue_handle(told, &self.store)?, false),
            Route::Delayed(level) => {
                let queue = self.store.queue(&TopicName::stored(SCHEDULE_TOPIC), level.queue())?;
                (Cow::Owned(queue), false)
            }
            Route::Half => (Cow::Borrowed(self.transactions.half_queue(&self.store)?), false),
            Route::Timed(_) => (Cow::Borrowed(self.timer.queue(&self.store)?), false),
            Route::DeadLetters => {
                let group = topic.name().retry_group().unwrap_or_default();
                let (queue, is_new) = self.dead_letters(&group, now)?;
                (Cow::Owned(queue), is_new)
            }
        };
        Ok(Place { queue, told, is_new })
    }

    /// The queue of a group's dead letters, made when it is unknown, and whether it was.
    pub(super) fn dead_letters(
        &self,
        group: &Group,
        now: Timestamp,
    ) -> Result<(QueueRef, bool), TopicRefused> {
        let Found { topic, is_new } = self.topics.ensure(dead_letter_topic(group), &self.store, now)?;
        Ok((topic.queue(QueueId(0), &self.store)?, is_new))
    }

    fn properties(
        &self,
        said: &Said<'_>,
        topic: &TopicName,
        place: &Place<'_>,
        route: Route,
        fresh: Option<&str>,
    ) -> Result<Text, SendRefused> {
        let mut text = Text::new();
        match route {
            Route::Direct => said.stored(&self.brand, &[], &[], fresh, &mut text),
            Route::Delayed(level) => {
                let (level, queue) = (level.number().to_string(), place.told.to_string());
                let also = [
                    (properties::DELAY, level.as_str()),
                    (properties::REAL_TOPIC, topic),
                    (properties::REAL_QID, &queue),
                ];
                said.stored(&self.brand, &DELAYS, &also, fresh, &mut text);
            }
            Route::Half => self.half_properties(said, topic, place, fresh, &mut text),
            Route::Timed(due) => {
                let mut digits = [itoa::Buffer::new(); 3];
                let [floor, exact, queue] = &mut digits;
                let also = [
                    (properties::TIMER_OUT_MS, floor.format(due.0 - 1)),
                    (properties::TIMER_DELIVER_MS, exact.format(due.0)),
                    (properties::REAL_TOPIC, topic),
                    (properties::REAL_QID, queue.format(place.told.0)),
                ];
                said.stored_timed(&self.brand, &also, fresh, &mut text);
            }
            Route::DeadLetters => {
                let origin = |name, fallback| properties::get(said.text(), name).unwrap_or(fallback);
                let also = [
                    (properties::DLQ_ORIGIN_TOPIC, origin(properties::RETRY_TOPIC, topic)),
                    (
                        properties::DLQ_ORIGIN_MESSAGE_ID,
                        origin(properties::ORIGIN_MESSAGE_ID, said.unique.unwrap_or_default()),
                    ),
                ];
                said.stored(&self.brand, &DELAYS, &also, fresh, &mut text);
            }
        }
        properties_fit(text)
    }
}

/// What is read from a message that waits for a level's time, or that no longer waits at all.
const DELAYS: [&str; 6] = [
    properties::DELAY,
    properties::TIMER_DELAY_MS,
    properties::TIMER_DELAY_SEC,
    properties::TIMER_DELIVER_MS,
    properties::DLQ_ORIGIN_TOPIC,
    properties::DLQ_ORIGIN_MESSAGE_ID,
];

/// Bits of the system flag that say how a body is packed and tagged; the rest is not the sender's to set.
const SENDERS_FLAGS: i32 = 0x703;

/// The settings of a group's dead-letter topic.
pub(crate) fn dead_letter_topic(group: &Group) -> TopicConfig {
    TopicConfig::new(TopicName::dlq_of(group), 1, topics::READ | topics::WRITE)
}

/// An operator sends a dead letter again: no consumer, which says how often it tried, gives it up.
fn is_replay(input: &SendInput) -> bool {
    let is_first = input.reconsumed == 0 && input.reconsume_max.is_none();
    is_first && properties::get(&input.properties, properties::REPLAY_OF).is_some()
}

/// The store has no room for now; nothing of the message is stored.
fn is_crowded(refused: &SendRefused) -> bool {
    matches!(refused, SendRefused::Append(AppendError::Busy { .. }))
}

impl Planned<'_> {
    fn draft(&self) -> Draft<'_> {
        let queue: &QueueRef = &self.place.queue;
        Draft { queue, message: message(self.input, queue, &self.input.body, &self.properties) }
    }

    /// The message once it is in the log. `end` is what to wait for.
    fn stored(self, (start, queue_offset): (LogOffset, QueueOffset), end: LogOffset) -> Stored {
        let sent = Sent {
            start,
            rest: Vec::new(),
            store_host: self.input.store_host,
            queue: self.place.told,
            queue_offset,
            unique: self.unique,
            timed: self.timed,
            is_inner: false,
            settled: Settled::Done,
        };
        Stored { sent, end, patience: self.patience, made_topic: self.place.is_new }
    }
}

/// A message that was read whole by somebody who does not take it apart, and is sent on, would be counted as many.
fn counts_itself(said: &Said<'_>) -> Result<(), SendRefused> {
    if said.counts { Err(SendRefused::CountsItself) } else { Ok(()) }
}

fn properties_fit(text: Text) -> Result<Text, SendRefused> {
    properties_fit_with(text, 0)
}

/// Judges a text to which `more` bytes will be added.
fn properties_fit_with(text: Text, more: usize) -> Result<Text, SendRefused> {
    match text.len() + more {
        size if size > caps::MAX_PROPERTIES => {
            Err(SendRefused::PropertiesTooLarge { size, max: caps::MAX_PROPERTIES })
        }
        _ => Ok(text),
    }
}

fn message<'a>(input: &SendInput, queue: &'a QueueRef, body: &'a [u8], properties: &'a str) -> Message<'a> {
    let envelope = Envelope {
        flag: input.flag,
        sys_flag: input.sys_flag,
        born_at: input.born_at,
        born_host: input.born_host,
        store_host: input.store_host,
        reconsumed: input.reconsumed,
    };
    envelope.message(queue, body, properties)
}

/// What a message says beside its place, its body and its properties; as in [`SendInput`].
#[derive(Clone, Copy)]
struct Envelope {
    flag: i32,
    sys_flag: i32,
    born_at: Timestamp,
    born_host: SocketAddr,
    store_host: SocketAddr,
    reconsumed: i32,
}

impl Envelope {
    fn message<'a>(&self, queue: &'a QueueRef, body: &'a [u8], properties: &'a str) -> Message<'a> {
        Message {
            topic: &queue.key().topic,
            queue: queue.key().queue,
            flag: self.flag,
            sys_flag: self.sys_flag & SENDERS_FLAGS,
            born_at: self.born_at,
            born_host: self.born_host,
            store_host: self.store_host,
            reconsume: self.reconsumed,
            prepared: LogOffset(0),
            body,
            properties: properties.as_bytes(),
        }
    }
}
