// SPDX-License-Identifier: Apache-2.0
//! Push consumers: where they begin, what they filter, how failures come back, how broadcasts are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use client::{ConsumeFrom, Consumed, Message, Mode, Model, PushConsumer, StartError, Subscription};
use protocol::TopicName;
use stdx::Timestamp;

use crate::cluster::{Cluster, accept, consume, numbered, send_numbers, text, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_are_filtered_and_a_collision_does_not_pass() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("tags", 2).await;
    let producer = cluster.producer("tags-p").await;
    // "Aa" and "BB" have the same hash.
    for (tag, body) in [("Aa", "1"), ("BB", "2"), ("c", "3"), ("Aa", "4"), ("d", "5")] {
        producer.send(Message::new(topic.clone(), body).tag(tag)).await.unwrap();
    }
    let subscription = Subscription::tags(topic.clone(), "Aa || d");
    let done = |_: &_| std::future::ready(Consumed::Done);
    let (consumer, mut heard) = consume(cluster.push(&cluster.group("tags-c")), subscription, done).await;
    assert_eq!(heard.bodies(3).await, ["1", "4", "5"]);
    consumer.shutdown().await;
    assert!(heard.0.recv().await.is_none());
    producer.shutdown().await;
}

/// Against Apache's server it takes `enablePropertyFilter=true`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_are_chosen_by_sql() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("sql", 2).await;
    let producer = cluster.producer("sql-p").await;
    for (price, kind, body) in
        [("5", "map", "1"), ("15", "map", "2"), ("25", "book", "3"), ("x", "book", "4")]
    {
        let message = Message::new(topic.clone(), body).property("price", price).property("kind", kind);
        producer.send(message).await.unwrap();
    }
    let subscription = Subscription::sql(topic.clone(), "price > 10 AND kind IN ('book', 'map')");
    let done = |_: &_| std::future::ready(Consumed::Done);
    let (consumer, mut heard) = consume(cluster.push(&cluster.group("sql-c")), subscription, done).await;
    assert_eq!(heard.bodies(2).await, ["2", "3"]);
    consumer.shutdown().await;
    assert!(heard.0.recv().await.is_none());
    producer.shutdown().await;
    let broken = Subscription::sql(topic.clone(), "price >");
    let accept = |_| std::future::ready(Consumed::Done);
    let refused = PushConsumer::start(cluster.push(&cluster.group("sql-x")), &[broken], accept).await;
    assert!(matches!(refused, Err(StartError::Subscription(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_kept_across_consumers() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("kept", 4).await;
    let producer = cluster.producer("kept-p").await;
    let group = cluster.group("kept-c");
    send_numbers(&producer, &topic, 0..50).await;
    let (consumer, mut heard) = accept(cluster.push(&group), &topic).await;
    assert_eq!(heard.bodies(50).await, numbered(0..50));
    consumer.shutdown().await;
    assert_eq!(cluster.admin.progress(&group, Some(&topic)).await.unwrap().lag(), 0);
    send_numbers(&producer, &topic, 50..60).await;
    let (consumer, mut heard) = accept(cluster.push(&group), &topic).await;
    assert_eq!(heard.bodies(10).await, numbered(50..60));
    consumer.shutdown().await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_begins_where_it_wants() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("begin", 1).await;
    let producer = cluster.producer("begin-p").await;
    send_numbers(&producer, &topic, 0..5).await;
    let queue = producer.queues(&topic).await.unwrap().remove(0);
    let fourth = cluster.admin.message_at(&queue, protocol::QueueOffset(4)).await.unwrap();
    // Broadcast consumers do not ask the broker, which answers 0 for a young queue.
    for (from, first) in [
        (ConsumeFrom::First, "0"),
        (ConsumeFrom::Last, "x"),
        (ConsumeFrom::Time(Timestamp(fourth.stored_at.0 + 3_600_000)), "x"),
        (ConsumeFrom::Time(Timestamp(fourth.stored_at.0 - 3_600_000)), "0"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = cluster.push(&cluster.group("begin-c"));
        (config.model, config.mode, config.from) = (Model::Broadcast, Mode::Orderly, from);
        config.progress_dir = dir.path().into();
        let (consumer, mut heard) = accept(config, &topic).await;
        let running = async || {
            let connections = cluster.admin.consumer_connections(&cluster.group("begin-c")).await;
            connections.is_ok_and(|found| !found.connection_set.is_empty())
        };
        until("the consumer is there", running).await;
        until("a message at the end is heard", async || {
            producer.send(Message::new(topic.clone(), "x")).await.unwrap();
            !heard.0.is_empty()
        })
        .await;
        assert_eq!(text(&heard.next().await), first, "{from:?}");
        consumer.shutdown().await;
    }
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_message_comes_again_and_ends_among_the_dead_letters() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("fail", 1).await;
    let producer = cluster.producer("fail-p").await;
    let group = cluster.group("fail-c");
    let sent = producer.send(Message::new(topic.clone(), "bad").tag("t").keys(["k"])).await.unwrap();
    producer.send(Message::new(topic.clone(), "good")).await.unwrap();
    let mut config = cluster.push(&group);
    config.max_reconsume = Some(2);
    let verdict = |message: &client::Received| {
        let is_bad = message.body == "bad";
        std::future::ready(if is_bad { Consumed::LaterAt(1) } else { Consumed::Done })
    };
    let (consumer, mut heard) = consume(config, Subscription::all(topic.clone()), verdict).await;
    let mut tries = Vec::new();
    while tries.len() < 3 {
        let message = heard.next().await;
        if message.body == "bad" {
            assert_eq!((&message.topic, message.tag(), message.id()), (&topic, Some("t"), sent.id.clone()));
            tries.push((message.reconsume_times, message.queue.topic.is_retry()));
        }
    }
    assert_eq!(tries, [(0, false), (1, true), (2, true)]);
    let dead = TopicName::dlq_of(&group);
    cluster.routed(&dead).await;
    let route = cluster.admin.route(&dead).await.unwrap();
    let queue = client::Queue::new(dead, route.broker_datas[0].broker_name.clone(), 0);
    let letter = async || cluster.admin.message_at(&queue, protocol::QueueOffset(0)).await;
    until("there is a dead letter", async || letter().await.is_ok()).await;
    let letter = letter().await.unwrap();
    assert_eq!((text(&letter), letter.id(), letter.tag()), ("bad".into(), sent.id, Some("t")));
    consumer.shutdown().await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_or_a_hang_of_the_listener_counts_as_a_failure() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("panic", 1).await;
    let producer = cluster.producer("panic-p").await;
    send_numbers(&producer, &topic, 0..2).await;
    let mut config = cluster.push(&cluster.group("panic-c"));
    config.consume_timeout = Duration::from_millis(200);
    let calls = Arc::new(AtomicU32::new(0));
    let verdict = move |message: &client::Received| {
        let (first, body) = (message.reconsume_times == 0, text(message));
        calls.fetch_add(1, Ordering::Relaxed);
        async move {
            match (first, body.as_str()) {
                (true, "0") => panic!("on purpose"),
                (true, _) => std::future::pending().await,
                _ => Consumed::Done,
            }
        }
    };
    let (consumer, mut heard) = consume(config, Subscription::all(topic.clone()), verdict).await;
    // Only deliveries that ended are heard, so these are the second ones.
    assert_eq!(heard.bodies(2).await, ["0", "1"]);
    consumer.shutdown().await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_hears_a_broadcast_and_remembers_its_place() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("cast", 3).await;
    let producer = cluster.producer("cast-p").await;
    let group = cluster.group("cast-c");
    let dir = tempfile::tempdir().unwrap();
    let start = async |instance: &str| {
        let mut config = cluster.push(&group);
        config.model = Model::Broadcast;
        config.client.instance = Some(cluster.name(instance));
        config.progress_dir = dir.path().into();
        accept(config, &topic).await
    };
    send_numbers(&producer, &topic, 0..20).await;
    let (one, mut heard_one) = start("one").await;
    let (two, mut heard_two) = start("two").await;
    assert_eq!(heard_one.bodies(20).await, numbered(0..20));
    assert_eq!(heard_two.bodies(20).await, numbered(0..20));
    one.shutdown().await;
    send_numbers(&producer, &topic, 20..30).await;
    assert_eq!(heard_two.bodies(10).await, numbered(20..30));
    let (one, mut heard_one) = start("one").await;
    assert_eq!(heard_one.bodies(10).await, numbered(20..30));
    one.shutdown().await;
    two.shutdown().await;
    producer.shutdown().await;
}
