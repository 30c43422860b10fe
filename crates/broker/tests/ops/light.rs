// SPDX-License-Identifier: Apache-2.0
//! Light queues: a message sent once is pulled from every queue that it lists, whichever way it came there.

use std::time::Duration;

use broker::ops::offset::PlaceInput;
use broker::ops::pull::Outcome;
use broker::ops::send::{LightRefused, SendRefused, Sending};
use bytes::Bytes;
use protocol::batch::{self, Unit};
use protocol::names::{ByteStr, Group, QueueId, QueueOffset, TopicName};
use store::Settled;

use crate::world::*;

const LIST: &str = "INNER_MULTI_DISPATCH";
const OFFSETS: &str = "INNER_MULTI_QUEUE_OFFSET";

/// Each message that a light queue holds: body, topic, offset in its topic, offsets in light queues.
fn light(world: &World, name: &str) -> Vec<String> {
    let show = |record: Seen| {
        format!("{} {}/{} {}", record.body, record.topic, record.offset, record.property(OFFSETS))
    };
    world.records(name, 0).into_iter().map(show).collect()
}

#[test]
fn a_message_is_pulled_from_its_topic_and_from_each_light_queue() {
    let world = World::new();
    world.put("orders", 0, &[(LIST, "%LMQ%a,%LMQ%b")], "one");
    world.put("orders", 1, &[(LIST, "%LMQ%b"), ("TAGS", "red")], "two");
    world.put("orders", 0, &[], "plain");
    assert_eq!(world.bodies("orders", 0), ["one", "plain"]);
    assert_eq!(light(&world, "%LMQ%a"), ["one orders/0 0,0"]);
    assert_eq!(light(&world, "%LMQ%b"), ["one orders/0 0,0", "two orders/0 1"]);
    assert_eq!(world.look("%LMQ%b", 0, 2), "AtTail, next 2 of 0..2");
    assert_eq!(world.look("%LMQ%c", 0, 0), "Empty, next 0 of 0..0");
    assert_eq!(world.look("%LMQ%b", 0, 9), "TooLarge, next 2 of 0..2");
    assert!(world.look("%LMQ%b", 1, 0).starts_with("refused: queueId[1] is illegal"));
    let mut red = pull_input("%LMQ%b", 0, 0);
    red.filter = Some((ByteStr::from("SQL92"), ByteStr::from("TAGS = 'red'")));
    assert_eq!(show(world.pull(red)), "found two, next 2 of 0..2");
    let end = |name: &str| world.broker.queue_end(&TopicName::stored(name), QueueId(0), true).0;
    assert_eq!((end("%LMQ%a"), end("%LMQ%b"), end("%LMQ%none")), (1, 2, 0));
    // No name server hears of them.
    assert!(world.broker.topics().all().iter().all(|topic| !topic.name().is_light()));
    let world = world.kill();
    assert_eq!(light(&world, "%LMQ%b").len(), 2);
    world.put("orders", 0, &[(LIST, "%LMQ%b")], "three");
    assert_eq!(light(&world, "%LMQ%b")[2], "three orders/2 2");
}

#[test]
fn a_reader_that_waits_is_woken() {
    let world = World::new();
    world.put("orders", 0, &[], "makes the topic");
    let mut input = pull_input("%LMQ%a", 0, 0);
    input.wait = Some(Duration::from_secs(10));
    let mut pull = std::pin::pin!(world.broker.pull(input, world.now()));
    assert!(poll(pull.as_mut()).is_pending());
    world.put("orders", 0, &[(LIST, "%LMQ%b")], "for another");
    assert!(poll(pull.as_mut()).is_pending());
    world.put("orders", 0, &[(LIST, "%LMQ%b,%LMQ%a")], "for it");
    let std::task::Poll::Ready(pulled) = poll(pull.as_mut()) else { panic!("it sleeps on") };
    assert_eq!(show(pulled), "found for it, next 1 of 0..1");
}

#[test]
fn what_waits_is_in_light_queues_when_it_is_in_its_topic() {
    let world = World::new();
    world.put("orders", 0, &[(LIST, "%LMQ%a")], "now");
    world.put("orders", 0, &[(LIST, "%LMQ%a"), ("DELAY", "1"), (OFFSETS, "77")], "level");
    world.put("orders", 0, &[(LIST, "%LMQ%a"), ("TIMER_DELAY_MS", "3000"), (OFFSETS, "78")], "timed");
    assert_eq!(light(&world, "%LMQ%a"), ["now orders/0 0"]);
    world.pass(Duration::from_millis(1100));
    assert_eq!(light(&world, "%LMQ%a"), ["now orders/0 0", "level orders/1 1"]);
    world.put("orders", 0, &[(LIST, "%LMQ%a")], "between");
    world.pass(Duration::from_secs(3));
    let all = ["now orders/0 0", "level orders/1 1", "between orders/2 2", "timed orders/3 3"];
    assert_eq!(light(&world, "%LMQ%a"), all);
    let world = world.kill();
    assert_eq!(light(&world, "%LMQ%a"), all);
}

