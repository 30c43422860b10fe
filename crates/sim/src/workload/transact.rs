// SPDX-License-Identifier: Apache-2.0
//! Producers of transactions: half messages, and decisions about them, also late, repeated and contrary ones.

use broker::ops::send::{SendRefused, Sent};
use broker::ops::transaction::{EndInput, EndRefused, Ended, Ending};
use broker::transaction::Decision;
use protocol::names::{ByteStr, Group};
use protocol::properties;
use protocol::record::Record;

use super::produce::{When, input};
use super::{QUEUES, TOPICS};
use crate::oracle::{Attempt, State};
use crate::plan::PATIENCE;
use crate::world::{Done, Label, World};

/// The group of all transactions.
const PAYERS: &str = "payers";

impl World {
    /// Sends a half message.
    pub(super) fn send_half(&mut self) {
        let topic = TOPICS[self.rng.below(2) as usize].to_owned();
        let queue = self.rng.below(QUEUES) as u32;
        let attempt = Attempt {
            topic: topic.clone(),
            queue,
            tag: "",
            level: None,
            is_timed: false,
            state: State::Open,
            is_half: true,
        };
        let number = self.oracle.attempt(attempt);
        self.say(&format!("half {number} to {topic} {queue}"));
        let mut input = input(&(topic, queue), &[number], "", When::Now, true);
        let text = format!("{}TRAN_MSG\u{1}true\u{2}PGROUP\u{1}{PAYERS}\u{2}", &*input.properties);
        input.properties = ByteStr::from(text);
        let (broker, now) = (self.node.broker.clone(), self.now());
        let future = async move { Done::Sent(broker.send(input, now).await) };
        let id = self.tasks.start(Label::Half(number), now + PATIENCE, future);
        self.poll(id);
    }

    /// A producer is answered that its half message is stored.
    pub(super) fn half_sent(&mut self, number: u64, sent: Result<Sent, SendRefused>) -> String {
        let sent = match sent {
            Ok(sent) => sent,
            Err(refused) => {
                self.oracle.refused(&[number]);
                return format!("half {number} refused: {refused}");
            }
        };
        let bytes = self.node.store.record_at(sent.start).unwrap_or_else(|e| panic!("{number}: {e}"));
        let Some(bytes) = bytes else { return format!("half {number} is gone already") };
        let record = Record::parse(&bytes).unwrap_or_else(|e| panic!("no record at {}: {e}", sent.start));
        let end = sent.start.0 + record.len() as u64;
        let unique = record.property(properties::UNIQ_KEY).expect("every message has an id");
        let place = (sent.start, end);
        self.oracle.transactions.stored(number, place, sent.queue_offset, unique.into());
        self.trace.reach("half stored".to_owned());
        format!("half {number} at {} {:?}", sent.start, sent.settled)
    }

    /// Somebody decides about some transactions at once, perhaps not the first time, perhaps about one of them twice.
    pub(super) fn end_transaction(&mut self) {
        if self.oracle.transactions.len() == 0 {
            return;
        }
        let (mut labels, mut inputs) = (Vec::new(), Vec::new());
        for _ in 0..=self.rng.below(4) {
            let (index, input) = self.decision();
            labels.push(Label::End(index, input.decision));
            inputs.push(input);
        }
        let now = self.now();
        let Some(endings) = self.live(|world| world.node.broker.end_together(inputs, now)) else { return };
        let start = |(label, ending): (Label, Ending)| {
            let future = async move {
                Done::Ended(match ending {
                    Ending::Done(ended) => ended,
                    Ending::Waits(ended) => ended.await,
                })
            };
            self.tasks.start(label, now + PATIENCE, future)
        };
        // All are under way before the first goes on: with a crash in one of them, they all end.
        let ids: Vec<u64> = labels.into_iter().zip(endings).map(start).collect();
        for id in ids {
            if self.tasks.pending().any(|(pending, _)| pending == id) {
                self.poll(id);
            }
        }
    }

    /// A decision about some transaction, by its number here.
    fn decision(&mut self) -> (usize, EndInput) {
        let count = self.oracle.transactions.len() as u64;
        // Mostly young ones.
        let back = if self.rng.chance(3) { self.rng.below(count) } else { self.rng.below(count.min(4)) };
        let index = (count - 1 - back) as usize;
        let decision = if self.rng.chance(3) { Decision::Rollback } else { Decision::Commit };
        let half = self.oracle.transactions.asks(index, decision);
        self.say(&format!("end {} at {} {decision:?}", half.number, half.id));
        let input = EndInput {
            id: half.id,
            queue_offset: half.queue_offset,
            group: Some(Group::stored(PAYERS)),
            unique: [None, Some(half.unique)],
            decision,
            audit: None,
        };
        (index, input)
    }

    /// Whoever decided is answered.
    pub(super) fn ended(
        &mut self,
        index: usize,
        decision: Decision,
        ended: &Result<Ended, EndRefused>,
    ) -> String {
        let start = self.node.store.watermarks().start.get();
        let what = self.oracle.transactions.answered(index, decision, ended, start);
        self.trace.reach(format!("transaction {what}"));
        format!("end of transaction {index}: {what}")
    }
}
