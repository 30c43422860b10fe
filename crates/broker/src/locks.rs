// SPDX-License-Identifier: Apache-2.0
//! Queue locks of groups that consume in order. Called by the lock operations, by sends to retry topics and by its
//! loop. Who holds a lock is a fact of the log; renewals are memory only.
//!
//! Invariants: a lock is granted only when it is part of the log, so that after a restart nobody gets a queue whose
//! holder is still at work; the holders that a start finds keep their locks for half a lease, in which every client that
//! lives has renewed its own.

mod table;

use std::time::Duration;

use parking_lot::Mutex;
use protocol::names::{ByteStr, Group, QueueKey};
use stdx::Timestamp;
use store::{FactChange, Store};

use self::table::{LockTable, Verdict};
use crate::facts;

/// How many locks go into one record.
const TOGETHER: usize = 1024;

/// The queue locks of all groups.
pub(crate) struct Locks(Mutex<LockTable>);

impl Locks {
    /// Takes up the locks that the log knows. A lock that is not renewed for `lease` is free for others.
    pub(crate) fn open(lease: Duration, store: &Store, now: Timestamp) -> Locks {
        let mut table = LockTable::new(lease);
        for (key, client) in store.facts(facts::LOCKS) {
            let client = ByteStr::from_utf8(client).ok();
            match facts::split_lock(&key).zip(client) {
                Some(((group, queue), client)) => table.inherit(&group, &client, &queue, now),
                None => tracing::error!(key = %String::from_utf8_lossy(&key), "a queue lock is not readable"),
            }
        }
        Locks(Mutex::new(table))
    }

    /// Takes or renews each queue for `client`; says for each whether it is the holder now.
    pub(crate) fn lock(
        &self,
        group: &Group,
        client: &ByteStr,
        queues: &[QueueKey],
        store: &Store,
        now: Timestamp,
    ) -> Vec<bool> {
        // Held while the change goes to the log: facts and table have one order.
        let mut table = self.0.lock();
        let verdicts = table.judge(group, client, queues, now);
        let value = || client.as_bytes().to_vec();
        let taken = queues.iter().zip(&verdicts).filter(|(_, verdict)| **verdict == Verdict::Taken);
        let changes = taken.map(|(queue, _)| change(group, queue, Some(value())));
        let is_written = write(changes, store);
        let grant = |(queue, verdict): (&QueueKey, Verdict)| {
            let granted = match verdict {
                Verdict::Refused => false,
                Verdict::Renewed => true,
                Verdict::Taken => is_written,
            };
            if granted {
                table.grant(group, client, queue, now);
            }
            granted
        };
        queues.iter().zip(verdicts).map(grant).collect()
    }

    /// Lets go of the queues that `client` holds.
    pub(crate) fn unlock(&self, group: &Group, client: &ByteStr, queues: &[QueueKey], store: &Store) {
        let mut table = self.0.lock();
        let freed = table.unlock(group, client, queues);
        write(freed.iter().map(|queue| change(group, queue, None)), store);
    }

    /// Says whether the group consumes in order now.
    pub(crate) fn is_held(&self, group: &Group, now: Timestamp) -> bool {
        self.0.lock().is_held(group, now)
    }

    /// Forgets leases that ended.
    pub(crate) fn expire(&self, store: &Store, now: Timestamp) {
        let mut table = self.0.lock();
        let ended = table.expire(now);
        write(ended.iter().map(|(group, queue)| change(group, queue, None)), store);
    }
}

fn change(group: &Group, queue: &QueueKey, value: Option<Vec<u8>>) -> FactChange {
    FactChange { kind: facts::LOCKS, key: facts::lock_key(group, queue), value }
}

/// Makes changes part of the log; says whether they are.
fn write(changes: impl Iterator<Item = FactChange>, store: &Store) -> bool {
    let changes: Vec<FactChange> = changes.collect();
    let written = changes.chunks(TOGETHER).try_for_each(|some| store.put_facts(some).map(drop));
    written.inspect_err(|error| tracing::warn!(%error, "queue locks could not be noted")).is_ok()
}
