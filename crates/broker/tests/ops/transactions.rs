// SPDX-License-Identifier: Apache-2.0
//! Transactions: half messages stay hidden, the first decision stands, and nothing of it depends on the process.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use broker::ops::admin::transactions::Seen as SeenTransaction;
use broker::ops::send::{SendRefused, Sent};
use broker::ops::transaction::{EndInput, EndRefused, Ended, Ending};
use broker::transaction::{Audit, Decision, Open};
use expect_test::expect;
use protocol::names::{ByteStr, Group, LogOffset, QueueId, QueueOffset, TopicName};
use protocol::properties::PropertiesOut;
use protocol::record::Message;
use store::Draft;

use crate::world::{Seen, T0, World, address, input, poll};

const HALF: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
const NOTES: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
const PARKED: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

impl World {
    fn half(&self, properties: &[(&str, &str)], body: &str) -> Sent {
        let all = [&[("TRAN_MSG", "true"), ("PGROUP", "payers"), ("UNIQ_KEY", body)], properties].concat();
        self.send(input("orders", 2, &all, body)).expect("the half message is stored")
    }

    fn end(&self, half: &Sent, decision: Decision) -> Result<Ended, EndRefused> {
        self.end_as(half, decision, Some("payers"), half.queue_offset)
    }

    fn end_as(
        &self,
        half: &Sent,
        decision: Decision,
        group: Option<&str>,
        queue_offset: QueueOffset,
    ) -> Result<Ended, EndRefused> {
        let audit = group.is_none().then(|| Audit { by: "ann".into(), why: "told so".into() });
        let group = group.map(Group::stored);
        let unique = [None, None];
        let input = EndInput { id: half.start, queue_offset, group, unique, decision, audit };
        let ended = self.finish(self.broker.end_transaction(input, self.now()));
        self.steps();
        ended
    }

    /// An open transaction as operators see it.
    fn shown(&self, half: &Sent) -> Open {
        match self.finish(self.broker.transaction(&half.start.to_string())) {
            Ok(SeenTransaction::Open(open, _)) => open,
            other => panic!("it is not open: {other:?}"),
        }
    }

    /// A world whose segments go after an hour.
    fn forgetful(change: impl FnOnce(&mut broker::BrokerConfig)) -> World {
        World::with(|config, store| {
            store.segment_size = 8 << 20;
            store.retention.reserved = Duration::from_secs(3600);
            store.retention.delete_when = Vec::new();
            change(config);
        })
    }

    /// Writes a half message again, decided or not.
    fn write_again(&self, half: &Sent, raw: &[u8]) {
        let queue = self.store.queue(&TopicName::stored(HALF), QueueId(0)).expect("it is there");
        let record = protocol::record::Record::parse(raw).expect("a record");
        let mut properties = PropertiesOut::from_text(record.properties_text());
        properties.push("TRAN_PREPARED_QUEUE_OFFSET", &half.queue_offset.to_string());
        let message = Message {
            topic: &queue.key().topic,
            queue: QueueId(0),
            flag: record.flag(),
            sys_flag: record.sys_flag(),
            born_at: record.born_at(),
            born_host: record.born_host(),
            store_host: record.store_host(),
            reconsume: 0,
            prepared: half.start,
            body: record.body(),
            properties: properties.as_str().as_bytes(),
        };
        self.store.append(&[Draft { queue: &queue, message }]).expect("it is stored");
    }

    fn open(&self) -> Vec<u64> {
        self.store.halves().iter().map(|half| half.id.0).collect()
    }
}

/// A power cut takes a half message that was not flushed, and another one comes to lie in its place.
#[test]
fn a_late_decision_does_not_hit_the_message_that_took_the_place() {
    let world = World::new();
    let half = world.half(&[], "new");
    let end = |said: [Option<&str>; 2]| {
        let input = EndInput {
            id: half.start,
            queue_offset: half.queue_offset,
            group: Some(Group::stored("payers")),
            unique: said.map(|id| id.map(ByteStr::from)),
            decision: Decision::Commit,
            audit: None,
        };
        world.finish(world.broker.end_transaction(input, world.now()))
    };
    let not_there = Err(EndRefused::NotThere { id: half.start });
    assert_eq!(end([Some("old"), None]).map(drop), not_there);
    assert_eq!(end([Some("old"), Some("older")]).map(drop), not_there);
    assert_eq!(world.open(), [half.start.0]);
    assert!(!end([Some("another kind of id"), Some("new")]).expect("it is there").again);
    assert!(end([Some(""), None]).expect("it was decided so").again);
}

