// SPDX-License-Identifier: Apache-2.0
//! What the store is told when it is opened. Plain values; the cli reads them from files and flags.

use std::path::PathBuf;
use std::time::Duration;

use protocol::{caps, record};

use crate::arena::ArenaShape;

/// What an acknowledgement promises, and with it what a consumer may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Survives the death of the process. A power cut may take what was written since the last flush.
    #[default]
    Memory,
    /// Survives a power cut.
    Disk,
}

/// How the store is set up.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The data directory; made when absent.
    pub dir: PathBuf,
    /// Where stages live. `None` picks memory-backed `/dev/shm`, or the data directory where there is none.
    pub stage_dir: Option<PathBuf>,
    /// Bytes of one log file.
    pub segment_size: u64,
    /// Bytes of one stage: the largest piece that is appended at once.
    pub stage_size: usize,
    /// How many stages there are at most, leases of slow readers not counted.
    pub stages_max: usize,
    /// How much of the latest log the system keeps in memory while somebody reads behind the stages; what is older may
    /// come from the device.
    pub page_cache: u64,
    /// So many bytes, or more, go from a stage to the device without a copy in the system's memory, unless somebody
    /// reads behind the stages.
    pub direct_min: u64,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// How often written data is flushed when nobody waits for it.
    pub flush_interval: Duration,
    /// The largest message, without its fixed fields.
    pub max_message: usize,
    /// How many threads read what is not in memory.
    pub readers: usize,
    /// A checkpoint of the views is due after so many bytes of log …
    pub checkpoint_bytes: u64,
    /// … or after this time, if there was anything new.
    pub checkpoint_interval: Duration,
    /// How the files of consume-queue entries grow; a data directory keeps the shape it was made with.
    pub arena: ArenaShape,
    /// How many queues there may be.
    pub queue_limit: usize,
    /// Where the latest message of each key is kept, the others are not shown any more after this time.
    pub compact_after: Duration,
    /// How many keys may have a latest message that is kept, in all topics together; each takes about 300 bytes of memory.
    pub keys_max: usize,
    /// What is kept and for how long.
    pub retention: RetentionConfig,
}

/// When old segments go, and when a disk is too full to take more.
#[derive(Clone, Debug, PartialEq)]
pub struct RetentionConfig {
    /// Segments whose last write is older than this may go.
    pub reserved: Duration,
    /// Hours of the day (UTC, 0 to 23) in which expired segments go; empty means at once.
    pub delete_when: Vec<u8>,
    /// Above this part of the disk, expired segments go at any hour.
    pub clean_ratio: f64,
    /// Above this part of the disk, segments go before their time.
    pub force_ratio: f64,
    /// Above this part of the disk, appends are refused …
    pub refuse_ratio: f64,
    /// … until it is below this one again.
    pub resume_ratio: f64,
    /// Never makes room by deleting what a consumer has not read.
    pub never_delete_unread: bool,
    /// Time between two deletions.
    pub pace: Duration,
}

impl StoreConfig {
    /// The defaults, for a directory.
    pub fn new(dir: impl Into<PathBuf>) -> StoreConfig {
        StoreConfig {
            dir: dir.into(),
            stage_dir: None,
            segment_size: 1 << 30,
            stage_size: DEFAULT_STAGE,
            stages_max: 16,
            page_cache: 1 << 30,
            direct_min: 64 << 10,
            durability: Durability::Memory,
            flush_interval: Duration::from_millis(500),
            max_message: caps::MAX_MESSAGE,
            readers: 2,
            checkpoint_bytes: 512 << 20,
            checkpoint_interval: Duration::from_secs(10),
            arena: ArenaShape::default(),
            queue_limit: 4_000_000,
            compact_after: Duration::from_secs(15 * 60),
            keys_max: 1_000_000,
            retention: RetentionConfig::default(),
        }
    }

    /// Names everything that cannot work.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, what: String| {
            if !fine {
                problems.push(what);
            }
        };
        let record = self.max_message.saturating_add(RECORD_OVERHEAD);
        check(
            self.stage_size >= record + record::BLANK_MIN,
            format!(
                "stage_size {} is too small for a message of {} bytes: {} are needed",
                self.stage_size,
                self.max_message,
                record + record::BLANK_MIN
            ),
        );
        check(
            self.segment_size >= (record + record::BLANK_MIN) as u64 && self.segment_size <= i32::MAX as u64,
            format!("segment_size {} must hold the largest message and stay below 2 GiB", self.segment_size),
        );
        check(self.stages_max >= 2, format!("stages_max {} is less than 2", self.stages_max));
        check(self.arena.is_possible(), format!("{:?} cannot be", self.arena));
        check(self.readers >= 1, "readers must be at least 1".to_owned());
        let r = &self.retention;
        check(
            0.0 < r.clean_ratio && r.clean_ratio <= r.force_ratio && r.resume_ratio <= r.refuse_ratio,
            "retention ratios must rise: clean ≤ force, resume ≤ refuse".to_owned(),
        );
        check(r.delete_when.iter().all(|hour| *hour < 24), "delete_when hours are 0 to 23".to_owned());
        problems
    }
}

/// What a record needs besides its body when it has few properties: fixed fields, two IPv6 hosts, a long topic.
/// A record with more is refused as too large if it does not fit a stage.
const RECORD_OVERHEAD: usize = 1 << 10;

/// A largest message fits a default stage whatever its properties are.
const DEFAULT_STAGE: usize = (4 << 20) + (256 << 10);

const _: () = assert!(
    caps::MAX_MESSAGE + caps::MAX_PROPERTIES + RECORD_OVERHEAD + record::BLANK_MIN <= DEFAULT_STAGE
        && record::MIN_LEN + 24 + caps::LONG_TOPIC <= RECORD_OVERHEAD,
    "the parts of a record add up to less than a stage"
);

impl Default for RetentionConfig {
    fn default() -> RetentionConfig {
        RetentionConfig {
            reserved: Duration::from_secs(72 * 3600),
            delete_when: vec![4],
            clean_ratio: 0.75,
            force_ratio: 0.85,
            refuse_ratio: 0.95,
            resume_ratio: 0.90,
            never_delete_unread: true,
            pace: Duration::from_millis(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_nonsense_is_named() {
        let mut config = StoreConfig::new("/data");
        assert_eq!(config.problems(), Vec::<String>::new());
        (config.stage_size, config.segment_size, config.stages_max) = (1 << 20, 1 << 20, 1);
        (config.readers, config.retention.delete_when) = (0, vec![24]);
        config.retention.clean_ratio = 0.99;
        assert_eq!(config.problems().len(), 6);
    }
}
