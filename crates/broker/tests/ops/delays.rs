// SPDX-License-Identifier: Apache-2.0
//! Delayed messages: never early, never lost.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::Wake;
use broker::delay::Levels;
use expect_test::expect;
use protocol::names::TopicName;
use stdx::Rng;

use crate::world::{T0, World, input};

#[test]
fn a_message_waits_for_its_level() {
    let world = World::new();
    world.put("orders", 3, &[], "make the topic");
    let sent =
        world.send(input("orders", 2, &[("DELAY", "2"), ("TAGS", "t")], "later")).expect("it is stored");
    assert_eq!((sent.queue.0, sent.queue_offset.0), (2, 0), "the sender is told its own queue");
    let waiting = &world.records("SCHEDULE_TOPIC_XXXX", 1)[0];
    assert_eq!((waiting.property("REAL_TOPIC"), waiting.property("REAL_QID")), ("orders", "2"));
    world.pass(Duration::from_millis(4_999));
    assert_eq!(world.bodies("orders", 2), Vec::<String>::new(), "a moment too early");
    world.pass(Duration::from_millis(1));
    let delivered = &world.records("orders", 2)[0];
    assert_eq!((delivered.body.as_str(), delivered.stored_at.0 - T0.0), ("later", 5_000));
    let properties: Vec<String> = delivered.properties.keys().cloned().collect();
    expect!["CLUSTER MSG_REGION REAL_QID REAL_TOPIC TAGS TRACE_ON UNIQ_KEY"].assert_eq(&properties.join(" "));
    world.pass(Duration::from_secs(100));
    assert_eq!(world.bodies("orders", 2), ["later"], "once");
}

#[test]
fn a_level_above_the_table_is_the_longest() {
    let world = World::new();
    world.put("orders", 0, &[("DELAY", "99")], "x");
    assert_eq!(world.records("SCHEDULE_TOPIC_XXXX", 17)[0].property("DELAY"), "18");
}

#[test]
fn a_killed_broker_delivers_what_was_waiting() {
    let world = World::new();
    world.put("orders", 0, &[("DELAY", "1")], "one");
    world.put("orders", 0, &[("DELAY", "3")], "two");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.bodies("orders", 0), ["one"]);
    let world = world.kill();
    world.steps();
    assert_eq!(world.bodies("orders", 0), ["one"], "progress is part of the log");
    world.pass(Duration::from_secs(9));
    assert_eq!(world.bodies("orders", 0), ["one", "two"]);
}

#[test]
fn a_full_disk_postpones_and_skips_nothing() {
    let mut world = World::new();
    world.put("orders", 0, &[("DELAY", "1")], "one");
    let roomy = world.store_config.retention.clone();
    (world.store_config.retention.refuse_ratio, world.store_config.retention.resume_ratio) = (0.0, 0.0);
    let mut world = world.kill();
    world.store.retain_step();
    world.clock_forward(Duration::from_secs(5));
    world.broker.dispatch_step(world.now());
    assert!(
        matches!(world.broker.delay_step(world.now()), Wake::At(later) if later > world.now()),
        "it tries again"
    );
    world.store_config.retention = roomy;
    let world = world.kill();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.bodies("orders", 0), ["one"]);
}

#[test]
fn what_waited_through_an_outage_outlives_its_segment() {
    let world = World::with(|_, store| {
        store.segment_size = 8 << 20;
        store.retention.reserved = Duration::from_secs(3600);
    });
    world.put("orders", 0, &[("DELAY", "18")], "late");
    let place = world.store.watermarks().written.get();
    let filler = "x".repeat(64 << 10);
    (0..200).for_each(|_| _ = world.put("filler", 0, &[], &filler));
    world.broker.dispatch_step(world.now());
    world.store.checkpoint_step(true);
    // Nobody was there when it was due, and its segment is older than it needs to be.
    world.clock_forward(Duration::from_secs(100 * 3600));
    let world = world.kill();
    world.store.checkpoint_step(true);
    assert!(!world.store.retain_on_demand(), "somebody is owed a message in it");
    world.steps();
    world.store.flush_step();
    world.pass(Duration::from_secs(1));
    world.store.checkpoint_step(true);
    assert!(world.store.retain_on_demand(), "it was delivered");
    assert!(world.store.watermarks().start.get() > place);
    assert_eq!(world.bodies("orders", 0), ["late"]);
    let world = world.kill();
    world.steps();
    assert_eq!(world.bodies("orders", 0), ["late"], "once");
}

