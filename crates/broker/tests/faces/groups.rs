// SPDX-License-Identifier: Apache-2.0
//! Consumer groups over the wire: members, subscriptions, progress, locks.

use broker::config::Mixed;
use bytes::Bytes;
use protocol::body::{
    CheckClientRequestBody, ConsumeType, GetConsumerListByGroupResponseBody, HeartbeatData,
    LockBatchRequestBody, LockBatchResponseBody, MessageModel, MessageQueue, SubscriptionData,
    UnlockBatchRequestBody,
};
use protocol::heartbeat::{CheckClientConfig, GetConsumerListByGroup, UnregisterClient};
use protocol::json;
use protocol::lock::{LockBatchQueues, UnlockBatchQueues};
use protocol::names::{BrokerName, ByteStr, Group, QueueId, QueueOffset, TopicName};
use protocol::offset::{QueryConsumerOffset, UpdateConsumerOffset};
use protocol::pull::{COMMIT_OFFSET, PullMessage, SUBSCRIPTION};
use std::time::Duration;

use crate::site::{Peer, Site, heartbeat_data, pull_request, waiting};

async fn members(client: &Peer) -> Result<Vec<String>, String> {
    let request = GetConsumerListByGroup { group: Group::stored("g") };
    let (_, body) = client.call(&request, Bytes::new()).await?;
    Ok(json::from_slice::<GetConsumerListByGroupResponseBody>(&body).expect("a list").consumer_id_list)
}

#[tokio::test]
async fn members_come_and_go_and_the_others_are_told() {
    let site = Site::new();
    let (one, two) = (site.client("one").await, site.client("two").await);
    assert_eq!(members(&one).await, Err("1 no consumer for this group, g".into()));
    one.join("g", &[("orders", "*")]).await;
    assert_eq!(one.heard(1).await, ["g"]);
    two.join("g", &[("orders", "*")]).await;
    assert_eq!((one.heard(2).await.len(), two.heard(1).await.len()), (2, 1));
    assert_eq!(members(&one).await, Ok(vec!["one".into(), "two".into()]));
    two.join("g", &[("orders", "*")]).await;
    assert!(site.broker.topics().get("%RETRY%g").is_some());
    let leave = UnregisterClient {
        client: ByteStr::from("two"),
        producer_group: None,
        consumer_group: Some(Group::stored("g")),
    };
    two.call(&leave, Bytes::new()).await.expect("it is done");
    assert_eq!(one.heard(3).await.len(), 3, "the repeated heartbeat changed nothing");
    assert_eq!(members(&one).await, Ok(vec!["one".into()]));
    two.join("g", &[("orders", "*")]).await;
    one.heard(4).await;
    two.connection.close();
    one.heard(5).await;
    assert_eq!(members(&one).await, Ok(vec!["one".into()]));
}

#[tokio::test]
async fn a_group_that_broadcasts_is_not_told() {
    let site = Site::new();
    let (one, two) = (site.client("one").await, site.client("two").await);
    let broadcast = |name: &str| {
        let mut data = heartbeat_data(name, "g", &[("orders", "*")]);
        data.consumer_data_set[0].message_model = MessageModel::Broadcasting;
        data
    };
    one.heartbeat(&broadcast("one")).await;
    two.heartbeat(&broadcast("two")).await;
    one.join("clustered", &[("orders", "*")]).await;
    assert_eq!(one.heard(1).await, ["clustered"]);
    one.send("orders", 0, &[], "x").await;
    for client in [&one, &two] {
        let by_heartbeat = PullMessage { sys_flag: 0, ..pull_request("g", "orders", 0, 0) };
        let (_, _, found) = client.pull(waiting(by_heartbeat, Duration::from_secs(15))).await;
        assert_eq!(found, ["x"], "every member gets it");
    }
}

