// SPDX-License-Identifier: Apache-2.0
//! What becomes of a send.

use std::task::Poll;
use std::time::Duration;

use broker::ops::send::{SendInput, SendRefused, Sending, Sent};
use broker::topics::{READ, Template};
use bytes::Bytes;
use expect_test::{Expect, expect};
use protocol::batch::{self, Unit};
use protocol::body::TopicConfig;
use protocol::names::{ByteStr, TopicName};
use store::{AppendError, Durability, Settled};

use crate::world::{World, input, poll, text};

fn refusal(world: &World, input: SendInput, expected: Expect) {
    expected.assert_eq(&world.send(input).expect_err("it is refused").to_string());
}

#[test]
fn a_message_gets_what_the_broker_adds_and_keeps_the_rest() {
    let world = World::new();
    let sent = world.send(input("orders", 2, &[("TAGS", "a"), ("UNIQ_KEY", "U1"), ("POP_CK", "x")], "hi"));
    let sent = sent.expect("it is stored");
    assert_eq!((sent.queue.0, sent.queue_offset.0, sent.settled), (2, 0, Settled::Done));
    assert_eq!(sent.unique.as_deref(), Some("U1"));
    let record = &world.records("orders", 2)[0];
    assert_eq!((record.body.as_str(), record.offset, record.log), ("hi", 0, sent.start.0));
    let properties: Vec<String> =
        record.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
    expect!["CLUSTER=DefaultCluster MSG_REGION=DefaultRegion TAGS=a TRACE_ON=true UNIQ_KEY=U1"]
        .assert_eq(&properties.join(" "));
}

#[test]
fn a_message_without_an_id_gets_one() {
    let world = World::new();
    let sent = world.send(input("orders", 0, &[], "hi")).expect("it is stored");
    let id = sent.unique.expect("it got one");
    assert_eq!(id.len(), 32);
    assert_eq!(world.records("orders", 0)[0].property("UNIQ_KEY"), &*id);
}

#[test]
fn an_unknown_topic_is_made_from_its_template() {
    let world = World::new();
    world.put("orders", 0, &[], "x");
    let topic = world.broker.topics().get("orders").expect("it was made");
    assert_eq!((topic.config().write_queue_nums, topic.config().perm), (4, 6));
    let mut many = input("wide", 0, &[], "x");
    many.template.queues = 1000;
    world.send(many).expect("it is stored");
    assert_eq!(world.broker.topics().get("wide").expect("it was made").config().write_queue_nums, 8);
    let nowhere = SendInput {
        template: Template { topic: Some(TopicName::stored("BenchmarkTest")), queues: 4, sys_flag: 0 },
        ..input("other", 0, &[], "x")
    };
    refusal(&world, nowhere, expect!["topic[other] not exist, apply first please!"]);
    let world = world.kill();
    assert_eq!(world.broker.topics().get("wide").expect("it is still there").config().write_queue_nums, 8);
    assert!(world.broker.topics().version().counter >= 2);
}

#[test]
fn auto_creation_can_be_turned_off_and_on_again() {
    let world = World::with(|config, _| config.creation.auto_create_topics = false);
    refusal(&world, input("orders", 0, &[], "x"), expect!["topic[orders] not exist, apply first please!"]);
    assert!(world.broker.topics().get("TBW102").is_none(), "clients see no template to create from");
    let mut config = world.config.clone();
    config.creation.auto_create_topics = true;
    world.broker.reconfigure(config).expect("the settings are fine");
    world.put("orders", 0, &[], "x");
}

#[test]
fn what_is_refused_says_why() {
    let world = World::with(|config, _| config.sending.max_message = stdx::ByteSize(8));
    refusal(
        &world,
        input("orders", 9, &[], "x"),
        expect!["queueId[9] is illegal, topic:[orders] has 4 queues"],
    );
    refusal(&world, input("orders", 0, &[], ""), expect!["the message has no body"]);
    refusal(
        &world,
        input("orders", 0, &[], "123456789"),
        expect!["the message body is 9 bytes long, at most 8 are allowed"],
    );
    refusal(
        &world,
        input("bad name", 0, &[], "x"),
        expect!["the topic name contains ' ' at byte 3; allowed are letters, digits, '%', '|', '-' and '_'"],
    );
    refusal(
        &world,
        input("SCHEDULE_TOPIC_XXXX", 0, &[], "x"),
        expect!["Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden."],
    );
    refusal(
        &world,
        input("orders", 0, &[("TIMER_DELAY_MS", "soon")], "x"),
        expect![[
            r#"timer message illegal: TIMER_DELAY_MS is "soon", which is no number of milliseconds or seconds"#
        ]],
    );
    let long = "v".repeat(32_767);
    refusal(
        &world,
        input("orders", 0, &[("K", &long)], "x"),
        expect!["the message properties are 32770 bytes long, at most 32767 are allowed"],
    );
    assert_eq!(world.bodies("orders", 0), Vec::<String>::new(), "nothing of it was stored");
}

