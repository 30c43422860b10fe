// SPDX-License-Identifier: Apache-2.0
//! Finding messages by key and by unique id. Candidates come from the key index, which knows hashes only; each is
//! compared with its record. May wait for the device: called on the store's reader threads or from tools.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use protocol::names::{LogOffset, TopicName};
use protocol::record::Record;
use stdx::Timestamp;

use super::Store;
use crate::cold::Answer;
use crate::error::ReadError;

/// Property that holds the unique id of a message.
const UNIQUE_ID: &str = "UNIQ_KEY";
/// Property that holds the keys of a message, separated by spaces.
const KEYS: &str = "KEYS";

impl Store {
    /// The newest `max` messages of a topic that carry `key` and were stored between `begin` and `end`.
    pub fn by_key(
        &self,
        topic: &TopicName,
        key: &str,
        max: usize,
        begin: Timestamp,
        end: Timestamp,
    ) -> Result<Vec<Bytes>, ReadError> {
        self.find(topic, key, max, begin, end, |record| {
            record.property(KEYS).is_some_and(|keys| keys.split(' ').any(|one| one == key))
        })
    }

    /// The newest `max` messages of a topic with this unique id.
    pub fn by_unique_id(
        &self,
        topic: &TopicName,
        id: &str,
        max: usize,
        begin: Timestamp,
        end: Timestamp,
    ) -> Result<Vec<Bytes>, ReadError> {
        self.find(topic, id, max, begin, end, |record| record.property(UNIQUE_ID) == Some(id))
    }

    /// Runs a query on one of the store's reader threads.
    pub fn query<T: Send + 'static>(
        self: &Arc<Store>,
        query: impl FnOnce(&Store) -> Result<T, ReadError> + Send + 'static,
    ) -> Answer<T> {
        let store = self.clone();
        self.readers.submit(move || query(&store))
    }

    fn find(
        &self,
        topic: &TopicName,
        key: &str,
        max: usize,
        begin: Timestamp,
        end: Timestamp,
        matches: impl Fn(&Record<'_>) -> bool,
    ) -> Result<Vec<Bytes>, ReadError> {
        let mut found: Vec<Bytes> = Vec::new();
        let mut failed = None;
        let mut last = None;
        let mut visit = |at: LogOffset| {
            // A message with the same word as key and as id is in the index twice.
            if found.len() >= max {
                return ControlFlow::Break(());
            }
            if last.replace(at) == Some(at) {
                return ControlFlow::Continue(());
            }
            match self.record_at(at) {
                Ok(Some(bytes)) => {
                    let record = Record::parse(&bytes).expect("record_at returns whole records");
                    let is_in_time = record.stored_at() >= begin && record.stored_at() <= end;
                    if is_in_time && record.topic() == topic.as_str() && matches(&record) {
                        // Kept beyond the query: not to hold a stage.
                        found.push(Bytes::copy_from_slice(&bytes));
                    }
                    ControlFlow::Continue(())
                }
                Ok(None) => ControlFlow::Continue(()),
                Err(e) => {
                    failed = Some(e);
                    ControlFlow::Break(())
                }
            }
        };
        let visited = self.views.by_key(topic, key, begin, end, &mut visit);
        if let Some(e) = failed {
            return Err(e);
        }
        match visited {
            Ok(()) => Ok(found),
            Err(e) => Err(ReadError::Io { at: LogOffset(0), why: e.to_string().into() }),
        }
    }
}
