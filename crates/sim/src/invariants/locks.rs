// SPDX-License-Identifier: Apache-2.0
//! A queue lock is never held by two clients of a group at one time, also when the process ends in between, and is given
//! to whoever asks when nobody has it.

use std::collections::BTreeMap;
use std::time::Duration;

use stdx::Timestamp;

use crate::crash::{Crash, Left};
use crate::message::Place;
use crate::plan::LEASE;

/// How long a holder from before a start keeps its lock without a word.
const GRACE: Duration = Duration::from_millis(LEASE.as_millis() as u64 / 2);

#[derive(Default)]
pub(crate) struct Locks {
    /// Who holds what, and until when.
    held: BTreeMap<(String, Place), (String, Timestamp)>,
    /// Until then locks may be held of which we do not know: a start brought them back.
    unsure_until: Timestamp,
}

impl Locks {
    /// The broker answered a client that asked for a lock. While the log takes nothing it gives none that is new.
    pub(crate) fn answered(
        &mut self,
        group: &str,
        place: &Place,
        (client, granted): (&str, bool),
        may_write: bool,
        now: Timestamp,
    ) {
        let key = (group.to_owned(), place.clone());
        let holder = self.held.get(&key).filter(|(_, until)| now <= *until);
        let is_free = holder.is_none_or(|(holder, _)| holder == client);
        assert!(is_free || !granted, "{client} got {key:?}, which {holder:?} holds at {now}");
        let may_refuse = !is_free || !may_write || now <= self.unsure_until;
        assert!(granted || may_refuse, "{client} did not get {key:?}, which nobody holds at {now}");
        if granted {
            self.held.insert(key, (client.to_owned(), now + LEASE));
        }
    }

    /// A client lets go, whatever becomes of the process meanwhile.
    pub(crate) fn released(&mut self, group: &str, place: &Place, client: &str) {
        let key = (group.to_owned(), place.clone());
        if self.held.get(&key).is_some_and(|(holder, _)| holder == client) {
            self.held.remove(&key);
        }
    }

    /// A lock is in the log before it is given: a kill takes none. Who holds one has to speak up soon.
    pub(crate) fn crashed(&mut self, crash: Crash, left: &Left, now: Timestamp) {
        self.unsure_until = now + GRACE;
        match crash {
            Crash::Kill if left.damaged.is_empty() => {
                self.held.retain(|_, (_, until)| now <= *until);
                self.held.values_mut().for_each(|(_, until)| *until = now + GRACE);
            }
            Crash::Kill | Crash::PowerCut => self.held.clear(),
        }
    }
}
