// SPDX-License-Identifier: Apache-2.0
//! `kiruna dlq replay`: chooses dead letters, sends them again at a rate, and reports what became of each.
//! Invariants: what was replayed is not replayed again unless that is asked for; nothing is sent in a dry run; the report
//! adds up: what matched was replayed, skipped or failed.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use client::{Admin, Received};
use futures_util::future::try_join_all;
use protocol::names::{Group, TopicName};
use serde_json::json;
use tokio::time::Instant;

use super::{Pages, Which, by_id, origin, replay_topics};
use crate::commands::{Ask, answer};
use crate::output::Rows;

/// Flags of `kiruna dlq replay`.
#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// The group that gave them up.
    group: String,
    /// Only these: offset ids, or the ids their producers gave them.
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// To a topic, for all groups that subscribe to it: by itself to the one each was sent to first, with a name to that
    /// one. Without it only the group that gave them up gets them.
    #[arg(long, value_name = "TOPIC", num_args = 0..=1, default_missing_value = "")]
    to_topic: Option<String>,
    /// At most so many in a second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Stop after so many replays.
    #[arg(long)]
    max: Option<u64>,
    /// Send nothing; report what would be sent.
    #[arg(long)]
    dry_run: bool,
    /// Also those that were replayed before.
    #[arg(long)]
    again: bool,
    /// Report each dead letter on a line of its own.
    #[arg(long)]
    each: bool,
    #[command(flatten)]
    ask: Ask,
}

/// Failures in a row after which nothing is expected to work any more.
const PATIENCE: u64 = 10;

/// What became of all.
#[derive(Default)]
struct Tally {
    looked_at: u64,
    matched: u64,
    replayed: u64,
    skipped: u64,
    failed: u64,
    /// Since the last that did not fail.
    in_a_row: u64,
    /// There may be more than was looked at.
    is_cut: bool,
}

/// Runs it. Failures are an exit code as well as a number in the report.
pub(crate) fn run(replay: &Replay) -> Result<()> {
    let group = Group::parse(replay.group.as_str())?;
    let named = replay.to_topic.as_deref().filter(|name| !name.is_empty());
    let named = named.map(TopicName::parse).transpose()?;
    let mut failed = 0;
    answer(&replay.ask, async |admin| {
        let mut job = Job::new(replay, &group, named, admin);
        job.run().await?;
        failed = job.tally.failed;
        Ok(job.report())
    })?;
    if failed > 0 {
        bail!("{failed} dead letters could not be replayed");
    }
    Ok(())
}

struct Job<'a> {
    replay: &'a Replay,
    group: &'a Group,
    /// The topic that was named.
    named: Option<TopicName>,
    admin: &'a Admin,
    tally: Tally,
    each: Rows,
    began: Instant,
}

