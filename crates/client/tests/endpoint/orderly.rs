// SPDX-License-Identifier: Apache-2.0
//! Order: one key, one queue, one delivery at a time, also across failures and changes of the group.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{Consumed, Message, Mode, Producer, Subscription};
use protocol::TopicName;

use crate::cluster::{Cluster, accept, consume, text};

async fn send_keys(producer: &Producer, topic: &TopicName, keys: usize, range: std::ops::Range<usize>) {
    for n in range {
        for key in 0..keys {
            let message = Message::new(topic.clone(), format!("{key}:{n}"));
            producer.send_ordered(message, &key.to_string()).await.unwrap();
        }
    }
}

fn parse(body: &str) -> (usize, usize) {
    let (key, n) = body.split_once(':').unwrap();
    (key.parse().unwrap(), n.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_holds_its_queue_up_and_the_order_holds() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("order", 4).await;
    let producer = cluster.producer("order-p").await;
    send_keys(&producer, &topic, 5, 0..20).await;
    let mut config = cluster.push(&cluster.group("order-c"));
    config.mode = Mode::Orderly;
    config.batch = 3;
    config.suspend = Duration::from_millis(50);
    let stumbled = Arc::new(AtomicBool::new(false));
    let verdict = move |message: &client::Received| {
        let stumbles = text(message) == "3:0" && !stumbled.swap(true, Ordering::Relaxed);
        std::future::ready(if stumbles { Consumed::Later } else { Consumed::Done })
    };
    let (consumer, mut heard) = consume(config, Subscription::all(topic.clone()), verdict).await;
    let mut next: HashMap<usize, usize> = HashMap::new();
    let mut seen = 0;
    while seen < 100 {
        let message = heard.next().await;
        let (key, n) = parse(&text(&message));
        let expected = next.entry(key).or_default();
        // The batch that failed was heard as well; it begins again at its first message.
        if n == *expected {
            *expected += 1;
            seen += 1;
        } else {
            assert!(message.reconsume_times == 1 && n < *expected, "{key}:{n} came instead of {expected}");
        }
    }
    consumer.shutdown().await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_holds_while_members_come_and_go() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("shift", 4).await;
    let producer = cluster.producer("shift-p").await;
    let group = cluster.group("shift-c");
    let start = async || {
        let mut config = cluster.push(&group);
        config.mode = Mode::Orderly;
        accept(config, &topic).await
    };
    let (first, mut heard_first) = start().await;
    send_keys(&producer, &topic, 8, 0..10).await;
    let mut all: Vec<String> = Vec::new();
    let take = async |heard: &mut crate::cluster::Heard, all: &mut Vec<String>, upto: usize| {
        while all.len() < upto {
            all.push(text(&heard.next().await));
        }
    };
    take(&mut heard_first, &mut all, 80).await;
    let (second, mut heard_second) = start().await;
    send_keys(&producer, &topic, 8, 10..20).await;
    // Whoever holds a queue delivers it; both together hear everything once the second has its share.
    while all.len() < 160 {
        tokio::select! {
            Some(message) = heard_first.0.recv() => all.push(text(&message)),
            Some(message) = heard_second.0.recv() => all.push(text(&message)),
            () = tokio::time::sleep(crate::cluster::PATIENCE) => panic!("only {} messages", all.len()),
        }
    }
    first.shutdown().await;
    send_keys(&producer, &topic, 8, 20..30).await;
    take(&mut heard_second, &mut all, 240).await;
    second.shutdown().await;
    producer.shutdown().await;
    let mut next: HashMap<usize, usize> = HashMap::new();
    for body in &all {
        let (key, n) = parse(body);
        let expected = next.entry(key).or_default();
        assert_eq!(n, *expected, "of key {key}");
        *expected += 1;
    }
}
