// SPDX-License-Identifier: Apache-2.0
//! Consumer progress: what is kept, what a new group is told, what a killed broker forgets.

use std::time::Duration;

use broker::offsets::Committed;
use broker::ops::offset::PlaceInput;
use protocol::names::{Group, QueueId, QueueOffset, TopicName};
use stdx::ByteSize;
use store::Boundary;

use crate::world::{T0, World};

fn place(queue: u32) -> PlaceInput {
    PlaceInput { group: Group::stored("g"), topic: TopicName::stored("orders"), queue: QueueId(queue) }
}

fn with_group() -> World {
    let world = World::with(|config, _| config.reading.young_queue = ByteSize(4096));
    for body in ["a", "b", "c"] {
        world.put("orders", 0, &[], body);
    }
    world.look("orders", 0, 0);
    world
}

fn query(world: &World, queue: u32, zero: bool) -> Result<u64, String> {
    world
        .broker
        .query_offset(&place(queue), zero)
        .map(|offset| offset.0)
        .map_err(|refused| refused.to_string())
}

#[test]
fn a_new_group_starts_a_young_queue_at_its_beginning() {
    let world = with_group();
    assert_eq!(query(&world, 0, true), Ok(0));
    assert_eq!(query(&world, 1, true), Ok(0), "the end of an empty queue is its beginning");
    let unknown = Err("Not found, maybe this group consumer boot first".to_owned());
    assert_eq!(query(&world, 0, false), unknown);
    world.put("other", 0, &[], &"x".repeat(5000));
    assert_eq!(query(&world, 0, true), unknown, "the log has grown: the queue is no longer young");
    assert_eq!(query(&world, 1, true), Ok(0));
}

#[test]
fn a_group_that_was_removed_before_it_was_saved_does_not_come_back() {
    let world = with_group();
    let commit = || world.broker.update_offset(&place(0), QueueOffset(2), None);
    assert_eq!(commit(), Ok(Committed::Moved));
    world.broker.offsets().remove_group(&world.store, &place(0).group).unwrap();
    world.broker.upkeep_step(world.now());
    let committed =
        |world: &World| world.broker.offsets().committed(&place(0).group, &place(0).topic, QueueId(0));
    assert_eq!(commit(), Ok(Committed::Moved), "it may begin anew");
    world.broker.offsets().remove_group(&world.store, &place(0).group).unwrap();
    world.broker.upkeep_step(world.now());
    assert_eq!(committed(&world.kill()), None);
}

#[test]
fn commits_survive_a_kill_once_they_are_saved() {
    let world = with_group();
    let commit =
        |world: &World, queue, offset| world.broker.update_offset(&place(queue), QueueOffset(offset), None);
    assert_eq!(commit(&world, 0, 2), Ok(Committed::Moved));
    assert_eq!(commit(&world, 9, 5), Ok(Committed::Moved), "a queue the topic does not have is kept too");
    assert_eq!(commit(&world, 0, 1), Ok(Committed::Behind { stored: QueueOffset(2) }));
    world.broker.upkeep_step(world.now());
    assert_eq!(commit(&world, 0, 3), Ok(Committed::Moved));
    let world = world.kill();
    assert_eq!(
        (query(&world, 0, true), query(&world, 9, true)),
        (Ok(2), Ok(5)),
        "the last second is forgotten"
    );
}

#[test]
fn progress_of_many_large_rows_is_saved() {
    let world = with_group();
    for topic in 0..4 {
        world.put(&format!("t{topic}"), 0, &[], "x");
        for queue in 0..60_000 {
            let place = PlaceInput { topic: TopicName::stored(format!("t{topic}")), ..place(queue) };
            world.broker.update_offset(&place, QueueOffset(u64::from(queue) + 1), None).expect("it is kept");
        }
    }
    world.broker.upkeep_step(world.now());
    let world = world.kill();
    let offsets = world.broker.offsets();
    let all = |topic: u32| offsets.all(&Group::stored("g"), &TopicName::stored(format!("t{topic}")));
    assert!((0..4).all(|topic| all(topic).len() == 60_000));
}

#[test]
fn what_nobody_has_read_is_known() {
    let world = with_group();
    world.put("nobody-reads", 0, &[], "x");
    let floor = || world.broker.unread_from().0;
    assert_eq!(
        floor(),
        world.store.watermarks().dispatched.get(),
        "a group that committed nothing reads nothing"
    );
    world.broker.update_offset(&place(0), QueueOffset(1), None).expect("it is kept");
    assert_eq!(floor(), world.records("orders", 0)[1].log);
    world.broker.update_offset(&place(0), QueueOffset(3), None).expect("it is kept");
    world.put("orders", 0, &[("DELAY", "1")], "later");
    let waiting = world.records("SCHEDULE_TOPIC_XXXX", 0)[0].log;
    assert_eq!(floor(), waiting, "what waits for its time is needed too");
}

