// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench tx`: transactions over connections of their own. A half message is sent, and committed as soon as it is
//! stored; the figure counts pairs, and their latency is that of both. The commit is acknowledged, which clients do not
//! ask for: a figure of what was only sent would say nothing. Nobody answers questions, so none may come in the time.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use protocol::frame::Frame;
use protocol::ids::OffsetId;
use protocol::names::{ByteStr, Group};
use protocol::send::SendReply;
use protocol::transaction::{COMMIT, EndTransaction};

use super::Common;
use super::load::{self, Lane, Measured, Pace, Span, Talk, Terms};
use super::pipe::Pipe;
use super::prepared::{Prepared, put_decimal};
use super::report::{self, Work};
use super::send::{self, Kind, Producer};
use super::target::Target;

/// Flags of `kiruna bench tx`.
#[derive(Args, Debug)]
pub(crate) struct TxArgs {
    #[command(flatten)]
    pub(super) common: Common,
    /// Connections to the brokers.
    #[arg(short, long, default_value_t = 4)]
    connections: usize,
    /// Requests under way on each connection, half messages and commits together.
    #[arg(long, default_value_t = 64)]
    outstanding: usize,
}

pub(super) async fn run(args: TxArgs) -> Result<()> {
    let common = &args.common;
    let (work, lanes) = prepare(&args, &Target::find(common).await?)?;
    let span = Span::starting_now(common.warmup(), common.seconds());
    let measured = load::drive(lanes, span, &Terms::default())?;
    Ok(report::print(&work, &measured, common.output)?)
}

/// Opens the connections.
pub(super) fn prepare(args: &TxArgs, target: &Target) -> Result<(Work, Vec<Lane>)> {
    if args.connections == 0 || args.outstanding == 0 {
        bail!("connections and outstanding are at least 1");
    }
    let size = args.common.size;
    let mut lanes = Vec::new();
    for index in 0..args.connections {
        let first = &target.queues[index % target.queues.len()];
        let queues = target.queues_of(&first.broker);
        let payer = Payer {
            halves: Producer::new(target, &queues, index, size, 1, Kind::Half)?,
            commit: Commit::new(target)?,
            stored: VecDeque::new(),
            under_way: HashMap::new(),
            size,
        };
        lanes.push(Lane::new(Pipe::connect(&first.broker)?, Box::new(payer), Pace::Closed(args.outstanding)));
    }
    let work = Work {
        what: "half + commit",
        connections: args.connections,
        outstanding: args.outstanding,
        size,
        batch: 1,
        rate: None,
    };
    Ok((work, lanes))
}

/// A half message that is stored: where, and when it was sent.
struct Stored {
    log_offset: u64,
    queue_offset: u64,
    sent: Instant,
}

/// The transactions of one connection.
struct Payer {
    halves: Producer,
    commit: Commit,
    /// What is to be committed next.
    stored: VecDeque<Stored>,
    /// Commits by the number of their request, and when their half messages were sent. All else is a half message.
    under_way: HashMap<i32, Instant>,
    size: usize,
}

impl Talk for Payer {
    fn ask(&mut self, number: i32, due: Instant, out: &mut Vec<u8>) {
        match self.stored.pop_front() {
            Some(half) => {
                self.under_way.insert(number, half.sent);
                self.commit.write(number, &half, out);
            }
            None => _ = self.halves.write(number, due, out),
        }
    }

    fn answered(&mut self, due: Instant, answer: Frame, measured: &mut Measured) -> Result<(), String> {
        if let Some(sent) = self.under_way.remove(&answer.opaque) {
            send::accepted(&answer).map_err(|code| format!("commit: {code}"))?;
            measured.note(sent, 1, self.size as u64);
            return Ok(());
        }
        send::accepted(&answer).map_err(|code| format!("half message: {code}"))?;
        let reply: SendReply = answer.decode().map_err(|error| error.to_string())?;
        let place = OffsetId::parse(&reply.message_id).map_err(|error| error.to_string())?;
        self.stored.push_back(Stored {
            log_offset: place.offset.0,
            queue_offset: reply.queue_offset.0,
            sent: due,
        });
        Ok(())
    }
}

/// Two numbers of the length that all of them have, with zeros in front.
const QUEUE_OFFSET: i64 = 1_777_777_777_777_777_777;
const LOG_OFFSET: i64 = 1_888_888_888_888_888_888;
const DIGITS: usize = 19;

/// A commit, prepared.
struct Commit {
    frame: Prepared,
    queue_offset_at: usize,
    log_offset_at: usize,
}

impl Commit {
    fn new(target: &Target) -> Result<Commit> {
        let request = EndTransaction {
            topic: Some(target.topic.clone()),
            group: Group::parse(send::GROUP)?,
            half_offset: QUEUE_OFFSET,
            log_offset: LOG_OFFSET,
            decision: COMMIT,
            from_check: false,
            message_id: Some(ByteStr::from("")),
            transaction_id: Some(ByteStr::from("")),
        };
        // The binary form has its numbers as text, too.
        let frame = Prepared::new(&request, &[], target.serialization)?;
        Ok(Commit {
            queue_offset_at: frame.find(QUEUE_OFFSET.to_string().as_bytes())?,
            log_offset_at: frame.find(LOG_OFFSET.to_string().as_bytes())?,
            frame,
        })
    }

    fn write(&self, number: i32, half: &Stored, out: &mut Vec<u8>) {
        let copy = self.frame.copy(number, out);
        put_decimal(&mut copy[self.queue_offset_at..][..DIGITS], half.queue_offset);
        put_decimal(&mut copy[self.log_offset_at..][..DIGITS], half.log_offset);
    }
}