#[tokio::test]
async fn a_pull_is_filtered_by_what_the_heartbeat_said() {
    let site = Site::new();
    let (one, stranger) = (site.client("one").await, site.client("x").await);
    one.join("g", &[("orders", "a")]).await;
    for tag in ["a", "b", "a"] {
        one.send("orders", 0, &[("TAGS", tag)], tag).await;
    }
    let by_heartbeat = PullMessage { sys_flag: 0, sub_version: 1, ..pull_request("g", "orders", 0, 0) };
    let request = waiting(by_heartbeat, Duration::from_secs(15));
    let until = async |client: &Peer, count: usize| {
        for _ in 0..10_000 {
            let (_, _, found) = client.pull(request.clone()).await;
            if found.len() >= count {
                return found.join(" ");
            }
        }
        panic!("they never came");
    };
    assert_eq!(until(&one, 2).await, "a a");
    let newer = PullMessage { sub_version: 2, ..request.clone() };
    assert_eq!(one.pull(newer).await.2, ["a", "b", "a"], "unfiltered rather than refused or skipped");
    let other = PullMessage { topic: TopicName::stored("TBW102"), ..request.clone() };
    assert_eq!(one.pull(other).await.0, 24);
    assert_eq!(
        stranger.pull(request.clone()).await.0,
        0,
        "a connection without a heartbeat is served by its group"
    );
}

/// A heartbeat that asks for properties.
fn sql_heartbeat(client: &str, group: &str, expression: &str, version: i64) -> HeartbeatData {
    let mut data = heartbeat_data(client, group, &[("orders", expression)]);
    let wanted = &mut data.consumer_data_set[0].subscription_data_set[0];
    (wanted.expression_type, wanted.sub_version) = ("SQL92".into(), version);
    data
}

fn by_heartbeat(group: &str, version: i64) -> PullMessage {
    let request = PullMessage { sys_flag: 0, sub_version: version, ..pull_request(group, "orders", 0, 0) };
    PullMessage { expression_type: Some(ByteStr::from("SQL92")), subscription: None, ..request }
}

#[tokio::test]
async fn properties_are_asked_by_heartbeat_and_a_bad_expression_never_gets_everything() {
    let site = Site::new();
    let client = site.client("one").await;
    for a in ["1", "2"] {
        client.send("orders", 0, &[("a", a)], a).await;
    }
    client.heartbeat(&sql_heartbeat("one", "g", "a = 2", 5)).await;
    assert_eq!(settled(&client, &by_heartbeat("g", 5)).await, (0, "2".to_owned()));
    assert_eq!(client.pull(by_heartbeat("g", 5)).await.1.map(|reply| reply.next.0), Some(2));
    assert_eq!(client.pull(by_heartbeat("g", 6)).await.0, 25, "what it wants now is not known yet");
    client.heartbeat(&sql_heartbeat("one", "g", "a = ", 6)).await;
    assert_eq!(
        client.pull(by_heartbeat("g", 6)).await.0,
        27,
        "the heartbeat is taken, its pulls are refused"
    );
    client.heartbeat(&sql_heartbeat("one", "g", "a = 1", 7)).await;
    assert_eq!(client.pull(by_heartbeat("g", 7)).await.2, ["1"]);
    let tags = HeartbeatData { ..heartbeat_data("one", "tags", &[("orders", "*")]) };
    client.heartbeat(&tags).await;
    assert_eq!(client.pull(by_heartbeat("tags", 2)).await.0, 25, "its new filter is one that only we apply");
    let check = |expression: &str| {
        let subscription_data =
            sql_heartbeat("one", "g", expression, 1).consumer_data_set[0].subscription_data_set[0].clone();
        json::to_vec(&CheckClientRequestBody { subscription_data, ..CheckClientRequestBody::default() })
    };
    assert!(client.call(&CheckClientConfig, check("a = 1")).await.is_ok());
    for bad in ["a = ", "", "a LIKE 'x'"] {
        let refused = client.call(&CheckClientConfig, check(bad)).await.err().unwrap_or_default();
        assert!(refused.starts_with("23 "), "{bad}: {refused}");
    }
    let inline = PullMessage {
        sys_flag: SUBSCRIPTION,
        subscription: Some(ByteStr::from("a =")),
        ..by_heartbeat("g", 7)
    };
    assert_eq!(client.pull(inline).await.0, 23);
}

