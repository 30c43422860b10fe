// SPDX-License-Identifier: Apache-2.0
//! Transactions: the outcome of a local transaction decides about its message, told or asked for.

use std::sync::Arc;
use std::time::Duration;

use client::{Message, Outcome, ProducerConfig, Received, TransactionProducer};
use protocol::Group;
use tokio::sync::mpsc;

use crate::cluster::{Cluster, Heard, accept, text};

/// A producer that answers questions by what the body says, and passes them on.
async fn producer(cluster: &Cluster, group: &Group) -> (TransactionProducer, Heard) {
    let (sender, receiver) = mpsc::channel(1000);
    let sender = Arc::new(sender);
    let check = move |message: Received| {
        let sender = sender.clone();
        async move {
            let outcome = by_name(&text(&message));
            sender.send(message).await.ok();
            outcome
        }
    };
    let config = ProducerConfig::new(group.clone(), &cluster.name_servers);
    (TransactionProducer::start(config, check).await.unwrap(), Heard(receiver))
}

fn by_name(body: &str) -> Outcome {
    match body.split(' ').next() {
        Some("commit") => Outcome::Commit,
        Some("rollback") => Outcome::Rollback,
        _ => Outcome::Unknown,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outcome_of_the_local_transaction_decides() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("tx", 2).await;
    let (producer, _asked) = producer(&cluster, &cluster.group("tx-p")).await;
    let (consumer, mut heard) = accept(cluster.push(&cluster.group("tx-c")), &topic).await;
    let send = async |body: &str| {
        let message = Message::new(topic.clone(), body.to_owned()).tag("t").property("mine", "yes");
        producer.send(message, |_| std::future::ready(by_name(body))).await.unwrap()
    };
    let dropped = send("rollback").await;
    let kept = send("commit").await;
    assert_eq!((dropped.outcome, kept.outcome), (Outcome::Rollback, Outcome::Commit));
    assert!(dropped.told.is_ok() && kept.told.is_ok(), "{:?} {:?}", dropped.told, kept.told);
    let got = heard.next().await;
    assert_eq!((text(&got), got.id(), got.tag()), ("commit".into(), kept.half.id, Some("t")));
    assert_eq!((got.property("mine"), got.sys_flag & 0xC), (Some("yes"), 8));
    consumer.shutdown().await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_asked_answers_also_for_a_producer_that_died() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("tx-check", 2).await;
    let group = cluster.group("tx-check-p");
    let (consumer, mut heard) = accept(cluster.push(&cluster.group("tx-check-c")), &topic).await;
    let (dies, _asked) = producer(&cluster, &group).await;
    let unknown = |_: &client::Sent| std::future::ready(Outcome::Unknown);
    let half = dies.send(Message::new(topic.clone(), "commit of the dead"), unknown).await.unwrap().half;
    dies.send(Message::new(topic.clone(), "rollback of the dead"), unknown).await.unwrap();
    dies.shutdown().await;
    let (lives, mut asked) = producer(&cluster, &group).await;
    lives.send(Message::new(topic.clone(), "commit of the living"), unknown).await.unwrap();
    let bodies = heard.bodies(2).await;
    assert_eq!(bodies, ["commit of the dead", "commit of the living"]);
    let mut questions = Vec::new();
    while questions.len() < 3 {
        let question = asked.next().await;
        assert_eq!(question.topic, topic);
        if text(&question) == "commit of the dead" {
            assert_eq!(question.id(), half.id);
        }
        if !questions.contains(&text(&question)) {
            questions.push(text(&question));
        }
    }
    tokio::time::timeout(Duration::from_secs(2), heard.next()).await.expect_err("nothing else is delivered");
    consumer.shutdown().await;
    lives.shutdown().await;
}
