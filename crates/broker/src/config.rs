// SPDX-License-Identifier: Apache-2.0
//! What an operator can set of a broker, with RocketMQ's names beside ours. Built by the command line and taken by
//! value; parts receive plain numbers. A request reads the live values once, at its start.

use std::net::SocketAddr;
use std::time::Duration;

use stdx::config::{Key, Range};
use stdx::{ByteSize, config};

use crate::delay::Levels;

config! {
    /// Who this broker is.
    pub struct Identity {
        /// The cluster this broker belongs to.
        cluster: String = "DefaultCluster".into(), "brokerClusterName", restart, Range::NotEmpty;
        /// The name that a master and its replicas share.
        name: String = "broker-a".into(), "brokerName", restart, Range::NotEmpty;
        /// 0 is the master, others are replicas.
        id: u64 = 0, "brokerId", restart;
        /// The address clients are told. Empty: the one they reached us on.
        advertised: Option<SocketAddr> = None, "advertisedAddr", restart;
        /// Put into message properties for traces.
        region: String = "DefaultRegion".into(), "regionId", restart;
        /// 4 read, 2 write; 6 is both.
        permission: u32 = 6, "brokerPermission", live, Range::Between(0, 6);
        /// Tells clients to record traces of their messages.
        trace_on: bool = true, "traceOn", restart;
        /// Creates the topic that SDKs send traces to.
        trace_topic: bool = false, "traceTopicEnable", restart;
    }
}

config! {
    /// Which topics and groups come into being by themselves.
    pub struct Creation {
        /// A send to an unknown topic creates it from its template.
        auto_create_topics: bool = true, "autoCreateTopicEnable", live;
        /// An unknown group is created when it first consumes.
        auto_create_groups: bool = true, "autoCreateSubscriptionGroup", live;
        /// Groups of servers and tools are created even when others are not.
        auto_create_system_groups: bool = true, "enableCreateSysGroup", live;
        /// Names that begin with `%LMQ%` are light queues: they can be read, and groups called so can read, without being made.
        light_queues: bool = true, "enableLmq", live;
        /// A message is put into the light queues that its property `INNER_MULTI_DISPATCH` lists.
        light_dispatch: bool = true, "enableMultiDispatch", live;
        /// The most light queues; a message for one more is refused.
        light_queues_max: usize = 1_000_000, "maxLmqConsumeQueueNum", live;
        /// The most topics; one more is not made, neither by an operator nor by a send. Those that belong to a group (retries,
        /// dead letters) do not count.
        topics_max: usize = 1_000_000, "", live;
        /// The most queues of all topics together, whether they are used or not.
        queues_max: usize = 4_000_000, "", live;
        /// The most consumer groups.
        groups_max: usize = 1_000_000, "", live;
        /// Queues of the template that new topics are made from.
        topic_queues: u32 = 8, "defaultTopicQueueNums", restart, Range::Between(1, 65_535);
        /// Topics may be set to take messages of every kind (`message.type=MIXED`).
        mixed_topics: bool = false, "enableMixedMessageType", live;
        /// Clients may use a topic named after the cluster.
        cluster_topic: bool = true, "clusterTopicEnable", restart;
        /// Clients may use a topic named after the broker.
        broker_topic: bool = true, "brokerTopicEnable", restart;
        /// Queues of the topic that holds the leases of popped messages.
        revive_queues: u32 = 8, "reviveQueueNum", restart, Range::Between(1, 65_535);
    }
}

config! {
    /// Sending and delayed delivery.
    pub struct Sending {
        /// The largest body of a message; larger ones would not fit a stage.
        max_message: ByteSize = ByteSize::mib(4), "maxMessageSize", live, Range::Between(1, 4 << 20);
        /// A message of another kind than its topic takes (`message.type`) is refused, as RocketMQ's proxies do; its brokers
        /// do not look.
        check_message_types: bool = false, "", live;
        /// How long a producer waits for the promised durability before it is told that the message is stored but
        /// not yet settled.
        settle_timeout: Duration = Duration::from_secs(5), "syncFlushTimeout", live;
        /// How long a send waits for room in memory while the disk is behind, before it is refused as busy.
        busy_wait: Duration = Duration::from_secs(1), "osPageCacheBusyTimeOutMills", live;
        /// The time of each delay level, level 1 first. Changing it moves the due time of messages already waiting.
        delay_levels: Levels = Levels::default(), "messageDelayLevel", restart;
        /// How far ahead a message may be timed, in seconds; 3650 days.
        timer_max_delay_secs: u64 = 315_360_000, "timerMaxDelaySec", live, Range::AtLeast(1);
        /// How many timed messages are delivered in a second at most; 0 is no limit.
        timer_rate: u32 = 100_000, "", live;
        /// Producers may take timed messages back.
        recall: bool = true, "recallMessageEnable", live;
        /// Replies to requests are stored in the reply topic besides being passed on.
        store_replies: bool = true, "storeReplyMessageEnable", live;
        /// The most messages of one batch.
        batch_messages_max: usize = 10_000, "", live, Range::AtLeast(1);
    }
}

