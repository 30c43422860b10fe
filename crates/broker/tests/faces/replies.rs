// SPDX-License-Identifier: Apache-2.0
//! Replies to requests: who gets them, what the replier is told, what is stored.

use std::sync::Arc;

use broker::ops::send::SendInput;
use broker::topics::Template;
use bytes::Bytes;
use parking_lot::Mutex;
use protocol::body::{HeartbeatData, ProducerData};
use protocol::codes::ResponseCode;
use protocol::heartbeat::Heartbeat;
use protocol::json;
use protocol::names::{ByteStr, Group, QueueId, TopicName};
use protocol::send::{PushReplyMessage, SendReply, SendReplyMessage, SendReplyMessageV2};
use remoting::{Client, ClientConfig, Connection, Ctx, Refusal, Reply, Router};
use stdx::Timestamp;

use crate::site::{PATIENCE, Peer, Site, pull_request, send_header};

const TOPIC: &str = "DefaultCluster_REPLY_TOPIC";

/// A client that waits for replies.
struct Asking {
    pushed: Arc<Pushed>,
    connection: Connection,
    _client: Client,
}

#[derive(Default)]
struct Pushed {
    all: Mutex<Vec<(PushReplyMessage, Bytes)>>,
    refuses: bool,
}

async fn take(
    pushed: Arc<Pushed>,
    _ctx: Ctx,
    push: PushReplyMessage,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    pushed.all.lock().push((push, body));
    match pushed.refuses {
        true => Err(Refusal::new(ResponseCode::SYSTEM_ERROR, "process reply message fail")),
        false => Ok(Reply::ok(())),
    }
}

impl Asking {
    async fn new(site: &Site, name: &str, refuses: bool) -> Asking {
        let pushed = Arc::new(Pushed { refuses, ..Pushed::default() });
        let router = Router::new().on(take);
        let client = Client::new(ClientConfig::default(), site.clock.clone(), router, pushed.clone());
        let connection = client.dial(&site.address()).await.expect("the broker listens");
        let data = HeartbeatData {
            client_id: name.to_owned(),
            producer_data_set: vec![ProducerData { group_name: Group::stored("askers") }],
            ..HeartbeatData::default()
        };
        connection.call(&Heartbeat, json::to_vec(&data), PATIENCE).await.expect("it is taken");
        Asking { pushed, connection, _client: client }
    }
}

async fn reply(peer: &Peer, client: Option<&str>, body: &str) -> Result<SendReply, String> {
    let mut properties = vec![("MSG_TYPE", "reply"), ("CORRELATION_ID", "c-1"), ("UNIQ_KEY", "U1")];
    properties.extend(client.map(|client| ("REPLY_TO_CLIENT", client)));
    let request = SendReplyMessageV2(send_header(TOPIC, 0, &properties));
    peer.call(&request, body.as_bytes().to_vec()).await.map(|(sent, _)| sent)
}

