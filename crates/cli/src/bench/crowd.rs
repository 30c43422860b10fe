// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench crowd`: many connections that mostly do nothing. Each says a heartbeat, as a member of a group of its own where
//! that is wanted; some send, or all together wait for messages by long polls, while the rest is idle. Looks at what a server
//! pays for those who only are there: its memory and processor are read beside it.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use clap::Args;
use protocol::body::{ConsumerData, HeartbeatData, ProducerData, SubscriptionData};
use protocol::codes::ResponseCode;
use protocol::frame::Frame;
use protocol::heartbeat::Heartbeat;
use protocol::json;
use protocol::names::{Group, QueueId, QueueOffset, TopicName};
use protocol::offset::UpdateConsumerOffset;
use protocol::pull::{PullMessage, PullReply, SUBSCRIPTION, SUSPEND};
use protocol::record;

use super::e2e::Stamper;
use super::load::{self, Lane, Measured, Pace, Span, Talk, Terms};
use super::pipe::Pipe;
use super::prepared::{Prepared, put_decimal};
use super::report::{self, Work};
use super::send::{self, Kind, Producer};
use super::target::Target;
use super::topics::{self, Many};
use super::{Common, pull};
use crate::output::Format;

/// Flags of `kiruna bench crowd`.
#[derive(Args, Debug)]
pub(crate) struct CrowdArgs {
    #[command(flatten)]
    common: Common,
    /// Connections to the broker.
    #[arg(short, long, default_value_t = 1000)]
    connections: usize,
    /// Each connection is the only member of a consumer group of its own, and says how far it has come.
    #[arg(long)]
    groups: bool,
    /// So many of the connections send messages, all together --rate a second.
    #[arg(long, default_value_t = 0)]
    active: usize,
    /// Long polls under way, spread over all connections and over the queues, or over --topics.
    #[arg(long, default_value_t = 0, conflicts_with = "active")]
    polls: usize,
    /// How long the server may keep a poll, in seconds.
    #[arg(long, default_value_t = 30)]
    suspend: u64,
    /// The polls are for queue 0 of so many topics: those that `kiruna bench topics` made.
    #[arg(long, value_name = "COUNT", requires = "polls")]
    topics: Option<u32>,
    /// Messages a second: those that are sent, or those that wake a poll, each for a topic or queue drawn anew.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Seconds to stay idle before and after, for whoever looks at the server.
    #[arg(long, default_value_t = 0)]
    hold: u64,
}

/// How long all may take to be answered.
const PATIENCE: Duration = Duration::from_secs(120);
/// A member that is silent for longer could be taken for gone.
const BEAT: Duration = Duration::from_secs(30);

pub(super) async fn run(args: CrowdArgs) -> Result<()> {
    ensure!(args.connections > 0 && args.rate > 0.0, "connections and rate are above 0");
    ensure!(args.active <= args.connections, "more connections are active than there are");
    super::suite::allow_connections()?;
    let target = match args.topics {
        Some(count) => Target::find_many(&args.common, Many::new(count)?).await?,
        None => Target::find(&args.common).await?,
    };
    let Some(broker) = target.brokers().first().map(|broker| (*broker).to_owned()) else {
        bail!("no broker has the topic {}", target.topic);
    };
    let mut crowd = Crowd { args: &args, target: &target, pipes: Vec::new() };
    let began = Instant::now();
    for _ in 0..args.connections {
        crowd.pipes.push(Pipe::connect(&broker)?);
    }
    crowd.say(&format!("{} connections opened in {:.1?}", args.connections, began.elapsed()))?;
    let took = crowd.beat()?;
    crowd.say(&format!("first heartbeats answered in {took:.1?}"))?;
    if args.groups {
        let took = crowd.commit()?;
        crowd.say(&format!("{} groups have said how far they are in {took:.1?}", args.connections))?;
    }
    crowd.hold()?;
    let is_loaded = args.active > 0 || args.polls > 0;
    let mut crowd = if is_loaded { crowd.load(&broker)? } else { crowd };
    crowd.hold()
}

/// All connections that are not under load.
struct Crowd<'a> {
    args: &'a CrowdArgs,
    target: &'a Target,
    pipes: Vec<Pipe>,
}

impl<'a> Crowd<'a> {
    fn say(&self, what: &str) -> Result<()> {
        if self.args.common.output == Format::Table {
            writeln!(std::io::stdout(), "{what}")?;
        }
        Ok(())
    }

