// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Clients that report themselves, and what servers tell them on the same connection.

use crate::names::{ByteStr, Group, TopicName};
use crate::request::{header, request};

request! {
    /// Says that a client is alive; groups and subscriptions are the body.
    Heartbeat = 34 -> HeartbeatReply
}

header! {
    /// What the server can do with heartbeats.
    HeartbeatReply {
        /// Whether the next heartbeat may leave its subscriptions out.
        without_subscriptions: Option<bool> = "IS_SUPPORT_HEART_BEAT_V2",
        /// Whether the subscriptions differ from what the server knew.
        changed: Option<bool> = "IS_SUB_CHANGE",
    }
}

request! {
    /// Says that a client leaves a group.
    UnregisterClient = 35 -> () {
        /// The client.
        client: ByteStr = "clientID",
        /// The group it produced for.
        producer_group: Option<Group> = "producerGroup",
        /// The group it consumed for.
        consumer_group: Option<Group> = "consumerGroup",
    }
}

request! {
    /// Asks whether the server can use a client's filters; they are the body.
    CheckClientConfig = 46 -> ()
}

request! {
    /// Lists the members of a consumer group.
    GetConsumerListByGroup = 38 -> () {
        /// The group.
        group: Group = "consumerGroup",
    }
}

request! {
    /// Server to client, one way: the members of a group changed, so share the queues anew.
    NotifyConsumerIdsChanged = 40 -> () {
        /// The group.
        group: Group = "consumerGroup",
    }
}

request! {
    /// Which mode (pull or pop) and which queues a consumer has; question and answer are bodies.
    QueryAssignment = 400 -> ()
}

request! {
    /// Sets pull or pop for a topic and group; the setting is the body.
    SetMessageRequestMode = 401 -> ()
}

request! {
    /// Server to client: tell what you are doing. Also mqadmin to the broker, which passes it on.
    GetConsumerRunningInfo = 307 -> () {
        /// The group.
        group: Group = "consumerGroup",
        /// The client.
        client: ByteStr = "clientId",
        /// Whether to add its stacks.
        stacks: bool = "jstackEnable" or false,
    }
}

request! {
    /// Server to client: consume this message now. Also mqadmin to the broker, which passes it on.
    ConsumeMessageDirectly = 309 -> () {
        /// The group.
        group: Group = "consumerGroup",
        /// The client.
        client: Option<ByteStr> = "clientId",
        /// The message's id.
        message_id: Option<ByteStr> = "msgId",
        /// The broker that has it.
        broker: Option<ByteStr> = "brokerName",
        /// Its topic.
        topic: Option<TopicName> = "topic",
        /// Flags of the topic.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Flags of the group.
        group_sys_flag: Option<i32> = "groupSysFlag",
    }
}
