// SPDX-License-Identifier: Apache-2.0
//! Groups as operators set, forbid and delete them.

use std::time::Instant;

use bytes::Bytes;
use protocol::admin::group::{
    DeleteSubscriptionGroup, GetAllSubscriptionGroupConfig, GetSubscriptionGroupConfig,
    UpdateAndCreateSubscriptionGroup, UpdateAndCreateSubscriptionGroupList, UpdateAndGetGroupForbidden,
};
use protocol::body::{SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper};
use protocol::json;
use protocol::names::{Group, TopicName};

use crate::site::{PATIENCE, Peer, Site, pull_request, waiting};
use crate::topics::make_topic;

pub(crate) fn group_config(name: &str) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig { group_name: Group::stored(name), ..SubscriptionGroupConfig::default() }
}

pub(crate) async fn make_group(peer: &Peer, name: &str) {
    let body = json::to_vec(&group_config(name));
    peer.call(&UpdateAndCreateSubscriptionGroup, body).await.expect("the group is made");
}

async fn table(peer: &Peer) -> SubscriptionGroupWrapper {
    let request = GetAllSubscriptionGroupConfig { from: None, data_version: None, max: None };
    let (_, body) = peer.call(&request, Bytes::new()).await.expect("the table");
    json::from_slice(&body).expect("it reads")
}

#[tokio::test]
async fn a_group_is_made_changed_and_deleted() {
    let site = Site::with(|config| config.creation.auto_create_groups = false);
    let peer = site.client("op").await;
    let get = async || {
        let request = GetSubscriptionGroupConfig { group: Group::stored("g") };
        let (_, body) = peer.call(&request, Bytes::new()).await?;
        Ok::<_, String>(json::from_slice::<SubscriptionGroupConfig>(&body).expect("settings"))
    };
    assert_eq!(get().await, Err("26 subscription group [g] does not exist".into()));
    let set = async |config: &SubscriptionGroupConfig| {
        peer.call(&UpdateAndCreateSubscriptionGroup, json::to_vec(config)).await.map(drop)
    };
    let config = SubscriptionGroupConfig { retry_max_times: 3, consume_enable: false, ..group_config("g") };
    set(&config).await.expect("it is made");
    assert_eq!(get().await.as_ref(), Ok(&config));
    let version = site.broker.groups().version();
    set(&config).await.expect("nothing changes");
    assert_eq!(site.broker.groups().version(), version);
    let refused = set(&group_config("bad.name")).await;
    assert!(refused.is_err_and(|refused| refused.starts_with("29 ")));
    let mut odd = group_config("g");
    odd.attributes.insert("+nope".into(), "1".into());
    assert_eq!(set(&odd).await, Err("1 unsupported key: nope".into()));

    let list = SubscriptionGroupList { group_config_list: vec![group_config("h"), group_config("i")] };
    peer.call(&UpdateAndCreateSubscriptionGroupList, json::to_vec(&list)).await.expect("both are made");
    let names: Vec<String> =
        table(&peer).await.subscription_group_table.keys().map(|g| g.to_string()).collect();
    assert!(
        ["g", "h", "i", "TOOLS_CONSUMER"].iter().all(|name| names.contains(&(*name).to_owned())),
        "{names:?}"
    );

    let delete = DeleteSubscriptionGroup { group: Group::stored("g"), clean_offset: true };
    peer.call(&delete, Bytes::new()).await.expect("it is deleted");
    assert!(get().await.is_err());
    peer.call(&delete, Bytes::new()).await.expect("deleting again is no error");
}

