// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The names of all properties that mean something to servers or SDKs.

/// Index keys, separated by spaces.
pub const KEYS: &str = "KEYS";
/// The tag that filters look at.
pub const TAGS: &str = "TAGS";
/// Whether the sender waits for the message to be stored.
pub const WAIT: &str = "WAIT";
/// Delay level.
pub const DELAY: &str = "DELAY";
/// The topic a retried message came from.
pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
/// The topic behind a delay, half or timer topic.
pub const REAL_TOPIC: &str = "REAL_TOPIC";
/// The queue behind a delay, half or timer topic.
pub const REAL_QID: &str = "REAL_QID";
/// Set on half messages.
pub const TRAN_MSG: &str = "TRAN_MSG";
/// The producer's group, for transaction checks.
pub const PGROUP: &str = "PGROUP";
/// First offset of the queue; clients fill it in from a pull's answer.
pub const MIN_OFFSET: &str = "MIN_OFFSET";
/// End of the queue; clients fill it in from a pull's answer.
pub const MAX_OFFSET: &str = "MAX_OFFSET";
/// Not used any more.
pub const BUYER_ID: &str = "BUYER_ID";
/// The id of the first send of a retried message.
pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
/// Not used any more.
pub const TRANSFER_FLAG: &str = "TRANSFER_FLAG";
/// Not used any more.
pub const CORRECTION_FLAG: &str = "CORRECTION_FLAG";
/// Not used any more.
pub const MQ2_FLAG: &str = "MQ2_FLAG";
/// How often a message was retried, when the client itself sends the retry.
pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
/// The broker's region; also a field of answers.
pub const MSG_REGION: &str = "MSG_REGION";
/// Whether the broker wants traces; also a field of answers.
pub const TRACE_ON: &str = "TRACE_ON";
/// The id made by the producer.
pub const UNIQ_KEY: &str = "UNIQ_KEY";
/// More about the id.
pub const EXTEND_UNIQ_INFO: &str = "EXTEND_UNIQ_INFO";
/// The client's limit of retries, carried with a retry.
pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
/// When a client began with the message.
pub const CONSUME_START_TIME: &str = "CONSUME_START_TIME";
/// How many messages an inner batch holds.
pub const INNER_NUM: &str = "INNER_NUM";
/// The first queue offset of an inner batch.
pub const INNER_BASE: &str = "INNER_BASE";
/// For removing doubles.
pub const DUP_INFO: &str = "DUP_INFO";
/// How long a half message is left alone before it is asked about.
pub const CHECK_IMMUNITY_TIME_IN_SECONDS: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
/// Where the half message first stood, after it was put again.
pub const TRAN_PREPARED_QUEUE_OFFSET: &str = "TRAN_PREPARED_QUEUE_OFFSET";
/// The id of the transaction.
pub const TRANSACTION_ID: &str = "__transactionId__";
/// How often a half message was asked about.
pub const TRANSACTION_CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
/// The namespace.
pub const INSTANCE_ID: &str = "INSTANCE_ID";
/// Ties a reply to its request.
pub const CORRELATION_ID: &str = "CORRELATION_ID";
/// The client that waits for the reply.
pub const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";
/// How long a request waits for its reply.
pub const TTL: &str = "TTL";
/// When a reply reached the broker.
pub const ARRIVE_TIME: &str = "ARRIVE_TIME";
/// When a reply was pushed to the client.
pub const PUSH_REPLY_TIME: &str = "PUSH_REPLY_TIME";
/// `reply` for replies.
pub const MSG_TYPE: &str = "MSG_TYPE";
/// The cluster that took the message.
pub const CLUSTER: &str = "CLUSTER";
/// The handle of a popped message.
pub const POP_CK: &str = "POP_CK";
/// The first offset of a pop.
pub const POP_CK_OFFSET: &str = "POP_CK_OFFSET";
/// When a message was first popped.
pub const FIRST_POP_TIME: &str = "1ST_POP_TIME";
/// What messages in order have in common.
pub const SHARDING_KEY: &str = "__SHARDINGKEY";
/// The queue a message is passed on to.
pub const FORWARD_QUEUE_ID: &str = "PROPERTY_FORWARD_QUEUE_ID";
/// Set on messages passed on.
pub const REDIRECT: &str = "REDIRECT";
/// Light queues that hold the message too.
pub const INNER_MULTI_DISPATCH: &str = "INNER_MULTI_DISPATCH";
/// The offsets in those queues.
pub const INNER_MULTI_QUEUE_OFFSET: &str = "INNER_MULTI_QUEUE_OFFSET";
/// The trace that the send belongs to.
pub const TRACE_CONTEXT: &str = "TRACE_CONTEXT";
/// Delay in seconds.
pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
/// Delay in milliseconds.
pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
/// Time of delivery.
pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
/// When a timer took the message.
pub const TIMER_ENQUEUE_MS: &str = "TIMER_ENQUEUE_MS";
/// When a timer let it go.
pub const TIMER_DEQUEUE_MS: &str = "TIMER_DEQUEUE_MS";
/// How often it was put off again.
pub const TIMER_ROLL_TIMES: &str = "TIMER_ROLL_TIMES";
/// When it is due.
pub const TIMER_OUT_MS: &str = "TIMER_OUT_MS";
/// When it was due before its time was changed; ours.
pub const TIMER_WAS_MS: &str = "KIRUNA_TIMER_WAS_MS";
/// For how many milliseconds from its delivery on a message is worth being read; ours.
pub const TTL_MS: &str = "__TTL_MS";
/// From when on a message is not delivered any more; ours. As long as the names that every record is searched for.
pub const EXPIRES: &str = "__EXPIRE";
/// The message that a recall takes back.
pub const TIMER_DEL_UNIQKEY: &str = "TIMER_DEL_UNIQKEY";
/// Delay level of a timed message.
pub const TIMER_DELAY_LEVEL: &str = "TIMER_DELAY_LEVEL";
/// Where a message passed on was born.
pub const BORN_HOST: &str = "__BORNHOST";
/// When a message passed on was born.
pub const BORN_TIMESTAMP: &str = "BORN_TIMESTAMP";
/// The topic of a dead letter.
pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
/// The id of a dead letter.
pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
/// The dead letter that a message was sent again from; ours.
pub const REPLAY_OF: &str = "KIRUNA_REPLAY_OF";
/// Checksum of the properties; stands last.
pub const CRC32: &str = "__CRC32#";
/// The child of a lite topic.
pub const LITE_TOPIC: &str = "__LITE_TOPIC";
/// Priority of the message.
pub const PRIORITY: &str = "_SYS_MSG_PRIORITY_";

