// SPDX-License-Identifier: Apache-2.0
//! The journey of a message, told from what the broker has.

use std::time::Duration;

use broker::ops::admin::journey::{Hop, JourneyRefused};
use broker::ops::admin::reset::ResetInput;
use broker::ops::pull::PullInput;
use broker::ops::recall::{Which, Wish};
use broker::ops::send::Sent;
use broker::ops::send_back::SendBackInput;
use broker::ops::transaction::EndInput;
use broker::transaction::Decision;
use expect_test::{Expect, expect};
use protocol::names::{ByteStr, Group, LogOffset, QueueOffset, TopicName};
use stdx::Timestamp;

use crate::world::{T0, World, address, input, pull_input};

const S: Duration = Duration::from_secs(1);

fn send(world: &World, id: &str, properties: &[(&str, &str)]) -> Sent {
    let all = [&[("UNIQ_KEY", id)], properties].concat();
    world.send(input("orders", 0, &all, id)).expect("it is stored")
}

fn line(hop: &Hop) -> String {
    let time = |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| (at.0 - T0.0).to_string());
    let until = hop.until.map_or(String::new(), |until| format!("..{}", time(Some(until))));
    let group = hop.group.as_deref().unwrap_or_default();
    let client = hop.client.as_deref().unwrap_or_default();
    let place = format!("{}/{}@{}", hop.topic, hop.queue, hop.offset);
    format!("{}{until} {:?} {place} {group} {client}: {}", time(hop.at), hop.what, hop.detail)
}

fn check(world: &World, id: &str, expected: Expect) {
    let journey = world.finish(world.broker.journey(id, None)).expect("it is known");
    assert_eq!((journey.id.as_str(), journey.topic.as_str()), (id, "orders"));
    let lines: Vec<String> = journey.hops.iter().map(line).collect();
    expected.assert_eq(&lines.join("\n"));
}

/// Reads as group `g` on a connection, and tells how far it is.
fn read(world: &World, topic: &str, from: u64, connection: u64, commit: Option<u64>) {
    let commit = commit.map(QueueOffset);
    world.pull(PullInput { commit, connection, ..pull_input(topic, 0, from) }).expect("it is served");
}

fn give_back(world: &World, log: LogOffset, max: Option<i32>) {
    let (group, store_host) = (Group::stored("g"), address("127.0.0.1:10911"));
    let input = SendBackInput {
        group,
        offset: log,
        id: None,
        delay_level: 1,
        max,
        reconsumed: None,
        topic_flag: 0,
        store_host,
    };
    world.finish(world.broker.send_back(input, world.now())).expect("it is stored");
    world.steps();
}

fn log_of(world: &World, topic: &str, id: &str) -> LogOffset {
    let all = (Timestamp(0), Timestamp(i64::MAX));
    let found = world.store.by_unique_id(&TopicName::stored(topic), id, 1, all.0, all.1).expect("it reads");
    protocol::record::Record::parse(&found[0]).expect("a record").log_offset()
}

