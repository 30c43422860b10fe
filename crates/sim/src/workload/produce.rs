// SPDX-License-Identifier: Apache-2.0
//! Producers: single messages and batches, at once or delayed, waiting for the promise or not.

use broker::ops::send::{SendInput, SendRefused, Sent};
use broker::topics::Template;
use bytes::Bytes;
use protocol::batch::{self, Unit};
use protocol::names::{AUTO_CREATE_TOPIC, ByteStr, QueueId, TopicName};
use protocol::record::Record;
use store::{AppendError, Settled};

use super::{QUEUES, TAGS};
use crate::message::{Place, body, lights, n};
use crate::oracle::{Attempt, State};
use crate::plan::PATIENCE;
use crate::world::{Done, Label, World};

/// When a message is to be delivered.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    Now,
    /// After the time of a delay level, counted from 0.
    Level(u32),
    /// After so many milliseconds.
    After(u64),
}

const HOST: &str = "127.0.0.1:10911";

impl World {
    /// Sends messages to a queue.
    pub(super) fn send(&mut self, count: usize, when: When) {
        let place = self.any_place();
        let waits = !self.rng.chance(4);
        self.send_to(&place, count, when, waits);
    }

    fn send_to(&mut self, place: &Place, count: usize, when: When, waits: bool) {
        let (topic, queue) = place.clone();
        let tag = TAGS[self.rng.below(TAGS.len() as u64) as usize];
        let (level, is_timed) = match when {
            When::Now => (None, false),
            When::Level(level) => (Some(level), false),
            When::After(_) => (None, true),
        };
        let attempt = |_| Attempt {
            topic: topic.clone(),
            queue,
            tag,
            level,
            is_timed,
            state: State::Open,
            is_half: false,
        };
        let attempts: Vec<Attempt> = (0..count).map(attempt).collect();
        let numbers: Vec<u64> = attempts.into_iter().map(|attempt| self.oracle.attempt(attempt)).collect();
        self.say(&format!("send {numbers:?} to {place:?} tag {tag:?} {when:?} waits {waits}"));
        let input = input(place, &numbers, tag, when, waits);
        let (broker, now) = (self.node.broker.clone(), self.now());
        let future = async move { Done::Sent(broker.send(input, now).await) };
        let id = self.tasks.start(Label::Send(numbers, waits), now + PATIENCE, future);
        self.poll(id);
    }

    /// A producer is answered.
    pub(super) fn sent(&mut self, numbers: &[u64], waits: bool, sent: Result<Sent, SendRefused>) -> String {
        let sent = match sent {
            Ok(sent) => sent,
            Err(refused) => {
                self.oracle.refused(numbers);
                self.trace.reach(format!("refused {}", kind(&refused)));
                return format!("{numbers:?} refused: {refused}");
            }
        };
        assert!(sent.starts().len() == numbers.len(), "{numbers:?} became {} records", sent.starts().len());
        for (index, (start, number)) in sent.starts().zip(numbers).enumerate() {
            let is_before = self.poisoned_at.is_none_or(|at| start.0 < at);
            assert!(is_before, "message {number} was stored at {start} by a poisoned store");
            let bytes = self.node.store.record_at(start);
            let bytes = bytes.unwrap_or_else(|e| panic!("message {number} cannot be read at {start}: {e}"));
            let Some(bytes) = bytes else {
                let is_gone = start.0 < self.node.store.watermarks().start.get();
                assert!(is_gone, "message {number} is not at {start}, where its sender was told");
                continue;
            };
            let record = Record::parse(&bytes).unwrap_or_else(|e| panic!("no record at {start}: {e}"));
            let known = self.oracle.note(&record);
            let told = sent.queue_offset.0 + index as u64;
            let is_told = (known.number, known.offset) == (*number, told);
            assert!(is_told, "message {number} was told to have offset {told}, it is {known:?}");
            if waits && sent.settled == Settled::Done {
                self.oracle.settled(start.0);
            }
        }
        self.trace.reach(format!("settled {}", &format!("{:?}", sent.settled)[..4]));
        format!("{numbers:?} at {} offset {} {:?}", sent.start, sent.queue_offset, sent.settled)
    }

    /// At the end, when nothing fails any more, every queue takes messages.
    pub(crate) fn probe(&mut self) {
        for queue in 0..QUEUES as u32 {
            self.send_to(&("t0".to_owned(), queue), 1, When::Now, true);
            let last = self.oracle.attempts.last().expect("one was just made").state;
            assert!(last != State::Refused, "a healed server refuses messages");
        }
    }
}

/// Why a message was refused, in a word.
fn kind(refused: &SendRefused) -> &'static str {
    match refused {
        SendRefused::Append(AppendError::Busy { .. }) => "busy",
        SendRefused::Append(AppendError::DiskFull { .. }) => "full",
        SendRefused::Append(AppendError::Poisoned(_)) => "poisoned",
        _ => "otherwise",
    }
}

pub(super) fn input(place: &Place, numbers: &[u64], tag: &str, when: When, waits: bool) -> SendInput {
    let properties = |number: u64| {
        let mut text = format!("UNIQ_KEY\u{1}u{number}\u{2}");
        if let Some(n) = n(number) {
            text += &format!("n\u{1}{n}\u{2}");
        }
        if !tag.is_empty() {
            text += &format!("TAGS\u{1}{tag}\u{2}");
        }
        match when {
            When::Now => {}
            When::Level(level) => text += &format!("DELAY\u{1}{}\u{2}", level + 1),
            When::After(delay) => text += &format!("TIMER_DELAY_MS\u{1}{delay}\u{2}"),
        }
        let lights = lights(number, &place.0);
        if !lights.is_empty() {
            text += &format!("INNER_MULTI_DISPATCH\u{1}{}\u{2}", lights.join(","));
        }
        if !waits {
            text += "WAIT\u{1}false\u{2}";
        }
        text
    };
    let is_batch = numbers.len() > 1;
    let mut bytes = Vec::new();
    for number in numbers {
        let (body, properties) = (body(*number), properties(*number));
        if is_batch {
            let unit = Unit { flag: 0, body: &body, properties: properties.as_bytes() };
            batch::encode(&unit, &mut bytes).unwrap_or_else(|e| panic!("{e}"));
        } else {
            bytes = body;
        }
    }
    let whole = if is_batch { String::new() } else { properties(numbers[0]) };
    let host = HOST.parse().expect("an address");
    SendInput {
        topic: TopicName::stored(place.0.as_str()),
        queue: Some(QueueId(place.1)),
        template: Template {
            topic: Some(TopicName::stored(AUTO_CREATE_TOPIC)),
            queues: QUEUES as u32,
            sys_flag: 0,
        },
        flag: 0,
        sys_flag: 0,
        born_at: crate::clock::START,
        born_host: host,
        store_host: host,
        reconsumed: 0,
        reconsume_max: None,
        properties: ByteStr::from(whole),
        body: Bytes::from(bytes),
        batch: is_batch,
    }
}
