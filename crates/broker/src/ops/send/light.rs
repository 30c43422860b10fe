// SPDX-License-Identifier: Apache-2.0
//! What a send says about light queues: judged here, before anything is stored, so that nothing can be wrong with it when a
//! message has waited for its time or its transaction. Which offsets it gets there is decided by the store.

use protocol::names::NameError;
use protocol::{caps, light, properties};
use store::QueueLimit;

use super::SendRefused;
use crate::Broker;
use crate::topics::Topic;

/// Why a message is not put into the light queues that it lists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LightRefused {
    /// A name in the list is none of a light queue.
    #[error("INNER_MULTI_DISPATCH names {name:?}, which is no light queue: {why}")]
    Name {
        /// What stands there.
        name: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// One message is not for everybody.
    #[error("INNER_MULTI_DISPATCH names {count} light queues, at most {max} are allowed")]
    Many {
        /// How many it names.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// There are as many light queues as may be.
    #[error("[LMQ_CONSUME_QUEUE_NUM_EXCEEDED] {0}")]
    Full(#[from] QueueLimit),
}

impl Broker {
    /// Says whether messages of a topic are put into the light queues that they list.
    pub(super) fn fills_light(&self, topic: &Topic) -> bool {
        let config = self.config();
        config.creation.light_queues && config.creation.light_dispatch && light::is_written_from(topic.name())
    }

    /// Says whether a message is to be put into light queues, and sees to it that it can be. `list` is what it says,
    /// `stored` the length of its properties as they are stored.
    pub(super) fn admit_light(
        &self,
        list: Option<&str>,
        topic: &Topic,
        stored: usize,
    ) -> Result<bool, SendRefused> {
        let Some(list) = list else { return Ok(false) };
        if !self.fills_light(topic) {
            return Ok(false);
        }
        let config = self.config();
        let count = light::names(list).count();
        if count > caps::LIGHT_QUEUES {
            return Err(LightRefused::Many { count, max: caps::LIGHT_QUEUES }.into());
        }
        for name in light::names(list) {
            light::check(name).map_err(|why| LightRefused::Name { name: name.to_owned(), why })?;
        }
        // The offsets stand in its properties too.
        let size = stored + properties::INNER_MULTI_QUEUE_OFFSET.len() + 2 + count * OFFSET;
        if size > caps::MAX_PROPERTIES {
            return Err(SendRefused::PropertiesTooLarge { size, max: caps::MAX_PROPERTIES });
        }
        for name in light::names(list) {
            self.store.light_queue(name, config.creation.light_queues_max).map_err(LightRefused::from)?;
        }
        Ok(true)
    }
}

/// The digits of the largest offset, and what separates it from the next.
const OFFSET: usize = 20;
