// SPDX-License-Identifier: Apache-2.0
//! How often memory is asked for on the way of a send and of a pull: counted on the server's own threads, from the read of
//! the socket to the written answer, and so the same on every machine. What a number grows by is a regression; what it
//! falls by is written down here (`UPDATE_EXPECT=1`), so that it stays.
//! Where the calls come from: `KIRUNA_SHOW=1 cargo test -p broker --test allocations NAME -- --nocapture`.

mod count;
mod frames;
mod rig;

use expect_test::{Expect, expect};

use rig::{Client, Rig};

#[global_allocator]
static ALLOCATOR: count::Counting = count::Counting;

/// Turns of one window.
const TURNS: u64 = 64;
/// Windows of which the least is taken: what a machine adds that stands still for seconds (a timer, a buffer given back)
/// is no part of the work.
const WINDOWS: usize = 5;

/// What one request costs on the thread of its connection, and one message behind it.
#[derive(Clone, Copy, Debug)]
struct Cost {
    connection: f64,
    dispatch: f64,
    drain: f64,
}

impl Cost {
    fn check(self, expected: &Expect) {
        let Cost { connection, dispatch, drain } = self;
        expected.assert_eq(&format!(
            "{connection:.2} a request; {dispatch:.2} dispatch and {drain:.2} drain a message"
        ));
    }
}

/// What is done between two holds; it begins while the server holds and has it hold again.
type Turn<'a> = &'a mut dyn FnMut(&Rig, &mut Client);

/// Counts what `turn` costs, which asks `requests` and stores `messages`.
fn cost(rig: &Rig, client: &mut Client, (requests, messages): (u64, u64), turn: Turn<'_>) -> Cost {
    client.add_hold();
    client.write();
    let mut last = rig.held();
    let mut window = |turn: Turn<'_>| {
        let mut counts = [0; 3];
        for _ in 0..TURNS {
            turn(rig, client);
            let now = rig.held();
            let sums = [now - last, rig.dispatch(), rig.drain()];
            last = now;
            counts.iter_mut().zip(sums).for_each(|(count, sum)| *count += sum);
        }
        counts
    };
    let mut least = |turn: Turn<'_>| -> [u64; 3] {
        window(turn);
        let all: [[u64; 3]; WINDOWS] = std::array::from_fn(|_| window(turn));
        std::array::from_fn(|part| all.iter().map(|counts| counts[part]).min().unwrap_or(0))
    };
    let nothing = least(&mut |rig, client| together(rig, client, 0, |_, _, _| {}));
    let all = least(turn);
    rig.go_on(false);
    client.answers_owed();
    let share = |part: usize, of: u64| (all[part] as f64 - nothing[part] as f64) / (TURNS * of.max(1)) as f64;
    Cost { connection: share(0, requests), dispatch: share(1, messages), drain: share(2, messages) }
}

/// Whether where memory is asked for is to be shown.
fn is_shown() -> bool {
    std::env::var_os("KIRUNA_SHOW").is_some()
}

/// One request, which is answered before the server holds again.
fn alone(rig: &Rig, client: &mut Client, put: impl FnOnce(u32, &mut Vec<u8>)) {
    rig.go_on(is_shown());
    client.answers_owed();
    client.ask(put);
    client.add_hold();
    client.write();
}

/// Requests that come with one read.
fn together(rig: &Rig, client: &mut Client, count: u64, put: impl Fn(u64, u32, &mut Vec<u8>)) {
    let owed = client.owed();
    (0..count).for_each(|number| client.add(|opaque, out| put(number, opaque, out)));
    client.add_hold();
    client.write();
    rig.go_on(is_shown() && count > 0);
    // Their own answers come when the hold behind them ends.
    client.answers(owed);
}

/// Stores messages for those who pull; the next one goes to each of `queues` in turn.
fn fill(rig: &Rig, client: &mut Client, topic: &str, messages: u64, queues: u32) {
    for _ in 0..messages / 64 {
        (0..64).for_each(|number| {
            client.add(|opaque, out| frames::send(topic, number % queues, opaque, &BODY, out));
        });
        client.write();
        client.answers_owed();
        rig.dispatch();
        rig.drain();
    }
}

