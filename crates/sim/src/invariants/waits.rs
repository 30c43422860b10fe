// SPDX-License-Identifier: Apache-2.0
//! Whoever waits is woken: a parked pull as soon as a message is visible that it wants, every operation when its time
//! is over.

use std::time::Duration;

use stdx::Timestamp;
use store::Read;

use crate::executor::Tasks;
use crate::node::Node;
use crate::steps::SLEEP_MAX;
use crate::world::{Done, Label};

/// No pull sleeps while there is something for it.
pub(crate) fn check_parked(tasks: &Tasks<Label, Done>, node: &Node) {
    let asleep =
        tasks.pending().filter(|(_, task)| !task.is_ready() && matches!(task.label, Label::Pull(..)));
    // Some of them wait for the store's readers, not for messages.
    if asleep.count() != node.broker.waiting_pulls() {
        return;
    }
    for (_, task) in tasks.pending().filter(|(_, task)| !task.is_ready()) {
        let Label::Pull(ask, _) = &task.label else { continue };
        let (topic, queue) = &ask.place;
        if node.broker.topics().get(topic).is_none() || node.store.poisoned().is_some() {
            continue;
        }
        let Some(queue) = node.store.find_queue(topic, protocol::names::QueueId(*queue)) else { continue };
        if queue.dispatched().0 <= ask.from {
            continue;
        }
        if let Ok(Read::Found(batch)) = node.read(&queue, ask.from, &ask.filter()) {
            panic!("{ask:?} waits, and {} messages are there for it", batch.count);
        }
    }
}

/// No operation is under way for longer than it may be.
pub(crate) fn check_overdue(tasks: &Tasks<Label, Done>, now: Timestamp, late: Duration) {
    for (_, task) in tasks.pending() {
        let limit = task.until + SLEEP_MAX + late * 4;
        assert!(now <= limit, "{:?} should have ended at {}, it is {now}", task.label, task.until);
    }
}
