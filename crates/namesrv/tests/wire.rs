// SPDX-License-Identifier: Apache-2.0
//! The name server over a real socket, with frames as clients and brokers of Apache write them.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use expect_test::expect;
use namesrv::{NameServer, NameServerConfig};
use parking_lot::Mutex;
use protocol::body::RegisterBrokerBody;
use remoting::{Server, ServerConfig};
use serde_json::{Value, json};
use stdx::{Clock, SystemClock, Timestamp};

/// The version of a 5.5.0 client, and of the Go client.
const JAVA: i32 = 513;
const GO: i32 = 317;

/// A clock whose `now` the test moves; its timers are the machine's.
struct Dial {
    shift: Mutex<Duration>,
    machine: Arc<dyn Clock>,
}

impl Clock for Dial {
    fn now(&self) -> Timestamp {
        self.machine.now() + *self.shift.lock()
    }
    fn wake_at(&self, at: Timestamp, waker: Waker) -> u64 {
        self.machine.wake_at(at, waker)
    }
    fn cancel(&self, at: Timestamp, ticket: u64) {
        self.machine.cancel(at, ticket);
    }
}

struct House {
    server: Server,
    dial: Arc<Dial>,
    closed: Arc<(Mutex<u32>, parking_lot::Condvar)>,
}

impl House {
    fn open(dir: &Path, bind: &str) -> House {
        let config = NameServerConfig { dir: dir.to_owned(), ..NameServerConfig::default() };
        let dial = Arc::new(Dial { shift: Mutex::default(), machine: SystemClock::new() });
        let name_server = Arc::new(NameServer::open(config, &*dial).unwrap());
        let closed = Arc::new((Mutex::new(0), parking_lot::Condvar::new()));
        let (told, counted) = (name_server.clone(), closed.clone());
        let on_close = Arc::new(move |id| {
            told.closed(id);
            *counted.0.lock() += 1;
            counted.1.notify_all();
        });
        let sockets = ServerConfig { workers: 1, ..ServerConfig::default() };
        let address = bind.parse().unwrap();
        let server =
            Server::bind(address, sockets, namesrv::routes(), name_server, dial.clone(), on_close).unwrap();
        House { server, dial, closed }
    }

    fn connect(&self) -> Peer {
        self.connect_to(self.server.local_addr())
    }

    fn connect_to(&self, address: SocketAddr) -> Peer {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Peer { stream, version: JAVA }
    }

    fn wait_for_closed(&self, count: u32) {
        let mut closed = self.closed.0.lock();
        while *closed < count {
            assert!(
                !self.closed.1.wait_for(&mut closed, Duration::from_secs(10)).timed_out(),
                "nobody closed"
            );
        }
    }
}

struct Peer {
    stream: TcpStream,
    version: i32,
}

struct Answer {
    code: i64,
    remark: String,
    fields: Value,
    body: String,
}

impl Peer {
    fn call(&mut self, code: i32, fields: Value, body: &[u8]) -> Answer {
        let head = json!({
            "code": code, "language": "JAVA", "version": self.version, "opaque": 7, "flag": 0, "extFields": fields,
            "serializeTypeCurrentRPC": "JSON",
        });
        let head = head.to_string();
        let total = 4 + head.len() + body.len();
        let mut frame = (total as u32).to_be_bytes().to_vec();
        frame.extend((head.len() as u32).to_be_bytes());
        frame.extend(head.as_bytes());
        frame.extend(body);
        self.stream.write_all(&frame).unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Answer {
        let mut lengths = [0; 8];
        self.stream.read_exact(&mut lengths).unwrap();
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap()) as usize;
        let (total, head) = (number(&lengths[..4]), number(&lengths[4..]) & 0xff_ffff);
        let mut rest = vec![0; total - 4];
        self.stream.read_exact(&mut rest).unwrap();
        let body = String::from_utf8(rest.split_off(head)).unwrap();
        let head: Value = serde_json::from_slice(&rest).unwrap();
        assert_eq!(head["opaque"], 7);
        Answer {
            code: head["code"].as_i64().unwrap(),
            remark: head["remark"].as_str().unwrap_or_default().to_owned(),
            fields: head["extFields"].clone(),
            body,
        }
    }

