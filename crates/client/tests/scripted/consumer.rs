// SPDX-License-Identifier: Apache-2.0
//! Consumers through trouble: moved offsets, a broker that forgot them, stolen locks, a shutdown in the middle of work.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::{ConsumeFrom, Consumed, Delivery, Mode, PushConfig, PushConsumer, Subscription};
use protocol::names::{Group, QueueOffset, TopicName};
use tokio::sync::{Semaphore, mpsc};

use crate::script::{Script, Stage, TOPIC};

const PATIENCE: Duration = Duration::from_secs(20);

fn config(stage: &Stage) -> PushConfig {
    let mut config = PushConfig::new(Group::stored("c"), &stage.name_server);
    config.from = ConsumeFrom::First;
    config.commit_interval = Duration::from_millis(50);
    config.lock_interval = Duration::from_millis(50);
    config
}

async fn start(config: PushConfig) -> (PushConsumer, mpsc::Receiver<String>) {
    let (sender, receiver) = mpsc::channel(1000);
    let listener = move |delivery: Delivery| {
        let sender = sender.clone();
        async move {
            for message in delivery.iter() {
                sender.send(String::from_utf8_lossy(&message.body).into_owned()).await.ok();
            }
            Consumed::Done
        }
    };
    let subscription = Subscription::all(TopicName::stored(TOPIC));
    (PushConsumer::start(config, &[subscription], listener).await.unwrap(), receiver)
}

async fn hear(heard: &mut mpsc::Receiver<String>) -> String {
    tokio::time::timeout(PATIENCE, heard.recv())
        .await
        .expect("a message in time")
        .expect("a running consumer")
}

