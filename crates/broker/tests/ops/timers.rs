// SPDX-License-Identifier: Apache-2.0
//! Messages with a time of their own: never early, never lost, never twice; taken back and moved with a true answer.

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use broker::Wake;
use broker::ops::recall::{Outcome, RecallRefused, Which, Wish};
use broker::ops::send::SendRefused;
use expect_test::expect;
use protocol::names::{ByteStr, TIMER_TOPIC, TopicName};
use stdx::{Rng, Timestamp};

use crate::world::{T0, World, input, poll};

const MS: Duration = Duration::from_millis(1);

fn timed(world: &World, delay: i64, body: &str) {
    let delay = delay.to_string();
    world.put("orders", 1, &[("TIMER_DELAY_MS", &delay), ("UNIQ_KEY", body), ("KEYS", "k all")], body);
}

fn waiting(world: &World) -> usize {
    world.store.timers().count().0
}

fn change(world: &World, which: Which, wish: Wish) -> Result<Outcome, RecallRefused> {
    let topic = TopicName::stored("orders");
    let outcome = world.finish(world.broker.change_timed(&topic, which, wish, world.now()));
    world.steps();
    outcome
}

fn cancel(world: &World, id: &str) -> Outcome {
    change(world, Which::Id(ByteStr::from(id)), Wish::Cancel).expect("it can be asked")
}

fn postpone(world: &World, id: &str, to: Timestamp) -> Outcome {
    change(world, Which::Id(ByteStr::from(id)), Wish::Move(to)).expect("it can be asked")
}

#[test]
fn a_message_waits_for_its_time_to_the_millisecond() {
    let world = World::new();
    world.put("orders", 3, &[], "make the topic");
    let wish = [("TIMER_DELAY_SEC", "2"), ("TAGS", "t"), ("UNIQ_KEY", "u"), ("KIRUNA_TIMER_WAS_MS", "7")];
    let sent = world.send(input("orders", 2, &wish, "later")).expect("it is stored");
    assert_eq!((sent.queue.0, sent.queue_offset.0), (2, 0), "the sender is told its own queue");
    let timed = sent.timed.expect("it waits");
    assert_eq!((timed.topic.as_str(), timed.due), ("orders", T0 + Duration::from_secs(2)));
    let record = &world.records(TIMER_TOPIC, 0)[0];
    assert_eq!((record.property("REAL_TOPIC"), record.property("REAL_QID")), ("orders", "2"));
    assert_eq!(record.property("TIMER_OUT_MS"), "1700000001999");
    world.pass(Duration::from_millis(1_999));
    assert_eq!(world.bodies("orders", 2), Vec::<String>::new(), "a moment too early");
    world.pass(MS);
    let delivered = &world.records("orders", 2)[0];
    assert_eq!((delivered.body.as_str(), delivered.stored_at.0 - T0.0), ("later", 2_000));
    let properties: Vec<String> =
        delivered.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
    expect![[r#"
        CLUSTER=DefaultCluster
        MSG_REGION=DefaultRegion
        REAL_QID=2
        REAL_TOPIC=orders
        TAGS=t
        TIMER_DELAY_SEC=2
        TIMER_DELIVER_MS=1700000002000
        TIMER_DEQUEUE_MS=1700000002000
        TIMER_ENQUEUE_MS=1700000000000
        TIMER_OUT_MS=1700000001999
        TRACE_ON=true
        UNIQ_KEY=u"#]]
    .assert_eq(&properties.join("\n"));
    world.pass(Duration::from_secs(100));
    assert_eq!(world.bodies("orders", 2), ["later"], "once");
    assert_eq!(waiting(&world), 0);
}

#[test]
fn the_past_is_now_and_a_level_goes_before_a_time() {
    let world = World::new();
    let sent = world.send(input("orders", 1, &[("TIMER_DELIVER_MS", "1600000000000")], "past"));
    assert!(sent.expect("it is stored").timed.is_none());
    timed(&world, 0, "now");
    world.put("orders", 1, &[("TIMER_DELAY_MS", "7"), ("DELAY", "1")], "a level");
    assert_eq!(world.bodies("orders", 1), ["past", "now"]);
    assert_eq!(waiting(&world), 0);
    world.pass(Duration::from_secs(1));
    let record = &world.records("orders", 1)[2];
    assert_eq!((record.body.as_str(), record.property("TIMER_DELAY_MS")), ("a level", ""));
}

#[test]
fn years_ahead_are_fine_and_beyond_the_limit_is_refused() {
    let mut world = World::with(|_, store| store.retention.delete_when = Vec::new());
    let year = 366 * 86_400_000;
    timed(&world, 5 * year, "in five years");
    let refused = |properties: &[(&str, &str)]| {
        world.send(input("orders", 1, properties, "x")).expect_err("it is refused")
    };
    let most = i64::MAX.to_string();
    for name in ["TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS"] {
        assert!(matches!(refused(&[(name, &most)]), SendRefused::TooFar { .. }), "{name}");
    }
    assert!(matches!(refused(&[("TIMER_DELAY_MS", "soon")]), SendRefused::BadTime { .. }));
    // Down for five years, and then some.
    world.clock_forward(Duration::from_millis(5 * year as u64 - 1));
    world = world.kill();
    world.steps();
    assert_eq!(world.bodies("orders", 1), Vec::<String>::new());
    world.pass(MS);
    assert_eq!(world.bodies("orders", 1), ["in five years"]);
}

#[test]
fn a_clock_that_goes_back_delivers_nothing_again() {
    let world = World::new();
    timed(&world, 1_000, "one");
    timed(&world, 3_000, "two");
    world.pass(Duration::from_secs(1));
    world.clock_back(Duration::from_secs(3600));
    world.steps();
    let world = world.kill();
    world.steps();
    assert_eq!(world.bodies("orders", 1), ["one"]);
    world.pass(Duration::from_secs(3602));
    assert_eq!(world.bodies("orders", 1), ["one", "two"]);
}

#[test]
fn a_recall_says_what_is_true() {
    let world = World::new();
    for body in ["a", "b", "c"] {
        timed(&world, 1_000, body);
    }
    assert_eq!(cancel(&world, "nobody"), Outcome::Unknown);
    assert_eq!(cancel(&world, "a"), Outcome::Cancelled);
    assert_eq!(cancel(&world, "a"), Outcome::Cancelled, "it stays so");
    let other = TopicName::stored("other");
    let id = Which::Id(ByteStr::from("b"));
    let elsewhere = world.finish(world.broker.change_timed(&other, id, Wish::Cancel, world.now()));
    assert_eq!(elsewhere, Ok(Outcome::Unknown), "ids of other topics are not meant");
    // Delivered, but not yet dispatched.
    world.clock_forward(Duration::from_secs(1));
    world.broker.timer_step(world.now());
    assert_eq!(cancel(&world, "b"), Outcome::TooLate);
    world.pass(Duration::from_secs(1));
    assert_eq!(cancel(&world, "c"), Outcome::TooLate);
    assert_eq!(world.bodies("orders", 1), ["b", "c"]);
    let world = world.kill();
    world.pass(Duration::from_secs(10));
    assert_eq!((cancel(&world, "a"), cancel(&world, "b")), (Outcome::Cancelled, Outcome::TooLate));
    assert_eq!(world.bodies("orders", 1), ["b", "c"]);
}

#[test]
fn a_message_is_taken_back_the_moment_after_it_was_sent() {
    let world = World::new();
    world.put("orders", 1, &[], "make the topic");
    let wish = input("orders", 1, &[("TIMER_DELAY_MS", "500"), ("UNIQ_KEY", "u")], "x");
    world.finish(world.broker.send(wish, world.now())).expect("it is stored");
    assert!(world.store.watermarks().dispatched.get() < world.store.watermarks().written.get());
    let (topic, id) = (TopicName::stored("orders"), Which::Id(ByteStr::from("u")));
    let mut recall = pin!(world.broker.change_timed(&topic, id, Wish::Cancel, world.now()));
    // The readers work, and no loop does.
    let outcome = (0..9).find_map(|_| match poll(recall.as_mut()) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => {
            world.store.reader_step();
            None
        }
    });
    assert_eq!(outcome, Some(Ok(Outcome::Cancelled)));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.bodies("orders", 1), ["make the topic"]);
}