#[tokio::test]
async fn a_retry_policy_is_kept_shown_and_judged() {
    let site = Site::new();
    let peer = site.client("op").await;
    let set = async |policy: &str| {
        let body = format!(r#"{{"groupName":"g","retryMaxTimes":3,"groupRetryPolicy":{policy}}}"#);
        peer.call(&UpdateAndCreateSubscriptionGroup, body.into_bytes()).await.map(drop)
    };
    // As mqadmin updateSubGroup -p sends them.
    let exponential =
        r#"{"exponentialRetryPolicy":{"initial":5000,"max":7200000,"multiplier":2},"type":"EXPONENTIAL"}"#;
    set(exponential).await.expect("it is set");
    let request = GetSubscriptionGroupConfig { group: Group::stored("g") };
    let (_, body) = peer.call(&request, Bytes::new()).await.expect("settings");
    assert!(String::from_utf8_lossy(&body).contains(exponential), "{body:?}");
    let kept = &table(&peer).await.subscription_group_table[&Group::stored("g")];
    assert_eq!(kept.group_retry_policy.wait(1), Some(std::time::Duration::from_secs(10)));
    let refused = async |policy: &str| set(policy).await.expect_err("it is refused");
    let empty = r#"{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[]}}"#;
    assert_eq!(refused(empty).await, "29 a customized retry policy needs at least one wait");
    let late = r#"{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[999999999999999]}}"#;
    assert!(refused(late).await.starts_with("29 a retry waits for 0 to "));
    let shrinks = r#"{"type":"EXPONENTIAL","exponentialRetryPolicy":{"multiplier":0}}"#;
    assert_eq!(refused(shrinks).await, "29 the multiplier of a retry policy is at least 1, not 0");
    let kept = &table(&peer).await.subscription_group_table[&Group::stored("g")];
    assert_eq!(kept.group_retry_policy.wait(1), Some(std::time::Duration::from_secs(10)), "as before");
}

#[tokio::test]
async fn more_retry_queues_come_to_a_retry_topic_that_is_there() {
    let site = Site::new();
    let peer = site.client("op").await;
    let set = async |queues| {
        let config = SubscriptionGroupConfig { retry_queue_nums: queues, ..group_config("g") };
        peer.call(&UpdateAndCreateSubscriptionGroup, json::to_vec(&config)).await.expect("it is set");
    };
    set(1).await;
    assert!(site.broker.topics().get("%RETRY%g").is_none(), "nobody needs it yet");
    make_topic(&peer, "%RETRY%g", 1).await;
    for (wanted, there) in [(4, 4), (2, 4), (6, 6)] {
        set(wanted).await;
        let topic = site.broker.topics().get("%RETRY%g").expect("it is there");
        assert_eq!((topic.config().write_queue_nums, topic.config().read_queue_nums), (there, there));
    }
}

#[tokio::test]
async fn a_group_that_is_stopped_is_told_at_once() {
    let site = Site::new();
    let (peer, operator) = (site.client("one").await, site.client("op").await);
    make_topic(&peer, "t", 1).await;
    make_group(&peer, "g").await;
    peer.join("g", &[("t", "*")]).await;
    let set = async |consume_enable| {
        let config = SubscriptionGroupConfig { consume_enable, ..group_config("g") };
        operator.call(&UpdateAndCreateSubscriptionGroup, json::to_vec(&config)).await.expect("it is set");
    };
    let stop = async {
        while site.broker.waiting_pulls() == 0 {
            tokio::task::yield_now().await;
        }
        let asked_at = Instant::now();
        set(false).await;
        asked_at
    };
    let (pulled, asked_at) =
        tokio::join!(peer.pull(waiting(pull_request("g", "t", 0, 0), PATIENCE / 2)), stop);
    assert_eq!(pulled.0, 16);
    assert!(asked_at.elapsed() < PATIENCE / 4, "it did not wait for its time to be over");
    assert_eq!(peer.pull(pull_request("g", "t", 0, 0)).await.0, 16);
    peer.send("t", 0, &[], "x").await;
    crate::topics::wait_until_visible(&site, "t", 0, 1);
    set(true).await;
    assert_eq!(peer.pull(pull_request("g", "t", 0, 0)).await.2, ["x"]);
}

#[tokio::test]
async fn a_forbidden_group_gets_nothing_whatever_it_brings() {
    let site = Site::new();
    let peer = site.client("one").await;
    make_topic(&peer, "t", 1).await;
    make_group(&peer, "g").await;
    peer.send("t", 0, &[], "x").await;
    crate::topics::wait_until_visible(&site, "t", 0, 1);
    let ask = async |readable| {
        let request =
            UpdateAndGetGroupForbidden { group: Group::stored("g"), topic: TopicName::stored("t"), readable };
        let (_, body) = peer.call(&request, Bytes::new()).await.expect("an answer");
        String::from_utf8_lossy(&body).into_owned()
    };
    assert_eq!(ask(None).await, r#"{"group":"g","readable":true,"topic":"t"}"#);
    assert_eq!(ask(Some(false)).await, r#"{"group":"g","readable":false,"topic":"t"}"#);
    assert_eq!(peer.pull(pull_request("g", "t", 0, 0)).await.0, 16);
    let forbidden = table(&peer).await.forbidden_table;
    assert_eq!(forbidden[&Group::stored("g")][&TopicName::stored("t")], 4);
    let again = broker::Broker::open(Default::default(), site.broker.store().clone(), site.clock.clone());
    let again = again.expect("a second look at the same log");
    assert_eq!(ask(Some(true)).await, r#"{"group":"g","readable":true,"topic":"t"}"#);
    assert_eq!(peer.pull(pull_request("g", "t", 0, 0)).await.2, ["x"]);
    drop(again);
}
