// SPDX-License-Identifier: Apache-2.0
//! The short form of the simulation: some seeds hold, together they reach everything that they are to reach, and a
//! seed tells the same story each time. The long form is `cargo run --release -p sim -- --seeds N`.

use std::collections::BTreeSet;

use sim::{Failure, Options, Outcome, run};

/// How many seeds the short form has.
const SEEDS: u64 = 32;
/// A segment of a compaction topic went, and latest messages in it stayed.
const OUTLIVED: &str = "latest message outlived its segment";

/// What a run of some seeds has to meet, or it proves nothing.
const REACHED: [&str; 37] = [
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
    OUTLIVED,
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
    let mut outlived = 0;
    for seed in 0..SEEDS {
        let outcome = hold(seed, Options::default());
        outlived += u64::from(outcome.reached.contains(OUTLIVED));
        reached.extend(outcome.reached);
    }
    let missing: Vec<&str> = REACHED.into_iter().filter(|what| !reached.contains(*what)).collect();
    assert!(missing.is_empty(), "no seed reached {missing:?}, only {reached:?}");
    assert!(outlived > SEEDS / 2, "only {outlived} of {SEEDS} seeds removed a segment with a latest message");
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    let hashes: Vec<u64> = (100..106).map(|seed| hold(seed, Options::default()).hash).collect();
    let again: Vec<u64> = (100..106).map(|seed| hold(seed, Options::default()).hash).collect();
    assert_eq!(hashes, again);
    assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), hashes.len(), "two seeds tell one story");
}
