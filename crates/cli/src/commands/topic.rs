// SPDX-License-Identifier: Apache-2.0
//! `kiruna topic`: topics of a cluster, through the admin client.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use client::Admin;
use protocol::body::TopicConfig;
use protocol::names::TopicName;
use serde_json::json;

use super::{Ask, answer};
use crate::output::Rows;

/// What can be done with topics.
#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// List topics.
    Ls {
        /// Also those of the system, of retries and of dead letters.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        ask: Ask,
    },
    /// Show where a topic's queues are and what they hold.
    Show {
        /// The topic.
        topic: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Create a topic, or change it.
    Create(Create),
    /// Delete a topic with its messages.
    Delete {
        /// The topic.
        topic: String,
        /// Only on the brokers of this cluster.
        #[arg(long)]
        cluster: Option<String>,
        /// Yes, delete it.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        ask: Ask,
    },
}

/// Flags of `kiruna topic create`.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The topic.
    topic: String,
    /// Queues on each broker.
    #[arg(long, default_value_t = 8)]
    queues: u16,
    /// Permission: 4 read, 2 write, 6 both.
    #[arg(long, default_value_t = 6)]
    permission: u8,
    /// Attribute such as `message.type=NORMAL`; may be repeated.
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// Only on the brokers of this cluster.
    #[arg(long)]
    cluster: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

/// Runs one of them.
pub(crate) fn run(command: Topic) -> Result<()> {
    match command {
        Topic::Ls { all, ask } => answer(&ask, async |admin| list(admin, all).await),
        Topic::Show { topic, ask } => {
            let topic = TopicName::parse(topic.as_str())?;
            answer(&ask, async |admin| show(admin, &topic).await)
        }
        Topic::Create(create) => {
            let config = config(&create)?;
            answer(&create.ask, async |admin| {
                let mut rows = Rows::new(&["topic", "broker", "address", "queues"]);
                for master in admin.put_topic(create.cluster.as_deref(), &config).await? {
                    rows.push(vec![
                        json!(create.topic),
                        json!(master.broker.as_str()),
                        json!(master.address),
                        json!(create.queues),
                    ]);
                }
                Ok(rows)
            })
        }
        Topic::Delete { topic, cluster, yes, ask } => {
            if !yes {
                bail!("deleting topic {topic} loses its messages; say --yes if that is meant");
            }
            let name = TopicName::parse(topic.as_str())?;
            answer(&ask, async |admin| {
                admin.delete_topic(cluster.as_deref(), &name).await?;
                let mut rows = Rows::new(&["topic", "deleted"]);
                rows.push(vec![json!(topic), json!(true)]);
                Ok(rows)
            })
        }
    }
}

fn config(create: &Create) -> Result<TopicConfig> {
    let mut config = TopicConfig {
        topic_name: TopicName::parse(create.topic.as_str())?,
        read_queue_nums: create.queues.into(),
        write_queue_nums: create.queues.into(),
        perm: create.permission.into(),
        ..TopicConfig::default()
    };
    for attribute in &create.attributes {
        let Some((name, value)) = attribute.split_once('=') else {
            bail!("--attribute {attribute}: write NAME=VALUE")
        };
        config.attributes.insert(name.to_owned(), value.to_owned());
    }
    Ok(config)
}

async fn list(admin: &Admin, all: bool) -> Result<Rows> {
    let mut rows = Rows::new(&["topic", "kind"]);
    for topic in admin.topics().await? {
        let kind = if topic.is_system() {
            "system"
        } else if topic.is_retry() {
            "retry"
        } else if topic.is_dlq() {
            "dead letters"
        } else {
            "normal"
        };
        if all || kind == "normal" {
            rows.push(vec![json!(topic.as_str()), json!(kind)]);
        }
    }
    Ok(rows)
}

async fn show(admin: &Admin, topic: &TopicName) -> Result<Rows> {
    let stats = admin.topic_stats(topic).await?;
    let mut rows = Rows::new(&["broker", "queue", "first", "next", "messages", "last_stored_at"]);
    for (queue, offset) in &stats.offset_table.0 {
        rows.push(vec![
            json!(queue.broker_name.as_str()),
            json!(queue.queue_id),
            json!(offset.min_offset),
            json!(offset.max_offset),
            json!(offset.max_offset.saturating_sub(offset.min_offset)),
            json!(offset.last_update_timestamp),
        ]);
    }
    Ok(rows)
}