#[test]
fn only_an_operator_moves_progress_back() {
    let world = with_group();
    let commit = |offset, asker| world.broker.update_offset(&place(0), QueueOffset(offset), asker);
    commit(3, None).expect("it is kept");
    assert_eq!(
        commit(1, None),
        Ok(Committed::Behind { stored: QueueOffset(3) }),
        "a one-way commit is a consumer's"
    );
    assert_eq!(commit(1, Some(77)), Ok(Committed::Moved));
    assert_eq!(query(&world, 0, true), Ok(1));
}

#[test]
fn unknown_groups_and_topics_are_named() {
    let world = with_group();
    let nobody = PlaceInput { group: Group::stored("nobody"), ..place(0) };
    let nowhere = PlaceInput { topic: TopicName::stored("nowhere"), ..place(0) };
    let refused = |place: &PlaceInput| {
        world.broker.update_offset(place, QueueOffset(1), None).expect_err("it is refused").to_string()
    };
    assert_eq!(refused(&nobody), "subscription group [nobody] does not exist");
    assert_eq!(refused(&nowhere), "topic[nowhere] not exist, apply first please!");
    assert!(world.broker.groups().get("nobody").is_none(), "a refusal creates nothing");
}

#[test]
fn the_ends_of_a_queue_and_what_lies_at_a_time() {
    let world = World::new();
    for _ in 0..3 {
        world.put("orders", 0, &[], "x");
        world.pass(Duration::from_secs(1));
    }
    let (topic, queue) = (TopicName::stored("orders"), QueueId(0));
    let broker = &world.broker;
    assert_eq!((broker.queue_start(&topic, queue).0, broker.queue_end(&topic, queue, true).0), (0, 3));
    assert_eq!(broker.queue_end(&TopicName::stored("nowhere"), queue, true).0, 0);
    let at = |millis| broker.offset_at(&topic, queue, T0 + Duration::from_millis(millis), Boundary::Lower).0;
    assert_eq!([0, 1, 1000, 1500, 9000].map(at), [0, 1, 1, 2, 3]);
    assert_eq!(broker.first_stored_at(&topic, queue), Ok(Some(T0)));
    assert_eq!(broker.first_stored_at(&topic, QueueId(1)), Ok(None));
}

#[test]
fn progress_in_a_removed_topic_is_gone_once_the_log_says_so() {
    let mut world = with_group();
    let orders = TopicName::stored("orders");
    let commit = |world: &World| world.broker.update_offset(&place(0), QueueOffset(2), None);
    assert_eq!(commit(&world), Ok(Committed::Moved));
    world.broker.upkeep_step(world.now());
    let roomy = world.store_config.retention.clone();
    (world.store_config.retention.refuse_ratio, world.store_config.retention.resume_ratio) = (0.0, 0.0);
    let mut world = world.kill();
    world.store.retain_step();
    assert!(world.broker.offsets().remove_topic(&world.store, &orders).is_err(), "the disk is full");
    assert_eq!(world.broker.query_offset(&place(0), false), Ok(QueueOffset(2)), "nothing was removed");
    world.store_config.retention = roomy;
    let world = world.kill();
    assert_eq!(world.broker.offsets().remove_topic(&world.store, &orders), Ok(()));
    let world = world.kill();
    assert!(world.broker.query_offset(&place(0), false).is_err());
}

/// A power cut can take a topic's settings and leave its messages.
#[test]
fn messages_without_a_topic_go_with_its_removal() {
    let world = World::new();
    let orders = TopicName::stored("orders");
    let queue = world.store.queue(&orders, QueueId(0)).expect("a queue");
    let message = protocol::record::Message {
        topic: &orders,
        queue: QueueId(0),
        flag: 0,
        sys_flag: 0,
        born_at: T0,
        born_host: crate::world::address("10.0.0.9:5000"),
        store_host: crate::world::address("127.0.0.1:10911"),
        reconsume: 0,
        prepared: protocol::names::LogOffset(0),
        body: b"old",
        properties: b"",
    };
    world.store.append(&[store::Draft { queue: &queue, message }]).expect("it is stored");
    world.steps();
    assert!(world.broker.topics().get("orders").is_none());
    assert_eq!(world.broker.topics().remove(&orders, &world.store, world.now()), Ok(true));
    world.put("orders", 0, &[], "new");
    assert_eq!(world.bodies("orders", 0), ["new"]);
}
