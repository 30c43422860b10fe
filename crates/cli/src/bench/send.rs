// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench send`: producers over connections of their own, one prepared frame a queue and a unique id a message.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use protocol::batch;
use protocol::codes::ResponseCode;
use protocol::frame::Frame;
use protocol::ids::UniqueIds;
use protocol::names::{Group, QueueId, TopicName};
use protocol::properties::{self, Properties, PropertiesOut};
use protocol::send::{SendBatchMessage, SendHeader, SendMessageV2};
use stdx::{Rng, Timestamp};

use super::Common;
use super::load::{self, Lane, Measured, Pace, Span, Talk};
use super::pipe::Pipe;
use super::prepared::{Prepared, put_decimal, put_hex};
use super::report::{self, Work};
use super::target::{self, Target};

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
    let pace = match args.rate {
        Some(rate) => Pace::rate(rate / (args.connections * args.batch) as f64),
        None => Pace::Closed(args.outstanding),
    };
    let mut lanes = Vec::new();
    for index in 0..args.connections {
        lanes.push(lane(&target, index, common.size, args.batch, pace)?);
    }
    let span = Span::starting_now(common.warmup(), common.seconds());
    let measured = load::drive(lanes, span, None)?;
    let work = Work {
        what: "send",
        connections: args.connections,
        outstanding: args.outstanding,
        size: common.size,
        batch: args.batch,
        rate: args.rate,
    };
    Ok(report::print(&work, &measured, common.output)?)
}

/// The connection number `index`; its first queue's broker is where it goes.
pub(super) fn lane(target: &Target, index: usize, size: usize, batch: usize, pace: Pace) -> Result<Lane> {
    let first = &target.queues[index % target.queues.len()];
    let producer = Producer::new(target, &target.queues_of(&first.broker), index, size, batch)?;
    Ok(Lane::new(Pipe::connect(&first.broker)?, Box::new(producer), pace))
}

/// What one connection sends.
pub(super) struct Producer {
    /// One for each queue.
    frames: Vec<PreparedSend>,
    next: usize,
    /// The digits that make an id unique; they end it.
    id: u64,
    size: usize,
    batch: usize,
    /// The same moment on both clocks.
    epoch: (Instant, Timestamp),
}

impl Producer {
    pub(super) fn new(
        target: &Target,
        queues: &[QueueId],
        index: usize,
        size: usize,
        batch: usize,
    ) -> Result<Producer> {
        let body = target::body(size);
        let prepare = |queue: &QueueId| PreparedSend::new(target, *queue, &body, batch);
        Ok(Producer {
            frames: queues.iter().map(prepare).collect::<Result<_>>()?,
            next: index,
            id: Rng::from_entropy().next(),
            size,
            batch,
            epoch: (Instant::now(), target.clock.now()),
        })
    }

    /// Appends the next frame and returns its copy.
    pub(super) fn write<'a>(&mut self, number: i32, due: Instant, out: &'a mut Vec<u8>) -> &'a mut [u8] {
        self.next += 1;
        let index = self.next % self.frames.len();
        let frame = &self.frames[index];
        let copy = frame.frame.copy(number, out);
        let millis = self.epoch.1.0 + due.saturating_duration_since(self.epoch.0).as_millis() as i64;
        put_decimal(&mut copy[frame.born_at..][..BORN.len()], millis as u64);
        for at in &frame.ids_at {
            self.id = self.id.wrapping_add(1);
            put_hex(&mut copy[*at..][..UNIQUE_DIGITS], self.id);
        }
        copy
    }
}

impl Talk for Producer {
    fn ask(&mut self, number: i32, due: Instant, out: &mut Vec<u8>) {
        self.write(number, due, out);
    }

    fn answered(&mut self, due: Instant, answer: Frame, measured: &mut Measured) -> Result<(), String> {
        accepted(&answer)?;
        measured.note(due, self.batch as u64, (self.batch * self.size) as u64);
        Ok(())
    }
}

/// Whether a send was answered with success.
pub(super) fn accepted(answer: &Frame) -> Result<(), String> {
    if answer.code == ResponseCode::SUCCESS.0 { Ok(()) } else { Err(format!("code {}", answer.code)) }
}

/// A time of the length that all times of our age have.
const BORN: &str = "1777777777777";
/// How many digits at the end of a unique id differ.
const UNIQUE_DIGITS: usize = 12;

/// One send to one queue.
struct PreparedSend {
    frame: Prepared,
    born_at: usize,
    /// Where the differing digits of each message's unique id stand.
    ids_at: Vec<usize>,
}

impl PreparedSend {
    fn new(target: &Target, queue: QueueId, body: &[u8], batch: usize) -> Result<PreparedSend> {
        let loader = Rng::from_entropy().next() as u32;
        let ids = UniqueIds::new(Ipv4Addr::LOCALHOST.into(), std::process::id() as u16, loader);
        let born_at = Timestamp(BORN.parse()?);
        let ids: Vec<String> = (0..batch).map(|_| ids.next(born_at)).collect();
        let header = SendHeader { queue: Some(queue), born_at, ..header(&target.topic)? };
        let frame = if batch > 1 {
            let mut units = Vec::with_capacity(batch * (body.len() + 96));
            for id in &ids {
                let properties = properties(id);
                batch::encode(
                    &batch::Unit { flag: 0, body, properties: properties.as_str().as_bytes() },
                    &mut units,
                )?;
            }
            Prepared::new(
                &SendBatchMessage(SendHeader { batch: true, ..header }),
                &units,
                target.serialization,
            )?
        } else {
            let header = SendHeader { properties: properties(&ids[0]), ..header };
            Prepared::new(&SendMessageV2(header), body, target.serialization)?
        };
        let unique = |id: &String| Ok(frame.find(id.as_bytes())? + id.len() - UNIQUE_DIGITS);
        Ok(PreparedSend {
            born_at: frame.find(BORN.as_bytes())?,
            ids_at: ids.iter().map(unique).collect::<Result<_>>()?,
            frame,
        })
    }
}

fn properties(id: &str) -> Properties {
    let mut out = PropertiesOut::default();
    out.push(properties::UNIQ_KEY, id);
    out.push(properties::WAIT, "true");
    out.finish()
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

/// How long a topic may take to fill.
const FILLING: Duration = Duration::from_secs(600);

/// Fills a topic with at least `wanted` messages more.
pub(super) fn fill(target: &Target, size: usize, wanted: u64) -> Result<()> {
    let lane = lane(target, 0, size, 1, Pace::Closed(256))?;
    let measured = load::drive(vec![lane], Span::starting_now(Duration::ZERO, FILLING), Some(wanted))?;
    if measured.messages < wanted {
        bail!(
            "only {} of {wanted} messages could be sent in {FILLING:?}: {:?}",
            measured.messages,
            measured.errors
        );
    }
    Ok(())
}
