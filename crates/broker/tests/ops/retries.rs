// SPDX-License-Identifier: Apache-2.0
//! Failed messages: retries by level, then dead letters.

use std::time::Duration;

use broker::ops::lock::LockInput;
use broker::ops::send::SendInput;
use broker::ops::send_back::SendBackInput;
use protocol::body::{GroupRetryPolicy, SubscriptionGroupConfig};
use protocol::names::{ByteStr, Group, LogOffset, QueueId, QueueKey, TopicName};

use crate::world::{Seen, World, address, input};

const RETRY: &str = "%RETRY%g";
const DEAD: &str = "%DLQ%g";

fn back_input(record: &Seen, delay_level: i32, max: Option<i32>) -> SendBackInput {
    SendBackInput {
        group: Group::stored("g"),
        offset: LogOffset(record.log),
        id: None,
        delay_level,
        max,
        reconsumed: None,
        topic_flag: 0,
        store_host: address("127.0.0.1:10911"),
    }
}

fn give_back(world: &World, record: &Seen, delay_level: i32, max: Option<i32>) -> Result<(), String> {
    let input = back_input(record, delay_level, max);
    let given = world.finish(world.broker.send_back(input, world.now()));
    world.steps();
    given.map(drop).map_err(|refused| refused.to_string())
}

#[test]
fn a_failed_message_comes_back_with_its_origin() {
    let world = World::new();
    world.put("orders", 0, &[("KEYS", "k"), ("UNIQ_KEY", "U1")], "fails");
    let original = world.records("orders", 0).remove(0);
    give_back(&world, &original, 0, None).expect("it is stored");
    world.pass(Duration::from_millis(9_999));
    assert_eq!(world.bodies(RETRY, 0), Vec::<String>::new());
    world.pass(Duration::from_millis(1));
    let retry = world.records(RETRY, 0).remove(0);
    assert_eq!((retry.body.as_str(), retry.reconsumed), ("fails", 1));
    assert_eq!((retry.property("RETRY_TOPIC"), retry.property("KEYS")), ("orders", "k"));
    let first_id = format!("7F00000100002A9F{:016X}", original.log);
    assert_eq!((retry.property("ORIGIN_MESSAGE_ID"), retry.property("UNIQ_KEY")), (&*first_id, "U1"));
    give_back(&world, &retry, 0, None).expect("it is stored");
    world.pass(Duration::from_secs(29));
    assert_eq!(world.bodies(RETRY, 0).len(), 1, "the second try waits for level 4");
    world.pass(Duration::from_secs(1));
    let again = world.records(RETRY, 0).remove(1);
    assert_eq!((again.reconsumed, again.property("RETRY_TOPIC")), (2, "orders"));
    assert_eq!(again.property("ORIGIN_MESSAGE_ID"), first_id);
}

#[test]
fn a_message_that_failed_too_often_is_kept_as_a_dead_letter() {
    let world = World::new();
    world.put("orders", 1, &[("TAGS", "t"), ("UNIQ_KEY", "U1"), ("mine", "1")], "fails");
    let original = world.records("orders", 1).remove(0);
    give_back(&world, &original, 1, Some(1)).expect("it is stored");
    world.pass(Duration::from_secs(1));
    let retry = world.records(RETRY, 0).remove(0);
    give_back(&world, &retry, 1, Some(1)).expect("it is stored");
    let dead = world.records(DEAD, 0).remove(0);
    assert_eq!((dead.body.as_str(), dead.reconsumed), ("fails", 2));
    for (name, value) in [("TAGS", "t"), ("UNIQ_KEY", "U1"), ("mine", "1"), ("RETRY_TOPIC", "orders")] {
        assert_eq!(dead.property(name), value);
    }
    assert_eq!(dead.property("DLQ_ORIGIN_TOPIC"), "orders");
    assert_eq!(dead.property("DLQ_ORIGIN_MESSAGE_ID"), format!("7F00000100002A9F{:016X}", original.log));
    assert_eq!(dead.property("DELAY"), "");
    let topic = world.broker.topics().get(DEAD).expect("it was made");
    assert_eq!((topic.config().write_queue_nums, topic.config().perm), (1, 6));
}

#[test]
fn a_consumer_can_give_up_at_once() {
    let world = World::new();
    world.put("orders", 0, &[], "a");
    world.put("orders", 0, &[], "b");
    let records = world.records("orders", 0);
    give_back(&world, &records[0], -1, None).expect("it is stored");
    give_back(&world, &records[1], 0, Some(0)).expect("it is stored");
    assert_eq!(world.bodies(DEAD, 0), ["a", "b"]);
}

