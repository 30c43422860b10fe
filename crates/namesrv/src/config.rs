// SPDX-License-Identifier: Apache-2.0
//! What an operator can set of a name server, with Apache's names beside ours, and the changes made while it runs.
//! Built by the command line, taken by value; handlers ask for the live values.
//! Invariant: a change is whole or refused, and is on disk before it counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stdx::config;

use crate::file;
use crate::table::Rules;

config! {
    /// The name server's settings.
    pub struct NameServerConfig {
        /// Where settings, key-value pairs and the roster of brokers are kept.
        dir: PathBuf = "kiruna-data/namesrv".into(), "", restart;
        /// The file of the key-value pairs; `kvConfig.json` in `dir` unless set.
        kv_path: Option<PathBuf> = None, "kvConfigPath", restart;
        /// The file of settings changed while running; `namesrv.properties` in `dir` unless set.
        changes_path: Option<PathBuf> = None, "configStorePath", restart;
        /// Keys, joined by semicolons, that cannot be changed while running.
        locked_keys: String = "configBlackList;configStorePath;kvConfigPath".into(), "configBlackList", restart;
        /// Routes carry the configured order of the queues of ordered topics.
        order_in_routes: bool = false, "orderMessageEnable", live;
        /// Brokers learn the orders of ordered topics when they register.
        order_to_brokers: bool = true, "returnOrderTopicConfigToBroker", live;
        /// Anybody may list all topics.
        list_all_topics: bool = true, "enableAllTopicList", live;
        /// Anybody may list the topics of a cluster or of a kind.
        list_topics: bool = true, "enableTopicList", live;
        /// After a start, an unknown topic is not called gone before the brokers are back.
        start_grace: bool = true, "needWaitForService", restart;
        /// For how many seconds at most.
        start_grace_seconds: u64 = 45, "waitSecondsForService", restart;
        /// Shows the lowest replica as master, for reading, where there is no master.
        acting_master: bool = false, "supportActingMaster", live;
        /// Forgets topics that a broker no longer lists when it registers.
        drop_unlisted_topics: bool = false, "deleteTopicWithBrokerRegistration", live;
    }
}

impl NameServerConfig {
    /// The rules of the route table.
    pub(crate) fn rules(&self) -> Rules {
        Rules { acting_master: self.acting_master, drop_unlisted: self.drop_unlisted_topics }
    }

    pub(crate) fn kv_file(&self) -> PathBuf {
        self.kv_path.clone().unwrap_or_else(|| self.dir.join("kvConfig.json"))
    }

    pub(crate) fn roster_file(&self) -> PathBuf {
        self.dir.join("brokers.json")
    }

    fn changes_file(&self) -> PathBuf {
        self.changes_path.clone().unwrap_or_else(|| self.dir.join("namesrv.properties"))
    }
}

/// The settings in force.
pub(crate) struct Configured {
    pub(crate) now: NameServerConfig,
    /// What was changed while running, under Apache's names.
    changes: BTreeMap<String, String>,
}

/// Why settings were not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigRefused {
    #[error("Can not update config in black list: {0}")]
    Locked(String),
    #[error("line {0} is not key=value")]
    NoPair(usize),
    #[error("there is no setting {0}")]
    Unknown(String),
    #[error("{0} takes effect only at the next start; set it in the configuration")]
    NotLive(String),
    #[error("{key}: {reason}")]
    Value { key: String, reason: String },
    #[error("the settings cannot be written: {0}")]
    Disk(#[from] std::io::Error),
}

impl Configured {
    /// Takes the given settings and, on top, what was changed while an earlier run served.
    pub(crate) fn open(given: NameServerConfig) -> Result<Configured, file::ReadError> {
        let mut configured = Configured { now: given, changes: BTreeMap::new() };
        let stored = file::read(&configured.now.changes_file(), pairs)?.unwrap_or_default();
        for (key, value) in stored {
            match configured.now.set(&key, &value) {
                Some(Ok(())) => drop(configured.changes.insert(key, value)),
                _ => tracing::warn!(key, value, "stored setting is not known and has no effect"),
            }
        }
        Ok(configured)
    }

