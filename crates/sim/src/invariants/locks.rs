// SPDX-License-Identifier: Apache-2.0
//! A queue lock is never held by two clients of a group at one time, and is given to whoever asks when nobody has it.

use std::collections::BTreeMap;

use stdx::Timestamp;

use crate::message::Place;
use crate::plan::LEASE;

#[derive(Default)]
pub(crate) struct Locks {
    held: BTreeMap<(String, Place), (String, Timestamp)>,
}

impl Locks {
    /// The broker answered a client that asked for a lock.
    pub(crate) fn answered(
        &mut self,
        group: &str,
        place: &Place,
        client: &str,
        granted: bool,
        now: Timestamp,
    ) {
        let key = (group.to_owned(), place.clone());
        let holder = self.held.get(&key).filter(|(_, since)| now.since(*since) <= LEASE);
        let is_free = holder.is_none_or(|(holder, _)| holder == client);
        assert!(is_free || !granted, "{client} got {key:?}, which {holder:?} holds at {now}");
        assert!(granted || !is_free, "{client} did not get {key:?}, which nobody holds at {now}");
        if granted {
            self.held.insert(key, (client.to_owned(), now));
        }
    }

    pub(crate) fn released(&mut self, group: &str, place: &Place, client: &str) {
        let key = (group.to_owned(), place.clone());
        if self.held.get(&key).is_some_and(|(holder, _)| holder == client) {
            self.held.remove(&key);
        }
    }

    /// Locks live in memory: after a restart the first to ask gets them.
    pub(crate) fn crashed(&mut self) {
        self.held.clear();
    }
}
