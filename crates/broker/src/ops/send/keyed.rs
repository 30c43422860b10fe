// SPDX-License-Identifier: Apache-2.0
//! Sends to topics that keep the latest message of each key: what a key may be, and how many there may be. A message that
//! was taken once (a half, a timed one) is not judged again when its time comes.

use protocol::names::QueueId;
use protocol::properties;

use super::SendRefused;
use crate::Broker;
use crate::topics::Topic;

/// The longest key: each is held in memory.
const KEY_MAX: usize = 1024;

impl Broker {
    /// Judges the keys in the properties of a message, all of which are one key. The topic is such a topic.
    pub(super) fn admit_keys(&self, topic: &Topic, queue: QueueId, text: &str) -> Result<(), SendRefused> {
        let keys = properties::get(text, properties::KEYS).unwrap_or_default();
        if keys.len() > KEY_MAX {
            return Err(SendRefused::KeyTooLong { size: keys.len(), max: KEY_MAX });
        }
        if !self.store.takes_keys(topic.name(), queue, keys) {
            return Err(SendRefused::TooManyKeys { max: self.store.config().keys_max });
        }
        Ok(())
    }
}
