// SPDX-License-Identifier: Apache-2.0
//! Messages over the wire: sends, pulls, long polls, retries, queries.

use std::time::Duration;

use broker::delay::Levels;
use bytes::Bytes;
use protocol::batch::{self, Unit};
use protocol::fields::{Fields, FieldsOut};
use protocol::ids::OffsetId;
use protocol::names::{ByteStr, Group, LogOffset, QueueId, QueueOffset, TopicName};
use protocol::offset::{GetMaxOffset, GetMinOffset};
use protocol::pull::{LitePullMessage, PullMessage, PullReply};
use protocol::query::{QueryMessage, ViewMessageById};
use protocol::request::{DecodeError, Header, Request};
use protocol::send::{ConsumerSendMessageBack, SendBatchMessage, SendHeader, SendMessage, SendMessageV2};
use stdx::Timestamp;

use crate::site::{PATIENCE, Site, bodies, pull_request, send_header, waiting};

#[tokio::test]
async fn every_kind_of_send_answers_with_ids_queue_and_place() {
    let site = Site::new();
    let client = site.client("c").await;
    let (long, _) = client
        .call(&SendMessage(send_header("orders", 1, &[("UNIQ_KEY", "U1")])), b"one".to_vec())
        .await
        .expect("it is stored");
    assert_eq!(
        (long.queue, long.queue_offset, long.transaction_id.as_deref()),
        (QueueId(1), QueueOffset(0), Some("U1"))
    );
    assert_eq!((long.region.as_deref(), long.trace), (Some("DefaultRegion"), Some(true)));
    let id = OffsetId::parse(&long.message_id).expect("an offset id");
    assert_eq!(id.host, client.connection.peer(), "the address it was reached at");
    let short = client.send("orders", 1, &[], "two").await;
    assert_eq!(short.queue_offset, QueueOffset(1));
    let mut body = Vec::new();
    for text in ["three", "four"] {
        let unit = Unit { flag: 0, body: text.as_bytes(), properties: b"" };
        batch::encode(&unit, &mut body).expect("it fits");
    }
    let (many, _) =
        client.call(&SendBatchMessage(send_header("orders", 1, &[])), body).await.expect("it is stored");
    assert_eq!((many.queue_offset, many.message_id.split(',').count()), (QueueOffset(2), 2));
    let end = GetMaxOffset { topic: TopicName::stored("orders"), queue: QueueId(1), committed: None };
    let until_visible = async {
        while client.call(&end, Bytes::new()).await.expect("it is told").0.offset < QueueOffset(4) {}
    };
    tokio::time::timeout(PATIENCE, until_visible).await.expect("messages become visible");
    let (code, reply, found) = client.pull(pull_request("g", "orders", 1, 0)).await;
    let reply = reply.expect("offsets");
    assert_eq!((code, found.join(" ").as_str()), (0, "one two three four"));
    assert_eq!((reply.next, reply.min, reply.max), (QueueOffset(4), QueueOffset(0), QueueOffset(4)));
    let start = GetMinOffset { topic: TopicName::stored("orders"), queue: QueueId(1) };
    assert_eq!(client.call(&start, Bytes::new()).await.expect("it is told").0.offset, QueueOffset(0));
    let (record, body) = client
        .call(&ViewMessageById { topic: None, offset: id.offset }, Bytes::new())
        .await
        .expect("it is there");
    assert_eq!((record, bodies(&body).join(" ").as_str()), ((), "one"));
}