fn put(script: &Script, bodies: &[&'static str]) {
    script.queue.lock().extend(bodies.iter().map(|body| Bytes::from_static(body.as_bytes())));
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let asked = async {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        while !holds() {
            pace.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_offset_becomes_the_progress_at_once() {
    let stage = Stage::new(&["a"]);
    put(&stage.script, &["0", "1", "2", "3"]);
    *stage.script.moved.lock() = Some(QueueOffset(2));
    let (consumer, mut heard) = start(config(&stage)).await;
    // Workers take them side by side.
    let mut from_two = [hear(&mut heard).await, hear(&mut heard).await];
    from_two.sort();
    assert_eq!(from_two, ["2", "3"]);
    until("the end is committed", || stage.script.commits.lock().last() == Some(&QueueOffset(4))).await;
    assert!(
        stage
            .script
            .commits
            .lock()
            .iter()
            .all(|&offset| offset == QueueOffset(0) || offset >= QueueOffset(2))
    );

    // And back: what was consumed comes again.
    *stage.script.moved.lock() = Some(QueueOffset(1));
    let mut from_one = [hear(&mut heard).await, hear(&mut heard).await, hear(&mut heard).await];
    from_one.sort();
    assert_eq!(from_one, ["1", "2", "3"]);
    assert!(stage.script.commits.lock().contains(&QueueOffset(1)));
    consumer.shutdown().await;
    assert_eq!(stage.script.commits.lock().last(), Some(&QueueOffset(4)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_forgot_the_consumer_is_told_again() {
    let stage = Stage::new(&["a"]);
    let (consumer, mut heard) = start(config(&stage)).await;
    put(&stage.script, &["before"]);
    assert_eq!(hear(&mut heard).await, "before");
    *stage.script.forgotten.lock() = true;
    put(&stage.script, &["after"]);
    // Heartbeats are half a minute apart; this one comes because a pull was refused.
    assert_eq!(hear(&mut heard).await, "after");
    consumer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_restarts_is_read_again() {
    let mut stage = Stage::new(&["a"]);
    let (consumer, mut heard) = start(config(&stage)).await;
    put(&stage.script, &["before"]);
    assert_eq!(hear(&mut heard).await, "before");
    stage.restart("a").await;
    put(&stage.script, &["after"]);
    assert_eq!(hear(&mut heard).await, "after");
    consumer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_lock_ends_delivery_and_commits_nothing_more() {
    let stage = Stage::new(&["a"]);
    let mut config = config(&stage);
    config.mode = Mode::Orderly;
    let (consumer, mut heard) = start(config).await;
    put(&stage.script, &["one"]);
    assert_eq!(hear(&mut heard).await, "one");
    until("it is committed", || stage.script.commits.lock().last() == Some(&QueueOffset(1))).await;
    *stage.script.locked_out.lock() = true;
    // After the refused renewal the queue is asked for anew, and refused again.
    until("the lock is refused twice", || *stage.script.refused_locks.lock() >= 2).await;
    let commits = stage.script.commits.lock().len();
    put(&stage.script, &["two"]);
    assert!(tokio::time::timeout(Duration::from_millis(300), heard.recv()).await.is_err());
    assert_eq!((stage.script.commits.lock().len(), *stage.script.unlocks.lock()), (commits, 0));
    *stage.script.locked_out.lock() = false;
    assert_eq!(hear(&mut heard).await, "two");
    consumer.shutdown().await;
    assert_eq!(*stage.script.unlocks.lock(), 1);
    assert_eq!(stage.script.commits.lock().last(), Some(&QueueOffset(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_lets_the_listener_finish_and_saves_what_it_did() {
    let stage = Stage::new(&["a"]);
    put(&stage.script, &["0", "1", "2"]);
    let gate = Arc::new(Semaphore::new(0));
    let (sender, mut began) = mpsc::channel(10);
    let at_gate = gate.clone();
    let listener = move |_: Delivery| {
        let (gate, sender) = (at_gate.clone(), sender.clone());
        async move {
            sender.send(()).await.ok();
            gate.acquire().await.unwrap().forget();
            Consumed::Done
        }
    };
    let subscription = Subscription::all(TopicName::stored(TOPIC));
    let mut config = config(&stage);
    config.workers = 2;
    let consumer = PushConsumer::start(config, &[subscription], listener).await.unwrap();
    for _ in 0..2 {
        tokio::time::timeout(PATIENCE, began.recv()).await.unwrap();
    }
    let leaving = tokio::spawn(consumer.shutdown());
    gate.add_permits(10);
    tokio::time::timeout(PATIENCE, leaving).await.unwrap().unwrap();
    // Two were with the listener; the third may have been handed over before the shutdown was noticed.
    let finished = 10 - gate.available_permits() as u64;
    assert!(finished >= 2);
    assert_eq!(stage.script.commits.lock().last(), Some(&QueueOffset(finished)));
    assert_eq!(*stage.script.leavers.lock(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_never_ends_does_not_hold_a_shutdown_for_ever() {
    let stage = Stage::new(&["a"]);
    put(&stage.script, &["slow", "hangs"]);
    let (sender, mut began) = mpsc::channel(10);
    let gate = Arc::new(Semaphore::new(0));
    let at_gate = gate.clone();
    let listener = move |delivery: Delivery| {
        let (gate, sender) = (at_gate.clone(), sender.clone());
        async move {
            sender.send(()).await.ok();
            if delivery[0].body == "hangs" {
                std::future::pending::<()>().await;
            }
            gate.acquire().await.unwrap().forget();
            Consumed::Done
        }
    };
    let mut config = config(&stage);
    config.shutdown_patience = Duration::from_millis(400);
    let subscription = Subscription::all(TopicName::stored(TOPIC));
    let consumer = PushConsumer::start(config, &[subscription], listener).await.unwrap();
    for _ in 0..2 {
        tokio::time::timeout(PATIENCE, began.recv()).await.unwrap();
    }
    let slowly = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        gate.add_permits(1);
    };
    tokio::join!(tokio::time::timeout(PATIENCE, consumer.shutdown()), slowly).0.unwrap();
    // What was finished meanwhile is kept all the same.
    assert_eq!(stage.script.commits.lock().last(), Some(&QueueOffset(1)));
}