#[test]
fn a_half_message_is_hidden_until_it_is_committed() {
    let world = World::new();
    world.put("orders", 0, &[], "make the topic");
    let half = world.half(&[("TAGS", "t")], "one");
    assert_eq!((half.queue.0, half.queue_offset.0), (2, 0), "the sender is told its own queue");
    assert_eq!(half.unique.as_deref(), Some("one"), "which the client takes for the transaction's id");
    assert_eq!(world.bodies("orders", 2), Vec::<String>::new());
    let hidden = &world.records(HALF, 0)[0];
    let properties: Vec<String> = hidden.properties.iter().map(|(k, v)| format!("{k}={v}")).collect();
    expect![[r#"
        CLUSTER=DefaultCluster
        MSG_REGION=DefaultRegion
        PGROUP=payers
        REAL_QID=2
        REAL_TOPIC=orders
        TAGS=t
        TRACE_ON=true
        TRAN_MSG=true
        UNIQ_KEY=one
        __transactionId__=one"#]]
    .assert_eq(&properties.join("\n"));
    assert_eq!(world.open(), [half.start.0]);

    assert!(!world.end(&half, Decision::Commit).expect("it is committed").again);
    let delivered = &world.records("orders", 2)[0];
    assert_eq!((delivered.body.as_str(), delivered.offset), ("one", 0));
    let mut expected = hidden.properties.clone();
    expected.retain(|name, _| !name.starts_with("REAL_"));
    assert_eq!(delivered.properties, expected);
    let raw = world.store.record_at(LogOffset(delivered.log)).unwrap().unwrap();
    let record = protocol::record::Record::parse(&raw).unwrap();
    assert_eq!((record.transaction(), record.prepared(), record.flag()), (8, half.start, 7));
    assert_eq!(record.born_host(), address("10.0.0.9:5000"));
    let note = &world.records(NOTES, 0)[0];
    assert_eq!((note.body.as_str(), note.property("TAGS")), ("0", "d"), "what Apache looks for");
    assert_eq!(world.open(), Vec::<u64>::new());
}

#[test]
fn the_first_decision_stands_and_a_contrary_one_is_refused() {
    let world = World::new();
    world.put("orders", 0, &[], "make the topic");
    let (kept, dropped) = (world.half(&[], "kept"), world.half(&[], "dropped"));
    world.end(&kept, Decision::Commit).expect("committed");
    world.end(&dropped, Decision::Rollback).expect("rolled back");
    let look = |world: &World| {
        assert!(world.end(&kept, Decision::Commit).expect("the same once more").again);
        assert!(world.end(&dropped, Decision::Rollback).expect("the same once more").again);
        for (half, other, was) in
            [(&kept, Decision::Rollback, Decision::Commit), (&dropped, Decision::Commit, Decision::Rollback)]
        {
            let refused = world.end(half, other).expect_err("it is decided");
            assert_eq!(refused, EndRefused::Contrary { id: half.start, decision: was });
        }
        assert_eq!(world.bodies("orders", 2), ["kept"]);
        assert_eq!(world.records(NOTES, 0).len(), 2);
    };
    look(&world);
    // The book of a new process does not know them; the log does.
    let world = world.kill();
    world.steps();
    look(&world);
}

#[test]
fn who_ends_it_has_to_know_it() {
    let world = World::new();
    world.put("orders", 0, &[], "make the topic");
    let half = world.half(&[], "one");
    let refused = |world: &World, group: &str, offset: u64| {
        world.end_as(&half, Decision::Commit, Some(group), QueueOffset(offset)).expect_err("it is refused")
    };
    assert_eq!(refused(&world, "others", 0), EndRefused::OtherGroup);
    assert_eq!(refused(&world, "payers", 1), EndRefused::OtherOffset);
    let nowhere = Sent { start: LogOffset(half.start.0 + 1), ..half.clone() };
    assert_eq!(
        world.end(&nowhere, Decision::Commit).expect_err("nothing"),
        EndRefused::NotThere { id: nowhere.start }
    );
    world.end(&half, Decision::Rollback).expect("rolled back");
    let world = world.kill();
    assert_eq!(refused(&world, "others", 0), EndRefused::OtherGroup);
    assert_eq!(refused(&world, "payers", 1), EndRefused::OtherOffset);
    assert_eq!(world.bodies("orders", 2), Vec::<String>::new());
}

#[test]
fn a_killed_broker_takes_up_what_was_open() {
    let world = World::new();
    world.put("orders", 0, &[], "make the topic");
    let halves: Vec<Sent> = ["a", "b", "c", "d"].map(|body| world.half(&[], body)).into();
    world.end(&halves[0], Decision::Commit).expect("committed");
    world.end(&halves[1], Decision::Rollback).expect("rolled back");
    // One process replays the log, the next reads a checkpoint, the last builds everything anew.
    for round in 0..3 {
        if round == 1 {
            world.store.checkpoint_step(true);
        }
        assert_eq!(world.open(), [halves[2].start.0, halves[3].start.0], "round {round}");
    }
    let world = world.kill();
    assert_eq!(world.open(), [halves[2].start.0, halves[3].start.0]);
    world.end(&halves[2], Decision::Commit).expect("committed by the next process");
    let world = world.kill();
    assert_eq!(world.open(), [halves[3].start.0]);
    assert_eq!(world.bodies("orders", 2), ["a", "c"]);
}

/// A crash may keep the delivered message and take the note beside it.
#[test]
fn the_delivered_message_is_the_commit() {
    let world = World::new();
    world.put("orders", 0, &[], "make the topic");
    let half = world.half(&[], "one");
    let queue = world.store.queue(&TopicName::stored("orders"), QueueId(2)).unwrap();
    let message = Message {
        topic: &queue.key().topic,
        queue: QueueId(2),
        flag: 7,
        sys_flag: 8,
        born_at: world.now(),
        born_host: address("10.0.0.9:5000"),
        store_host: address("127.0.0.1:10911"),
        reconsume: 0,
        prepared: half.start,
        body: b"one",
        properties: b"UNIQ_KEY\x01one",
    };
    world.store.append(&[Draft { queue: &queue, message }]).unwrap();
    let world = world.kill();
    world.steps();
    assert_eq!(world.open(), Vec::<u64>::new());
    assert!(world.end(&half, Decision::Commit).expect("it was").again);
    let refused = world.end(&half, Decision::Rollback).expect_err("it was committed");
    assert_eq!(refused, EndRefused::Contrary { id: half.start, decision: Decision::Commit });
    assert_eq!(world.bodies("orders", 2), ["one"]);
}

#[test]
fn a_delay_begins_with_the_commit() {
    let world = World::new();
    world.put("orders", 0, &[], "make the topic");
    let half = world.half(&[("DELAY", "2")], "later");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.bodies("orders", 2), Vec::<String>::new());
    world.end(&half, Decision::Commit).expect("committed");
    assert_eq!(world.open(), Vec::<u64>::new());
    world.pass(Duration::from_millis(4_999));
    assert_eq!(world.bodies("orders", 2), Vec::<String>::new());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.bodies("orders", 2), ["later"]);
    let world = world.kill();
    assert_eq!(world.open(), Vec::<u64>::new());
    assert!(world.end(&half, Decision::Commit).expect("it was").again);
}