    fn register(&mut self, broker: &str, address: &str, topics: &[&str]) -> Answer {
        let (fields, body) = registration(broker, address, topics);
        self.call(103, fields, &body)
    }

    fn route(&mut self, topic: &str) -> Answer {
        self.call(105, json!({ "topic": topic }), b"")
    }
}

fn registration(broker: &str, address: &str, topics: &[&str]) -> (Value, Vec<u8>) {
    let table: serde_json::Map<String, Value> = topics
        .iter()
        .map(|topic| {
            let config = json!({ "topicName": topic, "readQueueNums": 4, "writeQueueNums": 4, "perm": 6 });
            ((*topic).to_owned(), config)
        })
        .collect();
    let version = json!({ "counter": 1, "stateVersion": 0, "timestamp": 5 });
    let body =
        json!({ "topicConfigSerializeWrapper": { "dataVersion": version, "topicConfigTable": table } });
    let body = body.to_string().into_bytes();
    let fields = json!({
        "brokerName": broker, "brokerAddr": address, "clusterName": "c", "haServerAddr": "h:1", "brokerId": "0",
        "enableActingMaster": "false", "bodyCrc32": ((crc32fast::hash(&body) & 0x7fff_ffff) as i32).to_string(),
    });
    (fields, body)
}

#[test]
fn routes_come_in_the_dialect_of_the_asker() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), "127.0.0.1:0");
    let (mut broker, mut client) = (house.connect(), house.connect());
    let welcome = broker.register("a", "10.1.1.1:10911", &["t", "u"]);
    assert_eq!((welcome.code, welcome.body.as_str()), (0, r#"{"table":{}}"#));
    expect![[r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.1.1.1:10911"},"brokerName":"a","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]
        .assert_eq(&client.route("t").body);
    client.version = GO;
    expect![[r#"{"brokerDatas":[{"brokerAddrs":{0:"10.1.1.1:10911"},"brokerName":"a","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#]]
        .assert_eq(&client.route("t").body);
    let standard = client.call(105, json!({ "topic": "t", "acceptStandardJsonOnly": "true" }), b"");
    assert!(standard.body.contains(r#"{"0":"10.1.1.1:10911"}"#));
    let missing = client.route("x");
    assert_eq!(missing.code, 17);
    expect!["No topic route info in name server for the topic: x"].assert_eq(&missing.remark);
    let unnamed = client.call(105, json!({}), b"");
    assert!(unnamed.code == 1 && unnamed.remark.contains("topic"), "{}", unnamed.remark);
    assert_eq!(client.call(4711, json!({}), b"").code, 3);
}

#[test]
fn lists_show_brokers_clusters_and_topics() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), "127.0.0.1:0");
    let mut peer = house.connect();
    peer.register("a", "10.1.1.1:10911", &["t", "u"]);
    let mut body = |code, fields| peer.call(code, fields, b"").body;
    expect![[r#"{"brokerAddrTable":{"a":{"brokerAddrs":{0:"10.1.1.1:10911"},"brokerName":"a","cluster":"c","enableActingMaster":false}},"clusterAddrTable":{"c":["a"]}}"#]]
        .assert_eq(&body(106, json!({})));
    expect![[r#"{"topicList":["t","u"]}"#]].assert_eq(&body(206, json!({})));
    expect![[r#"{"topicList":["t","u"]}"#]].assert_eq(&body(224, json!({ "cluster": "c" })));
    expect![[r#"{"topicList":[]}"#]].assert_eq(&body(224, json!({ "cluster": "x" })));
    expect![[r#"{"brokerAddr":"10.1.1.1:10911","topicList":["a","c"]}"#]].assert_eq(&body(304, json!({})));
    expect![[r#"{"topicList":[]}"#]].assert_eq(&body(311, json!({})));
    expect![[r#"{"brokerMemberGroup":{"brokerAddrs":{0:"10.1.1.1:10911"},"brokerName":"a","cluster":"c"}}"#]]
        .assert_eq(&body(901, json!({ "clusterName": "c", "brokerName": "a" })));
    let wiped = peer.call(205, json!({ "brokerName": "a" }), b"");
    assert_eq!(wiped.fields, json!({ "wipeTopicCount": "2" }));
    assert!(peer.route("t").body.contains(r#""perm":4"#));
    let added = peer.call(327, json!({ "brokerName": "a" }), b"");
    assert_eq!(added.fields, json!({ "addTopicCount": "2" }));
    assert!(peer.route("t").body.contains(r#""perm":6"#));
    assert_eq!(peer.call(216, json!({ "topic": "t" }), b"").code, 0);
    assert_eq!(peer.route("t").code, 17);
    let route = br#"{"queueDatas":[{"brokerName":"a","perm":4,"readQueueNums":1,"writeQueueNums":1}]}"#;
    assert_eq!(peer.call(217, json!({ "topic": "t" }), route).code, 0);
    assert!(peer.route("t").body.contains(r#""perm":4"#));
}

#[test]
fn registrations_are_checked_and_forgotten_with_their_connection() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), "127.0.0.1:0");
    let (mut broker, mut client) = (house.connect(), house.connect());
    let partial = broker.register("a", "10.1.1.1:1", &["t"]);
    assert!(partial.code == 1 && partial.remark.starts_with("register broker failed"), "{}", partial.remark);
    let (fields, mut body) = registration("a", "10.1.1.1:1", &["t", "u"]);
    body.push(b' ');
    assert!(broker.call(103, fields, &body).remark.starts_with("crc32 not match"));
    assert_eq!(broker.register("a", "10.1.1.1:1", &["t", "u"]).code, 0);
    assert_eq!(client.route("t").code, 0);
    drop(broker);
    house.wait_for_closed(1);
    assert_eq!(client.route("t").code, 17);

    let mut broker = house.connect();
    let (mut fields, body) = registration("a", "10.1.1.1:1", &["t", "u"]);
    fields["compressed"] = "true".into();
    fields["bodyCrc32"] = "0".into();
    let packed = RegisterBrokerBody::decode(&body, false).unwrap().encode(true);
    assert_eq!(broker.call(103, fields, &packed).code, 0);
    assert_eq!(client.route("t").code, 0);
    let seat = json!({ "brokerName": "a", "brokerAddr": "10.1.1.1:1", "clusterName": "c", "brokerId": "0" });
    assert_eq!(broker.call(104, seat, b"").code, 0);
    assert_eq!(client.route("t").code, 17);
}

#[test]
fn a_lease_is_kept_by_heartbeats_and_by_questions() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), "127.0.0.1:0");
    let mut peer = house.connect();
    peer.register("a", "10.1.1.1:1", &["t", "u"]);
    let pass = |seconds| *house.dial.shift.lock() += Duration::from_secs(seconds);
    let seat = json!({ "brokerName": "a", "brokerAddr": "10.1.1.1:1", "clusterName": "c", "brokerId": "0" });
    pass(110);
    assert_eq!(peer.call(904, seat.clone(), b"").code, 0);
    pass(110);
    let same = peer.call(322, seat.clone(), br#"{"counter":1,"stateVersion":0,"timestamp":5}"#);
    assert_eq!(same.fields, json!({ "changed": "false" }));
    expect![[r#"{"counter":1,"stateVersion":0,"timestamp":5}"#]].assert_eq(&same.body);
    let other = peer.call(322, seat.clone(), br#"{"counter":2,"stateVersion":0,"timestamp":5}"#);
    assert_eq!(other.fields, json!({ "changed": "true" }));
    pass(110);
    assert_eq!(peer.route("t").code, 0);
    pass(20);
    assert_eq!(peer.route("t").code, 17);
    let gone = peer.call(322, seat, br#"{"counter":1,"stateVersion":0,"timestamp":5}"#);
    assert_eq!((gone.fields, gone.body.as_str()), (json!({ "changed": "true" }), ""));
}

#[test]
fn after_a_restart_a_topic_is_not_gone_before_its_broker_could_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), "127.0.0.1:0");
    let mut peer = house.connect();
    assert_eq!(peer.route("t").code, 1, "nobody has been heard yet");
    peer.register("a", "10.1.1.1:1", &["t", "u"]);
    peer.register("b", "10.1.1.2:1", &["v", "w"]);
    assert_eq!(peer.route("x").code, 17);
    house.server.shutdown(Duration::from_secs(5));
    drop(house.dial);

    let house = House::open(dir.path(), "127.0.0.1:0");
    let mut peer = house.connect();
    peer.register("a", "10.1.1.1:1", &["t", "u"]);
    assert_eq!(peer.route("t").code, 0);
    let early = peer.route("v");
    assert!(early.code == 1 && early.remark.starts_with("name server not ready"), "{}", early.remark);
    peer.register("b", "10.1.1.2:1", &["w", "y"]);
    assert_eq!(peer.route("v").code, 17);
}

#[test]
fn settings_are_kept_and_reach_brokers_and_routes() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), "127.0.0.1:0");
    let mut peer = house.connect();
    let key = json!({ "namespace": "ORDER_TOPIC_CONFIG", "key": "t", "value": "a:4" });
    assert_eq!(peer.call(101, key.clone(), b"").code, 22);
    assert_eq!(peer.call(219, key.clone(), b"").code, 22);
    assert_eq!(peer.call(100, key.clone(), b"").code, 0);
    assert_eq!(peer.call(101, key.clone(), b"").fields, json!({ "value": "a:4" }));
    expect![[r#"{"table":{"t":"a:4"}}"#]].assert_eq(&peer.call(219, key.clone(), b"").body);
    expect![[r#"{"table":{"t":"a:4"}}"#]].assert_eq(&peer.register("a", "10.1.1.1:1", &["t", "u"]).body);
    assert!(!peer.route("t").body.contains("orderTopicConf"));
    assert_eq!(peer.call(318, json!({}), b"orderMessageEnable=true\n").code, 0);
    assert!(peer.route("t").body.contains(r#""orderTopicConf":"a:4""#));
    assert!(peer.call(319, json!({}), b"").body.contains("orderMessageEnable=true\n"));
    assert_eq!(peer.call(318, json!({}), b"kvConfigPath=/tmp/x\n").code, 16);
    assert_eq!(peer.call(318, json!({}), b"nonesuch=1\n").code, 29);
    assert_eq!(peer.call(318, json!({}), b"enableAllTopicList=false\n").code, 0);
    assert_eq!(
        (peer.call(206, json!({}), b"").code, peer.call(224, json!({ "cluster": "c" }), b"").code),
        (1, 0)
    );
    assert_eq!(peer.call(102, key.clone(), b"").code, 0);
    assert_eq!(peer.call(101, key, b"").code, 22);
}

#[test]
fn a_client_is_given_the_address_it_reached_us_on() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path(), "0.0.0.0:0");
    let port = house.server.local_addr().port();
    let mut near = house.connect_to(format!("127.0.0.1:{port}").parse().unwrap());
    near.register("a", "0.0.0.0:10911", &["t", "u"]);
    assert!(near.route("t").body.contains(r#"{"0":"127.0.0.1:10911"}"#));
    let mut other = house.connect_to(format!("127.0.0.2:{port}").parse().unwrap());
    assert!(other.route("t").body.contains(r#"{"0":"127.0.0.2:10911"}"#));
}
