// SPDX-License-Identifier: Apache-2.0
//! `kiruna dlq`: dead letters of a group: listed, shown, sent again. Through the admin client, so against any broker.
//!
//! A replay goes to the group that gave the message up, by way of its retry topic, unless it is told to go to a topic:
//! the other groups have had the message, and would have it twice. Each replay names its dead letter; one that has a
//! replay is skipped, so a replay that was cut off is simply started again.

mod replay;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use client::{Admin, DeadLetterFilter, Queue, Received};
use protocol::names::{Group, QueueOffset, TopicName};
use serde_json::{Value, json};
use stdx::{SystemClock, Timestamp};

use super::{Ask, answer};
use crate::output::Rows;

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// Lists the dead letters of a group, or the groups that have any.
    Ls(Ls),
    /// Shows one with all its properties, and what was made of it.
    Show {
        /// The group that gave it up.
        group: String,
        /// Its offset id, or the id its producer gave it.
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Sends dead letters again, to their group only or to a topic.
    Replay(replay::Replay),
}

/// Flags of `kiruna dlq ls`.
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// The group; without it, all groups that have dead letters.
    group: Option<String>,
    #[command(flatten)]
    which: Which,
    /// How many.
    #[arg(long, default_value_t = 100)]
    max: u64,
    #[command(flatten)]
    ask: Ask,
}

/// Flags that choose dead letters.
#[derive(Args, Debug)]
#[group(skip)]
pub(crate) struct Which {
    /// Only those with one of these tags, such as `a || b`.
    #[arg(long, conflicts_with = "sql")]
    tag: Option<String>,
    /// Only those whose properties satisfy this SQL92 expression.
    #[arg(long)]
    sql: Option<String>,
    /// Only those with this key.
    #[arg(long)]
    key: Option<String>,
    /// Only those that were sent to this topic.
    #[arg(long)]
    origin: Option<String>,
    /// Only those that died at this time or later: milliseconds since 1970, or so long ago (`90s`, `15m`, `2h`, `3d`).
    #[arg(long, value_parser = time)]
    since: Option<Timestamp>,
    /// Only those that died before this time.
    #[arg(long, value_parser = time)]
    until: Option<Timestamp>,
}

/// Runs one of them.
pub(crate) fn run(command: Dlq) -> Result<()> {
    match command {
        Dlq::Ls(Ls { group: None, ask, .. }) => answer(&ask, groups),
        Dlq::Ls(Ls { group: Some(group), which, max, ask }) => {
            let group = Group::parse(group.as_str())?;
            answer(&ask, async |admin| list(admin, &group, &which, max).await)
        }
        Dlq::Show { group, id, ask } => {
            let group = Group::parse(group.as_str())?;
            answer(&ask, async |admin| show(admin, &group, &id).await)
        }
        Dlq::Replay(replay) => replay::run(&replay),
    }
}

/// Reads a time: milliseconds since 1970, or how long ago.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<i64>() {
        return Ok(Timestamp(at));
    }
    let wrong = || format!("'{text}' is no number of milliseconds and no age such as 90s, 15m, 2h or 3d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit: i64 = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let age = number.parse::<u32>().map_err(|_| wrong())?;
    Ok(Timestamp(SystemClock::new().now().0 - i64::from(age) * unit))
}

impl Which {
    fn filter(&self) -> Result<DeadLetterFilter> {
        let filter = match (&self.tag, &self.sql) {
            (_, Some(sql)) => DeadLetterFilter::new("SQL92", sql),
            (Some(tag), None) => DeadLetterFilter::new("TAG", tag),
            (None, None) => DeadLetterFilter::new("TAG", "*"),
        };
        Ok(filter?)
    }

    /// What the filter does not know.
    fn wants(&self, letter: &Received) -> bool {
        let key = self.key.as_deref().is_none_or(|key| letter.keys().any(|has| has == key));
        let origin = self.origin.as_deref();
        let origin = origin.is_none_or(|topic| letter.origin_topic().is_some_and(|has| has == *topic));
        let since = self.since.is_none_or(|since| letter.stored_at >= since);
        key && origin && since && self.until.is_none_or(|until| letter.stored_at < until)
    }
}

/// The dead letters of a group, a page at a time, in the order in which they died on each queue.
struct Pages<'a> {
    admin: &'a Admin,
    which: &'a Which,
    filter: DeadLetterFilter,
    /// What is left to read, the next queue last.
    queues: Vec<(Queue, QueueOffset, QueueOffset)>,
    looked_at: u64,
}

impl<'a> Pages<'a> {
    async fn open(admin: &'a Admin, group: &Group, which: &'a Which) -> Result<Pages<'a>> {
        let filter = which.filter()?;
        let queues = admin.dead_letter_queues(group, which.since).await;
        let mut queues = queues.with_context(|| format!("no dead letters of group {group} can be read"))?;
        queues.reverse();
        Ok(Pages { admin, which, filter, queues, looked_at: 0 })
    }

    /// The next ones, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<Received>>> {
        let Some((queue, from, end)) = self.queues.pop() else { return Ok(None) };
        let mut page = self.admin.dead_letters(&queue, from, end, &self.filter).await?;
        self.looked_at += page.looked_at;
        if let Some(next) = page.next {
            self.queues.push((queue, next, end));
        }
        page.letters.retain(|letter| self.which.wants(letter));
        Ok(Some(page.letters))
    }
}

