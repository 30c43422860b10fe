// SPDX-License-Identifier: Apache-2.0
//! Requests and replies: who asks gets the answer, and only in time.

use std::sync::Arc;
use std::time::Duration;

use client::{Consumed, Delivery, Message, Producer, PushConsumer, RequestError, SendError, Subscription};
use protocol::TopicName;

use crate::cluster::{Cluster, PATIENCE};

/// Replies to everything with the body and a mark.
async fn answering(cluster: &Cluster, topic: &TopicName) -> (Arc<Producer>, PushConsumer) {
    let producer = Arc::new(cluster.producer("replies-p").await);
    let replier = producer.clone();
    let listener = move |delivery: Delivery| {
        let replier = replier.clone();
        async move {
            for request in delivery.iter() {
                let mut body = b"re: ".to_vec();
                body.extend_from_slice(&request.body);
                let reply = request.reply(body).expect("it is a request").property("mark", "mine");
                replier.send(reply).await.expect("it is taken");
            }
            Consumed::Done
        }
    };
    let config = cluster.push(&cluster.group("replies-c"));
    let consumer = PushConsumer::start(config, &[Subscription::all(topic.clone())], listener).await.unwrap();
    (producer, consumer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_gets_its_reply() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("requests", 2).await;
    let (_replier, consumer) = answering(&cluster, &topic).await;
    let producer = cluster.producer("requests-p").await;
    let ask = async |body: &str| {
        let reply = producer.request(Message::new(topic.clone(), body.to_owned()), PATIENCE).await.unwrap();
        assert_eq!((reply.property("mark"), reply.property("MSG_TYPE")), (Some("mine"), Some("reply")));
        assert!(reply.property("PUSH_REPLY_TIME").is_some());
        String::from_utf8(reply.body.to_vec()).unwrap()
    };
    assert_eq!(ask("what?").await, "re: what?");
    let long = "abc".repeat(20_000);
    assert_eq!(ask(&long).await, format!("re: {long}"), "compressed on its way");
    let (one, two, three) = tokio::join!(ask("one"), ask("two"), ask("three"));
    assert_eq!([one, two, three], ["re: one", "re: two", "re: three"]);
    consumer.shutdown().await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_replies_in_time() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("unanswered", 1).await;
    let producer = cluster.producer("unanswered-p").await;
    let request = Message::new(topic.clone(), "?");
    let unanswered = producer.request(request, Duration::from_millis(800)).await.unwrap_err();
    assert!(matches!(unanswered, RequestError::Unanswered { .. }), "{unanswered}");
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_to_one_who_left_is_refused() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("left", 1).await;
    let asking = cluster.producer("left-p").await;
    let request = Message::new(topic.clone(), "?");
    asking.request(request, Duration::from_millis(800)).await.expect_err("nobody replies");
    let gone = asking.client_id().to_owned();
    asking.shutdown().await;
    let (replier, heard) = tokio::join!(
        cluster.producer("late-p"),
        crate::cluster::accept(cluster.push(&cluster.group("late-c")), &topic)
    );
    let (consumer, mut heard) = heard;
    let late = heard.next().await.reply("too late").expect("it is a request");
    let Err(SendError::Failed { error, .. }) = replier.send(late).await else { panic!("nobody is there") };
    assert!(error.to_string().contains(&gone), "{error}");
    consumer.shutdown().await;
    replier.shutdown().await;
}
