// SPDX-License-Identifier: Apache-2.0
//! Bodies: their exact text, their defaults, registrations in both forms, damage.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde::Serialize;

use super::*;
use crate::data_version::DataVersion;
use crate::json::{self, ObjectMap};
use crate::names::{BrokerName, Group, QueueId, TopicName};

fn check<T: Serialize>(value: &T, expected: Expect) {
    expected.assert_eq(&String::from_utf8(json::to_vec_fastjson(value)).unwrap());
}

fn queue(queue_id: u32) -> MessageQueue {
    MessageQueue {
        broker_name: BrokerName::stored("b"),
        queue_id: QueueId(queue_id),
        topic: TopicName::stored("t"),
    }
}

#[test]
fn defaults_are_apaches() {
    check(
        &TopicConfig::default(),
        expect![[
            r#"{"attributes":{},"order":false,"perm":6,"readQueueNums":16,"topicFilterType":"SINGLE_TAG","topicName":"","topicSysFlag":0,"writeQueueNums":16}"#
        ]],
    );
    check(
        &SubscriptionGroupConfig::default(),
        expect![[
            r#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}"#
        ]],
    );
    let group: SubscriptionGroupConfig = json::from_slice(br#"{"groupName":"g","retryMaxTimes":3}"#).unwrap();
    let expected = SubscriptionGroupConfig {
        group_name: Group::stored("g"),
        retry_max_times: 3,
        ..SubscriptionGroupConfig::default()
    };
    assert_eq!(group, expected);
    let topic: TopicConfig = json::from_slice(b"{}").unwrap();
    assert_eq!((topic.perm, topic.read_queue_nums, topic.write_queue_nums), (6, 16, 16));
    let item: LogicQueueMappingItem = json::from_slice(b"{gen:4}").unwrap();
    assert_eq!((item.generation, item.end_offset, item.time_of_end), (4, -1, -1));
}

#[test]
fn routes_have_two_forms() {
    let route = TopicRouteData {
        broker_datas: vec![BrokerData {
            broker_addrs: BTreeMap::from([(0, "10.0.0.1:10911".into()), (1, "10.0.0.2:10911".into())]),
            broker_name: BrokerName::stored("b"),
            cluster: "c".into(),
            ..BrokerData::default()
        }],
        queue_datas: vec![QueueData {
            broker_name: BrokerName::stored("b"),
            perm: 6,
            read_queue_nums: 4,
            topic_sys_flag: 0,
            write_queue_nums: 4,
        }],
        ..TopicRouteData::default()
    };
    check(
        &route,
        expect![[
            r#"{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#
        ]],
    );
    let standard = json::to_vec(&route);
    assert!(String::from_utf8_lossy(&standard).contains(r#"{"0":"10.0.0.1:10911","1":"#));
    assert_eq!(json::from_slice::<TopicRouteData>(&standard).unwrap(), route);
    assert_eq!(json::from_slice::<TopicRouteData>(&json::to_vec_fastjson(&route)).unwrap(), route);
}

#[test]
fn the_go_client_finds_the_exact_form() {
    let body = ResetOffsetBody { offset_table: ObjectMap(vec![(queue(0), 123), (queue(1), 456)]) };
    check(
        &body,
        expect![[
            r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:123,{"brokerName":"b","queueId":1,"topic":"t"}:456}}"#
        ]],
    );
}

#[test]
fn heartbeats_of_every_client_are_read() {
    // C++ writes numbers for enums and strings for numbers; Go writes null for empty lists.
    let cpp = br#"{"clientID":"1@2","consumerDataSet":[{"consumeFromWhere":4,"consumeType":1,"groupName":"g","messageModel":0,
        "subscriptionDataSet":[{"codeSet":["65","66"],"subString":"A||B","subVersion":"1700000000000","tagsSet":["A","B"],"topic":"t"}]}],
        "producerDataSet":null}"#;
    let heartbeat: HeartbeatData = json::from_slice(cpp).unwrap();
    let consumer = &heartbeat.consumer_data_set[0];
    assert_eq!(consumer.consume_from_where, ConsumeFromWhere::FirstOffset);
    assert_eq!(consumer.consume_type, ConsumeType::Passively);
    assert_eq!(consumer.message_model, MessageModel::Broadcasting);
    let subscription = &consumer.subscription_data_set[0];
    assert_eq!((subscription.sub_version, subscription.expression_type.as_str()), (1_700_000_000_000, "TAG"));
    assert_eq!(subscription.code_set.iter().copied().collect::<Vec<_>>(), [65, 66]);
    assert!(heartbeat.producer_data_set.is_empty());
    check(
        &heartbeat,
        expect![[
            r#"{"clientID":"1@2","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"g","messageModel":"BROADCASTING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[65,66],"expressionType":"TAG","subString":"A||B","subVersion":1700000000000,"tagsSet":["A","B"],"topic":"t"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[],"withoutSub":false}"#
        ]],
    );
}

