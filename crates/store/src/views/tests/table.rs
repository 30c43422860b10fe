// SPDX-License-Identifier: Apache-2.0
//! One behaviour at a time.

use super::*;
use crate::views::{Arrival, ViewError};

fn story() -> Story {
    Story::new(SimDisk::new(1))
}

#[test]
fn follows_the_log() {
    let mut story = story();
    for n in 0..40 {
        story.send("orders", n % 3, &format!("UNIQ_KEY=id{n};TAGS=t{};KEYS=a b{n} a;", n % 5));
        story.send("other", 0, "");
    }
    story.fact("orders", Some("config"));
    story.check();
    story.check_rebuilt();
    assert_eq!(story.by_key("orders", "nothing", i64::MIN, i64::MAX), [0; 0]);
}

#[test]
fn arrivals_say_what_became_visible() {
    let mut story = story();
    let at = story.append("orders", 2, "TAGS=blue;", b"");
    let mut arrivals: Vec<Arrival> = Vec::new();
    let record = Record::parse(&story.log[&at]).unwrap();
    story.views().apply(&record, LogOffset(at), Some(&mut arrivals)).unwrap();
    assert_eq!(arrivals.len(), 1);
    assert_eq!(arrivals[0].queue.key().queue, QueueId(2));
    assert_eq!((arrivals[0].next, arrivals[0].tag_hash), (QueueOffset(1), record::tag_hash("blue")));
}

#[test]
fn nothing_is_visible_before_dispatch() {
    let mut story = story();
    story.append("orders", 0, "", b"");
    let queue = story.views().find_queue("orders", QueueId(0)).unwrap();
    assert_eq!((queue.dispatched().0, queue.next().0), (0, 1));
    let mut entries = Vec::new();
    story.views().entries(&queue, QueueOffset(0), 10, &mut entries);
    assert_eq!(entries, []);
}

#[test]
fn a_record_is_applied_once() {
    let mut story = story();
    let at = story.send("orders", 0, "");
    let record = Record::parse(&story.log[&at]).unwrap();
    let again = story.views().apply(&record, LogOffset(at), None);
    assert!(matches!(again, Err(ViewError::Repeated { .. })), "{again:?}");
}