#[tokio::test]
async fn filters_by_properties_can_be_switched_off() {
    let site = Site::with(|config| config.reading.property_filter = false);
    let client = site.client("one").await;
    client.send("orders", 0, &[("a", "1")], "1").await;
    client.heartbeat(&sql_heartbeat("one", "g", "a = 1", 5)).await;
    assert_eq!(client.pull(by_heartbeat("g", 5)).await.0, 1);
    let subscription_data =
        sql_heartbeat("one", "g", "a = 1", 1).consumer_data_set[0].subscription_data_set[0].clone();
    let check =
        json::to_vec(&CheckClientRequestBody { subscription_data, ..CheckClientRequestBody::default() });
    assert_eq!(
        client.call(&CheckClientConfig, check).await.err().as_deref(),
        Some("1 The broker does not support consumer to filter message by SQL92")
    );
}

/// Asks until the answer is no empty one; the code and the bodies.
/// Pulls until there is an answer that stands: what was sent last may not be visible yet when a message before it is
/// passed over.
async fn settled(client: &Peer, request: &PullMessage) -> (i32, String) {
    loop {
        let (code, _, found) = client.pull(waiting(request.clone(), Duration::from_secs(15))).await;
        if code != 20 {
            return (code, found.join(" "));
        }
    }
}

#[tokio::test]
async fn members_that_want_different_things_are_refused_and_nothing_is_passed_over() {
    let site = Site::new();
    let (one, two, three) = (site.client("one").await, site.client("two").await, site.client("three").await);
    for tag in ["a", "b"] {
        one.send("orders", 0, &[("TAGS", tag)], tag).await;
    }
    let request = PullMessage { sys_flag: 0, sub_version: 1, ..pull_request("g", "orders", 0, 0) };
    one.join("g", &[("orders", "a || c")]).await;
    three.join("g", &[("orders", " c||a")]).await;
    assert_eq!(settled(&one, &request).await, (0, "a".into()));
    assert_eq!(settled(&three, &request).await, (0, "a".into()), "the same in other words");
    two.join("g", &[("orders", "b")]).await;
    assert_eq!(settled(&two, &request).await.0, 24, "its group wants something else");
    let inline =
        PullMessage { sys_flag: SUBSCRIPTION, subscription: Some(ByteStr::from("b")), ..request.clone() };
    assert_eq!(settled(&two, &inline).await.0, 24, "nor when it says so itself");
    assert_eq!(settled(&one, &request).await, (0, "a".into()), "who was there first goes on");
    one.connection.close();
    three.join("g", &[("orders", "b")]).await;
    for _ in 0..1000 {
        if settled(&two, &request).await.0 == 0 {
            break;
        }
    }
    assert_eq!(settled(&two, &request).await, (0, "b".into()), "all want the same now");
    assert_eq!(settled(&three, &request).await, (0, "b".into()));
}

#[tokio::test]
async fn members_may_all_get_what_any_of_them_wants() {
    let site = Site::with(|config| config.consumers.mixed_subscriptions = Mixed::Union);
    let (one, two) = (site.client("one").await, site.client("two").await);
    for a in ["1", "2", "3"] {
        one.send("orders", 0, &[("a", a)], a).await;
    }
    one.heartbeat(&sql_heartbeat("one", "g", "a = 1", 1)).await;
    assert_eq!(settled(&one, &by_heartbeat("g", 1)).await, (0, "1".into()));
    two.heartbeat(&sql_heartbeat("two", "g", "a = 3", 1)).await;
    for client in [&one, &two] {
        assert_eq!(settled(client, &by_heartbeat("g", 1)).await, (0, "1 3".into()));
    }
    let tags = PullMessage { sys_flag: 0, sub_version: 1, ..pull_request("tags", "orders", 0, 0) };
    one.join("tags", &[("orders", "x")]).await;
    two.join("tags", &[("orders", "y")]).await;
    assert_eq!(settled(&two, &tags).await.0, 24, "what a client filters once more would be lost");
}

