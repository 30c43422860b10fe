// SPDX-License-Identifier: Apache-2.0
//! Consumers: they pull and wait, tell how far they have come, give messages back, and go away.

use std::time::Duration;

use broker::ops::offset::PlaceInput;
use broker::ops::pull::{Outcome, PullInput, PullRefused, Pulled};
use broker::ops::send_back::{SendBackInput, SendBackRefused};
use protocol::names::{ByteStr, Group, LogOffset, QueueId, QueueOffset, TopicName};
use store::Settled;

use super::{Held, QUEUES};
use crate::invariants::progress::{Seat, committed};
use crate::invariants::reads::{self, Ask, Wish};
use crate::invariants::retry::{Answer, Fate, Then, wait_of};
use crate::plan::{PATIENCE, RETRIES};
use crate::world::{Done, Label, World};

impl World {
    /// A consumer pulls from one of its queues, if it is not waiting there already.
    pub(super) fn pull(&mut self) {
        let index = self.rng.below(self.clients.consumers.len() as u64) as usize;
        let queues = if self.clients.consumers[index].topic.starts_with('%') { 1 } else { QUEUES };
        let queue = self.rng.below(queues) as u32;
        let consumer = &self.clients.consumers[index];
        let place = (consumer.topic.clone(), queue);
        let is_waiting = self.tasks.pending().any(|(_, task)| match &task.label {
            Label::Pull(ask, other) => *other == index && ask.place == place,
            _ => false,
        });
        if is_waiting {
            return;
        }
        let (group, wish) = (consumer.group.clone(), consumer.wish);
        let seat = (group.clone(), place.clone());
        let from = consumer.at.get(&queue).copied().or(self.oracle.progress.of(&seat)).unwrap_or(0);
        let wait = (!self.rng.chance(3)).then(|| Duration::from_millis(1 + self.rng.below(5000)));
        let commit = self.rng.chance(3).then_some(from);
        let now = self.now();
        let ask = Ask { group, place, from, wish, commit, until: wait.map(|wait| now + wait) };
        let input = pull_input(&ask, wait, 1 + self.rng.below(8) as usize);
        self.say(&format!("pull {ask:?}"));
        let broker = self.node.broker.clone();
        let future = async move { Done::Pulled(broker.pull(input, now).await) };
        let id = self.tasks.start(Label::Pull(ask.clone(), index), now + wait.unwrap_or_default(), future);
        self.first_look(id, &ask, &seat);
    }

    /// The first poll of a pull takes what it commits, and sends the consumer away if it was moved.
    fn first_look(&mut self, id: u64, ask: &Ask, seat: &Seat) {
        let Some(polled) = self.live(|world| world.tasks.poll(id)) else { return };
        let is_refused = matches!(&polled, Some((_, Done::Pulled(Err(refused)))) if is_early(refused));
        if let Some(offset) = ask.commit.filter(|_| !is_refused) {
            let actual = committed(&self.node, seat);
            self.oracle.progress.committed(seat, offset, actual, self.now());
        }
        let is_sent = matches!(&polled, Some((_, Done::Pulled(Ok(Pulled { outcome: Outcome::Reset, .. })))));
        let has_to_go = self.oracle.progress.is_moved(seat) && !is_refused;
        assert!(is_sent || !has_to_go, "{ask:?} was moved and is not sent away");
        if let Some((label, done)) = polled {
            let said = self.finished(label, done);
            self.say(&format!("#{id} {said}"));
        }
    }

    /// A pull is answered.
    pub(super) fn pulled(
        &mut self,
        ask: &Ask,
        consumer: usize,
        pulled: Result<Pulled, PullRefused>,
    ) -> String {
        let pulled = match pulled {
            Ok(pulled) => pulled,
            Err(refused) => return format!("pull refused: {refused}"),
        };
        let (now, next) = (self.now(), pulled.next.0);
        let mut said = format!("{:?}", Kind::of(&pulled.outcome));
        self.trace.reach(format!("pull {said}"));
        if matches!(ask.wish, Wish::Sql(..)) {
            self.trace.reach(format!("sql {said}"));
        }
        if ask.place.0.starts_with('%') && said == "Found" {
            self.trace.reach(format!("{} read", &ask.place.0[..4]));
        }
        match &pulled.outcome {
            Outcome::Found(batch) => {
                let given = reads::check_found(&mut self.oracle, &self.node, ask, batch);
                said += &format!(" {:?}", given.iter().map(|(_, known)| known.number).collect::<Vec<_>>());
                for (start, known) in given {
                    let (number, reconsumed) = (known.number, known.reconsumed);
                    self.clients.hold(Held { group: ask.group.clone(), start, number, reconsumed });
                }
            }
            Outcome::AtTail | Outcome::Empty => reads::check_nothing(ask, now),
            Outcome::Filtered => reads::check_passed(&mut self.oracle, &self.node, ask, next, &[]),
            Outcome::TooSmall | Outcome::TooLarge | Outcome::NoMessages => {}
            Outcome::Reset => {
                let seat = (ask.group.clone(), ask.place.clone());
                self.oracle.progress.sent(&seat, next);
            }
        }
        self.clients.consumers[consumer].at.insert(ask.place.1, next);
        format!("pulled {said}, next {next} of {}..{}", pulled.first, pulled.end)
    }

