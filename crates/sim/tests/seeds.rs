// SPDX-License-Identifier: Apache-2.0
//! The short form of the simulation: some seeds hold, together they reach everything that they are to reach, and a
//! seed tells the same story each time. The long form is `cargo run --release -p sim -- --seeds N`.

use std::collections::BTreeSet;

use sim::{Failure, Options, Outcome, run};

/// What a run of some seeds has to meet, or it proves nothing.
const REACHED: [&str; 36] = [
    "%DLQ read",
    "%RET read",
    "damage set aside",
    "fault DiskFull",
    "fault FailedSync",
    "fault FailedWrite",
    "fault Kill",
    "fault KillInside",
    "fault PowerCut",
    "fault PowerCutInside",
    "fault SlowFlush",
    "half stored",
    "light after a crash",
    "pull Elsewhere",
    "pull Filtered",
    "pull Found",
    "pull Nothing",
    "pull Reset",
    "recall Cancelled",
    "recall Moved",
    "recall TooLate",
    "refused busy",
    "refused full",
    "refused poisoned",
    "restart after Kill",
    "restart after PowerCut",
    "retry by policy",
    "segment removed",
    "settled Done",
    "settled Flus",
    "settled Pois",
    "sql Filtered",
    "sql Found",
    "transaction again",
    "transaction contrary",
    "transaction decided",
];

fn hold(seed: u64, options: Options) -> Outcome {
    run(seed, options).unwrap_or_else(|Failure { what, tail }| {
        panic!("{}\nseed {seed}: {what}\ncargo run -p sim -- --seed {seed} --trace", tail.join("\n"))
    })
}

#[test]
fn seeds_hold_and_reach_everything() {
    let mut reached = BTreeSet::new();
    for seed in 0..32 {
        reached.extend(hold(seed, Options::default()).reached);
    }
    let missing: Vec<&str> = REACHED.into_iter().filter(|what| !reached.contains(*what)).collect();
    assert!(missing.is_empty(), "no seed reached {missing:?}, only {reached:?}");
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    let hashes: Vec<u64> = (100..106).map(|seed| hold(seed, Options::default()).hash).collect();
    let again: Vec<u64> = (100..106).map(|seed| hold(seed, Options::default()).hash).collect();
    assert_eq!(hashes, again);
    assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), hashes.len(), "two seeds tell one story");
}
