// SPDX-License-Identifier: Apache-2.0
//! How many calls a second the server and the client carry, and what one costs: `cargo run --release -p remoting
//! --example echo -- [connections] [outstanding] [body bytes] [seconds] [workers] [send]`. With `send`, requests carry the header of a
//! real send and are answered like one, without a body; without it the body is echoed under an empty header.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use protocol::names::{ByteStr, Group, QueueId, QueueOffset, TopicName};
use protocol::properties::Properties;
use protocol::request::{DecodeError, Header, Request};
use protocol::send::{SendHeader, SendMessageV2, SendReply};
use protocol::{Fields, FieldsOut};
use remoting::{Class, Client, ClientConfig, Connection, Ctx, Refusal, Reply, Router, Server, ServerConfig};
use stdx::{SystemClock, Timestamp};

struct Echo;

impl Header for Echo {
    fn decode(_: &Fields) -> Result<Echo, DecodeError> {
        Ok(Echo)
    }
    fn encode(&self, _: &mut FieldsOut<'_>) {}
}

impl Request for Echo {
    const CODE: i32 = 34;
    const NAME: &'static str = "Echo";
    type Reply = ();
}

async fn echo(_: Arc<()>, _: Ctx, _: Echo, body: Bytes) -> Result<Reply<()>, Refusal> {
    Ok(Reply::ok(()).with_body(body))
}

async fn send(_: Arc<()>, _: Ctx, _: SendMessageV2, _: Bytes) -> Result<Reply<SendReply>, Refusal> {
    Ok(Reply::ok(SendReply {
        message_id: ByteStr::from("7F0000010000123400000000000004D2"),
        queue: QueueId(3),
        queue_offset: QueueOffset(123_456),
        transaction_id: Some(ByteStr::from("7F00000100001234000000000000ABCD")),
        batch_id: None,
        recall_handle: None,
        region: Some(ByteStr::from("DefaultRegion")),
        trace: Some(true),
    }))
}

fn request() -> SendMessageV2 {
    let properties = "UNIQ_KEY\u{1}7F00000100001234000000000000ABCD\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}";
    SendMessageV2(SendHeader {
        group: Group::stored("bench"),
        topic: TopicName::stored("bench"),
        default_topic: Some(TopicName::stored("TBW102")),
        default_queues: 4,
        queue: Some(QueueId(3)),
        sys_flag: 0,
        born_at: Timestamp(1_700_000_000_000),
        flag: 0,
        properties: Properties::new(properties),
        reconsume: 0,
        unit: false,
        max_reconsume: None,
        batch: false,
    })
}

async fn load<R: Request>(
    connection: Connection,
    request: R,
    outstanding: usize,
    body: Bytes,
    until: Instant,
) -> u64 {
    let call = || connection.call(&request, body.clone(), Duration::from_secs(3));
    let mut calls: FuturesUnordered<_> = (0..outstanding).map(|_| call()).collect();
    let mut done = 0;
    while let Some(answer) = calls.next().await {
        answer.expect("the echo answers").ok().expect("with success");
        done += 1;
        if done % 64 != 0 || Instant::now() < until {
            calls.push(call());
        }
    }
    done
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let ticks: u64 = stat.rsplit(')').next().map_or(0, |rest| {
        rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
    });
    Duration::from_millis(ticks * 10)
}

fn main() {
    let argument = |index: usize, default: usize| {
        std::env::args().nth(index).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let [connections, outstanding, size, seconds, workers] =
        [(1, 4), (2, 64), (3, 1024), (4, 5), (5, 1)].map(|(index, default)| argument(index, default));
    let sends = std::env::args().nth(6).is_some_and(|mode| mode == "send");
    let clock = SystemClock::new();
    let router = Router::new().class(Class::Send).on(echo).on(send);
    let config = ServerConfig { workers, ..ServerConfig::default() };
    let local = "127.0.0.1:0".parse().expect("an address");
    let server =
        Server::bind(local, config, router, Arc::new(()), clock.clone(), Arc::new(|_| {})).expect("a port");
    let client = Client::new(ClientConfig::default(), clock, Router::<()>::new(), Arc::new(()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = server.local_addr().to_string();
    let (started, used) = (Instant::now(), cpu());
    let total: u64 = runtime.block_on(async {
        let until = Instant::now() + Duration::from_secs(seconds as u64);
        let mut loads = Vec::new();
        for _ in 0..connections {
            let connection = client.dial(&address).await.expect("a connection");
            let body = Bytes::from(vec![7; size]);
            loads.push(if sends {
                tokio::spawn(load(connection, request(), outstanding, body, until))
            } else {
                tokio::spawn(load(connection, Echo, outstanding, body, until))
            });
        }
        let mut total = 0;
        for load in loads {
            total += load.await.expect("the load ends");
        }
        total
    });
    let (took, used) = (started.elapsed(), cpu() - used);
    println!(
        "{connections} x {outstanding}, {size} B, {workers} workers: {:.0} k/s, {:.2} us CPU a call (both ends), {:.2} cores",
        total as f64 / took.as_secs_f64() / 1e3,
        used.as_micros() as f64 / total as f64,
        used.as_secs_f64() / took.as_secs_f64(),
    );
    server.shutdown(Duration::ZERO);
}
