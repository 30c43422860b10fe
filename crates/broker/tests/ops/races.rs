// SPDX-License-Identifier: Apache-2.0
//! What must hold when two threads meet: many short meetings, each started at the same moment.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use broker::ops::pull::PullInput;
use protocol::names::{Group, QueueId, QueueOffset, TopicName};

use crate::world::{World, input, poll, pull_input, show};

struct Ring(Sender<()>);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

fn bell() -> (Waker, Receiver<()>) {
    let (sender, receiver) = channel();
    (Waker::from(Arc::new(Ring(sender))), receiver)
}

#[test]
fn a_message_that_comes_while_its_reader_lies_down_wakes_it() {
    let world = World::new();
    world.put("orders", 0, &[], "0");
    let rounds = 6000;
    let start = Barrier::new(2);
    thread::scope(|scope| {
        // A reader that gives up drops its end, which ends the sender too.
        let (go, told) = sync_channel(0);
        let (world, start) = (&world, &start);
        scope.spawn(move || {
            for round in told {
                start.wait();
                let send = input("orders", 0, &[], &format!("{round}"));
                assert!(poll(pin!(world.broker.send(send, world.now()))).is_ready());
                world.steps();
            }
        });
        for round in 1..=rounds {
            go.send(round).expect("the sender is there");
            start.wait();
            // The reader lags by a little more each round, so that every moment of the two meets in some round.
            (0..round % 128 * 100).for_each(|_| std::hint::spin_loop());
            let wanted = PullInput { wait: Some(Duration::from_secs(15)), ..pull_input("orders", 0, round) };
            let mut pull = pin!(world.broker.pull(wanted, world.now()));
            let (waker, rung) = bell();
            let pulled = loop {
                match pull.as_mut().poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(pulled) => break pulled,
                    Poll::Pending => {
                        rung.recv_timeout(Duration::from_secs(10)).expect("nobody wakes the reader")
                    }
                }
            };
            assert!(show(pulled).starts_with(&format!("found {round}")), "round {round}");
        }
    });
}

#[test]
fn a_group_that_is_moved_while_its_reader_lies_down_is_told() {
    let world = World::new();
    world.put("orders", 0, &[], "0");
    let (group, topic) = (Group::stored("g"), TopicName::stored("orders"));
    let rounds = 4000;
    // Whoever waits at a `Barrier` wakes tens of microseconds after the other, too late for this meeting.
    let here = AtomicUsize::new(0);
    let meet = |round: usize| {
        here.fetch_add(1, Ordering::SeqCst);
        while here.load(Ordering::SeqCst) < 2 * round {
            std::hint::spin_loop();
        }
    };
    thread::scope(|scope| {
        let (go, told) = sync_channel(0);
        let (world, meet) = (&world, &meet);
        scope.spawn(move || {
            for round in told {
                meet(round);
                // The operator lags by a little more each round, so that every moment of the two meets in some round.
                (0..round % 256 * 4).for_each(|_| std::hint::spin_loop());
                world.broker.send_group_to(&group, &topic, QueueId(0), QueueOffset(0));
            }
        });
        for round in 1..=rounds {
            go.send(round).expect("the operator is there");
            meet(round);
            let wanted = PullInput { wait: Some(Duration::from_secs(15)), ..pull_input("orders", 0, 1) };
            let mut pull = pin!(world.broker.pull(wanted, world.now()));
            let (waker, rung) = bell();
            let pulled = loop {
                match pull.as_mut().poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(pulled) => break pulled,
                    Poll::Pending => {
                        rung.recv_timeout(Duration::from_secs(10)).expect("nobody wakes the reader")
                    }
                }
            };
            assert_eq!(show(pulled), "Reset, next 0 of 0..1", "round {round}");
        }
    });
}

#[test]
fn a_topic_that_two_senders_make_at_once_is_made_once() {
    let world = World::new();
    let before = world.broker.topics().version().counter;
    let rounds = 200;
    let start = Barrier::new(2);
    let send_all = || {
        for round in 0..rounds {
            start.wait();
            let send = input(&format!("t{round}"), 0, &[], "x");
            let Poll::Ready(sent) = poll(pin!(world.broker.send(send, world.now()))) else {
                panic!("it waits")
            };
            sent.expect("it is stored");
        }
    };
    thread::scope(|scope| {
        scope.spawn(send_all);
        send_all();
    });
    assert_eq!(world.broker.topics().version().counter - before, rounds);
    world.steps();
    assert!((0..rounds).all(|round| world.bodies(&format!("t{round}"), 0) == ["x", "x"]));
}
