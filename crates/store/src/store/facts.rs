// SPDX-License-Identifier: Apache-2.0
//! Facts: small settings and progress that live in the log like messages, and in a table of their latest values.
//! Invariant: facts are appended one after another, and shown to readers before the append returns.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use protocol::names::{LogOffset, QueueId, TopicName};
use protocol::record::Message;

use super::Store;
use crate::append::{self, Appended};
use crate::error::AppendError;
use crate::facts::{FACTS_TOPIC, FactChange, FactKind, change};

impl Store {
    /// Puts changes of facts into the log, as one record. [`Store::fact`] shows them at once.
    /// Kinds start at [`FactKind::FIRST_FREE`].
    pub fn put_facts(&self, changes: &[FactChange]) -> Result<Appended, AppendError> {
        check(changes);
        self.health.admit()?;
        let mut tail = self.facts.lock();
        let appended = self.append_facts(changes, |at| self.views.put_facts_ahead(changes, at))?;
        tail.end = appended.end.0;
        Ok(appended)
    }

    /// The latest value of a fact.
    pub fn fact(&self, kind: FactKind, key: &[u8]) -> Option<Bytes> {
        self.views.fact(kind, key)
    }

    /// All facts of a kind, by key.
    pub fn facts(&self, kind: FactKind) -> Vec<(Vec<u8>, Bytes)> {
        self.views.facts(kind)
    }

    /// Removes all queues of a topic with their messages. Handles that others hold refuse appends from then on; queues
    /// that are looked up again begin at 0. `also` changes with it, in the same record: both happen or neither does.
    pub fn remove_topic(&self, topic: &TopicName, also: &[FactChange]) -> Result<Appended, AppendError> {
        check(also);
        self.health.admit()?;
        let mut tail = self.facts.lock();
        let changes = [also, &[FactChange::remove_topic(topic)]].concat();
        let appended = self.append_facts(&changes, |at| {
            self.views.put_facts_ahead(also, at);
            self.views.detach_topic(topic);
        })?;
        tail.end = appended.end.0;
        Ok(appended)
    }

    /// Appends a facts record. `under_lock` sees its place before anyone else can append. The caller holds `facts`.
    pub(super) fn append_facts(
        &self,
        changes: &[FactChange],
        under_lock: impl Fn(LogOffset),
    ) -> Result<Appended, AppendError> {
        self.health.admit_upkeep()?;
        let topic = TopicName::stored(FACTS_TOPIC);
        let queue = self.views.queue(&topic, QueueId(0)).expect("the first queue is always there");
        let now = self.clock.now();
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let body = change::encode(changes);
        let message = Message {
            topic: &topic,
            queue: QueueId(0),
            flag: 0,
            sys_flag: 0,
            born_at: now,
            born_host: nowhere,
            store_host: nowhere,
            reconsume: 0,
            prepared: LogOffset(0),
            body: &body,
            properties: b"",
        };
        append::with_buffer(|encoded| {
            encoded.push(&message)?;
            self.sequence(encoded, std::iter::once(&queue), |appended| under_lock(appended.start))
        })
    }
}

fn check(changes: &[FactChange]) {
    let is_own = |change: &FactChange| !change.kind.is_kept() || change.key.len() > usize::from(u16::MAX);
    assert!(!changes.iter().any(is_own), "kinds below 16 and keys above 64 KiB are not the caller's");
}
