// SPDX-License-Identifier: Apache-2.0
//! A running broker on a free port, and clients that know nothing but the protocol.

use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, BrokerConfig, Running, routes};
use bytes::Bytes;
use parking_lot::Mutex;
use protocol::body::{
    ConsumeFromWhere, ConsumerData, HeartbeatData, MessageModel, ProducerData, SubscriptionData,
};
use protocol::codes::ResponseCode;
use protocol::heartbeat::{Heartbeat, HeartbeatReply, NotifyConsumerIdsChanged};
use protocol::json;
use protocol::names::{ByteStr, Group, QueueId, QueueOffset, TopicName};
use protocol::properties::Properties;
use protocol::pull::{PullMessage, PullReply, SUBSCRIPTION, SUSPEND};
use protocol::record;
use protocol::request::Request;
use protocol::send::{SendHeader, SendMessageV2, SendReply};
use remoting::{Client, ClientConfig, Connection, Ctx, Refusal, Reply, Router, Server, ServerConfig};
use stdx::{Clock, SystemClock, Threads, Timestamp};
use store::disk::FileDisk;
use store::{Store, StoreConfig};
use tempfile::TempDir;
use tokio::sync::Notify;

/// Longer than anything here takes, so that a test that waits in vain ends.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Site {
    _dir: TempDir,
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Arc<dyn Clock>,
    store: Arc<Store>,
    loops: Option<Running>,
    threads: Threads,
    server: Option<Server>,
}

impl Site {
    pub(crate) fn new() -> Site {
        Site::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut BrokerConfig)) -> Site {
        let dir = TempDir::new().expect("a temporary directory");
        let clock = SystemClock::new();
        let mut config = StoreConfig::new(dir.path().join("data"));
        config.stage_dir = Some(dir.path().join("stages"));
        config.segment_size = 16 << 20;
        let store = Store::open(config, Arc::new(FileDisk), clock.clone()).expect("the store opens");
        let store = Arc::new(store);
        let mut threads = Threads::default();
        store.start(&mut threads).expect("its threads start");
        let mut config = BrokerConfig::default();
        change(&mut config);
        let broker = Broker::open(config, store.clone(), clock.clone()).expect("the broker opens");
        let loops = broker.run().expect("its loops start");
        let closing = broker.clone();
        let server = Server::bind(
            "127.0.0.1:0".parse().expect("an address"),
            ServerConfig { stages: broker.stages().clone(), ..ServerConfig::default() },
            routes(),
            broker.clone(),
            clock.clone(),
            Arc::new(move |id| closing.connection_closed(id)),
        );
        let server = server.expect("a free port");
        Site { _dir: dir, broker, clock, store, loops: Some(loops), threads, server: Some(server) }
    }

    /// A broker over what this one has stored so far, as the next process would have it.
    pub(crate) fn successor(&self) -> Arc<Broker> {
        let config = BrokerConfig::clone(&self.broker.config());
        Broker::open(config, self.store.clone(), self.clock.clone()).expect("the broker opens")
    }

    pub(crate) fn address(&self) -> String {
        self.server.as_ref().expect("it runs").local_addr().to_string()
    }

    pub(crate) async fn client(&self, name: &str) -> Peer {
        Peer::new(self, name).await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.server.take());
        if let Some(loops) = self.loops.take() {
            loops.close();
        }
        self.threads.join();
        self.store.close();
    }
}

/// One client process with one connection.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) connection: Connection,
    news: Arc<News>,
    _client: Client,
}

/// What the broker told this client.
#[derive(Default)]
struct News {
    groups: Mutex<Vec<String>>,
    changed: Notify,
}

async fn hear(
    news: Arc<News>,
    _ctx: Ctx,
    request: NotifyConsumerIdsChanged,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    news.groups.lock().push(request.group.to_string());
    news.changed.notify_one();
    Ok(Reply::ok(()))
}

impl Peer {
    async fn new(site: &Site, name: &str) -> Peer {
        let news = Arc::new(News::default());
        let client =
            Client::new(ClientConfig::default(), site.clock.clone(), Router::new().on(hear), news.clone());
        let connection = client.dial(&site.address()).await.expect("the broker listens");
        Peer { name: name.to_owned(), connection, news, _client: client }
    }

