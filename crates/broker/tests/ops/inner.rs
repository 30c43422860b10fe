// SPDX-License-Identifier: Apache-2.0
//! Topics that keep batches together: each batch is one record that takes as many offsets as it holds messages.

use std::time::Duration;

use broker::ops::offset::PlaceInput;
use broker::ops::pull::Outcome;
use broker::ops::send::SendInput;
use broker::ops::send_back::SendBackInput;
use bytes::Bytes;
use protocol::batch::{self, Unit, units};
use protocol::body::TopicConfig;
use protocol::names::{ByteStr, Group, LogOffset, QueueId, QueueOffset, TopicName};
use store::Boundary;

use crate::world::*;

const WHOLE: [(&str, &str); 1] = [("UNIQ_KEY", "whole")];

fn topic(world: &World, name: &str, more: &[(&str, &str)]) {
    let mut config = TopicConfig::new(TopicName::stored(name), 2, 6);
    for (name, value) in [("queue.type", "BatchCQ")].iter().chain(more) {
        config.attributes.insert((*name).into(), (*value).into());
    }
    world.broker.topics().update(config, &world.store, world.now()).expect("it is set");
}

/// A batch of messages, each with its body as its id and these properties.
fn of(name: &str, whole: &[(&str, &str)], bodies: &[&str], each: &[(&str, &str)]) -> SendInput {
    let mut body = Vec::new();
    for one in bodies {
        let properties = text(&[&[("UNIQ_KEY", *one)], each].concat());
        let unit = Unit { flag: 9, body: one.as_bytes(), properties: properties.as_bytes() };
        batch::encode(&unit, &mut body).expect("it works");
    }
    SendInput { body: Bytes::from(body), batch: true, ..input(name, 0, whole, "") }
}

fn put(world: &World, name: &str, bodies: &[&str]) -> u64 {
    let sent = world.send(of(name, &WHOLE, bodies, &[])).expect("it is stored");
    assert!(sent.is_inner && sent.rest.is_empty(), "one record");
    assert_eq!(sent.unique.as_deref(), Some("whole"));
    sent.queue_offset.0
}

/// What a pull finds: how many messages it counts, the bodies in each record, and where to go on.
fn look(world: &World, from: u64, messages: usize) -> String {
    let pulled = world.pull(broker::ops::pull::PullInput { messages, ..pull_input("t", 0, from) });
    let pulled = pulled.expect("it is readable");
    let Outcome::Found(found) = &pulled.outcome else { return format!("{:?}", pulled.outcome) };
    let records: Vec<String> = found
        .slices
        .iter()
        .flat_map(|slice| protocol::record::iterate(slice))
        .map(|record| {
            let record = record.expect("it works");
            let body = |body: &[u8]| String::from_utf8(body.to_vec()).expect("it works");
            match protocol::inner::is_wrapped(&record) {
                true => units(record.body())
                    .map(|unit| body(unit.expect("it works").body))
                    .collect::<Vec<_>>()
                    .join("+"),
                false => body(record.body()),
            }
        })
        .collect();
    format!("{}: {} next {}", found.count, records.join(" "), pulled.next)
}

#[test]
fn batches_and_plain_messages_share_a_queue() {
    let world = World::new();
    topic(&world, "t", &[]);
    assert_eq!(put(&world, "t", &["a", "b", "c"]), 0);
    assert_eq!(world.put("t", 0, &[], "plain"), 3);
    assert_eq!(put(&world, "t", &["d"]), 4);
    assert_eq!(put(&world, "t", &["e", "f"]), 5);
    assert_eq!(look(&world, 0, 32), "7: a+b+c plain d e+f next 7");
    assert_eq!(look(&world, 2, 4), "4: a+b+c plain next 4");
    assert_eq!(look(&world, 6, 1), "2: e+f next 7");
    assert_eq!(look(&world, 7, 1), "AtTail");
    let record = &world.records("t", 0)[0];
    for (name, value) in
        [("UNIQ_KEY", "whole"), ("INNER_NUM", "3"), ("INNER_BASE", "0"), ("CLUSTER", "DefaultCluster")]
    {
        assert_eq!(record.property(name), value);
    }
    let name = TopicName::stored("t");
    assert_eq!(world.broker.queue_end(&name, QueueId(0), true).0, 7);
    let world = world.kill();
    assert_eq!(look(&world, 1, 32), "7: a+b+c plain d e+f next 7");
    assert_eq!(put(&world, "t", &["g", "h"]), 7);
    assert_eq!(look(&world, 8, 32), "2: g+h next 9");
}