    /// Asks one question on each connection and waits for all answers.
    fn each(&mut self, ask: impl Fn(usize) -> Result<Prepared>) -> Result<Duration> {
        let began = Instant::now();
        for (index, pipe) in self.pipes.iter_mut().enumerate() {
            let frame = ask(index)?;
            pipe.ask(began, |number, out| {
                frame.copy(number, out);
            });
            pipe.flush()?;
        }
        let mut ready = Vec::new();
        while self.pipes.iter().any(|pipe| pipe.under_way() > 0) {
            if began.elapsed() > PATIENCE {
                bail!("not all connections were answered within {PATIENCE:?}");
            }
            Pipe::wait(self.pipes.iter(), Duration::from_millis(10), &mut ready)?;
            for (pipe, _) in self.pipes.iter_mut().zip(&ready).filter(|(_, ready)| **ready) {
                pipe.flush()?;
                pipe.read()?;
                while let Some((_, answer)) = pipe.answer()? {
                    send::accepted(&answer).map_err(anyhow::Error::msg)?;
                }
            }
        }
        Ok(began.elapsed())
    }

    fn beat(&mut self) -> Result<Duration> {
        let (target, groups) = (self.target, self.args.groups);
        self.each(|index| {
            let body = json::to_vec(&heartbeat(&target.topic, index, groups));
            Prepared::new(&Heartbeat, &body, target.serialization)
        })
    }

    fn commit(&mut self) -> Result<Duration> {
        let target = self.target;
        self.each(|index| {
            let queue = QueueId((index % target.queues.len()) as u32);
            let request = UpdateConsumerOffset {
                group: group(index),
                topic: target.topic.clone(),
                queue,
                commit: QueueOffset(0),
            };
            Prepared::new(&request, &[], target.serialization)
        })
    }

    /// Does nothing but heartbeats.
    fn hold(&mut self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(self.args.hold);
        let still = stdx::Stop::default();
        while Instant::now() < end {
            still.wait(BEAT.min(end.saturating_duration_since(Instant::now())));
            if Instant::now() < end && !self.pipes.is_empty() {
                self.beat()?;
            }
        }
        Ok(())
    }

    /// Has some of the connections, or all, work; returns the others.
    fn load(mut self, broker: &str) -> Result<Crowd<'a>> {
        let Crowd { args, target, .. } = self;
        let common = &args.common;
        let idle = if args.polls > 0 { Vec::new() } else { self.pipes.split_off(args.active) };
        let lanes = match args.polls {
            0 => senders(args, target, self.pipes)?,
            _ => pollers(args, target, self.pipes, broker)?,
        };
        let work = Work {
            what: if args.polls > 0 { "wake" } else { "send beside idle connections" },
            connections: lanes.len(),
            outstanding: args.polls / args.connections,
            size: common.size,
            batch: 1,
            rate: Some(args.rate),
        };
        let measured =
            load::drive(lanes, Span::starting_now(common.warmup(), common.seconds()), &Terms::default())?;
        report::print(&work, &measured, common.output)?;
        Ok(Crowd { args, target, pipes: idle })
    }
}

fn group(index: usize) -> Group {
    Group::stored(format!("KIRUNA_BENCH_{index}"))
}

fn heartbeat(topic: &TopicName, index: usize, groups: bool) -> HeartbeatData {
    let client_id = format!("127.0.0.1@{}-{index}", std::process::id());
    if !groups {
        let producer = ProducerData { group_name: Group::stored(send::GROUP) };
        return HeartbeatData { client_id, producer_data_set: vec![producer], ..HeartbeatData::default() };
    }
    let subscription =
        SubscriptionData { topic: topic.clone(), sub_string: "*".to_owned(), ..SubscriptionData::default() };
    let consumer = ConsumerData {
        group_name: group(index),
        subscription_data_set: vec![subscription],
        ..ConsumerData::default()
    };
    HeartbeatData { client_id, consumer_data_set: vec![consumer], ..HeartbeatData::default() }
}

fn senders(args: &CrowdArgs, target: &Target, pipes: Vec<Pipe>) -> Result<Vec<Lane>> {
    let pace = Pace::rate(args.rate / args.active as f64);
    let queues: Vec<QueueId> = target.queues.iter().map(|queue| queue.queue).collect();
    let lane = |(index, pipe): (usize, Pipe)| {
        let producer = Producer::new(target, &queues, index, args.common.size, 1, Kind::Plain)?;
        Ok(Lane::new(pipe, Box::new(producer), pace))
    };
    pipes.into_iter().enumerate().map(lane).collect()
}

