// SPDX-License-Identifier: Apache-2.0
//! The pull consumer: assign, pull, seek, commit.

use std::time::Duration;

use client::{Message, Place, PullConfig, PullConsumer, PullError, Subscription};
use protocol::QueueOffset;
use stdx::Timestamp;

use crate::cluster::{Cluster, send_numbers, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_are_read_where_the_application_says() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("pull", 1).await;
    let producer = cluster.producer("pull-p").await;
    send_numbers(&producer, &topic, 0..100).await;
    let mut config = PullConfig::new(cluster.group("pull-c"), &cluster.name_servers);
    config.messages = 16;
    let consumer = PullConsumer::start(config.clone()).await.unwrap();
    let queue = consumer.queues(&topic).await.unwrap().remove(0);
    let unassigned = consumer.pull(&queue, Duration::ZERO).await;
    assert!(matches!(unassigned, Err(PullError::Unassigned(_))));
    consumer.assign(&Subscription::all(topic.clone()), std::slice::from_ref(&queue)).await.unwrap();

    let mut heard = Vec::new();
    while heard.len() < 100 {
        let pulled = consumer.pull(&queue, Duration::ZERO).await.unwrap();
        assert!(pulled.messages.len() <= 16 && pulled.place == Place::Found);
        heard.extend(pulled.messages.iter().map(text));
    }
    assert_eq!(heard, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    let (first, end) = (consumer.first_offset(&queue).await, consumer.end_offset(&queue).await);
    assert_eq!((first.unwrap(), end.unwrap()), (QueueOffset(0), QueueOffset(100)));
    assert_eq!(consumer.offset_at(&queue, Timestamp(0)).await.unwrap(), QueueOffset(0));

    let empty = consumer.pull(&queue, Duration::from_millis(100)).await.unwrap();
    assert_eq!((empty.place, empty.next, empty.messages.len()), (Place::AtEnd, QueueOffset(100), 0));
    consumer.seek(&queue, QueueOffset(5000)).unwrap();
    let moved = consumer.pull(&queue, Duration::ZERO).await.unwrap();
    assert_eq!((moved.place, moved.next), (Place::Moved, QueueOffset(100)));
    consumer.seek(&queue, QueueOffset(42)).unwrap();
    let pulled = consumer.pull(&queue, Duration::ZERO).await.unwrap();
    assert_eq!(text(&pulled.messages[0]), "42");

    // A long poll ends with the message it waited for.
    consumer.seek(&queue, QueueOffset(100)).unwrap();
    let (waited, ()) = tokio::join!(
        consumer.pull(&queue, Duration::from_secs(20)),
        send_numbers(&producer, &topic, 100..101)
    );
    assert_eq!(waited.unwrap().messages.iter().map(text).collect::<Vec<_>>(), ["100"]);

    assert_eq!(consumer.committed(&queue).await.unwrap(), None);
    consumer.commit(&queue, QueueOffset(30)).await.unwrap();
    assert_eq!(consumer.committed(&queue).await.unwrap(), Some(QueueOffset(30)));
    consumer.shutdown().await;
    let again = PullConsumer::start(config).await.unwrap();
    again.assign(&Subscription::all(topic.clone()), std::slice::from_ref(&queue)).await.unwrap();
    assert_eq!(again.position(&queue), Some(QueueOffset(30)));
    again.shutdown().await;
    producer.shutdown().await;
}

/// Against Apache's server it takes `enablePropertyFilter=true`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_brings_its_expression_along() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("pull-sql", 1).await;
    let producer = cluster.producer("pull-sql-p").await;
    for n in 0..20 {
        let message = Message::new(topic.clone(), n.to_string()).property("n", &n.to_string());
        producer.send(message).await.unwrap();
    }
    let config = PullConfig::new(cluster.group("pull-sql-c"), &cluster.name_servers);
    let consumer = PullConsumer::start(config).await.unwrap();
    let queue = consumer.queues(&topic).await.unwrap().remove(0);
    let queues = std::slice::from_ref(&queue);
    let broken = consumer.assign(&Subscription::sql(topic.clone(), "n >"), queues).await;
    assert!(broken.is_err());
    consumer.assign(&Subscription::sql(topic.clone(), "n BETWEEN 7 AND 9"), queues).await.unwrap();
    let pulled = consumer.pull(&queue, Duration::ZERO).await.unwrap();
    assert_eq!(pulled.messages.iter().map(text).collect::<Vec<_>>(), ["7", "8", "9"]);
    consumer.shutdown().await;
    producer.shutdown().await;
}
