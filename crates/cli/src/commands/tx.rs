// SPDX-License-Identifier: Apache-2.0
//! `kiruna tx`: transactions that nobody decides, and deciding them by hand, through the admin client.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use client::{Admin, Outcome, TransactionQuery};
use protocol::body::TransactionInfo;
use protocol::names::{Group, TopicName};
use serde_json::{Value, json};

use super::{Ask, answer};
use crate::output::Rows;
use crate::when::time;

/// What can be done about transactions.
#[derive(Debug, Subcommand)]
pub(crate) enum Tx {
    /// Lists those that wait for a decision, the oldest of each broker first.
    Ls(Ls),
    /// Tells what became of one.
    Show {
        /// Its place in the log, its offset id, or the id its producer gave it.
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Delivers the message of one by hand.
    Commit(Decide),
    /// Drops the message of one by hand.
    Rollback(Decide),
    /// Has the producers of one asked again from the beginning.
    Ask {
        /// Its place in the log, its offset id, or the id its producer gave it.
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
}

/// Flags of `kiruna tx ls`.
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Only of this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Only of this producer group.
    #[arg(long)]
    group: Option<String>,
    /// Only those that were asked about as often as allowed.
    #[arg(long)]
    parked: bool,
    /// Only those behind this place in the log: the `id` of the last line seen.
    #[arg(long)]
    after: Option<u64>,
    /// How many of each broker.
    #[arg(long, default_value_t = 100)]
    max: u32,
    #[command(flatten)]
    ask: Ask,
}

/// Flags of a decision by hand; both words go into the log.
#[derive(Args, Debug)]
pub(crate) struct Decide {
    /// Its place in the log, its offset id, or the id its producer gave it.
    id: String,
    /// Why.
    #[arg(long)]
    why: String,
    /// Who decides.
    #[arg(long, env = "USER")]
    by: String,
    #[command(flatten)]
    ask: Ask,
}

/// Runs one of them.
pub(crate) fn run(command: Tx) -> Result<()> {
    match command {
        Tx::Ls(ls) => {
            let query = TransactionQuery {
                topic: ls.topic.as_deref().map(TopicName::parse).transpose()?,
                group: ls.group.as_deref().map(Group::parse).transpose()?,
                parked: ls.parked,
                after: ls.after,
                max: ls.max,
            };
            answer(&ls.ask, async |admin| list(admin, &query).await)
        }
        Tx::Show { id, ask } => answer(&ask, async |admin| show(admin, &id).await),
        Tx::Commit(decide) => by_hand(&decide, Outcome::Commit),
        Tx::Rollback(decide) => by_hand(&decide, Outcome::Rollback),
        Tx::Ask { id, ask } => answer(&ask, async |admin| {
            admin.ask_about_transaction(&id).await?;
            show(admin, &id).await
        }),
    }
}

fn by_hand(decide: &Decide, outcome: Outcome) -> Result<()> {
    if decide.why.trim().is_empty() || decide.by.trim().is_empty() {
        bail!("a decision by hand needs --by and --why");
    }
    answer(&decide.ask, async |admin| {
        admin.decide_transaction(&decide.id, outcome, &decide.by, &decide.why).await?;
        show(admin, &decide.id).await
    })
}

async fn list(admin: &Admin, query: &TransactionQuery) -> Result<Rows> {
    let columns = [
        "broker",
        "id",
        "state",
        "topic",
        "group",
        "unique_id",
        "keys",
        "size",
        "stored_at",
        "checks",
        "next_check",
    ];
    let mut rows = Rows::new(&columns);
    for (broker, list) in admin.transactions(query).await? {
        for one in list.transactions {
            rows.push(vec![
                json!(broker.as_str()),
                json!(one.id),
                json!(one.state),
                json!(one.topic),
                json!(one.group),
                json!(one.unique_id),
                json!(one.keys),
                json!(one.body_size),
                time(one.stored_at),
                json!(one.checks),
                one.next_check.map_or(Value::Null, time),
            ]);
        }
    }
    Ok(rows)
}

async fn show(admin: &Admin, id: &str) -> Result<Rows> {
    let (broker, one) = admin.transaction(id).await?;
    let TransactionInfo { id, queue_offset, state, topic, group, unique_id, keys, .. } = &one;
    let moment = |at: Option<i64>| at.map_or(Value::Null, time);
    Ok(Rows::one(vec![
        ("broker", json!(broker.as_str())),
        ("id", json!(id)),
        ("state", json!(state)),
        ("topic", json!(topic)),
        ("group", json!(group)),
        ("unique_id", json!(unique_id)),
        ("keys", json!(keys)),
        ("size", json!(one.body_size)),
        ("queue_offset", json!(queue_offset)),
        ("stored_at", time(one.stored_at)),
        ("checks", json!(one.checks)),
        ("next_check", moment(one.next_check)),
        ("decided_at", moment(one.decided_at)),
        ("decided_by", json!(one.decided_by)),
        ("decided_why", json!(one.decided_why)),
    ]))
}