/// What the log has of replies, once there are so many.
async fn stored(peer: &Peer, count: usize) -> Vec<String> {
    let all = async {
        loop {
            let (_, _, found) = peer.pull(pull_request("watch", TOPIC, 0, 0)).await;
            if found.len() >= count {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("so many are stored")
}

#[tokio::test]
async fn who_asked_gets_the_reply_and_it_is_stored() {
    let site = Site::new();
    let asking = Asking::new(&site, "10.0.0.7@asking", false).await;
    let peer = site.client("replier").await;
    let sent = reply(&peer, Some("10.0.0.7@asking"), "because").await.expect("it was taken");
    assert_eq!((sent.queue.0, sent.queue_offset.0, sent.message_id.len()), (0, 0, 32));
    let (push, body) = asking.pushed.all.lock()[0].clone();
    assert_eq!((&body[..], push.topic.as_str()), (&b"because"[..], TOPIC));
    assert_eq!(push.properties.get("CORRELATION_ID"), Some("c-1"));
    assert!(push.properties.get("PUSH_REPLY_TIME").is_some_and(|time| time.parse::<i64>().is_ok()));
    assert_eq!(push.born_host.as_str(), peer.connection.local().to_string());
    assert_eq!(push.store_host.as_str(), site.address());
    assert_eq!((push.group.as_str(), push.born_at.0), ("producers", 1_700_000_000_000));
    assert_eq!(stored(&peer, 1).await, ["because"]);

    let long = SendReplyMessage(send_header(TOPIC, 0, &[("REPLY_TO_CLIENT", "10.0.0.7@asking")]));
    peer.call(&long, &b"again"[..]).await.expect("it was taken");
    assert_eq!(asking.pushed.all.lock().len(), 2);
}

#[tokio::test]
async fn a_reply_that_nobody_takes_is_refused_and_stored() {
    let site = Site::new();
    let peer = site.client("replier").await;
    let gone = asking_and_gone(&site).await;
    let stubborn = Asking::new(&site, "stubborn", true).await;
    let refusals = [
        reply(&peer, None, "to nobody").await,
        reply(&peer, Some("unknown"), "to a stranger").await,
        reply(&peer, Some(&gone), "to one who left").await,
        reply(&peer, Some("stubborn"), "to one who does not want it").await,
    ];
    let refusals = refusals.map(|refused| refused.expect_err("nobody took it"));
    expect_test::expect![[r#"
        1 reply message properties[REPLY_TO_CLIENT] is null
        1 push reply message fail, channel of <unknown> not found.
        1 push reply message fail, channel of <left> not found.
        1 push reply message to stubbornfail."#]]
    .assert_eq(&refusals.join("\n"));
    assert_eq!(stubborn.pushed.all.lock().len(), 1);
    let all = ["to nobody", "to a stranger", "to one who left", "to one who does not want it"];
    assert_eq!(stored(&peer, all.len()).await, all);
}

/// A client that asked and went away before its reply came.
async fn asking_and_gone(site: &Site) -> String {
    Asking::new(site, "left", false).await.connection.close();
    let is_known = || site.broker.clients().producers().iter().any(|(group, _)| **group == *"askers");
    let left = async {
        while is_known() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, left).await.expect("it is forgotten");
    "left".to_owned()
}

#[tokio::test]
async fn what_a_send_would_be_refused_for_is_passed_on_to_nobody() {
    let site = Site::with(|config| config.sending.max_message = stdx::ByteSize(8));
    let asking = Asking::new(&site, "asking", false).await;
    let peer = site.client("replier").await;
    let refused = reply(&peer, Some("asking"), "much too long").await.expect_err("it is too long");
    assert!(refused.starts_with("13 "), "{refused}");
    let nowhere = SendReplyMessageV2(send_header("no.such", 0, &[("REPLY_TO_CLIENT", "asking")]));
    let refused = peer.call(&nowhere, &b"x"[..]).await.map(drop).expect_err("no such topic");
    assert!(refused.starts_with("29 "), "{refused}");
    assert!(asking.pushed.all.lock().is_empty());
}

/// A plain message that somebody puts into the reply topic.
fn kept() -> SendInput {
    SendInput {
        topic: TopicName::stored(TOPIC),
        queue: Some(QueueId(0)),
        template: Template::default(),
        flag: 0,
        sys_flag: 0,
        born_at: Timestamp(1),
        born_host: ([127, 0, 0, 1], 1).into(),
        store_host: ([127, 0, 0, 1], 2).into(),
        reconsumed: 0,
        reconsume_max: None,
        properties: ByteStr::default(),
        body: Bytes::from_static(b"kept"),
        batch: false,
    }
}

#[tokio::test]
async fn replies_need_not_be_stored() {
    let site = Site::with(|config| config.sending.store_replies = false);
    let asking = Asking::new(&site, "asking", false).await;
    let peer = site.client("replier").await;
    let sent = reply(&peer, Some("asking"), "x").await.expect("it was taken");
    assert_eq!((sent.message_id.as_str(), sent.queue_offset.0), ("0", 0));
    assert_eq!(asking.pushed.all.lock().len(), 1);
    site.broker.send(kept(), site.clock.now()).await.expect("it is stored");
    assert_eq!(stored(&peer, 1).await, ["kept"], "and nothing before it");
}
