// SPDX-License-Identifier: Apache-2.0
//! Two thousand clients that are slow, broken or mean, against one `kiruna standalone` from outside: its memory stays
//! below a stated number, nothing panics, a well-behaved client beside them meets no error, and when they are gone so is
//! what they held.

#[path = "server/running.rs"]
mod running;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::{Message, Producer, ProducerConfig, PullConfig, PullConsumer, Subscription};
use protocol::names::{Group, QueueOffset, TopicName};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stdx::Rng;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use running::Running;

const HOSTILE: usize = 2_000;
/// What the hostile may make a process hold: each of its two servers (broker and name server) allows 256 MiB of
/// unfinished frames and untaken answers in all, and 64 KiB more of every connection; the rest is the server itself.
const MOST_MEMORY: u64 = 768 << 20;
/// What may stay in the allocator when they are gone.
const LEFT_OVER: u64 = 128 << 20;
/// Each of those that never finish a frame sends this much of it; together far more than the server may hold.
const UNFINISHED: usize = 4 << 20;
/// Requests of each of those that take no answer.
const UNREAD: usize = 40;
/// The longest the well-behaved client waits for one answer while a debug server is flooded.
const PATIENCE: Duration = Duration::from_secs(10);
const TOPIC: &str = "Beside";

struct Server {
    running: Running,
    log: PathBuf,
    namesrv: SocketAddr,
    broker: SocketAddr,
}

impl Server {
    fn start(dir: &Path) -> Server {
        let running = Running::start(&dir.join("data"), &[&format!("stage_dir={}", dir.display())]);
        let face = |name: &str| running.face(name).parse().expect("an address");
        Server { log: dir.join("data.log"), namesrv: face("namesrv="), broker: face("broker="), running }
    }

    /// Bytes of memory that belong to the process alone.
    fn memory(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line of memory");
        let kb: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kb << 10
    }

    fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.running.child.id())).expect("the server runs")
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.running.child.id())).expect("the server runs").count()
    }

    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.running.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the server runs");
        let status = self.running.child.wait().expect("it ends");
        let log = fs::read_to_string(&self.log).expect("a log");
        assert!(status.success(), "{status}: {log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// What a hostile client does once it is connected.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Connects and says nothing.
    HalfOpen,
    /// Announces a frame and says little of it.
    Stalls,
    /// Sends most of a large frame and never its end.
    Unfinished,
    /// A byte now and then.
    Trickles,
    /// No protocol at all.
    Random,
    /// A good frame with some bytes changed.
    Mutated,
    /// Asks for much and takes none of it.
    NeverReads,
    /// Closes its half in the middle of a frame.
    HalfCloses,
}

const MANNERS: [Manner; 8] = [
    Manner::HalfOpen,
    Manner::Stalls,
    Manner::Unfinished,
    Manner::Trickles,
    Manner::Random,
    Manner::Mutated,
    Manner::NeverReads,
    Manner::HalfCloses,
];

/// A request with a JSON header.
fn frame(code: i32, opaque: u32, fields: &str, body: &[u8]) -> Vec<u8> {
    let header = format!(
        r#"{{"code":{code},"language":"JAVA","version":513,"opaque":{opaque},"flag":0,"extFields":{{{fields}}},"serializeTypeCurrentRPC":"JSON"}}"#
    );
    let mut frame = (4 + header.len() as u32 + body.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&(header.len() as u32).to_be_bytes());
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(body);
    frame
}

fn send_frame() -> Vec<u8> {
    let fields = r#""a":"g","b":"Hostile","c":"TBW102","d":"4","e":"0","f":"0","g":"1","h":"0","i":"TAGS\u0001t","j":"0","k":"false","m":"false""#;
    frame(310, 1, fields, b"hello")
}

async fn connect(address: SocketAddr, manner: Manner) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if matches!(manner, Manner::NeverReads) {
        // What does not fit here and in the server's socket stays with the server.
        socket.set_recv_buffer_size(4096)?;
    }
    socket.connect(address).await
}