/// A topic of the usual type, and batches without an id of their own, are taken apart.
#[test]
fn what_is_not_kept_together_is_taken_apart() {
    let world = World::new();
    topic(&world, "t", &[("message.type", "NORMAL")]);
    let sent = world.send(of("t", &[], &["a", "b"], &[])).expect("it is stored");
    assert_eq!((sent.is_inner, sent.rest.len()), (false, 1));
    let sent = world.send(of("usual", &WHOLE, &["a", "b"], &[])).expect("it is stored");
    assert_eq!((sent.is_inner, sent.rest.len()), (false, 1));
    assert_eq!(look(&world, 1, 32), "1: b next 2");
    assert_eq!(world.bodies("usual", 0), ["a", "b"]);
    // Flags and numbers of a sender make nothing a batch, in no topic.
    let flagged = SendInput { sys_flag: 0xC0, ..input("t", 0, &[], "flagged") };
    world.send(flagged).expect("it is stored");
    assert_eq!(look(&world, 2, 32), "1: flagged next 3");
    for name in ["t", "usual", "%RETRY%g"] {
        let refused = world.send(input(name, 0, &[("INNER_NUM", "2")], "x")).expect_err("it is refused");
        assert_eq!(refused.to_string(), "the message had property INNER_NUM but is not an inner batch");
    }
    assert!(world.send(of("usual", &[("INNER_NUM", "2")], &["a"], &[])).is_err());
    world
        .send(of("t", &[("UNIQ_KEY", "w"), ("INNER_NUM", "9"), ("INNER_BASE", "1")], &["c", "d"], &[]))
        .expect("it works");
    assert_eq!(look(&world, 3, 32), "2: c+d next 5");
    world.send(of("usual", &WHOLE, &["c"], &[("INNER_NUM", "5"), ("INNER_BASE", "2")])).expect("it works");
    assert_eq!(world.records("usual", 0)[2].property("INNER_NUM"), "");
}

#[test]
fn a_batch_that_cannot_be_kept_together_is_refused_whole() {
    let world = World::with(|config, _| config.sending.batch_messages_max = 3);
    topic(&world, "t", &[]);
    let refused = |input: SendInput| world.send(input).map(|_| ()).expect_err("it is refused").to_string();
    for (whole, each, what) in [
        (&[("DELAY", "1")][..], &[][..], "delay level"),
        (&[], &[("DELAY", "1")], "delay level"),
        (&[("TIMER_DELAY_MS", "5")], &[], "a delivery time"),
        (&[], &[("TIMER_DELIVER_MS", "5")], "a delivery time"),
        (&[("TRAN_MSG", "true")], &[], "transactional messages"),
        (&[("INNER_MULTI_DISPATCH", "%LMQ%a")], &[], "light queues in this topic"),
        (&[], &[("INNER_MULTI_DISPATCH", "%LMQ%a")], "light queues in this topic"),
        (&[], &[("__TTL_MS", "5")], "a time to live of one message in this topic"),
    ] {
        let said = refused(of("t", &[&WHOLE[..], whole].concat(), &["a", "b"], each));
        assert_eq!(said, format!("batch request does not support {what}"));
    }
    let packed = SendInput { sys_flag: 1, ..of("t", &WHOLE, &["a"], &[]) };
    assert_eq!(refused(packed), "batch request does not support compression of the whole");
    assert_eq!(
        refused(of("t", &WHOLE, &["a", "b", "c", "d"], &[])),
        "a batch holds 1 to 3 messages, this one 4"
    );
    let mut cut = of("t", &WHOLE, &["a", "b"], &[]);
    cut.body = cut.body.slice(..cut.body.len() - 1);
    assert!(refused(cut).starts_with("the batch is not readable: unit 1"));
    let long = "x".repeat(32_700);
    let near = of("t", &[("UNIQ_KEY", "w"), ("K", &long[..32_660])], &["a"], &[]);
    assert!(refused(near).starts_with("the message properties are"), "there is no room for its place");
    assert!(refused(of("%RETRY%g", &WHOLE, &["a"], &[])).contains("retry group"));
    assert_eq!(world.look("t", 0, 0), "Empty, next 0 of 0..0");
    assert_eq!(world.store.light_queues(), 0);
}

