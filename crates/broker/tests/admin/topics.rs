// SPDX-License-Identifier: Apache-2.0
//! Topics as operators set, list and delete them.

use bytes::Bytes;
use expect_test::expect;
use protocol::admin::progress::GetConsumeStats;
use protocol::admin::topic::{
    DeleteTopicInBroker, GetAllTopicConfig, GetSystemTopicListFromBroker, GetTopicConfig, GetTopicStatsInfo,
    QueryTopicConsumeByWho, QueryTopicsByConsumer, UpdateAndCreateTopic, UpdateAndCreateTopicList,
};
use protocol::body::{
    ConsumeStats, CreateTopicListRequestBody, TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicList,
};
use protocol::json;
use protocol::names::{ByteStr, Group, QueueId, QueueOffset, TopicName};
use protocol::offset::UpdateConsumerOffset;
use protocol::query::QueryConsumeQueue;

use crate::site::{Peer, Site};

pub(crate) fn topic_request(name: &str, queues: i32, attributes: &str) -> UpdateAndCreateTopic {
    UpdateAndCreateTopic {
        topic: TopicName::stored(name),
        default_topic: Some(TopicName::stored("TBW102")),
        read_queues: queues,
        write_queues: queues,
        permission: 6,
        filter_type: ByteStr::from("SINGLE_TAG"),
        sys_flag: Some(0),
        order: false,
        attributes: Some(ByteStr::from(attributes)),
        force: None,
    }
}

pub(crate) async fn make_topic(peer: &Peer, name: &str, queues: i32) {
    peer.call(&topic_request(name, queues, ""), Bytes::new()).await.expect("the topic is made");
}

async fn set(peer: &Peer, request: &UpdateAndCreateTopic) -> Result<(), String> {
    peer.call(request, Bytes::new()).await.map(drop)
}