/// A sender's own offsets are taken away, a copy for the dead letters has none: nothing is ever put where it was not given a place.
#[test]
fn offsets_from_outside_are_not_stored() {
    let world = World::new();
    world.put("orders", 0, &[(LIST, "%LMQ%a"), (OFFSETS, "5")], "one");
    world.put("orders", 0, &[(OFFSETS, "9"), (LIST, "%LMQ%a")], "two");
    world.put("orders", 0, &[(OFFSETS, "9")], "three");
    world.put("%RETRY%g", 0, &[(LIST, "%LMQ%a"), (OFFSETS, "9")], "retry");
    assert_eq!(light(&world, "%LMQ%a"), ["one orders/0 0", "two orders/1 1"]);
    assert_eq!(world.records("orders", 0)[2].property(OFFSETS), "");
    assert_eq!(world.records("%RETRY%g", 0)[0].property(OFFSETS), "");
    assert_eq!(world.store.poisoned(), None);
}

#[test]
fn lists_that_cannot_be_served_are_refused_before_anything_is_stored() {
    let world = World::with(|config, _| config.creation.light_queues_max = 3);
    let send = |list: &str, more: &[(&str, &str)]| {
        let properties = [&[(LIST, list)], more].concat();
        match world.send(input("orders", 0, &properties, "x")) {
            Ok(sent) => format!("{:?}", sent.settled),
            Err(refused) => refused.to_string(),
        }
    };
    let no_light = "which is no light queue";
    for bad in ["orders", "%LMQ%a,", "%LMQ%a,b", "%LMQ%", "%LMQ%a/b", "%LMQ%a, %LMQ%b"] {
        for more in [&[][..], &[("DELAY", "1")], &[("TRAN_MSG", "true")]] {
            assert!(send(bad, more).contains(no_light), "{bad:?} {more:?}: {}", send(bad, more));
        }
    }
    let many = vec!["%LMQ%a"; 1025].join(",");
    assert!(send(&many, &[]).contains("names 1025 light queues, at most 1024"), "{}", send(&many, &[]));
    let long = "x".repeat(240);
    let long = (0..130).map(|n| format!("%LMQ%{n}{long}")).collect::<Vec<_>>().join(",");
    assert!(send(&long, &[]).contains("properties are"), "{}", send(&long, &[]));
    assert_eq!(world.store.light_queues(), 0, "what is refused makes no queue");
    assert_eq!(send("  ", &[]), "Done", "a blank list is none");
    assert_eq!(send("%LMQ%a,%LMQ%b,%LMQ%c", &[]), "Done");
    assert!(send("%LMQ%d", &[]).starts_with("[LMQ_CONSUME_QUEUE_NUM_EXCEEDED]"), "{}", send("%LMQ%d", &[]));
    assert_eq!(send("%LMQ%c", &[]), "Done");
    assert_eq!(world.bodies("orders", 0).len(), 3);
    assert_eq!(light(&world, "%LMQ%c").len(), 2);
}