#[tokio::test]
async fn refusals_carry_the_codes_that_clients_know() {
    let site = Site::with(|config| {
        config.sending.max_message = stdx::ByteSize(100);
        config.transactional.reject_transactions = true;
    });
    let client = site.client("c").await;
    let send = async |header: SendHeader, body: &[u8]| {
        client.call(&SendMessageV2(header), body.to_vec()).await.expect_err("it is refused")
    };
    let code = |refusal: String| refusal.split(' ').next().unwrap_or_default().to_owned();
    let unknown = SendHeader { default_topic: None, ..send_header("nowhere", 0, &[]) };
    assert_eq!(send(unknown, b"x").await, "17 topic[nowhere] not exist, apply first please!");
    client.send("orders", 0, &[], "x").await;
    for (header, body, expected) in [
        (send_header("orders", 7, &[]), &b"x"[..], "29"),
        (send_header("orders", 0, &[]), &[b'x'; 101][..], "13"),
        (send_header("orders", 0, &[]), &b""[..], "13"),
        (send_header("a b", 0, &[]), &b"x"[..], "29"),
        (send_header(&"t".repeat(128), 0, &[]), &b"x"[..], "13"),
        (send_header("SCHEDULE_TOPIC_XXXX", 0, &[]), &b"x"[..], "16"),
        (send_header("orders", 0, &[("TRAN_MSG", "true")]), &b"x"[..], "16"),
        (send_header("orders", 0, &[("TIMER_DELAY_SEC", "999999999999")]), &b"x"[..], "13"),
    ] {
        let topic = header.topic.clone();
        assert_eq!(code(send(header, body).await), expected, "{topic}");
    }
    let pull = async |request: PullMessage| client.pull(request).await.0;
    assert_eq!(pull(pull_request("g", "nowhere", 0, 0)).await, 17);
    assert_eq!(pull(pull_request("g", "orders", 4, 0)).await, 29);
    assert_eq!(pull(pull_request("g", "orders", 1, 3)).await, 21);
    assert_eq!(pull(pull_request("g", "orders", 1, 0)).await, 19);
    assert_eq!(pull(PullMessage { sys_flag: 0, ..pull_request("g", "orders", 0, 0) }).await, 24);
    let broken = PullMessage { subscription: Some(ByteStr::from("||")), ..pull_request("g", "orders", 0, 0) };
    assert_eq!(pull(broken).await, 23);
    let view = ViewMessageById { topic: None, offset: LogOffset(3) };
    assert_eq!(code(client.call(&view, Bytes::new()).await.expect_err("nothing lies there")), "1");
}

