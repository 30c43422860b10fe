// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. A queue as a client names it: topic, broker, number.
//! Its order is the one every client sorts by before queues are dealt, so it must not change.

use std::fmt;

use protocol::body::MessageQueue;
use protocol::names::{BrokerName, QueueId, TopicName};

/// One queue of a topic on one broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue {
    /// The topic.
    pub topic: TopicName,
    /// The broker that holds the queue.
    pub broker: BrokerName,
    /// The number of the queue on that broker.
    pub id: QueueId,
}

impl Queue {
    /// Names a queue.
    pub fn new(topic: TopicName, broker: BrokerName, id: u32) -> Queue {
        Queue { topic, broker, id: QueueId(id) }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.topic, self.broker, self.id)
    }
}

impl From<&MessageQueue> for Queue {
    fn from(wire: &MessageQueue) -> Queue {
        Queue { topic: wire.topic.clone(), broker: wire.broker_name.clone(), id: wire.queue_id }
    }
}

impl From<&Queue> for MessageQueue {
    fn from(queue: &Queue) -> MessageQueue {
        MessageQueue { topic: queue.topic.clone(), broker_name: queue.broker.clone(), queue_id: queue.id }
    }
}
