// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench pull`: consumers that read the newest part of a topic over and over, several requests under way; all of
//! it, or the one in a hundred that an SQL92 expression passes. Or everything that the topic has, from its beginning.

use std::ops::Range;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use protocol::codes::ResponseCode;
use protocol::frame::{Frame, Serialization};
use protocol::names::{Group, QueueId, QueueOffset};
use protocol::offset::{GetMaxOffset, GetMinOffset};
use protocol::pull::{PullMessage, PullReply, SUBSCRIPTION};
use remoting::{Connection, Response};
use stdx::Stop;

use super::load::{self, Lane, Measured, Pace, Span, Talk, Terms};
use super::pipe::Pipe;
use super::prepared::{Prepared, put_decimal};
use super::report::{self, Work};
use super::target::{PATIENCE, Target};
use super::{Common, send};

/// Flags of `kiruna bench pull`.
#[derive(Args, Debug)]
pub(crate) struct PullArgs {
    #[command(flatten)]
    pub(super) common: Common,
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
    /// Reads with an SQL92 expression that one message in a hundred passes; the figure counts those.
    #[arg(long, conflicts_with = "outstanding")]
    sql: bool,
    /// Reads everything that the topic has, oldest first, over and over, and adds nothing: a cold read the first time.
    #[arg(long, conflicts_with_all = ["hot", "sql", "outstanding"])]
    all: bool,
}

pub(super) async fn run(args: PullArgs) -> Result<()> {
    let common = &args.common;
    let target = Target::find(common).await?;
    let (work, lanes) = prepare(&args, &target, &Stop::default()).await?;
    let span = Span::starting_now(common.warmup(), common.seconds());
    let measured = load::drive(lanes, span, &Terms::default())?;
    Ok(report::print(&work, &measured, common.output)?)
}

/// Fills the topic and opens the connections.
pub(super) async fn prepare(args: &PullArgs, target: &Target, stop: &Stop) -> Result<(Work, Vec<Lane>)> {
    if args.connections == 0 || args.outstanding == 0 || args.per_request == 0 {
        bail!("connections, outstanding and per-request are at least 1");
    }
    let size = args.common.size;
    let kind = if args.sql { send::Kind::Shared } else { send::Kind::Plain };
    if !args.all {
        send::fill(target, size, args.hot, kind, stop)?;
    }
    let window = args.hot / target.queues.len() as u64;
    let mut lanes = Vec::new();
    for index in 0..args.connections {
        let queue = &target.queues[index % target.queues.len()];
        let connection = target.dial(queue).await?;
        let past = max_offset(&connection, target, queue.queue).await?;
        let hot = past.saturating_sub(window)..past;
        let consumer: Box<dyn Talk> = if args.sql {
            Box::new(Chooser::new(target, queue.queue, hot, args.per_request)?)
        } else if args.all {
            let first = min_offset(&connection, target, queue.queue).await?;
            Box::new(Walker::new(target, queue.queue, first..past, args.per_request)?)
        } else {
            Box::new(Consumer::new(target, queue.queue, hot, args.per_request)?)
        };
        lanes.push(Lane::new(Pipe::connect(&queue.broker)?, consumer, Pace::Closed(args.outstanding)));
    }
    let work = Work {
        what: match (args.sql, args.all) {
            (true, _) => "pull with an expression",
            (_, true) => "pull from the beginning",
            _ => "pull",
        },
        connections: args.connections,
        outstanding: args.outstanding,
        size,
        batch: args.per_request as usize,
        rate: None,
    };
    Ok((work, lanes))
}

/// The requests of one connection, made before: one after the other through the hot part of one queue.
struct Consumer {
    requests: Vec<Prepared>,
    next: usize,
}

impl Consumer {
    fn new(target: &Target, queue: QueueId, hot: Range<u64>, per_request: u32) -> Result<Consumer> {
        let step = u64::from(per_request);
        let starts = (hot.start..hot.end).step_by(per_request as usize).filter(|from| from + step <= hot.end);
        let prepare = |from| {
            let request =
                PullMessage { max_bytes: Some(8 << 20), ..request(target, queue, from, per_request)? };
            Prepared::new(&request, &[], target.serialization)
        };
        let requests = starts.map(prepare).collect::<Result<Vec<_>>>()?;
        if requests.is_empty() {
            bail!("--hot leaves queue {queue} of {} fewer messages than one request asks for", target.topic);
        }
        Ok(Consumer { requests, next: 0 })
    }
}

impl Talk for Consumer {
    fn ask(&mut self, number: i32, _due: Instant, out: &mut Vec<u8>) {
        self.requests[self.next % self.requests.len()].copy(number, out);
        self.next += 1;
    }

    fn answered(&mut self, due: Instant, answer: Frame, measured: &mut Measured) -> Result<(), String> {
        send::accepted(&answer)?;
        measured.note(due, count(&answer.body)?, answer.body.len() as u64);
        Ok(())
    }
}

/// How many records there are. Each begins with its length, which is all that a count needs.
fn count(records: &[u8]) -> Result<u64, String> {
    let mut rest = records;
    let mut messages = 0;
    while let Some((length, _)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        rest = rest.get(length.max(4)..).ok_or("a record that is cut off")?;
        messages += 1;
    }
    Ok(messages)
}

/// An offset of the length that all offsets have, with zeros in front.
const FROM: u64 = 1_888_888_888_888_888_888;

