// SPDX-License-Identifier: Apache-2.0
//! Producers that take messages with a time of their own back, or give them another time.

use std::time::Duration;

use broker::ops::recall::{Outcome, RecallRefused, Which, Wish};
use protocol::names::{ByteStr, TopicName};
use store::AppendError;

use crate::plan::PATIENCE;
use crate::world::{Done, Label, World};

impl World {
    /// Asks for a message that waits or waited, or for one that nobody sent.
    pub(super) fn recall(&mut self) {
        let known = self.oracle.timers.numbers();
        let any = self.rng.below(self.oracle.attempts.len() as u64 + 1);
        let number = match known.is_empty() || self.rng.chance(8) {
            true => any,
            false => known[self.rng.below(known.len() as u64) as usize],
        };
        let Some(attempt) = self.oracle.attempts.get(number as usize) else { return };
        let topic = TopicName::stored(attempt.topic.as_str());
        let now = self.now();
        let wish = match self.rng.chance(2) {
            true => Wish::Cancel,
            false => Wish::Move(now + Duration::from_millis(self.rng.below(8_000))),
        };
        self.say(&format!("recall {number}: {wish:?}"));
        self.oracle.timers.asks(number, wish);
        let broker = self.node.broker.clone();
        let which = Which::Id(ByteStr::from(format!("u{number}")));
        let future = async move { Done::Recalled(broker.change_timed(&topic, which, wish, now).await) };
        let id = self.tasks.start(Label::Recall(number), now + PATIENCE * 6, future);
        self.poll(id);
    }

    /// It is answered.
    pub(super) fn recalled(&mut self, number: u64, outcome: Result<Outcome, RecallRefused>) -> String {
        match outcome {
            Ok(outcome) => {
                self.oracle.look(&self.node);
                self.oracle.timers.answered(number, outcome);
                self.trace.reach(format!("recall {outcome:?}"));
                format!("{number} {outcome:?}")
            }
            Err(refused) => {
                let is_moment = matches!(
                    &refused,
                    RecallRefused::Append(
                        AppendError::Busy { .. } | AppendError::DiskFull { .. } | AppendError::Poisoned(_)
                    ) | RecallRefused::Behind
                        | RecallRefused::Read(_)
                        | RecallRefused::Poisoned(_)
                );
                assert!(is_moment, "message {number} cannot be asked for: {refused}");
                format!("{number} refused: {refused}")
            }
        }
    }
}
