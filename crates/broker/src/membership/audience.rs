// SPDX-License-Identifier: Apache-2.0
//! What the name servers have heard of our changes, for those who want to wait until a new topic can be found. Noted by the
//! tasks of `membership`, asked by requests that made or changed a topic.
//! Invariant: only name servers that answered last time are waited for; without any nobody waits.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use stdx::Watermark;

/// How far each name server follows the changes of our topics.
#[derive(Default)]
pub(crate) struct Audience {
    heard: Mutex<BTreeMap<String, u64>>,
    /// What all of them have heard.
    all: Watermark,
}

impl Audience {
    /// A name server knows everything up to a change.
    pub(super) fn heard(&self, name_server: &str, change: u64) {
        let mut heard = self.heard.lock();
        heard.insert(name_server.to_owned(), change);
        self.advance(&heard, change);
    }

    /// A name server does not answer any more; nobody waits for it after `change`.
    pub(super) fn lost(&self, name_server: &str, change: u64) {
        let mut heard = self.heard.lock();
        heard.remove(name_server);
        self.advance(&heard, change);
    }

    /// Resolves when all name servers that answer have heard of a change.
    pub(crate) async fn reached(&self, change: u64) {
        if !self.heard.lock().is_empty() {
            // It is only ever raised, never closed.
            let _ = self.all.reached(change).await;
        }
    }

    fn advance(&self, heard: &BTreeMap<String, u64>, otherwise: u64) {
        self.all.advance(heard.values().min().copied().unwrap_or(otherwise));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Waker};

    fn is_reached(audience: &Audience, change: u64) -> bool {
        let mut waiting = Box::pin(audience.reached(change));
        waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn everybody_who_answers_is_waited_for() {
        let audience = Audience::default();
        assert!(is_reached(&audience, 9), "there is nobody to wait for");
        audience.heard("one", 2);
        audience.heard("two", 2);
        audience.heard("one", 3);
        assert!(is_reached(&audience, 2) && !is_reached(&audience, 3));
        audience.lost("two", 4);
        assert!(is_reached(&audience, 3) && !is_reached(&audience, 4));
        audience.lost("one", 4);
        assert!(is_reached(&audience, 4));
    }
}