/// The record that waits is the commit, and it names its half in the field by which the record that ends the waiting
/// names what waited. Neither may be taken for the other, in whatever order the process dies.
#[test]
fn a_time_of_its_own_begins_with_the_commit() {
    for kills in 0..16 {
        let mut world = World::new();
        let die = |world: World, turn: u32| if kills & (1 << turn) == 0 { world } else { world.kill() };
        world.put("orders", 0, &[], "make the topic");
        let half = world.half(&[("TIMER_DELAY_MS", "5000")], "later");
        let other = world.half(&[("TIMER_DELAY_MS", "5000")], "undecided");
        world.pass(Duration::from_secs(60));
        assert_eq!((world.bodies("orders", 2), world.store.timers().count().0), (vec![], 0));
        world = die(world, 0);
        assert!(!world.end(&half, Decision::Commit).expect("it is committed").again);
        world = die(world, 1);
        let seen = (world.open(), world.store.timers().count().0);
        assert_eq!(seen, (vec![other.start.0], 1), "kills {kills:b}");
        world.pass(Duration::from_millis(4_999));
        assert_eq!(world.bodies("orders", 2), Vec::<String>::new(), "a moment too early, kills {kills:b}");
        world = die(world, 2);
        // Delivered, and not dispatched when the process dies.
        world.clock_forward(Duration::from_millis(1));
        world.broker.timer_step(world.now());
        world = die(world, 3);
        world.pass(Duration::from_secs(100));
        assert_eq!(world.bodies("orders", 2), ["later"], "kills {kills:b}");
        assert_eq!((world.open(), world.store.timers().count().0), (vec![other.start.0], 0));
        assert!(world.end(&half, Decision::Commit).expect("it was").again);
        let refused = world.end(&half, Decision::Rollback).expect_err("it was committed");
        assert_eq!(refused, EndRefused::Contrary { id: half.start, decision: Decision::Commit });
    }
}

