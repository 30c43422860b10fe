// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench e2e`: messages at a rate, and consumers that wait for them by long polls, one a queue. The body begins
//! with the moment the message was due, so that a queueing sender cannot hide a delay.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use protocol::codes::ResponseCode;
use protocol::frame::{Frame, Serialization};
use protocol::pull::{PullMessage, PullReply, SUBSCRIPTION, SUSPEND};
use protocol::record;

use super::load::{self, Lane, Measured, Pace, Span, Talk, Terms};
use super::pipe::Pipe;
use super::prepared::Prepared;
use super::report::{self, Work};
use super::send::Producer;
use super::target::Target;
use super::{Common, pull, send};

/// Flags of `kiruna bench e2e`.
#[derive(Args, Debug)]
pub(crate) struct E2eArgs {
    #[command(flatten)]
    pub(super) common: Common,
    /// Messages per second.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
}

pub(super) async fn run(args: E2eArgs) -> Result<()> {
    let common = &args.common;
    let (work, lanes) = prepare(&args, &Target::find(common).await?).await?;
    let span = Span::starting_now(common.warmup(), common.seconds());
    let measured = load::drive(lanes, span, &Terms::default())?;
    Ok(report::print(&work, &measured, common.output)?)
}

/// Opens the connections, of consumers and producers.
pub(super) async fn prepare(args: &E2eArgs, target: &Target) -> Result<(Work, Vec<Lane>)> {
    let common = &args.common;
    if args.rate <= 0.0 || common.size < 8 {
        bail!("the rate is above 0 and a body has room for 8 bytes of time");
    }
    // Bodies carry nanoseconds since then.
    let epoch = Instant::now();
    let mut lanes = Vec::new();
    for queue in &target.queues {
        let connection = target.dial(queue).await?;
        let from = pull::max_offset(&connection, target, queue.queue).await?;
        let request = PullMessage {
            sys_flag: SUBSCRIPTION | SUSPEND,
            suspend: Some(Duration::from_secs(1)),
            ..pull::request(target, queue.queue, from, 32)?
        };
        let waiter = Waiter { request, serialization: target.serialization, epoch };
        lanes.push(Lane::new(Pipe::connect(&queue.broker)?, Box::new(waiter), Pace::Closed(1)));
    }
    for broker in target.brokers() {
        let queues = target.queues_of(broker);
        let producer = Producer::new(target, &queues, 0, common.size, 1, send::Kind::Plain)?;
        let stamper = Stamper { producer, size: common.size, epoch };
        let share = args.rate * queues.len() as f64 / target.queues.len() as f64;
        lanes.push(Lane::new(Pipe::connect(broker)?, Box::new(stamper), Pace::rate(share)));
    }
    let connections = lanes.len();
    let work =
        Work { what: "e2e", connections, outstanding: 0, size: common.size, batch: 1, rate: Some(args.rate) };
    Ok((work, lanes))
}

/// Sends messages that carry when they were due.
pub(super) struct Stamper {
    pub(super) producer: Producer,
    pub(super) size: usize,
    pub(super) epoch: Instant,
}

impl Talk for Stamper {
    fn ask(&mut self, number: i32, due: Instant, out: &mut Vec<u8>) {
        let frame = self.producer.write(number, due, out);
        let body_at = frame.len() - self.size;
        let stamp = u64::try_from((due - self.epoch).as_nanos()).unwrap_or(u64::MAX);
        frame[body_at..][..8].copy_from_slice(&stamp.to_be_bytes());
    }

    // Latency is what the consumers see; of the sends only the failures count.
    fn answered(&mut self, _due: Instant, answer: Frame, _measured: &mut Measured) -> Result<(), String> {
        send::accepted(&answer)
    }
}

/// Waits for the messages of one queue by long polls.
struct Waiter {
    request: PullMessage,
    serialization: Serialization,
    epoch: Instant,
}

impl Talk for Waiter {
    fn ask(&mut self, number: i32, _due: Instant, out: &mut Vec<u8>) {
        let frame = Prepared::new(&self.request, &[], self.serialization).expect("a pull fits a frame");
        frame.copy(number, out);
    }

    fn answered(&mut self, _due: Instant, answer: Frame, measured: &mut Measured) -> Result<(), String> {
        if answer.code == ResponseCode::PULL_NOT_FOUND.0 {
            return Ok(());
        }
        send::accepted(&answer)?;
        let reply: PullReply = answer.decode().map_err(|error| error.to_string())?;
        self.request.from = reply.next;
        for record in record::iterate(&answer.body).flatten() {
            if let Some(stamp) = record.body().first_chunk::<8>() {
                let due = self.epoch + Duration::from_nanos(u64::from_be_bytes(*stamp));
                measured.note(due, 1, record.body().len() as u64);
            }
        }
        Ok(())
    }
}