#[test]
fn a_place_where_no_message_lies_is_named() {
    let world = World::new();
    world.put("orders", 0, &[], "a");
    let mut record = world.records("orders", 0).remove(0);
    record.log += 1;
    let refused = give_back(&world, &record, 0, None).expect_err("nothing lies there");
    assert_eq!(refused, format!("look message by offset failed, {}", record.log));
}

fn to_retry_topic(reconsumed: i32, properties: &[(&str, &str)]) -> SendInput {
    SendInput { reconsumed, reconsume_max: Some(2), ..input(RETRY, 0, properties, "self-made") }
}

#[test]
fn a_consumer_may_send_the_retry_itself() {
    let world = World::new();
    let properties =
        [("RETRY_TOPIC", "orders"), ("ORIGIN_MESSAGE_ID", "ID"), ("UNIQ_KEY", "U"), ("DELAY", "1")];
    world.send(to_retry_topic(2, &properties)).expect("it is stored");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.bodies(RETRY, 0), ["self-made"]);
    world.send(to_retry_topic(3, &properties)).expect("it is stored");
    let dead = world.records(DEAD, 0).remove(0);
    assert_eq!((dead.property("DLQ_ORIGIN_TOPIC"), dead.property("DLQ_ORIGIN_MESSAGE_ID")), ("orders", "ID"));
    assert_eq!((dead.reconsumed, dead.property("DELAY")), (3, ""));
}

#[test]
fn a_group_that_consumes_in_order_sends_only_what_it_gave_up() {
    let world = World::new();
    let lock = LockInput {
        group: Group::stored("g"),
        client: ByteStr::from("c1"),
        queues: vec![QueueKey { topic: TopicName::stored("orders"), queue: QueueId(0) }],
    };
    assert_eq!(world.broker.lock_queues(&lock, world.now()), [true]);
    world.send(to_retry_topic(1, &[("RETRY_TOPIC", "orders"), ("UNIQ_KEY", "U")])).expect("it is stored");
    assert_eq!(world.bodies(DEAD, 0), ["self-made"]);
    // A dead letter that an operator sends again is not given up by anybody.
    let replay = [("RETRY_TOPIC", "orders"), ("KIRUNA_REPLAY_OF", "ID")];
    let replay = SendInput { reconsume_max: None, ..to_retry_topic(0, &replay) };
    world.send(replay.clone()).expect("it is stored");
    assert_eq!(world.bodies(RETRY, 0), ["self-made"]);
    world.send(SendInput { reconsumed: 1, reconsume_max: Some(1), ..replay }).expect("it is stored");
    assert_eq!(world.bodies(DEAD, 0).len(), 2, "its consumer gave it up again");
    let other = LockInput { client: ByteStr::from("c2"), ..lock.clone() };
    assert_eq!(world.broker.lock_queues(&other, world.now()), [false]);
    world.broker.unlock_queues(&lock);
    assert_eq!(world.broker.lock_queues(&other, world.now()), [true]);
}

fn policy(text: &str) -> GroupRetryPolicy {
    protocol::json::from_slice(text.as_bytes()).expect("a policy")
}

/// A world whose group `g` has this policy.
fn world_with(text: &str) -> World {
    let world = World::new();
    let config = SubscriptionGroupConfig {
        group_name: Group::stored("g"),
        group_retry_policy: policy(text),
        ..SubscriptionGroupConfig::default()
    };
    world.broker.groups().update(config, &world.store, world.now()).expect("it is set");
    world
}

const GROWING: &str =
    r#"{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":250,"max":1000,"multiplier":2}}"#;