async fn groups(admin: &Admin) -> Result<Rows> {
    let mut rows = Rows::new(&["group", "dead_letters", "last_died_at"]);
    for topic in admin.topics().await?.iter().filter(|topic| topic.is_dlq()) {
        let stats = admin.topic_stats(topic).await?;
        let offsets = stats.offset_table.0.iter().map(|(_, offsets)| offsets);
        let count: i64 = offsets.clone().map(|offsets| offsets.max_offset - offsets.min_offset).sum();
        let last = offsets.map(|offsets| offsets.last_update_timestamp).max();
        if count > 0 {
            let group = topic.as_str().trim_start_matches("%DLQ%");
            rows.push(vec![json!(group), json!(count), json!(last)]);
        }
    }
    Ok(rows)
}

async fn list(admin: &Admin, group: &Group, which: &Which, max: u64) -> Result<Rows> {
    let columns = [
        "id",
        "broker",
        "queue",
        "offset",
        "unique_id",
        "origin_topic",
        "origin_id",
        "tag",
        "keys",
        "born_at",
        "died_at",
        "failures",
        "size",
    ];
    let mut rows = Rows::new(&columns);
    let mut pages = Pages::open(admin, group, which).await?;
    let mut left = max;
    while left > 0
        && let Some(letters) = pages.next().await?
    {
        for letter in letters.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            left -= 1;
            rows.push(vec![
                json!(letter.offset_id()),
                json!(letter.queue.broker.as_str()),
                json!(letter.queue_id().0),
                json!(letter.offset.0),
                json!(letter.id()),
                origin(letter),
                json!(letter.origin_id()),
                json!(letter.tag()),
                json!(letter.keys().collect::<Vec<_>>().join(" ")),
                json!(letter.born_at.0),
                json!(letter.stored_at.0),
                json!(letter.reconsume_times),
                json!(letter.body.len()),
            ]);
        }
    }
    Ok(rows)
}

fn origin(letter: &Received) -> Value {
    json!(letter.origin_topic().map(|topic| topic.to_string()))
}

/// The topics that a replay may lie in.
fn replay_topics(group: &Group, letter: &Received, other: Option<&TopicName>) -> Vec<TopicName> {
    let mut topics: Vec<TopicName> = vec![TopicName::retry_of(group)];
    topics.extend(letter.origin_topic());
    topics.extend(other.filter(|other| !topics.contains(other)).cloned());
    topics
}

/// Finds dead letters by either id.
async fn by_id(admin: &Admin, group: &Group, id: &str) -> Result<Vec<Received>> {
    let topic = TopicName::dlq_of(group);
    // A producer's id looks like a broker's.
    let mut found = admin.messages_by_unique_id(&topic, id).await?;
    if found.is_empty() {
        let message = admin.message_by_offset_id(Some(&topic), id).await;
        found.extend(message.ok().filter(|message| message.queue.topic == topic));
    }
    if found.is_empty() {
        bail!("group {group} has no dead letter {id}");
    }
    Ok(found)
}

async fn show(admin: &Admin, group: &Group, id: &str) -> Result<Rows> {
    let mut rows = Rows::new(&["field", "value"]);
    for letter in by_id(admin, group, id).await? {
        let replays = admin.replays(&letter, &replay_topics(group, &letter, None)).await?;
        let replays: Vec<String> =
            replays.iter().map(|replay| format!("{} in {}", replay.offset_id(), replay.queue)).collect();
        let fields = [
            ("id", json!(letter.offset_id())),
            ("queue", json!(letter.queue.to_string())),
            ("offset", json!(letter.offset.0)),
            ("unique_id", json!(letter.id())),
            ("origin_topic", origin(&letter)),
            ("origin_id", json!(letter.origin_id())),
            ("born_at", json!(letter.born_at.0)),
            ("born_host", json!(letter.born_host.to_string())),
            ("died_at", json!(letter.stored_at.0)),
            ("failures", json!(letter.reconsume_times)),
            ("flag", json!(letter.flag)),
            ("replays", json!(replays)),
            ("size", json!(letter.body.len())),
            ("body", json!(String::from_utf8_lossy(&letter.body))),
        ];
        fields.into_iter().for_each(|(field, value)| rows.push(vec![json!(field), value]));
        for (name, value) in letter.properties() {
            rows.push(vec![json!(format!("property {name}")), json!(value)]);
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_or_ages() {
        let now = SystemClock::new().now().0;
        assert_eq!(time("1700000000000"), Ok(Timestamp(1_700_000_000_000)));
        for (text, age) in [("90s", 90_000), ("15m", 900_000), ("2h", 7_200_000), ("3d", 259_200_000)] {
            let at = time(text).unwrap().0;
            assert!((now - age..now - age + 10_000).contains(&at), "{text}");
        }
        for text in ["", "h", "2w", "-1h", "1.5h", "é"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
