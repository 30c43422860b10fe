// SPDX-License-Identifier: Apache-2.0
//! A real server with one thread for all connections and none beside it: dispatch and drain are done here, step by step.
//! A request of our own holds its thread while the next requests are written, so that what comes with one read, and
//! what is counted between two of them, is always the same.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use broker::{Broker, BrokerConfig, Wake, routes};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use protocol::body::{ConsumeFromWhere, ConsumerData, HeartbeatData, MessageModel, SubscriptionData};
use protocol::fields::{Fields, FieldsOut};
use protocol::frame::Decoder;
use protocol::json;
use protocol::names::{Group, TopicName};
use protocol::request::{DecodeError, Header, Request};
use remoting::{Class, Ctx, Refusal, Reply, Server, ServerConfig};
use stdx::{Clock, SystemClock};
use store::disk::FileDisk;
use store::{Store, StoreConfig};
use tempfile::TempDir;

use crate::{count, frames};

/// Longer than anything here takes, so that a test that waits in vain ends.
const PATIENCE: Duration = Duration::from_secs(120);
const MAX_FRAME: usize = 16 << 20;

/// Asks the server's thread how often it has asked for memory, and holds it.
struct Hold;

impl Header for Hold {
    fn decode(_: &Fields) -> Result<Hold, DecodeError> {
        Ok(Hold)
    }
    fn encode(&self, _: &mut FieldsOut<'_>) {}
}

impl Request for Hold {
    const CODE: i32 = 29_999;
    const NAME: &'static str = "Hold";
    type Reply = ();
}

/// The server's end of a hold.
struct Held {
    here: SyncSender<u64>,
    released: Mutex<Receiver<bool>>,
}

impl Held {
    /// Says that the thread is here and what it has counted, and waits until it may go on.
    fn wait(&self) {
        count::show(false);
        let _ = self.here.send(count::asked());
        let is_shown = self.released.lock().recv_timeout(PATIENCE).unwrap_or(false);
        count::show(is_shown);
    }
}

/// The server, and this end of its holds.
pub(crate) struct Rig {
    pub(crate) broker: Arc<Broker>,
    pub(crate) store: Arc<Store>,
    clock: Arc<dyn Clock>,
    server: Server,
    here: Receiver<u64>,
    release: SyncSender<bool>,
    _dir: TempDir,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let dir = TempDir::new().expect("a temporary directory");
        let clock = SystemClock::new();
        let mut config = StoreConfig::new(dir.path().join("data"));
        config.stage_dir = Some(dir.path().join("stages"));
        let store = Store::open(config, Arc::new(FileDisk), clock.clone()).expect("the store opens");
        let store = Arc::new(store);
        let broker =
            Broker::open(BrokerConfig::default(), store.clone(), clock.clone()).expect("the broker opens");
        let (said, here) = sync_channel(1);
        let (release, released) = sync_channel(1);
        let held = Arc::new(Held { here: said, released: Mutex::new(released) });
        let hold = move |_: Arc<Broker>, _: Ctx, _: Hold, _: Bytes| {
            let held = held.clone();
            async move {
                held.wait();
                Ok::<_, Refusal>(Reply::ok(()))
            }
        };
        let server = Server::bind(
            "127.0.0.1:0".parse().expect("an address"),
            ServerConfig { workers: 1, ..ServerConfig::default() },
            routes().class(Class::Control).on(hold),
            broker.clone(),
            clock.clone(),
            Arc::new(|_| {}),
        );
        let server = server.expect("a free port");
        Rig { broker, store, clock, server, here, release, _dir: dir }
    }

    pub(crate) fn client(&self) -> Client {
        let stream = TcpStream::connect(self.server.local_addr()).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Client {
            stream,
            decoder: Decoder::new(MAX_FRAME),
            input: BytesMut::new(),
            out: Vec::new(),
            opaque: 0,
            owed: 0,
        }
    }

    /// Waits until the server's thread holds; how often it has asked for memory.
    pub(crate) fn held(&self) -> u64 {
        self.here.recv_timeout(PATIENCE).expect("the server comes to it")
    }

    /// Lets it go on. What it asks for may be shown until it holds again.
    pub(crate) fn go_on(&self, is_shown: bool) {
        self.release.send(is_shown).expect("the server waits");
    }

    /// Makes everything visible that was stored; how often that asked for memory.
    pub(crate) fn dispatch(&self) -> u64 {
        let before = count::asked();
        while self.broker.dispatch_step(self.clock.now()) != Wake::Idle {}
        count::asked() - before
    }

    /// Writes everything to files that was stored, and prepares what comes next; how often that asked for memory.
    pub(crate) fn drain(&self) -> u64 {
        let before = count::asked();
        while self.store.drain_step() > 0 {}
        self.store.prepare_step();
        count::asked() - before
    }
}

/// One connection that knows nothing but bytes.
pub(crate) struct Client {
    stream: TcpStream,
    decoder: Decoder,
    input: BytesMut,
    out: Vec<u8>,
    opaque: u32,
    /// Requests that are not answered yet.
    owed: usize,
}

impl Client {
    /// Adds a request to what is written next; `put` is told its number.
    pub(crate) fn add(&mut self, put: impl FnOnce(u32, &mut Vec<u8>)) {
        self.opaque += 1;
        self.owed += 1;
        put(self.opaque, &mut self.out);
    }

    /// Adds a request that holds the server's thread.
    pub(crate) fn add_hold(&mut self) {
        self.add(|opaque, out| frames::plain(Hold::CODE, opaque, b"", out));
    }

    /// Writes all that was added, in one piece.
    pub(crate) fn write(&mut self) {
        self.stream.write_all(&self.out).expect("the server reads");
        self.out.clear();
    }

    /// Reads the next answer, which says success.
    fn answer(&mut self) {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.input).expect("a frame") {
                if frame.is_response() {
                    assert_eq!(frame.code, 0, "{frame:?}");
                    return;
                }
                // It is told that its group has a new member.
                continue;
            }
            let mut piece = [0; 64 << 10];
            let size = self.stream.read(&mut piece).expect("the server answers");
            assert!(size > 0, "the server goes on");
            self.input.extend_from_slice(&piece[..size]);
        }
    }

    pub(crate) fn answers(&mut self, count: usize) {
        (0..count).for_each(|_| self.answer());
        self.owed -= count;
    }

    /// How many answers are still to come.
    pub(crate) fn owed(&self) -> usize {
        self.owed
    }

    /// Reads all that are still to come.
    pub(crate) fn answers_owed(&mut self) {
        self.answers(self.owed);
    }

    /// Asks and reads the answer.
    pub(crate) fn ask(&mut self, put: impl FnOnce(u32, &mut Vec<u8>)) {
        self.add(put);
        self.write();
        self.answers_owed();
    }

    /// Says that it consumes a topic.
    pub(crate) fn join(&mut self, topic: &str) {
        let data = HeartbeatData {
            client_id: "client".to_owned(),
            consumer_data_set: vec![ConsumerData {
                group_name: Group::stored("consumers"),
                message_model: MessageModel::Clustering,
                consume_from_where: ConsumeFromWhere::LastOffset,
                subscription_data_set: [SubscriptionData {
                    topic: TopicName::stored(topic),
                    sub_string: "*".to_owned(),
                    ..SubscriptionData::default()
                }]
                .into_iter()
                .collect(),
                ..ConsumerData::default()
            }],
            ..HeartbeatData::default()
        };
        self.ask(|opaque, out| frames::plain(34, opaque, &json::to_vec(&data), out));
    }
}
