// SPDX-License-Identifier: Apache-2.0
//! Settings that clients and operators keep at the name server: namespace, key, value. Called by the handlers.
//! Invariant: memory never says what the disk does not; a change that cannot be written is refused and undone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::file;

/// The namespace of the orders of queues of ordered topics.
pub(crate) const ORDER_TOPICS: &str = "ORDER_TOPIC_CONFIG";
/// A namespace is answered in one frame, and so is kept well below the largest one.
const SIZE_MAX: usize = 8 << 20;

/// The key-value table and its file.
pub(crate) struct Settings {
    path: PathBuf,
    content: Content,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Content {
    #[serde(rename = "configTable", default)]
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeRefused {
    #[error("namespace and key must not be empty")]
    Unnamed,
    #[error("the settings would take {size} bytes, at most {SIZE_MAX} are kept")]
    TooLarge { size: usize },
    #[error("the settings cannot be written: {0}")]
    Disk(#[from] std::io::Error),
}

impl Settings {
    /// Reads the table, from Apache's file as well as from ours.
    pub(crate) fn open(path: PathBuf) -> Result<Settings, file::ReadError> {
        let content =
            file::read(&path, |bytes| protocol::json::from_slice::<Content>(bytes))?.unwrap_or_default();
        Ok(Settings { path, content })
    }

    pub(crate) fn get(&self, namespace: &str, key: &str) -> Option<&str> {
        self.content.namespaces.get(namespace)?.get(key).map(String::as_str)
    }

    pub(crate) fn namespace(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        self.content.namespaces.get(namespace)
    }

    pub(crate) fn put(&mut self, namespace: &str, key: &str, value: &str) -> Result<(), ChangeRefused> {
        if namespace.is_empty() || key.is_empty() {
            return Err(ChangeRefused::Unnamed);
        }
        let mut next = self.content.clone();
        next.namespaces.entry(namespace.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        self.store(next)
    }

    /// Forgets a key; one that is not there is no error.
    pub(crate) fn delete(&mut self, namespace: &str, key: &str) -> Result<(), ChangeRefused> {
        if self.get(namespace, key).is_none() {
            return Ok(());
        }
        let mut next = self.content.clone();
        next.namespaces.entry(namespace.to_owned()).or_default().remove(key);
        self.store(next)
    }

    fn store(&mut self, next: Content) -> Result<(), ChangeRefused> {
        let bytes = serde_json::to_vec(&next).map_err(std::io::Error::from)?;
        if bytes.len() > SIZE_MAX {
            return Err(ChangeRefused::TooLarge { size: bytes.len() });
        }
        file::replace(&self.path, &bytes)?;
        self.content = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_a_restart_and_undoes_what_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kvConfig.json");
        let mut settings = Settings::open(path.clone()).unwrap();
        settings.put("ns", "a", "1").unwrap();
        settings.put("ns", "b", "2").unwrap();
        settings.delete("ns", "a").unwrap();
        settings.delete("ns", "a").unwrap();
        assert!(matches!(settings.put("", "k", "v"), Err(ChangeRefused::Unnamed)));
        let big = "x".repeat(SIZE_MAX);
        assert!(matches!(settings.put("ns", "big", &big), Err(ChangeRefused::TooLarge { .. })));

        let mut settings = Settings::open(path.clone()).unwrap();
        assert_eq!(settings.namespace("ns").unwrap().len(), 1);
        assert_eq!(settings.get("ns", "b"), Some("2"));

        std::fs::create_dir(dir.path().join("kvConfig.json.tmp")).unwrap();
        assert!(matches!(settings.put("ns", "c", "3"), Err(ChangeRefused::Disk(_))));
        assert_eq!(settings.get("ns", "c"), None);
    }

    #[test]
    fn reads_the_file_of_apache() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kvConfig.json");
        std::fs::write(&path, "{\n\t\"configTable\":{\"ORDER_TOPIC_CONFIG\":{\"t\":\"broker-a:4\"}}\n}")
            .unwrap();
        let settings = Settings::open(path).unwrap();
        assert_eq!(settings.get(ORDER_TOPICS, "t"), Some("broker-a:4"));
    }
}
