// SPDX-License-Identifier: Apache-2.0
//! What each step of the wire costs by itself: `cargo bench -p protocol --bench wire [-- FILTER]`. Nothing is asserted: a
//! machine is never quiet enough. What guards the speed is counted (docs/benchmarks/anatomy.md).

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use protocol::batch::{self, Unit};
use protocol::filter::sql::Sql;
use protocol::frame::{self, Decoder, Frame, Head, Language, RESPONSE, Serialization, VERSION};
use protocol::names::{ByteStr, Group, LogOffset, QueueId, QueueOffset, TopicName};
use protocol::properties::{self, Properties};
use protocol::pull::PullReply;
use protocol::record::{self, Message};
use protocol::request::{Header, Request};
use protocol::send::{SendHeader, SendMessageV2, SendReply};
use stdx::Timestamp;

const MAX_FRAME: usize = 16 << 20;
const BODY: [u8; 1024] = [b'x'; 1024];
const PROPERTIES: &str = "UNIQ_KEY\u{1}7F0000010000123400000000000004D2\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}KEYS\u{1}order-7\u{2}";

fn send() -> SendMessageV2 {
    SendMessageV2(SendHeader {
        group: Group::stored("producers"),
        topic: TopicName::stored("orders"),
        default_topic: Some(TopicName::stored("TBW102")),
        default_queues: 4,
        queue: Some(QueueId(3)),
        sys_flag: 0,
        born_at: Timestamp(1_700_000_000_000),
        flag: 0,
        properties: Properties::new(PROPERTIES),
        reconsume: 0,
        unit: false,
        max_reconsume: None,
        batch: false,
    })
}

fn head(code: i32, flag: i32, serialization: Serialization) -> Head<'static> {
    Head { code, opaque: 1234, flag, version: VERSION, language: Language::JAVA, remark: None, serialization }
}

/// A whole frame of a send.
fn sent(serialization: Serialization) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame::encode(&head(SendMessageV2::CODE, 0, serialization), &send(), BODY.len(), &mut bytes)
        .expect("a small header");
    bytes.extend_from_slice(&BODY);
    bytes
}

fn read(decoder: &mut Decoder, mut input: BytesMut) -> Frame {
    decoder.next(&mut input).expect("a frame").expect("a whole one")
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for (name, serialization) in
        [("send, JSON", Serialization::Json), ("send, RocketMQ", Serialization::RocketMq)]
    {
        let bytes = sent(serialization);
        group.bench_function(format!("{name}, the first of its connection"), |b| {
            b.iter_batched(
                || (Decoder::new(MAX_FRAME), bytes.clone()),
                |(mut decoder, input)| read(&mut decoder, input),
                BatchSize::SmallInput,
            );
        });
        let mut decoder = Decoder::new(MAX_FRAME);
        group.bench_function(format!("{name}, like the last"), |b| {
            b.iter_batched(|| bytes.clone(), |input| read(&mut decoder, input), BatchSize::SmallInput);
        });
        let fields = read(&mut Decoder::new(MAX_FRAME), bytes.clone()).fields;
        group.bench_function(format!("{name}, its typed header"), |b| {
            b.iter(|| SendMessageV2::decode(black_box(&fields)));
        });
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let stored = SendReply {
        message_id: ByteStr::from("7F0000010000123400000000000004D2"),
        queue: QueueId(3),
        queue_offset: QueueOffset(123_456),
        transaction_id: Some(ByteStr::from("7F00000100001234000000000000ABCD")),
        batch_id: None,
        recall_handle: None,
        region: Some(ByteStr::from("DefaultRegion")),
        trace: Some(true),
    };
    let found = PullReply {
        suggested_broker: 0,
        next: QueueOffset(123_456),
        min: QueueOffset(0),
        max: QueueOffset(123_500),
        offset_delta: None,
        topic_sys_flag: Some(0),
        group_sys_flag: Some(0),
        forbidden: None,
    };
    let mut group = c.benchmark_group("encode");
    for (name, serialization) in [("JSON", Serialization::Json), ("RocketMQ", Serialization::RocketMq)] {
        let head = head(0, RESPONSE, serialization);
        let mut out = BytesMut::new();
        let mut put = |header: &dyn Fn(&mut BytesMut)| {
            out.clear();
            header(&mut out);
            black_box(&out);
        };
        group.bench_function(format!("answer of a send, {name}"), |b| {
            b.iter(|| put(&|out| frame::encode(&head, &stored, 0, out).expect("a small header")));
        });
        group.bench_function(format!("answer of a pull, {name}"), |b| {
            b.iter(|| put(&|out| frame::encode(&head, &found, 38_000, out).expect("a small header")));
        });
    }
    group.finish();
}

fn message(c: &mut Criterion) {
    let mut group = c.benchmark_group("message");
    group.bench_function("properties, the last of four", |b| {
        b.iter(|| properties::get(black_box(PROPERTIES), properties::KEYS));
    });
    let host = "127.0.0.1:10911".parse().expect("an address");
    let topic = TopicName::stored("orders");
    let message = Message {
        topic: &topic,
        queue: QueueId(3),
        flag: 0,
        sys_flag: 0,
        born_at: Timestamp(1_700_000_000_000),
        born_host: host,
        store_host: host,
        reconsume: 0,
        prepared: LogOffset(0),
        body: &BODY,
        properties: PROPERTIES.as_bytes(),
    };
    let mut out = Vec::new();
    group.bench_function("record of 1 KiB, encoded", |b| {
        b.iter(|| {
            out.clear();
            record::encode(black_box(&message), &mut out).expect("a small record");
        });
    });
    let mut units = Vec::new();
    for _ in 0..32 {
        let unit = Unit { flag: 0, body: &BODY, properties: PROPERTIES.as_bytes() };
        batch::encode(&unit, &mut units).expect("a small message");
    }
    group.bench_function("batch of 32, taken apart", |b| {
        b.iter(|| batch::units(black_box(&units)).filter(Result::is_ok).count());
    });
    group.finish();
}

fn filter(c: &mut Criterion) {
    let sql = Sql::parse("a BETWEEN 1 AND 10 AND b IN ('x','y') AND c IS NOT NULL").expect("an expression");
    let mut group = c.benchmark_group("filter");
    for (name, own) in [
        ("SQL92, a match", "a\u{1}5\u{2}b\u{1}x\u{2}c\u{1}1\u{2}"),
        ("SQL92, none", "a\u{1}5\u{2}b\u{1}z\u{2}c\u{1}1\u{2}"),
    ] {
        let text = format!("{PROPERTIES}{own}");
        group.bench_function(name, |b| b.iter(|| sql.matches(black_box(&text))));
    }
    group.finish();
}

criterion_group!(benches, decode, encode, message, filter);
criterion_main!(benches);
