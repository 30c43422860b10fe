// SPDX-License-Identifier: Apache-2.0
//! A `kiruna standalone` that meets a limit of its machine, from outside: connections leave the log the descriptors that it
//! needs, and what can no longer be made is refused with the reason before anybody's message depends on it.

#[path = "server/running.rs"]
mod running;

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use client::{Admin, ClientConfig, Message, Producer, ProducerConfig};
use protocol::body::TopicConfig;
use protocol::names::{Group, TopicName};

use running::Running;

/// More than connections get of 256 descriptors.
const CROWD: usize = 300;

fn face(running: &Running, name: &str) -> SocketAddr {
    running.face(name).parse().expect("an address")
}

async fn producer(namesrv: SocketAddr) -> Producer {
    let config = ProducerConfig::new(Group::stored("limits"), &namesrv.to_string());
    Producer::start(config).await.expect("a producer")
}

/// Ticks of processor time that the process took so far.
fn ticks(running: &Running) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", running.child.id())).expect("the server runs");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].iter().map(|&at| fields[at].parse::<u64>().expect("a number")).sum()
}

fn is_closed(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn log_of(dir: &Path) -> String {
    fs::read_to_string(dir.join("data.log")).expect("a log")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_leave_the_log_its_descriptors() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let stages = format!("stage_dir={}", dir.path().display());
    let data = dir.path().join("data");
    let running = Running::start_below("ulimit -n 256", &data, &[&stages, "segment_size=8388608"]);
    let (namesrv, broker) = (face(&running, "namesrv="), face(&running, "broker="));
    let producer = producer(namesrv).await;
    let topic = TopicName::stored("Crowded");
    producer.send(Message::new(topic.clone(), &b"first"[..])).await.expect("the first is stored");

    let crowd: Vec<TcpStream> = (0..CROWD)
        .map(|_| {
            let stream = TcpStream::connect(broker).expect("the listener takes it");
            stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a time");
            stream
        })
        .collect();
    let end = Instant::now() + Duration::from_secs(10);
    while crowd.iter().filter(|stream| is_closed(stream)).count() < CROWD - 128 {
        assert!(Instant::now() < end, "connections beyond the limit hang");
    }
    let served = crowd.iter().filter(|stream| !is_closed(stream)).count();
    assert!(served > 64, "only {served} connections are left open");
    let before = ticks(&running);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let busy = ticks(&running) - before;
    assert!(busy < 30, "{busy} hundredths of a second of processor time in one second: it spins");

    // Several files of the log, and checkpoints of the views, while all places are taken.
    let body = vec![7; 1 << 20];
    for _ in 0..30 {
        producer.send(Message::new(topic.clone(), body.clone())).await.expect("the log rolls on");
    }
    let log = log_of(dir.path());
    assert!(log.contains("connection refused, as many are open as allowed"), "{log}");
    assert!(!log.contains("poisoned") && !log.contains("Too many open files"), "{log}");
    drop(crowd);
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let stream = TcpStream::connect(broker).expect("the listener takes it");
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a time");
        if !is_closed(&stream) {
            break;
        }
        assert!(Instant::now() < end, "no connection is taken though there is room again");
    }
    producer.shutdown().await;
}

async fn make(admin: &Admin, broker: SocketAddr, name: &str, queues: i32) -> Result<(), String> {
    let config = TopicConfig::new(TopicName::stored(name), queues, 6);
    admin.put_topic_on(&broker.to_string(), &config).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_is_not_made() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let stages = format!("stage_dir={}", dir.path().display());
    // The topics that every broker has are counted too.
    let running = Running::start(&dir.path().join("data"), &[&stages, "queues_max=20000", "topics_max=100"]);
    let (namesrv, broker) = (face(&running, "namesrv="), face(&running, "broker="));
    let admin = Admin::start(ClientConfig::new(&namesrv.to_string())).await.expect("an admin");
    let mut queues = 0;
    let refused = loop {
        match make(&admin, broker, &format!("Wide-{queues}"), 1000).await {
            Ok(()) => queues += 1000,
            Err(refused) => break refused,
        }
        assert!(queues <= 20_000, "no limit is met");
    };
    assert!(refused.contains("queues_max") && refused.contains("20000"), "{refused}");
    let wider = make(&admin, broker, "Wide-0", 2000).await.expect_err("a topic does not grow either");
    assert!(wider.contains("queues_max"), "{wider}");
    make(&admin, broker, "Wide-0", 1000).await.expect("what is there can be set again");

    let producer = producer(namesrv).await;
    let last = TopicName::stored(format!("Wide-{}", queues - 1000));
    for queue in producer.queues(&last).await.expect("its route").iter().take(1000) {
        producer
            .send_to(Message::new(last.clone(), &b"x"[..]), queue)
            .await
            .expect("what was made can be used");
    }
    make(&admin, broker, "Wide-0", 1).await.expect("it shrinks");
    let mut topics = 0;
    let refused = loop {
        match make(&admin, broker, &format!("Narrow-{topics}"), 1).await {
            Ok(()) => topics += 1,
            Err(refused) => break refused,
        }
        assert!(topics <= 100, "no limit is met");
    };
    assert!(refused.contains("topics_max"), "{refused}");
    let sent = producer.send(Message::new(TopicName::stored("Another"), &b"x"[..])).await;
    let refused = sent.expect_err("a send does not make it either").to_string();
    assert!(refused.contains("topics_max"), "{refused}");
    producer.send(Message::new(last, &b"y"[..])).await.expect("the others go on");
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_memory_is_short_nothing_new_is_made() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let stages = format!("stage_dir={}", dir.path().display());
    let data = dir.path().join("data");
    let topic = TopicName::stored("Made-before");
    {
        let running = Running::start(&data, &[&stages]);
        let producer = producer(face(&running, "namesrv=")).await;
        producer.send(Message::new(topic.clone(), &b"x"[..])).await.expect("made by its first message");
        producer.shutdown().await;
    }
    let running = Running::start(&data, &[&stages, "memory_reserve=1000000GiB"]);
    let (namesrv, broker) = (face(&running, "namesrv="), face(&running, "broker="));
    let end = Instant::now() + Duration::from_secs(10);
    while !log_of(dir.path()).contains("no topic and no group is made for now") {
        assert!(Instant::now() < end, "nobody looks at the memory");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let admin = Admin::start(ClientConfig::new(&namesrv.to_string())).await.expect("an admin");
    let refused = make(&admin, broker, "New", 1).await.expect_err("there is no memory for it");
    assert!(refused.contains("memory_reserve"), "{refused}");
    let producer = producer(namesrv).await;
    let refused = producer.send(Message::new(TopicName::stored("Newer"), &b"x"[..])).await;
    assert!(refused.is_err_and(|refused| refused.to_string().contains("memory_reserve")));
    producer.send(Message::new(topic, &b"x"[..])).await.expect("what is there goes on");
    producer.shutdown().await;
}
