// SPDX-License-Identifier: Apache-2.0
//! What a pull finds, and how it waits.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use broker::ops::pull::PullInput;
use broker::topics::WRITE;
use protocol::body::{SubscriptionGroupConfig, TopicConfig};
use protocol::names::{ByteStr, Group, QueueId, QueueOffset, TopicName};

use crate::world::{World, poll, pull_input, show};

#[test]
fn every_place_of_a_queue_has_its_outcome() {
    let world = World::new();
    world.put("orders", 0, &[], "a");
    assert_eq!(world.look("orders", 1, 0), "Empty, next 0 of 0..0");
    assert_eq!(world.look("orders", 1, 5), "NoMessages, next 0 of 0..0");
    world.put("orders", 0, &[], "b");
    assert_eq!(world.look("orders", 0, 0), "found a b, next 2 of 0..2");
    assert_eq!(world.look("orders", 0, 1), "found b, next 2 of 0..2");
    assert_eq!(world.look("orders", 0, 2), "AtTail, next 2 of 0..2");
    assert_eq!(world.look("orders", 0, 3), "TooLarge, next 2 of 0..2");
}

#[test]
fn what_is_refused_says_why() {
    let world = World::new();
    world.put("orders", 0, &[], "a");
    assert_eq!(world.look("nowhere", 0, 0), "refused: topic[nowhere] not exist, apply first please!");
    assert_eq!(world.look("orders", 4, 0), "refused: queueId[4] is illegal, topic:[orders] has 4 queues");
    let without = PullInput { filter: None, ..pull_input("orders", 0, 0) };
    assert_eq!(show(world.pull(without)), "refused: the consumer's group info not exist, group: g");
    let config = TopicConfig::new(TopicName::stored("secret"), 1, WRITE);
    world.broker.topics().update(config, &world.store, world.now()).expect("it is set");
    assert_eq!(
        world.look("secret", 0, 0),
        "refused: the topic[secret] pulling message is forbidden: its permission is 2"
    );
    let stopped = SubscriptionGroupConfig {
        group_name: Group::stored("g"),
        consume_enable: false,
        ..SubscriptionGroupConfig::default()
    };
    world.broker.groups().update(stopped, &world.store, world.now()).expect("it is set");
    assert_eq!(world.look("orders", 0, 0), "refused: subscription group no permission, g");
}

#[test]
fn limits_are_kept_and_one_message_always_fits() {
    let world = World::new();
    for body in ["1111111111", "2222222222", "3333333333"] {
        world.put("orders", 0, &[], body);
    }
    let pull = |messages, bytes| {
        show(world.pull(PullInput { messages, bytes: Some(bytes), ..pull_input("orders", 0, 0) }))
    };
    assert_eq!(pull(2, 1 << 20), "found 1111111111 2222222222, next 2 of 0..3");
    assert_eq!(pull(32, 1), "found 1111111111, next 1 of 0..3");
    assert_eq!(pull(0, 0), "found 1111111111, next 1 of 0..3");
}

#[test]
fn tags_that_share_a_hash_are_told_apart() {
    let world = World::new();
    for tag in ["Aa", "BB", "x", "Aa"] {
        world.put("orders", 0, &[("TAGS", tag)], tag);
    }
    let pull = |from, expression| {
        let filter = Some((ByteStr::from("TAG"), ByteStr::from(expression)));
        show(world.pull(PullInput { filter, ..pull_input("orders", 0, from) }))
    };
    assert_eq!(pull(0, "Aa"), "found Aa Aa, next 4 of 0..4");
    assert_eq!(pull(0, "BB || x"), "found BB x, next 4 of 0..4");
    assert_eq!(pull(1, "nothing"), "Filtered, next 4 of 0..4");
}

fn waiting(topic: &str, queue: u32, from: u64, tags: &str) -> PullInput {
    PullInput {
        wait: Some(Duration::from_secs(15)),
        filter: Some((ByteStr::from("TAG"), ByteStr::from(tags))),
        ..pull_input(topic, queue, from)
    }
}

#[test]
fn a_pull_waits_for_what_it_wants_and_no_longer() {
    let world = World::new();
    world.put("orders", 0, &[("TAGS", "a")], "first");
    let mut pull = pin!(world.broker.pull(waiting("orders", 0, 1, "b"), world.now()));
    assert!(poll(pull.as_mut()).is_pending());
    assert_eq!(world.broker.waiting_pulls(), 1);
    world.put("orders", 1, &[("TAGS", "b")], "other queue");
    world.put("orders", 0, &[("TAGS", "a")], "other tag");
    world.pass(Duration::from_secs(14));
    assert!(poll(pull.as_mut()).is_pending(), "nothing for it came, and its time is not over");
    world.put("orders", 0, &[("TAGS", "b")], "wanted");
    let Poll::Ready(pulled) = poll(pull.as_mut()) else { panic!("it was woken") };
    assert_eq!(show(pulled), "found wanted, next 3 of 0..3");
    assert_eq!(world.broker.waiting_pulls(), 0);
}