#[test]
fn a_message_gets_another_time() {
    let world = World::new();
    for (delay, body) in [(1_000, "a"), (2_000, "b"), (3_000, "c")] {
        timed(&world, delay, body);
    }
    assert_eq!(postpone(&world, "a", T0 + Duration::from_secs(60)), Outcome::Moved);
    assert_eq!(postpone(&world, "c", T0), Outcome::Moved);
    assert_eq!(world.bodies("orders", 1), ["c"], "what is due in the past goes at once");
    assert_eq!(postpone(&world, "c", T0 + Duration::from_secs(9)), Outcome::TooLate);
    assert_eq!(postpone(&world, "a", T0 + Duration::from_secs(5)), Outcome::Moved);
    let far = Wish::Move(Timestamp(i64::MAX));
    let refused = change(&world, Which::Id(ByteStr::from("a")), far);
    assert!(matches!(refused, Err(RecallRefused::TooFar { .. })), "{refused:?}");
    let world = world.kill();
    world.pass(Duration::from_millis(4_999));
    assert_eq!(world.bodies("orders", 1), ["c", "b"]);
    world.pass(MS);
    assert_eq!(world.bodies("orders", 1), ["c", "b", "a"]);
    world.pass(Duration::from_secs(100));
    assert_eq!((world.bodies("orders", 1).len(), waiting(&world)), (3, 0));
}

#[test]
fn a_key_names_all_that_have_it() {
    let world = World::new();
    for body in ["a", "b", "c"] {
        timed(&world, 1_000, body);
    }
    let by_key =
        |key: &str| change(&world, Which::Key(ByteStr::from(key)), Wish::Cancel).expect("it can be asked");
    assert_eq!(by_key("none"), Outcome::Unknown);
    assert_eq!(by_key("all"), Outcome::Cancelled);
    assert_eq!(by_key("k"), Outcome::Cancelled);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.bodies("orders", 1), Vec::<String>::new());
}

