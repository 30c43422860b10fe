// SPDX-License-Identifier: Apache-2.0
//! Dead letters from outside: a group gives messages up, and `kiruna dlq` lists, shows and replays them.

#[path = "server/running.rs"]
mod running;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use client::{
    ClientConfig, ConsumeFrom, Consumed, Delivery, Message, Mode, Producer, ProducerConfig, PushConfig,
    PushConsumer, Received, Subscription,
};
use protocol::names::{Group, TopicName};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

use running::Running;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running server and its directory.
struct Server {
    namesrv: String,
    _running: Running,
    _dir: TempDir,
}

impl Server {
    fn start() -> Server {
        let dir = TempDir::new().expect("a temporary directory");
        let running = Running::start(&dir.path().join("data"), &[]);
        Server { namesrv: running.face("namesrv=").to_owned(), _running: running, _dir: dir }
    }

    /// Runs a command; its exit code and the rows it printed.
    fn kiruna(&self, arguments: &[&str]) -> (i32, Vec<Value>) {
        let output = Command::new(env!("CARGO_BIN_EXE_kiruna"))
            .args(arguments)
            .args(["-o", "json", "-n", &self.namesrv])
            .output()
            .expect("it runs");
        let rows = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().expect("it ends"), rows)
    }

    /// The counts of a replay's report: looked at, matched, replayed, skipped, failed.
    fn replay(&self, arguments: &[&str]) -> [u64; 5] {
        let (code, rows) = self.kiruna(&[&["dlq", "replay", "g"], arguments].concat());
        assert_eq!((code, rows.len()), (0, 1), "{arguments:?}: {rows:?}");
        ["looked_at", "matched", "replayed", "skipped", "failed"]
            .map(|name| rows[0][name].as_u64().expect("a number"))
    }

    async fn send(&self, topic: &TopicName, count: usize) {
        let config = ProducerConfig::new(Group::stored("p"), &self.namesrv);
        let producer = Producer::start(config).await.expect("it starts");
        for n in 0..count {
            let message = Message::new(topic.clone(), format!("m{n}"))
                .tag(if n % 2 == 0 { "even" } else { "odd" })
                .keys([format!("k{n}").as_str()])
                .property("n", &n.to_string());
            producer.send(message).await.expect("it is stored");
        }
        producer.shutdown().await;
    }

    /// A member of a group that says `verdict` to everything.
    async fn consume(
        &self,
        group: &str,
        mode: Mode,
        verdict: Consumed,
    ) -> (PushConsumer, mpsc::Receiver<Received>) {
        let mut config = PushConfig::new(Group::stored(group.to_owned()), &self.namesrv);
        config.client = ClientConfig::new(&self.namesrv);
        (config.from, config.mode) = (ConsumeFrom::First, mode);
        config.rebalance_interval = Duration::from_secs(1);
        config.lock_interval = Duration::from_secs(1);
        let (sender, receiver) = mpsc::channel(1000);
        let listener = move |delivery: Delivery| {
            delivery.iter().for_each(|message| drop(sender.try_send(message.clone())));
            std::future::ready(verdict)
        };
        let subscription = Subscription::all(TopicName::stored("orders"));
        (PushConsumer::start(config, &[subscription], listener).await.expect("it starts"), receiver)
    }
}

async fn hear(heard: &mut mpsc::Receiver<Received>, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    while all.len() < count {
        let next = tokio::time::timeout(PATIENCE, heard.recv()).await;
        all.push(next.unwrap_or_else(|_| panic!("only {} of {count}", all.len())).expect("it is alive"));
    }
    all
}

fn bodies(messages: &[Received]) -> BTreeSet<String> {
    messages.iter().map(|m| String::from_utf8_lossy(&m.body).into_owned()).collect()
}

