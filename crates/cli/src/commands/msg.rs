// SPDX-License-Identifier: Apache-2.0
//! `kiruna msg`: finds messages by id, key or place, through the admin client.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use client::{Admin, KeyQuery, Queue, Received};
use protocol::names::{BrokerName, QueueId, QueueOffset, TopicName};
use serde_json::json;

use super::{Ask, answer};
use crate::output::Rows;

/// Ways to find messages.
#[derive(Debug, Subcommand)]
pub(crate) enum Msg {
    /// By the id that its producer or its broker gave it.
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
        #[command(flatten)]
        ask: Ask,
    },
    /// By its place in a queue.
    At(At),
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
        Msg::Find { key, topic, ask } => {
            let topic = TopicName::parse(topic.as_str())?;
            answer(&ask, async |admin| Ok(rows(&admin.messages_by_key(&KeyQuery::new(&topic, &key)).await?)))
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
