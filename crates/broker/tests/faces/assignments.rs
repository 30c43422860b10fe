// SPDX-License-Identifier: Apache-2.0
//! Members that leave it to their broker which queues they consume.

use bytes::Bytes;
use protocol::admin::topic::DeleteTopicInBroker;
use protocol::assignment::{GetAllMessageRequestMode, QueryAssignment, SetMessageRequestMode};
use protocol::body::{
    MessageModel, MessageRequestMode, MessageRequestModeSerializeWrapper, QueryAssignmentRequestBody,
    QueryAssignmentResponseBody, SetMessageRequestModeRequestBody,
};
use protocol::json;
use protocol::names::{Group, TopicName};

use crate::site::{Peer, Site};

fn question(client: &str, strategy: &str) -> QueryAssignmentRequestBody {
    QueryAssignmentRequestBody {
        client_id: client.to_owned(),
        consumer_group: Group::stored("g"),
        message_model: MessageModel::Clustering,
        strategy_name: strategy.to_owned(),
        topic: TopicName::stored("orders"),
    }
}

async fn assigned(client: &Peer, question: &QueryAssignmentRequestBody) -> Option<Vec<u32>> {
    let (_, body) = client.call(&QueryAssignment, json::to_vec(question)).await.expect("an answer");
    let answer: QueryAssignmentResponseBody = json::from_slice(&body).expect("it reads");
    let queues = answer.message_queue_assignments?;
    Some(
        queues
            .iter()
            .map(|one| {
                assert_eq!((one.mode, &*one.message_queue.topic), (MessageRequestMode::Pull, "orders"));
                assert_eq!(&*one.message_queue.broker_name, "broker-a");
                one.message_queue.queue_id.0
            })
            .collect(),
    )
}

#[tokio::test]
async fn members_share_the_queues() {
    let site = Site::new();
    let (one, two) = (site.client("one").await, site.client("two").await);
    one.send("orders", 0, &[], "makes the topic, of 4 queues").await;
    assert_eq!(assigned(&one, &question("one", "AVG")).await, None, "a group without members");
    one.join("g", &[("orders", "*")]).await;
    assert_eq!(assigned(&one, &question("one", "AVG")).await, Some((0..4).collect()));
    two.join("g", &[("orders", "*")]).await;
    assert_eq!(assigned(&one, &question("one", "AVG")).await, Some(vec![0, 1]));
    assert_eq!(assigned(&two, &question("two", "AVG")).await, Some(vec![2, 3]));
    assert_eq!(assigned(&two, &question("two", "AVG_BY_CIRCLE")).await, Some(vec![1, 3]));
    assert_eq!(assigned(&two, &question("stranger", "AVG")).await, Some(vec![]), "it has to give up all");
    assert_eq!(assigned(&two, &question("two", "MACHINE_ROOM")).await, None, "it keeps what it has");
    let all = QueryAssignmentRequestBody {
        message_model: MessageModel::Broadcasting,
        ..question("two", "MACHINE_ROOM")
    };
    assert_eq!(assigned(&two, &all).await, Some((0..4).collect()));
    let nowhere =
        QueryAssignmentRequestBody { topic: TopicName::stored("nowhere"), ..question("two", "AVG") };
    assert_eq!(assigned(&two, &nowhere).await, None);
    let unreadable = two.call(&QueryAssignment, &b"{"[..]).await.expect_err("no question");
    assert!(unreadable.contains("not readable"), "{unreadable}");
}

async fn set(client: &Peer, topic: &str, group: &str, mode: MessageRequestMode) -> Result<(), String> {
    let body = SetMessageRequestModeRequestBody {
        consumer_group: Group::stored(group),
        mode,
        pop_share_queue_num: 3,
        topic: TopicName::stored(topic),
    };
    client.call(&SetMessageRequestMode, json::to_vec(&body)).await.map(drop)
}

async fn all(client: &Peer) -> String {
    let (_, body) = client.call(&GetAllMessageRequestMode, Bytes::new()).await.expect("an answer");
    json::from_slice::<MessageRequestModeSerializeWrapper>(&body).expect("it reads");
    String::from_utf8(body.to_vec()).expect("text")
}

#[tokio::test]
async fn how_a_group_consumes_is_kept_and_pop_is_refused() {
    use MessageRequestMode::{Pop, Pull};
    let site = Site::new();
    let one = site.client("one").await;
    one.send("orders", 0, &[], "makes the topic").await;
    assert_eq!(
        set(&one, "%RETRY%g", "g", Pull).await,
        Err("16 retry topic is not allowed to set mode".into())
    );
    let missing = set(&one, "nowhere", "g", Pull).await.expect_err("no topic");
    assert!(missing.starts_with("17 "), "{missing}");
    one.join("g", &[("orders", "*")]).await;
    let pop = "3 this broker does not serve POP consumption: group g goes on pulling topic orders";
    assert_eq!(set(&one, "orders", "g", Pop).await, Err(pop.into()));
    assert_eq!(all(&one).await, r#"{"messageRequestModeMap":{}}"#);
    assert_eq!(set(&one, "orders", "g", Pull).await, Ok(()));
    let kept = r#"{"messageRequestModeMap":{"orders":{"g":{"consumerGroup":"g","mode":"PULL","popShareQueueNum":3,"topic":"orders"}}}}"#;
    assert_eq!(all(&one).await, kept);
    let next = site.successor();
    assert_eq!(format!("{:?}", next.modes()), format!("{:?}", site.broker.modes()), "it is in the log");
    next.delete_group(&Group::stored("g"), true, site.clock.now()).expect("it goes");
    assert!(site.successor().modes().is_empty());
    one.send("bills", 0, &[], "makes the topic").await;
    assert_eq!(set(&one, "bills", "g", Pull).await, Ok(()));
    one.call(&DeleteTopicInBroker { topic: TopicName::stored("bills") }, Bytes::new())
        .await
        .expect("it goes");
    assert!(!all(&one).await.contains("bills"));
    assert!(!format!("{:?}", site.successor().modes()).contains("bills"));
}
