// SPDX-License-Identifier: Apache-2.0
//! Messages that are worth being read for a while only.

use std::time::Duration;

use broker::ops::pull::{Outcome, PullInput};
use broker::ops::send::SendInput;
use broker::ops::send_back::SendBackInput;
use broker::ops::transaction::EndInput;
use broker::transaction::Decision;
use bytes::Bytes;
use protocol::batch::{self, Unit};
use protocol::body::TopicConfig;
use protocol::names::{Group, LogOffset, QueueOffset, TopicName};

use crate::world::{Seen, World, address, input, pull_input, seen, text};

const TTL: &str = "__TTL_MS";

/// Every body of a queue that a consumer gets now.
fn bodies(world: &World, topic: &str, queue: u32) -> Vec<String> {
    records(world, topic, queue).into_iter().map(|record| record.body).collect()
}

/// Everything of a queue that a consumer gets now; it ends where the queue ends.
fn records(world: &World, topic: &str, queue: u32) -> Vec<Seen> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let input = PullInput { messages: 100, ..pull_input(topic, queue, from) };
        let pulled = world.pull(input).expect("it is readable");
        match pulled.outcome {
            Outcome::Found(batch) => all.extend(batch.slices.iter().flat_map(|slice| seen(slice))),
            Outcome::Filtered => {}
            _ => {
                assert_eq!(from, pulled.end.0, "it got to the end");
                return all;
            }
        }
        assert!(pulled.next.0 > from, "a consumer gets on");
        from = pulled.next.0;
    }
}

fn topic_with_ttl(world: &World, name: &str, ttl: &str) {
    let mut config = TopicConfig::new(TopicName::stored(name), 1, 6);
    config.attributes.insert("message.ttl.ms".into(), ttl.into());
    world.broker.topics().update(config, &world.store, world.now()).expect("it is set");
}

#[test]
fn a_message_is_not_delivered_when_its_time_is_over() {
    let world = World::new();
    for (body, ttl) in [("a", "1000"), ("b", "2000"), ("c", "0"), ("d", "soon"), ("e", "1000")] {
        world.put("t", 0, &[(TTL, ttl)], body);
    }
    world.put("t", 0, &[], "f");
    world.clock_forward(Duration::from_millis(999));
    assert_eq!(bodies(&world, "t", 0), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(world.store.metrics().expired.get(), 0);
    world.clock_forward(Duration::from_millis(1));
    assert_eq!(bodies(&world, "t", 0), ["b", "c", "d", "f"]);
    assert_eq!(world.store.metrics().expired.get(), 2);
    assert_eq!(world.look("t", 0, 4), world.look("t", 0, 5), "who starts at one gets what is behind it");
    world.clock_forward(Duration::from_secs(1));
    assert_eq!(bodies(&world, "t", 0), ["c", "d", "f"]);
    let world = world.kill();
    assert_eq!(bodies(&world, "t", 0), ["c", "d", "f"], "the log says so");
    for _ in 0..2 {
        world.store.flush_step();
        world.store.checkpoint_step(true);
    }
    let world = world.kill();
    assert_eq!(bodies(&world, "t", 0), ["c", "d", "f"], "who reads a checkpoint knows, too");
    world.put("t", 1, &[(TTL, "1")], "alone");
    world.clock_forward(Duration::from_millis(1));
    let pulled = world.pull(pull_input("t", 1, 0)).expect("it is readable");
    assert!(matches!(pulled.outcome, Outcome::Filtered) && pulled.next == QueueOffset(1));
}

#[test]
fn a_topic_says_it_for_messages_that_do_not() {
    let world = World::new();
    topic_with_ttl(&world, "t", "1000");
    world.put("t", 0, &[], "a");
    world.put("t", 0, &[(TTL, "5000")], "b");
    let mut units = Vec::new();
    for (properties, body) in [(text(&[]), "c"), (text(&[(TTL, "5000")]), "d")] {
        let unit = Unit { flag: 0, body: body.as_bytes(), properties: properties.as_bytes() };
        batch::encode(&unit, &mut units).expect("it fits");
    }
    let batch = SendInput { body: Bytes::from(units), batch: true, ..input("t", 0, &[], "") };
    world.send(batch).expect("it is stored");
    world.clock_forward(Duration::from_secs(1));
    assert_eq!(bodies(&world, "t", 0), ["b", "d"]);
    topic_with_ttl(&world, "t", "100000");
    assert_eq!(bodies(&world, "t", 0), ["b", "d"], "what is stored keeps what was said then");
}

#[test]
fn it_counts_from_when_a_message_can_be_read_first() {
    let world = World::new();
    world.put("t", 0, &[(TTL, "1000"), ("DELAY", "3")], "by level");
    world.put("t", 1, &[(TTL, "1000"), ("TIMER_DELAY_MS", "10000")], "by time");
    let half = world.send(input("t", 2, &[(TTL, "1000"), ("TRAN_MSG", "true"), ("PGROUP", "p")], "half"));
    let half = half.expect("it is stored");
    world.pass(Duration::from_secs(10));
    let commit = EndInput {
        id: half.start,
        queue_offset: half.queue_offset,
        group: Some(Group::stored("p")),
        unique: [None, None],
        decision: Decision::Commit,
        audit: None,
    };
    world.finish(world.broker.end_transaction(commit, world.now())).expect("it is committed");
    world.pass(Duration::from_millis(999));
    for (queue, body) in [(0, "by level"), (1, "by time"), (2, "half")] {
        assert_eq!(bodies(&world, "t", queue), [body]);
    }
    world.pass(Duration::from_millis(1));
    for queue in 0..3 {
        assert!(bodies(&world, "t", queue).is_empty(), "{queue}");
    }
}

#[test]
fn a_retry_is_not_worth_longer_and_a_dead_letter_is_kept() {
    let world = World::new();
    world.put("t", 0, &[(TTL, "15000")], "fails");
    let original = records(&world, "t", 0).remove(0);
    let give_back = |record: &Seen, delay_level| {
        let input = SendBackInput {
            group: Group::stored("g"),
            offset: LogOffset(record.log),
            id: None,
            reconsumed: None,
            delay_level,
            max: None,
            topic_flag: 0,
            store_host: address("127.0.0.1:10911"),
        };
        world.finish(world.broker.send_back(input, world.now())).expect("it is stored");
        world.steps();
    };
    give_back(&original, 3);
    give_back(&original, -1);
    world.pass(Duration::from_secs(10));
    assert_eq!(bodies(&world, "%RETRY%g", 0), ["fails"]);
    world.pass(Duration::from_secs(5));
    assert!(bodies(&world, "%RETRY%g", 0).is_empty() && bodies(&world, "t", 0).is_empty());
    assert_eq!(bodies(&world, "%DLQ%g", 0), ["fails"]);
}
