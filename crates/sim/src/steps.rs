// SPDX-License-Identifier: Apache-2.0
//! Everything the server does unasked, as steps with the time by which each is due: what the threads of store and
//! broker do in production, in any order that a scheduler could give them.

use std::time::Duration;

use broker::Wake;
use stdx::{Rng, Timestamp};
use store::Durability;

use crate::node::Node;

/// One background step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Drain,
    Prepare,
    Flush,
    Checkpoint,
    Retain,
    Compact,
    Readers,
    Dispatch,
    Arrivals,
    Delay,
    Checks,
    Timer,
    Upkeep,
}

pub(crate) const STEPS: [Step; 13] = [
    Step::Drain,
    Step::Prepare,
    Step::Flush,
    Step::Checkpoint,
    Step::Retain,
    Step::Compact,
    Step::Readers,
    Step::Dispatch,
    Step::Arrivals,
    Step::Delay,
    Step::Checks,
    Step::Timer,
    Step::Upkeep,
];

/// The longest sleep of a loop of the broker.
pub(crate) const SLEEP_MAX: Duration = Duration::from_millis(500);

/// How soon a loop looks again while there is work for it.
const GATHER: Duration = Duration::from_millis(5);

/// When each step has to run next.
pub(crate) struct Schedule {
    due: [Timestamp; STEPS.len()],
    ran: [Timestamp; STEPS.len()],
    /// Nothing reaches the device before this.
    pub(crate) stalled_until: Timestamp,
}

impl Schedule {
    /// A process that just started does everything soon.
    pub(crate) fn new(now: Timestamp) -> Schedule {
        Schedule { due: [now; STEPS.len()], ran: [now; STEPS.len()], stalled_until: now }
    }

    /// When a step is due, given what is there to do.
    pub(crate) fn due(&self, step: Step, node: &Node) -> Timestamp {
        let marks = node.store.watermarks();
        let planned = self.due[step as usize];
        let is_wanted = match step {
            Step::Drain => marks.written.get() > marks.drained.get(),
            Step::Flush => {
                marks.durability() == Durability::Disk && marks.written.get() > marks.durable.get()
            }
            Step::Dispatch => marks.gate.get() > marks.dispatched.get(),
            _ => false,
        };
        let soon = self.ran[step as usize] + GATHER;
        let at = if is_wanted { planned.min(soon) } else { planned };
        if needs_device(step) { at.max(self.stalled_until) } else { at }
    }

    /// True while a step has to wait for a device that does not answer.
    pub(crate) fn is_stalled(&self, step: Step, now: Timestamp) -> bool {
        needs_device(step) && now < self.stalled_until
    }

    /// Runs a step; says what it did.
    pub(crate) fn run(&mut self, step: Step, node: &Node, now: Timestamp, rng: &mut Rng) -> String {
        let mut said = String::new();
        let next = match step {
            Step::Drain => {
                said = node.store.drain_step().to_string();
                now + SLEEP_MAX
            }
            Step::Prepare => {
                node.store.prepare_step();
                now + Duration::from_millis(100)
            }
            Step::Flush => {
                // With durability on disk, the flush loop drains first.
                if node.store.watermarks().durability() == Durability::Disk {
                    node.store.drain_step();
                }
                said = node.store.flush_step().to_string();
                now + SLEEP_MAX
            }
            Step::Checkpoint => {
                node.store.checkpoint_step(rng.chance(8));
                now + Duration::from_millis(100)
            }
            Step::Retain => {
                said = node.store.retain_step().to_string();
                now + Duration::from_secs(1)
            }
            Step::Compact => {
                node.store.compact_step();
                now + Duration::from_secs(3)
            }
            Step::Readers => {
                said = node.store.reader_step().to_string();
                now + Duration::from_millis(50)
            }
            Step::Dispatch => self.wake(node.broker.dispatch_step(now), now),
            Step::Arrivals => self.wake(node.broker.arrivals_step(now), now),
            Step::Delay => self.wake(node.broker.delay_step(now), now),
            Step::Checks => self.wake(node.broker.checks_step(now), now),
            Step::Timer => self.wake(node.broker.timer_step(now), now),
            Step::Upkeep => self.wake(node.broker.upkeep_step(now), now),
        };
        (self.due[step as usize], self.ran[step as usize]) = (next, now);
        said
    }

    fn wake(&self, wake: Wake, now: Timestamp) -> Timestamp {
        match wake {
            Wake::Now => now,
            Wake::After(time) => now + time.min(SLEEP_MAX),
            Wake::At(at) => at.max(now).min(now + SLEEP_MAX),
            Wake::Idle => now + SLEEP_MAX,
            Wake::Ended => now + Duration::from_secs(3600),
        }
    }
}

fn needs_device(step: Step) -> bool {
    matches!(step, Step::Drain | Step::Flush | Step::Checkpoint | Step::Retain | Step::Compact)
}
