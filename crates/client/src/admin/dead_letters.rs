// SPDX-License-Identifier: Apache-2.0
//! Dead letters: read page by page, looked up whether they were replayed, replayed. Works with any broker: it reads,
//! queries and sends as every client does.
//! Invariants: a replay names the dead letter it came from and lies on the same broker and later in its log, so retention
//! never takes it before the dead letter; a dead letter itself is never changed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocol::codes::ResponseCode;
use protocol::filter::Filter;
use protocol::names::{ByteStr, Group, QueueOffset, TopicName};
use protocol::properties::{self, Properties, PropertiesOut};
use protocol::query::QueryMessage;
use protocol::record;
use protocol::send::{SendHeader, SendMessageV2};
use stdx::Timestamp;

use super::messages::TOOLS;
use crate::admin::{Admin, AdminError};
use crate::consumer::{Interest, PullError, Reading, Received};
use crate::queue::Queue;
use crate::routes::RouteError;

/// How many of a topic's messages a broker gives for one id at most.
const MATCHES: i32 = 64;
/// Indexes note times in whole seconds, or coarser.
const INDEX_SLACK: i64 = 2_000;
/// The bits of the system flag that say how a body is packed.
const BODY_FLAGS: i32 = record::COMPRESSED | 0x700;

/// What says in a dead letter where it was, or what it asked of the brokers that had it. A replay is sent anew.
const LEFT_BEHIND: [&str; 25] = [
    properties::DELAY,
    properties::TIMER_DELAY_SEC,
    properties::TIMER_DELAY_MS,
    properties::TIMER_DELIVER_MS,
    properties::TIMER_OUT_MS,
    properties::TIMER_ENQUEUE_MS,
    properties::TIMER_DEQUEUE_MS,
    properties::TIMER_ROLL_TIMES,
    properties::TIMER_DELAY_LEVEL,
    properties::TIMER_DEL_UNIQKEY,
    properties::REAL_TOPIC,
    properties::REAL_QID,
    properties::TRAN_MSG,
    properties::TRAN_PREPARED_QUEUE_OFFSET,
    properties::RECONSUME_TIME,
    properties::MAX_RECONSUME_TIMES,
    properties::CONSUME_START_TIME,
    properties::POP_CK,
    properties::FIRST_POP_TIME,
    properties::WAIT,
    // whoever has it delivered again wants it delivered
    properties::TTL_MS,
    properties::EXPIRES,
    properties::DLQ_ORIGIN_TOPIC,
    properties::DLQ_ORIGIN_MESSAGE_ID,
    properties::RETRY_TOPIC,
];

/// Which dead letters a page is to show.
pub struct DeadLetterFilter(Interest);

impl DeadLetterFilter {
    /// Those whose tag or properties an expression of this kind (`TAG`, `SQL92`) accepts. It is judged here, so it works
    /// with brokers that do not filter by properties.
    pub fn new(kind: &str, expression: &str) -> Result<DeadLetterFilter, AdminError> {
        let filter = Filter::parse(kind, expression).map_err(crate::consumer::OffsetError::from)?;
        Ok(DeadLetterFilter(Interest { filter, ..Interest::all() }))
    }
}

/// Some dead letters of one queue.
#[derive(Debug)]
pub struct DeadLetters {
    /// Those that pass the filter.
    pub letters: Vec<Received>,
    /// How many were looked at.
    pub looked_at: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<QueueOffset>,
}

impl Admin {
    /// The queues of a group's dead letters, with those between two times: the first offset, and one past the last.
    /// What dies later is not in it, so a replay that fails again is not replayed in circles.
    pub async fn dead_letter_queues(
        &self,
        group: &Group,
        since: Option<Timestamp>,
    ) -> Result<Vec<(Queue, QueueOffset, QueueOffset)>, AdminError> {
        let topic = TopicName::dlq_of(group);
        let route = self.session.route(&topic).await?;
        let mut queues = Vec::new();
        for queue in route.readable() {
            let end = self.session.end_offset(queue).await?;
            let first = self.session.first_offset(queue).await?;
            let from = match since {
                Some(since) => self.session.offset_at(queue, since).await?.max(first),
                None => first,
            };
            queues.push((queue.clone(), from.min(end), end));
        }
        Ok(queues)
    }

