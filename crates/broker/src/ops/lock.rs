// SPDX-License-Identifier: Apache-2.0
//! Queue locks of consumers that keep the order. Called by the faces of 41 and 42.

use protocol::names::{ByteStr, Group, QueueKey};
use stdx::Timestamp;

use crate::Broker;

/// A client and the queues it wants to consume alone.
#[derive(Clone, Debug)]
pub struct LockInput {
    /// Its group.
    pub group: Group,
    /// What it calls itself.
    pub client: ByteStr,
    /// The queues.
    pub queues: Vec<QueueKey>,
}

/// The most queues of one request.
pub(crate) const LOCKS_MAX: usize = 65_536;

impl Broker {
    /// Takes or renews the locks; says for each queue whether the client holds it now.
    pub fn lock_queues(&self, input: &LockInput, now: Timestamp) -> Vec<bool> {
        self.locks.lock(&input.group, &input.client, &input.queues, &self.store, now)
    }

    /// Gives locks back.
    pub fn unlock_queues(&self, input: &LockInput) {
        self.locks.unlock(&input.group, &input.client, &input.queues, &self.store);
    }
}
