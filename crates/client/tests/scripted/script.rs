// SPDX-License-Identifier: Apache-2.0
//! Servers that follow a script: a name server with one route, brokers that answer as they were told to.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::Producer;
use parking_lot::Mutex;
use protocol::body::{
    BrokerData, GetConsumerListByGroupResponseBody, HeartbeatData, LockBatchRequestBody,
    LockBatchResponseBody, QueueData, TopicRouteData,
};
use protocol::codes::ResponseCode;
use protocol::heartbeat::{GetConsumerListByGroup, Heartbeat, HeartbeatReply, UnregisterClient};
use protocol::lock::{LockBatchQueues, UnlockBatchQueues};
use protocol::names::{BrokerName, ByteStr, Group, LogOffset, QueueId, QueueOffset, TopicName};
use protocol::offset::{OffsetReply, QueryConsumerOffset, UpdateConsumerOffset};
use protocol::pull::{PullMessage, PullReply};
use protocol::route::GetRouteInfo;
use protocol::send::{SendMessageV2, SendReply};
use protocol::{json, record};
use remoting::{Class, Ctx, Refusal, Reply, Router, Server, ServerConfig};
use stdx::{SystemClock, Timestamp};

/// The one topic there is.
pub(crate) const TOPIC: &str = "scripted";

/// What a broker does with a send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Answer(i32),
    Silence,
    Hangup,
}

/// Everything the script says and everything that was seen.
#[derive(Default)]
pub(crate) struct Script {
    /// Acts for the next sends; then they are stored.
    pub(crate) acts: Mutex<VecDeque<Act>>,
    /// Broker name and unique id of every send.
    pub(crate) sends: Mutex<Vec<(String, String)>>,
    /// Bodies of the queue, one a message.
    pub(crate) queue: Mutex<Vec<Bytes>>,
    /// Answers this to the next pull, with this place to go on.
    pub(crate) moved: Mutex<Option<QueueOffset>>,
    /// Refuses pulls until the next heartbeat.
    pub(crate) forgotten: Mutex<bool>,
    /// Grants no lock from now on.
    pub(crate) locked_out: Mutex<bool>,
    pub(crate) commits: Mutex<Vec<QueueOffset>>,
    pub(crate) beats: Mutex<Vec<HeartbeatData>>,
    pub(crate) unlocks: Mutex<u32>,
    pub(crate) refused_locks: Mutex<u32>,
    pub(crate) leavers: Mutex<u32>,
    routes: Mutex<BTreeMap<String, TopicRouteData>>,
}

/// A broker's own state: which one it is.
struct Role {
    name: String,
    script: Arc<Script>,
}

/// Running servers.
pub(crate) struct Stage {
    pub(crate) script: Arc<Script>,
    pub(crate) name_server: String,
    _name_server: Server,
    brokers: BTreeMap<String, Server>,
}

impl Stage {
    /// Starts a name server and brokers with one queue each.
    pub(crate) fn new(brokers: &[&str]) -> Stage {
        let script = Arc::new(Script::default());
        let server = serve(0, names(), script.clone());
        let mut stage = Stage {
            script,
            name_server: server.local_addr().to_string(),
            _name_server: server,
            brokers: BTreeMap::new(),
        };
        for name in brokers {
            let server = stage.broker(name, 0);
            stage.brokers.insert((*name).to_owned(), server);
        }
        stage.publish(TOPIC);
        stage
    }

    fn broker(&self, name: &str, port: u16) -> Server {
        serve(port, broker(), Arc::new(Role { name: name.to_owned(), script: self.script.clone() }))
    }

    /// Makes the brokers the route of a topic.
    pub(crate) fn publish(&self, topic: &str) {
        let mut route = TopicRouteData::default();
        for (name, server) in &self.brokers {
            let name = BrokerName::stored(name.as_str());
            route.broker_datas.push(BrokerData {
                broker_name: name.clone(),
                broker_addrs: [(0, server.local_addr().to_string())].into(),
                ..BrokerData::default()
            });
            let (read_queue_nums, write_queue_nums) = (1, 1);
            let queues = QueueData {
                broker_name: name,
                perm: 6,
                read_queue_nums,
                write_queue_nums,
                topic_sys_flag: 0,
            };
            route.queue_datas.push(queues);
        }
        self.script.routes.lock().insert(topic.to_owned(), route);
    }