impl<'a> Job<'a> {
    fn new(replay: &'a Replay, group: &'a Group, named: Option<TopicName>, admin: &'a Admin) -> Job<'a> {
        let each = Rows::new(&["id", "unique_id", "origin_topic", "to", "outcome", "why"]);
        Job { replay, group, named, admin, tally: Tally::default(), each, began: Instant::now() }
    }

    async fn run(&mut self) -> Result<()> {
        if self.replay.ids.is_empty() {
            let mut pages = Pages::open(self.admin, self.group, &self.replay.which).await?;
            while !self.is_over()
                && let Some(letters) = pages.next().await?
            {
                self.tally.looked_at = pages.looked_at;
                self.page(letters).await?;
            }
            return Ok(());
        }
        for id in &self.replay.ids {
            let mut letters = by_id(self.admin, self.group, id).await?;
            self.tally.looked_at += letters.len() as u64;
            letters.retain(|letter| self.replay.which.wants(letter));
            self.page(letters).await?;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.tally.is_cut
    }

    /// Deals with some dead letters in their order. Whether they were replayed is asked for all of them at once.
    async fn page(&mut self, letters: Vec<Received>) -> Result<()> {
        let asked = letters.iter().map(|letter| async {
            let topics = replay_topics(self.group, letter, self.named.as_ref());
            self.admin.replays(letter, &topics).await
        });
        let replays = try_join_all(asked).await?;
        for (letter, replays) in letters.iter().zip(replays) {
            if self.tally.is_cut
                || self.replay.max.is_some_and(|max| self.tally.replayed >= max)
                || self.tally.in_a_row >= PATIENCE
            {
                self.tally.is_cut = true;
                return Ok(());
            }
            self.tally.matched += 1;
            self.one(letter, &replays).await;
        }
        Ok(())
    }

    async fn one(&mut self, letter: &Received, replays: &[Received]) {
        let to = match (&self.replay.to_topic, &self.named) {
            (None, _) => Some(TopicName::retry_of(self.group)),
            (Some(_), Some(named)) => Some(named.clone()),
            (Some(_), None) => letter.origin_topic(),
        };
        let (outcome, why) = match (to.as_ref(), replays.first()) {
            (_, Some(replay)) if !self.replay.again => {
                self.tally.skipped += 1;
                ("skipped", format!("replayed as {} in {}", replay.offset_id(), replay.queue))
            }
            (None, _) => {
                self.tally.failed += 1;
                ("failed", "it does not say which topic it was sent to; name one".to_owned())
            }
            (Some(_), _) if self.replay.dry_run => {
                self.tally.replayed += 1;
                ("would be replayed", String::new())
            }
            (Some(to), _) => self.send(letter, to).await,
        };
        if self.replay.each {
            let to = to.map(|to| to.to_string());
            self.each.push(vec![
                json!(letter.offset_id()),
                json!(letter.id()),
                origin(letter),
                json!(to),
                json!(outcome),
                json!(why),
            ]);
        }
    }

    async fn send(&mut self, letter: &Received, to: &TopicName) -> (&'static str, String) {
        let turn = self.tally.replayed + self.tally.failed;
        let pause = Duration::from_secs_f64(turn as f64 / f64::from(self.replay.rate));
        tokio::time::sleep_until(self.began + pause).await;
        match self.admin.replay(letter, to).await {
            Ok(id) if self.tally.replayed == 0 && self.is_dead_again(&id).await => {
                (self.tally.failed, self.tally.is_cut) = (self.tally.failed + 1, true);
                let why = "its broker made a dead letter of it at once, as Apache's do for a group that consumes in order";
                tracing::warn!(id = letter.offset_id(), why, "stop the group meanwhile, or use --to-topic");
                ("failed", format!("{why}: stop the group meanwhile, or use --to-topic"))
            }
            Ok(_) => {
                (self.tally.replayed, self.tally.in_a_row) = (self.tally.replayed + 1, 0);
                ("replayed", String::new())
            }
            Err(error) => {
                (self.tally.failed, self.tally.in_a_row) = (self.tally.failed + 1, self.tally.in_a_row + 1);
                tracing::warn!(id = letter.offset_id(), %error, "cannot replay a dead letter");
                ("failed", error.to_string())
            }
        }
    }

    /// Says whether a replay went to the dead letters and not where it was sent to. Asked once: all would go there.
    async fn is_dead_again(&self, id: &str) -> bool {
        let stored = self.admin.message_by_offset_id(None, id).await;
        stored.is_ok_and(|message| message.queue.topic.is_dlq())
    }

    fn report(self) -> Rows {
        if self.replay.each {
            return self.each;
        }
        let columns = [
            "group",
            "dry_run",
            "looked_at",
            "matched",
            "replayed",
            "skipped",
            "failed",
            "complete",
            "seconds",
        ];
        let mut rows = Rows::new(&columns);
        let Tally { looked_at, matched, replayed, skipped, failed, is_cut, .. } = self.tally;
        rows.push(vec![
            json!(self.group.as_str()),
            json!(self.replay.dry_run),
            json!(looked_at),
            json!(matched),
            json!(replayed),
            json!(skipped),
            json!(failed),
            json!(!is_cut),
            json!((self.began.elapsed().as_secs_f64() * 10.0).round() / 10.0),
        ]);
        rows
    }
}