    /// Reads dead letters of a queue between two offsets.
    pub async fn dead_letters(
        &self,
        queue: &Queue,
        from: QueueOffset,
        end: QueueOffset,
        filter: &DeadLetterFilter,
    ) -> Result<DeadLetters, AdminError> {
        let room = end.0.saturating_sub(from.0).min(32);
        let reading = Reading {
            group: &Group::stored(TOOLS),
            queue,
            from,
            messages: u32::try_from(room).unwrap_or(1),
            bytes: 1 << 20,
            wait: Duration::ZERO,
            member: 0,
            interest: &filter.0,
            carries_subscription: true,
        };
        if room == 0 {
            return Ok(DeadLetters { letters: Vec::new(), looked_at: 0, next: None });
        }
        let pulled = self.session.read(&reading).await?;
        let next = pulled.next.min(end);
        let mut letters = pulled.messages;
        letters.retain(|letter| letter.offset < end);
        // A broker that has nothing at all moves nowhere.
        let moves = next > from && next < end;
        Ok(DeadLetters { letters, looked_at: next.0.saturating_sub(from.0), next: moves.then_some(next) })
    }

    /// The replays of a dead letter that are in one of these topics, oldest first. Topics that are not there hold none.
    pub async fn replays(
        &self,
        letter: &Received,
        topics: &[TopicName],
    ) -> Result<Vec<Received>, AdminError> {
        let mut found = Vec::new();
        for topic in topics {
            self.replays_in(letter, topic, &mut found).await?;
        }
        found.sort_by_key(|replay| replay.log_offset);
        Ok(found)
    }

    async fn replays_in(
        &self,
        letter: &Received,
        topic: &TopicName,
        found: &mut Vec<Received>,
    ) -> Result<(), AdminError> {
        let address = self.broker_of(letter).await?;
        let (id, own) = (letter.id(), letter.offset_id());
        let begin = Timestamp(letter.stored_at.0.saturating_sub(INDEX_SLACK));
        let mut end = Timestamp(i64::MAX);
        loop {
            let request = QueryMessage {
                topic: topic.clone(),
                key: ByteStr::from(id.as_str()),
                max: MATCHES,
                begin,
                end,
                unique: true,
                index: None,
                last_key: None,
            };
            let timeout = self.session.config().request_timeout;
            let response = self.session.call(&address, &request, (), timeout).await?;
            if response.code() == ResponseCode::QUERY_NOT_FOUND {
                return Ok(());
            }
            let (_, body) = response.ok()?;
            let page =
                Received::list(&body, &letter.queue.broker, &Filter::All).map_err(PullError::Record)?;
            let (count, oldest) = (page.len(), page.iter().map(|copy| copy.stored_at).min());
            for copy in page {
                let is_known = found.iter().any(|other: &Received| other.log_offset == copy.log_offset);
                let is_replay = copy.property(properties::REPLAY_OF) == Some(&own);
                // Retries of a replay name the dead letter as well; they only say the same again.
                if is_replay && copy.queue.topic == *topic && !is_known {
                    found.push(copy);
                }
            }
            // The newest come first: what is older needs another question.
            match oldest {
                Some(oldest) if count >= MATCHES as usize && oldest < end => end = oldest,
                _ => return Ok(()),
            }
        }
    }

    /// Sends a dead letter again, as it was sent first. `to` is a topic, or the retry topic of a group, which then is the
    /// only one that gets it. Returns the offset id of what was stored.
    pub async fn replay(&self, letter: &Received, to: &TopicName) -> Result<String, AdminError> {
        let address = self.broker_of(letter).await?;
        let route = self.session.route(to).await?;
        let queues = || route.writable().iter().filter(|queue| queue.broker == letter.queue.broker);
        let missing = || RouteError::NoQueue { topic: to.clone(), verb: "write" };
        let turn = TURN.fetch_add(1, Ordering::Relaxed) % queues().count().max(1);
        let queue = queues().nth(turn).ok_or_else(missing)?;
        let header = SendHeader {
            group: Group::stored(REPLAYER),
            topic: to.clone(),
            default_topic: None,
            default_queues: 1,
            queue: Some(queue.id),
            sys_flag: letter.sys_flag & BODY_FLAGS,
            born_at: letter.born_at,
            flag: letter.flag,
            properties: replayed(letter, to),
            reconsume: 0,
            unit: false,
            max_reconsume: None,
            batch: false,
        };
        let timeout = self.session.config().request_timeout;
        let answer =
            self.session.call(&address, &SendMessageV2(header), letter.body.clone(), timeout).await?;
        match answer.code().is_stored() {
            true => Ok(answer.header()?.message_id.to_string()),
            false => Err(answer.refused().into()),
        }
    }

