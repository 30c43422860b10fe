// SPDX-License-Identifier: Apache-2.0
//! Pulling: a batch from one queue, waiting for the first matching message if the caller allows it.
//! Called by the faces of 11 and 361, later by others. Waits for a cold read and for arrivals, nowhere else.
//! Invariants: a pull that may wait never answers "nothing new" before its time; the next offset it names is never
//! behind a message that matches and was not given.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use protocol::filter::{self, Filter};
use protocol::names::{ByteStr, Group, QueueId, QueueOffset, TopicName};
use stdx::Timestamp;
use store::{Batch, QueueRef, Read, ReadError, ReadLimit};

use crate::Broker;
use crate::arrivals::waiters::Full;
use crate::clients::{ConnectionId, Dispute};
use crate::config::Mixed;
use crate::groups::GroupRefused;
use crate::rates::Gift;
use crate::topics::{Topic, TopicRefused, counted_as};

/// How long a waiting reader is not told that messages came and none was for it: so long its group seems to lag.
const TELL_PASSED: Duration = Duration::from_secs(1);

/// What a consumer asks.
#[derive(Clone, Debug)]
pub struct PullInput {
    /// Its group.
    pub group: Group,
    /// The topic.
    pub topic: TopicName,
    /// The queue.
    pub queue: QueueId,
    /// The first offset it wants; `None` is before every message.
    pub from: Option<QueueOffset>,
    /// How many messages at most.
    pub messages: usize,
    /// How many bytes at most.
    pub bytes: Option<usize>,
    /// How long it lets us wait for a message.
    pub wait: Option<Duration>,
    /// How far it has come, told on the way.
    pub commit: Option<QueueOffset>,
    /// Its filter, kind and expression, when it does not rely on what its heartbeat said.
    pub filter: Option<(ByteStr, ByteStr)>,
    /// The kind of filter it believes to have, when that is none that it applies once more by itself.
    pub kind: Option<ByteStr>,
    /// The version of the subscription it knows.
    pub sub_version: i64,
    /// The connection it asks on.
    pub connection: ConnectionId,
    /// It is a consumer without callbacks.
    pub lite: bool,
}

/// What a pull found.
#[derive(Debug)]
pub struct Pulled {
    /// Messages, or why there are none.
    pub outcome: Outcome,
    /// The offset to ask for next.
    pub next: QueueOffset,
    /// The first offset that is there.
    pub first: QueueOffset,
    /// One past the last offset that is there.
    pub end: QueueOffset,
    /// Flags of the topic.
    pub topic_flag: i32,
    /// Flags of the group.
    pub group_flag: i32,
}

/// Messages, or why there are none.
#[derive(Debug)]
pub enum Outcome {
    /// These.
    Found(Batch),
    /// Nothing new, and the time is over.
    AtTail,
    /// The queue is empty.
    Empty,
    /// Nothing matched in what was looked at; there may be more behind it.
    Filtered,
    /// The offset is before the first message.
    TooSmall,
    /// The offset is past the end.
    TooLarge,
    /// The offset is past the end of a queue that has never had a message.
    NoMessages,
    /// An operator moved the group.
    Reset,
}

/// Why a pull is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullRefused {
    /// This broker gives no messages at all.
    #[error("the broker[{broker}] pulling message is forbidden")]
    BrokerNotReadable {
        /// Its name.
        broker: String,
    },
    /// Consumers without callbacks are not served.
    #[error("the broker[{broker}] for lite pull consumer is forbidden")]
    LiteForbidden {
        /// Its name.
        broker: String,
    },
    /// The group cannot be used.
    #[error(transparent)]
    Group(#[from] GroupRefused),
    /// The group may not broadcast.
    #[error("the consumer group[{group}] can not consume by broadcast way")]
    BroadcastForbidden {
        /// Its name.
        group: Group,
    },
    /// An operator forbade the group to read the topic.
    #[error("the consumer group[{group}] is forbidden for topic[{topic}]")]
    Forbidden {
        /// The group.
        group: Group,
        /// The topic.
        topic: TopicName,
    },
    /// The topic cannot be used.
    #[error(transparent)]
    Topic(#[from] TopicRefused),
    /// Nobody of the group is known here.
    #[error("the consumer's group info not exist, group: {group}")]
    NoMembers {
        /// The group.
        group: Group,
    },
    /// The group does not subscribe to the topic.
    #[error("the consumer's subscription not exist, group: {group}, topic: {topic}")]
    NoSubscription {
        /// The group.
        group: Group,
        /// The topic.
        topic: TopicName,
    },
    /// Another filter than the member's is the group's.
    #[error(
        "the consumer's subscription is not its group's, group: {group}, topic: {topic}: members of one group must want \
         the same, and it has had {kind} '{expression}' longer than this one has had another filter"
    )]
    Mixed {
        /// The group.
        group: Group,
        /// The topic.
        topic: TopicName,
        /// The kind of the group's filter.
        kind: String,
        /// The group's filter.
        expression: String,
    },
    /// The filter that came with it cannot be read.
    #[error("parse the consumer's subscription failed: {why}")]
    BadFilter {
        /// What is wrong with it.
        why: String,
    },
    /// The filter that came with a heartbeat cannot be read.
    #[error("The broker's consumer filter data is not exist!Your expression may be wrong! {why}")]
    FilterMissing {
        /// What is wrong with it.
        why: String,
    },
    /// The client changed what it wants, and did not say yet what to.
    #[error("the consumer's subscription not latest")]
    Outdated,
    /// Its kind of filter is not served.
    #[error("The broker does not support consumer to filter message by {kind}")]
    FilterOff {
        /// The kind.
        kind: String,
    },
    /// As many pulls wait as may.
    #[error("[REJECTREQUEST] {waiting} pulls wait already, try again later")]
    Full {
        /// How many.
        waiting: usize,
    },
    /// The store could not read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<Full> for PullRefused {
    fn from(full: Full) -> PullRefused {
        PullRefused::Full { waiting: full.waiting }
    }
}