#[test]
fn batches_and_what_is_sent_together_get_offsets_one_after_another() {
    let world = World::new();
    let mut body = Vec::new();
    for (text, list) in [("b0", "%LMQ%a"), ("b1", "%LMQ%b,%LMQ%a"), ("b2", "")] {
        let properties = if list.is_empty() { String::new() } else { crate::world::text(&[(LIST, list)]) };
        batch::encode(&Unit { flag: 0, body: text.as_bytes(), properties: properties.as_bytes() }, &mut body)
            .unwrap();
    }
    let mut whole = input("orders", 0, &[], "");
    (whole.body, whole.batch) = (Bytes::from(body), true);
    world.send(whole).expect("it is stored");
    let inputs: Vec<_> = (0..12)
        .map(|n| {
            let list = [(LIST, "%LMQ%a")];
            input("orders", 0, if n == 3 { &[] } else { &list }, &format!("t{n}"))
        })
        .collect();
    for sending in world.broker.send_together(inputs, world.now()) {
        let Sending::Done(Ok(sent)) = sending else { panic!("it is stored at once") };
        assert_eq!(sent.settled, Settled::Done);
    }
    world.steps();
    let all = light(&world, "%LMQ%a");
    let offsets: Vec<&str> = all.iter().map(|one| one.rsplit([' ', ',']).next().unwrap()).collect();
    assert_eq!(offsets, (0..13).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(all[1], "b1 orders/1 0,1");
    assert_eq!(light(&world, "%LMQ%b"), ["b1 orders/1 0,1"]);
}

#[test]
fn groups_read_light_queues_without_being_set_up_and_their_progress_lasts() {
    let world = World::with(|config, _| {
        (config.creation.auto_create_groups, config.creation.auto_create_topics) = (false, true);
    });
    world.put("orders", 0, &[(LIST, "%LMQ%a.b@c")], "one");
    let mut pull = pull_input("%LMQ%a.b@c", 0, 0);
    pull.group = Group::stored("%LMQ%client-7");
    assert_eq!(show(world.pull(pull.clone())), "found one, next 1 of 0..1");
    let place =
        PlaceInput { group: pull.group.clone(), topic: TopicName::stored("%LMQ%a.b@c"), queue: QueueId(0) };
    assert_eq!(world.broker.query_offset(&place, false).ok(), None);
    assert_eq!(world.broker.query_offset(&place, true), Ok(QueueOffset(0)));
    world.broker.update_offset(&place, QueueOffset(1), None).expect("it is taken");
    assert_eq!(world.broker.query_offset(&place, false), Ok(QueueOffset(1)));
    assert!(world.broker.groups().all().iter().all(|group| !group.group_name.is_light()));
    pull.group = Group::stored("g");
    assert!(show(world.pull(pull)).contains("subscription group [g] does not exist"));
    world.pass(Duration::from_secs(2));
    world.broker.upkeep_step(world.now());
    let world = world.kill();
    assert_eq!(world.broker.query_offset(&place, false), Ok(QueueOffset(1)));
}

#[test]
fn a_message_sent_to_a_light_queue_goes_there_and_a_removed_one_begins_anew() {
    let world = World::new();
    assert_eq!(world.put("%LMQ%a", 0, &[(LIST, "%LMQ%b")], "direct"), 0);
    world.put("orders", 0, &[(LIST, "%LMQ%a")], "listed");
    assert_eq!(world.put("%LMQ%a", 0, &[], "direct again"), 2);
    assert_eq!(world.bodies("%LMQ%a", 0), ["direct", "listed", "direct again"]);
    assert_eq!(world.look("%LMQ%b", 0, 0), "Empty, next 0 of 0..0");
    world.broker.delete_topic(&TopicName::stored("%LMQ%a"), world.now()).expect("it is removed");
    assert_eq!(world.look("%LMQ%a", 0, 0), "Empty, next 0 of 0..0");
    world.put("orders", 0, &[(LIST, "%LMQ%a")], "anew");
    assert_eq!(light(&world, "%LMQ%a"), ["anew orders/1 0"]);
    let world = world.kill();
    assert_eq!(light(&world, "%LMQ%a"), ["anew orders/1 0"]);
}

#[test]
fn switched_off_a_list_is_a_property_like_any_other() {
    let world = World::with(|config, _| config.creation.light_dispatch = false);
    world.put("orders", 0, &[(LIST, "%LMQ%a,whatever")], "one");
    world.put("orders", 0, &[(LIST, "%LMQ%a"), ("DELAY", "1")], "two");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.bodies("orders", 0), ["one", "two"]);
    assert_eq!(world.look("%LMQ%a", 0, 0), "Empty, next 0 of 0..0");
    let mut config = world.config.clone();
    (config.creation.light_dispatch, config.creation.light_queues) = (true, false);
    world.broker.reconfigure(config.clone()).unwrap();
    assert!(world.look("%LMQ%a", 0, 0).contains("topic[%LMQ%a] not exist"));
    config.creation.light_queues = true;
    world.broker.reconfigure(config).unwrap();
    world.put("orders", 0, &[(LIST, "%LMQ%a")], "three");
    assert_eq!(light(&world, "%LMQ%a"), ["three orders/2 0"]);
}

#[test]
fn what_cannot_be_a_light_queue_is_no_topic() {
    let world = World::new();
    let refused = world.send(input("orders", 0, &[(LIST, "x")], "x")).unwrap_err();
    assert!(matches!(refused, SendRefused::Light(LightRefused::Name { .. })));
    for name in ["%LMQ%", "%LMQ%a/b", "%LMQ%a,b"] {
        assert!(world.look(name, 0, 0).contains("not exist"), "{name}: {}", world.look(name, 0, 0));
    }
    let pulled = world.pull(pull_input("%LMQ%a", 0, 0)).unwrap();
    assert!(matches!(pulled.outcome, Outcome::Empty));
}
