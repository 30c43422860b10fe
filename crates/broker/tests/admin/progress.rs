// SPDX-License-Identifier: Apache-2.0
//! Progress of groups as operators look at it, copy it and move it.

use std::time::Instant;

use bytes::Bytes;
use protocol::admin::progress::{
    CloneGroupOffset, GetBrokerConsumeStats, GetConsumeStats, QueryConsumeTimeSpan, QueryCorrectionOffset,
};
use protocol::admin::replica::{GetAllConsumerOffset, GetAllDelayOffset, GetBrokerHaStatus};
use protocol::admin::reset::InvokeBrokerToResetOffset;
use protocol::body::{
    ConsumeStats, ConsumeStatsList, ConsumerOffsetSerializeWrapper, OffsetWrapper, QueryConsumeTimeSpanBody,
    QueryCorrectionOffsetBody, ResetOffsetBody,
};
use protocol::json;
use protocol::names::{Group, QueueId, QueueOffset, TopicName};
use protocol::offset::UpdateConsumerOffset;
use protocol::pull::{COMMIT_OFFSET, PullMessage};
use stdx::Timestamp;

use crate::groups::make_group;
use crate::site::{PATIENCE, Peer, Site, pull_request, waiting};
use crate::topics::{make_topic, wait_until_visible};

/// A topic `t` with two queues, five messages in the first, and the groups `g` and `h`.
async fn stocked() -> (Site, Peer) {
    let site = Site::new();
    let peer = site.client("one").await;
    make_topic(&peer, "t", 2).await;
    for group in ["g", "h"] {
        make_group(&peer, group).await;
    }
    for body in ["0", "1", "2", "3", "4"] {
        peer.send("t", 0, &[], body).await;
    }
    wait_until_visible(&site, "t", 0, 5);
    (site, peer)
}

async fn commit(peer: &Peer, group: &str, queue: u32, offset: u64) {
    let request = UpdateConsumerOffset {
        group: Group::stored(group),
        topic: TopicName::stored("t"),
        queue: QueueId(queue),
        commit: QueueOffset(offset),
    };
    peer.call(&request, Bytes::new()).await.expect("it is kept");
}

async fn stats(peer: &Peer, group: &str, topic: Option<&str>) -> Vec<(String, u32, [i64; 3])> {
    let topic = topic.map(TopicName::stored);
    let request = GetConsumeStats { group: Group::stored(group), topic, topics: None };
    let (_, body) = peer.call(&request, Bytes::new()).await.expect("figures");
    let stats: ConsumeStats = json::from_slice(&body).expect("they read");
    let numbers = |of: &OffsetWrapper| [of.broker_offset, of.consumer_offset, of.pull_offset];
    let queues = stats.offset_table.0.iter();
    queues.map(|(queue, of)| (queue.topic.to_string(), queue.queue_id.0, numbers(of))).collect()
}

#[tokio::test]
async fn progress_shows_what_is_behind_and_what_is_in_flight() {
    let (_site, peer) = stocked().await;
    assert_eq!(stats(&peer, "g", None).await, [], "it has not consumed yet");
    let pull = PullMessage {
        sys_flag: pull_request("g", "t", 0, 0).sys_flag | COMMIT_OFFSET,
        commit: Some(QueueOffset(2)),
        ..pull_request("g", "t", 0, 2)
    };
    assert_eq!(peer.pull(pull).await.2.len(), 3);
    let expected = [("t".to_owned(), 0, [5, 2, 5]), ("t".to_owned(), 1, [0, 0, 0])];
    assert_eq!(stats(&peer, "g", None).await, expected);
    assert_eq!(stats(&peer, "g", Some("t")).await, expected);
    // An online group is shown with what it subscribes to.
    peer.join("g", &[("other", "*")]).await;
    assert_eq!((stats(&peer, "g", None).await, stats(&peer, "g", Some("t")).await), (vec![], vec![]));

    let (_, body) = peer.call(&GetBrokerConsumeStats { order: false }, Bytes::new()).await.expect("figures");
    let all: ConsumeStatsList = json::from_slice(&body).expect("they read");
    assert_eq!((all.total_diff, all.total_inflight_diff), (0, 0));
    commit(&peer, "h", 0, 4).await;
    let (_, body) = peer.call(&GetBrokerConsumeStats { order: false }, Bytes::new()).await.expect("figures");
    let all: ConsumeStatsList = json::from_slice(&body).expect("they read");
    assert_eq!((all.total_diff, all.total_inflight_diff), (1, 0));
    let (_, body) = peer.call(&GetBrokerConsumeStats { order: true }, Bytes::new()).await.expect("figures");
    let ordered: ConsumeStatsList = json::from_slice(&body).expect("they read");
    assert_eq!(ordered.total_diff, 0);
}