/// A pull that may be served.
struct Ready {
    queue: QueueRef,
    filter: Arc<Filter>,
    limit: ReadLimit,
    topic_flag: i32,
    group_flag: i32,
}

/// A pull under way.
pub enum Pulling {
    /// It is over.
    Done(Result<Pulled, PullRefused>),
    /// A cold read or a message is still awaited.
    Waits(Pin<Box<dyn Future<Output = Result<Pulled, PullRefused>> + Send>>),
}

/// What a pull came to without waiting.
enum Look {
    Over(Pulled),
    /// It read so much, which is not enough, or nothing, because that is cold.
    Open(Ready, QueueOffset, Option<Read>),
}

impl Broker {
    /// Reads a batch, waiting for the first matching message if the caller allows it.
    pub async fn pull(self: &Arc<Broker>, input: PullInput, now: Timestamp) -> Result<Pulled, PullRefused> {
        match self.pull_begun(input, now) {
            Pulling::Done(pulled) => pulled,
            Pulling::Waits(pulled) => pulled.await,
        }
    }

    /// Does the same; all but the waiting is done when this returns.
    pub fn pull_begun(self: &Arc<Broker>, input: PullInput, now: Timestamp) -> Pulling {
        match self.look(&input, now) {
            Ok(Look::Over(pulled)) => Pulling::Done(Ok(pulled)),
            Ok(Look::Open(ready, from, read)) => {
                let broker = self.clone();
                Pulling::Waits(Box::pin(async move { broker.wait(&input, &ready, from, read, now).await }))
            }
            Err(refused) => Pulling::Done(Err(refused)),
        }
    }

    /// Goes as far as that can be without waiting.
    fn look(&self, input: &PullInput, now: Timestamp) -> Result<Look, PullRefused> {
        let ready = self.readable(input, now)?;
        if let Some(offset) = input.commit {
            self.commit(&input.group, &input.topic, input.queue, offset, input.connection);
        }
        if let Some(next) = self.offsets.take_reset(&input.group, &input.topic, input.queue) {
            return Ok(Look::Over(ready.answer(Outcome::Reset, next)));
        }
        let Some(from) = input.from else { return Ok(Look::Over(ready.before_all())) };
        match self.store.read(&ready.queue, from, ready.limit, &ready.filter) {
            Err(ReadError::Cold) => Ok(Look::Open(ready, from, None)),
            Ok(read @ Read::AtTail(_)) if input.wait.is_some() => Ok(Look::Open(ready, from, Some(read))),
            read => Ok(Look::Over(self.given(input, &ready, read?, from))),
        }
    }

    /// Goes on until there is a message, or the time is over.
    async fn wait(
        &self,
        input: &PullInput,
        ready: &Ready,
        from: QueueOffset,
        read: Option<Read>,
        now: Timestamp,
    ) -> Result<Pulled, PullRefused> {
        let mut at = from;
        let mut read = match read {
            Some(read) => read,
            None => self.read(ready, at).await?,
        };
        if let Some(mut until) = input.wait.map(|patience| now + patience) {
            while matches!(read, Read::AtTail(_)) && self.clock.now() < until {
                let hint = ready.filter.clone();
                let mut parked = self.arrivals.park(ready.queue.key(), at, hint, until)?;
                self.dispatch_gathered();
                read = self.read(ready, at).await?;
                if matches!(read, Read::AtTail(_)) && !self.is_sent_elsewhere(input) {
                    parked.woken().await;
                    self.may_go_on(input)?;
                    read = self.read(ready, at).await?;
                }
                if let Some(next) = self.offsets.take_reset(&input.group, &input.topic, input.queue) {
                    return Ok(ready.answer(Outcome::Reset, next));
                }
                // What came is not for this reader: it sleeps on behind it, but not for long, because its progress has
                // to be told.
                if let Read::Filtered { next, bounds } = read
                    && next == bounds.next
                {
                    at = next;
                    until = until.min(self.clock.now() + TELL_PASSED);
                    read = Read::AtTail(bounds);
                }
            }
        }
        if let Read::AtTail(bounds) = read
            && at > from
        {
            read = Read::Filtered { next: at, bounds };
        }
        Ok(self.given(input, ready, read, from))
    }

