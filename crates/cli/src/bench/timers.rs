// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench timers`: what became of timed messages, from what was delivered alone: each record says when it was due and
//! when it was stored in its topic. Fails when one came early, came twice, or when there are fewer than expected.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use clap::Args;
use hdrhistogram::Histogram;
use protocol::codes::ResponseCode;
use protocol::properties;
use protocol::pull::PullMessage;
use protocol::record::{self, Record};
use serde_json::json;

use super::target::{PATIENCE, Target};
use super::{Common, pull};
use crate::exit::Exit;
use crate::output::Rows;

/// Flags of `kiruna bench timers`.
#[derive(Args, Debug)]
pub(crate) struct TimersArgs {
    #[command(flatten)]
    common: Common,
    /// So many were promised: fewer are a loss, more were stored without an answer.
    #[arg(long, default_value_t = 0)]
    expect: u64,
}

/// What was delivered.
struct Found {
    ids: HashSet<String>,
    messages: u64,
    early: u64,
    twice: u64,
    /// Stored behind one of its queue that was due later.
    inverted: u64,
    /// Microseconds from the time it was due to the time it was stored; both are whole milliseconds.
    late: Histogram<u64>,
    /// Stores of the first and the last one.
    span: (i64, i64),
}

pub(super) async fn run(args: TimersArgs) -> Result<()> {
    let target = Target::find(&args.common).await?;
    let mut found = Found {
        ids: HashSet::new(),
        messages: 0,
        early: 0,
        twice: 0,
        inverted: 0,
        late: Histogram::new_with_bounds(1, 1 << 42, 3).expect("the bounds are in order"),
        span: (i64::MAX, i64::MIN),
    };
    for queue in &target.queues {
        let connection = target.dial(queue).await?;
        let end = pull::max_offset(&connection, &target, queue.queue).await?;
        let (mut at, mut last_due) = (0, i64::MIN);
        while at < end {
            let max_bytes = Some(8 << 20);
            let request = PullMessage { max_bytes, ..pull::request(&target, queue.queue, at, 1024)? };
            let answer = connection.call(&request, (), PATIENCE).await.context("cannot read the topic")?;
            let code = answer.code();
            let is_known = [ResponseCode::SUCCESS, ResponseCode::PULL_OFFSET_MOVED].contains(&code);
            if !is_known {
                bail!("queue {} cannot be read at {at}: code {}", queue.queue, code.0);
            }
            let reply: protocol::pull::PullReply = answer.header()?;
            for record in record::iterate(answer.body()) {
                found.look(&record?, &mut last_due);
            }
            if reply.next.0 <= at {
                bail!("queue {} does not go on at {at}", queue.queue);
            }
            at = reply.next.0;
        }
    }
    found.print(&args)
}

impl Found {
    fn look(&mut self, record: &Record<'_>, last_due: &mut i64) {
        // What was sent without a time, to make the topic or to warm it up, is not of interest.
        let Some(due) = record.property(properties::TIMER_DELIVER_MS).and_then(|due| due.parse().ok()) else {
            return;
        };
        let (due, stored): (i64, i64) = (due, record.stored_at().0);
        self.messages += 1;
        self.early += u64::from(stored < due);
        self.inverted += u64::from(due < *last_due);
        *last_due = due.max(*last_due);
        self.span = (self.span.0.min(stored), self.span.1.max(stored));
        self.late.saturating_record((stored - due).max(0) as u64 * 1_000);
        let id = record.property(properties::UNIQ_KEY).unwrap_or_default();
        self.twice += u64::from(!self.ids.insert(id.to_owned()));
    }

    fn print(&self, args: &TimersArgs) -> Result<()> {
        let seconds = (self.span.1.saturating_sub(self.span.0)).max(1) as f64 / 1_000.0;
        let millis = |quantile| json!(self.late.value_at_quantile(quantile) as f64 / 1_000.0);
        let lost = args.expect.saturating_sub(self.ids.len() as u64);
        let rate = if self.messages > 0 { (self.messages as f64 / seconds).round() } else { 0.0 };
        let rows = Rows::one(vec![
            ("messages", json!(self.messages)),
            ("distinct", json!(self.ids.len())),
            ("lost", json!(lost)),
            ("early", json!(self.early)),
            ("twice", json!(self.twice)),
            ("out_of_order", json!(self.inverted)),
            ("seconds", json!(seconds)),
            ("per_second", json!(rate)),
            ("late_p50_ms", millis(0.5)),
            ("late_p99_ms", millis(0.99)),
            ("late_p999_ms", millis(0.999)),
            ("late_max_ms", millis(1.0)),
        ]);
        rows.write(args.common.output, &mut std::io::stdout().lock())?;
        if lost + self.early + self.twice > 0 {
            let words = format!("{lost} lost, {} early, {} twice", self.early, self.twice);
            bail!(Exit::failed(words));
        }
        Ok(())
    }
}
