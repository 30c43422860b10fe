// SPDX-License-Identifier: Apache-2.0
//! Messages that wait for their time, as operators see and change them.

use bytes::Bytes;
use protocol::admin::timer::{ChangeTimer, CountTimers, ListTimers, ShowTimer};
use protocol::body::{TimerHistogram, TimerInfo, TimerList};
use protocol::ids::RecallHandle;
use protocol::json;
use protocol::names::{ByteStr, LogOffset, TopicName};
use protocol::request::Request;
use protocol::send::{RecallMessage, RecallReply};
use serde::de::DeserializeOwned;
use stdx::Timestamp;

use crate::site::{PATIENCE, Peer, Site, pull_request, waiting};

const HOUR: i64 = 3_600_000;

async fn ask<T: DeserializeOwned>(client: &Peer, request: &impl Request) -> T {
    let (_, body) = client.call(request, Bytes::new()).await.expect("it is answered");
    json::from_slice(&body).expect("a body of ours")
}

async fn send(client: &Peer, topic: &str, delay: i64, id: &str) {
    let delay = delay.to_string();
    let properties = [("TIMER_DELAY_MS", delay.as_str()), ("UNIQ_KEY", id), ("KEYS", "k all")];
    client.send(topic, 1, &properties, id).await;
}

fn list(topic: Option<&str>) -> ListTimers {
    ListTimers { topic: topic.map(TopicName::stored), from: None, until: None, behind: None, max: 100 }
}

fn ids(timers: &[TimerInfo]) -> Vec<&str> {
    timers.iter().map(|timer| timer.unique_id.as_deref().expect("an id")).collect()
}

async fn state(client: &Peer, topic: &str, id: &str) -> Vec<String> {
    let request = ShowTimer { topic: TopicName::stored(topic), id: Some(ByteStr::from(id)), key: None };
    let list: TimerList = ask(client, &request).await;
    list.timers.into_iter().map(|timer| timer.state).collect()
}

async fn change(client: &Peer, id: Option<&str>, key: Option<&str>, to: Option<Timestamp>) -> String {
    let request = ChangeTimer {
        topic: TopicName::stored("orders"),
        id: id.map(ByteStr::from),
        key: key.map(ByteStr::from),
        deliver_at: to,
    };
    match client.call(&request, Bytes::new()).await {
        Ok((reply, _)) => reply.outcome.to_string(),
        Err(refused) => refused,
    }
}

#[tokio::test]
async fn what_waits_is_listed_in_due_order_and_counted() {
    let site = Site::new();
    let client = site.client("one").await;
    for (topic, hours, id) in [("orders", 3, "c"), ("orders", 1, "a"), ("bills", 2, "x"), ("orders", 30, "d")]
    {
        send(&client, topic, hours * HOUR, id).await;
    }
    let all: TimerList = ask(&client, &list(None)).await;
    assert_eq!((ids(&all.timers), all.waiting), (vec!["a", "x", "c", "d"], 4));
    let topics: Vec<(&str, u64)> = all.topics.iter().map(|of| (of.topic.as_str(), of.waiting)).collect();
    assert_eq!(topics, [("bills", 1), ("orders", 3)]);
    let TimerInfo { state, topic, queue, keys, body_size, due, stored_at, .. } = &all.timers[0];
    assert_eq!((state.as_str(), topic.as_str(), *queue, *body_size), ("waiting", "orders", Some(1), 1));
    assert_eq!((keys.as_deref(), (due - stored_at + 999) / 1_000), (Some("k all"), HOUR / 1_000));

    let orders: TimerList = ask(&client, &list(Some("orders"))).await;
    assert_eq!(ids(&orders.timers), ["a", "c", "d"]);
    let page: TimerList = ask(&client, &ListTimers { max: 2, ..list(None) }).await;
    assert_eq!(ids(&page.timers), ["a", "x"]);
    let (from, behind) = (Some(Timestamp(page.timers[1].due)), Some(LogOffset(page.timers[1].log_offset)));
    let rest: TimerList = ask(&client, &ListTimers { from, behind, ..list(None) }).await;
    assert_eq!(ids(&rest.timers), ["c", "d"], "behind the last one seen");
    let until = Some(Timestamp(all.timers[2].due));
    let early: TimerList = ask(&client, &ListTimers { from, until, ..list(None) }).await;
    assert_eq!(ids(&early.timers), ["x"], "from is meant, until is not");
    let none: TimerList = ask(&client, &list(Some("nobody"))).await;
    assert_eq!((none.timers.len(), none.waiting), (0, 4));

    let count = |topic: Option<&str>, max| CountTimers {
        topic: topic.map(TopicName::stored),
        every: 24 * HOUR as u64,
        max,
    };
    let counted: TimerHistogram = ask(&client, &count(None, 10)).await;
    assert_eq!(counted.bars.iter().map(|bar| bar.count).sum::<u64>(), 4);
    assert!(counted.bars.iter().all(|bar| bar.from % (24 * HOUR) == 0));
    assert!(counted.bars.windows(2).all(|pair| pair[0].from < pair[1].from));
    let last = counted.bars.last().expect("there are some");
    assert!((last.from..last.from + 24 * HOUR).contains(&all.timers[3].due));
    let short: TimerHistogram = ask(&client, &count(Some("orders"), 0)).await;
    assert_eq!((short.bars.len(), short.later), (0, 3));
}

