// SPDX-License-Identifier: Apache-2.0
//! The ledger against tables and a plain model.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::names::TopicName;

use super::*;

const LIMITS: Limits =
    Limits { timeout: Duration::from_secs(6), interval: Duration::from_secs(30), checks_max: 7 };

fn half(id: u64, group: &str) -> Half {
    Half {
        id: LogOffset(id),
        queue_offset: QueueOffset(id / 10),
        log: LogOffset(id),
        stored_at: Timestamp(1_000),
        parked: false,
        immunity: None,
        group: Group::stored(group),
        topic: TopicName::stored("t"),
    }
}

fn seconds(ledger: &Ledger) -> Option<i64> {
    ledger.next_due().map(|at| (at.0 - 1_000) / 1_000)
}

#[test]
fn asks_at_the_timeout_then_steadily_then_ever_more_slowly_then_parks() {
    let mut ledger = Ledger::default();
    ledger.open(half(10, "g"), None, &LIMITS);
    let mut times = Vec::new();
    loop {
        let now = ledger.next_due().unwrap();
        times.push((now.0 - 1_000) / 1_000);
        assert_eq!(ledger.due(Timestamp(now.0 - 1), &LIMITS, 9), [], "nobody is asked early");
        match ledger.due(now, &LIMITS, 9).remove(0) {
            Due::Ask(half) => drop(ledger.asked(half.id, now, &LIMITS)),
            Due::Park(half) => break ledger.park(half.id),
        }
        ledger.check();
    }
    assert_eq!(times, [6, 36, 66, 96, 126, 156, 216, 336]);
    assert_eq!((ledger.count(), ledger.next_due()), ((1, 1), None));
    // It can still be decided, or be asked about anew.
    assert!(matches!(ledger.judge(LogOffset(10), QueueOffset(1), None), Judged::Open(half) if half.parked));
    ledger.resume(LogOffset(10), Timestamp(9_000));
    assert_eq!((ledger.count(), seconds(&ledger)), ((1, 0), Some(8)));
    ledger.check();
}

#[test]
fn immunity_replaces_the_timeout_and_no_question_is_counted_before_it_went_out() {
    let mut ledger = Ledger::default();
    ledger.open(Half { immunity: Some(Duration::from_secs(3600)), ..half(10, "g") }, None, &LIMITS);
    ledger.open(Half { immunity: Some(Duration::from_secs(u64::MAX)), ..half(20, "g") }, None, &LIMITS);
    assert_eq!(seconds(&ledger), Some(3600));
    let now = Timestamp(1_000 + 3_600_000);
    ledger.strand(LogOffset(10));
    assert_eq!(ledger.stranded(), [Group::stored("g")]);
    assert_eq!((seconds(&ledger), ledger.get(LogOffset(10)).unwrap().checks), (Some(30 * 24 * 3600), 0));
    ledger.reachable(&Group::stored("g"), now);
    assert_eq!((seconds(&ledger), ledger.stranded()), (Some(3600), vec![]));
    ledger.check();
}

#[test]
fn the_first_decision_stays() {
    let mut ledger = Ledger::default();
    ledger.open(half(10, "g"), None, &LIMITS);
    let judge = |ledger: &Ledger, id, offset, group: Option<&str>| {
        ledger.judge(LogOffset(id), QueueOffset(offset), group.map(Group::stored).as_ref())
    };
    assert_eq!(judge(&ledger, 10, 1, Some("other")), Judged::OtherGroup);
    assert_eq!(judge(&ledger, 10, 2, Some("g")), Judged::OtherOffset);
    assert_eq!(judge(&ledger, 11, 1, Some("g")), Judged::Unknown);
    assert_eq!(judge(&ledger, 10, 1, Some("g")), Judged::Open(Arc::new(half(10, "g"))));
    assert_eq!(judge(&ledger, 10, 1, None), Judged::Open(Arc::new(half(10, "g"))));
    ledger.decide(LogOffset(10), Decision::Rollback);
    assert_eq!(judge(&ledger, 10, 1, Some("g")), Judged::Decided(Decision::Rollback));
    assert_eq!((ledger.count(), ledger.next_due()), ((0, 0), None));
    ledger.check();
}

