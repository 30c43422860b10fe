// SPDX-License-Identifier: Apache-2.0
//! `kiruna group`: consumer groups of a cluster, through the admin client.

mod settings;

use anyhow::{Result, bail};
use clap::Subcommand;
use protocol::body::{ConsumerConnection, OtherSubscription};
use protocol::names::{Group as GroupName, TopicName};
use serde_json::json;
use stdx::Timestamp;

use super::{Ask, answer};
use crate::output::Rows;

/// What can be done with groups.
#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List groups.
    Ls {
        #[command(flatten)]
        ask: Ask,
    },
    /// Show how far a group is, queue by queue.
    Show {
        /// The group.
        group: String,
        /// Only this topic.
        #[arg(long)]
        topic: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Show the members of a group.
    Members {
        /// The group.
        group: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Make a group, or change what is named of its settings.
    Set(settings::Set),
    /// Show the settings of a group on every broker, and how long its failed messages wait.
    Settings {
        /// The group.
        group: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Move a group to a time.
    Reset {
        /// The group.
        group: String,
        /// The topic.
        #[arg(long)]
        topic: String,
        /// To the first messages stored at this time (milliseconds since 1970); 0 is the beginning. Without it, to the
        /// end.
        #[arg(long, value_name = "MS")]
        to: Option<i64>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Delete a group with its progress.
    Delete {
        /// The group.
        group: String,
        /// Yes, delete it.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        ask: Ask,
    },
}

/// Runs one of them.
pub(crate) fn run(command: Group) -> Result<()> {
    match command {
        Group::Ls { ask } => answer(&ask, async |admin| {
            let mut rows = Rows::new(&["group"]);
            admin.groups().await?.iter().for_each(|group| rows.push(vec![json!(group.as_str())]));
            Ok(rows)
        }),
        Group::Show { group, topic, ask } => show(&group, topic.as_deref(), &ask),
        Group::Members { group, ask } => members(&group, &ask),
        Group::Set(set) => settings::set(&set),
        Group::Settings { group, ask } => settings::show(&group, &ask),
        Group::Reset { group, topic, to, ask } => {
            let (group, topic) = (GroupName::parse(group.as_str())?, TopicName::parse(topic.as_str())?);
            answer(&ask, async |admin| {
                let mut rows = Rows::new(&["broker", "queue", "offset"]);
                for (queue, offset) in admin.reset_offset(&group, &topic, to.map(Timestamp), true).await? {
                    rows.push(vec![json!(queue.broker.as_str()), json!(queue.id.0), json!(offset.0)]);
                }
                Ok(rows)
            })
        }
        Group::Delete { group, yes, ask } => {
            if !yes {
                bail!("deleting group {group} loses its progress; say --yes if that is meant");
            }
            let name = GroupName::parse(group.as_str())?;
            answer(&ask, async |admin| {
                admin.delete_group(None, &name, true).await?;
                let mut rows = Rows::new(&["group", "deleted"]);
                rows.push(vec![json!(group), json!(true)]);
                Ok(rows)
            })
        }
    }
}

fn show(group: &str, topic: Option<&str>, ask: &Ask) -> Result<()> {
    let group = GroupName::parse(group)?;
    let topic = topic.map(TopicName::parse).transpose()?;
    answer(ask, async |admin| {
        let progress = admin.progress(&group, topic.as_ref()).await?;
        let mut rows = Rows::new(&["topic", "broker", "queue", "next", "committed", "lag"]);
        for (queue, place) in &progress.queues {
            rows.push(vec![
                json!(queue.topic.as_str()),
                json!(queue.broker.as_str()),
                json!(queue.id.0),
                json!(place.end.0),
                json!(place.committed.0),
                json!(place.lag()),
            ]);
        }
        Ok(rows)
    })
}

/// What a member wants otherwise than its group, topic by topic.
fn disputes(members: &ConsumerConnection, client: &str) -> String {
    let mut said = Vec::new();
    for dispute in &members.disputes {
        let is_here = |other: &&OtherSubscription| other.client_ids.iter().any(|id| id == client);
        for other in dispute.others.iter().filter(is_here) {
            said.push(format!(
                "{}: wants {} {}, its group {} {}",
                dispute.topic,
                other.expression_type,
                other.expression,
                dispute.expression_type,
                dispute.expression
            ));
        }
    }
    said.join("; ")
}

fn members(group: &str, ask: &Ask) -> Result<()> {
    let group = GroupName::parse(group)?;
    answer(ask, async |admin| {
        let members = admin.consumer_connections(&group).await?;
        let mut rows = Rows::new(&["client", "address", "language", "version", "in_dispute"]);
        for member in &members.connection_set {
            rows.push(vec![
                json!(member.client_id),
                json!(member.client_addr),
                json!(member.language.name()),
                json!(member.version),
                json!(disputes(&members, &member.client_id)),
            ]);
        }
        Ok(rows)
    })
}
