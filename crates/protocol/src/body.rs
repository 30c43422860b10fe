// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What travels as JSON in bodies, one struct for each of Apache's classes and under its name, so that a
//! reader of either code finds the other. Used by every face and by the client, with `json` for the bytes.
//!
//! Members stand in the order of their JSON names, which is the order Apache prints them in. Unknown members are
//! ignored; a missing member has the value that Apache's class gives it.

mod assignment;
mod connection;
mod consume_queue;
mod group;
mod heartbeat;
mod journey;
mod lock;
mod mapping;
mod offsets;
mod queue;
mod register;
mod retry;
mod route;
mod running;
mod stats;
mod timer;
mod topic;
mod transaction;

pub use assignment::{
    MessageQueueAssignment, MessageRequestMode, MessageRequestModeSerializeWrapper,
    QueryAssignmentRequestBody, QueryAssignmentResponseBody, SetMessageRequestModeRequestBody,
};
pub use connection::{
    Connection, ConsumerConnection, GetConsumerListByGroupResponseBody, OtherSubscription,
    ProducerConnection, ProducerInfo, ProducerTableInfo, QuerySubscriptionResponseBody, SubscriptionDispute,
};
pub use consume_queue::{ConsumeQueueData, QueryConsumeQueueResponseBody};
pub use group::{
    GroupList, SimpleSubscriptionData, SubscriptionGroupConfig, SubscriptionGroupList,
    SubscriptionGroupWrapper,
};
pub use heartbeat::{
    CheckClientRequestBody, ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel,
    ProducerData, SubscriptionData,
};
pub use journey::{JourneyHop, MessageJourney};
pub use lock::{LockBatchRequestBody, LockBatchResponseBody, UnlockBatchRequestBody};
pub use mapping::{LogicQueueMappingItem, TopicQueueMappingDetail, TopicQueueMappingInfo};
pub use offsets::{
    ConsumeByWho, ConsumerOffsetSerializeWrapper, GetConsumerStatusBody, MessageQueueForC,
    QueryCorrectionOffsetBody, ResetOffsetBody, ResetOffsetBodyForC,
};
pub use queue::MessageQueue;
pub use register::{RegisterBrokerBody, RegisterError};
pub use retry::{
    BadRetryPolicy, CustomizedRetryPolicy, ExponentialRetryPolicy, GroupRetryPolicy, GroupRetryPolicyType,
};
pub use route::{
    BrokerData, BrokerMemberGroup, ClusterInfo, GetBrokerMemberGroupResponseBody, QueueData, TopicRouteData,
};
pub use running::{
    CMResult, ConsumeMessageDirectlyResult, ConsumeStatus, ConsumerRunningInfo, PopProcessQueueInfo,
    ProcessQueueInfo,
};
pub use stats::{
    BrokerStatsData, BrokerStatsItem, ConsumeStats, ConsumeStatsList, KVTable, OffsetWrapper,
    QueryConsumeTimeSpanBody, QueueTimeSpan, RollbackStats, TopicOffset, TopicStatsTable,
};
pub use timer::{TimerBar, TimerHistogram, TimerInfo, TimerList, TimerTopic};
pub use topic::{
    CreateTopicListRequestBody, TopicConfig, TopicConfigAndMappingSerializeWrapper,
    TopicConfigAndQueueMapping, TopicConfigSerializeWrapper, TopicFilterType, TopicList,
};
pub use transaction::{TransactionInfo, TransactionList};

#[cfg(test)]
mod tests;