#[test]
fn a_group_with_a_policy_waits_as_it_says_to_the_millisecond_and_over_a_kill() {
    for (text, waits) in [
        (GROWING, [250, 500, 1000, 1000]),
        (r#"{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1,2,70,80,90]}}"#, [70, 80, 90, 90]),
    ] {
        let mut world = world_with(text);
        world.put("orders", 0, &[("KEYS", "k"), ("UNIQ_KEY", "U1")], "fails");
        let mut last = world.records("orders", 0).remove(0);
        for (tried, wait) in waits.into_iter().enumerate() {
            give_back(&world, &last, 0, Some(4)).expect("it is stored");
            world.clock_forward(Duration::from_millis(wait - 1));
            world = world.kill();
            world.steps();
            assert_eq!(world.bodies(RETRY, 0).len(), tried, "{text}: a moment too early");
            world.pass(Duration::from_millis(1));
            last = world.records(RETRY, 0).remove(tried);
            assert_eq!((last.reconsumed, last.property("RETRY_TOPIC")), (tried as i32 + 1, "orders"));
            assert_eq!((last.property("KEYS"), last.property("UNIQ_KEY")), ("k", "U1"));
        }
        give_back(&world, &last, 0, Some(4)).expect("it is stored");
        let dead = world.records(DEAD, 0).remove(0);
        assert_eq!((dead.reconsumed, dead.property("DLQ_ORIGIN_TOPIC")), (5, "orders"));
        let waited: Vec<&String> = dead.properties.keys().filter(|name| name.starts_with("TIMER_")).collect();
        assert_eq!((waited, dead.property("DELAY")), (vec![], ""), "a dead letter says nothing of its waits");
        assert_eq!(world.store.timers().count(), (0, 0));
    }
}

#[test]
fn a_level_that_the_consumer_names_goes_before_the_policy() {
    let world = world_with(GROWING);
    world.put("orders", 0, &[], "fails");
    let original = world.records("orders", 0).remove(0);
    give_back(&world, &original, 2, None).expect("it is stored");
    world.pass(Duration::from_millis(4_999));
    assert_eq!(world.bodies(RETRY, 0).len(), 0);
    world.pass(Duration::from_millis(1));
    let retry = world.records(RETRY, 0).remove(0);
    give_back(&world, &retry, -1, None).expect("it is stored");
    assert_eq!(world.bodies(DEAD, 0), ["fails"]);
}

#[test]
fn a_message_that_waited_by_its_producers_wish_keeps_it_until_the_policy_has_another() {
    let world = world_with(GROWING);
    world.put("orders", 0, &[("TIMER_DELAY_MS", "5")], "a");
    world.put("orders", 0, &[("TIMER_DELAY_MS", "5")], "b");
    world.pass(Duration::from_millis(5));
    let records = world.records("orders", 0);
    give_back(&world, &records[0], -1, None).expect("it is stored");
    give_back(&world, &records[1], 0, None).expect("it is stored");
    let dead = world.records(DEAD, 0).remove(0);
    assert_eq!(dead.property("TIMER_DELIVER_MS"), records[0].property("TIMER_DELIVER_MS"));
    world.pass(Duration::from_millis(250));
    let retry = world.records(RETRY, 0).remove(0);
    assert_eq!((retry.body.as_str(), retry.property("TIMER_DELAY_MS")), ("b", "5"));
    assert_eq!(world.store.timers().count(), (0, 0));
}

#[test]
fn a_retry_that_the_consumer_sends_by_itself_waits_by_the_policy() {
    let world = world_with(GROWING);
    let origin = [("RETRY_TOPIC", "orders"), ("UNIQ_KEY", "U")];
    let send = |reconsumed, level: &str| {
        let properties = [&origin[..], &[("DELAY", level)]].concat();
        world.send(to_retry_topic(reconsumed, &properties)).expect("it is stored")
    };
    assert!(send(1, "3").timed.is_none(), "a retry has no handle");
    world.pass(Duration::from_millis(249));
    assert_eq!(world.bodies(RETRY, 0).len(), 0);
    world.pass(Duration::from_millis(1));
    let retry = world.records(RETRY, 0).remove(0);
    assert_eq!((retry.reconsumed, retry.property("DELAY")), (1, ""));
    // Another level than the usual one is a wish.
    send(2, "1");
    world.pass(Duration::from_millis(999));
    assert_eq!(world.bodies(RETRY, 0).len(), 1);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.bodies(RETRY, 0).len(), 2);
    send(3, "5");
    assert_eq!(world.bodies(DEAD, 0), ["self-made"]);
}

#[test]
fn attempts_are_exact_whoever_names_the_limit() {
    // The limit of the group, of the request, and both; the attempts before the dead letters.
    for (of_group, of_request, attempts) in
        [(0, None, 1), (1, None, 2), (3, None, 4), (16, Some(0), 1), (0, Some(2), 3), (5, Some(1), 2)]
    {
        let world = World::new();
        let config = SubscriptionGroupConfig {
            group_name: Group::stored("g"),
            retry_max_times: of_group,
            group_retry_policy: policy(GROWING),
            ..SubscriptionGroupConfig::default()
        };
        world.broker.groups().update(config, &world.store, world.now()).expect("it is set");
        world.put("orders", 0, &[], "fails");
        let mut last = world.records("orders", 0).remove(0);
        let mut given = 1;
        while world.broker.topics().get(DEAD).is_none() {
            give_back(&world, &last, 0, of_request).expect("it is stored");
            world.pass(Duration::from_secs(1));
            if let Some(retry) = world.records(RETRY, 0).into_iter().nth(given - 1) {
                (last, given) = (retry, given + 1);
            }
        }
        assert_eq!(given, attempts, "{of_group} {of_request:?}");
        assert_eq!(world.records(DEAD, 0)[0].reconsumed as usize, attempts);
        world.pass(Duration::from_secs(9999));
        assert_eq!((world.records(DEAD, 0).len(), world.records(RETRY, 0).len()), (1, attempts - 1));
    }
}

