// SPDX-License-Identifier: Apache-2.0
//! `kiruna group`: consumer groups of a cluster, through the admin client.

mod settings;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use client::{Admin, GroupProgress, PlannedMove, Queue, ResetScope, ResetTo};
use protocol::body::{ConsumerConnection, OtherSubscription, ProcessQueueInfo};
use protocol::codes::ResponseCode;
use protocol::names::{BrokerName, Group as GroupName, QueueId, QueueOffset, TopicName};
use serde_json::json;
use stdx::Timestamp;

use super::{Ask, answer};
use crate::output::Rows;

/// What can be done with groups.
#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List groups: who is there, and who may consume.
    Ls {
        #[command(flatten)]
        ask: Ask,
    },
    /// Show how far a group is, queue by queue, and which client holds each.
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
    /// Move a group to a time, an offset or the end, whether its consumers are online or not.
    Reset(Reset),
    /// Move a group to the end: what piled up is never delivered.
    Skip {
        /// The group.
        group: String,
        /// The topic.
        #[arg(long)]
        topic: String,
        /// Only say what would happen.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        ask: Ask,
    },
    /// Stop a group: brokers give it nothing any more until it is resumed. What its clients have already, they finish.
    Pause {
        /// The group.
        group: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Let a group go on.
    Resume {
        /// The group.
        group: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Give a group the progress of another.
    Clone {
        /// The group that has it.
        source: String,
        /// The group that gets it.
        target: String,
        /// The topic.
        #[arg(long)]
        topic: String,
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

/// Flags of `kiruna group reset`.
#[derive(Args, Debug)]
pub(crate) struct Reset {
    /// The group.
    group: String,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// To the first messages stored at this time (milliseconds since 1970); 0 is the beginning. Without this and
    /// without --offset, to the end.
    #[arg(long, value_name = "MS", conflicts_with = "offset")]
    to: Option<i64>,
    /// To this offset of one queue.
    #[arg(long, requires = "queue")]
    offset: Option<u64>,
    /// Only this queue.
    #[arg(long)]
    queue: Option<u32>,
    /// Only on this broker.
    #[arg(long)]
    broker: Option<String>,
    /// Only say what would happen: which messages come again, which never will.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Reset {
    fn run(&self) -> Result<()> {
        let to = match (self.to, self.offset) {
            (_, Some(offset)) => ResetTo::Offset(QueueOffset(offset)),
            (Some(at), None) => ResetTo::Time(Timestamp(at)),
            (None, None) => ResetTo::End,
        };
        let scope = ResetScope {
            broker: self.broker.as_deref().map(BrokerName::parse).transpose()?,
            queue: self.queue.map(QueueId),
        };
        move_group(&self.group, &self.topic, &scope, to, self.dry_run, &self.ask)
    }
}

/// Runs one of them.
pub(crate) fn run(command: Group) -> Result<()> {
    match command {
        Group::Ls { ask } => answer(&ask, list),
        Group::Show { group, topic, ask } => show(&group, topic.as_deref(), &ask),
        Group::Members { group, ask } => members(&group, &ask),
        Group::Set(set) => settings::set(&set),
        Group::Settings { group, ask } => settings::show(&group, &ask),
        Group::Reset(reset) => reset.run(),
        Group::Skip { group, topic, dry_run, ask } => {
            move_group(&group, &topic, &ResetScope::default(), ResetTo::End, dry_run, &ask)
        }
        Group::Pause { group, ask } => set_consuming(&group, false, &ask),
        Group::Resume { group, ask } => set_consuming(&group, true, &ask),
        Group::Clone { source, target, topic, ask } => {
            let (source, target) = (GroupName::parse(source.as_str())?, GroupName::parse(target.as_str())?);
            let topic = TopicName::parse(topic.as_str())?;
            answer(&ask, async |admin| {
                admin.clone_progress(&source, &target, &topic).await?;
                Ok(progress(&admin.progress(&target, Some(&topic)).await?, &BTreeMap::new()))
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

async fn list(admin: &Admin) -> Result<Rows> {
    let mut enabled: BTreeMap<GroupName, bool> = BTreeMap::new();
    for master in admin.masters(None).await? {
        for (group, config) in admin.group_configs(&master.address).await?.subscription_group_table {
            *enabled.entry(group).or_default() |= config.consume_enable;
        }
    }
    let mut rows = Rows::new(&["group", "state", "members"]);
    for (group, is_enabled) in enabled {
        let members = match admin.consumer_connections(&group).await {
            Err(error) if error.refusal() == Some(ResponseCode::CONSUMER_NOT_ONLINE) => 0,
            members => members?.connection_set.len(),
        };
        let state = match (is_enabled, members) {
            (false, _) => "paused",
            (true, 0) => "offline",
            (true, _) => "online",
        };
        rows.push(vec![json!(group.as_str()), json!(state), json!(members)]);
    }
    Ok(rows)
}

fn show(group: &str, topic: Option<&str>, ask: &Ask) -> Result<()> {
    let group = GroupName::parse(group)?;
    let topic = topic.map(TopicName::parse).transpose()?;
    answer(ask, async |admin| {
        let places = admin.progress(&group, topic.as_ref()).await?;
        Ok(progress(&places, &admin.holders(&group).await?))
    })
}

fn progress(places: &GroupProgress, holders: &BTreeMap<Queue, (String, ProcessQueueInfo)>) -> Rows {
    let mut rows = Rows::new(&["topic", "broker", "queue", "next", "committed", "lag", "client", "cached"]);
    for (queue, place) in &places.queues {
        let holder = holders.get(queue);
        rows.push(vec![
            json!(queue.topic.as_str()),
            json!(queue.broker.as_str()),
            json!(queue.id.0),
            json!(place.end.0),
            json!(place.committed.0),
            json!(place.lag()),
            json!(holder.map(|(client, _)| client)),
            json!(holder.map(|(_, queue)| queue.cached_msg_count)),
        ]);
    }
    rows
}

fn move_group(
    group: &str,
    topic: &str,
    scope: &ResetScope,
    to: ResetTo,
    dry_run: bool,
    ask: &Ask,
) -> Result<()> {
    let (group, topic) = (GroupName::parse(group)?, TopicName::parse(topic)?);
    answer(ask, async |admin| {
        if dry_run {
            return Ok(planned(&admin.plan_reset(&group, &topic, scope, to).await?));
        }
        let mut rows = Rows::new(&["broker", "queue", "offset"]);
        for (queue, offset) in admin.reset_to(&group, &topic, scope, to).await? {
            rows.push(vec![json!(queue.broker.as_str()), json!(queue.id.0), json!(offset.0)]);
        }
        Ok(rows)
    })
}

fn planned(plan: &[PlannedMove]) -> Rows {
    let columns = [
        "broker",
        "queue",
        "committed",
        "target",
        "end",
        "redelivered",
        "skipped",
        "first_again",
        "last_again",
    ];
    let mut rows = Rows::new(&columns);
    for queue in plan {
        rows.push(vec![
            json!(queue.queue.broker.as_str()),
            json!(queue.queue.id.0),
            json!(queue.committed.map(|offset| offset.0)),
            json!(queue.target.0),
            json!(queue.end.0),
            json!(queue.redelivered()),
            json!(queue.skipped()),
            json!(queue.first_again.map(|at| at.0)),
            json!(queue.last_again.map(|at| at.0)),
        ]);
    }
    rows
}

fn set_consuming(group: &str, is_on: bool, ask: &Ask) -> Result<()> {
    let name = GroupName::parse(group)?;
    answer(ask, async |admin| {
        let mut rows = Rows::new(&["broker", "group", "consumes"]);
        for master in admin.set_consuming(&name, is_on).await? {
            rows.push(vec![json!(master.broker.as_str()), json!(group), json!(is_on)]);
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