    /// Calls; a refusal is its code and sentence.
    pub(crate) async fn call<R: Request>(
        &self,
        request: &R,
        body: impl Into<Bytes>,
    ) -> Result<(R::Reply, Bytes), String> {
        let answer = self.connection.call(request, body.into(), PATIENCE).await.expect("an answer");
        match answer.code() {
            ResponseCode::SUCCESS => {
                let body = answer.body().clone();
                Ok((answer.header().expect("its header"), body))
            }
            code => Err(format!("{} {}", code.0, answer.remark().map_or("", |remark| remark))),
        }
    }

    /// Waits until the broker told of a change of a group, as often as `count` says in all.
    pub(crate) async fn heard(&self, count: usize) -> Vec<String> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                let changed = self.news.changed.notified();
                if self.news.groups.lock().len() >= count {
                    return self.news.groups.lock().clone();
                }
                changed.await;
            }
        })
        .await
        .expect("the broker tells")
    }

    pub(crate) async fn send(
        &self,
        topic: &str,
        queue: u32,
        properties: &[(&str, &str)],
        body: &str,
    ) -> SendReply {
        let request = SendMessageV2(send_header(topic, queue, properties));
        self.call(&request, body.as_bytes().to_vec()).await.expect("it is stored").0
    }

    pub(crate) async fn heartbeat(&self, data: &HeartbeatData) -> HeartbeatReply {
        self.call(&Heartbeat, json::to_vec(data)).await.expect("it is taken").0
    }

    /// Says that this client consumes these topics (with tags) in a group.
    pub(crate) async fn join(&self, group: &str, wanted: &[(&str, &str)]) -> HeartbeatReply {
        self.heartbeat(&heartbeat_data(&self.name, group, wanted)).await
    }

    /// Pulls by what the heartbeat said; the code, the answer and the bodies.
    pub(crate) async fn pull(&self, request: PullMessage) -> (i32, Option<PullReply>, Vec<String>) {
        let answer = self.connection.call(&request, Bytes::new(), PATIENCE).await.expect("an answer");
        (answer.code().0, answer.header().ok(), bodies(answer.body()))
    }
}

pub(crate) fn bodies(body: &[u8]) -> Vec<String> {
    record::iterate(body)
        .map(|record| String::from_utf8_lossy(record.expect("a whole record").body()).into_owned())
        .collect()
}

pub(crate) fn heartbeat_data(client: &str, group: &str, wanted: &[(&str, &str)]) -> HeartbeatData {
    let subscription = |(topic, tags): &(&str, &str)| SubscriptionData {
        topic: TopicName::stored(*topic),
        sub_string: (*tags).to_owned(),
        sub_version: 1,
        ..SubscriptionData::default()
    };
    HeartbeatData {
        client_id: client.to_owned(),
        consumer_data_set: vec![ConsumerData {
            group_name: Group::stored(group),
            message_model: MessageModel::Clustering,
            consume_from_where: ConsumeFromWhere::LastOffset,
            subscription_data_set: wanted.iter().map(subscription).collect(),
            ..ConsumerData::default()
        }],
        producer_data_set: vec![ProducerData { group_name: Group::stored("producers") }],
        ..HeartbeatData::default()
    }
}

pub(crate) fn send_header(topic: &str, queue: u32, properties: &[(&str, &str)]) -> SendHeader {
    SendHeader {
        group: Group::stored("producers"),
        topic: TopicName::stored(topic),
        default_topic: Some(TopicName::stored("TBW102")),
        default_queues: 4,
        queue: Some(QueueId(queue)),
        sys_flag: 0,
        born_at: Timestamp(1_700_000_000_000),
        flag: 0,
        properties: properties.iter().copied().collect::<Properties>(),
        reconsume: 0,
        unit: false,
        max_reconsume: None,
        batch: false,
    }
}

pub(crate) fn pull_request(group: &str, topic: &str, queue: u32, from: u64) -> PullMessage {
    PullMessage {
        group: Group::stored(group),
        topic: TopicName::stored(topic),
        queue: QueueId(queue),
        from: QueueOffset(from),
        max_messages: 32,
        sys_flag: SUBSCRIPTION,
        commit: None,
        suspend: None,
        subscription: Some(ByteStr::from("*")),
        sub_version: 0,
        expression_type: Some(ByteStr::from("TAG")),
        max_bytes: None,
        request_source: None,
        proxied_client: None,
    }
}

pub(crate) fn waiting(request: PullMessage, time: Duration) -> PullMessage {
    PullMessage { sys_flag: request.sys_flag | SUSPEND, suspend: Some(time), ..request }
}
