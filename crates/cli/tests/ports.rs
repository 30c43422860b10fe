// SPDX-License-Identifier: Apache-2.0
//! The ports of a server, from outside: the broker's second port, which older clients send to.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::ids::OffsetId;
use protocol::names::{Group, QueueId, TopicName};
use protocol::properties::Properties;
use protocol::query::ViewMessageById;
use protocol::send::{SendHeader, SendMessageV2, SendReply};
use remoting::{Client, ClientConfig, Router};
use stdx::{SystemClock, Timestamp};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running server, killed when dropped.
struct Server {
    child: Child,
    ready: String,
}

fn command(data: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiruna"));
    command.args(["standalone", "--namesrv-port", "0", "--data-dir"]).arg(data).args(flags);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Server {
    fn start(data: &Path, flags: &[&str]) -> Server {
        let mut child = command(data, flags).spawn().expect("the server starts");
        let mut ready = String::new();
        let out = child.stdout.as_mut().expect("its output is piped");
        BufReader::new(out).read_line(&mut ready).expect("a line of text");
        Server { child, ready }
    }

    fn face(&self, name: &str) -> Option<SocketAddr> {
        let found = self.ready.split_whitespace().find_map(|word| word.strip_prefix(name))?;
        Some(found.parse().expect("an address"))
    }

    /// Kills it and returns what it logged.
    fn log(mut self) -> String {
        self.child.kill().expect("a child can be killed");
        let mut log = String::new();
        let errors = self.child.stderr.take().expect("its errors are piped");
        BufReader::new(errors).read_to_string(&mut log).expect("text");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free together with the one two below and the one two above.
fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let offered = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    (0..100)
        .map(|_| offered().expect("a free port").port())
        .find(|port| (3..=60_000).contains(port) && is_free(port - 2) && is_free(port + 2))
        .expect("three free ports")
}

async fn send(to: SocketAddr, body: &str) -> SendReply {
    let client = Client::new(ClientConfig::default(), SystemClock::new(), Router::<()>::new(), Arc::new(()));
    let request = SendMessageV2(SendHeader {
        group: Group::stored("producers"),
        topic: TopicName::stored("orders"),
        default_topic: Some(TopicName::stored("TBW102")),
        default_queues: 1,
        queue: Some(QueueId(0)),
        sys_flag: 0,
        born_at: Timestamp(1_700_000_000_000),
        flag: 0,
        properties: Properties::default(),
        reconsume: 0,
        unit: false,
        max_reconsume: None,
        batch: false,
    });
    let body = Bytes::from(body.to_owned());
    let answer = client.call(&to.to_string(), &request, body, PATIENCE).await.expect("an answer");
    answer.ok().expect("it is stored").0
}

async fn view(from: SocketAddr, id: &str) -> Bytes {
    let client = Client::new(ClientConfig::default(), SystemClock::new(), Router::<()>::new(), Arc::new(()));
    let offset = OffsetId::parse(id).expect("an id").offset;
    let request = ViewMessageById { offset, topic: None };
    let answer = client.call(&from.to_string(), &request, Bytes::new(), PATIENCE).await.expect("an answer");
    answer.ok().expect("it is there").1
}

#[tokio::test]
async fn a_broker_also_listens_two_ports_below() {
    let dir = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let server = Server::start(&dir.path().join("data"), &["--broker-port", &port.to_string()]);
    let (main, fast) =
        (server.face("broker=").expect("a broker"), server.face("fast=").expect("a second port"));
    assert_eq!((main.port(), fast.port()), (port, port - 2));
    let sent = send(fast, "by the second port").await;
    let id = OffsetId::parse(&sent.message_id).expect("an id");
    assert_eq!(id.host, main, "ids lead to the first port, whichever was used");
    let record = view(main, &sent.message_id).await;
    let record = protocol::record::Record::parse(&record).expect("a record");
    assert_eq!(record.body(), b"by the second port");
    assert_eq!(record.store_host(), main);

    // The second port of this one would be the first of that one: it does without, and says what that means.
    let above = (port + 2).to_string();
    let other = Server::start(&dir.path().join("other"), &["--broker-port", &above]);
    assert_eq!(other.face("broker=").map(|face| face.port()), Some(port + 2));
    assert_eq!(other.face("fast="), None);
    let log = other.log();
    assert!(log.contains(&format!("127.0.0.1:{port}")) && log.contains("fast_port"), "{log}");
}

#[test]
fn a_second_port_that_was_asked_for_is_needed_and_one_that_was_not_is_absent() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|address| (taken, address.port()));
    let (_listener, port) = taken.expect("an address");
    let flags = ["--broker-port", "0", "--fast-port", &port.to_string()];
    let Output { status, stderr, .. } = command(&dir.path().join("data"), &flags).output().expect("it ends");
    let said = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("cannot listen on 127.0.0.1:{port}")) && said.contains("--fast-port 0"),
        "{said}"
    );

    let server = Server::start(&dir.path().join("free"), &["--broker-port", "0"]);
    assert_eq!(server.face("fast="), None, "a port that was drawn has no fixed neighbour");
    let port = free_port().to_string();
    let server = Server::start(&dir.path().join("none"), &["--broker-port", &port, "--fast-port", "0"]);
    assert_eq!(server.face("fast="), None);
    assert!(server.face("broker=").is_some());
}
