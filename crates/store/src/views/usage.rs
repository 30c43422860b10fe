// SPDX-License-Identifier: Apache-2.0
//! What the views take, by their own accounting: for `kiruna store inspect`, metrics, and the tests that keep a
//! million queues affordable.

use std::fmt;

use protocol::names::{LogOffset, QueueKey};
use stdx::ByteSize;

use super::Views;
use crate::arena::ArenaUsage;
use crate::facts::FactKind;
use crate::queue::{Queue, QueueRef};

/// A snapshot of what the views take.
#[derive(Clone, Debug, Default)]
pub struct ViewsUsage {
    /// Records below this are in the views.
    pub applied: LogOffset,
    /// The lasting checkpoint holds records below this.
    pub saved: LogOffset,
    /// Bytes of the checkpoint file, and how many of them are its full checkpoint.
    pub checkpoint_bytes: (u64, u64),
    /// Topics that have queues.
    pub topics: usize,
    /// Queues.
    pub queues: usize,
    /// Those of them that are light.
    pub light_queues: usize,
    /// Entries in all queues.
    pub entries: u64,
    /// Bytes of memory for queues and their table.
    pub queue_memory: usize,
    /// Files of queue entries.
    pub arena: ArenaUsage,
    /// Sealed runs of the key index.
    pub key_runs: usize,
    /// Entries in them, and their bytes on disk.
    pub key_entries: (u64, u64),
    /// Key entries in memory.
    pub keys_in_memory: usize,
    /// Bytes of memory for the key index.
    pub key_memory: usize,
    /// Facts and their bytes, by kind.
    pub facts: Vec<(FactKind, usize, usize)>,
    /// Messages that wait for their time.
    pub timers: usize,
    /// Facts records that could not be read.
    pub unreadable_facts: u64,
}

impl ViewsUsage {
    /// Open files: one for each arena file and the checkpoint.
    pub fn descriptors(&self) -> usize {
        self.arena.files + 1
    }

    /// Mappings: one for each arena file.
    pub fn mappings(&self) -> usize {
        self.arena.files
    }
}

impl Views {
    /// Says what the views take. Visits every queue: not for a hot path.
    pub(crate) fn usage(&self) -> ViewsUsage {
        let mut usage = ViewsUsage::default();
        self.queues.each_topic(|topic| {
            usage.topics += 1;
            usage.light_queues += usize::from(topic.name().is_light());
            usage.queue_memory += topic.memory();
            for queue in topic.queues() {
                usage.queues += 1;
                usage.entries += queue.dispatched().0.saturating_sub(queue.dense_first().0);
                usage.queue_memory += memory_of(&queue);
            }
        });
        usage.arena = self.arena.usage();
        usage.timers = self.timers.count().0;
        let runs = self.keys.runs();
        usage.key_runs = runs.len();
        usage.key_entries = runs
            .iter()
            .fold((0, 0), |(count, bytes), run| (count + u64::from(run.count()), bytes + run.bytes()));
        usage.keys_in_memory = self.keys.in_memory();
        let in_memory = usage.keys_in_memory * size_of::<crate::keys::KeyEntry>();
        usage.key_memory = in_memory + runs.iter().map(|run| run.memory()).sum::<usize>();
        usage.facts = self.facts.usage();
        let saver = self.saver.lock();
        usage.saved = saver.saved;
        usage.checkpoint_bytes = saver.file_bytes();
        drop(saver);
        let applied = self.applied.lock();
        usage.applied = applied.upto;
        usage.unreadable_facts = applied.unreadable;
        usage
    }

    /// Every queue with its first offset and its end, sorted.
    pub(crate) fn list_queues(&self) -> Vec<QueueRef> {
        let mut all = Vec::new();
        self.queues.each_topic(|topic| all.extend(topic.queues()));
        let key = |queue: &QueueRef| -> QueueKey { queue.key().clone() };
        all.retain(|queue: &QueueRef| !queue.is_detached());
        all.sort_unstable_by(|left, right| {
            let (left, right) = (key(left), key(right));
            (&*left.topic, left.queue).cmp(&(&*right.topic, right.queue))
        });
        all
    }
}

/// The queue itself, its reference counts, its place in the topic's list, and its extents.
fn memory_of(queue: &QueueRef) -> usize {
    size_of::<Queue>() + 2 * size_of::<usize>() + size_of::<QueueRef>() + queue.0.heap_bytes()
}

impl fmt::Display for ViewsUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |bytes: u64| ByteSize(bytes);
        writeln!(f, "applied to {}, saved to {}", self.applied, self.saved)?;
        let (all, full) = self.checkpoint_bytes;
        writeln!(f, "checkpoint {}, of which {} are the full one", bytes(all), bytes(full))?;
        let memory = bytes(self.queue_memory as u64);
        writeln!(
            f,
            "{} topics, {} queues, {} of them light, {} entries, {memory} in memory",
            self.topics, self.queues, self.light_queues, self.entries
        )?;
        let arena = &self.arena;
        writeln!(
            f,
            "queue arena: {} files, {}, {} free, {} waiting for a checkpoint",
            arena.files,
            bytes(arena.bytes),
            bytes(arena.free_bytes),
            bytes(arena.withheld_bytes)
        )?;
        let (count, on_disk) = self.key_entries;
        writeln!(f, "key index: {} runs with {count} entries, {}", self.key_runs, bytes(on_disk))?;
        let memory = bytes(self.key_memory as u64);
        writeln!(f, "key index: {} entries not in runs, {memory} in memory", self.keys_in_memory)?;
        writeln!(f, "{} messages wait for their time", self.timers)?;
        for (kind, count, size) in &self.facts {
            writeln!(f, "facts of kind {}: {count}, {}", kind.0, bytes(*size as u64))?;
        }
        write!(f, "facts records that could not be read: {}", self.unreadable_facts)
    }
}