    /// Makes the changes of a properties text.
    pub(crate) fn update(&mut self, text: &[u8]) -> Result<(), ConfigRefused> {
        let mut next = self.now.clone();
        let mut changes = self.changes.clone();
        for (key, value) in pairs(text)? {
            if next.locked_keys.split(';').any(|locked| locked.trim() == key) {
                return Err(ConfigRefused::Locked(key));
            }
            let known = NameServerConfig::KEYS.iter().find(|known| known.name == key || known.alias == key);
            let Some(known) = known else { return Err(ConfigRefused::Unknown(key)) };
            if !known.live {
                return Err(ConfigRefused::NotLive(key));
            }
            if let Some(Err(reason)) = next.set(&key, &value) {
                return Err(ConfigRefused::Value { key, reason });
            }
            tracing::info!(key, value, "setting changed");
            changes.insert(known.alias.to_owned(), value);
        }
        write(&next.changes_file(), &changes)?;
        self.now = next;
        self.changes = changes;
        Ok(())
    }

    /// Prints all settings under Apache's names, or ours where it has none.
    pub(crate) fn print(&self) -> String {
        let line = |key: &config::Key| {
            let name = if key.alias.is_empty() { key.name } else { key.alias };
            format!("{name}={}\n", self.now.get(key.name).unwrap_or_default())
        };
        NameServerConfig::KEYS.iter().map(line).collect()
    }
}

fn write(path: &Path, changes: &BTreeMap<String, String>) -> std::io::Result<()> {
    let text: String = changes.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    file::replace(path, text.as_bytes())
}

/// Reads `key=value` lines; blank lines and those that start with `#` or `!` say nothing.
fn pairs(text: &[u8]) -> Result<Vec<(String, String)>, ConfigRefused> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().map(str::trim).enumerate();
    let said = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(['#', '!']));
    said.map(|(at, line)| {
        let (key, value) = line.split_once('=').ok_or(ConfigRefused::NoPair(at + 1))?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn open(dir: &Path) -> Configured {
        Configured::open(NameServerConfig { dir: dir.to_owned(), ..NameServerConfig::default() }).unwrap()
    }

    #[test]
    fn changes_last_and_bad_ones_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut configured = open(dir.path());
        configured.update(b"# by hand\n\norderMessageEnable = true\nenableTopicList=false\n").unwrap();
        assert!(open(dir.path()).now.order_in_routes && !open(dir.path()).now.list_topics);
        let check = |configured: &mut Configured, text: &str, expected: Expect| {
            let refused = configured.update(text.as_bytes()).unwrap_err();
            expected.assert_eq(&refused.to_string());
            assert!(configured.now.order_in_routes, "a refused change has no effect");
        };
        let configured = &mut configured;
        check(configured, "orderMessageEnable=false\nnope", expect!["line 2 is not key=value"]);
        check(configured, "orderMessageEnable=false\nnope=1", expect!["there is no setting nope"]);
        check(
            configured,
            "orderMessageEnable=maybe",
            expect!["orderMessageEnable: 'maybe' is not true or false"],
        );
        check(configured, "kvConfigPath=/x", expect!["Can not update config in black list: kvConfigPath"]);
        check(
            configured,
            "waitSecondsForService=1",
            expect!["waitSecondsForService takes effect only at the next start; set it in the configuration"],
        );
    }

    #[test]
    fn prints_under_the_names_that_tools_know() {
        let dir = tempfile::tempdir().unwrap();
        let printed = open(dir.path()).print();
        assert!(
            printed.contains("orderMessageEnable=false\n") && printed.contains("supportActingMaster=false\n")
        );
        assert_eq!(printed.lines().count(), NameServerConfig::KEYS.len());
    }
}