#[test]
fn a_missing_offset_is_an_error_when_live_and_a_hole_in_a_replay() {
    let mut story = story();
    story.send("orders", 0, "");
    let lost = story.append("orders", 0, "", b"");
    let live = story.try_send("orders", 0, "", b"");
    assert!(
        matches!(live, Err(ViewError::NotContiguous { expected: QueueOffset(1), found: QueueOffset(2), .. })),
        "{live:?}"
    );
    story.log.remove(&lost);
    let disk = story.disk.kill();
    story.reopen(disk);
    story.check();
    let mut entries = Vec::new();
    let queue = story.views().find_queue("orders", QueueId(0)).unwrap();
    story.views().entries(&queue, QueueOffset(0), 10, &mut entries);
    assert_eq!(entries.iter().map(Entry::is_hole).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn an_offset_that_goes_back_is_an_error_even_in_a_replay() {
    let mut story = story();
    story.send("orders", 0, "");
    story.send("orders", 0, "");
    let (&at, bytes) = story.log.last_key_value().unwrap();
    let mut bytes = bytes.clone();
    record::patch(&mut bytes, LogOffset(at), QueueOffset(0), Timestamp(1));
    story.log.insert(at, bytes);
    let disk = story.disk.kill();
    story.disk = disk;
    story.open();
    let mut outcome = Ok(());
    for (&at, bytes) in &story.log {
        outcome = outcome.and(story.views().apply(&Record::parse(bytes).unwrap(), LogOffset(at), None));
    }
    assert!(matches!(outcome, Err(ViewError::NotContiguous { .. })), "{outcome:?}");
}

#[test]
fn a_gap_of_any_length_costs_one_extent() {
    let mut story = story();
    story.send("orders", 0, "");
    let at = story.append("orders", 0, "", b"");
    let far = 1 << 60;
    record::patch(story.log.get_mut(&at).unwrap(), LogOffset(at), QueueOffset(far), Timestamp(2_000_000));
    let disk = story.disk.kill();
    story.reopen(disk);
    let queue = story.views().find_queue("orders", QueueId(0)).unwrap();
    assert_eq!((queue.first().0, queue.dispatched().0, queue.next().0), (0, far + 1, far + 1));
    let mut entries = Vec::new();
    story.views().entries(&queue, QueueOffset(far - 2), 10, &mut entries);
    assert_eq!(entries.len(), 3);
    assert!(entries[0].is_hole() && entries[1].is_hole() && !entries[2].is_hole());
    assert_eq!(story.offset_by_time("orders", 0, 1_000_401, Boundary::Lower), 1, "the first hole before it");
    story.checkpoint();
    let disk = story.disk.kill();
    assert!(story.reopen(disk).from_checkpoint);
    assert_eq!(story.views().find_queue("orders", QueueId(0)).unwrap().next().0, far + 1);
}

#[test]
fn a_removed_topic_starts_again_at_zero() {
    let mut story = story();
    for _ in 0..10 {
        story.send("orders", 0, "KEYS=k;");
    }
    story.checkpoint();
    let old = story.views().find_queue("orders", QueueId(0)).unwrap();
    story.remove_topic("orders");
    assert!(old.is_detached() && old.first() == old.dispatched(), "readers of the old handle find nothing");
    story.check();
    story.send("orders", 0, "KEYS=k;");
    story.check();
    for _ in 0..2 {
        let disk = story.disk.kill();
        story.reopen(disk);
        story.check();
        story.checkpoint();
    }
    story.check_rebuilt();
}

#[test]
fn a_topic_may_be_removed_before_its_messages_are_dispatched() {
    let mut story = story();
    let mut waiting = vec![story.append("orders", 0, "", b""), story.append("orders", 0, "", b"")];
    story.views().detach_topic("orders");
    let removal = change::encode(&[FactChange::remove_topic("orders")]);
    waiting.push(story.append(FACTS_TOPIC, 0, "", &removal));
    waiting.push(story.append("orders", 0, "", b""));
    let new = story.views().find_queue("orders", QueueId(0)).unwrap();
    assert_eq!((new.next().0, new.dispatched().0), (1, 0));
    for at in waiting {
        story.views().apply(&Record::parse(&story.log[&at]).unwrap(), LogOffset(at), None).unwrap();
        assert!(new.dispatched().0 <= new.next().0);
    }
    story.check();
}

#[test]
fn parts_of_removed_topics_are_used_again_after_a_full_checkpoint() {
    let mut story = story();
    let mut sizes = Vec::new();
    for _ in 0..30 {
        for n in 0..400 {
            story.send(&format!("topic{}", n % 100), 0, "");
        }
        for n in 0..100 {
            story.remove_topic(&format!("topic{n}"));
        }
        story.checkpoint();
        let usage = story.views().usage().arena;
        sizes.push(usage.bytes - usage.free_bytes);
    }
    // Without reuse they would add up to a quarter of a megabyte.
    assert!(sizes.iter().max().unwrap() < &150_000, "{sizes:?}");
    story.check();
}

#[test]
fn facts_are_seen_at_once_and_only_the_applied_ones_are_saved() {
    let mut story = story();
    story.fact("a", Some("1"));
    let change = |value: Option<&str>| FactChange {
        kind: FactKind(16),
        key: b"a".to_vec(),
        value: value.map(|value| value.as_bytes().to_vec()),
    };
    let first = story.append(FACTS_TOPIC, 0, "", &change::encode(&[change(Some("2"))]));
    story.views().put_facts_ahead(&[change(Some("2"))], LogOffset(first));
    let second = story.append(FACTS_TOPIC, 0, "", &change::encode(&[change(None)]));
    story.views().put_facts_ahead(&[change(None)], LogOffset(second));
    // The first writer is slow to tell: the later change stays.
    story.views().put_facts_ahead(&[change(Some("2"))], LogOffset(first));
    assert_eq!(story.views().fact(FactKind(16), b"a"), None);
    assert_eq!(story.views().facts(FactKind(16)), []);
    let saved = story.views().checkpoint(LogOffset(first)).unwrap();
    assert_eq!(saved.0, first, "only what was applied is saved");
    for at in [first, second] {
        story.views().apply(&Record::parse(&story.log[&at]).unwrap(), LogOffset(at), None).unwrap();
        assert_eq!(story.views().fact(FactKind(16), b"a"), None, "dispatch shows nothing older");
    }
    story.check();
    let disk = story.disk.kill();
    story.disk = disk;
    story.open();
    assert_eq!(story.views().fact(FactKind(16), b"a").unwrap(), "1");
}

#[test]
fn unreadable_facts_are_passed_over_and_counted() {
    let mut story = story();
    story.try_send(FACTS_TOPIC, 0, "", b"\x09nonsense").unwrap();
    story.fact("a", Some("1"));
    assert_eq!(story.views().fact(FactKind(16), b"a").unwrap(), "1");
    assert_eq!(story.views().usage().unreadable_facts, 1);
}

#[test]
fn a_checkpoint_waits_until_the_log_is_durable() {
    let mut story = story();
    story.send("orders", 0, "");
    let durable = story.end;
    let before = story.views().checkpoint(LogOffset(LOG_START)).unwrap();
    assert_eq!(before.0, LOG_START, "nothing is durable yet");
    story.send("orders", 0, "");
    let saved = story.views().checkpoint(LogOffset(durable)).unwrap();
    assert_eq!(saved.0, durable, "what was taken first is written, what came later is not");
    assert_eq!(story.checkpoint(), story.end);
}

#[test]
fn times_are_found() {
    let mut story = story();
    let times: Vec<i64> = (0..50)
        .map(|n| {
            let at = story.send("orders", 0, "");
            if n % 7 == 0 {
                story.send("other", 0, "");
            }
            Record::parse(&story.log[&at]).unwrap().stored_at().0
        })
        .collect();
    let retained = *story.log.keys().nth(20).unwrap();
    story.retain(retained);
    let queue = story.views().find_queue("orders", QueueId(0)).unwrap();
    let first = queue.first().0 as usize;
    for time in (times[0] - 300..times[49] + 500).step_by(97).chain(times.iter().copied()) {
        let lower = (first..50).find(|&n| times[n] >= time).unwrap_or(50) as u64;
        let upper = (first..50).rev().find(|&n| times[n] <= time).unwrap_or(0) as u64;
        assert_eq!(story.offset_by_time("orders", 0, time, Boundary::Lower), lower, "lower {time}");
        assert_eq!(story.offset_by_time("orders", 0, time, Boundary::Upper), upper, "upper {time}");
    }
}

#[test]
fn keys_are_found_by_time_and_newest_first() {
    let mut story = story();
    let mut sent = Vec::new();
    for n in 0..60 {
        let at = story.send("orders", n % 4, "KEYS=hot;");
        sent.push((at, Record::parse(&story.log[&at]).unwrap().stored_at().0));
        if n % 9 == 0 {
            story.checkpoint();
        }
    }
    assert!(story.views().usage().key_runs > 2, "some are in runs");
    for (from, to) in [(0, i64::MAX), (sent[10].1, sent[40].1), (sent[59].1, sent[59].1), (0, 1)] {
        let found = story.by_key("orders", "hot", from, to);
        let wanted: Vec<u64> =
            sent.iter().rev().filter(|(_, time)| (from..=to).contains(time)).map(|(at, _)| *at).collect();
        // Runs keep seconds, so neighbours within the second come along; the store compares the record's time.
        let exact: Vec<u64> = found.iter().copied().filter(|at| wanted.contains(at)).collect();
        assert_eq!(exact, wanted);
        assert!(found.len() <= wanted.len() + 6, "{} for {}", found.len(), wanted.len());
    }
}

#[test]
fn the_log_alone_rebuilds_what_retention_left() {
    let mut story = story();
    story.fact("settings", Some("old"));
    story.fact("gone", Some("x"));
    story.fact("gone", None);
    for n in 0..8 {
        story.send("idle", n % 2, "KEYS=k;");
    }
    story.checkpoint();
    let cut = story.end;
    for n in 0..20 {
        story.send("busy", n % 2, "KEYS=k;");
    }
    story.retain(cut);
    let queue = story.views().find_queue("idle", QueueId(0)).unwrap();
    assert_eq!((queue.first().0, queue.next().0), (4, 4), "no offset is used again");
    story.check();
    story.check_rebuilt();
    // And again, when the carried facts themselves leave the log.
    let cut = story.end;
    story.send("busy", 0, "");
    story.retain(cut);
    story.check();
    story.check_rebuilt();
    story.checkpoint();
    let disk = story.disk.kill();
    story.reopen(disk);
    story.check();
    assert_eq!(story.by_key("idle", "k", 0, i64::MAX), [0; 0]);
}

#[test]
fn what_was_put_ahead_is_not_carried() {
    let mut story = story();
    story.fact("a", Some("1"));
    let newer = [FactChange { kind: FactKind(16), key: b"a".to_vec(), value: Some(b"2".to_vec()) }];
    let at = story.append(FACTS_TOPIC, 0, "", &change::encode(&newer));
    story.views().put_facts_ahead(&newer, LogOffset(at));
    assert_eq!(story.views().carry(LogOffset(at)).iter().filter(|c| c.kind == FactKind(16)).count(), 0);
}

#[test]
fn runs_below_the_log_are_removed() {
    let mut story = story();
    for n in 0..40 {
        story.send("orders", 0, &format!("KEYS=k{n};"));
        if n % 10 == 9 {
            story.checkpoint();
        }
    }
    let files = |story: &Story| {
        let names = story.disk.list(&story.config.dir).unwrap();
        names.iter().filter(|entry| entry.name.starts_with("keys-")).count()
    };
    assert_eq!((files(&story), story.views().usage().key_runs), (4, 4));
    let cut = *story.log.keys().nth(25).unwrap();
    story.retain(cut);
    assert_eq!(story.views().usage().key_runs, 2);
    story.checkpoint();
    assert_eq!(files(&story), 2);
    story.check();
    let disk = story.disk.kill();
    story.reopen(disk);
    story.check();
}

#[test]
fn an_idle_checkpoint_writes_nothing() {
    let mut story = story();
    story.send("orders", 0, "");
    story.checkpoint();
    let steps = story.disk.steps();
    assert_eq!(story.checkpoint(), story.end);
    assert_eq!(story.disk.steps(), steps);
}

#[test]
fn prepared_records_of_old_stores_have_no_place_in_a_queue() {
    let mut story = story();
    story.send("orders", 0, "");
    let at = story.append("orders", 0, "", b"");
    let bytes = story.log.get_mut(&at).unwrap();
    bytes[39] |= 0x4;
    record::patch(bytes, LogOffset(at), QueueOffset(0), Timestamp(2_000_000));
    let record = Record::parse(&story.log[&at]).unwrap();
    story.views().apply(&record, LogOffset(at), None).unwrap();
    assert_eq!(story.views().find_queue("orders", QueueId(0)).unwrap().dispatched().0, 1);
}
