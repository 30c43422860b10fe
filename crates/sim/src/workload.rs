// SPDX-License-Identifier: Apache-2.0
//! What clients do: producers, consumers that pull and commit, consumers that keep the order, operators. One file each.

use std::collections::BTreeMap;

use stdx::Rng;

use self::produce::When;
use crate::invariants::reads::{SQL, Wish};
use crate::message::Place;
use crate::plan::Work;
use crate::world::{Done, Label, World};

mod admin;
mod consume;
mod keep;
mod order;
mod produce;
mod recall;
mod transact;

/// Topics that clients use. The last one comes and goes.
pub(crate) const TOPICS: [&str; 3] = ["t0", "t1", REMOVABLE];
/// Groups that consume. The last one comes and goes.
pub(crate) const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
/// The topic that operators delete.
pub(crate) const REMOVABLE: &str = "t2";
/// Light queues, which messages of the other topics list.
pub(crate) const LIGHT: [&str; 2] = ["%LMQ%a", "%LMQ%b"];
/// Queues of every topic.
pub(crate) const QUEUES: u64 = 2;
/// The third and the fourth have the same hash.
const TAGS: [&str; 5] = ["", "a", "AaAa", "BBBB", "b"];
/// How many messages consumers remember to give back.
const HELD_MAX: usize = 30;

/// The clients and what they remember.
pub(crate) struct Clients {
    consumers: Vec<Consumer>,
    /// Messages that were given to a group: where they lie, which they are, how often they were tried.
    held: Vec<Held>,
}

struct Consumer {
    group: String,
    topic: String,
    wish: Wish,
    /// Where it goes on, by queue.
    at: BTreeMap<u32, u64>,
}

#[derive(Clone)]
struct Held {
    group: String,
    start: u64,
    number: u64,
    reconsumed: i32,
}

impl Clients {
    pub(crate) fn new(rng: &mut Rng) -> Clients {
        let consumer = |group: &str, topic: &str, wish| Consumer {
            group: group.to_owned(),
            topic: topic.to_owned(),
            wish,
            at: BTreeMap::new(),
        };
        let all = Wish::Tags("*");
        let mut consumers = vec![
            consumer("g0", "t0", all),
            consumer("g1", "t0", Wish::Tags("AaAa || b")),
            consumer("g0", "%RETRY%g0", all),
            consumer("g0", "%DLQ%g0", all),
            consumer("g2", REMOVABLE, all),
        ];
        match rng.below(5) {
            0 => consumers.push(consumer("g1", "t1", Wish::Tags("BBBB"))),
            index @ 1..=3 => consumers.push(consumer("g1", "t1", SQL[index as usize - 1])),
            _ => {}
        }
        Clients { consumers, held: Vec::new() }
    }

    /// The server was started again: every consumer asks where it was.
    pub(crate) fn restarted(&mut self) {
        self.consumers.iter_mut().for_each(|consumer| consumer.at.clear());
        self.held.clear();
    }

    fn hold(&mut self, held: Held) {
        if self.held.len() == HELD_MAX {
            self.held.remove(0);
        }
        self.held.push(held);
    }
}

impl World {
    /// A client does something.
    pub(crate) fn work(&mut self) {
        let all: u64 = self.plan.weights.iter().map(|(_, weight)| weight).sum();
        let mut left = self.rng.below(all);
        let chosen = self.plan.weights.iter().find(|(_, weight)| {
            let is_it = left < *weight;
            left = left.saturating_sub(*weight);
            is_it
        });
        match chosen.expect("the weights add up").0 {
            Work::Send => self.send(1, When::Now),
            Work::Batch => {
                let count = 2 + self.rng.below(3) as usize;
                self.send(count, When::Now);
            }
            Work::SendDelayed => {
                let level = self.rng.below(3) as u32;
                self.send(1, When::Level(level));
            }
            Work::Half => self.send_half(),
            Work::End => self.end_transaction(),
            Work::SendTimed => {
                let delay = 1 + self.rng.below(8_000);
                self.send(1, When::After(delay));
            }
            Work::Recall => self.recall(),
            Work::Keep => self.keep(),
            Work::Pull => self.pull(),
            Work::Commit => self.commit(),
            Work::GiveBack => self.give_back(),
            Work::Lock => self.lock(),
            Work::Reset => self.reset(),
            Work::Topic => self.change_topic(),
            Work::Group => self.change_group(),
            Work::Policy => self.set_policy(),
            Work::Leave => self.leave(),
        }
    }

    /// An operation has ended: what does it say?
    pub(crate) fn finished(&mut self, label: Label, done: Done) -> String {
        match (label, done) {
            (Label::Send(numbers, waits), Done::Sent(sent)) => self.sent(&numbers, waits, sent),
            (Label::Half(number), Done::Sent(sent)) => self.half_sent(number, sent),
            (Label::Keep(number), Done::Sent(sent)) => self.kept(number, sent),
            (Label::End(index, decision), Done::Ended(ended)) => self.ended(index, decision, &ended),
            (Label::Pull(ask, consumer), Done::Pulled(pulled)) => self.pulled(&ask, consumer, pulled),
            (Label::GiveBack(id), Done::GivenBack(given)) => self.given_back(id, given),
            (Label::Recall(number), Done::Recalled(outcome)) => self.recalled(number, outcome),
            (label, _) => panic!("{label:?} ended as another operation"),
        }
    }

    fn any_place(&mut self) -> Place {
        let topic = TOPICS[self.rng.below(TOPICS.len() as u64) as usize];
        (topic.to_owned(), self.rng.below(QUEUES) as u32)
    }
}