/// A request whose offset is still to be written, and where.
fn placed(target: &Target, request: &PullMessage) -> Result<(Prepared, usize)> {
    let request = Prepared::new(request, &[], target.serialization)?;
    match target.serialization {
        Serialization::Json => {
            let at = request.find(FROM.to_string().as_bytes())?;
            Ok((request, at))
        }
        Serialization::RocketMq => bail!("this is measured with JSON headers"),
    }
}

/// Reads a queue from its beginning, each time from where the last answer says, and from the beginning again at its end.
struct Walker {
    request: Prepared,
    from_at: usize,
    all: Range<u64>,
    at: u64,
}

impl Walker {
    fn new(target: &Target, queue: QueueId, all: Range<u64>, per_request: u32) -> Result<Walker> {
        if all.is_empty() {
            bail!("queue {queue} of {} has nothing to read", target.topic);
        }
        let request = PullMessage { max_bytes: Some(8 << 20), ..request(target, queue, FROM, per_request)? };
        let (request, from_at) = placed(target, &request)?;
        Ok(Walker { request, from_at, at: all.start, all })
    }
}

impl Talk for Walker {
    fn ask(&mut self, number: i32, _due: Instant, out: &mut Vec<u8>) {
        let copy = self.request.copy(number, out);
        put_decimal(&mut copy[self.from_at..][..19], self.at);
    }

    fn answered(&mut self, due: Instant, answer: Frame, measured: &mut Measured) -> Result<(), String> {
        send::accepted(&answer)?;
        let reply: PullReply = answer.decode().map_err(|error| error.to_string())?;
        self.at = if self.all.contains(&reply.next.0) { reply.next.0 } else { self.all.start };
        measured.note(due, count(&answer.body)?, answer.body.len() as u64);
        Ok(())
    }
}

/// Reads what an expression passes, each time from where the last answer says.
struct Chooser {
    request: Prepared,
    from_at: usize,
    hot: Range<u64>,
    at: u64,
}

impl Chooser {
    fn new(target: &Target, queue: QueueId, hot: Range<u64>, per_request: u32) -> Result<Chooser> {
        let wanted = format!("{} = '{:020}'", send::SHARE, 7);
        let request = PullMessage {
            max_bytes: Some(8 << 20),
            subscription: Some(wanted.as_str().into()),
            expression_type: Some("SQL92".into()),
            ..request(target, queue, FROM, per_request)?
        };
        let (request, from_at) = placed(target, &request)?;
        Ok(Chooser { request, from_at, at: hot.start, hot })
    }
}

impl Talk for Chooser {
    fn ask(&mut self, number: i32, _due: Instant, out: &mut Vec<u8>) {
        let copy = self.request.copy(number, out);
        put_decimal(&mut copy[self.from_at..][..19], self.at);
    }

    fn answered(&mut self, due: Instant, answer: Frame, measured: &mut Measured) -> Result<(), String> {
        let is_known =
            [ResponseCode::SUCCESS, ResponseCode::PULL_RETRY_IMMEDIATELY, ResponseCode::PULL_NOT_FOUND];
        if !is_known.iter().any(|code| code.0 == answer.code) {
            return Err(format!("code {} {}", answer.code, answer.remark.as_deref().unwrap_or_default()));
        }
        let reply: PullReply = answer.decode().map_err(|error| error.to_string())?;
        // A server that does not go on is at the end.
        let is_over = reply.next.0 <= self.at || reply.next.0 >= self.hot.end;
        self.at = if is_over { self.hot.start } else { reply.next.0 };
        let is_found = answer.code == ResponseCode::SUCCESS.0;
        let messages = if is_found { count(&answer.body)? } else { 0 };
        measured.note(due, messages, if is_found { answer.body.len() as u64 } else { 0 });
        Ok(())
    }
}

/// A pull of the bench's group from one queue.
pub(super) fn request(target: &Target, queue: QueueId, from: u64, max_messages: u32) -> Result<PullMessage> {
    Ok(PullMessage {
        group: Group::parse("KIRUNA_BENCH")?,
        topic: target.topic.clone(),
        queue,
        from: QueueOffset(from),
        max_messages: i32::try_from(max_messages)?,
        sys_flag: SUBSCRIPTION,
        commit: None,
        suspend: None,
        subscription: Some("*".into()),
        sub_version: 0,
        expression_type: Some("TAG".into()),
        max_bytes: None,
        request_source: None,
        proxied_client: None,
    })
}

/// One past the last offset of a queue.
pub(super) async fn max_offset(connection: &Connection, target: &Target, queue: QueueId) -> Result<u64> {
    let request = GetMaxOffset { topic: target.topic.clone(), queue, committed: None };
    let answer = connection.call(&request, (), PATIENCE).await.and_then(Response::ok);
    let (reply, _) =
        answer.with_context(|| format!("cannot read the end of queue {queue} of {}", target.topic))?;
    Ok(reply.offset.0)
}

/// The first offset of a queue that can still be read.
async fn min_offset(connection: &Connection, target: &Target, queue: QueueId) -> Result<u64> {
    let request = GetMinOffset { topic: target.topic.clone(), queue };
    let answer = connection.call(&request, (), PATIENCE).await.and_then(Response::ok);
    let (reply, _) =
        answer.with_context(|| format!("cannot read the beginning of queue {queue} of {}", target.topic))?;
    Ok(reply.offset.0)
}