#[test]
fn a_message_is_stored_given_and_acknowledged_and_given_again_after_a_move() {
    let world = World::new();
    send(&world, "U1", &[]);
    check(
        &world,
        "U1",
        expect![[r#"
        0 Born orders/0@0  10.0.0.9:5000: by its producer's clock
        0 Stored orders/0@0  : 2 bytes at log offset 342
        - Dispatched orders/0@0  : consumers can read it"#]],
    );
    world.pass(S);
    read(&world, "orders", 0, 7, None);
    check(
        &world,
        "U1",
        expect![[r#"
        0 Born orders/0@0  10.0.0.9:5000: by its producer's clock
        0 Stored orders/0@0  : 2 bytes at log offset 342
        - Dispatched orders/0@0  : consumers can read it
        1000 Given orders/0@0 g connection 7: with 1 messages from offset 0
        - InFlight orders/0@0 g : not acknowledged; progress stands nowhere"#]],
    );
    world.pass(S);
    read(&world, "orders", 1, 7, Some(1));
    check(
        &world,
        "U1",
        expect![[r#"
        0 Born orders/0@0  10.0.0.9:5000: by its producer's clock
        0 Stored orders/0@0  : 2 bytes at log offset 342
        - Dispatched orders/0@0  : consumers can read it
        1000 Given orders/0@0 g connection 7: with 1 messages from offset 0
        2000 Acknowledged orders/0@0 g connection 7: progress from 0 to 1"#]],
    );
    world.pass(S);
    let back = ResetInput {
        group: Group::stored("g"),
        topic: TopicName::stored("orders"),
        queue: None,
        offset: None,
        at: Timestamp(0),
        force: true,
    };
    world.broker.reset_group(&back).expect("it is moved");
    world.pass(S);
    read(&world, "orders", 1, 7, None);
    read(&world, "orders", 0, 8, None);
    check(
        &world,
        "U1",
        expect![[r#"
        0 Born orders/0@0  10.0.0.9:5000: by its producer's clock
        0 Stored orders/0@0  : 2 bytes at log offset 342
        - Dispatched orders/0@0  : consumers can read it
        1000 Given orders/0@0 g connection 7: with 1 messages from offset 0
        2000 Acknowledged orders/0@0 g connection 7: progress from 0 to 1
        3000 Moved orders/0@0 g : back from 1 to 0: to be given again
        4000 Given orders/0@0 g connection 8: with 1 messages from offset 0
        - InFlight orders/0@0 g : not acknowledged; progress stands at 0"#]],
    );
}

#[test]
fn what_a_restart_forgot_is_said_not_to_be_known() {
    let world = World::new();
    send(&world, "U1", &[]);
    read(&world, "orders", 0, 7, None);
    read(&world, "orders", 1, 7, Some(1));
    world.broker.upkeep_step(world.now());
    world.pass(S);
    let world = world.kill();
    send(&world, "U2", &[]);
    check(
        &world,
        "U1",
        expect![[r#"
        0 Born orders/0@0  10.0.0.9:5000: by its producer's clock
        0 Stored orders/0@0  : 2 bytes at log offset 342
        - Dispatched orders/0@0  : consumers can read it
        -..1000 Unknown orders/0@0 g : to whom it was given before then, and whether, is not remembered
        -..1000 Acknowledged orders/0@0 g : progress stands at 1; when it passed is not remembered"#]],
    );
    check(
        &world,
        "U2",
        expect![[r#"
        0 Born orders/0@1  10.0.0.9:5000: by its producer's clock
        1000 Stored orders/0@1  : 2 bytes at log offset 1198
        - Dispatched orders/0@1  : consumers can read it
        - NotGiven orders/0@1 g : progress stands at 1"#]],
    );
}

#[test]
fn a_filter_passes_over_what_it_does_not_want() {
    let world = World::new();
    for (id, tag) in [("U1", "a"), ("U2", "b"), ("U3", "a")] {
        send(&world, id, &[("TAGS", tag)]);
    }
    let wanted = |tags: &str| Some((ByteStr::from("TAG"), ByteStr::from(tags)));
    world.pull(PullInput { filter: wanted("none"), ..pull_input("orders", 0, 0) }).expect("it is served");
    check(
        &world,
        "U1",
        expect![[r#"
        0 Born orders/0@0  10.0.0.9:5000: by its producer's clock
        0 Stored orders/0@0  : 2 bytes at log offset 342
        - Dispatched orders/0@0  : consumers can read it
        0 PassedOver orders/0@0 g connection 1: its filter did not want it"#]],
    );
    world.pull(PullInput { filter: wanted("b"), ..pull_input("orders", 0, 0) }).expect("it is served");
    check(
        &world,
        "U2",
        expect![[r#"
        0 Born orders/0@1  10.0.0.9:5000: by its producer's clock
        0 Stored orders/0@1  : 2 bytes at log offset 522
        - Dispatched orders/0@1  : consumers can read it
        0 PassedOver orders/0@1 g connection 1: its filter did not want it
        0 Unknown orders/0@1 g connection 1: with 1 of 3 messages from offset 0; whether its filter wanted it is not known"#]],
    );
}

#[test]
fn attempts_and_the_dead_letter_are_told_with_what_each_try_was_given_to() {
    let world = World::new();
    let sent = send(&world, "U1", &[]);
    read(&world, "orders", 0, 7, None);
    give_back(&world, sent.start, Some(1));
    world.pass(S);
    read(&world, "orders", 1, 7, Some(1));
    read(&world, "%RETRY%g", 0, 8, None);
    give_back(&world, log_of(&world, "%RETRY%g", "U1"), Some(1));
    check(
        &world,
        "U1",
        expect![[r#"
        0 Born orders/0@0  10.0.0.9:5000: by its producer's clock
        0 Stored orders/0@0  : 2 bytes at log offset 342
        - Dispatched orders/0@0  : consumers can read it
        0 Given orders/0@0 g connection 7: with 1 messages from offset 0
        0..1000 Failed SCHEDULE_TOPIC_XXXX/0@0 g : attempt 1 failed; tried again after level 1
        1000 Acknowledged orders/0@0 g connection 7: progress from 0 to 1
        1000 Again %RETRY%g/0@0 g : for attempt 2
        - Dispatched %RETRY%g/0@0  : consumers can read it
        1000 Given %RETRY%g/0@0 g connection 8: with 1 messages from offset 0
        - InFlight %RETRY%g/0@0 g : not acknowledged; progress stands nowhere
        1000 Dead %DLQ%g/0@0 g : after 2 attempts"#]],
    );
}

#[test]
fn timers_and_transactions_are_hops() {
    let world = World::new();
    send(&world, "U0", &[]);
    send(&world, "U1", &[("TIMER_DELAY_MS", "3000")]);
    check(
        &world,
        "U1",
        expect![[r#"
        0 Born rmq_sys_wheel_timer/0@0  10.0.0.9:5000: by its producer's clock
        0..3000 Waits rmq_sys_wheel_timer/0@0  : 2 bytes at log offset 515"#]],
    );
    world.pass(3 * S);
    check(
        &world,
        "U1",
        expect![[r#"
        0 Born rmq_sys_wheel_timer/0@0  10.0.0.9:5000: by its producer's clock
        0..3000 Waits rmq_sys_wheel_timer/0@0  : 2 bytes at log offset 515
        3000 Stored orders/0@1  : 2 bytes at log offset 808; its time, 1700000003000, had come
        - Dispatched orders/0@1  : consumers can read it"#]],
    );
    send(&world, "U2", &[("TIMER_DELAY_MS", "3000")]);
    let (orders, which) = (TopicName::stored("orders"), Which::Id(ByteStr::from("U2")));
    world
        .finish(world.broker.change_timed(&orders, which, Wish::Cancel, world.now()))
        .expect("it is taken back");
    world.steps();
    check(
        &world,
        "U2",
        expect![[r#"
        0 Born rmq_sys_wheel_timer/0@1  10.0.0.9:5000: by its producer's clock
        3000..6000 Waits rmq_sys_wheel_timer/0@1  : 2 bytes at log offset 1150
        3000 Recalled rmq_sys_wheel_timer/0@2  : "#]],
    );
    let half = send(&world, "U3", &[("TRAN_MSG", "true"), ("PGROUP", "payers")]);
    check(
        &world,
        "U3",
        expect![[r#"
        0 Born RMQ_SYS_TRANS_HALF_TOPIC/0@0  10.0.0.9:5000: by its producer's clock
        3000 Half RMQ_SYS_TRANS_HALF_TOPIC/0@0 payers : 2 bytes at log offset 1670
        - Undecided RMQ_SYS_TRANS_HALF_TOPIC/0@0 payers : "#]],
    );
    world.pass(S);
    let (group, decision) = (Some(Group::stored("payers")), Decision::Commit);
    let end = EndInput {
        id: half.start,
        queue_offset: half.queue_offset,
        group,
        unique: [None, None],
        decision,
        audit: None,
    };
    world.finish(world.broker.end_transaction(end, world.now())).expect("it is committed");
    world.steps();
    check(
        &world,
        "U3",
        expect![[r#"
        0 Born RMQ_SYS_TRANS_HALF_TOPIC/0@0  10.0.0.9:5000: by its producer's clock
        3000 Half RMQ_SYS_TRANS_HALF_TOPIC/0@0 payers : 2 bytes at log offset 1670
        4000 Stored orders/0@2  : 2 bytes at log offset 1939; commits the half message at log offset 1670
        - Dispatched orders/0@2  : consumers can read it
        4000 Committed RMQ_SYS_TRANS_HALF_TOPIC/0@0 payers : "#]],
    );
}

#[test]
fn it_is_found_by_its_place_and_not_when_it_is_not_there() {
    let world = World::new();
    let sent = send(&world, "U1", &[]);
    let place = format!("7F00000100002A9F{:016X}", sent.start.0);
    let journey = world.finish(world.broker.journey(&place, None)).expect("it is known");
    assert_eq!((journey.id.as_str(), journey.hops.len()), ("U1", 3));
    for id in ["U2", "", "7F00000100002A9F00000000000FFFFF"] {
        let refused = world.finish(world.broker.journey(id, None)).map(drop);
        assert_eq!(refused, Err(JourneyRefused::NotThere { id: id.into() }));
    }
    let elsewhere = Some(TopicName::stored("nowhere"));
    let refused = world.finish(world.broker.journey("U1", elsewhere)).map(drop);
    assert_eq!(refused, Err(JourneyRefused::NotThere { id: "U1".into() }));
}
