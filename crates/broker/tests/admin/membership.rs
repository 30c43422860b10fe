// SPDX-License-Identifier: Apache-2.0
//! A broker and its name servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use broker::Membership;
use bytes::Bytes;
use namesrv::{NameServer, NameServerConfig};
use parking_lot::Mutex;
use protocol::admin::topic::{DeleteTopicInBroker, UpdateAndCreateTopicList};
use protocol::assignment::QueryAssignment;
use protocol::body::{
    ClusterInfo, CreateTopicListRequestBody, QueryAssignmentRequestBody, QueryAssignmentResponseBody,
    RegisterBrokerBody, TopicConfig, TopicRouteData,
};
use protocol::ids::OffsetId;
use protocol::json;
use protocol::names::{Group, TopicName};
use protocol::route::{GetBrokerClusterInfo, GetRouteInfo, RegisterBroker, RegisterBrokerReply};
use protocol::send::ConsumerSendMessageBack;
use remoting::{Client, ClientConfig, Ctx, Refusal, Reply, Router, Server, ServerConfig};
use stdx::{Clock, SystemClock, Timestamp};
use tempfile::TempDir;

use crate::site::{PATIENCE, Peer, Site};
use crate::topics::{make_topic, topic_request};

struct NameHouse {
    dir: TempDir,
    server: Server,
}

impl NameHouse {
    fn open(site: &Site, dir: TempDir, bind: SocketAddr) -> NameHouse {
        let config = NameServerConfig { dir: dir.path().to_owned(), ..NameServerConfig::default() };
        let names = Arc::new(NameServer::open(config, &*site.clock).expect("it opens"));
        let told = names.clone();
        let on_close = Arc::new(move |id| told.closed(id));
        let sockets = ServerConfig { workers: 1, ..ServerConfig::default() };
        let server = Server::bind(bind, sockets, namesrv::routes(), names, site.clock.clone(), on_close);
        NameHouse { dir, server: server.expect("a free port") }
    }

    fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }
}

struct Asker {
    client: Client,
    name_server: String,
}

impl Asker {
    fn new(site: &Site, name_server: SocketAddr) -> Asker {
        let client =
            Client::new(ClientConfig::default(), site.clock.clone(), Router::<()>::new(), Arc::new(()));
        Asker { client, name_server: name_server.to_string() }
    }

    async fn route(&self, topic: &str) -> Result<TopicRouteData, i32> {
        let request = GetRouteInfo { topic: TopicName::stored(topic), standard_json: true };
        let answer = self.client.call(&self.name_server, &request, Bytes::new(), PATIENCE).await;
        let answer = answer.map_err(|_| -1)?;
        let code = answer.code().0;
        let (_, body) = answer.ok().map_err(|_| code)?;
        Ok(json::from_slice(&body).expect("a route"))
    }

