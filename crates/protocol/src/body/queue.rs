// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. One queue of one topic on one broker, as bodies name it.

use core::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::names::{BrokerName, QueueId, TopicName};

/// One queue, wherever it is. Sorts by topic, broker and number, as all clients do when they share queues out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageQueue {
    pub broker_name: BrokerName,
    pub queue_id: QueueId,
    pub topic: TopicName,
}

impl Ord for MessageQueue {
    fn cmp(&self, other: &MessageQueue) -> Ordering {
        let by_topic = self.topic.cmp(&other.topic);
        by_topic
            .then_with(|| self.broker_name.cmp(&other.broker_name))
            .then(self.queue_id.cmp(&other.queue_id))
    }
}

impl PartialOrd for MessageQueue {
    fn partial_cmp(&self, other: &MessageQueue) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
