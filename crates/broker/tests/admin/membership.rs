// SPDX-License-Identifier: Apache-2.0
//! A broker and its name servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker::Membership;
use bytes::Bytes;
use namesrv::{NameServer, NameServerConfig};
use protocol::body::{ClusterInfo, TopicRouteData};
use protocol::json;
use protocol::names::TopicName;
use protocol::route::{GetBrokerClusterInfo, GetRouteInfo};
use remoting::{Client, ClientConfig, Router, Server, ServerConfig};
use tempfile::TempDir;

use crate::site::{PATIENCE, Site};
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
