// SPDX-License-Identifier: Apache-2.0
//! `kiruna msg`: finds messages by id, key, place, time, tag or words in them, through the admin client.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use client::{Admin, ClientTrace, KeyQuery, Queue, Received, ResetScope, ScanQuery, Subscription};
use protocol::body::MessageJourney;
use protocol::names::{BrokerName, Group, QueueId, QueueOffset, TopicName};
use protocol::trace;
use serde_json::json;
use stdx::Timestamp;

use super::{Ask, answer};
use crate::output::Rows;

/// Ways to find messages.
#[derive(Debug, Subcommand)]
pub(crate) enum Msg {
    /// By time, tag, properties or words in their body: looks through a topic, message by message where it has to.
    Ls(Ls),
    /// By the id that its producer or its broker gave it.
    #[command(visible_alias = "get")]
    Show {
        /// The id.
        id: String,
        /// The topic; a producer's id needs it.
        #[arg(long)]
        topic: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// By one of its keys.
    Find {
        /// The key.
        key: String,
        /// The topic.
        #[arg(long)]
        topic: String,
        /// Stored at this time or later (milliseconds since 1970).
        #[arg(long, value_name = "MS", default_value_t = 0)]
        since: i64,
        /// Stored at this time or before.
        #[arg(long, value_name = "MS", default_value_t = i64::MAX)]
        until: i64,
        #[command(flatten)]
        ask: Ask,
    },
    /// By its place in a queue.
    At(At),
    /// Tells the journey of a message, from what its broker has: stored, given, acknowledged, tried again; and where it does
    /// not know, since when it does not.
    Trace {
        /// The id that its producer or its broker gave it.
        id: String,
        /// The topic, where there are too many to look through.
        #[arg(long)]
        topic: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// What clients wrote down about a message, where they were asked to trace.
    ClientTrace {
        /// The id that its producer gave it.
        id: String,
        /// Where clients write to.
        #[arg(long, default_value = trace::TOPIC)]
        trace_topic: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Has one client of a group consume a message now, and says what became of it.
    Consume(Consume),
}

/// Flags of `kiruna msg ls`.
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// The topic.
    topic: String,
    /// Stored at this time or later (milliseconds since 1970).
    #[arg(long, value_name = "MS", default_value_t = 0)]
    since: i64,
    /// Stored at this time or before.
    #[arg(long, value_name = "MS", default_value_t = i64::MAX)]
    until: i64,
    /// With one of these tags, as `a || b`.
    #[arg(long, conflicts_with = "sql")]
    tag: Option<String>,
    /// With properties that satisfy this SQL92 expression.
    #[arg(long)]
    sql: Option<String>,
    /// With this text in the body.
    #[arg(long)]
    contains: Option<String>,
    /// Only this queue.
    #[arg(long)]
    queue: Option<u32>,
    /// Only on this broker.
    #[arg(long)]
    broker: Option<String>,
    /// How many are shown at most.
    #[arg(long, default_value_t = 100)]
    max: usize,
    /// How many are looked at, at most.
    #[arg(long, default_value_t = 100_000)]
    look_at: u64,
    #[command(flatten)]
    ask: Ask,
}

impl Ls {
    fn run(&self) -> Result<()> {
        let topic = TopicName::parse(self.topic.as_str())?;
        let wanted = match (&self.tag, &self.sql) {
            (_, Some(expression)) => Subscription::sql(topic, expression),
            (Some(tags), None) => Subscription::tags(topic, tags),
            (None, None) => Subscription::all(topic),
        };
        let query = ScanQuery {
            scope: ResetScope {
                broker: self.broker.as_deref().map(BrokerName::parse).transpose()?,
                queue: self.queue.map(QueueId),
            },
            begin: Timestamp(self.since),
            end: Timestamp(self.until),
            contains: self.contains.as_ref().map(|text| text.clone().into_bytes()),
            max: self.max,
            look_at: self.look_at,
            ..ScanQuery::new(wanted)
        };
        answer(&self.ask, async |admin| {
            let scanned = admin.scan(&query).await?;
            if !scanned.unseen.is_empty() {
                eprintln!("looked at {} messages; there is more behind:", scanned.looked_at);
                for (queue, next) in &scanned.unseen {
                    eprintln!("  broker {} queue {} offset {}", queue.broker.as_str(), queue.id.0, next.0);
                }
            }
            Ok(rows(&scanned.messages))
        })
    }
}

/// Flags of `kiruna msg consume`.
#[derive(Args, Debug)]
pub(crate) struct Consume {
    /// The id that its producer or its broker gave it.
    id: String,
    /// The group.
    #[arg(long)]
    group: String,
    /// The client, as `kiruna group members` names it.
    #[arg(long)]
    client: String,
    /// The topic; a producer's id needs it.
    #[arg(long)]
    topic: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

/// Flags of `kiruna msg at`.
#[derive(Args, Debug)]
pub(crate) struct At {
    /// The topic.
    topic: String,
    /// The broker.
    #[arg(long, default_value = "broker-a")]
    broker: String,
    /// The queue.
    #[arg(long)]
    queue: u32,
    /// The offset.
    #[arg(long)]
    offset: u64,
    #[command(flatten)]
    ask: Ask,
}

/// Runs one of them.
pub(crate) fn run(command: Msg) -> Result<()> {
    match command {
        Msg::Show { id, topic, ask } => {
            let topic = topic.as_deref().map(TopicName::parse).transpose()?;
            answer(&ask, async |admin| Ok(rows(&by_id(admin, &id, topic.as_ref()).await?)))
        }
        Msg::Ls(ls) => ls.run(),
        Msg::Find { key, topic, since, until, ask } => {
            let topic = TopicName::parse(topic.as_str())?;
            let (begin, end) = (Timestamp(since), Timestamp(until));
            let query = KeyQuery { begin, end, ..KeyQuery::new(&topic, &key) };
            answer(&ask, async |admin| Ok(rows(&admin.messages_by_key(&query).await?)))
        }
        Msg::At(at) => {
            let queue = Queue {
                topic: TopicName::parse(at.topic.as_str())?,
                broker: BrokerName::parse(at.broker.as_str())?,
                id: QueueId(at.queue),
            };
            answer(&at.ask, async |admin| {
                Ok(rows(&[admin.message_at(&queue, QueueOffset(at.offset)).await?]))
            })
        }
        Msg::Trace { id, topic, ask } => {
            let topic = topic.as_deref().map(TopicName::parse).transpose()?;
            answer(&ask, async |admin| Ok(journeys(&admin.journeys(&id, topic.as_ref()).await?)))
        }
        Msg::ClientTrace { id, trace_topic, ask } => {
            let topic = TopicName::parse(trace_topic.as_str())?;
            answer(&ask, async |admin| Ok(traces(&admin.client_traces(&topic, &id).await?)))
        }
        Msg::Consume(consume) => consume.run(),
    }
}

impl Consume {
    fn run(&self) -> Result<()> {
        let topic = self.topic.as_deref().map(TopicName::parse).transpose()?;
        let group = Group::parse(self.group.as_str())?;
        answer(&self.ask, async |admin| {
            let found = by_id(admin, &self.id, topic.as_ref()).await?;
            let Some(message) = found.last() else { bail!("there is no message {}", self.id) };
            let done = admin.consume_directly(&group, &self.client, message).await?;
            let mut rows = Rows::new(&["id", "client", "result", "millis", "remark"]);
            rows.push(vec![
                json!(message.id()),
                json!(self.client),
                json!(done.consume_result),
                json!(done.spent_time_mills),
                json!(done.remark),
            ]);
            Ok(rows)
        })
    }
}

async fn by_id(admin: &Admin, id: &str, topic: Option<&TopicName>) -> Result<Vec<Received>> {
    // A producer's id looks like a broker's; with a topic both readings are tried.
    if let Some(topic) = topic {
        let found = admin.messages_by_unique_id(topic, id).await;
        if found.as_ref().is_ok_and(|messages| !messages.is_empty()) {
            return Ok(found?);
        }
    }
    match admin.message_by_offset_id(topic, id).await {
        Ok(message) => Ok(vec![message]),
        Err(error) if topic.is_none() => {
            bail!("no broker knows {id} as a place in its log ({error}); a producer's id needs --topic")
        }
        Err(error) => Err(error.into()),
    }
}

fn journeys(journeys: &[(BrokerName, MessageJourney)]) -> Rows {
    let columns = ["at", "until", "what", "broker", "topic", "queue", "offset", "group", "client", "detail"];
    let mut rows = Rows::new(&columns);
    for (broker, journey) in journeys {
        for hop in &journey.hops {
            rows.push(vec![
                json!(hop.at),
                json!(hop.until),
                json!(hop.what),
                json!(broker.as_str()),
                json!(hop.topic),
                json!(hop.queue),
                json!(hop.offset),
                json!(hop.group),
                json!(hop.client),
                json!(hop.detail),
            ]);
        }
    }
    rows
}

fn traces(traces: &[ClientTrace]) -> Rows {
    let columns = ["at", "what", "group", "client", "topic", "success", "millis", "retries", "state"];
    let mut rows = Rows::new(&columns);
    for trace in traces {
        rows.push(vec![
            json!(trace.at.map(|at| at.0)),
            json!(trace.kind.name()),
            json!(trace.group),
            json!(trace.client),
            json!(trace.topic),
            json!(trace.success),
            json!(trace.cost),
            json!(trace.retries),
            json!(trace.state),
        ]);
    }
    rows
}

fn rows(messages: &[Received]) -> Rows {
    let columns = [
        "id",
        "offset_id",
        "topic",
        "queue",
        "offset",
        "tag",
        "keys",
        "born_at",
        "stored_at",
        "attempts",
        "size",
        "body",
    ];
    let mut rows = Rows::new(&columns);
    for message in messages {
        let keys: Vec<&str> = message.keys().collect();
        rows.push(vec![
            json!(message.id()),
            json!(message.offset_id()),
            json!(message.topic.as_str()),
            json!(message.queue_id().0),
            json!(message.offset.0),
            json!(message.tag()),
            json!(keys.join(" ")),
            json!(message.born_at.0),
            json!(message.stored_at.0),
            json!(message.reconsume_times),
            json!(message.body.len()),
            json!(String::from_utf8_lossy(&message.body)),
        ]);
    }
    rows
}
