// SPDX-License-Identifier: Apache-2.0
//! Sends through trouble: where they are tried again, where not, and for how long.

use std::time::{Duration, Instant};

use client::{Message, RouteError, SendError, StartError, Stored};
use protocol::codes::ResponseCode;
use protocol::names::{BrokerName, QueueId, TopicName};
use remoting::CallError;

use crate::script::{Act, Stage, TOPIC};

const SHORT: Duration = Duration::from_millis(800);

fn message() -> Message {
    Message::new(TopicName::stored(TOPIC), "hello")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_broker_is_left_for_another_and_the_id_stays() {
    let stage = Stage::new(&["a", "b", "c"]);
    let producer = stage.producer(SHORT).await;
    for code in [1, 2, 14, 16, 17, 204, 205, 1500] {
        stage.script.sends.lock().clear();
        stage.script.acts.lock().push_back(Act::Answer(code));
        let sent = producer.send(message()).await.unwrap();
        let seen = stage.script.sends.lock().clone();
        assert_eq!(seen.len(), 2, "code {code}");
        assert_ne!(seen[0].0, seen[1].0, "code {code}");
        assert_eq!([&seen[0].1, &seen[1].1], [&sent.id; 2]);
    }
    producer.shutdown().await;
    assert_eq!(*stage.script.leavers.lock(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_final_refusal_is_told_at_once() {
    let stage = Stage::new(&["a", "b"]);
    let producer = stage.producer(SHORT).await;
    stage.script.acts.lock().push_back(Act::Answer(13));
    let error = producer.send(message()).await.unwrap_err();
    let SendError::Failed { attempts: 1, error, .. } = &error else { panic!("{error}") };
    assert_eq!(error.refusal(), Some(ResponseCode::MESSAGE_ILLEGAL));
    assert_eq!(stage.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_message_is_not_sent_again_whatever_else_failed() {
    let stage = Stage::new(&["a", "b"]);
    let producer = stage.producer(SHORT).await;
    for (code, stored) in [
        (10, Stored::FlushTimeout),
        (11, Stored::NoReplica),
        (12, Stored::ReplicaTimeout),
        (0, Stored::Safely),
    ] {
        stage.script.acts.lock().push_back(Act::Answer(code));
        assert_eq!(producer.send(message()).await.unwrap().stored, stored);
    }
    assert_eq!(stage.seen().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_and_lost_connections_leave_time_for_another_broker() {
    for act in [Act::Silence, Act::Hangup] {
        let stage = Stage::new(&["a", "b"]);
        let producer = stage.producer(SHORT).await;
        stage.script.acts.lock().push_back(act);
        let began = Instant::now();
        producer.send(message()).await.unwrap();
        assert!(began.elapsed() < SHORT, "{act:?}");
        let seen = stage.seen();
        assert!(seen.len() == 2 && seen[0] != seen[1], "{act:?}: {seen:?}");
        // The one that failed is not asked first for a while.
        stage.script.sends.lock().clear();
        for _ in 0..6 {
            producer.send(message()).await.unwrap();
        }
        assert_eq!(stage.seen(), vec![seen[1].clone(); 6], "{act:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_end_with_their_number_and_with_the_time() {
    let stage = Stage::new(&["a"]);
    let producer = stage.producer(SHORT).await;
    stage.script.acts.lock().extend([Act::Answer(2); 9]);
    let error = producer.send(message()).await.unwrap_err();
    assert!(matches!(error, SendError::Failed { attempts: 3, .. }), "{error}");
    assert_eq!(stage.seen().len(), 3);

    stage.script.acts.lock().clear();
    stage.script.acts.lock().extend([Act::Silence; 9]);
    let began = Instant::now();
    let error = producer.send(message()).await.unwrap_err();
    let SendError::Failed { error: CallError::Timeout { .. }, .. } = &error else { panic!("{error}") };
    assert!(began.elapsed() < SHORT * 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_for_one_queue_stays_with_it() {
    let stage = Stage::new(&["a", "b"]);
    let producer = stage.producer(SHORT).await;
    let queue = client::Queue::new(TopicName::stored(TOPIC), BrokerName::stored("b"), 0);
    stage.script.acts.lock().push_back(Act::Answer(2));
    let sent = producer.send_to(message(), &queue).await.unwrap();
    assert_eq!((sent.queue.id, stage.seen()), (QueueId(0), vec!["b".to_owned(); 2]));
    stage.script.sends.lock().clear();
    for key in ["x", "y", "x", "y"] {
        producer.send_ordered(message(), key).await.unwrap();
    }
    let seen = stage.seen();
    assert_eq!((&seen[0], &seen[1]), (&seen[2], &seen[3]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_restarts_is_found_again() {
    let mut stage = Stage::new(&["a"]);
    let producer = stage.producer(SHORT).await;
    producer.send(message()).await.unwrap();
    let port = stage.stop("a").await;
    let error = producer.send(message()).await.unwrap_err();
    let SendError::Failed { error: CallError::Connect { address, .. }, .. } = &error else {
        panic!("{error}")
    };
    assert!(address.ends_with(&port.to_string()));
    let mut stage = Stage::new(&["a"]);
    let producer = stage.producer(Duration::from_secs(5)).await;
    producer.send(message()).await.unwrap();
    stage.restart("a").await;
    producer.send(message()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_that_is_down_is_passed_over() {
    let stage = Stage::new(&["a"]);
    let dead = "127.0.0.1:1";
    let config = |servers: &str| client::ProducerConfig::new(protocol::Group::stored("p"), servers);
    let producer = client::Producer::start(config(&format!("{dead};{}", stage.name_server))).await.unwrap();
    producer.send(message()).await.unwrap();
    let missing = producer.send(Message::new(TopicName::stored("absent"), "x")).await.unwrap_err();
    assert!(matches!(missing, SendError::Route(RouteError::Unknown { .. })), "{missing}");
    let none = client::Producer::start(config(dead)).await;
    assert!(matches!(none, Err(StartError::Unreachable(_))));
    assert!(matches!(client::Producer::start(config(" ; ")).await, Err(StartError::NoNameServer)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_topic_borrows_the_route_of_the_template() {
    let stage = Stage::new(&["a", "b"]);
    stage.publish("TBW102");
    let producer = stage.producer(SHORT).await;
    let sent = producer.send(Message::new(TopicName::stored("newborn"), "x")).await.unwrap();
    assert_eq!(sent.queue.topic, "newborn");
}
