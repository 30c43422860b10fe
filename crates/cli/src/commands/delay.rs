// SPDX-License-Identifier: Apache-2.0
//! `kiruna delay`: messages that wait for a time of their own, and taking them back or giving them another time, through
//! the admin client. Messages with a delay level wait elsewhere and are not among them.

use std::cell::Cell;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use client::{Admin, TimedName, TimerQuery};
use protocol::body::TimerInfo;
use protocol::names::TopicName;
use serde_json::{Value, json};
use stdx::SystemClock;

use super::{Ask, answer};
use crate::exit::Exit;
use crate::output::Rows;
use crate::when::{Length, When, time};

/// What can be done about messages that wait for their time.
#[derive(Debug, Subcommand)]
pub(crate) enum Delay {
    /// Lists them in the order in which they are due.
    Ls(Ls),
    /// Counts them by topic.
    Topics {
        #[command(flatten)]
        ask: Ask,
    },
    /// Counts them by the time at which they are due.
    Histogram {
        /// Only for this topic.
        #[arg(long)]
        topic: Option<String>,
        /// Length of a bar.
        #[arg(long, default_value = "1h")]
        every: Length,
        /// How many bars of each broker; what is due later is the last line.
        #[arg(long, default_value_t = 100)]
        max: u32,
        #[command(flatten)]
        ask: Ask,
    },
    /// Tells what became of one: it waits, was delivered, or was taken back.
    Show {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        ask: Ask,
    },
    /// Takes one back: cancelled, or too late, or unknown.
    Cancel {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        ask: Ask,
    },
    /// Has one delivered at another time: moved, or cancelled before, or too late, or unknown.
    Move {
        #[command(flatten)]
        name: Name,
        /// When: milliseconds since 1970, 2026-11-21T18:05:09Z, or +30m from now. In the past means at once.
        #[arg(long)]
        to: When,
        #[command(flatten)]
        ask: Ask,
    },
}

/// Flags of `kiruna delay ls`.
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Only for this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Only those due then or later: milliseconds since 1970, 2026-11-21T18:05:09Z, or +30m from now.
    #[arg(long)]
    from: Option<When>,
    /// Only those due before then.
    #[arg(long)]
    until: Option<When>,
    /// Of those due at --from, only the ones behind this place in the log: with both of the last line seen, the next page.
    #[arg(long, requires = "from")]
    behind: Option<u64>,
    /// How many of each broker.
    #[arg(long, default_value_t = 100)]
    max: u32,
    #[command(flatten)]
    ask: Ask,
}

/// Which message is meant.
#[derive(Args, Debug)]
#[group(skip)]
pub(crate) struct Name {
    /// The recall handle that its send was answered with, or its id together with --topic.
    #[arg(required_unless_present = "key")]
    message: Option<String>,
    /// All that have this key.
    #[arg(long, requires = "topic", conflicts_with = "message")]
    key: Option<String>,
    /// The topic that it is for.
    #[arg(long)]
    topic: Option<String>,
}

impl Name {
    fn resolve(&self) -> Result<TimedName> {
        let topic = self.topic.as_deref().map(TopicName::parse).transpose()?;
        match (&self.message, &self.key, topic) {
            (None, Some(key), Some(topic)) => Ok(TimedName::key(topic, key)),
            (Some(id), None, Some(topic)) => Ok(TimedName::id(topic, id)),
            (Some(handle), None, None) => {
                TimedName::handle(handle).context("that is no recall handle; an id needs --topic")
            }
            _ => bail!("a message is named by its handle, by --topic and its id, or by --topic and --key"),
        }
    }
}

/// Runs one of them.
pub(crate) fn run(command: Delay) -> Result<()> {
    let now = SystemClock::new().now();
    match command {
        Delay::Ls(ls) => {
            let query = TimerQuery {
                topic: ls.topic.as_deref().map(TopicName::parse).transpose()?,
                from: ls.from.map(|when| when.moment(now)),
                until: ls.until.map(|when| when.moment(now)),
                behind: ls.behind,
                max: ls.max,
            };
            answer(&ls.ask, async |admin| list(admin, &query).await)
        }
        Delay::Topics { ask } => answer(&ask, async |admin| {
            let mut rows = Rows::new(&["broker", "topic", "waiting"]);
            for (broker, list) in admin.timers(&TimerQuery::default()).await? {
                for of in list.topics {
                    rows.push(vec![json!(broker.as_str()), json!(of.topic), json!(of.waiting)]);
                }
            }
            Ok(rows)
        }),
        Delay::Histogram { topic, every, max, ask } => {
            let topic = topic.as_deref().map(TopicName::parse).transpose()?;
            answer(&ask, async |admin| histogram(admin, topic.as_ref(), every, max).await)
        }
        Delay::Show { name, ask } => {
            let name = name.resolve()?;
            answer(&ask, async |admin| show(admin, &name).await)
        }
        Delay::Cancel { name, ask } => change(&name.resolve()?, None, &ask),
        Delay::Move { name, to, ask } => change(&name.resolve()?, Some(to), &ask),
    }
}