#[tokio::test]
async fn a_queue_that_was_never_consumed_is_as_late_as_its_first_message() {
    let (_site, peer) = stocked().await;
    let ask = async || {
        let request = QueryConsumeTimeSpan { topic: TopicName::stored("t"), group: Group::stored("g") };
        let (_, body) = peer.call(&request, Bytes::new()).await.expect("spans");
        json::from_slice::<QueryConsumeTimeSpanBody>(&body).expect("they read").consume_time_span_set
    };
    let spans = ask().await;
    assert_eq!((spans.len(), spans[1].min_time_stamp, spans[1].delay_time), (2, -1, 0));
    assert!(spans[0].min_time_stamp > 0 && spans[0].max_time_stamp >= spans[0].min_time_stamp);
    assert!((0..60_000).contains(&spans[0].delay_time), "not as old as the epoch: {}", spans[0].delay_time);
    commit(&peer, "g", 0, 5).await;
    assert_eq!(ask().await[0].delay_time, 0);
}

#[tokio::test]
async fn offsets_are_compared_and_copied_without_harm() {
    let (site, peer) = stocked().await;
    commit(&peer, "g", 0, 3).await;
    commit(&peer, "h", 0, 2).await;
    let correct = async |left_out: &str, compared: &str| {
        let request = QueryCorrectionOffset {
            filter_groups: Some(left_out.into()),
            compare_group: Group::stored(compared),
            topic: TopicName::stored("t"),
        };
        let (_, body) = peer.call(&request, Bytes::new()).await.expect("offsets");
        json::from_slice::<QueryCorrectionOffsetBody>(&body).expect("they read").correction_offsets
    };
    assert_eq!(correct("", "g").await, [(0, 2)].into());
    assert_eq!(correct("h", "g").await, [(0, 3)].into());
    assert_eq!(correct("h,g", "g").await, [].into());
    assert_eq!(correct("h", "h").await, [(0, i64::MAX)].into(), "the compared group is behind");
    let committed =
        |group| site.broker.offsets().committed(&Group::stored(group), &TopicName::stored("t"), QueueId(0));
    assert_eq!(
        (committed("g"), committed("h")),
        (Some(QueueOffset(3)), Some(QueueOffset(2))),
        "nothing is lost"
    );

    let copy = CloneGroupOffset {
        source: Group::stored("g"),
        target: Group::stored("new"),
        topic: None,
        offline: false,
    };
    peer.call(&copy, Bytes::new()).await.expect("it is copied");
    assert_eq!(committed("new"), Some(QueueOffset(3)));

    let (_, body) = peer.call(&GetAllConsumerOffset, Bytes::new()).await.expect("all progress");
    let all: ConsumerOffsetSerializeWrapper = json::from_slice(&body).expect("it reads");
    assert_eq!(all.offset_table["t@g"], [(0, 3)].into());
    let (_, body) = peer.call(&GetAllDelayOffset, Bytes::new()).await.expect("all levels");
    assert!(String::from_utf8_lossy(&body).contains(r#""offsetTable":{1:0,2:0,"#));
    let (_, body) = peer.call(&GetBrokerHaStatus, Bytes::new()).await.expect("who copies");
    let text = String::from_utf8_lossy(&body);
    assert!(text.starts_with(r#"{"haConnectionInfo":[],"inSyncSlaveNums":0,"master":true,"#), "{text}");
}

fn reset_request(at: i64) -> InvokeBrokerToResetOffset {
    InvokeBrokerToResetOffset {
        group: Group::stored("g"),
        topic: TopicName::stored("t"),
        queue: None,
        offset: None,
        at: Timestamp(at),
        force: true,
    }
}

#[tokio::test]
async fn a_group_is_moved_and_its_consumer_follows() {
    let (site, peer) = stocked().await;
    commit(&peer, "g", 0, 4).await;
    let reset = async |request: InvokeBrokerToResetOffset| {
        let (_, body) = peer.call(&request, Bytes::new()).await?;
        assert!(body.starts_with(br#"{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"t"}:"#));
        let body: ResetOffsetBody = json::from_slice(&body).expect("it reads");
        Ok::<_, String>(
            body.offset_table.0.iter().map(|(queue, offset)| (queue.queue_id.0, *offset)).collect::<Vec<_>>(),
        )
    };
    assert_eq!(reset(reset_request(0)).await, Ok(vec![(0, 0), (1, 0)]));
    assert_eq!(stats(&peer, "g", None).await[0].2[1], 0);
    commit(&peer, "g", 0, 5).await;
    assert_eq!(
        stats(&peer, "g", None).await[0].2[1],
        0,
        "the consumer's idea is void until it has seen the move"
    );
    let (code, reply, _) = peer.pull(pull_request("g", "t", 0, 5)).await;
    assert_eq!((code, reply.map(|reply| reply.next)), (21, Some(QueueOffset(0))));
    assert_eq!(peer.pull(pull_request("g", "t", 0, 0)).await.2.len(), 5);
    assert_eq!(reset(reset_request(-1)).await, Ok(vec![(0, 5), (1, 0)]));
    assert_eq!(peer.pull(pull_request("g", "t", 0, 5)).await.0, 21);

    // A pull that waits for a message is told at once; it would have waited far longer than this test does.
    let waiting = waiting(pull_request("g", "t", 0, 5), 3 * PATIENCE);
    let pull = tokio::spawn({
        let connection = peer.connection.clone();
        async move { connection.call(&waiting, Bytes::new(), 3 * PATIENCE).await.expect("an answer").code() }
    });
    tokio::time::timeout(PATIENCE, async {
        while site.broker.waiting_pulls() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it waits");
    let begun = Instant::now();
    assert_eq!(reset(reset_request(0)).await, Ok(vec![(0, 0), (1, 0)]));
    assert_eq!(pull.await.expect("it is answered").0, 21);
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());

    let one = |offset| InvokeBrokerToResetOffset {
        queue: Some(QueueId(0)),
        offset: Some(QueueOffset(offset)),
        ..reset_request(0)
    };
    assert_eq!(reset(one(2)).await, Ok(vec![(0, 2)]));
    assert_eq!(reset(one(6)).await, Err("1 Target offset 6 not in consume queue range [0-5]".into()));
    let of_topic = InvokeBrokerToResetOffset { topic: TopicName::stored("none"), ..reset_request(0) };
    assert!(reset(of_topic).await.is_err_and(|refused| refused.starts_with("17 ")));
    let of_group = InvokeBrokerToResetOffset { group: Group::stored("none"), ..reset_request(0) };
    assert!(reset(of_group).await.is_err_and(|refused| refused.starts_with("26 ")));
    let of_queue = InvokeBrokerToResetOffset { queue: Some(QueueId(7)), ..reset_request(0) };
    assert!(reset(of_queue).await.is_err_and(|refused| refused.starts_with("29 ")));
}
