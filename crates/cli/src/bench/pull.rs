// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench pull`: consumers that read the newest part of a topic over and over, several requests under way.

use anyhow::{Context, Result, bail};
use clap::Args;
use futures_util::future::join_all;
use protocol::names::{Group, QueueId, QueueOffset};
use protocol::offset::GetMaxOffset;
use protocol::pull::{PullMessage, PullReply, SUBSCRIPTION};
use protocol::record;
use remoting::{Call, Connection, Response};

use super::load::{self, Measured, Span};
use super::report::{self, Work};
use super::target::{PATIENCE, Queue, Target};
use super::{Common, send};

/// Flags of `kiruna bench pull`.
#[derive(Args, Debug)]
pub(crate) struct PullArgs {
    #[command(flatten)]
    common: Common,
    /// Connections to the brokers.
    #[arg(short, long, default_value_t = 4)]
    connections: usize,
    /// Messages asked for in one request.
    #[arg(long, default_value_t = 32)]
    per_request: u32,
    /// Requests under way on each connection.
    #[arg(long, default_value_t = 1)]
    outstanding: usize,
    /// Messages in the topic's newest part that are read over and over.
    #[arg(long, default_value_t = 20_000)]
    hot: u64,
}

pub(super) async fn run(args: PullArgs) -> Result<()> {
    if args.connections == 0 || args.outstanding == 0 || args.per_request == 0 {
        bail!("connections, outstanding and per-request are at least 1");
    }
    let common = &args.common;
    let target = Target::find(common).await?;
    send::fill(&target, common.size, args.hot).await?;
    let mut consumers = Vec::new();
    for index in 0..args.connections {
        let window = args.hot / target.queues.len() as u64;
        let queue = &target.queues[index % target.queues.len()];
        consumers.push(Consumer::connect(&target, queue, window, args.per_request).await?);
    }
    let span = Span::starting_now(common.warmup(), common.seconds());
    let runs = consumers.into_iter().map(|consumer| consumer.run(span, args.outstanding));
    let mut total = Measured::default();
    for measured in join_all(runs).await {
        total.merge(&measured);
    }
    let work = Work {
        what: "pull",
        connections: args.connections,
        outstanding: args.outstanding,
        size: common.size,
        batch: args.per_request as usize,
        rate: None,
    };
    Ok(report::print(&work, &total, common.output)?)
}

struct Consumer {
    connection: Connection,
    request: PullMessage,
    /// The part of the queue that is read, and where the next request begins.
    first: u64,
    past: u64,
    next: u64,
}

impl Consumer {
    async fn connect(target: &Target, queue: &Queue, window: u64, per_request: u32) -> Result<Consumer> {
        let connection = target.dial(queue).await?;
        let past = max_offset(&connection, target, queue.queue).await?;
        let first = past.saturating_sub(window);
        let request = PullMessage {
            group: Group::parse("KIRUNA_BENCH")?,
            topic: target.topic.clone(),
            queue: queue.queue,
            from: QueueOffset(first),
            max_messages: i32::try_from(per_request)?,
            sys_flag: SUBSCRIPTION,
            commit: None,
            suspend: None,
            subscription: Some("*".into()),
            sub_version: 0,
            expression_type: Some("TAG".into()),
            max_bytes: Some(8 << 20),
            request_source: None,
            proxied_client: None,
        };
        Ok(Consumer { connection, request, first, past, next: first })
    }

    async fn run(mut self, span: Span, outstanding: usize) -> Measured {
        let count = |answer: Response<PullReply>| {
            let (_, body) = answer.ok()?;
            Ok((record::iterate(&body).flatten().count() as u64, body.len() as u64))
        };
        load::closed_loop(span, outstanding, move || self.pull(), count).await
    }

    fn pull(&mut self) -> Call<PullReply> {
        let step = self.request.max_messages as u64;
        if self.next + step > self.past {
            self.next = self.first;
        }
        self.request.from = QueueOffset(self.next);
        self.next += step;
        self.connection.call(&self.request, (), PATIENCE)
    }
}

/// One past the last offset of a queue.
pub(super) async fn max_offset(connection: &Connection, target: &Target, queue: QueueId) -> Result<u64> {
    let request = GetMaxOffset { topic: target.topic.clone(), queue, committed: None };
    let answer = connection.call(&request, (), PATIENCE).await.and_then(Response::ok);
    let (reply, _) =
        answer.with_context(|| format!("cannot read the end of queue {queue} of {}", target.topic))?;
    Ok(reply.offset.0)
}
