// SPDX-License-Identifier: Apache-2.0
//! The file a broadcast consumer keeps its progress in. Every member reads everything, so the broker cannot keep it.
//! In: offsets by queue. Out: a small JSON file, replaced whole; a file that is missing or broken counts as none.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use protocol::names::{BrokerName, QueueOffset, TopicName};
use serde::{Deserialize, Serialize};

use crate::queue::Queue;

#[derive(Serialize, Deserialize)]
struct Line {
    topic: String,
    broker: String,
    queue: u32,
    offset: u64,
}

/// Progress that survives a restart of this machine's consumer.
#[derive(Debug)]
pub(crate) struct ProgressFile {
    path: PathBuf,
}

impl ProgressFile {
    pub(crate) fn new(path: PathBuf) -> ProgressFile {
        ProgressFile { path }
    }

    /// Reads what was kept.
    pub(crate) fn load(&self) -> BTreeMap<Queue, QueueOffset> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return BTreeMap::new(),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot read local progress");
                return BTreeMap::new();
            }
        };
        match serde_json::from_slice::<Vec<Line>>(&text) {
            Ok(lines) => lines.into_iter().map(Line::into_pair).collect(),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "local progress is broken, starting afresh");
                BTreeMap::new()
            }
        }
    }

    /// Replaces what was kept. A crash leaves the old file or the new one.
    pub(crate) fn save(&self, offsets: &BTreeMap<Queue, QueueOffset>) -> std::io::Result<()> {
        let lines: Vec<Line> = offsets.iter().map(|(queue, offset)| Line::new(queue, *offset)).collect();
        let parent = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent)?;
        let fresh = self.path.with_extension("new");
        let mut file = std::fs::File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(&lines)?)?;
        file.sync_data()?;
        std::fs::rename(&fresh, &self.path)
    }
}

impl Line {
    fn new(queue: &Queue, offset: QueueOffset) -> Line {
        Line {
            topic: queue.topic.to_string(),
            broker: queue.broker.to_string(),
            queue: queue.id.0,
            offset: offset.0,
        }
    }

    fn into_pair(self) -> (Queue, QueueOffset) {
        let queue = Queue::new(TopicName::stored(self.topic), BrokerName::stored(self.broker), self.queue);
        (queue, QueueOffset(self.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_a_broken_file_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = ProgressFile::new(dir.path().join("group/offsets.json"));
        assert!(file.load().is_empty());
        let queue = Queue::new(TopicName::stored("t"), BrokerName::stored("b"), 3);
        let offsets = BTreeMap::from([(queue, QueueOffset(7))]);
        file.save(&offsets).unwrap();
        assert_eq!(file.load(), offsets);
        std::fs::write(dir.path().join("group/offsets.json"), b"{").unwrap();
        assert!(file.load().is_empty());
    }
}
