// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Sends and their answer. One plain [`SendHeader`], two spellings of it on the wire: long names
//! (10, 324) and single letters (310, 320, 325). The code decides which one it is, never the shape.

use stdx::Timestamp;

use crate::names::{ByteStr, Group, LogOffset, QueueId, QueueOffset, TopicName};
use crate::properties::Properties;
use crate::request::{codec, header, request};

/// What a send says about its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendHeader {
    /// The producer's group.
    pub group: Group,
    /// Where the message goes.
    pub topic: TopicName,
    /// The topic to take settings from if `topic` has to be created.
    pub default_topic: Option<TopicName>,
    /// How many queues the producer would like in that case.
    pub default_queues: u32,
    /// The queue; `None` lets the broker pick one.
    pub queue: Option<QueueId>,
    /// Message system flags.
    pub sys_flag: i32,
    /// When the message was made.
    pub born_at: Timestamp,
    /// The application's own flag.
    pub flag: i32,
    /// The message's properties.
    pub properties: Properties,
    /// How often it was retried already.
    pub reconsume: i32,
    /// Whether the producer runs in unit mode.
    pub unit: bool,
    /// The consumer's limit of retries, when this is a retry.
    pub max_reconsume: Option<i32>,
    /// Whether the body holds many messages.
    pub batch: bool,
}

impl SendHeader {
    codec! {
        fn decode_long, fn encode_long, fn renewed_long, SendHeader {
            group: Group = "producerGroup",
            topic: TopicName = "topic",
            default_topic: Option<TopicName> = "defaultTopic" absent as "",
            default_queues: u32 = "defaultTopicQueueNums" or 0,
            queue: Option<QueueId> = "queueId" absent as "-1",
            sys_flag: i32 = "sysFlag",
            born_at: Timestamp = "bornTimestamp",
            flag: i32 = "flag" or 0,
            properties: Properties = "properties" or Properties::default(),
            reconsume: i32 = "reconsumeTimes" or 0,
            unit: bool = "unitMode" or false,
            max_reconsume: Option<i32> = "maxReconsumeTimes",
            batch: bool = "batch" or false,
        }
    }

    codec! {
        in order fn decode_short, fn encode_short, fn renewed_short, SendHeader {
            group: Group = "a",
            topic: TopicName = "b",
            default_topic: Option<TopicName> = "c" absent as "",
            default_queues: u32 = "d" or 0,
            queue: Option<QueueId> = "e" absent as "-1",
            sys_flag: i32 = "f",
            born_at: Timestamp = "g",
            flag: i32 = "h" or 0,
            properties: Properties = "i" or Properties::default(),
            reconsume: i32 = "j" or 0,
            unit: bool = "k" or false,
            max_reconsume: Option<i32> = "l",
            batch: bool = "m" or false,
        }
    }
}

request! {
    /// Stores one message; long field names.
    SendMessage = 10 -> SendReply, as SendHeader by decode_long, encode_long, renewed_long
}

request! {
    /// Stores one message; short field names.
    SendMessageV2 = 310 -> SendReply, as SendHeader by decode_short, encode_short, renewed_short
}

request! {
    /// Stores the messages of a batch body; short field names.
    SendBatchMessage = 320 -> SendReply, as SendHeader by decode_short, encode_short, renewed_short
}

request! {
    /// Answers a request message; long field names.
    SendReplyMessage = 324 -> SendReply, as SendHeader by decode_long, encode_long
}

request! {
    /// Answers a request message; short field names.
    SendReplyMessageV2 = 325 -> SendReply, as SendHeader by decode_short, encode_short, renewed_short
}

header! {
    /// What became of a send.
    SendReply {
        /// The offset id of the message, of many joined by commas.
        message_id: ByteStr = "msgId",
        /// The queue that took it.
        queue: QueueId = "queueId",
        /// Its place in that queue.
        queue_offset: QueueOffset = "queueOffset",
        /// The id of the transaction it belongs to.
        transaction_id: Option<ByteStr> = "transactionId",
        /// The id of a batch kept as one message.
        batch_id: Option<ByteStr> = "batchUniqId",
        /// What a delayed message is taken back with.
        recall_handle: Option<ByteStr> = "recallHandle",
        /// The broker's region.
        region: Option<ByteStr> = "MSG_REGION",
        /// Whether the broker wants traces.
        trace: Option<bool> = "TRACE_ON",
    }
}

request! {
    /// Gives a message back that could not be consumed: it is delivered again later, or becomes a dead letter.
    ConsumerSendMessageBack = 36 -> () {
        /// Where its record stands.
        offset: LogOffset = "offset",
        /// The consumer's group.
        group: Group = "group",
        /// Delay level of the retry; 0 leaves it to the broker, below 0 means dead letter.
        delay_level: i32 = "delayLevel",
        /// The message's id.
        message_id: Option<ByteStr> = "originMsgId",
        /// The topic it came from.
        topic: Option<TopicName> = "originTopic",
        /// Whether the consumer runs in unit mode.
        unit: bool = "unitMode" or false,
        /// The consumer's limit of retries.
        max_reconsume: Option<i32> = "maxReconsumeTimes",
        /// How often delivery failed before this failure, by the consumer's count: one that tries again by itself, to keep
        /// an order, knows more than the record says. Ours; Apache's brokers ignore it.
        reconsumed: Option<i32> = "reconsumeTimes",
    }
}

request! {
    /// Takes a delayed message back.
    RecallMessage = 370 -> RecallReply {
        /// The producer's group.
        group: Option<Group> = "producerGroup",
        /// The message's topic.
        topic: TopicName = "topic",
        /// The handle that the send was answered with.
        handle: ByteStr = "recallHandle",
    }
}

header! {
    /// What became of a recall.
    RecallReply {
        /// The id of the message that was taken back.
        message_id: Option<ByteStr> = "msgId",
        /// The broker's region; clients record a recall, done or refused, only when they are told.
        region: Option<ByteStr> = "MSG_REGION",
    }
}

request! {
    /// Server to client: the reply that the client waits for.
    PushReplyMessage = 326 -> () {
        /// The replier's group.
        group: Group = "producerGroup",
        /// The reply topic.
        topic: TopicName = "topic",
        /// As the reply was sent.
        default_topic: Option<TopicName> = "defaultTopic" absent as "",
        /// As the reply was sent.
        default_queues: u32 = "defaultTopicQueueNums" or 0,
        /// As the reply was sent.
        queue: Option<QueueId> = "queueId" absent as "-1",
        /// Message system flags.
        sys_flag: i32 = "sysFlag",
        /// When the reply was made.
        born_at: Timestamp = "bornTimestamp",
        /// The application's own flag.
        flag: i32 = "flag" or 0,
        /// The reply's properties.
        properties: Properties = "properties" or Properties::default(),
        /// How often it was retried.
        reconsume: i32 = "reconsumeTimes" or 0,
        /// Whether the replier runs in unit mode.
        unit: bool = "unitMode" or false,
        /// Where the reply came from.
        born_host: ByteStr = "bornHost",
        /// Which broker passes it on.
        store_host: ByteStr = "storeHost",
        /// When the broker took it.
        stored_at: Timestamp = "storeTimestamp",
    }
}
