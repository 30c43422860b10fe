// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a message must be like before anything is done with it: sizes, queue, permission of the broker.
//! In: the wish, its topic and the limits. Out: nothing, or the first reason why not.

use protocol::caps;
use protocol::kind::Kind;

use super::{SendInput, SendRefused};
use crate::config::BrokerConfig;
use crate::topics::{Topic, TopicRefused, WRITE};

/// Judges a message by its measures.
pub(crate) fn check(input: &SendInput, topic: &Topic, config: &BrokerConfig) -> Result<(), SendRefused> {
    if config.identity.permission & WRITE as u32 == 0 {
        return Err(SendRefused::BrokerNotWritable { broker: config.identity.name.clone() });
    }
    // COMPAT: a queue that can only be read any more still takes messages, as in Apache: a topic is made smaller
    // by first writing to fewer queues than are read.
    let queues = topic.write_queues().max(topic.read_queues());
    if let Some(queue) = input.queue.filter(|queue| queue.0 >= queues) {
        let topic = input.topic.clone();
        return Err(TopicRefused::NoSuchQueue { queue, queues, topic }.into());
    }
    // Without a body it ends its key, where the latest message of each is kept.
    if input.body.is_empty() && !topic.is_compacted() {
        return Err(SendRefused::NoBody);
    }
    let max = config.sending.max_message.0 as usize;
    if input.body.len() > max {
        return Err(SendRefused::TooLarge { size: input.body.len(), max });
    }
    if input.properties.len() > caps::MAX_PROPERTIES {
        let size = input.properties.len();
        return Err(SendRefused::PropertiesTooLarge { size, max: caps::MAX_PROPERTIES });
    }
    if input.batch && input.topic.is_retry() {
        return Err(SendRefused::NotInBatch { what: "retry group" });
    }
    Ok(())
}

/// Judges a message by its kind. What belongs to a group (retries, dead letters) takes every kind.
pub(crate) fn check_kind(topic: &Topic, actual: Kind) -> Result<(), SendRefused> {
    let expected = topic.kind();
    if expected.takes(actual) || topic.name().is_retry() || topic.name().is_dlq() {
        return Ok(());
    }
    Err(SendRefused::OtherKind { expected, actual })
}