    /// Stops a broker and starts it again at the same address.
    pub(crate) async fn restart(&mut self, name: &str) {
        let port = self.stop(name).await;
        let server = self.broker(name, port);
        self.brokers.insert(name.to_owned(), server);
    }

    /// Stops a broker; returns its port.
    pub(crate) async fn stop(&mut self, name: &str) -> u16 {
        let server = self.brokers.remove(name).unwrap();
        let port = server.local_addr().port();
        tokio::task::spawn_blocking(|| server.shutdown(Duration::ZERO)).await.unwrap();
        port
    }

    /// Which brokers saw sends, in order.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.script.sends.lock().iter().map(|(broker, _)| broker.clone()).collect()
    }

    pub(crate) async fn producer(&self, timeout: Duration) -> Producer {
        let mut config = client::ProducerConfig::new(Group::stored("p"), &self.name_server);
        config.retry.timeout = timeout;
        Producer::start(config).await.unwrap()
    }
}

fn serve<S: Send + Sync + 'static>(port: u16, router: Router<S>, state: Arc<S>) -> Server {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let config = ServerConfig { workers: 1, ..ServerConfig::default() };
    Server::bind(address, config, router, state, SystemClock::new(), Arc::new(|_| ())).unwrap()
}

fn names() -> Router<Script> {
    Router::new().on(async |script: Arc<Script>, _: Ctx, request: GetRouteInfo, _: Bytes| {
        match script.routes.lock().get(request.topic.as_str()) {
            Some(route) => Ok(Reply::ok(()).with_body(json::to_vec(route))),
            None => Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, "no such topic")),
        }
    })
}

fn broker() -> Router<Role> {
    Router::new()
        .class(Class::Pull)
        .on(send)
        .on(pull)
        .on(query_offset)
        .on(commit)
        .on(members)
        .on(heartbeat)
        .on(lock)
        .on(unlock)
        .on(unregister)
}

async fn send(
    role: Arc<Role>,
    ctx: Ctx,
    request: SendMessageV2,
    _: Bytes,
) -> Result<Reply<SendReply>, Refusal> {
    let id = request.0.properties.get("UNIQ_KEY").unwrap_or_default().to_owned();
    role.script.sends.lock().push((role.name.clone(), id));
    let act = role.script.acts.lock().pop_front();
    let code = match act {
        Some(Act::Silence) => return std::future::pending().await,
        Some(Act::Hangup) => {
            ctx.connection.close();
            return std::future::pending().await;
        }
        Some(Act::Answer(code)) => ResponseCode(code),
        None => ResponseCode::SUCCESS,
    };
    if !code.is_stored() {
        return Err(Refusal::new(code, "on cue"));
    }
    let header = SendReply {
        message_id: ByteStr::from("0"),
        queue: QueueId(0),
        queue_offset: QueueOffset(0),
        transaction_id: None,
        batch_id: None,
        recall_handle: None,
        region: None,
        trace: None,
    };
    Ok(Reply::ok(header).with_code(code))
}