    /// What the reader is answered, which is counted.
    fn given(&self, input: &PullInput, ready: &Ready, read: Read, from: QueueOffset) -> Pulled {
        let pulled = ready.pulled(read, from);
        self.count_pulled(input, &pulled, from);
        pulled
    }

    /// Refuses a reader whose group an operator stopped while it waited.
    fn may_go_on(&self, input: &PullInput) -> Result<(), PullRefused> {
        let group = || input.group.clone();
        if self.groups.get(&input.group).is_some_and(|group| !group.consume_enable) {
            return Err(GroupRefused::Disabled { group: group() }.into());
        }
        if self.forbidden.is(&input.group, &input.topic) {
            return Err(PullRefused::Forbidden { group: group(), topic: input.topic.clone() });
        }
        Ok(())
    }

    /// True when an operator moved the group and this reader is to hear of it. Asked after parking: a later move wakes it.
    fn is_sent_elsewhere(&self, input: &PullInput) -> bool {
        self.offsets.has_reset(&input.group, &input.topic, input.queue)
    }

    fn count_pulled(&self, input: &PullInput, pulled: &Pulled, from: QueueOffset) {
        let (messages, bytes) = match &pulled.outcome {
            Outcome::Found(batch) => (batch.count, batch.bytes),
            Outcome::Filtered => (0, 0),
            _ => return self.counts.missed(),
        };
        match messages {
            0 => self.counts.missed(),
            _ => self.counts.pulled(messages, bytes),
        }
        // It may have waited: what it is given it is given now.
        let at = self.clock.now();
        let (by, next) = (input.connection, pulled.next);
        if input.topic.is_light() {
            let all = counted_as(&input.topic);
            let group = Group::stored(all.text().clone());
            return self.rates.group(&all, &group, at).gets.add(messages, bytes);
        }
        let gift = Gift { queue: input.queue, from, next, messages, bytes, by, at };
        let name = || self.clients.name(&input.group, by);
        self.rates.group(&input.topic, &input.group, at).pulled(gift, name);
    }

    /// Checks who asks for what, and finds it.
    fn readable(&self, input: &PullInput, now: Timestamp) -> Result<Ready, PullRefused> {
        let config = self.config();
        let broker = || config.identity.name.clone();
        if config.identity.permission & crate::topics::READ as u32 == 0 {
            return Err(PullRefused::BrokerNotReadable { broker: broker() });
        }
        if input.lite && !config.reading.lite_pull {
            return Err(PullRefused::LiteForbidden { broker: broker() });
        }
        let group = self.groups.for_read(&input.group, &config.creation, &self.store, now)?;
        let topic = self.topics.for_read(&input.topic)?;
        if self.forbidden.is(&input.group, &input.topic) {
            return Err(PullRefused::Forbidden { group: input.group.clone(), topic: input.topic.clone() });
        }
        let queue = readable_queue(&topic, input.queue)?;
        let filter = self.filter_for(input, group.consume_broadcast_enable)?;
        let bytes = input.bytes.unwrap_or(config.reading.bytes_default.0 as usize);
        Ok(Ready {
            queue: topic.queue(queue, &self.store).map_err(TopicRefused::from)?,
            filter,
            limit: ReadLimit {
                messages: input.messages.clamp(1, config.reading.hot_messages_max.max(1)),
                bytes: bytes.clamp(1, config.reading.bytes_max.0.max(1) as usize),
            },
            topic_flag: topic.config().topic_sys_flag,
            group_flag: group.group_sys_flag,
        })
    }