#[test]
fn a_pull_ends_when_its_time_is_over() {
    let world = World::new();
    world.put("orders", 0, &[], "first");
    let mut tail = pin!(world.broker.pull(waiting("orders", 0, 1, "*"), world.now()));
    let mut empty = pin!(world.broker.pull(waiting("orders", 3, 0, "*"), world.now()));
    let mut picky = pin!(world.broker.pull(waiting("orders", 0, 1, "b"), world.now()));
    for pull in [&mut tail, &mut empty, &mut picky] {
        assert!(poll(pull.as_mut()).is_pending());
    }
    world.put("orders", 0, &[("TAGS", "a")], "not for the picky one");
    world.pass(Duration::from_millis(14_999));
    let Poll::Ready(pulled) = poll(tail.as_mut()) else { panic!("it was woken") };
    assert_eq!(show(pulled), "found not for the picky one, next 2 of 0..2");
    assert!(poll(empty.as_mut()).is_pending() && poll(picky.as_mut()).is_pending());
    world.pass(Duration::from_millis(1));
    let Poll::Ready(pulled) = poll(empty.as_mut()) else { panic!("its time is over") };
    assert_eq!(show(pulled), "Empty, next 0 of 0..0");
    let Poll::Ready(pulled) = poll(picky.as_mut()) else { panic!("its time is over") };
    assert_eq!(show(pulled), "Filtered, next 2 of 0..2", "it goes on behind what it does not want");
}

#[test]
fn a_pull_that_waits_gets_nothing_once_its_group_is_stopped() {
    let world = World::new();
    world.put("orders", 0, &[], "first");
    let mut pull = pin!(world.broker.pull(waiting("orders", 0, 1, "*"), world.now()));
    assert!(poll(pull.as_mut()).is_pending());
    let stopped = SubscriptionGroupConfig {
        group_name: Group::stored("g"),
        consume_enable: false,
        ..SubscriptionGroupConfig::default()
    };
    world.broker.groups().update(stopped, &world.store, world.now()).expect("it is set");
    world.put("orders", 0, &[], "too late");
    let Poll::Ready(refused) = poll(pull.as_mut()) else { panic!("it was woken") };
    assert_eq!(show(refused), "refused: subscription group no permission, g");
}

#[test]
fn a_dropped_pull_is_forgotten_and_too_many_are_refused() {
    let world = World::with(|config, _| config.reading.waiters_max = 1);
    world.put("orders", 0, &[], "first");
    {
        let mut pull = pin!(world.broker.pull(waiting("orders", 0, 1, "*"), world.now()));
        assert!(poll(pull.as_mut()).is_pending());
        let mut second = pin!(world.broker.pull(waiting("orders", 0, 1, "*"), world.now()));
        let Poll::Ready(refused) = poll(second.as_mut()) else { panic!("there is no room") };
        assert_eq!(show(refused), "refused: [REJECTREQUEST] 1 pulls wait already, try again later");
    }
    assert_eq!(world.broker.waiting_pulls(), 0);
}

#[test]
fn a_pull_tells_progress_and_hears_of_a_reset_once() {
    let world = World::new();
    for body in ["a", "b", "c"] {
        world.put("orders", 0, &[], body);
    }
    let (group, topic) = (Group::stored("g"), TopicName::stored("orders"));
    let commit = |offset| PullInput { commit: Some(QueueOffset(offset)), ..pull_input("orders", 0, 2) };
    world.pull(commit(2)).expect("it is readable");
    world.pull(commit(1)).expect("it is readable");
    let committed = || world.broker.offsets().committed(&group, &topic, QueueId(0)).map(|offset| offset.0);
    assert_eq!(committed(), Some(2), "progress does not move back by itself");
    world.broker.send_group_to(&group, &topic, QueueId(0), QueueOffset(0));
    assert_eq!(show(world.pull(commit(3))), "Reset, next 0 of 0..3");
    assert_eq!(committed(), Some(0), "what the consumer said before it knew does not count");
    assert_eq!(world.look("orders", 0, 0), "found a b c, next 3 of 0..3");
}

#[test]
fn a_waiting_pull_hears_of_a_reset_at_once_and_other_groups_wait_on() {
    let world = World::new();
    world.put("orders", 0, &[], "a");
    let (group, topic) = (Group::stored("g"), TopicName::stored("orders"));
    let other = PullInput { group: Group::stored("other"), ..waiting("orders", 0, 1, "*") };
    let mut pull = pin!(world.broker.pull(waiting("orders", 0, 1, "*"), world.now()));
    let mut other = pin!(world.broker.pull(other, world.now()));
    let mut elsewhere = pin!(world.broker.pull(waiting("orders", 1, 0, "*"), world.now()));
    assert!(poll(pull.as_mut()).is_pending() && poll(other.as_mut()).is_pending());
    assert!(poll(elsewhere.as_mut()).is_pending());
    world.broker.send_group_to(&group, &topic, QueueId(0), QueueOffset(0));
    let Poll::Ready(pulled) = poll(pull.as_mut()) else { panic!("it was woken") };
    assert_eq!(show(pulled), "Reset, next 0 of 0..1");
    assert!(poll(other.as_mut()).is_pending() && poll(elsewhere.as_mut()).is_pending());
    world.put("orders", 0, &[], "b");
    let Poll::Ready(pulled) = poll(other.as_mut()) else { panic!("it was woken") };
    assert_eq!(show(pulled), "found b, next 2 of 0..2", "it did not miss what came after");
    assert_eq!(world.broker.waiting_pulls(), 1);
}
