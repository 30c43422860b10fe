// SPDX-License-Identifier: Apache-2.0
//! The broker as a whole: settings, figures, cleaning up.

use broker::{Broker, BrokerConfig};
use bytes::Bytes;
use expect_test::expect;
use protocol::admin::broker::{
    CleanExpiredConsumeQueue, CleanUnusedTopic, DeleteExpiredCommitLog, GetBrokerConfig,
    GetBrokerRuntimeInfo, UpdateBrokerConfig, ViewBrokerStatsData,
};
use protocol::admin::replica::{
    GetColdDataFlowControl, RemoveColdDataFlowControl, SetCommitLogReadMode, UpdateColdDataFlowControl,
};
use protocol::body::{BrokerStatsData, KVTable};
use protocol::json;

use protocol::send::{SendHeader, SendMessageV2};

use crate::groups::make_group;
use crate::membership::give_back;
use crate::site::{Peer, Site, pull_request, send_header};
use crate::topics::{make_topic, wait_until_visible};

async fn change(peer: &Peer, text: &str) -> Result<(), String> {
    peer.call(&UpdateBrokerConfig, text.as_bytes().to_vec()).await.map(drop)
}

#[tokio::test]
async fn settings_are_shown_changed_and_kept() {
    let site = Site::new();
    let peer = site.client("op").await;
    let show = async || {
        let (header, body) = peer.call(&GetBrokerConfig, Bytes::new()).await.expect("settings");
        (header.version.to_string(), String::from_utf8_lossy(&body).into_owned())
    };
    let (before, text) = show().await;
    for line in [
        "brokerName=broker-a",
        "autoCreateTopicEnable=true",
        "flushDiskType=ASYNC_FLUSH",
        "fileReservedTime=72",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    change(&peer, "autoCreateTopicEnable=false\ndefaultQueryMaxNum = 7\n").await.expect("both are changed");
    let (after, text) = show().await;
    assert!(
        after != before
            && text.contains("autoCreateTopicEnable=false\n")
            && text.contains("defaultQueryMaxNum=7\n")
    );
    let shown = [
        change(&peer, "defaultQueryMaxNum=8\nnonesuch=1").await,
        change(&peer, "defaultQueryMaxNum=8\nbrokerName=x").await,
        change(&peer, "defaultQueryMaxNum=many").await,
        change(&peer, "defaultQueryMaxNum=8\nbrokerConfigPath=/x").await,
        change(&peer, "defaultQueryMaxNum=8\nmaxMessageSize=0").await,
        change(&peer, "defaultQueryMaxNum").await,
    ];
    let shown: Vec<String> = shown.into_iter().map(|refused| refused.expect_err("it is refused")).collect();
    expect![[r#"
        29 this broker has no setting nonesuch
        29 brokerName takes effect only when the broker starts: set it in its configuration
        29 defaultQueryMaxNum: 'many' is not a whole number that is not negative
        16 Can not update config in black list.
        29 maxMessageSize: '0' is out of range: 1 to 4194304
        29 line 1 of the settings is not key=value"#]]
    .assert_eq(&shown.join("\n"));
    assert_eq!(site.broker.config().reading.query_max, 7, "refused changes change nothing");
    let again = Broker::open(BrokerConfig::default(), site.broker.store().clone(), site.clock.clone());
    let again = again.expect("a second look at the same log");
    assert_eq!((again.config().reading.query_max, again.config().creation.auto_create_topics), (7, false));
}

#[tokio::test]
async fn runtime_figures_have_the_form_that_the_exporter_takes_apart() {
    let site = Site::new();
    let peer = site.client("op").await;
    make_topic(&peer, "t", 1).await;
    peer.send("t", 0, &[], "x").await;
    let (_, body) = peer.call(&GetBrokerRuntimeInfo, Bytes::new()).await.expect("figures");
    let table = json::from_slice::<KVTable>(&body).expect("a table").table;
    let text = |name: &str| table.get(name).unwrap_or_else(|| panic!("{name} is missing")).as_str();
    for name in WHOLE {
        assert!(text(name).parse::<i64>().is_ok(), "{name}: {}", text(name));
    }
    for name in DECIMAL {
        assert!(text(name).contains('.') && text(name).parse::<f64>().is_ok(), "{name}: {}", text(name));
    }
    for name in ["putTps", "getTotalTps", "getFoundTps", "getMissTps", "getTransferredTps"] {
        let rates: Vec<f64> = text(name).split(' ').map(|rate| rate.parse().expect("a rate")).collect();
        assert_eq!(rates.len(), 3, "{name}");
    }
    assert_eq!(text("commitLogDirCapacity").split(' ').count(), 8, "{}", text("commitLogDirCapacity"));
    for name in ["remainHowManyDataToFlush", "remainHowManyDataToCommit"] {
        let (number, unit) = text(name).split_once(' ').expect("a number and a unit");
        assert!(number.parse::<f64>().is_ok() && ["B", "KiB", "MiB", "GiB", "TiB"].contains(&unit));
    }
    let (next, end) = text("scheduleMessageOffset_18").split_once(',').expect("two offsets");
    assert_eq!((next, end), ("0", "0"));
    assert_eq!((text("brokerActive"), text("putMessageTimesTotal")), ("true", "1"));
    let classes = text("putMessageDistributeTime").split_whitespace();
    let counts: Vec<u64> =
        classes.map(|class| class.split_once(':').expect("a count").1.parse().expect("a number")).collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (13, 1));
    assert!(text("putLatency99").parse::<f64>().expect("a time") > 0.0);
    assert!(table.keys().any(|name| name.starts_with("commitLogDiskRatio_/")));
}

const WHOLE: [&str; 27] = [
    "bootTimestamp",
    "brokerVersion",
    "putMessageSizeTotal",
    "putMessageTimesTotal",
    "putMessageFailedTimes",
    "putMessageEntireTimeMax",
    "getMessageEntireTimeMax",
    "msgPutTotalYesterdayMorning",
    "msgPutTotalTodayMorning",
    "msgPutTotalTodayNow",
    "msgGetTotalYesterdayMorning",
    "msgGetTotalTodayMorning",
    "msgGetTotalTodayNow",
    "sendThreadPoolQueueSize",
    "pullThreadPoolQueueCapacity",
    "queryThreadPoolQueueHeadWaitTimeMills",
    "EndTransactionQueueSize",
    "EndTransactionThreadPoolQueueCapacity",
    "dispatchBehindBytes",
    "dispatchMaxBuffer",
    "pageCacheLockTimeMills",
    "earliestMessageTimeStamp",
    "startAcceptSendRequestTimeStamp",
    "remainTransientStoreBufferNumbs",
    "commitLogMinOffset",
    "commitLogMaxOffset",
    "timerCongestNum",
];

const DECIMAL: [&str; 7] = [
    "putMessageAverageSize",
    "putLatency99",
    "putLatency999",
    "commitLogDiskRatio",
    "consumeQueueDiskRatio",
    "timerEnqueueTps",
    "timerDequeueTps",
];

#[tokio::test]
async fn figures_come_from_what_went_through() {
    let site = Site::new();
    let peer = site.client("op").await;
    make_topic(&peer, "t", 1).await;
    make_group(&peer, "g").await;
    for _ in 0..3 {
        peer.send("t", 0, &[], "x").await;
    }
    wait_until_visible(&site, "t", 0, 3);
    peer.pull(pull_request("g", "t", 0, 1)).await;
    let figure = async |name: &str, key: &str| {
        let (_, body) =
            peer.call(&ViewBrokerStatsData { name: name.into(), key: key.into() }, Bytes::new()).await?;
        let data: BrokerStatsData = json::from_slice(&body).expect("it reads");
        Ok::<_, String>((data.stats_minute.sum, data.stats_day.sum))
    };
    assert_eq!(figure("TOPIC_PUT_NUMS", "t").await, Ok((3, 3)));
    assert_eq!(figure("GROUP_GET_NUMS", "t@g").await, Ok((2, 2)));
    assert_eq!(figure("BROKER_PUT_NUMS", "DefaultCluster").await, Ok((3, 3)));
    assert_eq!(figure("BROKER_GET_NUMS", "DefaultCluster").await, Ok((2, 2)));
    let dead = "null@t@g@SEND_BACK_TO_DLQ";
    assert_eq!(figure("SNDBCK2DLQ_TIMES", dead).await, Ok((0, 0)));
    let sent = peer.send("t", 0, &[], "fails").await;
    give_back(&peer, &sent.message_id, "g", 1).await;
    give_back(&peer, &sent.message_id, "g", -1).await;
    let exhausted = SendHeader { reconsume: 17, ..send_header("%RETRY%g", 0, &[("RETRY_TOPIC", "t")]) };
    peer.call(&SendMessageV2(exhausted), &b"fails"[..]).await.expect("it is stored");
    assert_eq!(figure("SNDBCK_PUT_NUMS", "t@g").await, Ok((2, 2)));
    assert_eq!(figure("SNDBCK2DLQ_TIMES", dead).await, Ok((2, 2)));
    assert_eq!(figure("DLQ_PUT_NUMS", "t@g").await, Ok((2, 2)));
    for (name, key) in [
        ("TOPIC_PUT_NUMS", "u"),
        ("GROUP_GET_NUMS", "t@h"),
        ("GROUP_GET_NUMS", "t"),
        ("GROUP_GET_LATENCY", "0@t@g"),
        ("SNDBCK2DLQ_TIMES", "t@g"),
        ("NOPE", "t"),
    ] {
        assert_eq!(figure(name, key).await, Err(format!("1 The stats <{name}> <{key}> not exist")));
    }
}

#[tokio::test]
async fn cleaning_up_and_cold_reads_are_answered_truthfully() {
    let site = Site::new();
    let peer = site.client("op").await;
    peer.call(&CleanExpiredConsumeQueue, Bytes::new()).await.expect("done");
    peer.call(&CleanUnusedTopic, Bytes::new()).await.expect("done");
    peer.call(&DeleteExpiredCommitLog, Bytes::new()).await.expect("done");
    let (_, body) = peer.call(&GetColdDataFlowControl, Bytes::new()).await.expect("limits");
    assert!(String::from_utf8_lossy(&body).starts_with(r#"{"runtimeTable":{},"configTable":{},"#));
    let limit = peer.call(&UpdateColdDataFlowControl, &b"g=1"[..]).await.map(drop);
    let lift = peer.call(&RemoveColdDataFlowControl, &b"g"[..]).await.map(drop);
    let mode = peer.call(&SetCommitLogReadMode { mode: Some(1) }, Bytes::new()).await.map(drop);
    for refused in [limit, lift, mode] {
        assert!(refused.is_err_and(|refused| refused.starts_with("29 ")));
    }
}