    /// A consumer tells how far it has come, or an older client how far it had come once.
    pub(super) fn commit(&mut self) {
        let index = self.rng.below(self.clients.consumers.len() as u64) as usize;
        let consumer = &self.clients.consumers[index];
        let Some((queue, at)) = consumer.at.iter().nth(self.rng.below(QUEUES) as usize) else { return };
        let (queue, at) = (*queue, *at);
        let offset = if self.rng.chance(4) { self.rng.below(at + 1) } else { at };
        let (group, topic) = (consumer.group.clone(), consumer.topic.clone());
        let input = PlaceInput {
            group: Group::stored(group.as_str()),
            topic: TopicName::stored(topic.as_str()),
            queue: QueueId(queue),
        };
        let seat = (group, (topic, queue));
        let outcome = self.live(|world| world.node.broker.update_offset(&input, QueueOffset(offset), None));
        let Some(outcome) = outcome else { return };
        self.say(&format!("commit {seat:?} {offset}: {outcome:?}"));
        let actual = committed(&self.node, &seat);
        if outcome.is_ok() {
            self.oracle.progress.committed(&seat, offset, actual, self.now());
            let told = self.node.broker.query_offset(&input, true).ok().map(|offset| offset.0);
            assert!(told == actual, "{seat:?} stands at {actual:?} and is told {told:?}");
        }
    }

    /// A consumer could not handle a message.
    pub(super) fn give_back(&mut self) {
        if self.clients.held.is_empty() {
            return;
        }
        let index = self.rng.below(self.clients.held.len() as u64) as usize;
        let Held { group, start, number, reconsumed } = self.clients.held[index].clone();
        let delay_level = [0, 0, 1, 2, -1][self.rng.below(5) as usize];
        let now = self.now();
        let then = match self.node.broker.groups().get(&group).and_then(|config| wait_of(&config, reconsumed))
        {
            _ if delay_level < 0 || reconsumed >= RETRIES => Then::Dead,
            Some(wait) if delay_level == 0 => Then::At(now + wait),
            _ => Then::Level,
        };
        let input = SendBackInput {
            group: Group::stored(group.as_str()),
            offset: LogOffset(start),
            id: None,
            delay_level,
            max: Some(RETRIES),
            reconsumed: None,
            topic_flag: 0,
            store_host: "127.0.0.1:10911".parse().expect("an address"),
        };
        self.say(&format!("give back {number} of {group}, try {reconsumed}, level {delay_level}: {then:?}"));
        if matches!(then, Then::At(_)) {
            self.trace.reach("retry by policy".to_owned());
        }
        let given = self.oracle.retries.gives(Fate { group, number, tries: reconsumed + 1, then });
        let broker = self.node.broker.clone();
        let future = async move { Done::GivenBack(broker.send_back(input, now).await) };
        let id = self.tasks.start(Label::GiveBack(given), now + PATIENCE, future);
        self.poll(id);
    }

    /// A consumer that gave a message back is answered.
    pub(super) fn given_back(&mut self, id: usize, given: Result<Settled, SendBackRefused>) -> String {
        let is_lasting = self.plan.durability == store::Durability::Disk;
        let answer = match &given {
            Ok(Settled::Done) if is_lasting => Answer::Settled,
            Ok(_) => Answer::Stored,
            Err(_) => Answer::Refused,
        };
        // What is settled lies before the gate; of what is only stored, all that is known is that it is in the log.
        let marks = self.node.store.watermarks();
        let end = if answer == Answer::Settled { marks.gate.get() } else { marks.written.get() };
        self.oracle.retries.answered(id, answer, end);
        format!("given back: {given:?}")
    }

    /// A client goes away in the middle of what it does.
    pub(super) fn leave(&mut self) {
        let pulls = self.tasks.pending().filter(|(_, task)| matches!(task.label, Label::Pull(..)));
        let pulls: Vec<u64> = pulls.map(|(id, _)| id).collect();
        if !pulls.is_empty() {
            let id = pulls[self.rng.below(pulls.len() as u64) as usize];
            self.say(&format!("#{id} is abandoned"));
            self.tasks.abandon(id);
        }
    }
}

/// True for refusals that come before anything is done.
fn is_early(refused: &PullRefused) -> bool {
    !matches!(refused, PullRefused::Full { .. } | PullRefused::Read(_))
}

/// What a pull found, in a word.
#[derive(Debug)]
enum Kind {
    Found,
    Nothing,
    Filtered,
    Elsewhere,
    Reset,
}

impl Kind {
    fn of(outcome: &Outcome) -> Kind {
        match outcome {
            Outcome::Found(_) => Kind::Found,
            Outcome::AtTail | Outcome::Empty => Kind::Nothing,
            Outcome::Filtered => Kind::Filtered,
            Outcome::TooSmall | Outcome::TooLarge | Outcome::NoMessages => Kind::Elsewhere,
            Outcome::Reset => Kind::Reset,
        }
    }
}

fn pull_input(ask: &Ask, wait: Option<Duration>, messages: usize) -> PullInput {
    let (kind, text) = ask.wish.text();
    PullInput {
        group: Group::stored(ask.group.as_str()),
        topic: TopicName::stored(ask.place.0.as_str()),
        queue: QueueId(ask.place.1),
        from: Some(QueueOffset(ask.from)),
        messages,
        bytes: None,
        wait,
        commit: ask.commit.map(QueueOffset),
        filter: Some((ByteStr::from(kind), ByteStr::from(text))),
        kind: None,
        sub_version: 0,
        connection: 1,
        lite: false,
    }
}