#[tokio::test]
async fn operators_take_back_and_move_with_a_true_answer() {
    let site = Site::new();
    let client = site.client("one").await;
    for id in ["a", "b", "c"] {
        send(&client, "orders", HOUR, id).await;
    }
    assert_eq!(change(&client, Some("nobody"), None, None).await, "unknown");
    assert_eq!(state(&client, "orders", "nobody").await, Vec::<String>::new());
    assert_eq!(change(&client, Some("a"), None, None).await, "cancelled");
    assert_eq!(state(&client, "orders", "a").await, ["cancelled"]);
    assert_eq!(change(&client, Some("b"), None, Some(Timestamp(1))).await, "moved");
    let reader = site.client("reader").await;
    reader.join("g", &[("orders", "*")]).await;
    let (_, _, found) = reader.pull(waiting(pull_request("g", "orders", 1, 0), PATIENCE)).await;
    assert_eq!(found, ["b"], "in the past means at once");
    assert_eq!(change(&client, Some("b"), None, None).await, "too late");
    assert_eq!(state(&client, "orders", "b").await, ["delivered"]);
    assert_eq!(state(&client, "bills", "b").await, Vec::<String>::new(), "of another topic");
    let later = site.clock.now() + std::time::Duration::from_secs(7_200);
    assert_eq!(change(&client, None, Some("k"), Some(later)).await, "moved", "the one that still waits");
    let list: TimerList = ask(&client, &list(None)).await;
    assert_eq!((ids(&list.timers), list.timers[0].due), (vec!["c"], later.0));
    let by_key = ShowTimer { topic: TopicName::stored("orders"), id: None, key: Some("all".into()) };
    let shown: TimerList = ask(&client, &by_key).await;
    let shown: Vec<(&str, &str)> = shown
        .timers
        .iter()
        .map(|timer| (timer.unique_id.as_deref().unwrap_or(""), timer.state.as_str()))
        .collect();
    assert_eq!(shown, [("a", "cancelled"), ("b", "delivered"), ("c", "waiting")]);
    assert_eq!(change(&client, None, Some("k"), None).await, "cancelled");
    let both = change(&client, Some("c"), Some("k"), None).await;
    assert!(both.starts_with("29 "), "{both}");
    let never = change(&client, Some("c"), None, Some(Timestamp(i64::MAX))).await;
    assert!(never.contains("further ahead"), "{never}");
}

/// Takes a message back as its producer does; returns the message's id, or how it was refused.
async fn recall(site: &Site, client: &Peer, topic: &str, due: Timestamp, id: &str) -> String {
    let broker = &site.broker.config().identity.name;
    let handle = RecallHandle::encode(topic, broker, due, id).into();
    let request = RecallMessage { group: None, topic: TopicName::stored(topic), handle };
    let answer = client.connection.call(&request, Bytes::new(), PATIENCE).await.expect("an answer");
    let RecallReply { message_id, region } = answer.header().expect("its header");
    assert_eq!(region.as_deref(), Some("DefaultRegion"), "Java clients record no recall without it");
    let refused = || format!("{} {}", answer.code().0, answer.remark().map_or("", |remark| remark));
    message_id.map_or_else(refused, |id| id.to_string())
}

#[tokio::test]
async fn a_producer_may_take_back_what_nobody_knows_while_its_time_lies_ahead() {
    let site = Site::new();
    let client = site.client("one").await;
    send(&client, "orders", HOUR, "a").await;
    send(&client, "bills", HOUR, "b").await;
    let (past, ahead) = (Timestamp(1), site.clock.now() + std::time::Duration::from_secs(3_600));
    assert_eq!(recall(&site, &client, "orders", ahead, "nobody").await, "nobody");
    assert_eq!(
        recall(&site, &client, "bills", ahead, "a").await,
        "a",
        "nothing of that name is for this topic"
    );
    assert_eq!(
        state(&client, "orders", "a").await,
        ["waiting"],
        "and the one for another topic is left alone"
    );
    let late = recall(&site, &client, "orders", past, "nobody").await;
    assert!(late.starts_with("604 "), "{late}");
    assert_eq!(
        change(&client, Some("nobody"), None, None).await,
        "unknown",
        "operators are told which it is"
    );

    assert_eq!(change(&client, Some("a"), None, Some(past)).await, "moved");
    let reader = site.client("reader").await;
    reader.join("g", &[("orders", "*")]).await;
    let (_, _, found) = reader.pull(waiting(pull_request("g", "orders", 1, 0), PATIENCE)).await;
    assert_eq!(found, ["a"]);
    let late = recall(&site, &client, "orders", ahead, "a").await;
    assert!(late.starts_with("604 "), "delivered, whatever the handle says: {late}");
}
