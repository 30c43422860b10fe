// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What clients and tools ask name servers, and how brokers report to them.

use std::time::Duration;

use crate::names::{BrokerName, ByteStr, TopicName};
use crate::request::{header, request};

request! {
    /// Asks where a topic lives; the route is the body.
    GetRouteInfo = 105 -> () {
        /// The topic.
        topic: TopicName = "topic",
        /// Whether the asker reads nothing but standard JSON.
        standard_json: bool = "acceptStandardJsonOnly" or false,
    }
}

request! {
    /// Lists brokers and clusters; they are the body.
    GetBrokerClusterInfo = 106 -> ()
}

request! {
    /// A broker says that it is there, and with which topics (the body).
    RegisterBroker = 103 -> RegisterBrokerReply {
        /// The broker's name.
        broker: BrokerName = "brokerName",
        /// Its address.
        address: ByteStr = "brokerAddr",
        /// Its cluster.
        cluster: ByteStr = "clusterName",
        /// Where replicas copy from.
        replication_address: Option<ByteStr> = "haServerAddr" absent as "",
        /// Its number under that name: 0 is the master.
        broker_id: i64 = "brokerId",
        /// How long it counts as alive without another word.
        lease: Option<Duration> = "heartbeatTimeoutMillis",
        /// Whether a replica may stand in for the master.
        acting_master: Option<bool> = "enableActingMaster",
        /// Whether the body is compressed.
        compressed: bool = "compressed" or false,
        /// Checksum of the body; 0 for none.
        body_crc: i32 = "bodyCrc32" or 0,
    }
}

header! {
    /// Who is master under the broker's name.
    RegisterBrokerReply {
        /// Where replicas copy from.
        replication_address: Option<ByteStr> = "haServerAddr",
        /// The master's address.
        master_address: Option<ByteStr> = "masterAddr",
    }
}

request! {
    /// A broker says that it goes.
    UnregisterBroker = 104 -> () {
        /// The broker's name.
        broker: BrokerName = "brokerName",
        /// Its address.
        address: ByteStr = "brokerAddr",
        /// Its cluster.
        cluster: ByteStr = "clusterName",
        /// Its number under that name.
        broker_id: i64 = "brokerId",
    }
}

request! {
    /// A broker asks whether its topics (their version is the body) are news.
    QueryDataVersion = 322 -> QueryDataVersionReply {
        /// The broker's name.
        broker: BrokerName = "brokerName",
        /// Its address.
        address: ByteStr = "brokerAddr",
        /// Its cluster.
        cluster: ByteStr = "clusterName",
        /// Its number under that name.
        broker_id: i64 = "brokerId",
    }
}

header! {
    /// Whether a full registration is due.
    QueryDataVersionReply {
        /// True when the name server knows another version.
        changed: bool = "changed",
    }
}

request! {
    /// Lists the brokers of one name; they are the body.
    GetBrokerMemberGroup = 901 -> () {
        /// The cluster.
        cluster: ByteStr = "clusterName",
        /// The brokers' name.
        broker: BrokerName = "brokerName",
    }
}

request! {
    /// A broker says that it is still alive.
    BrokerHeartbeat = 904 -> () {
        /// Its cluster.
        cluster: ByteStr = "clusterName",
        /// Its address.
        address: ByteStr = "brokerAddr",
        /// Its name.
        broker: BrokerName = "brokerName",
        /// Its number under that name.
        broker_id: Option<i64> = "brokerId",
        /// The epoch it knows.
        epoch: Option<i32> = "epoch",
        /// End of its log.
        max_offset: Option<i64> = "maxOffset",
        /// How far its log is confirmed.
        confirmed: Option<i64> = "confirmOffset",
        /// How long it counts as alive without another word.
        lease: Option<Duration> = "heartbeatTimeoutMills",
        /// Smaller wins in an election.
        priority: Option<i32> = "electionPriority",
    }
}

