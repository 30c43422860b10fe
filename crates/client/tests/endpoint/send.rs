// SPDX-License-Identifier: Apache-2.0
//! Sends of every kind, and that the messages can be found again.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use client::{
    ClientConfig, InvalidMessage, KeyQuery, Lane, Message, Prepared, PullConfig, PullConsumer, RecallError,
    RouteError, SendError, Stored, Subscription,
};
use futures_util::future::join_all;
use protocol::body::TopicConfig;
use protocol::codes::ResponseCode;
use protocol::names::{QueueId, QueueOffset, TopicName};
use stdx::{SystemClock, Timestamp};

use crate::cluster::{Cluster, accept, queues, text, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_arrives_as_it_was_sent_and_is_found_by_all_its_names() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("send", 4).await;
    let producer = cluster.producer("send-p").await;
    let body: Bytes = "grüße ".repeat(2000).into_bytes().into();
    let message = Message::new(topic.clone(), body.clone()).tag("blue").keys(["k1", "k2"]);
    let sent = producer.send(message.property("color", "red")).await.unwrap();
    assert_eq!((sent.stored, sent.offset, &sent.queue.topic), (Stored::Safely, QueueOffset(0), &topic));

    let (consumer, mut heard) = accept(cluster.push(&cluster.group("send-c")), &topic).await;
    let got = heard.next().await;
    assert_eq!((&got.body, &got.topic, &got.queue, got.offset), (&body, &topic, &sent.queue, sent.offset));
    assert_eq!((got.tag(), got.property("color"), got.id()), (Some("blue"), Some("red"), sent.id.clone()));
    assert_eq!(got.keys().collect::<Vec<_>>(), ["k1", "k2"]);
    assert_eq!([got.offset_id()], *sent.offset_ids);
    assert_eq!((got.reconsume_times, got.sys_flag & 1), (0, 0));
    consumer.shutdown().await;

    let admin = &cluster.admin;
    assert_eq!(admin.message_by_offset_id(Some(&topic), &sent.offset_ids[0]).await.unwrap().body, body);
    assert_eq!(admin.message_at(&sent.queue, sent.offset).await.unwrap().body, body);
    let found = async || admin.messages_by_unique_id(&topic, &sent.id).await.unwrap_or_default();
    until("the id is indexed", async || found().await.len() == 1).await;
    assert_eq!(found().await[0].body, body);
    for key in ["k1", "k2"] {
        let found = admin.messages_by_key(&KeyQuery::new(&topic, key)).await.unwrap();
        assert_eq!(found.iter().map(|m| m.offset_id()).collect::<Vec<_>>(), sent.offset_ids);
    }
    assert!(admin.messages_by_key(&KeyQuery::new(&topic, "k3")).await.unwrap().is_empty());
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_run_side_by_side_and_spread_over_the_queues() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("spread", 4).await;
    let producer = cluster.producer("spread-p").await;
    let sends = (0..200).map(|n| producer.send(Message::new(topic.clone(), n.to_string())));
    let sent: Vec<_> = join_all(sends).await.into_iter().map(Result::unwrap).collect();
    let ids: BTreeSet<_> = sent.iter().map(|s| &s.id).collect();
    let places: BTreeSet<_> = sent.iter().map(|s| (s.queue.id, s.offset)).collect();
    assert_eq!((ids.len(), places.len()), (200, 200));
    for queue in 0..4 {
        assert_eq!(sent.iter().filter(|s| s.queue.id == QueueId(queue)).count(), 50);
    }
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_kept_together_is_read_message_by_message() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = TopicName::parse(cluster.name("whole")).unwrap();
    let mut config = TopicConfig::new(topic.clone(), 1, 6);
    config.attributes.insert("queue.type".into(), "BatchCQ".into());
    cluster.admin.put_topic(None, &config).await.unwrap();
    cluster.routed(&topic).await;
    let producer = cluster.producer("whole-p").await;
    let messages: Vec<_> = (0..5).map(|n| Message::new(topic.clone(), n.to_string()).keys(["k"])).collect();
    let sent = producer.send_batch(&messages).await.unwrap();
    assert_eq!((sent.offset, sent.offset_ids.len()), (QueueOffset(0), 1));
    assert_eq!(producer.send_batch(&messages[..2]).await.unwrap().offset, QueueOffset(5));
    let mut config = PullConfig::new(cluster.group("whole-c"), &cluster.name_servers);
    config.messages = 4;
    let consumer = PullConsumer::start(config).await.unwrap();
    let queue = consumer.queues(&topic).await.unwrap().remove(0);
    consumer.assign(&Subscription::all(topic.clone()), std::slice::from_ref(&queue)).await.unwrap();
    consumer.seek(&queue, QueueOffset(3)).unwrap();
    let pulled = consumer.pull(&queue, Duration::ZERO).await.unwrap();
    let read: Vec<_> = pulled.messages.iter().map(|message| (message.offset.0, text(message))).collect();
    assert_eq!((read, pulled.next), (vec![(3, "3".to_owned()), (4, "4".to_owned())], QueueOffset(5)));
    assert_eq!(pulled.messages[0].keys().collect::<Vec<_>>(), ["k"]);
    assert_eq!(text(&cluster.admin.message_at(&queue, QueueOffset(6)).await.unwrap()), "1");
    let (pushed, mut heard) = accept(cluster.push(&cluster.group("whole-d")), &topic).await;
    assert_eq!(heard.bodies(7).await, ["0", "0", "1", "1", "2", "3", "4"]);
    pushed.shutdown().await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_and_one_way_messages_are_stored() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("batch", 1).await;
    let producer = cluster.producer("batch-p").await;
    let messages: Vec<_> = (0..5).map(|n| Message::new(topic.clone(), n.to_string()).tag("b")).collect();
    let sent = producer.send_batch(&messages).await.unwrap();
    assert_eq!((sent.offset, sent.offset_ids.len()), (QueueOffset(0), 5));
    producer.send_one_way(Message::new(topic.clone(), "5")).await.unwrap();
    let (consumer, mut heard) = accept(cluster.push(&cluster.group("batch-c")), &topic).await;
    assert_eq!(heard.bodies(6).await, ["0", "1", "2", "3", "4", "5"]);
    consumer.shutdown().await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_message_creates_its_topic() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = TopicName::parse(cluster.name("born")).unwrap();
    let producer = cluster.producer("born-p").await;
    let sent = producer.send(Message::new(topic.clone(), "first")).await.unwrap();
    assert_eq!(sent.queue.topic, topic);
    cluster.routed(&topic).await;
    assert_eq!(cluster.admin.message_at(&sent.queue, sent.offset).await.unwrap().body, "first");
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_is_told_apart() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("wrong", 1).await;
    let producer = cluster.producer("wrong-p").await;
    let reserved = producer.send(Message::new(topic.clone(), "x").property("KEYS", "y")).await;
    assert!(matches!(reserved, Err(SendError::Invalid(InvalidMessage::ReservedProperty(_)))));
    let huge = producer.send(Message::new(topic.clone(), vec![0; (4 << 20) + 1])).await;
    assert!(matches!(huge, Err(SendError::Invalid(InvalidMessage::BodyTooLarge { .. }))));
    let mut queue = queues(&producer, &topic).await.remove(0);
    queue.id = QueueId(99);
    let nowhere = producer.send_to(Message::new(topic.clone(), "x"), &queue).await;
    assert!(matches!(nowhere, Err(SendError::NoSuchQueue(_))));

    let shut = cluster.name("shut");
    let config = protocol::body::TopicConfig::new(TopicName::parse(shut).unwrap(), 1, 4);
    cluster.admin.put_topic(None, &config).await.unwrap();
    cluster.routed(&config.topic_name).await;
    let closed = producer.send(Message::new(config.topic_name.clone(), "x")).await;
    assert!(matches!(closed, Err(SendError::Route(RouteError::NoQueue { .. }))), "{closed:?}");
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_message_comes_late() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("delay", 1).await;
    let producer = cluster.producer("delay-p").await;
    let (consumer, mut heard) = accept(cluster.push(&cluster.group("delay-c")), &topic).await;
    producer.send(Message::new(topic.clone(), "late").delay_level(2)).await.unwrap();
    producer.send(Message::new(topic.clone(), "now")).await.unwrap();
    assert_eq!(text(&heard.next().await), "now");
    let late = heard.next().await;
    assert_eq!(text(&late), "late");
    assert!(late.stored_at.since(late.born_at) >= Duration::from_secs(4), "{late:?}");
    consumer.shutdown().await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timed_message_comes_at_its_time_or_is_taken_back() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("timed", 1).await;
    let producer = cluster.producer("timed-p").await;
    let (consumer, mut heard) = accept(cluster.push(&cluster.group("timed-c")), &topic).await;
    let later = |body: &'static str| Message::new(topic.clone(), body).delay(Duration::from_secs(3));
    let gone = producer.send(later("gone")).await.unwrap();
    let kept = producer.send(later("kept")).await.unwrap();
    let handle = |sent: &client::Sent| sent.recall_handle.clone().expect("it waits");
    assert_eq!(producer.recall(&topic, &handle(&gone)).await.unwrap(), gone.id);
    let at = Timestamp(SystemClock::new().now().0 + 4_000);
    producer.send(Message::new(topic.clone(), "at").deliver_at(at)).await.unwrap();
    let first = heard.next().await;
    assert_eq!(text(&first), "kept");
    assert!(first.stored_at.since(first.born_at) >= Duration::from_secs(2), "{first:?}");
    assert_eq!(text(&heard.next().await), "at");
    let late = producer.recall(&topic, &handle(&kept)).await;
    assert!(matches!(late, Err(RecallError::Refused(_))), "{late:?}");
    let broken = producer.recall(&topic, "no handle").await;
    assert!(matches!(broken, Err(RecallError::Invalid)), "{broken:?}");
    consumer.shutdown().await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_keeps_many_sends_under_way() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("lane", 1).await;
    let master = cluster.admin.masters(None).await.unwrap().remove(0);
    let config = ClientConfig::new(&cluster.name_servers);
    let lane = Lane::connect(&master.address, &config, Duration::from_secs(10)).await.unwrap();
    let mut prepared = Prepared::one(&cluster.group("lane-p"), &topic, QueueId(0), "");
    let clock = SystemClock::new();
    let body = Bytes::from_static(&[7; 1024]);
    let mut offsets = BTreeSet::new();
    while offsets.len() < 256 {
        let calls: Vec<_> = (0..64).map(|_| lane.send(&mut prepared, clock.now(), body.clone())).collect();
        for answer in join_all(calls).await {
            let answer = answer.unwrap();
            // A broker on a slow machine may be busy; it says so and stores nothing.
            if answer.code() != ResponseCode::SYSTEM_BUSY {
                assert_eq!(answer.code(), ResponseCode::SUCCESS);
                assert!(offsets.insert(answer.header().unwrap().queue_offset));
            }
        }
    }
    let end = QueueOffset(offsets.len() as u64);
    assert_eq!(offsets.last().map(|last| last.0 + 1), Some(end.0));
}