/// The segment with the half message, its commit and what waits goes before the time has come.
#[test]
fn a_committed_message_that_waits_outlives_its_segment() {
    let world = World::forgetful(|_| {});
    world.put("orders", 0, &[], "make the topic");
    let half = world.half(&[("TIMER_DELAY_SEC", "14400")], "patient");
    world.end(&half, Decision::Commit).expect("committed");
    world.outlive(half.start.0);
    let world = world.kill();
    assert_eq!((world.open(), world.store.timers().count().0), (vec![], 1));
    world.pass(Duration::from_millis(7_199_999));
    assert_eq!(world.bodies("orders", 2), Vec::<String>::new(), "a moment too early");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.bodies("orders", 2), ["patient"]);
    let world = world.kill();
    world.pass(Duration::from_secs(100));
    assert_eq!(world.bodies("orders", 2), ["patient"], "once");
    assert_eq!((world.open(), world.store.timers().count().0), (vec![], 0));
}

#[test]
fn a_producer_is_left_alone_for_as_long_as_it_wishes() {
    let world = World::forgetful(|_| {});
    world.put("orders", 0, &[], "make the topic");
    let plain = world.half(&[], "plain");
    let immune = world.half(&[("CHECK_IMMUNITY_TIME_IN_SECONDS", "36000")], "immune");
    let first = |world: &World, half: &Sent| world.shown(half).next.map(|at| (at.0 - T0.0) / 1_000);
    assert_eq!((first(&world, &plain), first(&world, &immune)), (Some(6), Some(36_000)));
    let world = world.kill();
    assert_eq!((first(&world, &plain), first(&world, &immune)), (Some(6), Some(36_000)));
    // Written again it begins no second time.
    world.outlive(immune.start.0);
    let world = world.kill();
    assert_eq!((first(&world, &plain), first(&world, &immune)), (Some(6), Some(36_000)));
}

#[test]
fn what_is_parked_stays_so_and_can_be_decided() {
    let mut world = World::forgetful(|config| config.transactional.transaction_checks_max = 0);
    world.put("orders", 0, &[], "make the topic");
    let (kept, dropped) = (world.half(&[], "kept"), world.half(&[], "dropped"));
    world.pass(Duration::from_secs(6));
    for round in 0..4 {
        assert_eq!(world.open(), [kept.start.0, dropped.start.0], "round {round}");
        for half in [&kept, &dropped] {
            let Open { half, next, .. } = world.shown(half);
            assert_eq!((half.parked, next), (true, None), "round {round}");
        }
        let copies = world.store.queue(&TopicName::stored(PARKED), QueueId(0)).unwrap();
        assert_eq!(copies.dispatched().0, 2, "round {round}");
        if round == 2 {
            world.outlive(dropped.start.0);
        }
        world = world.kill();
        world.pass(Duration::from_secs(600));
    }
    world.end(&kept, Decision::Commit).expect("it is never too late");
    world.end(&dropped, Decision::Rollback).expect("it is never too late");
    let world = world.kill();
    assert_eq!((world.bodies("orders", 2), world.open()), (vec!["kept".to_owned()], vec![]));
}

