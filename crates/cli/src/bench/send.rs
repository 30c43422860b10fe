// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench send`: producers over raw connections, one prepared header a queue and a unique id a message.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::Args;
use futures_util::future::join_all;
use protocol::batch;
use protocol::codes::ResponseCode;
use protocol::ids::UniqueIds;
use protocol::names::{Group, QueueId, TopicName};
use protocol::properties::{self, Properties, PropertiesOut};
use protocol::send::{SendBatchMessage, SendHeader, SendMessageV2, SendReply};
use remoting::{Call, CallError, Connection};
use stdx::{Clock, Rng, Timestamp};

use super::Common;
use super::load::{self, Measured, Span};
use super::report::{self, Work};
use super::target::{self, PATIENCE, Target};

/// Flags of `kiruna bench send`.
#[derive(Args, Debug)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    common: Common,
    /// Connections to the brokers.
    #[arg(short, long, default_value_t = 4)]
    connections: usize,
    /// Requests under way on each connection (closed loop).
    #[arg(long, default_value_t = 64)]
    outstanding: usize,
    /// Messages per second over all connections (open loop instead of closed).
    #[arg(long)]
    rate: Option<f64>,
    /// Messages in one request.
    #[arg(long, default_value_t = 1)]
    batch: usize,
}

pub(super) async fn run(args: SendArgs) -> Result<()> {
    if args.connections == 0
        || args.outstanding == 0
        || args.batch == 0
        || args.rate.is_some_and(|rate| rate <= 0.0)
    {
        bail!("connections, outstanding, batch and rate are at least 1");
    }
    let common = &args.common;
    let target = Target::find(common).await?;
    let mut producers = Vec::new();
    for index in 0..args.connections {
        producers.push(Producer::connect(&target, index, common.size, args.batch).await?);
    }
    let span = Span::starting_now(common.warmup(), common.seconds());
    let share = args.rate.map(|rate| rate / args.connections as f64);
    let runs = producers.into_iter().map(|producer| producer.run(span, args.outstanding, share));
    let mut total = Measured::default();
    for measured in join_all(runs).await {
        total.merge(&measured);
    }
    let work = Work {
        what: "send",
        connections: args.connections,
        outstanding: args.outstanding,
        size: common.size,
        batch: args.batch,
        rate: args.rate,
    };
    Ok(report::print(&work, &total, common.output)?)
}

/// One connection and what it sends.
pub(super) struct Producer {
    connection: Connection,
    header: SendHeader,
    queues: Vec<QueueId>,
    next: usize,
    body: Bytes,
    batch: usize,
    ids: UniqueIds,
    clock: Arc<dyn Clock>,
}

impl Producer {
    pub(super) async fn connect(
        target: &Target,
        index: usize,
        size: usize,
        batch: usize,
    ) -> Result<Producer> {
        let first = &target.queues[index % target.queues.len()];
        let queues =
            target.queues.iter().filter(|queue| queue.broker == first.broker).map(|queue| queue.queue);
        Ok(Producer {
            connection: target.dial(first).await?,
            header: header(&target.topic)?,
            queues: queues.collect(),
            next: index,
            body: target::body(size),
            batch,
            ids: UniqueIds::new(
                Ipv4Addr::LOCALHOST.into(),
                std::process::id() as u16,
                Rng::from_entropy().next() as u32,
            ),
            clock: target.clock.clone(),
        })
    }

    async fn run(mut self, span: Span, outstanding: usize, rate: Option<f64>) -> Measured {
        let (messages, bytes) = (self.batch as u64, (self.batch * self.body.len()) as u64);
        let count = move |answer: remoting::Response<SendReply>| answer.ok().map(|_| (messages, bytes));
        match rate {
            Some(rate) => load::open_loop(span, rate / messages as f64, move |_| self.send(), count).await,
            None => load::closed_loop(span, outstanding, move || self.send(), count).await,
        }
    }

    /// Sends the next message to the next queue.
    pub(super) fn send(&mut self) -> Call<SendReply> {
        let body = self.body.clone();
        self.send_body(body)
    }

    /// Sends this body to the next queue.
    pub(super) fn send_body(&mut self, body: Bytes) -> Call<SendReply> {
        self.next += 1;
        self.header.queue = Some(self.queues[self.next % self.queues.len()]);
        self.header.born_at = self.clock.now();
        if self.batch > 1 {
            self.header.batch = true;
            let body = self.batch_body(&body);
            return self.connection.call(&SendBatchMessage(self.header.clone()), body, PATIENCE);
        }
        self.header.properties = self.properties();
        self.connection.call(&SendMessageV2(self.header.clone()), body, PATIENCE)
    }

    fn properties(&mut self) -> Properties {
        let mut out = PropertiesOut::default();
        out.push(properties::UNIQ_KEY, &self.ids.next(self.header.born_at));
        out.push(properties::WAIT, "true");
        out.finish()
    }

    fn batch_body(&mut self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.batch * (body.len() + 96));
        for _ in 0..self.batch {
            let properties = self.properties();
            let unit = batch::Unit { flag: 0, body, properties: properties.as_str().as_bytes() };
            batch::encode(&unit, &mut out).expect("a unit of bench size fits");
        }
        out
    }
}

fn header(topic: &TopicName) -> Result<SendHeader> {
    Ok(SendHeader {
        group: Group::parse("KIRUNA_BENCH")?,
        topic: topic.clone(),
        default_topic: Some(TopicName::parse("TBW102")?),
        default_queues: 8,
        queue: None,
        sys_flag: 0,
        born_at: Timestamp(0),
        flag: 0,
        properties: Properties::default(),
        reconsume: 0,
        unit: false,
        max_reconsume: None,
        batch: false,
    })
}

/// Fills a topic until it holds at least `wanted` messages more.
pub(super) async fn fill(target: &Target, size: usize, wanted: u64) -> Result<()> {
    const WINDOW: usize = 256;
    let mut producer = Producer::connect(target, 0, size, 1).await?;
    let mut sent = 0u64;
    while sent < wanted {
        let calls: Vec<_> = (0..WINDOW).map(|_| producer.send()).collect();
        for answer in join_all(calls).await {
            match answer.and_then(remoting::Response::ok) {
                Ok(_) => sent += 1,
                Err(error) if is_busy(&error) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn is_busy(error: &CallError) -> bool {
    matches!(error, CallError::Refused { refusal: ResponseCode::SYSTEM_BUSY, .. })
}
