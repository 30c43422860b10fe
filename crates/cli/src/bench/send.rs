// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench send`: producers over connections of their own, one prepared frame a queue and a unique id a message; at
//! once, or with a delay as clients of 5.x ask for one.

use std::net::Ipv4Addr;
use std::str::FromStr;
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
use stdx::{Rng, Stop, Timestamp};

use super::Common;
use super::load::{self, Lane, Measured, Pace, Span, Talk, Terms};
use super::pipe::Pipe;
use super::prepared::{Prepared, put_decimal, put_hex};
use super::report::{self, Work};
use super::target::{self, Target};
use super::topics::{self, Many};
use crate::when::{Length, When};

/// Flags of `kiruna bench send`.
#[derive(Args, Debug)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    pub(super) common: Common,
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
    /// Each message is delivered after a time of its own, drawn from this range: `30s`, `1m..2h`.
    #[arg(long, value_name = "LENGTH[..LENGTH]", conflicts_with = "batch")]
    delay: Option<DelayRange>,
    /// All messages are delivered then: milliseconds since 1970, 2026-11-21T18:05:09Z, or +30m from now.
    #[arg(long, value_name = "WHEN", conflicts_with_all = ["batch", "delay"])]
    deliver_at: Option<When>,
    /// Not all at that time, but each at some moment in so long a time from then on.
    #[arg(long, value_name = "LENGTH", requires = "deliver_at", default_value = "0ms")]
    within: Length,
    /// Messages go to so many topics, drawn anew for each: those that `kiruna bench topics` made.
    #[arg(long, value_name = "COUNT")]
    topics: Option<u32>,
    /// Ends when so many messages are stored, whatever --seconds says; the rest of a warm-up counts.
    #[arg(long)]
    messages: Option<u64>,
}

/// How long messages wait for their delivery, at least and at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct DelayRange {
    least: u64,
    most: u64,
}

impl FromStr for DelayRange {
    type Err = String;

    fn from_str(given: &str) -> Result<DelayRange, String> {
        let (least, most) = given.split_once("..").unwrap_or((given, given));
        let millis = |text: &str| text.parse().map(|length: Length| length.0.as_millis() as u64);
        let range = DelayRange { least: millis(least)?, most: millis(most)? };
        if range.least > range.most { Err(format!("{given} ends before it begins")) } else { Ok(range) }
    }
}

pub(super) async fn run(args: SendArgs) -> Result<()> {
    let common = &args.common;
    let (work, lanes) = prepare(&args, &find(&args).await?)?;
    let span = match args.messages {
        Some(_) => Span::starting_now(Duration::ZERO, FILLING),
        None => Span::starting_now(common.warmup(), common.seconds()),
    };
    let measured = load::drive(lanes, span, &Terms { enough: args.messages, ..Terms::default() })?;
    if args.messages.is_some_and(|wanted| measured.messages < wanted) {
        bail!("only {} messages could be sent in {FILLING:?}: {:?}", measured.messages, measured.errors);
    }
    Ok(report::print(&work, &measured, common.output)?)
}

/// Finds the queues of the topic, or of the first of many.
pub(super) async fn find(args: &SendArgs) -> Result<Target> {
    match args.topics {
        Some(count) => Target::find_many(&args.common, Many::new(count)?).await,
        None => Target::find(&args.common).await,
    }
}

/// Opens the connections.
pub(super) fn prepare(args: &SendArgs, target: &Target) -> Result<(Work, Vec<Lane>)> {
    if args.connections == 0
        || args.outstanding == 0
        || args.batch == 0
        || args.rate.is_some_and(|rate| rate <= 0.0)
    {
        bail!("connections, outstanding, batch and rate are at least 1");
    }
    let size = args.common.size;
    let pace = match args.rate {
        Some(rate) => Pace::rate(rate / (args.connections * args.batch) as f64),
        None => Pace::Closed(args.outstanding),
    };
    let kind = match (args.delay, args.deliver_at) {
        (Some(range), _) => Kind::Delayed(range),
        (None, Some(when)) => {
            let within = args.within.0.as_millis() as u64;
            Kind::Timed(when.moment(target.clock.now()).0 as u64, within)
        }
        (None, None) => Kind::Plain,
    };
    let mut lanes = Vec::new();
    for index in 0..args.connections {
        lanes.push(lane(target, index, size, args.batch, kind, pace)?);
    }
    let work = Work {
        what: if matches!(kind, Kind::Plain) { "send" } else { "send with a delay" },
        connections: args.connections,
        outstanding: args.outstanding,
        size,
        batch: args.batch,
        rate: args.rate,
    };
    Ok((work, lanes))
}

/// The connection number `index`; its first queue's broker is where it goes.
pub(super) fn lane(
    target: &Target,
    index: usize,
    size: usize,
    batch: usize,
    kind: Kind,
    pace: Pace,
) -> Result<Lane> {
    let first = &target.queues[index % target.queues.len()];
    let producer = Producer::new(target, &target.queues_of(&first.broker), index, size, batch, kind)?;
    Ok(Lane::new(Pipe::connect(&first.broker)?, Box::new(producer), pace))
}

/// What the messages of one connection ask for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Nothing.
    Plain,
    /// A delivery after a time from a range.
    Delayed(DelayRange),
    /// A delivery at a moment from this one on, within so many milliseconds.
    Timed(u64, u64),
    /// Nothing, but that they can be told apart by [`SHARE`].
    Shared,
    /// To be the half of a transaction.
    Half,
}