#[test]
fn a_topic_that_only_reads_takes_nothing() {
    let world = World::new();
    let config = TopicConfig::new(TopicName::stored("closed"), 1, READ);
    world.broker.topics().update(config, &world.store, world.now()).expect("it is set");
    refusal(
        &world,
        input("closed", 0, &[], "x"),
        expect!["sending to the topic[closed] is forbidden: its permission is 4"],
    );
}

#[test]
fn a_broker_without_write_permission_takes_nothing() {
    let world = World::with(|config, _| config.identity.permission = 4);
    refusal(
        &world,
        input("orders", 0, &[], "x"),
        expect!["the broker[broker-a] sending message is forbidden"],
    );
}

#[test]
fn a_sender_that_names_no_queue_gets_each_in_turn() {
    let world = World::new();
    let any = || SendInput { queue: None, ..input("orders", 0, &[], "x") };
    let queues: Vec<u32> = (0..8).map(|_| world.send(any()).expect("it is stored").queue.0).collect();
    assert_eq!(queues, [0, 1, 2, 3, 0, 1, 2, 3]);
}

fn batch_body(units: &[(&str, &str)]) -> Bytes {
    let mut body = Vec::new();
    for (properties, text) in units {
        let unit = Unit { flag: 1, body: text.as_bytes(), properties: properties.as_bytes() };
        batch::encode(&unit, &mut body).expect("it fits");
    }
    body.into()
}

#[test]
fn a_batch_becomes_consecutive_messages() {
    let world = World::new();
    world.put("orders", 1, &[], "before");
    let keyed = text(&[("KEYS", "k1"), ("UNIQ_KEY", "A")]);
    let body = batch_body(&[(&keyed, "one"), ("", "two"), ("", "three")]);
    let whole = ByteStr::from(text(&[("WAIT", "true"), ("INSTANCE_ID", "ns")]));
    let sent = world
        .send(SendInput { body, batch: true, properties: whole, ..input("orders", 1, &[], "") })
        .expect("it is stored");
    assert_eq!((sent.queue_offset.0, sent.starts().len()), (1, 3));
    let records = world.records("orders", 1);
    let rows: Vec<(u64, &str, u64)> =
        records[1..].iter().map(|r| (r.offset, r.body.as_str(), r.log)).collect();
    let starts: Vec<u64> = sent.starts().map(|start| start.0).collect();
    assert_eq!(rows, [(1, "one", starts[0]), (2, "two", starts[1]), (3, "three", starts[2])]);
    assert_eq!((records[1].property("KEYS"), records[1].property("UNIQ_KEY")), ("k1", "A"));
    assert_eq!((records[2].property("INSTANCE_ID"), records[2].property("UNIQ_KEY").len()), ("ns", 32));
    assert_ne!(records[2].property("UNIQ_KEY"), records[3].property("UNIQ_KEY"));
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    let world = World::new();
    world.put("orders", 0, &[], "x");
    let send = |body: Bytes, expected: Expect| {
        refusal(&world, SendInput { body, batch: true, ..input("orders", 0, &[], "") }, expected);
    };
    let mut cut = batch_body(&[("", "one"), ("", "two")]).to_vec();
    cut.pop();
    send(cut.into(), expect!["the batch is not readable: unit 1 of the batch ends inside its properties"]);
    let delayed = text(&[("DELAY", "3")]);
    send(
        batch_body(&[("", "one"), (&delayed, "two")]),
        expect!["batch request does not support delay level"],
    );
    send(batch_body(&[("", "one"), ("", "")]), expect!["the message has no body"]);
    let half = text(&[("TRAN_MSG", "true")]);
    send(
        batch_body(&[("", "one"), (&half, "two")]),
        expect!["batch request does not support transactional messages"],
    );
    assert_eq!(world.bodies("orders", 0), ["x"]);
}

/// Sends what one connection sent at once; each outcome in one line.
fn together(world: &World, inputs: Vec<SendInput>) -> Vec<String> {
    let sending = world.broker.send_together(inputs, world.now());
    let told = |sent: Result<Sent, SendRefused>| match sent {
        Ok(sent) => format!("{} at {}", sent.queue.0, sent.queue_offset.0),
        Err(refused) => refused.to_string(),
    };
    let done = sending.into_iter().map(|sending| match sending {
        Sending::Done(sent) => told(sent),
        Sending::Waits(sent) => told(world.finish(sent)),
    });
    let done = done.collect();
    world.steps();
    done
}