#[test]
fn a_shorter_table_of_levels_leaves_nothing_behind() {
    let mut world = World::new();
    world.put("orders", 0, &[("DELAY", "4")], "half a minute");
    world.config.sending.delay_levels = "1s 2s".parse::<Levels>().expect("a table");
    let world = world.kill();
    world.pass(Duration::from_secs(2));
    assert_eq!(world.bodies("orders", 0), ["half a minute"]);
}

#[test]
fn a_topic_that_was_removed_gets_nothing() {
    let world = World::new();
    world.put("orders", 0, &[("DELAY", "1")], "gone");
    world.put("other", 0, &[("DELAY", "1")], "kept");
    let topics = world.broker.topics();
    assert_eq!(topics.remove(&TopicName::stored("orders"), &world.store, world.now()), Ok(true));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.bodies("other", 0), ["kept"]);
    assert!(topics.get("orders").is_none());
}

/// Random delays, random waits, kills in between: everything is delivered, at its time or later, in the order of
/// its level, and twice only across a kill.
#[test]
fn none_is_lost_and_none_is_early() {
    for seed in 0..2 {
        let mut rng = Rng::new(seed);
        let mut world = World::with(|config, _| {
            config.sending.delay_levels = "1s 3s 10s".parse::<Levels>().expect("a table")
        });
        let delays = [1_000, 3_000, 10_000];
        let mut due: BTreeMap<String, i64> = BTreeMap::new();
        let mut kills = 0;
        for step in 0..80 {
            match rng.below(10) {
                0..=5 => {
                    let level = rng.below(3) as usize;
                    let body = format!("m{step}");
                    world.put("orders", 0, &[("DELAY", &(level + 1).to_string())], &body);
                    due.insert(body, world.now().0 + delays[level]);
                }
                6..=8 => world.pass(Duration::from_millis(rng.below(3_000))),
                _ => {
                    world = world.kill();
                    kills += 1;
                }
            }
        }
        world.pass(Duration::from_secs(10));
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for record in world.records("orders", 0) {
            assert!(record.stored_at.0 >= due[&record.body], "{} was early, seed {seed}", record.body);
            *seen.entry(record.body).or_default() += 1;
        }
        let missing: Vec<&String> = due.keys().filter(|body| !seen.contains_key(*body)).collect();
        assert_eq!(missing, Vec::<&String>::new(), "seed {seed}, {kills} kills");
        assert!(kills > 0 || seen.values().all(|count| *count == 1));
    }
}

#[test]
fn what_is_due_at_once_need_not_fit_one_append() {
    let world = World::with(|_, store| {
        (store.max_message, store.stage_size) = (4 << 10, 8 << 10);
    });
    world.put("orders", 0, &[], "make the topic");
    for n in 0..20 {
        world.put("orders", 1, &[("DELAY", "1")], &format!("{n:0>1000}"));
    }
    for _ in 0..100 {
        // Stages are made from what is drained.
        while world.store.drain_step() > 0 {}
        world.pass(Duration::from_millis(100));
    }
    assert_eq!(world.bodies("orders", 1).len(), 20);
}

#[test]
fn the_progress_of_a_level_is_noted_when_its_deliveries_are_lasting() {
    let world = World::with(|_, store| store.durability = store::Durability::Disk);
    let flush = || {
        while world.store.drain_step() > 0 {}
        world.store.flush_step();
        world.pass(Duration::from_millis(20));
    };
    world.put("orders", 0, &[("WAIT", "false")], "make the topic");
    world.put("orders", 1, &[("WAIT", "false"), ("DELAY", "1")], "later");
    flush();
    world.pass(Duration::from_secs(1));
    let position = || world.store.fact(store::FactKind(20), &0u32.to_be_bytes());
    assert_eq!(position(), None, "a power cut may take what was delivered now");
    flush();
    assert_eq!(position().as_deref(), Some(&1u64.to_be_bytes()[..]));
    flush();
    assert_eq!(world.bodies("orders", 1), ["later"]);
}