request! {
    /// A broker adds one topic to its registration; the topic's route is the body.
    RegisterTopic = 217 -> () {
        /// The topic.
        topic: TopicName = "topic",
    }
}

request! {
    /// Takes the write permission of every topic on a broker away.
    WipeWritePermission = 205 -> WipeWritePermissionReply {
        /// The broker.
        broker: BrokerName = "brokerName",
    }
}

header! {
    /// What was changed.
    WipeWritePermissionReply {
        /// How many topics.
        topics: i32 = "wipeTopicCount",
    }
}

request! {
    /// Gives the write permission back to every topic on a broker.
    AddWritePermission = 327 -> AddWritePermissionReply {
        /// The broker.
        broker: BrokerName = "brokerName",
    }
}

header! {
    /// What was changed.
    AddWritePermissionReply {
        /// How many topics.
        topics: i32 = "addTopicCount",
    }
}

request! {
    /// Lists every topic; the list is the body.
    GetAllTopicListFromNameServer = 206 -> ()
}

request! {
    /// Takes a topic out of the routes.
    DeleteTopicInNameServer = 216 -> () {
        /// The topic.
        topic: TopicName = "topic",
        /// Only in this cluster.
        cluster: Option<ByteStr> = "clusterName",
    }
}

request! {
    /// Lists the topics of one cluster.
    GetTopicsByCluster = 224 -> () {
        /// The cluster.
        cluster: ByteStr = "cluster",
    }
}

request! {
    /// Lists the topics that belong to the servers.
    GetSystemTopicListFromNameServer = 304 -> ()
}

request! {
    /// Lists the topics in unit mode.
    GetUnitTopicList = 311 -> ()
}

request! {
    /// Lists the topics with subscriptions in unit mode.
    GetHasUnitSubTopicList = 312 -> ()
}

request! {
    /// Lists the topics outside unit mode with subscriptions in unit mode.
    GetHasUnitSubUnunitTopicList = 313 -> ()
}

request! {
    /// Keeps a value under a key.
    PutKvConfig = 100 -> () {
        /// The key's namespace.
        namespace: ByteStr = "namespace",
        /// The key.
        key: ByteStr = "key",
        /// The value.
        value: ByteStr = "value",
    }
}

request! {
    /// Asks for the value under a key.
    GetKvConfig = 101 -> GetKvConfigReply {
        /// The key's namespace.
        namespace: ByteStr = "namespace",
        /// The key.
        key: ByteStr = "key",
    }
}

header! {
    /// What is kept under the key.
    GetKvConfigReply {
        /// The value.
        value: Option<ByteStr> = "value",
    }
}

request! {
    /// Forgets the value under a key.
    DeleteKvConfig = 102 -> () {
        /// The key's namespace.
        namespace: ByteStr = "namespace",
        /// The key.
        key: ByteStr = "key",
    }
}

request! {
    /// Lists every key and value of a namespace.
    GetKvListByNamespace = 219 -> () {
        /// The namespace.
        namespace: ByteStr = "namespace",
    }
}

request! {
    /// Changes settings of a name server; they are the body, as properties text.
    UpdateNameServerConfig = 318 -> ()
}

request! {
    /// Asks for the settings of a name server.
    GetNameServerConfig = 319 -> ()
}

request! {
    /// Name server to broker, one way: another broker now has the smallest number of that name.
    NotifyMinBrokerIdChange = 905 -> () {
        /// That number.
        min_broker_id: Option<i64> = "minBrokerId",
        /// The brokers' name.
        broker: Option<BrokerName> = "brokerName",
        /// The address of the one with that number.
        min_address: Option<ByteStr> = "minBrokerAddr",
        /// The address of the one that went.
        offline_address: Option<ByteStr> = "offlineBrokerAddr",
        /// Where replicas copy from.
        replication_address: Option<ByteStr> = "haBrokerAddr",
    }
}