    /// Asks until the answer is as wanted.
    async fn until(&self, topic: &str, wanted: impl Fn(&Result<TopicRouteData, i32>) -> bool) {
        let asking = async { while !wanted(&self.route(topic).await) {} };
        tokio::time::timeout(PATIENCE, asking).await.expect("the name server learns it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_servers_know_the_broker_from_its_start_to_its_end() {
    let site = Site::new();
    let peer = site.client("op").await;
    make_topic(&peer, "before", 2).await;
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let names = NameHouse::open(&site, TempDir::new().expect("a directory"), any);
    let asker = Asker::new(&site, names.address());
    let here: SocketAddr = site.address().parse().expect("an address");
    let servers = vec![names.address().to_string(), "127.0.0.1:1".to_owned()];
    let membership =
        Membership::join(site.broker.clone(), servers, here, site.clock.clone()).expect("it starts");

    let route =
        asker.route("before").await.expect("it is known before join returns, whatever the other server does");
    assert_eq!(route.broker_datas[0].broker_addrs[&0], here.to_string());
    assert_eq!((route.queue_datas[0].read_queue_nums, route.queue_datas[0].perm), (2, 6));
    make_topic(&peer, "later", 3).await;
    assert_eq!(
        asker.route("later").await.expect("whoever made it finds it").queue_datas[0].write_queue_nums,
        3
    );
    let read_only =
        protocol::admin::topic::UpdateAndCreateTopic { permission: 4, ..topic_request("later", 3, "") };
    peer.call(&read_only, Bytes::new()).await.expect("it is changed");
    assert_eq!(asker.route("later").await.expect("a route").queue_datas[0].perm, 4);
    peer.call(&protocol::admin::broker::UpdateBrokerConfig, &b"brokerPermission=4"[..])
        .await
        .expect("it is changed");
    assert_eq!(asker.route("before").await.expect("a route").queue_datas[0].perm, 4);
    assert_eq!(asker.route("never").await.err(), Some(17));
    let both = &b"brokerPermission=6"[..];
    peer.call(&protocol::admin::broker::UpdateBrokerConfig, both).await.expect("it is changed");
    peer.send("own", 0, &[], "a message makes its topic").await;
    asker.until("own", Result::is_ok).await;

    let answer = asker.client.call(&asker.name_server, &GetBrokerClusterInfo, Bytes::new(), PATIENCE).await;
    let (_, body) = answer.expect("an answer").ok().expect("brokers");
    let info: ClusterInfo = json::from_slice(&body).expect("it reads");
    assert_eq!(info.broker_addr_table["broker-a"].cluster, "DefaultCluster");

    // The name server restarts and has forgotten everything but who is to come back.
    let NameHouse { dir, server } = names;
    let bind = server.local_addr();
    server.shutdown(Duration::from_millis(100));
    let names = NameHouse::open(&site, dir, bind);
    asker.until("before", Result::is_ok).await;
    membership.leave();
    assert_eq!(asker.route("before").await.err(), Some(17));
    drop(names);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_answered_finds_the_topic() {
    let site = Site::new();
    let peer = site.client("p").await;
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let names = NameHouse::open(&site, TempDir::new().expect("a directory"), any);
    let asker = Asker::new(&site, names.address());
    let here: SocketAddr = site.address().parse().expect("an address");
    let membership =
        Membership::join(site.broker.clone(), vec![names.address().to_string()], here, site.clock.clone());
    let membership = membership.expect("it starts");

    for n in 0..50 {
        let topic = format!("new{n}");
        peer.send(&topic, 0, &[], "makes it").await;
        assert!(asker.route(&topic).await.is_ok(), "{topic} is known when its first message is answered");
        let group = format!("g{n}");
        peer.join(&group, &[("new0", "*")]).await;
        let retry = format!("%RETRY%{group}");
        assert!(asker.route(&retry).await.is_ok(), "{retry} is known when its first member is answered");
    }

    let message = peer.send("new0", 0, &[], "fails").await.message_id;
    give_back(&peer, &message, "unseen", 0).await;
    assert!(asker.route("%RETRY%unseen").await.is_ok(), "made by what was given back");
    give_back(&peer, &message, "unseen", -1).await;
    assert!(asker.route("%DLQ%unseen").await.is_ok(), "made by what was given back for good");
    let exhausted = protocol::send::SendMessageV2(protocol::send::SendHeader {
        reconsume: 17,
        ..crate::site::send_header("%RETRY%g0", 0, &[])
    });
    peer.call(&exhausted, &b"dead"[..]).await.expect("it is stored");
    assert!(asker.route("%DLQ%g0").await.is_ok(), "made by what a client gives up itself");

    // Without name servers topics are made all the same.
    drop(names);
    peer.send("alone", 0, &[], "makes it").await;
    membership.leave();
}

pub(crate) async fn give_back(peer: &Peer, message: &str, group: &str, delay_level: i32) {
    let request = ConsumerSendMessageBack {
        offset: OffsetId::parse(message).expect("an id").offset,
        group: Group::stored(group),
        delay_level,
        message_id: None,
        topic: None,
        unit: false,
        max_reconsume: None,
        reconsumed: None,
    };
    peer.call(&request, Bytes::new()).await.expect("it is stored");
}

/// Has the broker join a name server that only looks like one.
fn join_one<S: Send + Sync + 'static>(site: &Site, router: Router<S>, state: Arc<S>) -> (Server, Membership) {
    let sockets = ServerConfig { workers: 1, ..ServerConfig::default() };
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let server =
        Server::bind(any, sockets, router, state, site.clock.clone(), Arc::new(|_| {})).expect("a free port");
    let here: SocketAddr = site.address().parse().expect("an address");
    let name_servers = vec![server.local_addr().to_string()];
    let membership =
        Membership::join(site.broker.clone(), name_servers, here, site.clock.clone()).expect("it starts");
    (server, membership)
}

/// Takes the first registration and sits on the later ones.
async fn register_once(
    heard: Arc<AtomicU32>,
    _ctx: Ctx,
    _request: RegisterBroker,
    _body: Bytes,
) -> Result<Reply<RegisterBrokerReply>, Refusal> {
    if heard.fetch_add(1, Ordering::Relaxed) > 0 {
        std::future::pending::<()>().await;
    }
    Ok(Reply::ok(RegisterBrokerReply { replication_address: None, master_address: None }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_that_hangs_delays_a_new_topic_a_moment_and_no_other() {
    let site = Site::new();
    let peer = site.client("p").await;
    peer.send("old", 0, &[], "makes it").await;
    let heard = Arc::new(AtomicU32::new(0));
    let (server, membership) = join_one(&site, Router::new().on(register_once), heard.clone());

    let begun = Instant::now();
    peer.send("new", 0, &[], "makes it").await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(900), "the name server was given its time: {took:?}");
    assert!(took < Duration::from_secs(6), "but no more than that: {took:?}");
    let begun = Instant::now();
    for _ in 0..20 {
        peer.send("old", 0, &[], "is there").await;
        peer.send("new", 0, &[], "is there by now").await;
    }
    assert!(begun.elapsed() < took, "nobody else waits");
    drop(server);
    drop(membership);
}

/// Notes which topics each registration names.
async fn note_names(
    heard: Arc<Mutex<Vec<Vec<String>>>>,
    _ctx: Ctx,
    _request: RegisterBroker,
    body: Bytes,
) -> Result<Reply<RegisterBrokerReply>, Refusal> {
    let body = RegisterBrokerBody::decode(&body, false).expect("a registration");
    let names = body.topic_config_serialize_wrapper.topic_config_table.into_keys();
    heard.lock().push(names.map(|name| name.to_string()).collect());
    Ok(Reply::ok(RegisterBrokerReply { replication_address: None, master_address: None }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_topics_those_that_changed_are_told() {
    let site = Site::new();
    let peer = site.client("op").await;
    let many = (0..1100).map(|n| TopicConfig::new(TopicName::stored(format!("t{n}")), 1, 6));
    let list = CreateTopicListRequestBody { topic_config_list: many.collect() };
    peer.call(&UpdateAndCreateTopicList, json::to_vec(&list)).await.expect("they are made");
    let heard = Arc::<Mutex<Vec<Vec<String>>>>::default();
    let (server, membership) = join_one(&site, Router::new().on(note_names), heard.clone());
    let told = || std::mem::take(&mut *heard.lock());
    assert!(told()[0].len() > 1100, "all of them at first");

    make_topic(&peer, "new", 1).await;
    assert_eq!(told(), [["new"]]);
    make_topic(&peer, "t7", 2).await;
    assert_eq!(told(), [["t7"]]);
    let gone = DeleteTopicInBroker { topic: TopicName::stored("t7") };
    peer.call(&gone, Bytes::new()).await.expect("it is deleted");
    make_topic(&peer, "after", 1).await;
    let all =
        told().into_iter().find(|names| names.len() > 1100).expect("what is gone is told by all others");
    assert!(!all.iter().any(|name| name == "t7"));
    let read_only = &b"brokerPermission=4"[..];
    peer.call(&protocol::admin::broker::UpdateBrokerConfig, read_only).await.expect("it is changed");
    assert!(told().iter().any(|names| names.len() > 1100), "every permission changed");
    membership.leave();
    drop(server);
}

/// A clock that counts how often it is looked at.
struct Watched {
    machine: Arc<dyn Clock>,
    looks: AtomicU64,
}

impl Clock for Watched {
    fn now(&self) -> Timestamp {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.machine.now()
    }
    fn wake_at(&self, at: Timestamp, waker: Waker) -> u64 {
        self.machine.wake_at(at, waker)
    }
    fn cancel(&self, at: Timestamp, ticket: u64) {
        self.machine.cancel(at, ticket);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_is_forgotten_and_made_again() {
    let site = Site::new();
    let peer = site.client("p").await;
    make_topic(&peer, "t", 1).await;
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let names = NameHouse::open(&site, TempDir::new().expect("a directory"), any);
    let clock = Arc::new(Watched { machine: SystemClock::new(), looks: AtomicU64::new(0) });
    let here: SocketAddr = site.address().parse().expect("an address");
    let name_servers = vec![names.address().to_string()];
    let membership =
        Membership::join(site.broker.clone(), name_servers, here, clock.clone()).expect("it starts");

    let NameHouse { dir, server } = names;
    let bind = server.local_addr();
    server.shutdown(Duration::from_millis(100));
    // While the name server is away it is asked for now and then: a broken connection that is kept is "lost" for ever, and
    // whoever waits for its loss turns in circles.
    let before = clock.looks.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let looks = clock.looks.load(Ordering::Relaxed) - before;
    assert!((1..200).contains(&looks), "{looks} looks at the clock in two seconds");

    let began = Instant::now();
    let names = NameHouse::open(&site, dir, bind);
    Asker::new(&site, names.address()).until("t", Result::is_ok).await;
    assert!(began.elapsed() < Duration::from_secs(10), "long before the next heartbeat is due");
    membership.leave();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_are_assigned_across_all_brokers() {
    let (site, other) = (Site::new(), Site::with(|config| config.identity.name = "broker-b".into()));
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let names = NameHouse::open(&site, TempDir::new().expect("a directory"), any);
    let mut members = Vec::new();
    for house in [&site, &other] {
        make_topic(&house.client("op").await, "orders", 2).await;
        let here: SocketAddr = house.address().parse().expect("an address");
        // One that does not answer comes first.
        let servers = vec!["127.0.0.1:1".to_owned(), names.address().to_string()];
        let member = Membership::join(house.broker.clone(), servers, here, house.clock.clone());
        members.push(member.expect("it starts"));
    }
    let (one, two) = (site.client("one").await, site.client("two").await);
    one.join("g", &[("orders", "*")]).await;
    two.join("g", &[("orders", "*")]).await;
    let assigned = async |client: &Peer, name: &str| {
        let question = QueryAssignmentRequestBody {
            client_id: name.to_owned(),
            consumer_group: Group::stored("g"),
            strategy_name: "AVG".to_owned(),
            topic: TopicName::stored("orders"),
            ..QueryAssignmentRequestBody::default()
        };
        let (_, body) = client.call(&QueryAssignment, json::to_vec(&question)).await.expect("an answer");
        let answer: QueryAssignmentResponseBody = json::from_slice(&body).expect("it reads");
        let queues = answer.message_queue_assignments.expect("the name server was asked");
        let queues = queues.iter().map(|one| &one.message_queue);
        queues.map(|queue| format!("{} {}", queue.broker_name, queue.queue_id)).collect::<Vec<_>>()
    };
    assert_eq!(assigned(&one, "one").await, ["broker-a 0", "broker-a 1"]);
    assert_eq!(assigned(&two, "two").await, ["broker-b 0", "broker-b 1"]);
    members.into_iter().for_each(Membership::leave);
}