/// Names that a user may not give to a property of his own.
pub const RESERVED: [&str; 53] = [
    KEYS,
    TAGS,
    WAIT,
    DELAY,
    RETRY_TOPIC,
    REAL_TOPIC,
    REAL_QID,
    TRAN_MSG,
    PGROUP,
    MIN_OFFSET,
    MAX_OFFSET,
    BUYER_ID,
    ORIGIN_MESSAGE_ID,
    TRANSFER_FLAG,
    CORRECTION_FLAG,
    MQ2_FLAG,
    RECONSUME_TIME,
    MSG_REGION,
    TRACE_ON,
    UNIQ_KEY,
    EXTEND_UNIQ_INFO,
    MAX_RECONSUME_TIMES,
    CONSUME_START_TIME,
    DUP_INFO,
    TRAN_PREPARED_QUEUE_OFFSET,
    INSTANCE_ID,
    CORRELATION_ID,
    REPLY_TO_CLIENT,
    TTL,
    ARRIVE_TIME,
    PUSH_REPLY_TIME,
    MSG_TYPE,
    CLUSTER,
    POP_CK,
    POP_CK_OFFSET,
    FIRST_POP_TIME,
    INNER_MULTI_QUEUE_OFFSET,
    TIMER_DELAY_SEC,
    TIMER_DELAY_MS,
    TIMER_DELIVER_MS,
    TIMER_ENQUEUE_MS,
    TIMER_DEQUEUE_MS,
    TIMER_ROLL_TIMES,
    TIMER_OUT_MS,
    TIMER_DEL_UNIQKEY,
    TIMER_DELAY_LEVEL,
    BORN_HOST,
    BORN_TIMESTAMP,
    DLQ_ORIGIN_TOPIC,
    DLQ_ORIGIN_MESSAGE_ID,
    CRC32,
    LITE_TOPIC,
    PRIORITY,
];