const BODY: [u8; 256] = [b'x'; 256];

#[test]
fn a_send_alone() {
    let rig = Rig::new();
    let mut client = rig.client();
    let cost = cost(&rig, &mut client, (1, 1), &mut |rig, client| {
        alone(rig, client, |opaque, out| frames::send("orders", 0, opaque, &BODY, out));
    });
    cost.check(&expect!["0.00 a request; 0.00 dispatch and 0.00 drain a message"]);
}

#[test]
fn sends_that_come_together() {
    let rig = Rig::new();
    let mut client = rig.client();
    let cost = cost(&rig, &mut client, (64, 64), &mut |rig, client| {
        together(rig, client, 64, |_, opaque, out| frames::send("orders", 0, opaque, &BODY, out));
    });
    cost.check(&expect!["0.15 a request; 0.00 dispatch and 0.00 drain a message"]);
}

#[test]
fn sends_to_two_topics_that_come_together() {
    let rig = Rig::new();
    let mut client = rig.client();
    let cost = cost(&rig, &mut client, (64, 64), &mut |rig, client| {
        together(rig, client, 64, |number, opaque, out| {
            let topic = ["orders", "invoices"][number as usize % 2];
            frames::send(topic, 0, opaque, &BODY, out);
        });
    });
    cost.check(&expect!["0.21 a request; 0.00 dispatch and 0.00 drain a message"]);
}

#[test]
fn a_batch_of_32() {
    let rig = Rig::new();
    let mut client = rig.client();
    let cost = cost(&rig, &mut client, (1, 32), &mut |rig, client| {
        alone(rig, client, |opaque, out| frames::batch("orders", 32, opaque, &BODY, out));
    });
    cost.check(&expect!["4.28 a request; 0.00 dispatch and 0.00 drain a message"]);
}

#[test]
fn a_pull_of_32_that_lie_together() {
    let rig = Rig::new();
    let mut client = rig.client();
    client.join("orders");
    fill(&rig, &mut client, "orders", 1024, 1);
    let cost = cost(&rig, &mut client, (1, 0), &mut |rig, client| {
        alone(rig, client, |opaque, out| frames::pull("orders", u64::from(opaque) % 900, opaque, out));
    });
    cost.check(&expect!["1.00 a request; 0.00 dispatch and 0.00 drain a message"]);
}

#[test]
fn a_pull_of_32_that_lie_apart() {
    let rig = Rig::new();
    let mut client = rig.client();
    client.join("orders");
    fill(&rig, &mut client, "orders", 2048, 2);
    let cost = cost(&rig, &mut client, (1, 0), &mut |rig, client| {
        alone(rig, client, |opaque, out| frames::pull("orders", u64::from(opaque) % 900, opaque, out));
    });
    cost.check(&expect!["2.00 a request; 0.00 dispatch and 0.00 drain a message"]);
}

/// The send that wakes it, and what that makes visible, count too: all is done by one thread.
#[test]
fn a_pull_that_waits_and_the_send_that_wakes_it() {
    let rig = Rig::new();
    let (mut client, mut consumer) = (rig.client(), rig.client());
    consumer.join("orders");
    fill(&rig, &mut client, "orders", 64, 1);
    let mut next = 64;
    let cost = cost(&rig, &mut client, (1, 1), &mut |rig, client| {
        rig.go_on(is_shown());
        client.answers_owed();
        consumer.add(|opaque, out| frames::pull("orders", next, opaque, out));
        consumer.write();
        while rig.broker.waiting_pulls() == 0 {
            std::thread::yield_now();
        }
        client.ask(|opaque, out| frames::send("orders", 0, opaque, &BODY, out));
        consumer.answers_owed();
        next += 1;
        client.add_hold();
        client.write();
    });
    cost.check(&expect!["8.00 a request; 0.00 dispatch and 0.00 drain a message"]);
}