async fn config(peer: &Peer, name: &str) -> Result<String, String> {
    let request = GetTopicConfig { topic: TopicName::stored(name) };
    let (_, body) = peer.call(&request, Bytes::new()).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn a_topic_is_made_changed_and_deleted() {
    let site = Site::new();
    let peer = site.client("op").await;
    set(&peer, &topic_request("t", 4, "+message.type=FIFO")).await.expect("it is made");
    expect![[r#"{"attributes":{"message.type":"FIFO"},"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG","topicName":"t","topicSysFlag":0,"writeQueueNums":4}"#]]
        .assert_eq(&config(&peer, "t").await.expect("it is there"));
    let version = site.broker.topics().version();
    set(&peer, &topic_request("t", 4, "")).await.expect("nothing changes");
    assert_eq!(site.broker.topics().version(), version, "what is set already is no change");
    set(&peer, &topic_request("t", 6, "-message.type")).await.expect("it is changed");
    assert!(site.broker.topics().version() > version);
    assert!(config(&peer, "t").await.expect("it is there").starts_with(r#"{"attributes":{},"#));

    let refused =
        async |request: UpdateAndCreateTopic| set(&peer, &request).await.expect_err("it is refused");
    let shown = [
        refused(topic_request("bad.name", 4, "")).await,
        refused(topic_request("TBW102", 4, "")).await,
        refused(topic_request("DefaultCluster", 4, "")).await,
        refused(topic_request("u", -1, "")).await,
        refused(topic_request("u", 4, "+message.type=MIXED")).await,
        refused(topic_request("u", 4, "+nope=1")).await,
        refused(UpdateAndCreateTopic { permission: 64, ..topic_request("u", 4, "") }).await,
    ];
    expect![[r#"
        29 the topic name contains '.' at byte 3; allowed are letters, digits, '%', '|', '-' and '_'
        29 The topic[TBW102] is conflict with system topic.
        29 The topic[DefaultCluster] is conflict with system topic.
        29 a topic has 0 to 65536 queues, not -1
        29 MIXED message type is not supported.
        1 unsupported key: nope
        29 the permission 64 has bits that mean nothing"#]]
    .assert_eq(&shown.join("\n"));

    let mixed = Site::with(|config| config.creation.mixed_topics = true);
    let peer_of_mixed = mixed.client("op").await;
    set(&peer_of_mixed, &topic_request("u", 4, "+message.type=MIXED")).await.expect("it is wanted there");

    peer.send("t", 0, &[], "x").await;
    let commit = UpdateConsumerOffset {
        group: Group::stored("TOOLS_CONSUMER"),
        topic: TopicName::stored("t"),
        queue: QueueId(0),
        commit: QueueOffset(1),
    };
    peer.call(&commit, Bytes::new()).await.expect("it is kept");
    let delete = |name: &str| DeleteTopicInBroker { topic: TopicName::stored(name) };
    peer.call(&delete("t"), Bytes::new()).await.expect("it is deleted");
    assert_eq!(config(&peer, "t").await, Err("17 topic[t] not exist, apply first please!".into()));
    assert!(site.broker.offsets().topics_of(&Group::stored("TOOLS_CONSUMER")).is_empty());
    peer.call(&delete("t"), Bytes::new()).await.expect("deleting again is no error");
    for name in [" ", "SCHEDULE_TOPIC_XXXX", "broker-a"] {
        let refused = peer.call(&delete(name), Bytes::new()).await.map(drop);
        assert!(refused.is_err_and(|refused| refused.starts_with("29 ")), "{name:?}");
    }
}

#[tokio::test]
async fn several_topics_are_set_or_none() {
    let site = Site::new();
    let peer = site.client("op").await;
    let list = |names: &[&str]| {
        let config = |name: &&str| TopicConfig::new(TopicName::stored(*name), 2, 6);
        json::to_vec(&CreateTopicListRequestBody { topic_config_list: names.iter().map(config).collect() })
    };
    let refused = peer.call(&UpdateAndCreateTopicList, list(&["a", "bad.name", "c"])).await.map(drop);
    assert!(refused.is_err_and(|refused| refused.starts_with("29 ")));
    assert!(config(&peer, "a").await.is_err(), "none is set when one cannot be");
    make_topic(&peer, "a", 2).await;
    peer.call(&UpdateAndCreateTopicList, list(&["a", "b", "c"])).await.expect("all are set");
    for name in ["a", "b", "c"] {
        assert!(config(&peer, name).await.is_ok(), "{name}: one that is as it was does not stop the others");
    }
    let refused = peer.call(&UpdateAndCreateTopicList, &b"no json"[..]).await.map(drop);
    assert!(refused.is_err_and(|refused| refused.starts_with("29 the body is not readable")));
}

#[tokio::test]
async fn the_table_comes_whole_or_page_by_page() {
    let site = Site::new();
    let peer = site.client("op").await;
    make_topic(&peer, "zz-last", 1).await;
    let get = async |from: Option<i32>, max: Option<i32>, version: Option<ByteStr>| {
        let request = GetAllTopicConfig { from, max, data_version: version };
        let (header, body) = peer.call(&request, Bytes::new()).await.expect("the table");
        let table: TopicConfigAndMappingSerializeWrapper = json::from_slice(&body).expect("it reads");
        let names: Vec<String> = table.topic_config_table.keys().map(|name| name.to_string()).collect();
        (header.total.expect("a total") as usize, names, table.data_version)
    };
    let (total, all, version) = get(None, None, None).await;
    assert_eq!((total, all.last().map(String::as_str)), (all.len(), Some("zz-last")));
    let text = Some(ByteStr::from(String::from_utf8(json::to_vec(&version)).expect("text")));
    let (_, page, _) = get(Some(total as i32 - 2), Some(5), text.clone()).await;
    assert_eq!(page, all[total - 2..]);
    make_topic(&peer, "aa-first", 1).await;
    let (_, page, newer) = get(Some(total as i32 - 2), Some(3), text).await;
    assert!(
        newer > version && page.len() == 3 && page.contains(&"BenchmarkTest".to_owned()),
        "it starts over"
    );
}

#[tokio::test]
async fn a_topic_tells_what_it_holds_and_who_reads_it() {
    let site = Site::new();
    let peer = site.client("op").await;
    make_topic(&peer, "t", 2).await;
    for body in ["a", "b", "c"] {
        peer.send("t", 1, &[("TAGS", body)], body).await;
    }
    wait_until_visible(&site, "t", 1, 3);
    peer.join("g", &[("t", "b")]).await;
    let stats = GetTopicStatsInfo { topic: TopicName::stored("t") };
    let (_, body) = peer.call(&stats, Bytes::new()).await.expect("figures");
    let text = String::from_utf8_lossy(&body);
    assert!(
        text.starts_with(r#"{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"t"}:{"#),
        "{text}"
    );
    assert!(
        text.contains(r#""maxOffset":3,"minOffset":0"#) && text.contains(r#""maxOffset":0,"minOffset":0"#)
    );
    let gone = GetTopicStatsInfo { topic: TopicName::stored("none") };
    assert!(peer.call(&gone, Bytes::new()).await.is_err_and(|refused| refused.starts_with("17 ")));

    let who = QueryTopicConsumeByWho { topic: TopicName::stored("t") };
    assert_eq!(&peer.call(&who, Bytes::new()).await.expect("groups").1[..], br#"{"groupList":["g"]}"#);
    let of_group = QueryTopicsByConsumer { group: Group::stored("g") };
    let (_, body) = peer.call(&of_group, Bytes::new()).await.expect("topics");
    let list: TopicList = json::from_slice(&body).expect("a list");
    assert_eq!(list.topic_list, [TopicName::stored("t")].into());

    let entries = QueryConsumeQueue {
        topic: TopicName::stored("t"),
        queue: QueueId(1),
        index: -2,
        count: 10,
        group: Some(Group::stored("g")),
    };
    let (_, body) = peer.call(&entries, Bytes::new()).await.expect("entries");
    let text = String::from_utf8_lossy(&body);
    assert_eq!(
        (text.matches("physicOffset").count(), text.matches(r#""eval":true"#).count()),
        (2, 1),
        "{text}"
    );
    let missing = QueryConsumeQueue { queue: QueueId(0), ..entries };
    assert_eq!(peer.call(&missing, Bytes::new()).await.map(drop), Err("1 0@t is not exist!".into()));

    let system = peer.call(&GetSystemTopicListFromBroker, Bytes::new()).await.expect("names").1;
    let system: TopicList = json::from_slice(&system).expect("a list");
    assert!(system.topic_list.contains("TBW102") && !system.topic_list.contains("t"));
    let stats = GetConsumeStats { group: Group::stored("g"), topic: None, topics: None };
    let (_, body) = peer.call(&stats, Bytes::new()).await.expect("figures");
    let stats: ConsumeStats = json::from_slice(&body).expect("they read");
    let read: Vec<i64> = stats.offset_table.0.iter().map(|(_, queue)| queue.consumer_offset).collect();
    assert_eq!(read, [0, 3], "it starts where the queues ended when it came");
}

/// Messages become visible a moment after they are stored.
pub(crate) fn wait_until_visible(site: &Site, topic: &str, queue: u32, end: u64) {
    let dispatched = &site.broker.store().watermarks().dispatched;
    while site.broker.queue_end(&TopicName::stored(topic), QueueId(queue), true).0 < end {
        dispatched.wait_past(dispatched.get(), std::time::Duration::from_millis(100));
    }
}
