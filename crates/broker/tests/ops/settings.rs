// SPDX-License-Identifier: Apache-2.0
//! Topics and groups: settings are part of the log, lookups create nothing, queries find messages.

use std::pin::pin;
use std::task::Poll;

use broker::ops::query::QueryInput;
use protocol::body::{SubscriptionGroupConfig, TopicConfig};
use protocol::names::{ByteStr, Group, LogOffset, TopicName};
use stdx::Timestamp;

use crate::world::{World, poll, seen};

#[test]
fn settings_survive_a_kill_with_their_version() {
    let world = World::new();
    let config = TopicConfig::new(TopicName::stored("orders"), 3, 6);
    world.broker.topics().update(config, &world.store, world.now()).expect("it is set");
    let group =
        SubscriptionGroupConfig { group_name: Group::stored("g"), retry_max_times: 5, ..Default::default() };
    world.broker.groups().update(group, &world.store, world.now()).expect("it is set");
    let versions = (world.broker.topics().version(), world.broker.groups().version());
    let world = world.kill();
    assert_eq!(world.broker.topics().get("orders").expect("it is there").config().read_queue_nums, 3);
    assert_eq!(world.broker.groups().get("g").expect("it is there").retry_max_times, 5);
    assert_eq!((world.broker.topics().version(), world.broker.groups().version()), versions);
    assert_eq!(world.broker.groups().remove(&Group::stored("g"), &world.store, world.now()), Ok(true));
    let world = world.kill();
    assert!(world.broker.groups().get("g").is_none());
}

#[test]
fn a_removed_topic_begins_again_at_zero() {
    let world = World::new();
    world.put("orders", 0, &[], "old");
    let topics = world.broker.topics();
    assert_eq!(topics.remove(&TopicName::stored("orders"), &world.store, world.now()), Ok(true));
    assert_eq!(topics.remove(&TopicName::stored("orders"), &world.store, world.now()), Ok(false));
    assert!(world.look("orders", 0, 0).starts_with("refused"));
    assert_eq!(world.put("orders", 0, &[], "new"), 0);
    assert_eq!(world.bodies("orders", 0), ["new"]);
    let world = world.kill();
    assert_eq!(world.bodies("orders", 0), ["new"]);
}

#[test]
fn messages_are_found_by_key_by_id_and_by_place() {
    let world = World::new();
    world.put("orders", 0, &[("KEYS", "k1 k2"), ("UNIQ_KEY", "U1")], "one");
    world.put("orders", 1, &[("KEYS", "k2"), ("UNIQ_KEY", "U2")], "two");
    let query = |key: &str, unique| {
        let found = world.finish(world.broker.query(QueryInput {
            topic: TopicName::stored("orders"),
            key: ByteStr::from(key),
            unique,
            max: 10,
            begin: Timestamp(0),
            end: Timestamp(i64::MAX),
        }));
        let mut bodies: Vec<String> = found
            .map_err(|refused| refused.to_string())?
            .records
            .iter()
            .flat_map(|record| seen(record))
            .map(|record| record.body)
            .collect();
        bodies.sort();
        Ok::<_, String>(bodies.join(" "))
    };
    assert_eq!(query("k2", false), Ok("one two".into()));
    assert_eq!(query("k1", false), Ok("one".into()));
    assert_eq!(query("U2", true), Ok("two".into()));
    assert_eq!(query("U2", false), Err("can not find message, maybe time range not correct".into()));
    let place = LogOffset(world.records("orders", 1)[0].log);
    let view = |at| world.finish(world.broker.view(at));
    assert_eq!(seen(&view(place).expect("it is there"))[0].body, "two");
    assert!(view(LogOffset(place.0 + 1)).is_err());
}

#[test]
fn a_search_is_done_by_the_readers_of_the_store() {
    let world = World::new();
    world.put("orders", 0, &[("KEYS", "k1")], "one");
    let mut query = pin!(world.broker.query(QueryInput {
        topic: TopicName::stored("orders"),
        key: ByteStr::from("k1"),
        unique: false,
        max: 10,
        begin: Timestamp(0),
        end: Timestamp(i64::MAX),
    }));
    assert!(poll(query.as_mut()).is_pending(), "whoever asks does not search");
    assert_eq!(world.store.reader_step(), 1);
    let Poll::Ready(found) = poll(query.as_mut()) else { panic!("it was answered") };
    assert_eq!(found.expect("it is there").records.len(), 1);
    // A place in memory is read at once.
    assert!(poll(pin!(world.broker.view(LogOffset(world.records("orders", 0)[0].log)))).is_ready());
    assert_eq!(world.store.reader_step(), 0);
}