async fn pull(role: Arc<Role>, _: Ctx, request: PullMessage, _: Bytes) -> Result<Reply<PullReply>, Refusal> {
    let script = &role.script;
    let end = script.queue.lock().len() as u64;
    let reply = |next: QueueOffset| PullReply {
        suggested_broker: 0,
        next,
        min: QueueOffset(0),
        max: QueueOffset(end),
        offset_delta: None,
        topic_sys_flag: None,
        group_sys_flag: None,
        forbidden: None,
    };
    if let Some(moved) = script.moved.lock().take() {
        return Ok(Reply::ok(reply(moved)).with_code(ResponseCode::PULL_OFFSET_MOVED));
    }
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    let deadline =
        tokio::time::Instant::now() + request.suspend.unwrap_or_default().min(Duration::from_millis(300));
    loop {
        if *script.forgotten.lock() {
            return Err(Refusal::new(ResponseCode::SUBSCRIPTION_NOT_EXIST, "who are you?"));
        }
        if let Some(body) = script.queue.lock().get(request.from.0 as usize) {
            let record = stored(&request.topic, request.from, body);
            return Ok(Reply::ok(reply(QueueOffset(request.from.0 + 1))).with_body(record));
        }
        if tokio::time::Instant::now() >= deadline {
            return Ok(Reply::ok(reply(request.from)).with_code(ResponseCode::PULL_NOT_FOUND));
        }
        pace.tick().await;
    }
}

fn stored(topic: &TopicName, offset: QueueOffset, body: &[u8]) -> Vec<u8> {
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let message = record::Message {
        topic,
        queue: QueueId(0),
        flag: 0,
        sys_flag: 0,
        born_at: Timestamp(1),
        born_host: host,
        store_host: host,
        reconsume: 0,
        prepared: LogOffset(0),
        body,
        properties: b"",
    };
    let mut out = Vec::new();
    record::encode(&message, &mut out).unwrap();
    record::patch(&mut out, LogOffset(offset.0 * 100), offset, Timestamp(2));
    out
}

async fn query_offset(
    role: Arc<Role>,
    _: Ctx,
    _: QueryConsumerOffset,
    _: Bytes,
) -> Result<Reply<OffsetReply>, Refusal> {
    match role.script.commits.lock().last() {
        Some(&offset) => Ok(Reply::ok(OffsetReply { offset })),
        None => Err(Refusal::new(ResponseCode::QUERY_NOT_FOUND, "no progress yet")),
    }
}

async fn commit(
    role: Arc<Role>,
    _: Ctx,
    request: UpdateConsumerOffset,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    if request.topic == TOPIC {
        role.script.commits.lock().push(request.commit);
    }
    Ok(Reply::ok(()))
}

async fn members(role: Arc<Role>, _: Ctx, _: GetConsumerListByGroup, _: Bytes) -> Result<Reply<()>, Refusal> {
    let beats = role.script.beats.lock();
    let ids = beats.iter().map(|beat| beat.client_id.clone());
    let body = GetConsumerListByGroupResponseBody { consumer_id_list: ids.collect() };
    Ok(Reply::ok(()).with_body(json::to_vec(&body)))
}

async fn heartbeat(
    role: Arc<Role>,
    _: Ctx,
    _: Heartbeat,
    body: Bytes,
) -> Result<Reply<HeartbeatReply>, Refusal> {
    role.script.beats.lock().push(json::from_slice(&body).unwrap());
    *role.script.forgotten.lock() = false;
    Ok(Reply::ok(HeartbeatReply { without_subscriptions: None, changed: None }))
}

async fn lock(role: Arc<Role>, _: Ctx, _: LockBatchQueues, body: Bytes) -> Result<Reply<()>, Refusal> {
    let wanted: LockBatchRequestBody = json::from_slice(&body).unwrap();
    let is_free = !*role.script.locked_out.lock();
    *role.script.refused_locks.lock() += u32::from(!is_free);
    let granted = if is_free { wanted.mq_set } else { Default::default() };
    let body = LockBatchResponseBody { lock_ok_mq_set: granted };
    Ok(Reply::ok(()).with_body(json::to_vec(&body)))
}

async fn unlock(role: Arc<Role>, _: Ctx, _: UnlockBatchQueues, _: Bytes) -> Result<Reply<()>, Refusal> {
    *role.script.unlocks.lock() += 1;
    Ok(Reply::ok(()))
}

async fn unregister(role: Arc<Role>, _: Ctx, _: UnregisterClient, _: Bytes) -> Result<Reply<()>, Refusal> {
    *role.script.leavers.lock() += 1;
    Ok(Reply::ok(()))
}
