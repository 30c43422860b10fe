// SPDX-License-Identifier: Apache-2.0
//! The broker's settings as operators read and change them, under RocketMQ's names and as properties text. Called by the
//! faces of 25 and 26.

use protocol::data_version::DataVersion;
use stdx::Timestamp;
use store::{AppendError, Durability};

use crate::Broker;
use crate::broker::OpenRefused;
use crate::config::BrokerConfig;

/// COMPAT: keys that nobody changes from afar, as in Apache.
const LOCKED: [&str; 2] = ["configBlackList", "brokerConfigPath"];

/// Why settings stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsRefused {
    /// The text is no list of settings.
    #[error("line {line} of the settings is not key=value")]
    NoPair {
        /// Which line, from 1.
        line: usize,
    },
    /// The setting is not to be changed from afar.
    #[error("Can not update config in black list.")]
    Locked,
    /// There is no such setting.
    #[error("this broker has no setting {key}")]
    Unknown {
        /// The key.
        key: String,
    },
    /// The setting counts from the next start.
    #[error("{key} takes effect only when the broker starts: set it in its configuration")]
    NotLive {
        /// The key.
        key: String,
    },
    /// The setting cannot have that value.
    #[error("{key}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The settings do not fit each other.
    #[error(transparent)]
    Together(#[from] OpenRefused),
    /// The change did not become part of the log.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Broker {
    /// Changes settings, all or none.
    pub(crate) fn change_settings(&self, text: &str, now: Timestamp) -> Result<(), SettingsRefused> {
        let mut next = BrokerConfig::clone(&self.config());
        let mut changes = Vec::new();
        for (key, value) in pairs(text)? {
            if LOCKED.contains(&key) {
                return Err(SettingsRefused::Locked);
            }
            let known = BrokerConfig::keys().find(|known| known.name == key || known.alias == key);
            let known = known.ok_or_else(|| SettingsRefused::Unknown { key: key.to_owned() })?;
            if !known.live {
                return Err(SettingsRefused::NotLive { key: key.to_owned() });
            }
            if let Some(Err(reason)) = next.set(key, value) {
                return Err(SettingsRefused::Value { key: key.to_owned(), reason });
            }
            changes.push((known.name, value.to_owned()));
        }
        let problems = next.validate();
        if !problems.is_empty() {
            return Err(OpenRefused { problems }.into());
        }
        self.settings.put(&changes, &self.store, now)?;
        self.reconfigure(next)?;
        for (key, value) in changes {
            tracing::info!(key, value, "setting changed");
        }
        Ok(())
    }

    /// Prints all settings and the version of their changes.
    pub(crate) fn print_settings(&self) -> (String, DataVersion) {
        let config = self.config();
        let own = BrokerConfig::keys().map(|key| {
            let name = if key.alias.is_empty() { key.name } else { key.alias };
            (name.to_owned(), config.get(key.name).unwrap_or_default())
        });
        let all = own.chain(self.store_settings());
        (all.map(|(key, value)| format!("{key}={value}\n")).collect(), self.settings.version())
    }

    /// What tools look for among the settings of the store.
    fn store_settings(&self) -> Vec<(String, String)> {
        let store = self.store.config();
        let flush = match store.durability {
            Durability::Memory => "ASYNC_FLUSH",
            Durability::Disk => "SYNC_FLUSH",
        };
        let hours: Vec<String> =
            store.retention.delete_when.iter().map(|hour| format!("{hour:02}")).collect();
        let percent = |ratio: f64| format!("{:.0}", ratio * 100.0);
        [
            ("brokerRole", "ASYNC_MASTER".to_owned()),
            ("storePathRootDir", store.dir.display().to_string()),
            ("flushDiskType", flush.to_owned()),
            ("mappedFileSizeCommitLog", store.segment_size.to_string()),
            ("flushIntervalCommitLog", store.flush_interval.as_millis().to_string()),
            ("fileReservedTime", (store.retention.reserved.as_secs() / 3600).to_string()),
            ("deleteWhen", hours.join(";")),
            ("diskMaxUsedSpaceRatio", percent(store.retention.clean_ratio)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

/// Reads `key=value` lines; blank lines and those that start with `#` or `!` say nothing.
fn pairs(text: &str) -> Result<Vec<(&str, &str)>, SettingsRefused> {
    let lines = (1..).zip(text.lines().map(str::trim));
    let said = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(['#', '!']));
    said.map(|(line, text)| {
        let (key, value) = text.split_once('=').ok_or(SettingsRefused::NoPair { line })?;
        Ok((key.trim(), value.trim()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_line_by_line() {
        let read = pairs("# note\n\n a = 1 \nb=x=y\n!c=2\n");
        assert_eq!(read, Ok(vec![("a", "1"), ("b", "x=y")]));
        assert_eq!(pairs("a=1\nb"), Err(SettingsRefused::NoPair { line: 2 }));
    }
}