#[test]
fn only_so_many_decisions_are_remembered() {
    let mut ledger = Ledger::default();
    for id in 0..DECIDED_MAX as u64 + 2 {
        ledger.open(half(id, "g"), None, &LIMITS);
        ledger.decide(LogOffset(id), Decision::Commit);
    }
    assert_eq!(ledger.judge(LogOffset(1), QueueOffset(0), None), Judged::Unknown);
    assert_eq!(ledger.judge(LogOffset(2), QueueOffset(0), None), Judged::Decided(Decision::Commit));
    ledger.check();
}

/// What the model remembers of one transaction.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    checks: u32,
    parked: bool,
    decided: Option<Decision>,
    asked_at: Option<Timestamp>,
}

proptest! {
    #[test]
    fn agrees_with_a_plain_model(actions in proptest::collection::vec((0..7u8, 1..6u64, 0..40u64), 1..120)) {
        let limits = Limits { checks_max: 3, ..LIMITS };
        let mut ledger = Ledger::default();
        let mut model: BTreeMap<u64, Told> = BTreeMap::new();
        let mut now = Timestamp(1_000);
        for (action, id, seconds) in actions {
            let group = if id % 2 == 0 { "even" } else { "odd" };
            let known = model.get(&id).cloned();
            let is_open = known.as_ref().is_some_and(|told| told.decided.is_none());
            match action {
                0 if known.is_none() => {
                    let half = Half { stored_at: now, ..half(id, group) };
                    ledger.open(half, None, &limits);
                    model.insert(id, Told::default());
                }
                1 if is_open => {
                    let decision = if seconds % 2 == 0 { Decision::Commit } else { Decision::Rollback };
                    ledger.decide(LogOffset(id), decision);
                    model.get_mut(&id).unwrap().decided = Some(decision);
                }
                2 => now = now + Duration::from_secs(seconds),
                3 => {
                    for due in ledger.due(now, &limits, 2) {
                        match due {
                            Due::Ask(half) => {
                                let told = model.get_mut(&half.id.0).unwrap();
                                prop_assert!(told.decided.is_none() && !told.parked && told.checks < 3);
                                prop_assert!(told.asked_at.is_none_or(|at| now.since(at) >= limits.interval));
                                told.checks += 1;
                                told.asked_at = Some(now);
                                prop_assert_eq!(ledger.asked(half.id, now, &limits), Some(told.checks));
                            }
                            Due::Park(half) => {
                                let told = model.get_mut(&half.id.0).unwrap();
                                prop_assert!(told.decided.is_none() && told.checks >= 3);
                                told.parked = true;
                                ledger.park(half.id);
                            }
                        }
                    }
                }
                4 => ledger.due(now, &limits, 1).iter().for_each(|due| match due {
                    Due::Ask(half) => ledger.strand(half.id),
                    Due::Park(_) => {}
                }),
                5 => ledger.reachable(&Group::stored(group), now),
                6 if is_open => {
                    ledger.resume(LogOffset(id), now);
                    *model.get_mut(&id).unwrap() = Told::default();
                }
                _ => {}
            }
            ledger.check();
            for (id, told) in &model {
                let shown = ledger.get(LogOffset(*id));
                prop_assert_eq!(shown.is_some(), told.decided.is_none());
                if let Some(shown) = shown {
                    prop_assert_eq!((shown.checks, shown.half.parked), (told.checks, told.parked));
                }
                if let Some(decision) = told.decided {
                    let judged = ledger.judge(LogOffset(*id), QueueOffset(*id / 10), None);
                    prop_assert_eq!(judged, Judged::Decided(decision));
                }
            }
        }
    }
}
