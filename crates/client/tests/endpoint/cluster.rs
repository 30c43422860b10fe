// SPDX-License-Identifier: Apache-2.0
//! The cluster under test: its address, names nobody else uses, topics that are ready, and what a listener heard.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use client::{
    Admin, ClientConfig, ConsumeFrom, Consumed, Delivery, Message, Producer, ProducerConfig, PushConfig,
    PushConsumer, Queue, Received, Subscription,
};
use protocol::body::TopicConfig;
use protocol::{Group, TopicName};
use stdx::SystemClock;
use tokio::sync::mpsc;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster, and a way to change it.
pub(crate) struct Cluster {
    pub(crate) name_servers: String,
    pub(crate) admin: Admin,
    run: String,
}

impl Cluster {
    /// Finds the cluster; `None`, said aloud, where there is none.
    pub(crate) async fn find() -> Option<Cluster> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let Ok(name_servers) = std::env::var("KIRUNA_TEST_NAMESRV") else {
            // Written past the test harness, which keeps the output of tests that pass to itself.
            let said = "SKIPPED: KIRUNA_TEST_NAMESRV names no cluster to test against\n";
            std::io::stderr().write_all(said.as_bytes()).unwrap();
            return None;
        };
        let admin = Admin::start(ClientConfig::new(&name_servers)).await.unwrap();
        let run = format!("{}-{}", SystemClock::new().now(), RUNS.fetch_add(1, Ordering::Relaxed));
        Some(Cluster { name_servers, admin, run })
    }

    /// A name that no other test and no other run uses.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.run)
    }

    pub(crate) fn group(&self, what: &str) -> Group {
        Group::parse(self.name(what)).unwrap()
    }

    /// A topic that can be used.
    pub(crate) async fn topic(&self, what: &str, queues: i32) -> TopicName {
        let topic = TopicName::parse(self.name(what)).unwrap();
        self.admin.put_topic(None, &TopicConfig::new(topic.clone(), queues, 6)).await.unwrap();
        self.routed(&topic).await;
        topic
    }

    /// Waits until name servers know a topic.
    pub(crate) async fn routed(&self, topic: &TopicName) {
        until("the topic has a route", async || self.admin.route(topic).await.is_ok()).await;
    }

    pub(crate) async fn producer(&self, what: &str) -> Producer {
        Producer::start(ProducerConfig::new(self.group(what), &self.name_servers)).await.unwrap()
    }

    /// A consumer's configuration that begins at the first message and is quick to notice things.
    pub(crate) fn push(&self, group: &Group) -> PushConfig {
        let mut config = PushConfig::new(group.clone(), &self.name_servers);
        config.from = ConsumeFrom::First;
        config.rebalance_interval = Duration::from_secs(2);
        config.lock_interval = Duration::from_secs(2);
        config.commit_interval = Duration::from_secs(1);
        config
    }
}

/// Asks again until something holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let asked = async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        while !holds().await {
            pace.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

/// Everything a consumer heard, in the order in which it did.
pub(crate) struct Heard(pub(crate) mpsc::Receiver<Received>);

impl Heard {
    /// The next message.
    pub(crate) async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(PATIENCE, self.0.recv()).await.expect("a message in time");
        next.expect("the consumer is alive")
    }

    /// The bodies of the next messages, sorted.
    pub(crate) async fn bodies(&mut self, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        for _ in 0..count {
            bodies.push(text(&self.next().await));
        }
        bodies.sort();
        bodies
    }

    /// Waits until every one of these bodies was heard; some may come again.
    pub(crate) async fn all(&mut self, mut wanted: BTreeSet<String>) {
        while !wanted.is_empty() {
            let body = text(&self.next().await);
            wanted.remove(&body);
        }
    }
}

/// Starts a consumer whose listener decides by `verdict` and passes on what it was given.
pub(crate) async fn consume<V: Future<Output = Consumed> + Send + 'static>(
    config: PushConfig,
    subscription: Subscription,
    verdict: impl Fn(&Received) -> V + Send + Sync + 'static,
) -> (PushConsumer, Heard) {
    let (sender, receiver) = mpsc::channel(100_000);
    let listener = move |delivery: Delivery| {
        let sender = sender.clone();
        let verdict = verdict(&delivery[0]);
        async move {
            let verdict = verdict.await;
            for message in delivery.iter() {
                sender.send(message.clone()).await.ok();
            }
            verdict
        }
    };
    (PushConsumer::start(config, &[subscription], listener).await.unwrap(), Heard(receiver))
}

/// As [`consume`], content with everything.
pub(crate) async fn accept(config: PushConfig, topic: &TopicName) -> (PushConsumer, Heard) {
    consume(config, Subscription::all(topic.clone()), |_| std::future::ready(Consumed::Done)).await
}

pub(crate) fn text(message: &Received) -> String {
    String::from_utf8(message.body.to_vec()).unwrap()
}

pub(crate) fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    let mut bodies: Vec<String> = range.map(|n| n.to_string()).collect();
    bodies.sort();
    bodies
}

/// Sends numbers, one message each.
pub(crate) async fn send_numbers(producer: &Producer, topic: &TopicName, range: std::ops::Range<usize>) {
    for n in range {
        producer.send(Message::new(topic.clone(), n.to_string())).await.unwrap();
    }
}

/// The queues of a topic, as a producer sees them.
pub(crate) async fn queues(producer: &Producer, topic: &TopicName) -> Vec<Queue> {
    producer.queues(topic).await.unwrap()
}
