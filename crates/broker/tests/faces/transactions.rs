// SPDX-License-Identifier: Apache-2.0
//! Transactions over the wire: decisions from any connection, and questions to live producers.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use protocol::admin::broker::ResumeCheckHalfMessage;
use protocol::admin::transaction::{DecideTransaction, ListTransactions, ShowTransaction};
use protocol::body::{HeartbeatData, ProducerData, TransactionInfo, TransactionList};
use protocol::frame::{Decoder, Frame, Head};
use protocol::heartbeat::Heartbeat;
use protocol::ids::OffsetId;
use protocol::json;
use protocol::names::{ByteStr, Group, TopicName};
use protocol::record::Record;
use protocol::request::Request;
use protocol::send::SendReply;
use protocol::transaction::{COMMIT, CheckTransactionState, EndTransaction, ROLLBACK, UNKNOWN};
use remoting::{Client, ClientConfig, Connection, Ctx, Refusal, Reply, Router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::site::{PATIENCE, Peer, Site, pull_request, waiting};

/// A producer that hears questions.
struct Asked {
    connection: Connection,
    heard: Arc<Heard>,
    _client: Client,
}

#[derive(Default)]
struct Heard {
    questions: Mutex<Vec<(CheckTransactionState, Bytes)>>,
    rang: Notify,
}

async fn hear(
    heard: Arc<Heard>,
    _ctx: Ctx,
    question: CheckTransactionState,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    heard.questions.lock().push((question, body));
    heard.rang.notify_one();
    Ok(Reply::ok(()))
}

impl Asked {
    async fn new(site: &Site, name: &str, group: &str) -> Asked {
        let heard = Arc::new(Heard::default());
        let router = Router::new().on(hear);
        let client = Client::new(ClientConfig::default(), site.clock.clone(), router, heard.clone());
        let connection = client.dial(&site.address()).await.expect("the broker listens");
        let data = HeartbeatData {
            client_id: name.to_owned(),
            producer_data_set: vec![ProducerData { group_name: Group::stored(group) }],
            ..HeartbeatData::default()
        };
        connection.call(&Heartbeat, json::to_vec(&data), PATIENCE).await.expect("it is taken");
        Asked { connection, heard, _client: client }
    }

    /// Waits until so many questions were asked, and returns the last.
    async fn heard(&self, count: usize) -> (CheckTransactionState, Bytes) {
        tokio::time::timeout(PATIENCE, async {
            loop {
                let rang = self.heard.rang.notified();
                if let Some(last) = self.heard.questions.lock().get(count - 1) {
                    return last.clone();
                }
                rang.await;
            }
        })
        .await
        .expect("the broker asks")
    }
}

async fn half(client: &Peer, body: &str) -> SendReply {
    let properties = [("TRAN_MSG", "true"), ("PGROUP", "payers"), ("UNIQ_KEY", body), ("KEYS", "k")];
    client.send("orders", 1, &properties, body).await
}

fn end(half: &SendReply, decision: i32) -> EndTransaction {
    let id: OffsetId = OffsetId::parse(&half.message_id).expect("an offset id");
    EndTransaction {
        topic: None,
        group: Group::stored("payers"),
        half_offset: half.queue_offset.0 as i64,
        log_offset: id.offset.0 as i64,
        decision,
        from_check: false,
        message_id: None,
        transaction_id: half.transaction_id.clone(),
    }
}

#[tokio::test]
async fn a_transaction_is_ended_from_any_connection() {
    let site = Site::new();
    let (one, two) = (site.client("one").await, site.client("two").await);
    let (kept, dropped) = (half(&one, "kept").await, half(&one, "dropped").await);
    assert_eq!(kept.transaction_id.as_deref(), Some("kept"));
    let reader = site.client("reader").await;
    reader.join("g", &[("orders", "*")]).await;
    let pull = waiting(pull_request("g", "orders", 1, 0), PATIENCE);
    let pull = reader.pull(pull);
    let ends = async {
        two.call(&end(&kept, UNKNOWN), Bytes::new()).await.expect("it says nothing");
        two.call(&end(&dropped, ROLLBACK), Bytes::new()).await.expect("rolled back");
        two.call(&end(&kept, COMMIT), Bytes::new()).await.expect("committed");
        two.call(&end(&kept, COMMIT), Bytes::new()).await.expect("once more");
    };
    let ((code, _, found), ()) = tokio::join!(pull, ends);
    assert_eq!((code, found), (0, vec!["kept".to_owned()]), "who waits is told at once");
    let contrary = two.call(&end(&dropped, COMMIT), Bytes::new()).await.expect_err("it is decided");
    assert!(contrary.starts_with("604 ") && contrary.contains("Rollback"), "{contrary}");
    let stranger = EndTransaction { group: Group::stored("others"), ..end(&half(&one, "x").await, COMMIT) };
    assert_eq!(two.call(&stranger, Bytes::new()).await.expect_err("refused"), "1 The producer group wrong");
}

#[tokio::test]
async fn producers_are_asked_in_turn_until_the_transaction_is_parked() {
    let site = Site::with(|config| {
        config.transactional.transaction_timeout = Duration::from_millis(50);
        config.transactional.transaction_check_interval = Duration::from_millis(50);
        config.transactional.transaction_checks_max = 4;
    });
    let client = site.client("one").await;
    let stored = half(&client, "when?").await;
    let other = Asked::new(&site, "other", "others").await;
    let (first, second) =
        (Asked::new(&site, "first", "payers").await, Asked::new(&site, "second", "payers").await);
    first.heard(2).await;
    let (question, body) = second.heard(2).await;
    assert_eq!(other.heard.questions.lock().len(), 0, "another group knows nothing of it");
    let ended = end(&stored, COMMIT);
    assert_eq!((question.half_offset, question.log_offset), (ended.half_offset, ended.log_offset));
    assert_eq!(
        (question.message_id.as_deref(), question.transaction_id.as_deref()),
        (Some("when?"), Some("when?"))
    );
    assert_eq!(question.offset_id.as_deref(), Some(&*stored.message_id));
    assert_eq!(question.broker.as_deref(), Some("broker-a"));
    let record = Record::parse(&body).expect("a record");
    assert_eq!((record.topic(), record.queue().0, record.body()), ("orders", 1, &b"when?"[..]));
    assert_eq!(record.log_offset().0 as i64, question.log_offset);
    assert_eq!(record.property("TRANSACTION_CHECK_TIMES"), Some("4"));

    let reader = site.client("reader").await;
    reader.join("g", &[("TRANS_CHECK_MAX_TIME_TOPIC", "*")]).await;
    let parked = tokio::time::timeout(PATIENCE, async {
        loop {
            let pull =
                waiting(pull_request("g", "TRANS_CHECK_MAX_TIME_TOPIC", 0, 0), Duration::from_millis(50));
            if let (0, _, found) = reader.pull(pull).await {
                return found;
            }
        }
    });
    assert_eq!(parked.await.expect("it is parked"), ["when?"]);
    // Whoever decides after all is heard.
    second.connection.call(&ended, Bytes::new(), PATIENCE).await.expect("an answer").ok().expect("committed");
    let found = reader.pull(waiting(pull_request("g", "orders", 1, 0), PATIENCE)).await.2;
    assert_eq!(found, ["when?"]);
    assert_eq!(first.heard.questions.lock().len() + second.heard.questions.lock().len(), 4);
}

async fn info(client: &Peer, id: &str) -> Result<TransactionInfo, String> {
    let (_, body) = client.call(&ShowTransaction { id: ByteStr::from(id) }, Bytes::new()).await?;
    Ok(json::from_slice(&body).expect("a transaction"))
}

#[tokio::test]
async fn operators_list_decide_and_have_producers_asked_again() {
    let site = Site::with(|config| config.transactional.transaction_checks_max = 0);
    let client = site.client("one").await;
    let (kept, dropped) = (half(&client, "kept").await, half(&client, "dropped").await);
    let list = |topic: Option<&str>| ListTransactions {
        topic: topic.map(TopicName::stored),
        group: None,
        parked: false,
        after: None,
        max: 10,
    };
    let listed = async |request: ListTransactions| -> TransactionList {
        let (_, body) = client.call(&request, Bytes::new()).await.expect("a list");
        json::from_slice(&body).expect("a list")
    };
    let all = listed(list(None)).await;
    let ids: Vec<&str> = all.transactions.iter().filter_map(|one| one.unique_id.as_deref()).collect();
    assert_eq!((all.open, all.parked, ids), (2, 0, vec!["kept", "dropped"]));
    assert_eq!(listed(list(Some("others"))).await.transactions, []);
    let behind = ListTransactions { after: Some(all.transactions[0].id), max: 1, ..list(Some("orders")) };
    assert_eq!(listed(behind).await.transactions, all.transactions[1..]);

    // The same transaction by each of its names.
    let shown = info(&client, &kept.message_id).await.expect("it is known");
    assert_eq!((shown.state.as_str(), &*shown.topic, &*shown.group), ("open", "orders", "payers"));
    let by_its_producers_id = tokio::time::timeout(PATIENCE, async {
        loop {
            // The index follows the log.
            if let Ok(found) = info(&client, "kept").await {
                return found;
            }
        }
    });
    assert_eq!(by_its_producers_id.await.expect("it is indexed"), shown);
    assert_eq!(info(&client, &shown.id.to_string()).await, Ok(shown.clone()));
    assert!(info(&client, "nonesuch").await.expect_err("unknown").starts_with("22 "));

    let decide = |id: &str, decision, by: &str| DecideTransaction {
        id: ByteStr::from(id),
        decision,
        by: ByteStr::from(by),
        why: ByteStr::from("the books say so"),
    };
    let nobody = client.call(&decide("kept", COMMIT, " "), Bytes::new()).await.expect_err("who?");
    assert!(nobody.starts_with("29 "), "{nobody}");
    client.call(&decide(&kept.message_id, COMMIT, "ann"), Bytes::new()).await.expect("committed");
    client.call(&decide(&dropped.message_id, ROLLBACK, "bob"), Bytes::new()).await.expect("rolled back");
    let contrary = client.call(&decide("kept", ROLLBACK, "bob"), Bytes::new()).await;
    assert!(contrary.expect_err("it is decided").starts_with("604 "));
    let seen = |shown: TransactionInfo| {
        let by = shown.decided_by.expect("who").split(' ').next().map(str::to_owned);
        (shown.state, by.expect("a name"), shown.decided_why.expect("why"), shown.decided_at.is_some())
    };
    let why = "the books say so".to_owned();
    assert_eq!(
        seen(info(&client, "kept").await.unwrap()),
        ("committed".into(), "ann".into(), why.clone(), true)
    );
    assert_eq!(
        seen(info(&client, "dropped").await.unwrap()),
        ("rolled back".into(), "bob".into(), why, true)
    );
    let again = ResumeCheckHalfMessage { topic: None, message_id: Some(kept.message_id.clone()) };
    assert!(client.call(&again, Bytes::new()).await.expect_err("decided").starts_with("604 "));
}

#[tokio::test]
async fn what_is_parked_is_asked_about_again_when_an_operator_wants_it() {
    let site = Site::with(|config| {
        config.transactional.transaction_timeout = Duration::from_millis(1);
        config.transactional.transaction_checks_max = 0;
    });
    let client = site.client("one").await;
    let stored = half(&client, "when?").await;
    tokio::time::timeout(PATIENCE, async {
        while info(&client, &stored.message_id).await.expect("it is known").state != "parked" {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is parked");
    let mut config = broker::BrokerConfig::clone(&site.broker.config());
    config.transactional.transaction_checks_max = 9;
    site.broker.reconfigure(config).expect("it can be served");
    let producer = Asked::new(&site, "first", "payers").await;
    let again = ResumeCheckHalfMessage { topic: None, message_id: Some(stored.message_id.clone()) };
    client.call(&again, Bytes::new()).await.expect("it is done");
    producer.heard(1).await;
    let shown = info(&client, "when?").await.expect("it is known");
    assert_eq!((shown.state.as_str(), shown.checks), ("open", 1));
}

#[tokio::test]
async fn how_often_was_asked_outlives_the_process() {
    let site = Site::with(|config| {
        config.transactional.transaction_timeout = Duration::from_millis(1);
        config.transactional.transaction_check_interval = Duration::from_millis(20);
        config.transactional.transaction_checks_max = 3;
    });
    let client = site.client("one").await;
    let stored = half(&client, "when?").await;
    let producer = Asked::new(&site, "first", "payers").await;
    producer.heard(3).await;
    let known = tokio::time::timeout(PATIENCE, async {
        loop {
            // What a process leaves is what was dispatched, and that follows the log.
            let next = site.successor();
            let seen = next.transaction(&stored.message_id).await.expect("it is known");
            if let broker::ops::admin::transactions::Seen::Open(open, _) = seen
                && (open.checks, open.half.parked) == (3, true)
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    known.await.expect("three questions, and parked");
    assert_eq!(producer.heard.questions.lock().len(), 3, "a parked one is asked about no more");
}

/// A question that its connection does not take was not asked: it does not count, and goes out once there is room.
#[tokio::test]
async fn a_question_that_does_not_go_out_is_not_counted() {
    const HALVES: usize = 16;
    let hour = Duration::from_secs(3600);
    let site = Site::with(|config| {
        config.transactional.transaction_timeout = Duration::from_millis(1);
        config.transactional.transaction_check_interval = hour;
    });
    // A producer that does not read: what the sockets hold and a megabyte is all that can be asked.
    let mut deaf = TcpStream::connect(site.address()).await.expect("the broker listens");
    let data = HeartbeatData {
        client_id: "deaf".to_owned(),
        producer_data_set: vec![ProducerData { group_name: Group::stored("payers") }],
        ..HeartbeatData::default()
    };
    let data = json::to_vec(&data);
    let mut out = BytesMut::new();
    let head = Head { code: Heartbeat::CODE, opaque: 1, ..Head::default() };
    protocol::frame::encode(&head, &Heartbeat, data.len(), &mut out).expect("it fits");
    out.extend_from_slice(&data);
    deaf.write_all(&out).await.expect("it is sent");
    let mut frames = Frames { input: BytesMut::new(), decoder: Decoder::default() };
    assert_eq!(frames.next(&mut deaf).await.opaque, 1);

    let client = site.client("one").await;
    let body = "x".repeat(2 << 20);
    for number in 0..HALVES {
        let id = format!("half-{number}");
        let properties = [("TRAN_MSG", "true"), ("PGROUP", "payers"), ("UNIQ_KEY", id.as_str())];
        client.send("orders", 1, &properties, &body).await;
    }
    let all = async || -> Vec<TransactionInfo> {
        let list = ListTransactions { topic: None, group: None, parked: false, after: None, max: 100 };
        let (_, body) = client.call(&list, Bytes::new()).await.expect("a list");
        json::from_slice::<TransactionList>(&body).expect("a list").transactions
    };
    let is_tried = |one: &TransactionInfo| one.next_check.is_some_and(|next| next > one.stored_at + 500);
    let tried = tokio::time::timeout(PATIENCE, async {
        loop {
            let all = all().await;
            if all.len() == HALVES && all.iter().all(is_tried) {
                return all;
            }
            tokio::task::yield_now().await;
        }
    });
    let tried = tried.await.expect("each is asked about, or cannot be");
    let asked = tried.iter().filter(|one| one.checks > 0).count();
    assert!((1..HALVES).contains(&asked), "{asked} of {HALVES} fit the connection");
    // It reads again: the rest follows, and what was counted is what it heard.
    let mut heard = Vec::new();
    for _ in 0..HALVES {
        let question = tokio::time::timeout(PATIENCE, frames.next(&mut deaf)).await.expect("it is asked");
        let question: CheckTransactionState = question.decode().expect("a question");
        heard.push(question.message_id.expect("an id").to_string());
    }
    heard.sort_unstable();
    let mut ids: Vec<String> = (0..HALVES).map(|number| format!("half-{number}")).collect();
    ids.sort_unstable();
    assert_eq!(heard, ids, "each once");
    // A question is counted just after it went out, so it may be heard first.
    let counted = tokio::time::timeout(PATIENCE, async {
        loop {
            let counted = all().await.iter().map(|one| one.checks as usize).sum::<usize>();
            if counted >= HALVES {
                return counted;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(counted.await.expect("each is counted"), HALVES);
}

/// What comes over a bare socket, frame by frame.
struct Frames {
    input: BytesMut,
    decoder: Decoder,
}

impl Frames {
    async fn next(&mut self, socket: &mut TcpStream) -> Frame {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.input).expect("a frame") {
                return frame;
            }
            let count = socket.read_buf(&mut self.input).await.expect("it can be read");
            assert!(count > 0, "the broker closed the connection");
        }
    }
}