#[tokio::test]
async fn who_broadcasts_or_chooses_its_queues_is_in_nobodys_way() {
    let site = Site::new();
    let (one, two) = (site.client("one").await, site.client("two").await);
    for tag in ["a", "b"] {
        one.send("orders", 0, &[("TAGS", tag)], tag).await;
    }
    for (group, model, how) in [
        ("all", MessageModel::Broadcasting, ConsumeType::Passively),
        ("own", MessageModel::Clustering, ConsumeType::Actively),
    ] {
        for (client, tag) in [(&one, "a"), (&two, "b")] {
            let mut data = heartbeat_data(&client.name, group, &[("orders", tag)]);
            (data.consumer_data_set[0].message_model, data.consumer_data_set[0].consume_type) = (model, how);
            client.heartbeat(&data).await;
        }
        for (client, tag) in [(&one, "a"), (&two, "b")] {
            let request = PullMessage { sys_flag: 0, sub_version: 1, ..pull_request(group, "orders", 0, 0) };
            assert_eq!(settled(client, &request).await, (0, tag.into()), "{group}");
        }
    }
}

#[tokio::test]
async fn a_member_that_chooses_its_queues_stands_beside_one_that_shares_them() {
    let site = Site::new();
    let (push, pull) = (site.client("push").await, site.client("pull").await);
    for tag in ["a", "b"] {
        push.send("orders", 0, &[("TAGS", tag)], tag).await;
    }
    let beat = async |client: &Peer, tag: &str, how: ConsumeType| {
        let mut data = heartbeat_data(&client.name, "g", &[("orders", tag)]);
        data.consumer_data_set[0].consume_type = how;
        client.heartbeat(&data).await;
    };
    let request = PullMessage { sys_flag: 0, sub_version: 1, ..pull_request("g", "orders", 0, 0) };
    // whoever speaks last
    for push_is_last in [false, true, false, true] {
        if push_is_last {
            beat(&push, "a", ConsumeType::Passively).await;
            assert_eq!(settled(&push, &request).await, (0, "a".into()));
        } else {
            beat(&pull, "b", ConsumeType::Actively).await;
        }
        assert_eq!(settled(&pull, &request).await, (0, "b".into()));
    }
    // one that begins to share comes behind those who do already
    beat(&pull, "b", ConsumeType::Passively).await;
    assert_eq!(settled(&push, &request).await, (0, "a".into()));
    assert_eq!(settled(&pull, &request).await.0, 24);
}