#[test]
fn messages_sent_at_once_are_each_stored_in_their_place_or_refused_by_themselves() {
    let world = World::new();
    world.put("orders", 0, &[], "first");
    let inputs = [
        input("orders", 1, &[], "a"),
        input("orders", 0, &[], "b"),
        input("orders", 0, &[], ""),
        input("new", 3, &[], "c"),
        input("orders", 9, &[], "d"),
        input("orders", 0, &[("DELAY", "1")], "later"),
        input("orders", 0, &[], "e"),
    ];
    assert_eq!(
        together(&world, inputs.to_vec()),
        [
            "1 at 0",
            "0 at 1",
            "the message has no body",
            "3 at 0",
            "queueId[9] is illegal, topic:[orders] has 4 queues",
            "0 at 0",
            "0 at 2"
        ]
    );
    let alone = World::new();
    alone.put("orders", 0, &[], "first");
    inputs.into_iter().for_each(|input| drop(alone.send(input)));
    assert_eq!(world.broker.counts().now(), alone.broker.counts().now());
    assert_eq!(world.bodies("orders", 0), ["first", "b", "e"]);
    assert_eq!((world.bodies("orders", 1), world.bodies("new", 3)), (vec!["a".into()], vec!["c".into()]));
    assert_eq!(together(&world, Vec::new()), [""; 0]);
    assert_eq!(together(&world, vec![input("orders", 2, &[], ""), input("orders", 2, &[], "")]).len(), 2);
}

#[test]
fn messages_that_do_not_fit_one_append_are_stored_each_on_its_own() {
    let world = World::with(|_, store| {
        (store.stage_size, store.stages_max, store.max_message) = (128 << 10, 4, 64 << 10);
    });
    let body = "x".repeat(60 << 10);
    let inputs = (0..3).map(|queue| input("orders", queue, &[], &body)).collect();
    assert_eq!(together(&world, inputs), ["0 at 0", "1 at 0", "2 at 0"]);
}

#[test]
fn a_producer_that_waits_for_the_disk_is_told_when_it_took_too_long() {
    let world = World::with(|_, store| store.durability = Durability::Disk);
    let (input, now) = (input("orders", 0, &[], "x"), world.now());
    let mut sending = std::pin::pin!(world.broker.send(input.clone(), now));
    assert!(crate::world::poll(sending.as_mut()).is_pending(), "nothing was flushed");
    world.pass(std::time::Duration::from_secs(5));
    let std::task::Poll::Ready(sent) = crate::world::poll(sending.as_mut()) else {
        panic!("its time is over")
    };
    assert_eq!(sent.expect("it is stored").settled, Settled::FlushTimeout);
    let hasty = SendInput { properties: ByteStr::from(text(&[("WAIT", "false")])), ..input };
    let mut sending = std::pin::pin!(world.broker.send(hasty, now));
    let std::task::Poll::Ready(sent) = crate::world::poll(sending.as_mut()) else {
        panic!("it does not wait")
    };
    assert_eq!(sent.expect("it is stored").settled, Settled::Done);
    assert_eq!(world.look("orders", 0, 0), "Empty, next 0 of 0..0", "a consumer never sees what may be lost");
    while world.store.drain_step() > 0 {}
    world.store.flush_step();
    world.steps();
    assert_eq!(world.look("orders", 0, 0), "found x x, next 2 of 0..2");
}

#[test]
fn a_send_waits_while_the_disk_is_behind_and_is_refused_only_after_a_while() {
    let world = World::with(|_, store| {
        (store.stage_size, store.stages_max, store.max_message) = (1 << 20, 2, 64 << 10);
    });
    // Nothing drains: memory fills until a send has to wait.
    let crowded = || {
        loop {
            let send = world.broker.send(input("orders", 0, &[], &"x".repeat(60 << 10)), world.now());
            let mut send = Box::pin(send);
            match poll(send.as_mut()) {
                Poll::Ready(sent) => drop(sent.expect("there is room")),
                Poll::Pending => return send,
            }
        }
    };
    let mut waits = crowded();
    world.store.drain_step();
    world.broker.dispatch_step(world.now());
    assert!(matches!(poll(waits.as_mut()), Poll::Ready(Ok(_))), "the disk has made room");

    let mut waits = crowded();
    world.clock_forward(Duration::from_millis(999));
    assert!(poll(waits.as_mut()).is_pending());
    world.clock_forward(Duration::from_millis(1));
    let Poll::Ready(Err(refused)) = poll(waits.as_mut()) else { panic!("a second is enough") };
    assert_eq!(refused, SendRefused::Append(AppendError::Busy { retry_after: Duration::from_millis(5) }));
}