async fn list(admin: &Admin, query: &TimerQuery) -> Result<Rows> {
    let columns =
        ["broker", "due", "topic", "queue", "unique_id", "keys", "size", "stored_at", "due_ms", "place"];
    let mut rows = Rows::new(&columns);
    for (broker, list) in admin.timers(query).await? {
        for TimerInfo { body_size, due, keys, log_offset, queue, stored_at, topic, unique_id, .. } in
            list.timers
        {
            rows.push(vec![
                json!(broker.as_str()),
                time(due),
                json!(topic),
                json!(queue),
                json!(unique_id),
                json!(keys),
                json!(body_size),
                time(stored_at),
                json!(due),
                json!(log_offset),
            ]);
        }
    }
    Ok(rows)
}

async fn histogram(admin: &Admin, topic: Option<&TopicName>, every: Length, max: u32) -> Result<Rows> {
    if every.0.is_zero() {
        bail!("--every is at least 1ms");
    }
    let mut rows = Rows::new(&["broker", "from", "until", "count"]);
    let length = i64::try_from(every.0.as_millis())?;
    for (broker, found) in admin.count_timers(topic, every.0, max).await? {
        let broker = broker.as_str();
        for bar in &found.bars {
            let until = bar.from.saturating_add(length);
            rows.push(vec![json!(broker), time(bar.from), time(until), json!(bar.count)]);
        }
        if found.later > 0 {
            let from = found.bars.last().map_or(Value::Null, |bar| time(bar.from.saturating_add(length)));
            rows.push(vec![json!(broker), from, Value::Null, json!(found.later)]);
        }
    }
    Ok(rows)
}

async fn show(admin: &Admin, name: &TimedName) -> Result<Rows> {
    let columns =
        ["broker", "state", "due", "topic", "queue", "unique_id", "keys", "size", "stored_at", "place"];
    let mut rows = Rows::new(&columns);
    let found = admin.timed(name).await?;
    if found.is_empty() {
        bail!(Exit::failed("unknown: no such message waits, or waited, as far as the log goes"));
    }
    for (broker, one) in found {
        rows.push(vec![
            json!(broker.as_str()),
            json!(one.state),
            time(one.due),
            json!(one.topic),
            json!(one.queue),
            json!(one.unique_id),
            json!(one.keys),
            json!(one.body_size),
            time(one.stored_at),
            json!(one.log_offset),
        ]);
    }
    Ok(rows)
}

/// Changes a message and prints what came of it. Fails where nothing is as wished, so that scripts see it.
fn change(name: &TimedName, to: Option<When>, ask: &Ask) -> Result<()> {
    let to = to.map(|to| to.moment(SystemClock::new().now()));
    let wished = if to.is_some() { "moved" } else { "cancelled" };
    let is_done = Cell::new(false);
    answer(ask, async |admin| {
        let mut outcomes = admin.change_timed(name, to).await?;
        // Brokers that never had it say nothing of interest, unless nobody had it.
        if outcomes.iter().any(|(_, outcome)| outcome != "unknown") {
            outcomes.retain(|(_, outcome)| outcome != "unknown");
        }
        is_done.set(outcomes.iter().any(|(_, outcome)| outcome == wished));
        let mut rows = Rows::new(&["broker", "outcome", "due"]);
        for (broker, outcome) in outcomes {
            let due = to.filter(|_| outcome == "moved").map_or(Value::Null, |at| time(at.0));
            rows.push(vec![json!(broker.as_str()), json!(outcome), due]);
        }
        Ok(rows)
    })?;
    if is_done.get() { Ok(()) } else { bail!(Exit::failed(format!("the message is not {wished}"))) }
}
