// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench e2e`: messages at a rate, and consumers that wait for them by long polls, one a queue. The body begins
//! with the moment the message was due, so that a queueing sender cannot hide a delay.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::BytesMut;
use clap::Args;
use futures_util::future::{join, join_all};
use protocol::names::{Group, QueueOffset};
use protocol::pull::{PullMessage, SUBSCRIPTION, SUSPEND};
use protocol::record;
use remoting::Response;

use super::load::{self, Measured, Span};
use super::report::{self, Work};
use super::send::Producer;
use super::target::{self, PATIENCE, Queue, Target};
use super::{Common, pull};

/// Flags of `kiruna bench e2e`.
#[derive(Args, Debug)]
pub(crate) struct E2eArgs {
    #[command(flatten)]
    common: Common,
    /// Messages per second.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
}

/// What sender and consumers of one run share; all of them live on one thread.
struct Run {
    span: Span,
    /// Bodies carry nanoseconds since then.
    epoch: Instant,
    measured: RefCell<Measured>,
}

pub(super) async fn run(args: E2eArgs) -> Result<()> {
    let common = &args.common;
    if args.rate <= 0.0 || common.size < 8 {
        bail!("the rate is above 0 and a body has room for 8 bytes of time");
    }
    let target = Target::find(common).await?;
    let producer = Producer::connect(&target, 0, common.size, 1).await?;
    let run = Rc::new(Run {
        span: Span::starting_now(common.warmup(), common.seconds()),
        epoch: Instant::now(),
        measured: RefCell::default(),
    });
    let mut consumers = Vec::new();
    for queue in &target.queues {
        consumers.push(Box::pin(consume(&target, queue, run.clone())));
    }
    let (_, consumed) =
        join(produce(producer, args.rate, common.size, run.clone()), join_all(consumers)).await;
    consumed.into_iter().collect::<Result<Vec<()>>>()?;
    let mut measured = run.measured.take();
    measured.elapsed = run.span.end - run.span.begin;
    let work = Work {
        what: "e2e",
        connections: 1 + target.queues.len(),
        outstanding: 0,
        size: common.size,
        batch: 1,
        rate: Some(args.rate),
    };
    Ok(report::print(&work, &measured, common.output)?)
}

async fn produce(mut producer: Producer, rate: f64, size: usize, run: Rc<Run>) {
    let filler = target::body(size);
    let epoch = run.epoch;
    let send = move |due: Instant| {
        let mut body = BytesMut::from(&filler[..]);
        let stamp = u64::try_from((due - epoch).as_nanos()).unwrap_or(u64::MAX);
        body[..8].copy_from_slice(&stamp.to_be_bytes());
        producer.send_body(body.freeze())
    };
    let sent = load::open_loop(run.span, rate, send, |answer| answer.ok().map(|_| (1, 0))).await;
    // Latency is what the consumers see; of the sends only the failures count.
    let mut measured = run.measured.borrow_mut();
    sent.errors.into_iter().for_each(|(error, count)| *measured.errors.entry(error).or_default() += count);
}

async fn consume(target: &Target, queue: &Queue, run: Rc<Run>) -> Result<()> {
    let connection = target.dial(queue).await?;
    let mut request = PullMessage {
        group: Group::parse("KIRUNA_BENCH")?,
        topic: target.topic.clone(),
        queue: queue.queue,
        from: QueueOffset(pull::max_offset(&connection, target, queue.queue).await?),
        max_messages: 32,
        sys_flag: SUBSCRIPTION | SUSPEND,
        commit: None,
        suspend: Some(Duration::from_secs(1)),
        subscription: Some("*".into()),
        sub_version: 0,
        expression_type: Some("TAG".into()),
        max_bytes: None,
        request_source: None,
        proxied_client: None,
    };
    while Instant::now() < run.span.end {
        let answer = connection.call(&request, (), PATIENCE).await?;
        let Ok(reply) = answer.header() else { continue };
        request.from = reply.next;
        let Ok((_, body)) = Response::ok(answer) else { continue };
        let mut measured = run.measured.borrow_mut();
        for record in record::iterate(&body).flatten() {
            let Some(stamp) = record.body().first_chunk::<8>() else { continue };
            let due = run.epoch + Duration::from_nanos(u64::from_be_bytes(*stamp));
            if due >= run.span.begin {
                measured.note(due, 1, record.body().len() as u64);
            }
        }
    }
    Ok(())
}