/// Polls on every connection, and one connection more that sends what wakes them.
fn pollers(args: &CrowdArgs, target: &Target, pipes: Vec<Pipe>, broker: &str) -> Result<Vec<Lane>> {
    ensure!(args.common.size >= 8, "a body has room for 8 bytes of time");
    ensure!(args.polls >= args.connections, "each connection has a poll or more");
    let epoch = Instant::now();
    let share = args.polls / args.connections;
    let mut lanes = Vec::new();
    for (index, pipe) in pipes.into_iter().enumerate() {
        let poller = Poller::new(args, target, index * share..(index + 1) * share, epoch)?;
        lanes.push(Lane::new(pipe, Box::new(poller), Pace::Closed(share)));
    }
    let queues: Vec<QueueId> = match args.topics {
        Some(_) => vec![QueueId(0)],
        None => target.queues.iter().map(|queue| queue.queue).collect(),
    };
    let producer = Producer::new(target, &queues, 0, args.common.size, 1, Kind::Plain)?;
    let stamper = Stamper { producer, size: args.common.size, epoch };
    lanes.push(Lane::new(Pipe::connect(broker)?, Box::new(stamper), Pace::rate(args.rate)));
    Ok(lanes)
}

/// An offset of the length that all offsets have, with zeros in front.
const FROM: u64 = 1_888_888_888_888_888_888;

/// The polls of one connection, each for a queue or a topic of its own.
struct Poller {
    /// One for each queue; one for all topics.
    frames: Vec<(Prepared, usize, usize)>,
    polls: Vec<Poll>,
    free: Vec<usize>,
    /// Which poll a request under way belongs to.
    asked: std::collections::HashMap<i32, usize>,
    epoch: Instant,
}

struct Poll {
    frame: usize,
    topic: Option<u64>,
    from: u64,
}

impl Poller {
    fn new(
        args: &CrowdArgs,
        target: &Target,
        numbers: std::ops::Range<usize>,
        epoch: Instant,
    ) -> Result<Poller> {
        let queues = if args.topics.is_some() { 1 } else { target.queues.len() };
        let frames = target.queues[..queues].iter().map(|queue| {
            let request = PullMessage {
                sys_flag: SUBSCRIPTION | SUSPEND,
                suspend: Some(Duration::from_secs(args.suspend)),
                ..pull::request(target, queue.queue, FROM, 32)?
            };
            let frame = Prepared::new(&request, &[], target.serialization)?;
            let from_at = frame.find(FROM.to_string().as_bytes())?;
            let topic_at = if args.topics.is_some() { topics::digits_at(&frame, &target.topic)? } else { 0 };
            Ok((frame, from_at, topic_at))
        });
        let poll = |number: usize| match args.topics {
            Some(count) => Poll { frame: 0, topic: Some(number as u64 % u64::from(count)), from: 0 },
            None => Poll { frame: number % queues, topic: None, from: 0 },
        };
        let polls: Vec<Poll> = numbers.map(poll).collect();
        Ok(Poller {
            frames: frames.collect::<Result<_>>()?,
            free: (0..polls.len()).collect(),
            polls,
            asked: std::collections::HashMap::new(),
            epoch,
        })
    }

    fn note(&self, body: &Bytes, measured: &mut Measured) {
        for record in record::iterate(body).flatten() {
            if let Some(stamp) = record.body().first_chunk::<8>() {
                let due = self.epoch + Duration::from_nanos(u64::from_be_bytes(*stamp));
                measured.note(due, 1, record.body().len() as u64);
            }
        }
    }
}

impl Talk for Poller {
    fn ask(&mut self, number: i32, _due: Instant, out: &mut Vec<u8>) {
        let index = self.free.pop().expect("as many are under way as there are");
        let poll = &self.polls[index];
        let (frame, from_at, topic_at) = &self.frames[poll.frame];
        let copy = frame.copy(number, out);
        put_decimal(&mut copy[*from_at..][..19], poll.from);
        if let Some(topic) = poll.topic {
            put_decimal(&mut copy[*topic_at..][..topics::DIGITS], topic);
        }
        self.asked.insert(number, index);
    }

    fn answered(&mut self, _due: Instant, answer: Frame, measured: &mut Measured) -> Result<(), String> {
        let index = self.asked.remove(&answer.opaque).expect("it was asked");
        self.free.push(index);
        let is_known = [
            ResponseCode::SUCCESS,
            ResponseCode::PULL_NOT_FOUND,
            ResponseCode::PULL_RETRY_IMMEDIATELY,
            ResponseCode::PULL_OFFSET_MOVED,
        ];
        if !is_known.iter().any(|code| code.0 == answer.code) {
            return Err(format!("code {} {}", answer.code, answer.remark.as_deref().unwrap_or_default()));
        }
        let reply: PullReply = answer.decode().map_err(|error| error.to_string())?;
        self.polls[index].from = reply.next.0;
        if answer.code == ResponseCode::SUCCESS.0 {
            self.note(&answer.body, measured);
        }
        Ok(())
    }
}
