// SPDX-License-Identifier: Apache-2.0
//! Settings that operators change while the broker runs. Facts of the log, laid over the configuration at the next start.
//! Called when the broker opens and by the operation that changes settings.
//! Invariant: a change is part of the log before it counts.

use parking_lot::Mutex;
use protocol::data_version::DataVersion;
use protocol::json;
use stdx::Timestamp;
use store::{AppendError, FactChange, Store};

use crate::config::BrokerConfig;
use crate::facts;

/// The version of what was changed.
pub(crate) struct Settings {
    version: Mutex<DataVersion>,
}

impl Settings {
    /// Lays the changes of earlier runs over the configuration.
    pub(crate) fn open(store: &Store, config: &mut BrokerConfig, now: Timestamp) -> Settings {
        for (key, value) in store.facts(facts::SETTINGS) {
            let (key, value) = (String::from_utf8_lossy(&key), String::from_utf8_lossy(&value));
            match config.set(&key, &value) {
                Some(Ok(())) => tracing::info!(%key, %value, "setting changed while running earlier"),
                _ => tracing::warn!(%key, %value, "a setting changed earlier is not known and has no effect"),
            }
        }
        let version =
            store.fact(facts::VERSIONS, b"settings").and_then(|value| json::from_slice(&value).ok());
        Settings { version: Mutex::new(version.unwrap_or_else(|| DataVersion::new(now))) }
    }

    /// Keeps changes, by our names.
    pub(crate) fn put(
        &self,
        changes: &[(&'static str, String)],
        store: &Store,
        now: Timestamp,
    ) -> Result<(), AppendError> {
        let mut version = self.version.lock();
        let mut next = *version;
        next.advance(now, 0);
        let change = |(key, value): &(&'static str, String)| FactChange {
            kind: facts::SETTINGS,
            key: key.as_bytes().to_vec(),
            value: Some(value.clone().into_bytes()),
        };
        let mut all: Vec<FactChange> = changes.iter().map(change).collect();
        let value = Some(json::to_vec(&next));
        all.push(FactChange { kind: facts::VERSIONS, key: b"settings".to_vec(), value });
        store.put_facts(&all)?;
        *version = next;
        Ok(())
    }

    /// The version of what was changed.
    pub(crate) fn version(&self) -> DataVersion {
        *self.version.lock()
    }
}
