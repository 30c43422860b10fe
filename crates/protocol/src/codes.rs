// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Every request code there is, in one table: its number, its name, who answers it, since when.
//! Routers check themselves against it; a code that is neither routed nor refused by name fails a test there.
//! Invariant: sorted by number, no number and no name twice.

mod response;

pub use response::ResponseCode;

/// One request code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeInfo {
    /// Its number.
    pub code: i32,
    /// Its name, as in Apache.
    pub name: &'static str,
    /// Whose work it is.
    pub answered_by: Answerer,
    /// The line of versions that brought it.
    pub since: Since,
}

/// Which program answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answerer {
    /// Brokers.
    Broker,
    /// Name servers.
    NameServer,
    /// Controllers.
    Controller,
    /// Name servers and controllers, each for its own lists.
    NameServerAndController,
    /// Clients: the server asks.
    Client,
    /// Brokers, which pass it on to a client.
    BrokerAndClient,
    /// The container of several brokers.
    Container,
    /// A number that was given away but that no program answers.
    Nobody,
}

/// The line of versions in which a code appeared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Up to 4.9.
    V4,
    /// 5.0 to 5.3.
    V5,
    /// 5.4 and later.
    V5_4,
    /// Ours: no version of RocketMQ has it.
    Own,
}

macro_rules! codes {
    ($($code:literal $name:ident $by:ident $since:ident;)+) => {
        /// Every request code by name.
        pub mod code {
            $(#[doc = concat!("Request code ", $code, ".")] pub const $name: i32 = $code;)+
        }

        /// Every request code, sorted by number.
        pub const TABLE: &[CodeInfo] = &[
            $(CodeInfo { code: $code, name: stringify!($name), answered_by: Answerer::$by, since: Since::$since },)+
        ];
    };
}

codes! {
    10 SEND_MESSAGE Broker V4;
    11 PULL_MESSAGE Broker V4;
    12 QUERY_MESSAGE Broker V4;
    13 QUERY_BROKER_OFFSET Broker V4;
    14 QUERY_CONSUMER_OFFSET Broker V4;
    15 UPDATE_CONSUMER_OFFSET Broker V4;
    17 UPDATE_AND_CREATE_TOPIC Broker V4;
    18 UPDATE_AND_CREATE_TOPIC_LIST Broker V5;
    21 GET_ALL_TOPIC_CONFIG Broker V4;
    22 GET_TOPIC_CONFIG_LIST Nobody V4;
    23 GET_TOPIC_NAME_LIST Nobody V4;
    25 UPDATE_BROKER_CONFIG Broker V4;
    26 GET_BROKER_CONFIG Broker V4;
    27 TRIGGER_DELETE_FILES Nobody V4;
    28 GET_BROKER_RUNTIME_INFO Broker V4;
    29 SEARCH_OFFSET_BY_TIMESTAMP Broker V4;
    30 GET_MAX_OFFSET Broker V4;
    31 GET_MIN_OFFSET Broker V4;
    32 GET_EARLIEST_MSG_STORETIME Broker V4;
    33 VIEW_MESSAGE_BY_ID Broker V4;
    34 HEART_BEAT Broker V4;
    35 UNREGISTER_CLIENT Broker V4;
    36 CONSUMER_SEND_MSG_BACK Broker V4;
    37 END_TRANSACTION Broker V4;
    38 GET_CONSUMER_LIST_BY_GROUP Broker V4;
    39 CHECK_TRANSACTION_STATE Client V4;
    40 NOTIFY_CONSUMER_IDS_CHANGED Client V4;
    41 LOCK_BATCH_MQ Broker V4;
    42 UNLOCK_BATCH_MQ Broker V4;
    43 GET_ALL_CONSUMER_OFFSET Broker V4;
    45 GET_ALL_DELAY_OFFSET Broker V4;
    46 CHECK_CLIENT_CONFIG Broker V4;
    47 GET_CLIENT_CONFIG Nobody V4;
    50 UPDATE_AND_CREATE_ACL_CONFIG Nobody V4;
    51 DELETE_ACL_CONFIG Nobody V4;
    52 GET_BROKER_CLUSTER_ACL_INFO Nobody V4;
    53 UPDATE_GLOBAL_WHITE_ADDRS_CONFIG Nobody V4;
    54 GET_BROKER_CLUSTER_ACL_CONFIG Nobody V4;
    60 GET_TIMER_CHECK_POINT Broker V5;
    61 GET_TIMER_METRICS Broker V5;
    100 PUT_KV_CONFIG NameServer V4;
    101 GET_KV_CONFIG NameServer V4;
    102 DELETE_KV_CONFIG NameServer V4;
    103 REGISTER_BROKER NameServer V4;
    104 UNREGISTER_BROKER NameServer V4;
    105 GET_ROUTEINFO_BY_TOPIC NameServer V4;
    106 GET_BROKER_CLUSTER_INFO NameServer V4;
    200 UPDATE_AND_CREATE_SUBSCRIPTIONGROUP Broker V4;
    201 GET_ALL_SUBSCRIPTIONGROUP_CONFIG Broker V4;
    202 GET_TOPIC_STATS_INFO Broker V4;
    203 GET_CONSUMER_CONNECTION_LIST Broker V4;
    204 GET_PRODUCER_CONNECTION_LIST Broker V4;
    205 WIPE_WRITE_PERM_OF_BROKER NameServer V4;
    206 GET_ALL_TOPIC_LIST_FROM_NAMESERVER NameServer V4;
    207 DELETE_SUBSCRIPTIONGROUP Broker V4;
    208 GET_CONSUME_STATS Broker V4;
    209 SUSPEND_CONSUMER Nobody V4;
    210 RESUME_CONSUMER Nobody V4;
    211 RESET_CONSUMER_OFFSET_IN_CONSUMER Nobody V4;
    212 RESET_CONSUMER_OFFSET_IN_BROKER Nobody V4;
    213 ADJUST_CONSUMER_THREAD_POOL Nobody V4;
    214 WHO_CONSUME_THE_MESSAGE Nobody V4;
    215 DELETE_TOPIC_IN_BROKER Broker V4;
    216 DELETE_TOPIC_IN_NAMESRV NameServer V4;
    217 REGISTER_TOPIC_IN_NAMESRV NameServer V4;
    219 GET_KVLIST_BY_NAMESPACE NameServer V4;
    220 RESET_CONSUMER_CLIENT_OFFSET Client V4;
    221 GET_CONSUMER_STATUS_FROM_CLIENT Client V4;
    222 INVOKE_BROKER_TO_RESET_OFFSET Broker V4;
    223 INVOKE_BROKER_TO_GET_CONSUMER_STATUS Broker V4;
    224 GET_TOPICS_BY_CLUSTER NameServer V4;
    225 UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST Broker V5;
    300 QUERY_TOPIC_CONSUME_BY_WHO Broker V4;
    301 REGISTER_FILTER_SERVER Nobody V4;
    302 REGISTER_MESSAGE_FILTER_CLASS Nobody V4;
    303 QUERY_CONSUME_TIME_SPAN Broker V4;
    304 GET_SYSTEM_TOPIC_LIST_FROM_NS NameServer V4;
    305 GET_SYSTEM_TOPIC_LIST_FROM_BROKER Broker V4;
    306 CLEAN_EXPIRED_CONSUMEQUEUE Broker V4;
    307 GET_CONSUMER_RUNNING_INFO BrokerAndClient V4;
    308 QUERY_CORRECTION_OFFSET Broker V4;
    309 CONSUME_MESSAGE_DIRECTLY BrokerAndClient V4;
    310 SEND_MESSAGE_V2 Broker V4;
    311 GET_UNIT_TOPIC_LIST NameServer V4;
    312 GET_HAS_UNIT_SUB_TOPIC_LIST NameServer V4;
    313 GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST NameServer V4;
    314 CLONE_GROUP_OFFSET Broker V4;
    315 VIEW_BROKER_STATS_DATA Broker V4;
    316 CLEAN_UNUSED_TOPIC Broker V4;
    317 GET_BROKER_CONSUME_STATS Broker V4;
    318 UPDATE_NAMESRV_CONFIG NameServer V4;
    319 GET_NAMESRV_CONFIG NameServer V5;
    320 SEND_BATCH_MESSAGE Broker V4;
    321 QUERY_CONSUME_QUEUE Broker V4;
    322 QUERY_DATA_VERSION NameServer V4;
    323 RESUME_CHECK_HALF_MESSAGE Broker V4;
    324 SEND_REPLY_MESSAGE Broker V4;
    325 SEND_REPLY_MESSAGE_V2 Broker V4;
    326 PUSH_REPLY_MESSAGE_TO_CLIENT Client V4;
    327 ADD_WRITE_PERM_OF_BROKER NameServer V4;
    328 GET_ALL_PRODUCER_INFO Broker V5;
    329 DELETE_EXPIRED_COMMITLOG Broker V5;
    343 QUERY_TOPICS_BY_CONSUMER Broker V4;
    345 QUERY_SUBSCRIPTION_BY_CONSUMER Broker V5;
    351 GET_TOPIC_CONFIG Broker V4;
    352 GET_SUBSCRIPTIONGROUP_CONFIG Broker V5;
    353 UPDATE_AND_GET_GROUP_FORBIDDEN Broker V5;
    354 CHECK_ROCKSDB_CQ_WRITE_PROGRESS Broker V5;
    355 EXPORT_ROCKSDB_CONFIG_TO_JSON Broker V5;
    361 LITE_PULL_MESSAGE Broker V5;
    370 RECALL_MESSAGE Broker V5;
    400 QUERY_ASSIGNMENT Broker V5;
    401 SET_MESSAGE_REQUEST_MODE Broker V5;
    402 GET_ALL_MESSAGE_REQUEST_MODE Broker V5;
    513 UPDATE_AND_CREATE_STATIC_TOPIC Broker V5;
    901 GET_BROKER_MEMBER_GROUP NameServer V5;
    902 ADD_BROKER Container V5;
    903 REMOVE_BROKER Container V5;
    904 BROKER_HEARTBEAT NameServerAndController V5;
    905 NOTIFY_MIN_BROKER_ID_CHANGE Broker V5;
    906 EXCHANGE_BROKER_HA_INFO Broker V5;
    907 GET_BROKER_HA_STATUS Broker V5;
    908 RESET_MASTER_FLUSH_OFFSET Broker V5;
    1001 CONTROLLER_ALTER_SYNC_STATE_SET Controller V5;
    1002 CONTROLLER_ELECT_MASTER Controller V5;
    1003 CONTROLLER_REGISTER_BROKER Controller V5;
    1004 CONTROLLER_GET_REPLICA_INFO Controller V5;
    1005 CONTROLLER_GET_METADATA_INFO Controller V5;
    1006 CONTROLLER_GET_SYNC_STATE_DATA Controller V5;
    1007 GET_BROKER_EPOCH_CACHE Broker V5;
    1008 NOTIFY_BROKER_ROLE_CHANGED Broker V5;
    1009 UPDATE_CONTROLLER_CONFIG Controller V5;
    1010 GET_CONTROLLER_CONFIG Controller V5;
    1011 CLEAN_BROKER_DATA Controller V5;
    1012 CONTROLLER_GET_NEXT_BROKER_ID Controller V5;
    1013 CONTROLLER_APPLY_BROKER_ID Controller V5;
    2001 UPDATE_COLD_DATA_FLOW_CTR_CONFIG Broker V5;
    2002 REMOVE_COLD_DATA_FLOW_CTR_CONFIG Broker V5;
    2003 GET_COLD_DATA_FLOW_CTR_INFO Broker V5;
    2004 SET_COMMITLOG_READ_MODE Broker V5;
    3001 AUTH_CREATE_USER Broker V5;
    3002 AUTH_UPDATE_USER Broker V5;
    3003 AUTH_DELETE_USER Broker V5;
    3004 AUTH_GET_USER Broker V5;
    3005 AUTH_LIST_USER Broker V5;
    3006 AUTH_CREATE_ACL Broker V5;
    3007 AUTH_UPDATE_ACL Broker V5;
    3008 AUTH_DELETE_ACL Broker V5;
    3009 AUTH_GET_ACL Broker V5;
    3010 AUTH_LIST_ACL Broker V5;
    5001 SWITCH_TIMER_ENGINE Broker V5_4;
    30020 LIST_TRANSACTIONS Broker Own;
    30021 SHOW_TRANSACTION Broker Own;
    30022 DECIDE_TRANSACTION Broker Own;
    30040 LIST_TIMERS Broker Own;
    30041 SHOW_TIMER Broker Own;
    30042 CHANGE_TIMER Broker Own;
    30043 COUNT_TIMERS Broker Own;
    30060 TRACE_MESSAGE Broker Own;
    200050 POP_MESSAGE Broker V5;
    200051 ACK_MESSAGE Broker V5;
    200052 PEEK_MESSAGE Broker V5;
    200053 CHANGE_MESSAGE_INVISIBLETIME Broker V5;
    200054 NOTIFICATION Broker V5;
    200055 POLLING_INFO Broker V5;
    200056 POP_ROLLBACK Broker V5;
    200070 POP_LITE_MESSAGE Broker V5_4;
    200071 LITE_SUBSCRIPTION_CTL Broker V5_4;
    200072 ACK_LITE_MESSAGE Broker V5_4;
    200073 NOTIFY_UNSUBSCRIBE_LITE Client V5_4;
    200074 GET_BROKER_LITE_INFO Broker V5_4;
    200075 GET_PARENT_TOPIC_INFO Broker V5_4;
    200076 GET_LITE_TOPIC_INFO Broker V5_4;
    200077 GET_LITE_CLIENT_INFO Broker V5_4;
    200078 GET_LITE_GROUP_INFO Broker V5_4;
    200079 TRIGGER_LITE_DISPATCH Broker V5_4;
    200151 BATCH_ACK_MESSAGE Broker V5;
}

/// What is known about a request code.
pub fn lookup(code: i32) -> Option<&'static CodeInfo> {
    TABLE.binary_search_by_key(&code, |info| info.code).ok().and_then(|at| TABLE.get(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_are_single() {
        assert!(TABLE.windows(2).all(|pair| pair[0].code < pair[1].code));
        let mut names: Vec<_> = TABLE.iter().map(|info| info.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn codes_are_found_by_number() {
        assert_eq!(lookup(code::PULL_MESSAGE).map(|info| info.name), Some("PULL_MESSAGE"));
        assert_eq!(lookup(code::POP_MESSAGE).map(|info| info.code), Some(200_050));
        assert_eq!(
            lookup(code::NOTIFY_CONSUMER_IDS_CHANGED).map(|info| info.answered_by),
            Some(Answerer::Client)
        );
        assert_eq!(lookup(-1), None);
    }
}