#[test]
fn a_consumer_that_counts_by_itself_is_believed() {
    let world = World::new();
    world.put("orders", 0, &[], "fails");
    let original = world.records("orders", 0).remove(0);
    let input = SendBackInput { reconsumed: Some(3), ..back_input(&original, 0, Some(3)) };
    world.finish(world.broker.send_back(input, world.now())).expect("it is stored");
    world.steps();
    assert_eq!(world.records(DEAD, 0)[0].reconsumed, 4);
}

#[test]
fn a_queue_stays_with_its_holder_when_the_broker_starts_again() {
    let queue = |id| QueueKey { topic: TopicName::stored("orders"), queue: QueueId(id) };
    let wish = |client: &str, queues: &[u32]| LockInput {
        group: Group::stored("g"),
        client: ByteStr::from(client),
        queues: queues.iter().map(|id| queue(*id)).collect(),
    };
    let mut world = World::new();
    let lock = |world: &World, client: &str, queues: &[u32]| {
        world.broker.lock_queues(&wish(client, queues), world.now())
    };
    assert_eq!(lock(&world, "c1", &[0, 1, 2]), [true; 3]);
    world.broker.unlock_queues(&wish("c1", &[2]));
    world.clock_forward(Duration::from_secs(5));
    world = world.kill();
    assert_eq!(lock(&world, "c2", &[0, 1, 2]), [false, false, true], "its first holder is still at work");
    // The group consumes in order, whoever has spoken up by now: what it sends back it gave up.
    world.send(to_retry_topic(1, &[("RETRY_TOPIC", "orders")])).expect("it is stored");
    assert_eq!(world.bodies(DEAD, 0), ["self-made"]);
    world.clock_forward(Duration::from_secs(20));
    assert_eq!(lock(&world, "c1", &[0]), [true], "it lives");
    world.clock_forward(Duration::from_secs(11));
    assert_eq!(lock(&world, "c2", &[0, 1]), [false, true], "of the other nothing was heard");
    world = world.kill();
    assert_eq!(lock(&world, "c1", &[0, 1, 2]), [true, false, false]);
    // What ended is forgotten for good.
    world.clock_forward(Duration::from_secs(61));
    world.broker.upkeep_step(world.now());
    world = world.kill();
    assert_eq!(lock(&world, "c3", &[0, 1, 2]), [true; 3]);
}

#[test]
fn a_lock_that_cannot_be_noted_is_not_given_and_one_that_is_can_be_renewed() {
    let mut world = World::new();
    let wish = |client: &str, id| LockInput {
        group: Group::stored("g"),
        client: ByteStr::from(client),
        queues: vec![QueueKey { topic: TopicName::stored("orders"), queue: QueueId(id) }],
    };
    assert_eq!(world.broker.lock_queues(&wish("c1", 0), world.now()), [true]);
    (world.store_config.retention.refuse_ratio, world.store_config.retention.resume_ratio) = (0.0, 0.0);
    let world = world.kill();
    world.store.retain_step();
    assert_eq!(world.broker.lock_queues(&wish("c1", 1), world.now()), [false], "the disk is full");
    assert_eq!(world.broker.lock_queues(&wish("c1", 0), world.now()), [true]);
}

#[test]
fn a_failed_message_is_put_into_its_light_queues_once() {
    let world = World::new();
    world.put("orders", 0, &[("INNER_MULTI_DISPATCH", "%LMQ%a")], "fails");
    let original = world.records("%LMQ%a", 0).remove(0);
    give_back(&world, &original, 0, None).expect("it is stored");
    give_back(&world, &original, -1, None).expect("it is stored");
    world.pass(Duration::from_secs(10));
    for copies in [RETRY, DEAD] {
        let copy = world.records(copies, 0).remove(0);
        let lists = (copy.property("INNER_MULTI_DISPATCH"), copy.property("INNER_MULTI_QUEUE_OFFSET"));
        assert_eq!(lists, ("%LMQ%a", ""), "{copies}");
    }
    assert_eq!(world.bodies("%LMQ%a", 0), ["fails"]);
}