config! {
    /// Transactions: half messages and the questions about them.
    pub struct Transactional {
        /// Half messages are refused.
        reject_transactions: bool = false, "rejectTransactionMessage", live;
        /// How long a producer is left alone after its half message, unless the message says otherwise.
        transaction_timeout: Duration = Duration::from_secs(6), "transactionTimeOut", live;
        /// The time between two questions about a transaction; after five it doubles with each, up to 16 times.
        transaction_check_interval: Duration = Duration::from_secs(30), "transactionCheckInterval", live, Range::AtLeast(1);
        /// How often is asked before a transaction is parked.
        transaction_checks_max: u32 = 15, "transactionCheckMax", live;
        /// The most transactions that wait for a decision; further half messages are refused as busy.
        transactions_open_max: usize = 1_000_000, "", live, Range::AtLeast(1);
    }
}

config! {
    /// Pulling and long polls.
    pub struct Reading {
        /// A pull that finds nothing waits for the time the client allows; if not, for `short_poll`.
        long_poll: bool = true, "longPollingEnable", live;
        /// How long a pull waits when long polls are off.
        short_poll: Duration = Duration::from_secs(1), "shortPollingTimeMills", live;
        /// The longest a client may make us keep its pull.
        long_poll_max: Duration = Duration::from_secs(120), "", live;
        /// The most pulls that wait at a time.
        waiters_max: usize = 100_000, "", restart, Range::AtLeast(1);
        /// The most messages one pull gets from recently written data.
        hot_messages_max: usize = 1024, "", live, Range::AtLeast(1);
        /// The most bytes one pull gets; clients' own wishes are honoured below it.
        bytes_max: ByteSize = ByteSize::mib(4), "", live, Range::AtLeast(1);
        /// What a pull gets when it names no size.
        bytes_default: ByteSize = ByteSize::kib(256), "maxTransferBytesOnMessageInMemory", live, Range::AtLeast(1);
        /// A new group starts a queue at its beginning while the log has grown less than this since.
        young_queue: ByteSize = ByteSize::gib(8), "", live;
        /// The lite pull consumer may pull.
        lite_pull: bool = true, "litePullMessageEnable", live;
        /// Consumers may ask for messages by their properties, with an SQL92 expression.
        property_filter: bool = true, "enablePropertyFilter", live;
        /// How many messages a query by unique key gives.
        query_max: usize = 32, "defaultQueryMaxNum", live, Range::AtLeast(1);
    }
}

config! {
    /// Clients, their progress and their locks.
    pub struct Consumers {
        /// A client that sent no heartbeat for this long is gone.
        session_timeout: Duration = Duration::from_secs(120), "channelExpiredTimeout", live, Range::AtLeast(1_000);
        /// Members of a group are told when others come and go.
        notify_members: bool = true, "notifyConsumerIdsChangedEnable", live;
        /// How often consumer progress becomes part of the log: what a killed process may forget.
        offsets_interval: Duration = Duration::from_secs(1), "flushConsumerOffsetInterval", live, Range::AtLeast(10);
        /// How long a queue stays locked for a client that does not renew.
        lock_lease: Duration = Duration::from_secs(60), "rebalanceLockMaxLiveTime", restart, Range::AtLeast(1);
        /// What becomes of a member whose filter of a topic is not its group's: `refuse` gives it no messages of the topic
        /// until the others are gone, `union` gives every member what any of them wants where that is the server's to choose.
        mixed_subscriptions: Mixed = Mixed::Refuse, "", live;
        /// Consumers may move a group's progress on the server; they follow with their next pull.
        server_side_reset: bool = true, "useServerSideResetOffset", live;
    }
}

/// What becomes of members of one group that want different things of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mixed {
    /// Those who want something else than the group has wanted longest get nothing.
    #[default]
    Refuse,
    /// All get what any of them wants, unless clients filter once more by themselves: tags are refused.
    Union,
}

impl stdx::config::Value for Mixed {
    const KIND: &'static str = "refuse or union";
    fn read(text: &str) -> Result<Mixed, String> {
        match text {
            "refuse" => Ok(Mixed::Refuse),
            "union" => Ok(Mixed::Union),
            other => Err(format!("'{other}' is neither refuse nor union")),
        }
    }
    fn print(&self) -> String {
        match self {
            Mixed::Refuse => "refuse".to_owned(),
            Mixed::Union => "union".to_owned(),
        }
    }
}

