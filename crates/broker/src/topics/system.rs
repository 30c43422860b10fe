// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The topics that every broker has, as they follow from its configuration. Read when topics open and when
//! the configuration changes. Names, queues and permissions are those that clients and tools look for.

use protocol::body::TopicConfig;
use protocol::names::{
    AUTO_CREATE_TOPIC, BENCHMARK_TOPIC, HALF_OP_TOPIC, HALF_TOPIC, OFFSET_MOVED_TOPIC, SCHEDULE_TOPIC,
    SELF_TEST_TOPIC, TIMER_TOPIC, TRACE_TOPIC, TopicName,
};

use super::{INHERIT, READ, WRITE};
use crate::config::BrokerConfig;

const BOTH: i32 = READ | WRITE;

/// Returns the topics that a broker with this configuration has.
pub(super) fn topics(config: &BrokerConfig) -> Vec<TopicConfig> {
    let topic = |name: &str, queues: u32, perm: i32| {
        TopicConfig::new(TopicName::stored(name), i32::try_from(queues).unwrap_or(i32::MAX), perm)
    };
    let allowed = |allowed: bool| INHERIT | if allowed { BOTH } else { 0 };
    let (identity, creation) = (&config.identity, &config.creation);
    let mut topics = vec![
        topic(SELF_TEST_TOPIC, 1, BOTH),
        topic(BENCHMARK_TOPIC, 1024, BOTH),
        topic(&identity.cluster, 16, allowed(creation.cluster_topic)),
        topic(&identity.name, 1, allowed(creation.broker_topic)),
        topic(OFFSET_MOVED_TOPIC, 1, BOTH),
        topic(SCHEDULE_TOPIC, config.sending.delay_levels.count() as u32, BOTH),
        topic(&format!("{}_REPLY_TOPIC", identity.cluster), 1, BOTH),
        topic(&format!("rmq_sys_REVIVE_LOG_{}", identity.cluster), creation.revive_queues, BOTH),
        topic(&format!("rmq_sys_SYNC_BROKER_MEMBER_{}", identity.name), 1, INHERIT),
        topic(HALF_TOPIC, 1, BOTH),
        topic(HALF_OP_TOPIC, 1, BOTH),
        topic(TIMER_TOPIC, 1, BOTH),
    ];
    if creation.auto_create_topics {
        topics.push(topic(AUTO_CREATE_TOPIC, creation.topic_queues, INHERIT | BOTH));
    }
    if identity.trace_topic {
        topics.push(topic(TRACE_TOPIC, 1, BOTH));
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn what_a_broker_has_from_the_start() {
        let print = |config: &BrokerConfig| {
            let line = |topic: TopicConfig| {
                format!("{} {} {}\n", topic.topic_name, topic.write_queue_nums, topic.perm)
            };
            topics(config).into_iter().map(line).collect::<String>()
        };
        let mut config = BrokerConfig::default();
        expect![[r#"
            SELF_TEST_TOPIC 1 6
            BenchmarkTest 1024 6
            DefaultCluster 16 7
            broker-a 1 7
            OFFSET_MOVED_EVENT 1 6
            SCHEDULE_TOPIC_XXXX 18 6
            DefaultCluster_REPLY_TOPIC 1 6
            rmq_sys_REVIVE_LOG_DefaultCluster 8 6
            rmq_sys_SYNC_BROKER_MEMBER_broker-a 1 1
            RMQ_SYS_TRANS_HALF_TOPIC 1 6
            RMQ_SYS_TRANS_OP_HALF_TOPIC 1 6
            rmq_sys_wheel_timer 1 6
            TBW102 8 7
        "#]]
        .assert_eq(&print(&config));
        config.creation.auto_create_topics = false;
        config.identity.trace_topic = true;
        let printed = print(&config);
        assert!(printed.contains(TRACE_TOPIC) && !printed.contains(AUTO_CREATE_TOPIC), "{printed}");
    }
}