/// A pull with fields that no consumer in its right mind sends.
struct OddPull(&'static [(&'static str, &'static str)]);

impl Header for OddPull {
    fn decode(_: &Fields) -> Result<OddPull, DecodeError> {
        Ok(OddPull(&[]))
    }
    fn encode(&self, out: &mut FieldsOut<'_>) {
        let usual = [("consumerGroup", "g"), ("topic", "orders"), ("maxMsgNums", "32"), ("sysFlag", "4")];
        usual.iter().chain(self.0).for_each(|(name, value)| out.put_text(name, value));
    }
}

impl Request for OddPull {
    const CODE: i32 = 11;
    const NAME: &'static str = "OddPull";
    type Reply = PullReply;
}

#[tokio::test]
async fn odd_places_are_answered_as_apache_answers_them() {
    let site = Site::new();
    let client = site.client("c").await;
    client.send("orders", 0, &[], "x").await;
    let first = waiting(pull_request("g", "orders", 0, 0), Duration::from_secs(15));
    assert_eq!(client.pull(first).await.2, ["x"], "it is visible");
    let pull = async |fields| {
        let answer =
            client.connection.call(&OddPull(fields), Bytes::new(), PATIENCE).await.expect("an answer");
        (answer.code().0, answer.header().ok().map(|reply| reply.next.0))
    };
    assert_eq!(pull(&[("queueId", "0"), ("queueOffset", "0")]).await, (0, Some(1)));
    assert_eq!(pull(&[("queueId", "-1"), ("queueOffset", "0")]).await.0, 29);
    assert_eq!(pull(&[("queueId", "-2147483648"), ("queueOffset", "-1")]).await.0, 29);
    assert_eq!(pull(&[("queueId", "0"), ("queueOffset", "-1")]).await, (21, Some(0)));
    assert_eq!(pull(&[("queueId", "0"), ("queueOffset", "-9223372036854775808")]).await, (21, Some(0)));
    assert_eq!(pull(&[("queueId", "1"), ("queueOffset", "-1")]).await, (21, Some(0)), "an empty queue");
    assert_eq!(pull(&[("queueId", "0"), ("queueOffset", "9223372036854775807")]).await, (21, Some(1)));
    assert_eq!(pull(&[("queueOffset", "0")]).await.0, 1, "a field that must be there");
    assert_eq!(pull(&[("queueId", "0")]).await.0, 1, "a field that must be there");
    assert_eq!(pull(&[("queueId", "x"), ("queueOffset", "0")]).await.0, 1, "no number");
    assert_eq!(pull(&[("topic", "nowhere"), ("queueId", "-1"), ("queueOffset", "-1")]).await.0, 17);
}

#[tokio::test]
async fn a_waiting_pull_is_answered_by_the_message_that_it_waits_for() {
    let site = Site::new();
    let (producer, consumer) = (site.client("p").await, site.client("c").await);
    producer.send("orders", 0, &[], "first").await;
    let first = waiting(pull_request("g", "orders", 0, 0), Duration::from_secs(15));
    assert_eq!(consumer.pull(first).await.2, ["first"]);
    let wait = waiting(pull_request("g", "orders", 0, 1), Duration::from_secs(15));
    let (pulled, _) = tokio::join!(consumer.pull(wait.clone()), async {
        parked(&site, 1).await;
        producer.send("orders", 0, &[], "second").await
    });
    assert_eq!((pulled.0, pulled.2.join(" ").as_str()), (0, "second"));
    let short = waiting(pull_request("g", "orders", 0, 2), Duration::from_millis(50));
    let asked = site.clock.now();
    let (code, reply, _) = consumer.pull(short).await;
    assert_eq!((code, reply.expect("offsets").next), (19, QueueOffset(2)));
    assert!(site.clock.now().since(asked) >= Duration::from_millis(50), "it never answers early");
}

#[tokio::test]
async fn the_pull_without_callbacks_answers_alike() {
    let site = Site::new();
    let client = site.client("c").await;
    client.send("orders", 0, &[], "x").await;
    let request = waiting(pull_request("g", "orders", 0, 0), Duration::from_secs(15));
    let (_, body) = client.call(&LitePullMessage(request), Bytes::new()).await.expect("it is readable");
    assert_eq!(bodies(&body), ["x"]);
}

#[tokio::test]
async fn a_dropped_connection_takes_its_waiting_pulls_along() {
    let site = Site::new();
    let client = site.client("c").await;
    client.send("orders", 0, &[], "x").await;
    let other = site.client("d").await;
    let first = waiting(pull_request("g", "orders", 0, 0), Duration::from_secs(15));
    assert_eq!(client.pull(first).await.2, ["x"]);
    let wait = waiting(pull_request("g", "orders", 0, 1), Duration::from_secs(15));
    let call = client.connection.call(&wait, Bytes::new(), PATIENCE);
    parked(&site, 1).await;
    client.connection.close();
    parked(&site, 0).await;
    assert!(call.await.is_err());
    other.send("orders", 0, &[], "y").await;
}

/// Waits until so many pulls wait.
async fn parked(site: &Site, count: usize) {
    let reached = async {
        while site.broker.waiting_pulls() != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("pulls park and are forgotten");
}

async fn give_back(client: &crate::site::Peer, offset: u64, delay_level: i32, max: i32) {
    let request = ConsumerSendMessageBack {
        offset: LogOffset(offset),
        group: Group::stored("g"),
        delay_level,
        message_id: None,
        topic: Some(TopicName::stored("orders")),
        unit: false,
        max_reconsume: Some(max),
        reconsumed: None,
    };
    client.call(&request, Bytes::new()).await.expect("it is stored");
}

#[tokio::test]
async fn a_failed_message_is_tried_again_and_then_kept() {
    let site =
        Site::with(|config| config.sending.delay_levels = "20ms 40ms".parse::<Levels>().expect("a table"));
    let client = site.client("c").await;
    client.join("g", &[("orders", "*")]).await;
    client.send("orders", 0, &[("KEYS", "k")], "fails").await;
    let next = async |topic: &str, from: u64| {
        let request = waiting(pull_request("g", topic, 0, from), Duration::from_secs(15));
        let answer = client.connection.call(&request, Bytes::new(), PATIENCE).await.expect("an answer");
        let body = answer.body().clone();
        let record = protocol::record::iterate(&body).next().expect("a record").expect("a whole one");
        (record.log_offset().0, record.reconsume(), record.stored_at())
    };
    let (first, _, _) = next("orders", 0).await;
    let given = site.clock.now();
    give_back(&client, first, 1, 1).await;
    let (retry, reconsumed, stored_at) = next("%RETRY%g", 0).await;
    assert_eq!(reconsumed, 1);
    assert!(stored_at.since(given) >= Duration::from_millis(20), "never early");
    give_back(&client, retry, 1, 1).await;
    let (_, reconsumed, _) = next("%DLQ%g", 0).await;
    assert_eq!(reconsumed, 2);
}

#[tokio::test]
async fn messages_are_found_by_key_and_by_id() {
    let site = Site::new();
    let client = site.client("c").await;
    client.send("orders", 0, &[("KEYS", "k1 k2"), ("UNIQ_KEY", "U1")], "one").await;
    client.pull(waiting(pull_request("g", "orders", 0, 0), Duration::from_secs(15))).await;
    let query = |key: &str, unique: bool| QueryMessage {
        topic: TopicName::stored("orders"),
        key: ByteStr::from(key),
        max: 32,
        begin: Timestamp(0),
        end: Timestamp(i64::MAX),
        unique,
        index: None,
        last_key: None,
    };
    for (key, unique) in [("k2", false), ("U1", true)] {
        let (_, body) = client.call(&query(key, unique), Bytes::new()).await.expect("it is found");
        assert_eq!(bodies(&body), ["one"]);
    }
    let missing = client.call(&query("k3", false), Bytes::new()).await.expect_err("there is none");
    assert_eq!(missing, "22 can not find message, maybe time range not correct");
}