#[test]
fn a_message_of_a_batch_that_is_given_back_is_tried_again_alone() {
    let world = World::new();
    topic(&world, "t", &[("message.ttl.ms", "60000")]);
    put(&world, "t", &["a", "b", "c"]);
    let record = world.records("t", 0).remove(0);
    let input = |id: Option<&str>, delay_level| SendBackInput {
        group: Group::stored("g"),
        offset: LogOffset(record.log),
        id: id.map(ByteStr::from),
        delay_level,
        max: None,
        reconsumed: None,
        topic_flag: 0,
        store_host: address("127.0.0.1:10911"),
    };
    let give = |id, delay_level| {
        let given = world.finish(world.broker.send_back(input(id, delay_level), world.now()));
        given.map(|_| ()).map_err(|refused| refused.to_string())
    };
    give(Some("b"), 1).expect("it is stored");
    give(Some("c"), -1).expect("it is stored");
    for nobody in [None, Some("whole"), Some("d"), Some("")] {
        assert!(
            give(nobody, 1)
                .expect_err("it is refused")
                .contains("is an inner batch, and has no message with id")
        );
    }
    world.pass(Duration::from_secs(1));
    let again = world.records("%RETRY%g", 0);
    assert_eq!(again.iter().map(|record| record.body.as_str()).collect::<Vec<_>>(), ["b"]);
    for (name, value) in
        [("UNIQ_KEY", "b"), ("RETRY_TOPIC", "t"), ("CLUSTER", "DefaultCluster"), ("INNER_NUM", "")]
    {
        assert_eq!(again[0].property(name), value, "{name}");
    }
    assert_eq!((again[0].reconsumed, again[0].property("__EXPIRE")), (1, record.property("__EXPIRE")));
    assert_ne!(record.property("__EXPIRE"), "");
    let dead = world.records("%DLQ%g", 0).remove(0);
    assert_eq!((dead.body.as_str(), dead.property("DLQ_ORIGIN_TOPIC")), ("c", "t"));
    let bytes = world.store.record_at(LogOffset(again[0].log)).expect("it works").expect("it works");
    let stored = protocol::record::Record::parse(&bytes).expect("it works");
    assert_eq!((stored.flag(), stored.sys_flag()), (9, 0), "nobody takes it apart");
}

#[test]
fn progress_is_counted_in_messages() {
    let world = World::new();
    topic(&world, "t", &[]);
    put(&world, "t", &["a", "b", "c"]);
    world.clock_forward(Duration::from_secs(10));
    put(&world, "t", &["d", "e"]);
    let (group, name) = (Group::stored("g"), TopicName::stored("t"));
    assert!(look(&world, 0, 2).starts_with("3: "), "the group is known by now");
    let place = PlaceInput { group, topic: name.clone(), queue: QueueId(0) };
    world.broker.update_offset(&place, QueueOffset(4), None).expect("it is taken");
    assert_eq!(world.broker.query_offset(&place, false), Ok(QueueOffset(4)));
    let at = |time, boundary| world.broker.offset_at(&name, QueueId(0), time, boundary).0;
    let later = T0 + Duration::from_secs(10);
    assert_eq!((at(later, Boundary::Lower), at(later, Boundary::Upper)), (3, 3));
    assert_eq!((at(T0, Boundary::Lower), at(T0, Boundary::Upper)), (0, 0));
    assert_eq!(at(later + Duration::from_secs(1), Boundary::Lower), 5);
    // What it has not read begins with the record that it is in.
    let record = world.records("t", 0).remove(1);
    assert_eq!(world.broker.unread_from(), LogOffset(record.log));
}

#[test]
fn a_batch_expires_whole_and_a_reader_that_waits_is_woken() {
    let world = World::new();
    topic(&world, "t", &[("message.ttl.ms", "5000")]);
    put(&world, "t", &["a", "b"]);
    let mut input = pull_input("t", 0, 2);
    input.wait = Some(Duration::from_secs(10));
    let mut pull = std::pin::pin!(world.broker.pull(input, world.now()));
    assert!(poll(pull.as_mut()).is_pending());
    put(&world, "t", &["c", "d"]);
    assert!(poll(pull.as_mut()).is_ready());
    assert_eq!(look(&world, 1, 32), "4: a+b c+d next 4");
    world.clock_forward(Duration::from_secs(6));
    assert_eq!(look(&world, 1, 32), "Filtered", "also from inside");
}