#[test]
fn one_topic_stands_flat() {
    let topic = TopicConfigAndQueueMapping {
        config: TopicConfig::new(TopicName::stored("t"), 8, 7),
        mapping_detail: None,
    };
    let text = json::to_vec_fastjson(&topic);
    assert_eq!(json::from_slice::<TopicConfig>(&text).unwrap(), topic.config);
    assert_eq!(json::from_slice::<TopicConfigAndQueueMapping>(&text).unwrap(), topic);
}

#[test]
fn queues_sort_by_topic_first() {
    let other = |topic: &str, broker: &str, id| MessageQueue {
        broker_name: BrokerName::stored(broker.to_owned()),
        queue_id: QueueId(id),
        topic: TopicName::stored(topic.to_owned()),
    };
    let sorted = [other("a", "z", 9), other("b", "a", 1), other("b", "a", 2), other("b", "b", 0)];
    assert!(sorted.is_sorted());
}

fn registration() -> RegisterBrokerBody {
    let mut body = RegisterBrokerBody { filter_server_list: vec!["10.0.0.1:1".into()], ..Default::default() };
    let topics = &mut body.topic_config_serialize_wrapper;
    topics.data_version = DataVersion { counter: 3, state_version: 1, timestamp: 1_700_000_000_000 };
    for name in ["t1", "%RETRY%g"] {
        let mut topic = TopicConfig::new(TopicName::stored(name.to_owned()), 4, 6);
        topic.attributes.insert("message.type".into(), "FIFO".into());
        topics.topic_config_table.insert(topic.topic_name.clone(), topic);
    }
    let mapping = TopicQueueMappingInfo {
        bname: BrokerName::stored("b"),
        curr_id_map: BTreeMap::from([(0, 0), (1, 3)]),
        topic: TopicName::stored("static"),
        total_queues: 2,
        ..TopicQueueMappingInfo::default()
    };
    topics.topic_queue_mapping_info_map.insert(mapping.topic.clone(), mapping);
    body
}

#[test]
fn registrations_have_two_forms() {
    let body = registration();
    for compressed in [false, true] {
        assert_eq!(RegisterBrokerBody::decode(&body.encode(compressed), compressed).unwrap(), body);
    }
}

fn inflate_and_read(bytes: &[u8]) -> Result<RegisterBrokerBody, RegisterError> {
    use crate::compress::{Codec, compress};
    RegisterBrokerBody::decode(&compress(Codec::Zlib, 1, bytes), true)
}

#[test]
fn a_registration_of_4x_ends_early_and_a_cut_one_is_refused() {
    let part = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let old = [part(b"{}"), vec![0, 0, 0, 1], part(b"t 1 2 6 SINGLE_TAG"), part(b"[]")].concat();
    let body = inflate_and_read(&old).unwrap();
    let topic = &body.topic_config_serialize_wrapper.topic_config_table["t"];
    assert_eq!((topic.read_queue_nums, topic.write_queue_nums), (1, 2));
    for cut in 0..old.len() {
        assert!(inflate_and_read(&old[..cut]).is_err(), "cut at {cut}");
    }
    let odd = [part(b"{}"), vec![0, 0, 0, 1], part(b"t 1 2 6 SINGLE_TAG {broken"), part(b"[]")].concat();
    assert!(
        inflate_and_read(&odd).unwrap().topic_config_serialize_wrapper.topic_config_table["t"]
            .attributes
            .is_empty()
    );
    let wrong = [part(b"{}"), vec![0, 0, 0, 1], part(b"t 1 x 6 SINGLE_TAG"), part(b"[]")].concat();
    assert!(matches!(inflate_and_read(&wrong), Err(RegisterError::Topic { .. })));
    // A million topics are announced, none follows; nothing is allocated for them.
    let lying = [part(b"{}"), vec![0xFF; 4]].concat();
    assert!(matches!(inflate_and_read(&lying), Err(RegisterError::Short { .. })));
}

proptest! {
    #[test]
    fn damaged_registrations_are_survived(at in any::<prop::sample::Index>(), byte in any::<u8>(), inside in any::<bool>()) {
        let body = registration();
        let mut bytes = if inside { body.deflatable() } else { body.encode(true) };
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = if inside { inflate_and_read(&bytes) } else { RegisterBrokerBody::decode(&bytes, true) };
    }
}