#[test]
fn nobody_to_ask_is_no_question() {
    let world = World::with(|config, _| config.transactional.transaction_checks_max = 2);
    world.put("orders", 0, &[], "make the topic");
    let half = world.half(&[], "one");
    let before = world.store.watermarks().written.get();
    for _ in 0..20 {
        world.pass(Duration::from_secs(600));
    }
    assert!(world.broker.topics().get(PARKED).is_none(), "it is not parked");
    assert_eq!(world.store.watermarks().written.get(), before, "and writes nothing");
    world.end(&half, Decision::Commit).expect("it is never too late");
}

#[test]
fn a_broker_takes_only_so_many_open_transactions() {
    let world = World::with(|config, _| config.transactional.transactions_open_max = 1);
    world.put("orders", 0, &[], "make the topic");
    let half = world.half(&[], "one");
    let more = || world.send(input("orders", 2, &[("TRAN_MSG", "true"), ("PGROUP", "payers")], "two"));
    assert_eq!(more().expect_err("one too many"), SendRefused::TooManyOpen { open: 1, max: 1 });
    world.put("orders", 0, &[], "others go on");
    world.end(&half, Decision::Rollback).expect("rolled back");
    more().expect("there is room");

    let world = World::with(|config, _| config.transactional.reject_transactions = true);
    let refused = world.send(input("orders", 2, &[("TRAN_MSG", "true")], "x")).expect_err("it is refused");
    expect!["the broker[broker-a] sending transaction message is forbidden"].assert_eq(&refused.to_string());
}

#[test]
fn data_of_an_undecided_one_outlives_its_segment() {
    let world = World::with(|_, store| {
        store.segment_size = 8 << 20;
        store.retention.reserved = Duration::from_secs(3600);
        store.retention.delete_when = Vec::new();
    });
    world.put("orders", 0, &[], "make the topic");
    let half = world.half(&[("KEYS", "k")], "patient");
    let gone = world.half(&[], "decided");
    world.end(&gone, Decision::Rollback).expect("rolled back");
    let filler = "x".repeat(64 << 10);
    for _ in 0..300 {
        world.put("filler", 0, &[], &filler);
    }
    let first = world.store.watermarks().start.get();
    world.clock_forward(Duration::from_secs(2 * 3600));
    world.put("filler", 0, &[], "young");
    world.store.checkpoint_step(true);
    for _ in 0..8 {
        world.store.retain_on_demand();
        world.steps();
        world.store.checkpoint_step(true);
    }
    assert!(world.store.watermarks().start.get() > half.start.0.max(first), "its segment is gone");
    let rewritten = world.records(HALF, 0).len();
    assert_eq!(world.open(), [half.start.0], "under the name that its producer knows");
    let world = world.kill();
    assert_eq!(world.open(), [half.start.0]);
    world.end(&half, Decision::Commit).expect("committed");
    assert_eq!(world.bodies("orders", 2), ["patient"]);
    assert!(rewritten <= 1, "only the undecided one was written again, once: {rewritten}");
    let world = world.kill();
    assert_eq!(world.open(), Vec::<u64>::new());
}

/// The book of a process that goes on knows the place where the data was.
#[test]
fn data_that_was_written_again_is_found_without_a_restart() {
    let world = World::forgetful(|_| {});
    world.put("orders", 0, &[], "make the topic");
    let (kept, asked) = (world.half(&[], "kept"), world.half(&[], "asked"));
    world.outlive(asked.start.0);
    world.end(&kept, Decision::Commit).expect("committed");
    assert_eq!(world.bodies("orders", 2), ["kept"]);
    assert_eq!(world.open(), [asked.start.0]);
}

