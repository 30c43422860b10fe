// SPDX-License-Identifier: Apache-2.0
//! Clients that operators look at and ask through the broker.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::admin::group::{
    GetAllProducerInfo, GetConsumerConnectionList, GetProducerConnectionList, QuerySubscriptionByConsumer,
};
use protocol::admin::reset::{
    GetConsumerStatusFromClient, InvokeBrokerToGetConsumerStatus, InvokeBrokerToResetOffset,
    ResetConsumerClientOffset,
};
use protocol::body::{
    ConsumerConnection, GetConsumerStatusBody, MessageQueue, ProducerConnection, ProducerTableInfo,
};
use protocol::codes::ResponseCode;
use protocol::heartbeat::{ConsumeMessageDirectly, GetConsumerRunningInfo, Heartbeat};
use protocol::ids::OffsetId;
use protocol::json;
use protocol::names::{BrokerName, ByteStr, Group, LogOffset, QueueId, QueueOffset, TopicName};
use protocol::offset::UpdateConsumerOffset;
use protocol::record::Record;
use remoting::{Client, ClientConfig, Connection, Ctx, Refusal, Reply, Router};
use stdx::Timestamp;
use tokio::sync::Notify;

use crate::site::{PATIENCE, Peer, Site, heartbeat_data};
use crate::topics::make_topic;

/// A client that answers what brokers ask.
struct Member {
    connection: Connection,
    heard: Arc<Heard>,
    _client: Client,
}

#[derive(Default)]
struct Heard {
    moves: Mutex<Vec<String>>,
    changed: Notify,
}

impl Member {
    async fn join(site: &Site, group: &str) -> Member {
        let heard = Arc::new(Heard::default());
        let router = Router::new().on(running).on(consume).on(status).on(moved);
        let client = Client::new(ClientConfig::default(), site.clock.clone(), router, heard.clone());
        let connection = client.dial(&site.address()).await.expect("the broker listens");
        let hello = json::to_vec(&heartbeat_data("member", group, &[("t", "a")]));
        connection.call(&Heartbeat, hello, PATIENCE).await.expect("an answer").ok().expect("it is taken");
        Member { connection, heard, _client: client }
    }
}

async fn running(
    _: Arc<Heard>,
    ctx: Ctx,
    request: GetConsumerRunningInfo,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    let odd = ctx.fields.get("odd").map(|odd| odd.to_string());
    let body = format!("{} stacks={} odd={odd:?}", request.group, request.stacks);
    Ok(Reply::ok(()).with_body(body.into_bytes()))
}

/// Answers with a code, a remark and a body of its own.
async fn consume(
    _: Arc<Heard>,
    _: Ctx,
    request: ConsumeMessageDirectly,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let record = Record::parse(&body).expect("the record itself");
    let flags = (request.topic_sys_flag, request.group_sys_flag);
    let told = format!("{} from {:?} {flags:?}", String::from_utf8_lossy(record.body()), request.broker);
    Ok(Reply::ok(()).with_code(ResponseCode(4711)).with_remark("as I like").with_body(told.into_bytes()))
}

async fn status(
    _: Arc<Heard>,
    _: Ctx,
    _: GetConsumerStatusFromClient,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    let queue = MessageQueue {
        broker_name: BrokerName::stored("broker-a"),
        queue_id: QueueId(0),
        topic: TopicName::stored("t"),
    };
    let status = GetConsumerStatusBody {
        message_queue_table: [(queue, 7)].into_iter().collect(),
        ..GetConsumerStatusBody::default()
    };
    Ok(Reply::ok(()).with_body(json::to_vec_fastjson(&status)))
}

async fn moved(
    heard: Arc<Heard>,
    _: Ctx,
    _: ResetConsumerClientOffset,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    heard.moves.lock().push(String::from_utf8_lossy(&body).into_owned());
    heard.changed.notify_one();
    Ok(Reply::ok(()))
}

