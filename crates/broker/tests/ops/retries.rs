// SPDX-License-Identifier: Apache-2.0
//! Failed messages: retries by level, then dead letters.

use std::time::Duration;

use broker::ops::lock::LockInput;
use broker::ops::send::SendInput;
use broker::ops::send_back::SendBackInput;
use protocol::names::{ByteStr, Group, LogOffset, QueueId, QueueKey, TopicName};

use crate::world::{Seen, World, address, input};

const RETRY: &str = "%RETRY%g";
const DEAD: &str = "%DLQ%g";

fn give_back(world: &World, record: &Seen, delay_level: i32, max: Option<i32>) -> Result<(), String> {
    let input = SendBackInput {
        group: Group::stored("g"),
        offset: LogOffset(record.log),
        delay_level,
        max,
        topic_flag: 0,
        store_host: address("127.0.0.1:10911"),
    };
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
    let other = LockInput { client: ByteStr::from("c2"), ..lock.clone() };
    assert_eq!(world.broker.lock_queues(&other, world.now()), [false]);
    world.broker.unlock_queues(&lock);
    assert_eq!(world.broker.lock_queues(&other, world.now()), [true]);
}