/// Retention reads what is open and writes it again; a decision may come in between.
#[test]
fn what_is_written_again_after_its_decision_stays_decided() {
    let world = World::new();
    world.put("orders", 0, &[], "make the topic");
    let halves = [world.half(&[], "committed"), world.half(&[], "rolled back")];
    world.end(&halves[0], Decision::Commit).expect("committed");
    world.end(&halves[1], Decision::Rollback).expect("rolled back");
    let raws = halves.each_ref().map(|half| world.store.record_at(half.start).unwrap().unwrap());
    halves.iter().zip(&raws).for_each(|(half, raw)| world.write_again(half, raw));
    world.steps();
    assert_eq!(world.open(), Vec::<u64>::new());
    let world = world.kill();
    assert_eq!(world.open(), Vec::<u64>::new());
    assert!(world.end(&halves[0], Decision::Commit).expect("it was").again);
    assert!(world.end(&halves[1], Decision::Rollback).expect("it was").again);
    assert_eq!(world.bodies("orders", 2), ["committed"]);
}

/// The same, seen by a process that has neither checkpoint nor the segment of the half messages.
#[test]
fn a_log_that_begins_behind_a_half_message_knows_its_decision() {
    let world = World::forgetful(|_| {});
    world.put("orders", 0, &[], "make the topic");
    let halves = ["committed", "rolled back", "open"].map(|body| world.half(&[], body));
    let raws = halves.each_ref().map(|half| world.store.record_at(half.start).unwrap().unwrap());
    let filler = "x".repeat(64 << 10);
    let fill = |world: &World| (0..150).for_each(|_| _ = world.put("filler", 0, &[], &filler));
    fill(&world);
    world.clock_forward(Duration::from_secs(3000));
    world.end(&halves[0], Decision::Commit).expect("committed");
    world.end(&halves[1], Decision::Rollback).expect("rolled back");
    halves.iter().zip(&raws).for_each(|(half, raw)| world.write_again(half, raw));
    fill(&world);
    world.clock_forward(Duration::from_secs(1200));
    world.put("filler", 0, &[], "young");
    for _ in 0..8 {
        world.store.retain_on_demand();
        world.steps();
        world.store.checkpoint_step(true);
    }
    let start = world.store.watermarks().start.get();
    let commit = world.records("orders", 2)[0].log;
    assert!(start > halves[2].start.0 && start < commit, "only the first segment is gone");
    let views = world.store_config.dir.join("views");
    let world = world.kill_and(|| std::fs::remove_dir_all(views).expect("they are there"));
    assert_eq!(world.open(), [halves[2].start.0]);
    world.end(&halves[2], Decision::Rollback).expect("rolled back");
    assert_eq!(world.bodies("orders", 2), ["committed"]);
}

/// Retention finds a half message open whose commit is in the log and not dispatched: it must not write it again behind
/// the commit, for a log that begins between the two would have it open.
#[test]
fn nothing_is_written_again_behind_its_decision() {
    let world = World::forgetful(|_| {});
    world.put("orders", 0, &[], "make the topic");
    let body = "b".repeat(200 << 10);
    let half = world.send(input("orders", 2, &[("TRAN_MSG", "true"), ("PGROUP", "payers")], &body));
    let half = half.expect("the half message is stored");
    let filler = "x".repeat(64 << 10);
    let segment = world.store_config.segment_size;
    (0..150).for_each(|_| _ = world.put("filler", 0, &[], &filler));
    world.clock_forward(Duration::from_secs(2 * 3600));
    // The commit is the last thing that fits its segment.
    let room = || segment - world.store.watermarks().written.get() % segment;
    while room() > 400 << 10 {
        world.put("filler", 0, &[], &filler);
    }
    world.store.checkpoint_step(true);
    world.store.checkpoint_step(true);
    let commit = EndInput {
        id: half.start,
        queue_offset: half.queue_offset,
        group: Some(Group::stored("payers")),
        unique: [None, None],
        decision: Decision::Commit,
        audit: None,
    };
    {
        let ended = pin!(world.broker.end_transaction(commit, world.now()));
        assert!(matches!(poll(ended), Poll::Ready(Ok(_))), "nothing has to be dispatched for it");
    }
    assert_eq!(world.open(), [half.start.0], "as far as retention knows");
    world.store.retain_on_demand();
    assert_eq!(world.store.watermarks().start.get(), 0, "its data stays while its commit may not last");
    (0..150).for_each(|_| _ = world.put("filler", 0, &[], &filler));
    let delivered = world.records("orders", 2)[0].log;
    world.clock_forward(Duration::from_secs(2 * 3600));
    (0..2).for_each(|_| _ = world.put("filler", 0, &[], &filler));
    // No further than that: what was written behind it is to be seen.
    for _ in 0..8 {
        if world.store.watermarks().start.get() <= delivered {
            world.store.checkpoint_step(true);
            world.store.retain_on_demand();
            world.steps();
        }
    }
    let start = world.store.watermarks().start.get();
    assert!(
        (1..=segment).contains(&start.saturating_sub(delivered)),
        "the segment with the commit is gone: {start}"
    );
    let views = world.store_config.dir.join("views");
    let world = world.kill_and(|| std::fs::remove_dir_all(views).expect("they are there"));
    assert_eq!(world.open(), Vec::<u64>::new());
}