/// Everything an operator can set of a broker.
#[derive(Clone, Debug, Default)]
pub struct BrokerConfig {
    /// Who this broker is.
    pub identity: Identity,
    /// Which topics and groups come into being by themselves.
    pub creation: Creation,
    /// Sending and delayed delivery.
    pub sending: Sending,
    /// Transactions: half messages and the questions about them.
    pub transactional: Transactional,
    /// Pulling and long polls.
    pub reading: Reading,
    /// Clients, their progress and their locks.
    pub consumers: Consumers,
}

impl BrokerConfig {
    /// Every section: what it is about and its keys.
    pub fn sections() -> [(&'static str, &'static [Key]); 6] {
        [
            (Identity::ABOUT, Identity::KEYS),
            (Creation::ABOUT, Creation::KEYS),
            (Sending::ABOUT, Sending::KEYS),
            (Transactional::ABOUT, Transactional::KEYS),
            (Reading::ABOUT, Reading::KEYS),
            (Consumers::ABOUT, Consumers::KEYS),
        ]
    }

    /// Every key, section by section.
    pub fn keys() -> impl Iterator<Item = &'static Key> {
        BrokerConfig::sections().into_iter().flat_map(|(_, keys)| keys)
    }

    /// Sets a key by our name or RocketMQ's; `None` when there is no such key.
    pub fn set(&mut self, name: &str, text: &str) -> Option<Result<(), String>> {
        None.or_else(|| self.identity.set(name, text))
            .or_else(|| self.creation.set(name, text))
            .or_else(|| self.sending.set(name, text))
            .or_else(|| self.transactional.set(name, text))
            .or_else(|| self.reading.set(name, text))
            .or_else(|| self.consumers.set(name, text))
    }

    /// Prints a key's value by our name or RocketMQ's; `None` when there is no such key.
    pub fn get(&self, name: &str) -> Option<String> {
        None.or_else(|| self.identity.get(name))
            .or_else(|| self.creation.get(name))
            .or_else(|| self.sending.get(name))
            .or_else(|| self.transactional.get(name))
            .or_else(|| self.reading.get(name))
            .or_else(|| self.consumers.get(name))
    }

    /// Returns everything that cannot be served, each with key, value and reason.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut expect = |fine: bool, key: &str, why: &str| {
            if !fine {
                problems.push(format!("{key} = {}: {why}", self.get(key).unwrap_or_default()));
            }
        };
        expect(!self.identity.name.is_empty(), "name", "a broker has a name");
        expect(!self.identity.cluster.is_empty(), "cluster", "a broker belongs to a cluster");
        expect(self.identity.permission <= 6, "permission", "4 read, 2 write, 6 both, 0 none");
        expect(self.creation.topic_queues > 0, "topic_queues", "a topic has at least one queue");
        expect(self.sending.max_message.0 > 0, "max_message", "no message would fit");
        expect(
            self.sending.max_message.0 <= 64 << 20,
            "max_message",
            "a record of the log is at most 64 MiB long",
        );
        expect(self.sending.delay_levels.count() <= 64, "delay_levels", "at most 64 levels");
        expect(self.reading.waiters_max > 0, "waiters_max", "no consumer could wait");
        expect(!self.consumers.lock_lease.is_zero(), "lock_lease", "a lock would be over at once");
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_key_is_unique_and_reads_what_it_prints() {
        let mut names = HashSet::new();
        let mut config = BrokerConfig::default();
        for key in BrokerConfig::keys() {
            assert!(names.insert(key.name), "{} is declared twice", key.name);
            assert!(key.alias.is_empty() || names.insert(key.alias), "{} is declared twice", key.alias);
            let printed = config.get(key.name).expect("every key prints");
            assert_eq!(config.set(key.name, &printed), Some(Ok(())), "{}", key.name);
            assert_eq!(config.get(key.name), Some(printed), "{}", key.name);
        }
        assert_eq!(config.set("autoCreateTopicEnable", "false"), Some(Ok(())));
        assert!(!config.creation.auto_create_topics);
        assert_eq!(config.set("nonesuch", "1"), None);
    }

    #[test]
    fn says_all_that_is_wrong() {
        let mut config = BrokerConfig::default();
        assert_eq!(config.validate(), Vec::<String>::new());
        config.identity.permission = 9;
        config.sending.max_message = ByteSize(0);
        assert_eq!(config.validate().len(), 2);
    }
}
