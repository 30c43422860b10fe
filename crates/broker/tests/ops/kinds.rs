// SPDX-License-Identifier: Apache-2.0
//! Kinds of messages: priorities, and topics that take one kind only.

use broker::ops::send::SendInput;
use bytes::Bytes;
use protocol::batch::{self, Unit};
use protocol::body::TopicConfig;
use protocol::names::TopicName;

use crate::world::{World, input, text};

fn topic_of(world: &World, name: &str, kind: Option<&str>) {
    let mut config = TopicConfig::new(TopicName::stored(name), 4, 6);
    if let Some(kind) = kind {
        config.attributes.insert("message.type".into(), kind.into());
    }
    world.broker.topics().update(config, &world.store, world.now()).expect("it is set");
}

const PRIORITY: &str = "_SYS_MSG_PRIORITY_";

#[test]
fn the_priority_is_the_queue_whatever_was_asked_for() {
    let world = World::new();
    topic_of(&world, "t", None);
    for (priority, queue) in [("0", 0), ("2", 2), ("3", 3), ("2147483647", 3), ("-1", 1), ("high", 1)] {
        let sent = world.send(input("t", 1, &[(PRIORITY, priority)], priority)).expect("it is stored");
        assert_eq!(sent.queue.0, queue, "{priority}");
        assert!(world.bodies("t", queue).contains(&priority.to_owned()), "{priority}");
    }
    let any = SendInput { queue: None, ..input("t", 0, &[(PRIORITY, "2")], "any") };
    assert_eq!(world.send(any).expect("it is stored").queue.0, 2);
}

#[test]
fn a_message_of_another_kind_has_no_priority() {
    let world = World::new();
    topic_of(&world, "t", None);
    let sent = world.send(input("t", 1, &[(PRIORITY, "3"), ("__SHARDINGKEY", "k")], "x"));
    assert_eq!(sent.expect("it is stored").queue.0, 1);
    let record = &world.records("t", 1)[0];
    assert!(!record.properties.contains_key(PRIORITY) && record.property("__SHARDINGKEY") == "k");
}

#[test]
fn a_broker_looks_at_kinds_only_when_told_to() {
    let world = World::new();
    topic_of(&world, "ordered", Some("FIFO"));
    world.put("ordered", 0, &[], "plain");
    let world = World::with(|config, _| config.sending.check_message_types = true);
    for kind in ["FIFO", "NORMAL", "DELAY", "TRANSACTION", "PRIORITY", "LITE", "MIXED", "UNSPECIFIED"] {
        topic_of(&world, kind, Some(kind));
    }
    topic_of(&world, "silent", None);
    let messages: [(&str, &[(&str, &str)]); 6] = [
        ("NORMAL", &[]),
        ("FIFO", &[("__SHARDINGKEY", "k")]),
        ("DELAY", &[("DELAY", "1")]),
        ("TRANSACTION", &[("TRAN_MSG", "true"), ("PGROUP", "p")]),
        ("PRIORITY", &[(PRIORITY, "1")]),
        ("LITE", &[("__LITE_TOPIC", "a")]),
    ];
    for (kind, properties) in messages {
        for topic in
            ["NORMAL", "FIFO", "DELAY", "TRANSACTION", "PRIORITY", "LITE", "MIXED", "UNSPECIFIED", "silent"]
        {
            let outcome = world.send(input(topic, 0, properties, "x"));
            let is_taken = topic == kind || topic == "MIXED" || (topic == "silent" && kind == "NORMAL");
            assert_eq!(outcome.is_ok(), is_taken, "{kind} to {topic}: {outcome:?}");
        }
    }
    let refused = world.send(input("FIFO", 0, &[], "x")).expect_err("it is no ordered message");
    assert_eq!(
        refused.to_string(),
        "TopicMessageType validate failed, the expected type is FIFO, but actual type is NORMAL"
    );
    let mut body = Vec::new();
    for properties in [text(&[("__SHARDINGKEY", "k")]), text(&[])] {
        let unit = Unit { flag: 0, body: b"x", properties: properties.as_bytes() };
        batch::encode(&unit, &mut body).expect("it fits");
    }
    let before = world.bodies("FIFO", 0).len();
    let batch = SendInput { body: Bytes::from(body), batch: true, ..input("FIFO", 0, &[], "") };
    assert!(world.send(batch).is_err(), "one of a batch is no ordered message");
    assert_eq!(world.bodies("FIFO", 0).len(), before, "and so none of it is stored");
    topic_of(&world, "%RETRY%g", None);
    world.send(input("%RETRY%g", 0, &[("__SHARDINGKEY", "k")], "x")).expect("retries are of every kind");
}