    /// Returns the compiled filter of a pull: its own, or what its client's heartbeat said.
    fn filter_for(&self, input: &PullInput, may_broadcast: bool) -> Result<Arc<Filter>, PullRefused> {
        let off = |kind: &str| PullRefused::FilterOff { kind: kind.to_owned() };
        let found = self.clients.wants(&input.group, input.connection, &input.topic);
        let union = match found.as_ref().and_then(|wants| wants.dispute.as_ref()) {
            Some(dispute) => self.reconcile(input, dispute)?,
            None => None,
        };
        if let Some((kind, expression)) = &input.filter {
            if !self.serves_filter(kind) {
                return Err(off(kind));
            }
            let compiled = union.map_or_else(|| self.filters.compile(kind, expression), Ok);
            return compiled.map_err(|error| PullRefused::BadFilter { why: error.to_string() });
        }
        let wants = found.ok_or_else(|| PullRefused::NoMembers { group: input.group.clone() })?;
        if wants.broadcasts && !may_broadcast {
            return Err(PullRefused::BroadcastForbidden { group: input.group.clone() });
        }
        let wanted = wants.subscription.ok_or_else(|| PullRefused::NoSubscription {
            group: input.group.clone(),
            topic: input.topic.clone(),
        })?;
        let kind = &wanted.data.expression_type;
        if !self.serves_filter(kind) {
            return Err(off(kind));
        }
        let filters_itself = filter::is_tag_kind(kind) && input.kind.is_none();
        // COMPAT: Apache refuses with 25 until the next heartbeat. A client that filters tags once more by itself can be
        // given everything meanwhile: that neither stops it nor skips a message of its newer subscription.
        match (wanted.data.sub_version < input.sub_version, filters_itself) {
            (true, true) => Ok(self.filters.everything()),
            (true, false) => Err(PullRefused::Outdated),
            (false, _) => union.map_or_else(|| wanted.filter.clone(), Ok).map_err(|error| {
                match filter::is_tag_kind(kind) {
                    true => PullRefused::BadFilter { why: error.to_string() },
                    false => PullRefused::FilterMissing { why: error.to_string() },
                }
            }),
        }
    }

    /// Decides what a member gets whose group does not want one thing: a filter for all of them, its own, or nothing.
    fn reconcile(&self, input: &PullInput, dispute: &Dispute) -> Result<Option<Arc<Filter>>, PullRefused> {
        let union =
            dispute.union.clone().filter(|_| self.config().consumers.mixed_subscriptions == Mixed::Union);
        if union.is_some() || !dispute.is_other {
            return Ok(union);
        }
        Err(PullRefused::Mixed {
            group: input.group.clone(),
            topic: input.topic.clone(),
            kind: dispute.governing.data.expression_type.clone(),
            expression: dispute.governing.data.sub_string.clone(),
        })
    }

    /// Reads from memory, or by the store's own readers when the data is not there.
    ///
    /// COMPAT: an inner batch is given as it is stored, also to clients before 5.0, which take it for one message.
    async fn read(&self, ready: &Ready, from: QueueOffset) -> Result<Read, ReadError> {
        match self.store.read(&ready.queue, from, ready.limit, &ready.filter) {
            Err(ReadError::Cold) => {
                self.store.read_cold(&ready.queue, from, ready.limit, &ready.filter).await
            }
            read => read,
        }
    }
}

/// Checks that a topic has a queue to read.
pub(crate) fn readable_queue(topic: &Topic, queue: QueueId) -> Result<QueueId, TopicRefused> {
    let queues = topic.read_queues();
    if queue.0 < queues {
        return Ok(queue);
    }
    Err(TopicRefused::NoSuchQueue { queue, queues, topic: topic.name().clone() })
}

impl Ready {
    fn pulled(&self, read: Read, from: QueueOffset) -> Pulled {
        let (outcome, next) = match read {
            Read::Found(batch) => {
                let next = batch.next;
                (Outcome::Found(batch), next)
            }
            Read::AtTail(bounds) if bounds.next.0 == 0 => (Outcome::Empty, from),
            Read::AtTail(_) => (Outcome::AtTail, from),
            Read::Filtered { next, .. } => (Outcome::Filtered, next),
            Read::Beyond(bounds) if bounds.next.0 == 0 => (Outcome::NoMessages, QueueOffset(0)),
            Read::Beyond(bounds) if from < bounds.first => (Outcome::TooSmall, bounds.first),
            Read::Beyond(bounds) => (Outcome::TooLarge, bounds.next),
        };
        self.answer(outcome, next)
    }

    /// What a reader hears who starts before the first message there could ever be.
    fn before_all(&self) -> Pulled {
        match self.queue.dispatched() {
            QueueOffset(0) => self.answer(Outcome::NoMessages, QueueOffset(0)),
            _ => self.answer(Outcome::TooSmall, self.queue.first()),
        }
    }

    fn answer(&self, outcome: Outcome, next: QueueOffset) -> Pulled {
        Pulled {
            outcome,
            next,
            first: self.queue.first(),
            end: self.queue.dispatched(),
            topic_flag: self.topic_flag,
            group_flag: self.group_flag,
        }
    }
}
