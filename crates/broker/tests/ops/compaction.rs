// SPDX-License-Identifier: Apache-2.0
//! Compaction topics: who reads from the start finds the latest message of each key, for ever, whichever way it came there.

use std::time::Duration;

use broker::ops::pull::PullInput;
use broker::ops::send::{SendInput, SendRefused};
use broker::ops::send_back::SendBackInput;
use broker::ops::transaction::EndInput;
use broker::transaction::Decision;
use bytes::Bytes;
use protocol::batch::{self, Unit};
use protocol::body::TopicConfig;
use protocol::names::{Group, LogOffset, QueueId, TopicName};
use store::StoreConfig;

use crate::world::*;

const TABLE: &str = "table";

fn small(store: &mut StoreConfig) {
    store.segment_size = 8 << 20;
    store.retention.reserved = Duration::from_secs(3600);
    store.retention.delete_when = Vec::new();
    store.compact_after = Duration::from_secs(60);
}

fn world(change: impl FnOnce(&mut StoreConfig)) -> World {
    let world = World::with(|_, store| {
        small(store);
        change(store);
    });
    set(&world);
    world
}

fn set(world: &World) {
    let mut config = TopicConfig::new(TopicName::stored(TABLE), 2, 6);
    config.attributes.insert("cleanup.policy".into(), "COMPACTION".into());
    world.broker.topics().update(config, &world.store, world.now()).expect("it is set");
}

fn keep(world: &World, key: &str, body: &str) -> u64 {
    world.put(TABLE, 0, &[("KEYS", key)], body)
}

/// Lets messages that are not the latest of their key be hidden.
fn compact(world: &World) {
    world.pass(Duration::from_secs(61));
    world.store.compact_step();
}

/// Lets all segments go that there are.
fn outlive(world: &World) {
    world.outlive(world.store.watermarks().written.get());
}

fn refusal(refused: Result<impl std::fmt::Debug, SendRefused>) -> String {
    refused.expect_err("it is refused").to_string()
}

#[test]
fn a_reader_from_the_start_finds_the_latest_of_each_key_when_the_log_is_gone() {
    let world = world(|_| {});
    for number in 0..6 {
        keep(&world, ["a", "b", "c d"][number % 3], &format!("v{number}"));
    }
    assert_eq!(world.bodies(TABLE, 0), ["v0", "v1", "v2", "v3", "v4", "v5"]);
    keep(&world, "a", "v6");
    compact(&world);
    keep(&world, "b", "v7");
    assert_eq!(world.bodies(TABLE, 0), ["v5", "v6", "v7"], "v4 was hidden when it ceased to be the latest");
    outlive(&world);
    assert_eq!(world.bodies(TABLE, 0), ["v5", "v6", "v7"]);
    assert_eq!(world.look(TABLE, 0, 0), "found v5 v6 v7, next 8 of 5..8");
    assert_eq!(world.look(TABLE, 0, 6), "found v6 v7, next 8 of 5..8");
    assert_eq!(world.look(TABLE, 0, 8), "AtTail, next 8 of 5..8");
    assert_eq!(world.look(TABLE, 0, 9), "TooLarge, next 8 of 5..8");
    assert_eq!(world.look(TABLE, 1, 0), "Empty, next 0 of 0..0");
    let before_all = PullInput { from: None, ..pull_input(TABLE, 0, 0) };
    assert_eq!(show(world.pull(before_all)), "TooSmall, next 5 of 5..8");
    let end = |world: &World| world.broker.queue_end(&TopicName::stored(TABLE), QueueId(0), true).0;
    let start = |world: &World| world.broker.queue_start(&TopicName::stored(TABLE), QueueId(0)).0;
    assert_eq!((start(&world), end(&world)), (5, 8));
    let world = world.kill();
    assert_eq!((start(&world), end(&world), world.bodies(TABLE, 0).len()), (5, 8, 3));
    assert_eq!(keep(&world, "c d", "v8"), 8);
    assert_eq!(world.look(TABLE, 0, 0), "found v6 v7 v8, next 9 of 6..9");
    outlive(&world);
    outlive(&world);
    assert_eq!(world.look(TABLE, 0, 0), "found v6 v7 v8, next 9 of 6..9");
}

