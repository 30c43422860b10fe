// SPDX-License-Identifier: Apache-2.0
//! Consumers that keep the order: they lock queues and let them go.

use broker::ops::lock::LockInput;
use protocol::names::{ByteStr, Group, QueueId, QueueKey, TopicName};

use crate::world::World;

impl World {
    /// One of three clients of a group asks for a queue, or lets it go.
    pub(super) fn lock(&mut self) {
        let place = self.any_place();
        let client = format!("c{}", self.rng.below(3));
        let lets_go = self.rng.chance(4);
        let input = LockInput {
            group: Group::stored("g0"),
            client: ByteStr::from(client.as_str()),
            queues: vec![QueueKey { topic: TopicName::stored(place.0.as_str()), queue: QueueId(place.1) }],
        };
        let now = self.now();
        if lets_go {
            self.oracle.locks.released("g0", &place, &client);
        }
        let busy = self.node.store.metrics().busy.get();
        let answer = self.live(|world| match lets_go {
            true => {
                world.node.broker.unlock_queues(&input);
                None
            }
            false => Some(world.node.broker.lock_queues(&input, now)),
        });
        let Some(answer) = answer else { return };
        self.say(&format!("lock {place:?} by {client}: {answer:?}"));
        if let Some(granted) = answer {
            let is_hindered = self.nemesis.is_failing || busy != self.node.store.metrics().busy.get();
            let may_write = self.is_roomy(now) && !is_hindered;
            self.oracle.locks.answered("g0", &place, (&client, granted[0]), may_write, now);
        }
    }
}