#[test]
fn decisions_that_come_together_are_those_that_come_one_by_one() {
    let mut rng = stdx::Rng::new(11);
    for round in 0..10 {
        let worlds = [World::new(), World::new()];
        worlds.iter().for_each(|world| _ = world.put("orders", 0, &[], "make the topic"));
        let halves = worlds.each_ref().map(|world| {
            (0..8).map(|n| world.half(&[("TAGS", "t")], &format!("half {n}"))).collect::<Vec<_>>()
        });
        for _ in 0..4 {
            let asked: Vec<(usize, u64)> =
                (0..1 + rng.below(7)).map(|_| (rng.below(8) as usize, rng.below(12))).collect();
            let inputs = |halves: &[Sent]| -> Vec<EndInput> {
                let input = |(half, how): &(usize, u64)| EndInput {
                    id: LogOffset(halves[*half].start.0 + u64::from(*how == 9)),
                    queue_offset: QueueOffset(halves[*half].queue_offset.0 + u64::from(*how == 10)),
                    group: Some(Group::stored(if *how == 11 { "others" } else { "payers" })),
                    unique: [None, Some(ByteStr::from(if *how == 8 { "other" } else { "" }))],
                    decision: if how.is_multiple_of(3) { Decision::Rollback } else { Decision::Commit },
                    audit: None,
                };
                asked.iter().map(input).collect()
            };
            let [together, alone] = &worlds;
            let one = |ending: Ending| match ending {
                Ending::Done(ended) => ended,
                Ending::Waits(ended) => together.finish(ended),
            };
            let endings = together.broker.end_together(inputs(&halves[0]), together.now());
            let ended: Vec<_> =
                endings.into_iter().map(one).map(|ended| ended.map(|ended| ended.again)).collect();
            let each = |input| {
                let ended = alone.finish(alone.broker.end_transaction(input, alone.now()));
                ended.map(|ended| ended.again)
            };
            let expected: Vec<_> = inputs(&halves[1]).into_iter().map(each).collect();
            // What names a place differs, for one note of several takes less room than one of each.
            let kind = |ended: &Result<bool, EndRefused>| {
                ended.as_ref().map_err(std::mem::discriminant).map_err(|kind| format!("{kind:?}")).cloned()
            };
            assert_eq!(
                ended.iter().map(kind).collect::<Vec<_>>(),
                expected.iter().map(kind).collect::<Vec<_>>()
            );
        }
        let seen = worlds.map(|world| {
            world.steps();
            world.broker.check_transactions();
            let (world, open) = (world.kill(), |world: &World| world.open().len());
            let (bodies, count) = (world.bodies("orders", 2), open(&world));
            let views = world.store_config.dir.join("views");
            let world = world.kill_and(|| std::fs::remove_dir_all(views).expect("they are there"));
            assert_eq!((world.bodies("orders", 2), open(&world)), (bodies.clone(), count));
            // A decision that goes its own way comes behind the others.
            let mut bodies = bodies;
            bodies.sort();
            (bodies, count)
        });
        assert_eq!(seen[0], seen[1], "round {round}");
    }
}