#[tokio::test]
async fn a_heartbeat_may_leave_out_what_the_broker_knows() {
    let site = Site::new();
    let client = site.client("one").await;
    let full = HeartbeatData { heartbeat_fingerprint: 5, ..heartbeat_data("one", "g", &[("orders", "a")]) };
    let slim =
        HeartbeatData { without_sub: true, heartbeat_fingerprint: 5, ..heartbeat_data("one", "g", &[]) };
    let reply = client.heartbeat(&slim).await;
    assert_eq!(
        (reply.without_subscriptions, reply.changed),
        (Some(true), Some(true)),
        "it knows nothing yet"
    );
    assert_eq!(client.heartbeat(&full).await.changed, Some(false));
    assert_eq!(client.heartbeat(&slim).await.changed, Some(false));
    let other = HeartbeatData { heartbeat_fingerprint: 6, ..slim };
    assert_eq!(client.heartbeat(&other).await.changed, Some(true));
    let kept = site.broker.clients().subscriptions(&Group::stored("g"));
    assert_eq!(kept.iter().map(|wanted| wanted.sub_string.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(
        client.join("g", &[("orders", "a")]).await.changed,
        Some(true),
        "the older kind sends everything"
    );
}

#[tokio::test]
async fn filters_are_judged_before_they_are_used() {
    let site = Site::new();
    let client = site.client("one").await;
    let check = async |kind: &str, expression: &str| {
        let subscription_data = SubscriptionData {
            expression_type: kind.to_owned(),
            sub_string: expression.to_owned(),
            ..SubscriptionData::default()
        };
        let body = CheckClientRequestBody { subscription_data, ..CheckClientRequestBody::default() };
        client.call(&CheckClientConfig, json::to_vec(&body)).await.map(drop)
    };
    assert_eq!(check("TAG", "a || b").await, Ok(()));
    assert!(check("TAG", "||").await.expect_err("it has no tag").starts_with("23 "));
    assert_eq!(check("SQL92", "a > 1").await, Ok(()));
    assert!(check("LUA", "a > 1").await.expect_err("nobody compiles it").starts_with("23 "));
}

#[tokio::test]
async fn progress_is_kept_by_commits_and_by_pulls() {
    let site = Site::new();
    let client = site.client("one").await;
    client.join("g", &[("orders", "*")]).await;
    client.send("orders", 0, &[], "x").await;
    let (group, topic, queue) = (Group::stored("g"), TopicName::stored("orders"), QueueId(0));
    let query = async |zero_if_not_found| {
        let request =
            QueryConsumerOffset { group: group.clone(), topic: topic.clone(), queue, zero_if_not_found };
        client.call(&request, Bytes::new()).await.map(|(reply, _)| reply.offset.0)
    };
    assert_eq!(query(None).await, Ok(0));
    assert!(query(Some(false)).await.expect_err("there is none").starts_with("22 "));
    let commit =
        UpdateConsumerOffset { group: group.clone(), topic: topic.clone(), queue, commit: QueueOffset(1) };
    client.connection.notify(&commit, ()).expect("it is sent");
    assert_eq!(query(None).await, Ok(1), "a connection's requests are done in order");
    let pull = pull_request("g", "orders", 0, 0);
    let pull = PullMessage { sys_flag: pull.sys_flag | COMMIT_OFFSET, commit: Some(QueueOffset(7)), ..pull };
    client.pull(pull).await;
    assert_eq!(query(None).await, Ok(7));
    client.call(&commit, Bytes::new()).await.expect("it is taken");
    assert_eq!(query(None).await, Ok(7), "a member's late commit does not move progress back");
    site.client("operator").await.call(&commit, Bytes::new()).await.expect("it is taken");
    assert_eq!(query(None).await, Ok(1));
}

#[tokio::test]
async fn one_member_at_a_time_has_a_queue_in_order() {
    let site = Site::new();
    let client = site.client("one").await;
    let queues = |ids: &[u32]| {
        let queue = |id: &u32| MessageQueue {
            broker_name: BrokerName::stored("broker-a"),
            queue_id: QueueId(*id),
            topic: TopicName::stored("orders"),
        };
        ids.iter().map(queue).collect::<std::collections::BTreeSet<_>>()
    };
    let lock = async |who: &str, ids: &[u32]| {
        let body = LockBatchRequestBody {
            client_id: who.to_owned(),
            consumer_group: Group::stored("g"),
            mq_set: queues(ids),
            only_this_broker: false,
        };
        let (_, body) = client.call(&LockBatchQueues, json::to_vec(&body)).await.expect("it is answered");
        let granted: LockBatchResponseBody = json::from_slice(&body).expect("a list");
        granted.lock_ok_mq_set.into_iter().map(|queue| queue.queue_id.0).collect::<Vec<_>>()
    };
    assert_eq!(lock("one", &[0, 1]).await, [0, 1]);
    assert_eq!(lock("two", &[1, 2]).await, [2]);
    assert_eq!(lock("one", &[1]).await, [1]);
    let unlock = UnlockBatchRequestBody {
        client_id: "one".to_owned(),
        consumer_group: Group::stored("g"),
        mq_set: queues(&[0, 1, 2]),
        only_this_broker: false,
    };
    client.call(&UnlockBatchQueues, json::to_vec(&unlock)).await.expect("it is done");
    assert_eq!(lock("two", &[0, 1, 2]).await, [0, 1, 2]);
    let nonsense = client.call(&LockBatchQueues, b"{".to_vec()).await.expect_err("it is no body");
    assert!(nonsense.starts_with("29 the body is not readable"), "{nonsense}");
}