/// What a message of [`Kind::Shared`] says: a number below a hundred, in twenty digits, so that an expression passes one in a
/// hundred.
pub(super) const SHARE: &str = "share";
/// The group of transactions.
pub(super) const GROUP: &str = "KIRUNA_BENCH";
/// A number of the length that all delays and times have, with zeros in front.
const DELAY: &str = "1888888888888888";
const SHARE_DIGITS: &str = "00000000000000000000";

/// What one connection sends.
pub(super) struct Producer {
    /// One for each queue.
    frames: Vec<PreparedSend>,
    next: usize,
    /// The digits that make an id unique; they end it.
    id: u64,
    size: usize,
    batch: usize,
    kind: Kind,
    /// The topics, where there are many.
    many: Option<Many>,
    rng: Rng,
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
        kind: Kind,
    ) -> Result<Producer> {
        let body = target::body(size);
        let prepare = |queue: &QueueId| PreparedSend::new(target, *queue, &body, batch, kind);
        Ok(Producer {
            frames: queues.iter().map(prepare).collect::<Result<_>>()?,
            next: index,
            id: Rng::from_entropy().next(),
            size,
            batch,
            kind,
            many: target.many,
            rng: Rng::from_entropy(),
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
        if let Some(many) = self.many {
            let topic = self.rng.below(u64::from(many.count));
            put_decimal(&mut copy[frame.topic_at..][..topics::DIGITS], topic);
        }
        match (self.kind, frame.varies_at) {
            (Kind::Delayed(DelayRange { least, most }), Some(at)) => {
                let delay = least + self.rng.below(most - least + 1);
                put_decimal(&mut copy[at..][..DELAY.len()], delay);
            }
            (Kind::Timed(from, within), Some(at)) => {
                put_decimal(&mut copy[at..][..DELAY.len()], from + self.rng.below(within + 1));
            }
            (Kind::Shared, Some(at)) => {
                put_decimal(&mut copy[at..][..SHARE_DIGITS.len()], self.rng.below(100));
            }
            _ => {}
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
    /// Where the digits of the topic's name stand, if it is one of many.
    topic_at: usize,
    born_at: usize,
    /// Where the differing digits of each message's unique id stand.
    ids_at: Vec<usize>,
    /// Where stands what else differs.
    varies_at: Option<usize>,
}

impl PreparedSend {
    fn new(target: &Target, queue: QueueId, body: &[u8], batch: usize, kind: Kind) -> Result<PreparedSend> {
        let loader = Rng::from_entropy().next() as u32;
        let ids = UniqueIds::new(Ipv4Addr::LOCALHOST.into(), std::process::id() as u16, loader);
        let born_at = Timestamp(BORN.parse()?);
        let ids: Vec<String> = (0..batch).map(|_| ids.next(born_at)).collect();
        let sys_flag = if matches!(kind, Kind::Half) { PREPARED } else { 0 };
        let header = SendHeader { queue: Some(queue), born_at, sys_flag, ..header(&target.topic)? };
        let frame = if batch > 1 {
            let mut units = Vec::with_capacity(batch * (body.len() + 96));
            for id in &ids {
                let properties = properties(id, kind);
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
            let header = SendHeader { properties: properties(&ids[0], kind), ..header };
            Prepared::new(&SendMessageV2(header), body, target.serialization)?
        };
        let ends = |(at, id): (usize, &String)| at + id.len() - UNIQUE_DIGITS;
        let found = frame.find_all(ids.iter().map(String::as_bytes))?;
        Ok(PreparedSend {
            topic_at: target.many.map_or(Ok(0), |_| topics::digits_at(&frame, &target.topic))?,
            born_at: frame.find(BORN.as_bytes())?,
            ids_at: found.into_iter().zip(&ids).map(ends).collect(),
            varies_at: match kind {
                Kind::Delayed(_) | Kind::Timed(..) => Some(frame.find(DELAY.as_bytes())?),
                Kind::Shared => Some(frame.find(SHARE_DIGITS.as_bytes())?),
                Kind::Plain | Kind::Half => None,
            },
            frame,
        })
    }
}

/// What clients set in the system flag of a half message.
const PREPARED: i32 = 0x4;

fn properties(id: &str, kind: Kind) -> Properties {
    let mut out = PropertiesOut::default();
    out.push(properties::UNIQ_KEY, id);
    out.push(properties::WAIT, "true");
    match kind {
        Kind::Plain => {}
        Kind::Delayed(_) => out.push(properties::TIMER_DELAY_MS, DELAY),
        Kind::Timed(..) => out.push(properties::TIMER_DELIVER_MS, DELAY),
        Kind::Shared => out.push(SHARE, SHARE_DIGITS),
        Kind::Half => {
            out.push(properties::TRAN_MSG, "true");
            out.push(properties::PGROUP, GROUP);
        }
    }
    out.finish()
}

fn header(topic: &TopicName) -> Result<SendHeader> {
    Ok(SendHeader {
        group: Group::parse(GROUP)?,
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
const FILLING: Duration = Duration::from_secs(1800);

/// Fills a topic with at least `wanted` messages more.
pub(super) fn fill(target: &Target, size: usize, wanted: u64, kind: Kind, stop: &Stop) -> Result<()> {
    let lane = lane(target, 0, size, 1, kind, Pace::Closed(256))?;
    let terms = Terms { enough: Some(wanted), stop: stop.clone(), tick: None };
    let measured = load::drive(vec![lane], Span::starting_now(Duration::ZERO, FILLING), &terms)?;
    if measured.messages < wanted {
        bail!(
            "only {} of {wanted} messages could be sent in {FILLING:?}: {:?}",
            measured.messages,
            measured.errors
        );
    }
    Ok(())
}