    async fn broker_of(&self, letter: &Received) -> Result<String, AdminError> {
        let broker = &letter.queue.broker;
        let route = self.session.route(&letter.queue.topic).await?;
        let address = route.master(broker).map(str::to_owned);
        address.ok_or_else(|| AdminError::NoBroker(broker.clone()))
    }
}

/// The producer group of replays.
const REPLAYER: &str = "kiruna-dlq-replay";
/// Spreads replays over the queues of a topic.
static TURN: AtomicUsize = AtomicUsize::new(0);

impl Received {
    /// Of a dead letter: the topic it was sent to first.
    pub fn origin_topic(&self) -> Option<TopicName> {
        let said = self.property(properties::DLQ_ORIGIN_TOPIC).or(self.property(properties::RETRY_TOPIC));
        said.map(|topic| TopicName::stored(topic.to_owned()))
    }

    /// Of a dead letter: the id of the message it was first.
    pub fn origin_id(&self) -> Option<&str> {
        self.property(properties::ORIGIN_MESSAGE_ID).or(self.property(properties::DLQ_ORIGIN_MESSAGE_ID))
    }
}

/// The properties of a replay: those of the message that was sent first, and which dead letter this was.
fn replayed(letter: &Received, to: &TopicName) -> Properties {
    let mut out = PropertiesOut::default();
    let kept = letter.properties().filter(|(name, _)| !LEFT_BEHIND.contains(name));
    kept.filter(|(name, _)| *name != properties::REPLAY_OF).for_each(|(name, value)| out.push(name, value));
    if letter.property(properties::UNIQ_KEY).is_none() {
        out.push(properties::UNIQ_KEY, &letter.id());
    }
    if to.is_retry()
        && let Some(origin) = letter.origin_topic()
    {
        out.push(properties::RETRY_TOPIC, &origin);
    }
    out.push(properties::REPLAY_OF, &letter.offset_id());
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::stored;
    use expect_test::expect;
    use protocol::names::BrokerName;

    #[test]
    fn a_replay_says_what_the_first_message_said_and_where_it_comes_from() {
        let text = "KEYS=k;RETRY_TOPIC=orders;ORIGIN_MESSAGE_ID=first;UNIQ_KEY=U;mine=1;TRAN_MSG=true;DELAY=0;__TTL_MS=5;__EXPIRE=9;\
                    TIMER_OUT_MS=5;DLQ_ORIGIN_TOPIC=orders;DLQ_ORIGIN_MESSAGE_ID=first;KIRUNA_REPLAY_OF=older;TAGS=t;";
        let text = text.replace('=', "\u{1}").replace(';', "\u{2}");
        let body = stored("%DLQ%g", 3, 0, b"x", &text).into();
        let letter = Received::list(&body, &BrokerName::stored("b"), &Filter::All).unwrap().remove(0);
        assert_eq!(
            (letter.origin_topic(), letter.origin_id()),
            (Some(TopicName::stored("orders")), Some("first"))
        );
        let show = |to: &str| {
            replayed(&letter, &TopicName::stored(to.to_owned()))
                .as_str()
                .replace('\u{1}', "=")
                .replace('\u{2}', ";")
        };
        expect!["KEYS=k;ORIGIN_MESSAGE_ID=first;UNIQ_KEY=U;mine=1;TAGS=t;KIRUNA_REPLAY_OF=7F00000100002A9F000000000000012C;"]
            .assert_eq(&show("orders"));
        expect!["KEYS=k;ORIGIN_MESSAGE_ID=first;UNIQ_KEY=U;mine=1;TAGS=t;RETRY_TOPIC=orders;KIRUNA_REPLAY_OF=7F00000100002A9F000000000000012C;"]
            .assert_eq(&show("%RETRY%g"));
    }
}
