// SPDX-License-Identifier: Apache-2.0
//! Pulls that ask for properties: what they find, how far they look, how they wait, and what is refused.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use broker::ops::pull::PullInput;
use protocol::names::ByteStr;

use crate::world::{World, poll, pull_input, show};

fn sql(queue: u32, from: u64, expression: &str) -> PullInput {
    let kind = ByteStr::from("SQL92");
    let filter = Some((kind.clone(), ByteStr::from(expression)));
    PullInput { filter, kind: Some(kind), ..pull_input("orders", queue, from) }
}

fn waiting(from: u64, expression: &str) -> PullInput {
    PullInput { wait: Some(Duration::from_secs(15)), ..sql(0, from, expression) }
}

#[test]
fn properties_are_asked_and_a_missing_one_answers_nothing() {
    let world = World::new();
    for (body, properties) in
        [("low", [("a", "1")]), ("high", [("a", "11")]), ("none", [("b", "1")]), ("text", [("a", "x")])]
    {
        world.put("orders", 0, &properties, body);
    }
    let pull = |expression| show(world.pull(sql(0, 0, expression)));
    assert_eq!(pull("a BETWEEN 1 AND 10"), "found low, next 4 of 0..4");
    assert_eq!(pull("NOT (a BETWEEN 1 AND 10)"), "found high, next 4 of 0..4");
    assert_eq!(pull("a IS NULL OR a = 'x'"), "found none text, next 4 of 0..4");
    assert_eq!(pull("a > 11"), "Filtered, next 4 of 0..4");
}

#[test]
fn what_is_wrong_is_refused_and_never_unfiltered() {
    let world = World::with(|config, _| config.reading.property_filter = true);
    world.put("orders", 0, &[("a", "1")], "x");
    let refused = show(world.pull(sql(0, 0, "a >")));
    assert!(refused.starts_with("refused: parse the consumer's subscription failed: "), "{refused}");
    let other =
        PullInput { filter: Some((ByteStr::from("LUA"), ByteStr::from("a"))), ..pull_input("orders", 0, 0) };
    assert_eq!(
        show(world.pull(other)),
        "refused: parse the consumer's subscription failed: expressions of type \"LUA\" are not supported"
    );
    let world = World::with(|config, _| config.reading.property_filter = false);
    world.put("orders", 0, &[("a", "1")], "x");
    assert_eq!(
        show(world.pull(sql(0, 0, "a = 1"))),
        "refused: The broker does not support consumer to filter message by SQL92"
    );
}

#[test]
fn a_pull_looks_at_so_many_messages_and_says_where_to_go_on() {
    let world = World::new();
    for n in 0..2100 {
        world.put("orders", 0, &[("n", &n.to_string())], &n.to_string());
    }
    {
        let mut pull = pin!(world.broker.pull(waiting(0, "n > 5000"), world.now()));
        let Poll::Ready(pulled) = poll(pull.as_mut()) else { panic!("there is more to look at") };
        assert_eq!(show(pulled), "Filtered, next 2048 of 0..2100");
    }
    assert_eq!(show(world.pull(sql(0, 2048, "n = 2099"))), "found 2099, next 2100 of 0..2100");
    // What was looked at is remembered, and passed over at less expense whoever asks.
    assert_eq!(show(world.pull(sql(0, 0, "n = 2099 AND n IS NOT NULL"))), "found 2099, next 2100 of 0..2100");
}

#[test]
fn a_waiting_pull_sleeps_over_what_is_not_for_it_and_tells_within_a_second() {
    let world = World::new();
    world.put("orders", 0, &[("a", "1")], "first");
    let mut pull = pin!(world.broker.pull(waiting(1, "a = 2"), world.now()));
    assert!(poll(pull.as_mut()).is_pending());
    world.pass(Duration::from_secs(10));
    assert!(poll(pull.as_mut()).is_pending(), "nothing came, and its time is not over");
    world.put("orders", 0, &[("a", "1")], "not for it");
    assert!(poll(pull.as_mut()).is_pending(), "what came is not for it");
    world.pass(Duration::from_millis(600));
    world.put("orders", 0, &[("a", "3")], "not for it either");
    assert!(poll(pull.as_mut()).is_pending());
    assert_eq!(world.broker.waiting_pulls(), 1);
    world.pass(Duration::from_millis(400));
    let Poll::Ready(pulled) = poll(pull.as_mut()) else { panic!("its group would seem to lag") };
    assert_eq!(show(pulled), "Filtered, next 3 of 0..3");
    let mut pull = pin!(world.broker.pull(waiting(3, "a = 2"), world.now()));
    assert!(poll(pull.as_mut()).is_pending());
    world.put("orders", 0, &[("a", "1")], "not for it");
    assert!(poll(pull.as_mut()).is_pending());
    world.put("orders", 0, &[("a", "2")], "for it");
    let Poll::Ready(pulled) = poll(pull.as_mut()) else { panic!("it was woken") };
    assert_eq!(show(pulled), "found for it, next 5 of 0..5");
    assert_eq!(world.broker.waiting_pulls(), 0);
}