/// Waits until the group has so many dead letters.
async fn until_dead(server: &Server, count: usize) -> Vec<Value> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let (_, rows) = server.kiruna(&["dlq", "ls", "g"]);
        if rows.len() >= count {
            return rows;
        }
        assert!(tokio::time::Instant::now() < end, "{} dead letters", rows.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_shown_and_replayed_once() {
    let server = Server::start();
    let topic = TopicName::stored("orders");
    server.send(&topic, 10).await;
    let (content, mut other) = server.consume("other", Mode::Concurrent, Consumed::Done).await;
    let (failing, mut heard) = server.consume("g", Mode::Concurrent, Consumed::LaterAt(-1)).await;
    let first = hear(&mut heard, 10).await;
    hear(&mut other, 10).await;
    let letters = until_dead(&server, 10).await;
    failing.shutdown().await;

    let (_, groups) = server.kiruna(&["dlq", "ls"]);
    assert_eq!((groups.len(), &groups[0]["group"], &groups[0]["dead_letters"]), (1, &"g".into(), &10.into()));
    let letter = letters.iter().find(|letter| letter["keys"] == "k3").expect("a letter");
    let original = first.iter().find(|m| m.keys().any(|key| key == "k3")).expect("its original");
    assert_eq!((&letter["origin_topic"], &letter["tag"]), (&"orders".into(), &"odd".into()));
    assert_eq!(letter["unique_id"], original.id());
    assert_eq!(letter["origin_id"], original.offset_id());
    assert_eq!(letter["born_at"], original.born_at.0);
    let listed = |arguments: &[&str]| server.kiruna(&[&["dlq", "ls", "g"], arguments].concat()).1.len();
    assert_eq!(listed(&["--tag", "odd"]), 5);
    assert_eq!(listed(&["--sql", "n BETWEEN 3 AND 5 AND TAGS = 'odd'"]), 2);
    assert_eq!(listed(&["--key", "k7"]), 1);
    assert_eq!(listed(&["--origin", "elsewhere"]), 0);
    assert_eq!((listed(&["--since", "1h"]), listed(&["--until", "1h"]), listed(&["--max", "4"])), (10, 0, 4));
    let show = |id: &Value| {
        let (code, rows) = server.kiruna(&["dlq", "show", "g", id.as_str().expect("an id")]);
        assert_eq!(code, 0);
        let value = move |field: &str| {
            rows.iter().find(|row| row["field"] == field).map(|row| row["value"].clone()).unwrap_or_default()
        };
        (value("body"), value("property n"), value("replays"))
    };
    for id in ["id", "unique_id"] {
        assert_eq!(show(&letter[id]), ("m3".into(), "3".into(), Value::Array(vec![])), "{id}");
    }

    // Looked at, matched, replayed, skipped, failed.
    assert_eq!(server.replay(&["--dry-run", "--tag", "odd"]), [10, 5, 5, 0, 0]);
    assert_eq!(server.replay(&["--dry-run", "--tag", "odd"]), [10, 5, 5, 0, 0], "nothing was sent");
    assert_eq!(server.replay(&["--key", "k3"]), [10, 1, 1, 0, 0]);
    let [_, matched, replayed, skipped, failed] = server.replay(&["--tag", "odd", "--max", "2"]);
    assert_eq!((matched - skipped, replayed, failed), (2, 2, 0), "that one may stand behind them");
    assert_eq!(server.replay(&["--rate", "20"]), [10, 10, 7, 3, 0]);
    assert_eq!(server.replay(&[]), [10, 10, 0, 10, 0], "once is enough");
    assert_ne!(show(&letter["id"]).2, Value::Array(vec![]));
    let (mended, mut heard) = server.consume("g", Mode::Concurrent, Consumed::Done).await;
    let replays = hear(&mut heard, 10).await;
    assert_eq!(bodies(&replays), bodies(&first));
    let replay = replays.iter().find(|m| m.keys().any(|key| key == "k3")).expect("a replay");
    assert_eq!((replay.topic.as_str(), replay.reconsume_times), ("orders", 0));
    assert_eq!((replay.id(), replay.tag(), replay.born_at), (original.id(), Some("odd"), original.born_at));
    assert_eq!((replay.property("n"), replay.flag), (Some("3"), original.flag));

    // To the topic everybody has it; again because it is asked for.
    let id = letter["id"].as_str().expect("an id");
    assert_eq!(server.replay(&[id, "--to-topic"]), [1, 1, 0, 1, 0]);
    assert_eq!(server.replay(&[id, "--to-topic", "--again"]), [1, 1, 1, 0, 0]);
    assert_eq!(bodies(&hear(&mut other, 1).await), bodies(&hear(&mut heard, 1).await));
    assert!(other.try_recv().is_err(), "what was replayed to its group came to no other");
    let (code, rows) =
        server.kiruna(&["dlq", "replay", "g", id, "--to-topic", "no-such", "--again", "--each"]);
    assert_eq!((code, &rows[0]["outcome"]), (1, &"failed".into()), "{rows:?}");
    assert_eq!(server.kiruna(&["dlq", "ls", "nobody"]).0, 1);
    mended.shutdown().await;
    content.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_comes_to_a_group_that_keeps_the_order_and_may_die_again() {
    let server = Server::start();
    let topic = TopicName::stored("orders");
    server.send(&topic, 2).await;
    let (failing, mut heard) = server.consume("g", Mode::Orderly, Consumed::LaterAt(-1)).await;
    hear(&mut heard, 2).await;
    until_dead(&server, 2).await;
    // Its locks are held: what a consumer sends to the retry topic now counts as given up, but not what an operator does.
    assert_eq!(server.replay(&[]), [2, 2, 2, 0, 0]);
    let again = hear(&mut heard, 2).await;
    assert_eq!((again[0].topic.as_str(), bodies(&again).len()), ("orders", 2));
    let letters = until_dead(&server, 4).await;
    assert_eq!(server.replay(&["--dry-run"]), [4, 4, 2, 2, 0], "the new dead letters are not replayed yet");
    assert_eq!(letters.iter().filter(|letter| letter["origin_topic"] == "orders").count(), 4);
    failing.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_of_a_batch_is_tried_again_as_its_group_says() {
    let server = Server::start();
    let (_, rows) = server.kiruna(&["group", "set", "g", "--retry-max", "2", "--retry-after", "300ms,600ms"]);
    assert_eq!((&rows[0]["retry_max"], &rows[0]["retry_waits"]), (&2.into(), &"300ms 600ms".into()));
    server.send(&TopicName::stored("orders"), 20).await;
    let mut config = PushConfig::new(Group::stored("g"), &server.namesrv);
    (config.from, config.batch, config.max_reconsume) = (ConsumeFrom::First, 8, Some(2));
    let (sender, mut heard) = mpsc::channel(1000);
    let listener = move |delivery: Delivery| {
        for (index, message) in delivery.iter().enumerate() {
            drop(sender.try_send(message.clone()));
            if message.keys().any(|key| key == "k5") {
                delivery.later(index, 0);
            }
        }
        std::future::ready(Consumed::Done)
    };
    let subscription = Subscription::all(TopicName::stored("orders"));
    let consumer = PushConsumer::start(config, &[subscription], listener).await.expect("it starts");
    let all = hear(&mut heard, 22).await;
    let tries: Vec<&Received> = all.iter().filter(|m| m.keys().any(|key| key == "k5")).collect();
    assert_eq!(tries.iter().map(|m| m.reconsume_times).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(bodies(&all).len(), 20, "its neighbours came once");
    let waits: Vec<i64> = tries.windows(2).map(|pair| pair[1].stored_at.0 - pair[0].stored_at.0).collect();
    assert!(waits[0] >= 300 && waits[1] >= 600 && waits.iter().sum::<i64>() < 30_000, "{waits:?}");
    let letters = until_dead(&server, 1).await;
    assert_eq!((&letters[0]["keys"], &letters[0]["failures"]), (&"k5".into(), &3.into()));
    consumer.shutdown().await;
    assert!(heard.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_message_is_tried_as_often_as_allowed_and_lets_the_next_pass() {
    let server = Server::start();
    let config = ProducerConfig::new(Group::stored("p"), &server.namesrv);
    let producer = Producer::start(config).await.expect("it starts");
    for n in 0..3 {
        let message = Message::new(TopicName::stored("orders"), format!("m{n}"));
        producer.send_ordered(message, "one queue").await.expect("it is stored");
    }
    producer.shutdown().await;
    let mut config = PushConfig::new(Group::stored("g"), &server.namesrv);
    (config.from, config.mode, config.max_reconsume) = (ConsumeFrom::First, Mode::Orderly, Some(2));
    config.suspend = Duration::from_millis(100);
    let (sender, mut heard) = mpsc::channel(1000);
    let listener = move |delivery: Delivery| {
        drop(sender.try_send(delivery[0].clone()));
        std::future::ready(if &delivery[0].body[..] == b"m1" { Consumed::Later } else { Consumed::Done })
    };
    let subscription = Subscription::all(TopicName::stored("orders"));
    let consumer = PushConsumer::start(config, &[subscription], listener).await.expect("it starts");
    let all = hear(&mut heard, 5).await;
    let said: Vec<(String, u32)> =
        all.iter().map(|m| (String::from_utf8_lossy(&m.body).into_owned(), m.reconsume_times)).collect();
    let wanted = [("m0", 0), ("m1", 0), ("m1", 1), ("m1", 2), ("m2", 0)];
    assert_eq!(said, wanted.map(|(body, times)| (body.to_owned(), times)));
    let letters = until_dead(&server, 1).await;
    assert_eq!((&letters[0]["failures"], &letters[0]["origin_topic"]), (&3.into(), &"orders".into()));
    assert_eq!(letters[0]["born_at"], all[1].born_at.0);
    consumer.shutdown().await;
    assert!(heard.try_recv().is_err(), "it came no more");
}