async fn text<R: protocol::Request>(peer: &Peer, request: &R) -> Result<String, String> {
    let (_, body) = peer.call(request, Bytes::new()).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn operators_see_who_is_connected() {
    let site = Site::new();
    let peer = site.client("op").await;
    let consumers = |group: &str| GetConsumerConnectionList { group: Group::stored(group) };
    let producers = |group: &str| GetProducerConnectionList { group: Group::stored(group) };
    assert_eq!(text(&peer, &consumers("g")).await, Err("206 the consumer group[g] not online".into()));
    assert_eq!(
        text(&peer, &producers("producers")).await,
        Err("1 the producer group[producers] not exist".into())
    );
    let member = Member::join(&site, "g").await;
    let shown = text(&peer, &consumers("g")).await.expect("it is online");
    let shown: ConsumerConnection = json::from_slice(shown.as_bytes()).expect("it reads");
    assert_eq!(shown.connection_set[0].client_id, "member");
    assert_eq!(shown.connection_set[0].client_addr, member.connection.local().to_string());
    assert_eq!(shown.subscription_table["t"].sub_string, "a");
    let shown = text(&peer, &producers("producers")).await.expect("it is online");
    let shown: ProducerConnection = json::from_slice(shown.as_bytes()).expect("it reads");
    assert_eq!(shown.connection_set.len(), 1);
    let shown = text(&peer, &GetAllProducerInfo).await.expect("a table");
    let shown: ProducerTableInfo = json::from_slice(shown.as_bytes()).expect("it reads");
    assert_eq!(shown.data["producers"][0].client_id, "member");
    let wanted =
        QuerySubscriptionByConsumer { group: Group::stored("g"), topic: Some(TopicName::stored("t")) };
    assert!(text(&peer, &wanted).await.expect("an answer").contains(r#""subString":"a""#));
    let other = QuerySubscriptionByConsumer { topic: Some(TopicName::stored("u")), ..wanted };
    assert_eq!(text(&peer, &other).await, Ok(r#"{"group":"g","topic":"u"}"#.into()));
}

#[tokio::test]
async fn a_client_answers_through_the_broker_in_its_own_words() {
    let site = Site::new();
    let peer = site.client("op").await;
    make_topic(&peer, "t", 1).await;
    let sent = peer.send("t", 0, &[], "hello").await;
    let _member = Member::join(&site, "g").await;
    let info = |client: &str| GetConsumerRunningInfo {
        group: Group::stored("g"),
        client: client.into(),
        stacks: true,
    };
    assert_eq!(text(&peer, &info("member")).await, Ok("g stacks=true odd=None".into()));
    assert_eq!(text(&peer, &info("nobody")).await, Err("1 The Consumer <g> <nobody> not online".into()));

    let consume = |id: &str| ConsumeMessageDirectly {
        group: Group::stored("g"),
        client: Some("member".into()),
        message_id: Some(id.into()),
        broker: None,
        topic: Some(TopicName::stored("t")),
        topic_sys_flag: None,
        group_sys_flag: None,
    };
    let answer =
        peer.connection.call(&consume(&sent.message_id), Bytes::new(), PATIENCE).await.expect("an answer");
    assert_eq!((answer.code().0, answer.remark().map(ByteStr::to_string)), (4711, Some("as I like".into())));
    assert_eq!(&answer.body()[..], br#"hello from Some("broker-a") (Some(0), Some(0))"#);
    let refused = text(&peer, &consume("xyz")).await;
    assert!(refused.is_err_and(|refused| refused.starts_with("29 the message id is not readable")));
    let nowhere = OffsetId { host: "127.0.0.1:1".parse().expect("an address"), offset: LogOffset(1 << 40) };
    let refused = text(&peer, &consume(&nowhere.to_string())).await;
    assert!(refused.is_err_and(|refused| refused.starts_with("1 no message has the id")));
}

#[tokio::test]
async fn members_say_where_they_stand_and_move_themselves_when_told() {
    let site = Site::with(|config| config.consumers.server_side_reset = false);
    let peer = site.client("op").await;
    make_topic(&peer, "t", 1).await;
    let ask = |client: &str| InvokeBrokerToGetConsumerStatus {
        topic: TopicName::stored("t"),
        group: Group::stored("g"),
        client: Some(client.into()),
    };
    let refused = text(&peer, &ask("")).await;
    assert_eq!(refused, Err("1 No Any Consumer online in the consumer group: [g]".into()));
    let reset = InvokeBrokerToResetOffset {
        group: Group::stored("g"),
        topic: TopicName::stored("t"),
        queue: None,
        offset: None,
        at: Timestamp(0),
        force: true,
    };
    let refused = text(&peer, &reset).await;
    assert!(refused.is_err_and(|refused| refused.starts_with("26 ")), "it has no progress to move");

    let member = Member::join(&site, "g").await;
    let status = text(&peer, &ask("")).await.expect("an answer");
    let status: GetConsumerStatusBody = json::from_slice(status.as_bytes()).expect("it reads");
    assert_eq!(status.consumer_table["member"].0[0].1, 7);
    assert!(text(&peer, &ask("nobody")).await.is_err());

    let commit = UpdateConsumerOffset {
        group: Group::stored("g"),
        topic: TopicName::stored("t"),
        queue: QueueId(0),
        commit: QueueOffset(3),
    };
    peer.call(&commit, Bytes::new()).await.expect("it is kept");
    let place = r#"{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"t"}:0}}"#;
    assert_eq!(text(&peer, &reset).await.as_deref(), Ok(place));
    tokio::time::timeout(PATIENCE, member.heard.changed.notified()).await.expect("the member is told");
    assert_eq!(*member.heard.moves.lock(), [place], "in the form that Go takes apart by hand");
    let progress = || site.broker.offsets().committed(&commit.group, &commit.topic, commit.queue);
    assert_eq!(progress(), Some(QueueOffset(3)), "nothing moves until the member does");
    for told in [1, 0] {
        let commit = UpdateConsumerOffset { commit: QueueOffset(told), ..commit.clone() };
        let answer = member.connection.call(&commit, Bytes::new(), PATIENCE).await.expect("an answer");
        answer.ok().expect("it is taken");
    }
    assert_eq!(progress(), Some(QueueOffset(0)), "where it was told to go, and nowhere else behind");
}

#[tokio::test]
async fn members_that_want_different_things_are_shown() {
    let site = Site::new();
    let (one, two, three) = (site.client("one").await, site.client("two").await, site.client("three").await);
    for (client, wanted) in [(&one, ("t", "a")), (&two, ("t", "b")), (&three, ("u", "*"))] {
        let hello = json::to_vec(&heartbeat_data(&client.name, "g", &[wanted]));
        client.call(&Heartbeat, hello).await.expect("it is taken");
    }
    let (_, body) = one
        .call(&GetConsumerConnectionList { group: Group::stored("g") }, Bytes::new())
        .await
        .expect("it is shown");
    let shown: ConsumerConnection = json::from_slice(&body).expect("it is read");
    let shown: Vec<_> = shown
        .disputes
        .iter()
        .map(|dispute| {
            let other = |other: &protocol::body::OtherSubscription| {
                format!("{} {} by {}", other.expression_type, other.expression, other.client_ids.join(" "))
            };
            let others: Vec<_> = dispute.others.iter().map(other).collect();
            format!("{} {}, but {}", dispute.topic, dispute.expression, others.join(" and "))
        })
        .collect();
    assert_eq!(shown, ["t a, but TAG b by two and NONE  by three", "u *, but NONE  by one two"]);
}
