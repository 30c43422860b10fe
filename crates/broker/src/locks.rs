// SPDX-License-Identifier: Apache-2.0
//! Queue locks of groups that consume in order. Called by the lock operations, by sends to retry topics and by its
//! loop. Locks live in memory: after a restart the first member to ask gets them, as in RocketMQ.

mod table;

use std::time::Duration;

use parking_lot::Mutex;
use protocol::names::{ByteStr, Group, QueueKey};
use stdx::Timestamp;

use self::table::LockTable;

/// The queue locks of all groups.
pub(crate) struct Locks(Mutex<LockTable>);

impl Locks {
    /// A lock that is not renewed for `lease` is free for others.
    pub(crate) fn new(lease: Duration) -> Locks {
        Locks(Mutex::new(LockTable::new(lease)))
    }

    /// Takes or renews each queue for `client`; says for each whether it is the holder now.
    pub(crate) fn lock(
        &self,
        group: &Group,
        client: &ByteStr,
        queues: &[QueueKey],
        now: Timestamp,
    ) -> Vec<bool> {
        self.0.lock().lock(group, client, queues, now)
    }

    /// Lets go of the queues that `client` holds.
    pub(crate) fn unlock(&self, group: &Group, client: &ByteStr, queues: &[QueueKey]) {
        self.0.lock().unlock(group, client, queues);
    }

    /// Says whether the group consumes in order now.
    pub(crate) fn is_held(&self, group: &Group, now: Timestamp) -> bool {
        self.0.lock().is_held(group, now)
    }

    /// Forgets leases that ended.
    pub(crate) fn expire(&self, now: Timestamp) {
        self.0.lock().expire(now);
    }
}