#[test]
fn commits_that_come_together_have_one_note() {
    let world = World::new();
    world.put("orders", 0, &[], "make the topic");
    let halves: Vec<Sent> = (0..4).map(|n| world.half(&[], &format!("half {n}"))).collect();
    let input = |n: usize, decision| EndInput {
        id: halves[n].start,
        queue_offset: halves[n].queue_offset,
        group: Some(Group::stored("payers")),
        unique: [None, None],
        decision,
        audit: None,
    };
    let (commit, rollback) = (Decision::Commit, Decision::Rollback);
    let inputs =
        vec![input(2, commit), input(1, rollback), input(0, commit), input(2, commit), input(2, rollback)];
    let endings = world.broker.end_together(inputs, world.now());
    let again = endings.into_iter().map(|ending| match ending {
        Ending::Done(ended) => Some(ended.expect("nobody decided otherwise").again),
        Ending::Waits(ended) => world.finish(ended).ok().map(|ended| ended.again),
    });
    assert_eq!(again.collect::<Vec<_>>(), [Some(false), Some(false), Some(false), Some(true), None]);
    world.steps();
    assert_eq!(world.open(), [halves[3].start.0]);
    assert_eq!(world.bodies("orders", 2), ["half 2", "half 0"], "in the order of the decisions");
    let notes = world.records(NOTES, 0);
    let said: Vec<_> =
        notes.iter().map(|note| (note.body.as_str(), note.property("TRAN_DECISION"))).collect();
    assert_eq!(said, [("1", "rollback"), ("2,0", "commit")]);
    // Each finds its own end long after.
    let world = world.kill();
    for (half, decision) in [(0, commit), (1, rollback), (2, commit)] {
        match world.finish(world.broker.transaction(&halves[half].start.to_string())) {
            Ok(SeenTransaction::Past(past)) => {
                assert_eq!((past.decision, past.note.is_some()), (Some(decision), true), "{half}");
            }
            other => panic!("it is decided: {other:?}"),
        }
    }
}

#[test]
fn an_operators_word_is_kept() {
    let world = World::new();
    world.put("orders", 0, &[], "make the topic");
    let half = world.half(&[], "one");
    world.end_as(&half, Decision::Rollback, None, half.queue_offset).expect("rolled back by hand");
    let note = &world.records(NOTES, 0)[0];
    let said = ["TRAN_DECISION", "TRAN_DECIDED_BY", "TRAN_DECIDED_WHY"].map(|name| note.property(name));
    assert_eq!(said, ["rollback", "ann", "told so"]);
}

#[test]
fn a_message_is_in_light_queues_when_its_transaction_is_committed() {
    let world = World::new();
    let light = |world: &World| -> Vec<String> {
        let show = |record: Seen| format!("{} {}", record.body, record.property("INNER_MULTI_QUEUE_OFFSET"));
        world.records("%LMQ%a", 0).into_iter().map(show).collect()
    };
    let list = [("INNER_MULTI_DISPATCH", "%LMQ%a,%LMQ%b"), ("INNER_MULTI_QUEUE_OFFSET", "5,5")];
    let (kept, undone) = (world.half(&list, "kept"), world.half(&list, "undone"));
    let later = world.half(&[&list[..], &[("TIMER_DELAY_MS", "2000")]].concat(), "later");
    world.put("orders", 0, &list, "plain");
    assert_eq!(light(&world), ["plain 0,0"]);
    world.end(&undone, Decision::Rollback).expect("it is undone");
    world.end(&later, Decision::Commit).expect("it is committed");
    world.end(&kept, Decision::Commit).expect("it is committed");
    assert_eq!(light(&world), ["plain 0,0", "kept 1,1"]);
    world.pass(Duration::from_secs(3));
    let all = ["plain 0,0", "kept 1,1", "later 2,2"];
    assert_eq!(light(&world), all);
    let world = world.kill();
    assert_eq!((light(&world), world.open()), (all.map(str::to_owned).to_vec(), Vec::new()));
}
