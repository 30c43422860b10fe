// SPDX-License-Identifier: Apache-2.0
//! How groups consume topics, where an operator said so. Facts of the log; asked by members whose broker assigns them
//! their queues.
//! Invariant: what was set is part of the log before anybody sees it.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use protocol::body::{MessageRequestMode, SetMessageRequestModeRequestBody};
use protocol::json;
use protocol::names::{Group, TopicName};
use store::{AppendError, FactChange, Store};

use crate::facts;

/// What was set, by topic and group.
#[derive(Debug, Default)]
pub(crate) struct Modes {
    table: Mutex<Table>,
}

type Table = BTreeMap<TopicName, BTreeMap<Group, SetMessageRequestModeRequestBody>>;

impl Modes {
    /// Reads all of it back.
    pub(crate) fn open(store: &Store) -> Modes {
        let mut table = Table::default();
        for (_, value) in store.facts(facts::MODES) {
            match json::from_slice::<SetMessageRequestModeRequestBody>(&value) {
                Ok(set) => note(&mut table, set),
                Err(error) => tracing::error!(%error, "how a group consumes a topic is not readable"),
            }
        }
        Modes { table: Mutex::new(table) }
    }

    /// How a group consumes a topic.
    pub(crate) fn of(&self, topic: &TopicName, group: &Group) -> MessageRequestMode {
        self.table
            .lock()
            .get(topic)
            .and_then(|groups| groups.get(group))
            .map_or_else(Default::default, |set| set.mode)
    }

    /// Sets it.
    pub(crate) fn set(
        &self,
        set: &SetMessageRequestModeRequestBody,
        store: &Store,
    ) -> Result<(), AppendError> {
        let set = SetMessageRequestModeRequestBody {
            consumer_group: set.consumer_group.detached(),
            topic: set.topic.detached(),
            ..set.clone()
        };
        let key = facts::join_pair(&set.consumer_group, &set.topic);
        let mut table = self.table.lock();
        store.put_facts(&[FactChange { kind: facts::MODES, key, value: Some(json::to_vec(&set)) }])?;
        tracing::info!(group = %set.consumer_group, topic = %set.topic, mode = ?set.mode, "consumption set");
        note(&mut table, set);
        Ok(())
    }

    /// Forgets what was set for a topic that goes.
    pub(crate) fn remove_topic(&self, topic: &TopicName, store: &Store) -> Result<(), AppendError> {
        self.remove_where(store, |set| set.topic == *topic)
    }

    /// Forgets what was set for a group that goes.
    pub(crate) fn remove_group(&self, group: &Group, store: &Store) -> Result<(), AppendError> {
        self.remove_where(store, |set| set.consumer_group == *group)
    }

    /// All that was set.
    pub(crate) fn all(&self) -> Table {
        self.table.lock().clone()
    }

    fn remove_where(
        &self,
        store: &Store,
        goes: impl Fn(&SetMessageRequestModeRequestBody) -> bool,
    ) -> Result<(), AppendError> {
        let mut table = self.table.lock();
        let gone = table.values().flat_map(BTreeMap::values).filter(|set| goes(set));
        let keys = gone.map(|set| facts::join_pair(&set.consumer_group, &set.topic));
        let changes: Vec<FactChange> =
            keys.map(|key| FactChange { kind: facts::MODES, key, value: None }).collect();
        if changes.is_empty() {
            return Ok(());
        }
        store.put_facts(&changes)?;
        table.values_mut().for_each(|groups| groups.retain(|_, set| !goes(set)));
        table.retain(|_, groups| !groups.is_empty());
        Ok(())
    }
}

fn note(table: &mut Table, set: SetMessageRequestModeRequestBody) {
    table.entry(set.topic.clone()).or_default().insert(set.consumer_group.clone(), set);
}