/// Does its worst until it is told to go. That the server closes it is its right.
async fn misbehave(
    address: SocketAddr,
    index: usize,
    connected: Arc<AtomicUsize>,
    mut go: watch::Receiver<bool>,
) {
    let manner = MANNERS[index % MANNERS.len()];
    let Ok(mut stream) = connect(address, manner).await else { return };
    connected.fetch_add(1, Ordering::Relaxed);
    let mut rng = Rng::new(index as u64);
    let work = async {
        match manner {
            Manner::HalfOpen => {}
            Manner::Stalls => stream.write_all(&[0, 0x10, 0, 0, 0, 0, 1]).await?,
            Manner::Unfinished => {
                let mut begin = send_frame();
                begin[..4].copy_from_slice(&(15u32 << 20).to_be_bytes());
                stream.write_all(&begin).await?;
                stream.write_all(&vec![b' '; UNFINISHED]).await?;
            }
            Manner::Trickles => {
                for byte in send_frame().iter().cycle().take(200) {
                    stream.write_all(&[*byte]).await?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Manner::Random => {
                let bytes: Vec<u8> = (0..64 + rng.below(4096)).map(|_| rng.below(256) as u8).collect();
                stream.write_all(&bytes).await?;
            }
            Manner::Mutated => {
                for _ in 0..20 {
                    let mut bytes = send_frame();
                    for _ in 0..=rng.below(6) {
                        let at = 4 + rng.below(bytes.len() as u64 - 4) as usize;
                        bytes[at] = rng.below(256) as u8;
                    }
                    stream.write_all(&bytes).await?;
                }
            }
            Manner::NeverReads => {
                stream.write_all(&frame(26, 2, "", b"").repeat(UNREAD)).await?;
            }
            Manner::HalfCloses => {
                stream.write_all(&send_frame()[..40]).await?;
                stream.shutdown().await?;
            }
        }
        std::io::Result::Ok(())
    };
    let stays = async {
        let _ = work.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stays => {}
        _ = go.wait_for(|go| *go) => {}
    }
}

fn said<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

/// Sends and pulls without a pause until told to stop; returns how many round trips went well, the slowest, and
/// what went wrong.
async fn behave(
    namesrv: SocketAddr,
    stop: Arc<AtomicBool>,
    trips: Arc<AtomicU64>,
) -> Result<Duration, String> {
    let namesrv = namesrv.to_string();
    let topic = TopicName::parse(TOPIC).expect("a good name");
    let group = |name| Group::parse(name).expect("a good name");
    let producer = Producer::start(ProducerConfig::new(group("beside-producer"), &namesrv))
        .await
        .map_err(said("start"))?;
    let first =
        producer.send(Message::new(topic.clone(), &b"first"[..])).await.map_err(said("first send"))?;
    let consumer = PullConsumer::start(PullConfig::new(group("beside-consumer"), &namesrv))
        .await
        .map_err(said("start"))?;
    let queue = first.queue.clone();
    let end = Instant::now() + PATIENCE;
    // The broker tells the name server of a topic a moment after it made it.
    while consumer.queues(&topic).await.is_err() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    consumer
        .assign(&Subscription::all(topic.clone()), std::slice::from_ref(&queue))
        .await
        .map_err(said("assign"))?;
    consumer.seek(&queue, QueueOffset(first.offset.0)).map_err(said("seek"))?;
    let (mut slowest, mut sent, mut read) = (Duration::ZERO, 1u64, 0u64);
    while !stop.load(Ordering::Relaxed) || read < sent {
        let started = Instant::now();
        if !stop.load(Ordering::Relaxed) {
            let message = Message::new(topic.clone(), sent.to_string().into_bytes());
            producer.send_to(message, &queue).await.map_err(said("send"))?;
            sent += 1;
        }
        let pulled = consumer.pull(&queue, Duration::from_secs(1)).await.map_err(said("pull"))?;
        read += pulled.messages.len() as u64;
        slowest = slowest.max(started.elapsed());
        trips.fetch_add(1, Ordering::Relaxed);
    }
    consumer.shutdown().await;
    producer.shutdown().await;
    Ok(slowest)
}

/// As many descriptors as this process may have.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    assert!(now > HOSTILE as u64 + 500, "this test takes {HOSTILE} sockets, {now} descriptors are allowed");
}

async fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {} s", patience.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_hostile_clients_harm_nobody() {
    raise_descriptors();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(dir.path());
    let (stop, trips) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let good = tokio::spawn(behave(server.namesrv, stop.clone(), trips.clone()));
    until("the good client works", PATIENCE, || trips.load(Ordering::Relaxed) > 5 || good.is_finished())
        .await;
    let (memory, descriptors) = (server.memory(), server.descriptors());

    let (go, gone) = watch::channel(false);
    let connected = Arc::new(AtomicUsize::new(0));
    let hostile: Vec<_> = (0..HOSTILE)
        .map(|index| {
            // Some at the name server: it has the same walls. Every manner meets both.
            let address = if index / MANNERS.len() % 5 == 4 { server.namesrv } else { server.broker };
            tokio::spawn(misbehave(address, index, connected.clone(), gone.clone()))
        })
        .collect();
    let (mut most, mut open, mut calm) = (0, 0, None);
    let before = trips.load(Ordering::Relaxed);
    until("all connect and stay a while", Duration::from_secs(30), || {
        most = most.max(server.memory());
        open = open.max(server.descriptors());
        if connected.load(Ordering::Relaxed) == HOSTILE {
            calm.get_or_insert_with(Instant::now);
        }
        calm.is_some_and(|since: Instant| since.elapsed() > Duration::from_secs(4))
    })
    .await;
    let during = trips.load(Ordering::Relaxed) - before;
    assert!(open > HOSTILE / 3, "only {open} descriptors: the hostile were not there at the same time");
    assert!(most < MOST_MEMORY, "{} MiB of memory", most >> 20);

    go.send(true).expect("they listen");
    for one in hostile {
        one.await.expect("a hostile client ends");
    }
    until("connections are cleaned up", PATIENCE, || server.descriptors() <= descriptors + 8).await;
    until("memory is given back", PATIENCE, || server.memory() < memory + LEFT_OVER).await;
    stop.store(true, Ordering::Relaxed);
    let slowest = good.await.expect("no panic").expect("the good client meets no error");
    println!(
        "memory {} MiB, at most {} MiB, {} MiB afterwards; {open} descriptors; {during} round trips beside them, slowest {slowest:?}",
        memory >> 20,
        most >> 20,
        server.memory() >> 20
    );
    assert!(during > 20, "{during} round trips beside the hostile");
    assert!(slowest < PATIENCE, "{slowest:?} for one round trip");
    server.stop();
}
