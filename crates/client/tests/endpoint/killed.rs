// SPDX-License-Identifier: Apache-2.0
//! Members of a group in processes of their own, one of which is killed in the middle of a message: nothing is lost, order
//! holds, and what it held is somebody else's in time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use client::{Consumed, Delivery, Message, Mode, Producer, PushConsumer, Received, Subscription};
use protocol::{Group, TopicName};
use stdx::SystemClock;

use crate::cluster::{Cluster, text, until};

/// What a dead member held is free when its lock's lease (60 s) is over and the others have looked again.
const TAKEOVER: Duration = Duration::from_secs(90);

/// The life of a member; a test only in the process that [`Pair::start`] makes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member() {
    let Ok(wanted) = std::env::var("KIRUNA_TEST_MEMBER") else { return };
    let words: Vec<&str> = wanted.split(' ').collect();
    let cluster = Cluster::find().await.unwrap();
    let mut config = cluster.push(&Group::parse(words[0].to_owned()).unwrap());
    if words[2] == "orderly" {
        config.mode = Mode::Orderly;
    }
    let clock = SystemClock::new();
    let listener = move |delivery: Delivery| {
        let clock = clock.clone();
        async move {
            let say =
                |what: &str, message: &Received| println!("@{} {what} {}", clock.now().0, text(message));
            for message in delivery.iter() {
                say("begin", message);
                tokio::time::sleep(Duration::from_millis(20)).await;
                say("end", message);
            }
            Consumed::Done
        }
    };
    let topic = TopicName::parse(words[1].to_owned()).unwrap();
    let _consumer = PushConsumer::start(config, &[Subscription::all(topic)], listener).await.unwrap();
    std::future::pending::<()>().await;
}

/// One line of a member.
#[derive(Clone, Debug)]
struct Said {
    at: i64,
    who: usize,
    is_end: bool,
    body: String,
}

/// Two members of one group.
struct Pair {
    members: [Child; 2],
    outputs: [PathBuf; 2],
    _dir: tempfile::TempDir,
}

impl Pair {
    fn start(group: &Group, topic: &TopicName, mode: &str) -> Pair {
        let dir = tempfile::tempdir().unwrap();
        let outputs = ["first", "second"].map(|name| dir.path().join(name));
        let members = outputs.each_ref().map(|output| {
            Command::new(std::env::current_exe().unwrap())
                .args(["killed::member", "--exact", "--nocapture"])
                .env("KIRUNA_TEST_MEMBER", format!("{group} {topic} {mode}"))
                .stdout(File::create(output).unwrap())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        });
        Pair { members, outputs, _dir: dir }
    }

    /// Everything both said so far, in the order of time.
    fn story(&self) -> Vec<Said> {
        let mut story = Vec::new();
        for (who, output) in self.outputs.iter().enumerate() {
            let said = std::fs::read_to_string(output).unwrap();
            // The last line may not be whole yet.
            for line in said.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                let words: Vec<&str> = line.split_whitespace().collect();
                if let [at, what, body] = words[..]
                    && let Some(at) = at.strip_prefix('@')
                {
                    let at = at.parse().unwrap();
                    story.push(Said { at, who, is_end: what == "end", body: body.to_owned() });
                }
            }
        }
        story.sort_by_key(|said| said.at);
        story
    }

    fn ended(&self) -> BTreeSet<String> {
        self.story().into_iter().filter(|said| said.is_end).map(|said| said.body).collect()
    }

    /// What the first member has begun and not ended.
    fn open(&self) -> BTreeSet<String> {
        let mut open = BTreeSet::new();
        for said in self.story().into_iter().filter(|said| said.who == 0) {
            if said.is_end {
                open.remove(&said.body)
            } else {
                open.insert(said.body)
            };
        }
        open
    }

    /// Both are at work, the first in the middle of a message.
    fn is_busy(&self) -> bool {
        let story = self.story();
        (0..2).all(|who| story.iter().filter(|said| said.who == who).count() > 10) && !self.open().is_empty()
    }

    /// Kills the first member and returns what it had begun.
    fn kill_first(&mut self) -> BTreeSet<String> {
        self.members[0].kill().unwrap();
        self.members[0].wait().unwrap();
        self.open()
    }

    async fn await_ended(&self, total: usize) {
        let all = async {
            while self.ended().len() < total {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let in_time = tokio::time::timeout(TAKEOVER, all).await.is_ok();
        assert!(in_time, "{} of {total} messages, {TAKEOVER:?} after the death", self.ended().len());
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for member in &mut self.members {
            member.kill().ok();
            member.wait().ok();
        }
    }
}

/// Sends numbers to four keys in turn until the first member was killed, and as much again; returns what that one had begun.
async fn kill_amid(pair: &mut Pair, producer: &Producer, topic: &TopicName) -> (usize, BTreeSet<String>) {
    let (mut died, mut sent, mut left) = (BTreeSet::new(), 0, None);
    while left != Some(0) {
        for key in 0..4 {
            // A send that is repeated may be there twice, which no order minds.
            let send = async || {
                let message = Message::new(topic.clone(), format!("{key}:{sent}"));
                producer.send_ordered(message, &key.to_string()).await.is_ok()
            };
            until("a message is sent", send).await;
        }
        sent += 1;
        assert!(sent < 10_000, "never were both at work");
        match &mut left {
            Some(left) => *left -= 1,
            None if pair.is_busy() => {
                died = pair.kill_first();
                left = Some(50);
            }
            None => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (sent * 4, died)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_dies_loses_no_message() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("die", 4).await;
    let producer = cluster.producer("die-p").await;
    let mut pair = Pair::start(&cluster.group("die-c"), &topic, "concurrent");
    let (total, died) = kill_amid(&mut pair, &producer, &topic).await;
    pair.await_ended(total).await;
    assert!(died.is_subset(&pair.ended()), "{died:?} came again");
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_dies_loses_no_order() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("die-order", 4).await;
    let producer = cluster.producer("die-order-p").await;
    let mut pair = Pair::start(&cluster.group("die-order-c"), &topic, "orderly");
    let (total, died) = kill_amid(&mut pair, &producer, &topic).await;
    pair.await_ended(total).await;
    assert!(died.is_subset(&pair.ended()), "{died:?} came again");
    let mut next: BTreeMap<String, usize> = BTreeMap::new();
    let mut busy: BTreeMap<String, Said> = BTreeMap::new();
    for said in pair.story() {
        let (key, number) = said.body.split_once(':').unwrap();
        if let Some(other) = busy.get(key).filter(|other| other.who != said.who) {
            assert!(
                died.contains(&other.body) || other.at == said.at,
                "{said:?} while {other:?} is not ended"
            );
        }
        if !said.is_end {
            busy.insert(key.to_owned(), said);
            continue;
        }
        busy.remove(key);
        // Progress is saved now and then: what the dead one ended since may come again, from there on in order.
        let (number, expected) = (number.parse::<usize>().unwrap(), next.entry(key.to_owned()).or_default());
        assert!(number <= *expected, "{said:?} ended before {key}:{expected}");
        *expected = (*expected).max(number + 1);
    }
    producer.shutdown().await;
}
