// SPDX-License-Identifier: Apache-2.0
//! What a seed decides before anything happens: the promise, the sizes, what clients do how often, and which faults
//! there are. Each seed leaves some kinds of work and some faults out, so that others come in thicker.

use std::time::Duration;

use broker::BrokerConfig;
use stdx::Rng;
use store::{ArenaShape, Durability, StoreConfig};

/// Where the store lives on the simulated disk.
pub(crate) const DIR: &str = "/data";
/// The times of the delay levels of every simulation.
pub(crate) const LEVELS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];
/// How long a queue lock holds.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// How long a sender waits for the flush.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// How old a segment has to be to go although there is room.
pub(crate) const RESERVED: Duration = Duration::from_secs(3600);
/// What is older and not the latest of its key is hidden in a compaction topic.
pub(crate) const COMPACT_AFTER: Duration = Duration::from_secs(3);
/// How often a message may be given back before it is dead.
pub(crate) const RETRIES: i32 = 2;

/// Kinds of work, with how often each is chosen.
pub(crate) type Weights = Vec<(Work, u64)>;

/// What a client may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Send,
    Batch,
    SendDelayed,
    Half,
    End,
    SendTimed,
    Recall,
    Keep,
    Pull,
    Commit,
    GiveBack,
    Lock,
    Reset,
    Topic,
    Group,
    Policy,
    Leave,
}

/// What may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process ends between two steps.
    Kill,
    /// The process ends inside a step, at any change of the disk.
    KillInside,
    /// The machine loses power between two steps.
    PowerCut,
    /// The machine loses power inside a step.
    PowerCutInside,
    /// There is no more room, for a while.
    DiskFull,
    /// A sync fails: the store poisons itself and the process ends.
    FailedSync,
    /// A write fails, with the same end.
    FailedWrite,
    /// Nothing is flushed for a while.
    SlowFlush,
}

/// What a seed decides.
pub(crate) struct Plan {
    pub(crate) durability: Durability,
    pub(crate) weights: Weights,
    pub(crate) faults: Vec<Fault>,
    /// A fault every so many turns.
    pub(crate) fault_every: u64,
    /// How late a loop or a task may be.
    pub(crate) late: Duration,
    /// Reads of what is not in memory go through the store's readers.
    pub(crate) cold: bool,
    /// Transactions are parked soon, for nobody is asked.
    parks: bool,
    stage_size: usize,
    segment_size: u64,
    stages_max: usize,
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Plan {
        let weights = [
            (Work::Send, 30),
            (Work::Batch, 4),
            (Work::SendDelayed, 8),
            (Work::Half, 10),
            (Work::End, 12),
            (Work::SendTimed, 8),
            (Work::Recall, 4),
            (Work::Keep, 8),
            (Work::Pull, 30),
            (Work::Commit, 8),
            (Work::GiveBack, 8),
            (Work::Lock, 6),
            (Work::Reset, 2),
            (Work::Topic, 3),
            (Work::Group, 1),
            (Work::Policy, 3),
            (Work::Leave, 2),
        ];
        let is_kept = |work: Work, rng: &mut Rng| matches!(work, Work::Send | Work::Pull) || !rng.chance(4);
        let weights = weights.into_iter().filter(|(work, _)| is_kept(*work, rng)).collect();
        let faults = [
            Fault::Kill,
            Fault::KillInside,
            Fault::PowerCut,
            Fault::PowerCutInside,
            Fault::DiskFull,
            Fault::FailedSync,
            Fault::FailedWrite,
            Fault::SlowFlush,
        ];
        let faults = faults.into_iter().filter(|_| rng.chance(2)).collect();
        Plan {
            durability: if rng.chance(2) { Durability::Memory } else { Durability::Disk },
            weights,
            faults,
            fault_every: 60 + rng.below(240),
            late: Duration::from_millis(5 + rng.below(100)),
            cold: rng.chance(2),
            parks: rng.chance(2),
            stage_size: 4096 << rng.below(2),
            segment_size: 12_288 << rng.below(3),
            stages_max: 2 + rng.below(3) as usize,
        }
    }

    /// What clients do while old segments go: nothing that has to be done before a segment may go.
    pub(crate) fn grow_old(&mut self) {
        self.weights =
            vec![(Work::Keep, 20), (Work::Send, 10), (Work::Batch, 4), (Work::Pull, 4), (Work::Commit, 2)];
    }

    pub(crate) fn store(&self) -> StoreConfig {
        let mut config = StoreConfig::new(DIR);
        config.stage_dir = Some("/memory".into());
        config.max_message = 1024;
        config.stage_size = self.stage_size;
        config.segment_size = self.segment_size;
        (config.direct_min, config.page_cache) = (4096, 8192);
        config.stages_max = self.stages_max;
        config.durability = self.durability;
        config.arena = ArenaShape { top_class: 8, first_blocks: 1, max_blocks: 4 };
        config.checkpoint_bytes = 8 << 10;
        config.checkpoint_interval = Duration::from_secs(2);
        config.compact_after = COMPACT_AFTER;
        (config.retention.reserved, config.retention.delete_when) = (RESERVED, Vec::new());
        config
    }

    pub(crate) fn broker(&self) -> BrokerConfig {
        let mut config = BrokerConfig::default();
        config.creation.topic_queues = 2;
        config.sending.settle_timeout = PATIENCE;
        config.sending.delay_levels = "1s 3s 10s".parse().expect("a table of levels");
        config.transactional.transaction_timeout = Duration::from_secs(2);
        if self.parks {
            config.transactional.transaction_checks_max = 0;
        }
        config.consumers.lock_lease = LEASE;
        config
    }
}
