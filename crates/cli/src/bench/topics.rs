// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench topics`: makes many topics over connections of its own, for loads that are spread over them. Their
//! names are those of [`Many`]; a topic that is there already is made again, which changes nothing.

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;
use protocol::admin::topic::UpdateAndCreateTopic;
use protocol::frame::Frame;
use protocol::names::{AUTO_CREATE_TOPIC, ByteStr, TopicName};

use super::Common;
use super::load::{self, Lane, Measured, Pace, Span, Talk, Terms};
use super::pipe::Pipe;
use super::prepared::{Prepared, put_decimal};
use super::report::{self, Work};
use super::send;
use super::target::Target;

/// Flags of `kiruna bench topics`.
#[derive(Args, Debug)]
pub(crate) struct TopicsArgs {
    #[command(flatten)]
    common: Common,
    /// How many topics, 1 to 9999999: --topic with a dash and seven digits behind it, from 0000000 on.
    #[arg(long, default_value_t = 1000)]
    count: u32,
    /// Connections to the broker.
    #[arg(short, long, default_value_t = 4)]
    connections: usize,
    /// Requests under way on each connection.
    #[arg(long, default_value_t = 16)]
    outstanding: usize,
}

/// How long making all of them may take.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Digits in the name of one of many topics.
pub(super) const DIGITS: usize = 7;
const MOST: u32 = 9_999_999;

/// Topics with one beginning and a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Many {
    pub(super) count: u32,
}

impl Many {
    pub(super) fn new(count: u32) -> Result<Many> {
        ensure!((1..=MOST).contains(&count), "there may be 1 to {MOST} topics, not {count}");
        Ok(Many { count })
    }

    /// The name of the first; of the others only the digits at the end differ.
    pub(super) fn first(self, common: &Common) -> Result<TopicName> {
        Ok(TopicName::parse(format!("{}-{:0DIGITS$}", common.topic, 0).as_str())?)
    }
}

pub(super) async fn run(args: TopicsArgs) -> Result<()> {
    if args.connections == 0 || args.outstanding == 0 {
        bail!("connections and outstanding are at least 1");
    }
    let common = &args.common;
    let many = Many::new(args.count)?;
    let target = Target::find_many(common, many).await?;
    let Some(broker) = target.brokers().first().map(|broker| (*broker).to_owned()) else {
        bail!("no broker has the topic {}", target.topic);
    };
    let next = Rc::new(Cell::new(0));
    let mut lanes = Vec::new();
    for _ in 0..args.connections {
        let maker = Maker::new(&target, common, many, next.clone())?;
        lanes.push(Lane::new(Pipe::connect(&broker)?, Box::new(maker), Pace::Closed(args.outstanding)));
    }
    let wanted = u64::from(args.count);
    let terms = Terms { enough: Some(wanted), ..Terms::default() };
    let mut measured = load::drive(lanes, Span::starting_now(Duration::ZERO, PATIENCE), &terms)?;
    if measured.messages < wanted {
        bail!(
            "only {} of {wanted} topics could be made in {PATIENCE:?}: {:?}",
            measured.messages,
            measured.errors
        );
    }
    measured.span.end = Instant::now();
    let work = Work {
        what: "make topics",
        connections: args.connections,
        outstanding: args.outstanding,
        size: 0,
        batch: 1,
        rate: None,
    };
    Ok(report::print(&work, &measured, common.output)?)
}

/// What one connection makes.
struct Maker {
    frame: Prepared,
    name_at: usize,
    /// The number of the next topic, of all connections.
    next: Rc<Cell<u32>>,
    many: Many,
    /// Requests beyond the last topic, which do not count.
    beyond: HashSet<i32>,
}

impl Maker {
    fn new(target: &Target, common: &Common, many: Many, next: Rc<Cell<u32>>) -> Result<Maker> {
        let queues = i32::try_from(common.queues)?;
        let request = UpdateAndCreateTopic {
            topic: target.topic.clone(),
            default_topic: Some(TopicName::stored(AUTO_CREATE_TOPIC)),
            read_queues: queues,
            write_queues: queues,
            permission: READ_WRITE,
            filter_type: ByteStr::from_static("SINGLE_TAG"),
            sys_flag: Some(0),
            order: false,
            attributes: None,
            force: None,
        };
        let frame = Prepared::new(&request, &[], target.serialization)?;
        let name_at = digits_at(&frame, &target.topic)?;
        Ok(Maker { frame, name_at, next, many, beyond: HashSet::new() })
    }
}

const READ_WRITE: i32 = 6;

/// Where the digits of the topic's name stand.
pub(super) fn digits_at(frame: &Prepared, topic: &TopicName) -> Result<usize> {
    Ok(frame.find(topic.as_bytes())? + topic.len() - DIGITS)
}

impl Talk for Maker {
    fn ask(&mut self, number: i32, _due: Instant, out: &mut Vec<u8>) {
        let topic = self.next.get();
        self.next.set(topic.saturating_add(1));
        if topic >= self.many.count {
            self.beyond.insert(number);
        }
        let copy = self.frame.copy(number, out);
        put_decimal(&mut copy[self.name_at..][..DIGITS], u64::from(topic.min(self.many.count - 1)));
    }

    fn answered(&mut self, due: Instant, answer: Frame, measured: &mut Measured) -> Result<(), String> {
        let is_beyond = self.beyond.remove(&answer.opaque);
        send::accepted(&answer)?;
        if !is_beyond {
            measured.note(due, 1, 0);
        }
        Ok(())
    }
}