#[test]
fn keys_are_needed_short_and_not_too_many() {
    let world = world(|store| store.keys_max = 2);
    let send = |properties: &[(&str, &str)], body: &str| world.send(input(TABLE, 0, properties, body));
    assert_eq!(refusal(send(&[], "x")), "Required message key is missing");
    assert_eq!(refusal(send(&[("KEYS", "  ")], "x")), "Required message key is missing");
    let long = "k".repeat(1025);
    let refused = refusal(send(&[("KEYS", &long)], "x"));
    assert_eq!(refused, "the message key is 1025 bytes long, in a compaction topic at most 1024 are allowed");
    let unit = |body: &'static [u8], properties| Unit { flag: 0, body, properties };
    let mut body = Vec::new();
    batch::encode(&unit(b"one", b"KEYS\x01a\x02"), &mut body).expect("it fits");
    batch::encode(&unit(b"two", b"KEYS\x01b\x02"), &mut body).expect("it fits");
    let together = SendInput { batch: true, body: Bytes::from(body.clone()), ..input(TABLE, 0, &[], "") };
    world.send(together).expect("it is stored");
    batch::encode(&unit(b"three", b"TAGS\x01t\x02"), &mut body).expect("it fits");
    let together = SendInput { batch: true, body: Bytes::from(body), ..input(TABLE, 0, &[], "") };
    assert_eq!(refusal(world.send(together)), "Required message key is missing");
    keep(&world, "a", "known");
    let refused = refusal(send(&[("KEYS", "c")], "x"));
    assert!(refused.starts_with("[TOO_MANY_KEYS] 2 keys"), "{refused}");
    // What was taken before the limit was reached is delivered all the same, and other topics know no limit.
    world.put("plain", 0, &[], "no key");
    assert_eq!(world.bodies(TABLE, 0), ["one", "two", "known"]);
}

#[test]
fn a_message_without_a_body_ends_its_key_there_and_nowhere_else() {
    let world = world(|_| {});
    keep(&world, "a", "one");
    keep(&world, "b", "two");
    keep(&world, "a", "");
    assert_eq!(world.bodies(TABLE, 0), ["one", "two", ""]);
    compact(&world);
    assert_eq!(world.bodies(TABLE, 0), ["two"]);
    assert_eq!(world.store.kept_keys(), 2);
    outlive(&world);
    assert_eq!((world.bodies(TABLE, 0), world.store.kept_keys()), (vec!["two".to_owned()], 1));
    assert_eq!(refusal(world.send(input("plain", 0, &[("KEYS", "a")], ""))), "the message has no body");
}

#[test]
fn what_waited_is_kept_when_it_comes() {
    let world = world(|_| {});
    world.put(TABLE, 0, &[("KEYS", "level"), ("DELAY", "1")], "level");
    world.put(TABLE, 0, &[("KEYS", "timed"), ("TIMER_DELAY_MS", "3000")], "timed");
    let half = [("TRAN_MSG", "true"), ("PGROUP", "payers"), ("UNIQ_KEY", "half"), ("KEYS", "paid")];
    let half = world.send(input(TABLE, 0, &half, "paid")).expect("the half message is stored");
    // The first message of a topic since a start comes from a loop.
    let world = world.kill();
    world.pass(Duration::from_secs(4));
    let end = EndInput {
        id: half.start,
        queue_offset: half.queue_offset,
        group: Some(Group::stored("payers")),
        unique: [None, None],
        decision: Decision::Commit,
        audit: None,
    };
    world.finish(world.broker.end_transaction(end, world.now())).expect("it is committed");
    world.steps();
    assert_eq!(world.bodies(TABLE, 0), ["level", "timed", "paid"]);
    assert!(world.store.halves().is_empty(), "the commit is one here, too");
    outlive(&world);
    assert_eq!(world.bodies(TABLE, 0), ["level", "timed", "paid"]);
    let world = world.kill();
    assert_eq!(world.bodies(TABLE, 0), ["level", "timed", "paid"]);
    assert!(world.store.halves().is_empty());
}

#[test]
fn a_copy_for_a_retry_is_not_kept() {
    let world = world(|_| {});
    keep(&world, "a", "one");
    let place = world.records(TABLE, 0)[0].log;
    let back = SendBackInput {
        id: None,
        group: Group::stored("g"),
        offset: LogOffset(place),
        reconsumed: None,
        delay_level: 1,
        max: None,
        topic_flag: 0,
        store_host: address("127.0.0.1:10911"),
    };
    world.finish(world.broker.send_back(back, world.now())).expect("it is taken back");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.bodies("%RETRY%g", 0), ["one"]);
    assert_eq!(world.store.kept_keys(), 1);
    outlive(&world);
    assert_eq!((world.bodies(TABLE, 0).len(), world.bodies("%RETRY%g", 0).len()), (1, 0));
}

#[test]
fn a_new_topic_of_that_name_keeps_nothing_of_the_old_one() {
    let world = world(|_| {});
    keep(&world, "a", "old");
    outlive(&world);
    world
        .broker
        .topics()
        .remove(&TopicName::stored(TABLE), &world.store, world.now())
        .expect("it is removed");
    world.steps();
    world.put(TABLE, 0, &[("KEYS", "a")], "plain");
    outlive(&world);
    assert_eq!((world.bodies(TABLE, 0), world.store.kept_keys()), (vec![], 0), "it is an ordinary topic now");
}