#[test]
fn a_topic_that_was_removed_gets_nothing_and_keeps_nothing_waiting() {
    let world = World::new();
    timed(&world, 1_000, "gone");
    world.put("other", 0, &[("TIMER_DELAY_MS", "1000")], "kept");
    let topics = world.broker.topics();
    assert_eq!(topics.remove(&TopicName::stored("orders"), &world.store, world.now()), Ok(true));
    world.pass(Duration::from_secs(1));
    assert_eq!((world.bodies("other", 0), waiting(&world)), (vec!["kept".to_owned()], 0));
    let world = world.kill();
    assert_eq!(waiting(&world), 0);
}

#[test]
fn a_full_disk_postpones_and_skips_nothing() {
    let mut world = World::new();
    timed(&world, 1_000, "one");
    let roomy = world.store_config.retention.clone();
    (world.store_config.retention.refuse_ratio, world.store_config.retention.resume_ratio) = (0.0, 0.0);
    let mut world = world.kill();
    world.store.retain_step();
    world.clock_forward(Duration::from_secs(5));
    let wake = world.broker.timer_step(world.now());
    assert!(matches!(wake, Wake::At(later) if later > world.now()), "it tries again");
    assert_eq!(world.store.timers().count(), (1, 0), "it is let go of");
    world.store_config.retention = roomy;
    world = world.kill();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.bodies("orders", 1), ["one"]);
}

#[test]
fn many_that_are_due_at_once_leave_in_order_at_their_rate() {
    let world = World::with(|config, _| config.sending.timer_rate = 10_000);
    let count = 2_000;
    let mut rng = Rng::new(7);
    let mut dues: Vec<i64> = (0..count).map(|_| 1_000 + rng.below(1_000) as i64).collect();
    for (index, due) in dues.iter().enumerate() {
        timed(&world, *due, &format!("{index}"));
    }
    // A process that was down meanwhile.
    world.clock_forward(Duration::from_secs(3));
    world.steps();
    assert_eq!(world.bodies("orders", 1).len(), 100, "the share of ten milliseconds");
    // In between a plain send waits for nothing.
    world.put("orders", 2, &[], "plain");
    assert_eq!(world.bodies("orders", 2), ["plain"]);
    for _ in 0..19 {
        world.pass(Duration::from_millis(10));
    }
    let records = world.records("orders", 1);
    let found: Vec<i64> = records
        .iter()
        .map(|record| record.property("TIMER_DELIVER_MS").parse::<i64>().expect("a time") - T0.0)
        .collect();
    dues.sort_unstable();
    assert_eq!(found, dues);
}

/// Random delays, random waits, recalls and new times, kills at random places, also right after a delivery was
/// appended: everything is delivered exactly once, at its time or later, or was taken back.
#[test]
fn each_is_delivered_once() {
    for seed in 0..6 {
        let mut rng = Rng::new(seed);
        let mut world = World::new();
        // When it is due; `None` when it was taken back.
        let mut due: BTreeMap<String, Option<i64>> = BTreeMap::new();
        for step in 0..120 {
            let id = format!("m{}", rng.below(step + 1));
            match rng.below(12) {
                0..=4 => {
                    let (delay, body) = (1 + rng.below(5_000) as i64, format!("m{step}"));
                    timed(&world, delay, &body);
                    due.insert(body, Some(world.now().0 + delay));
                }
                5 => match cancel(&world, &id) {
                    Outcome::Cancelled => _ = due.insert(id, None),
                    Outcome::Unknown => assert!(!due.contains_key(&id), "{id} is known"),
                    outcome => {
                        assert_eq!((outcome, due[&id] <= Some(world.now().0)), (Outcome::TooLate, true))
                    }
                },
                6 => {
                    let to = world.now() + Duration::from_millis(rng.below(5_000));
                    if postpone(&world, &id, to) == Outcome::Moved {
                        due.insert(id, Some(to.0));
                    }
                }
                7..=8 => world.pass(Duration::from_millis(rng.below(1_500))),
                9 => {
                    // Delivered and not dispatched when the process dies.
                    world.clock_forward(Duration::from_millis(rng.below(1_500)));
                    world.broker.timer_step(world.now());
                    world = world.kill();
                }
                10 => world.store.checkpoint_step(true),
                _ => world = world.kill(),
            }
        }
        world.pass(Duration::from_secs(20));
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for record in world.records("orders", 1) {
            let due =
                due[&record.body].unwrap_or_else(|| panic!("{} was taken back, seed {seed}", record.body));
            assert!(record.stored_at.0 >= due, "{} was early, seed {seed}", record.body);
            *seen.entry(record.body).or_default() += 1;
        }
        let wanted: BTreeMap<String, usize> =
            due.into_iter().filter(|(_, due)| due.is_some()).map(|(body, _)| (body, 1)).collect();
        assert_eq!(seen, wanted, "seed {seed}");
        assert_eq!(waiting(&world), 0);
    }
}
