// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What the code of an answer says. Servers take them from here, clients match on them.

use std::fmt;

/// The code of an answer.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResponseCode(pub i32);

macro_rules! responses {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)+) => {
        impl ResponseCode {
            $($(#[$doc])* pub const $name: ResponseCode = ResponseCode($code);)+

            /// The code's name, when it has one.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(ResponseCode::$name => Some(stringify!($name)),)+
                    _ => None,
                }
            }
        }
    };
}

responses! {
    /// It went well.
    SUCCESS = 0;
    /// Something failed; the remark says what.
    SYSTEM_ERROR = 1;
    /// Too much to do; try again, elsewhere or later.
    SYSTEM_BUSY = 2;
    /// This server does not answer that request code.
    REQUEST_CODE_NOT_SUPPORTED = 3;
    /// Not used any more.
    TRANSACTION_FAILED = 4;
    /// Stored, but the disk did not confirm in time.
    FLUSH_DISK_TIMEOUT = 10;
    /// Stored, but no replica was there to copy it.
    SLAVE_NOT_AVAILABLE = 11;
    /// Stored, but no replica confirmed in time.
    FLUSH_SLAVE_TIMEOUT = 12;
    /// The message itself cannot be taken.
    MESSAGE_ILLEGAL = 13;
    /// The server cannot write now.
    SERVICE_NOT_AVAILABLE = 14;
    /// The request lacks what this version needs.
    VERSION_NOT_SUPPORTED = 15;
    /// Not allowed.
    NO_PERMISSION = 16;
    /// No such topic.
    TOPIC_NOT_EXIST = 17;
    /// The topic is there already.
    TOPIC_EXIST_ALREADY = 18;
    /// No new message.
    PULL_NOT_FOUND = 19;
    /// Nothing matched in what was looked at; go on at the next offset.
    PULL_RETRY_IMMEDIATELY = 20;
    /// The offset lies outside the queue; go on at the next offset.
    PULL_OFFSET_MOVED = 21;
    /// Nothing is known under that.
    QUERY_NOT_FOUND = 22;
    /// The filter cannot be read.
    SUBSCRIPTION_PARSE_FAILED = 23;
    /// The group does not subscribe to the topic.
    SUBSCRIPTION_NOT_EXIST = 24;
    /// The server knows an older subscription.
    SUBSCRIPTION_NOT_LATEST = 25;
    /// No such group.
    SUBSCRIPTION_GROUP_NOT_EXIST = 26;
    /// No compiled filter.
    FILTER_DATA_NOT_EXIST = 27;
    /// The compiled filter is older.
    FILTER_DATA_NOT_LATEST = 28;
    /// A value is not allowed.
    INVALID_PARAMETER = 29;
    /// Not used any more.
    TRANSACTION_SHOULD_COMMIT = 200;
    /// Not used any more.
    TRANSACTION_SHOULD_ROLLBACK = 201;
    /// Not used any more.
    TRANSACTION_STATE_UNKNOW = 202;
    /// Not used any more.
    TRANSACTION_STATE_GROUP_WRONG = 203;
    /// Not used any more.
    NO_BUYER_ID = 204;
    /// Not used any more.
    NOT_IN_CURRENT_UNIT = 205;
    /// No member of the group is connected.
    CONSUMER_NOT_ONLINE = 206;
    /// The client did not answer in time.
    CONSUME_MSG_TIMEOUT = 207;
    /// The offset lies outside the queue.
    NO_MESSAGE = 208;
    /// Too many requests are waiting already.
    POLLING_FULL = 209;
    /// The wait ended without a message.
    POLLING_TIMEOUT = 210;
    /// No such broker.
    BROKER_NOT_EXIST = 211;
    /// Not used any more.
    BROKER_DISPATCH_NOT_COMPLETE = 212;
    /// The group is a broadcasting one.
    BROADCAST_CONSUMPTION = 213;
    /// The client shall slow down.
    FLOW_CONTROL = 215;
    /// Another broker leads this queue.
    NOT_LEADER_FOR_QUEUE = 501;
    /// It cannot be done in this state.
    ILLEGAL_OPERATION = 604;
    /// The server is going; connect elsewhere.
    GO_AWAY = 1500;
    /// The master's epoch is old.
    CONTROLLER_FENCED_MASTER_EPOCH = 2000;
    /// The in-sync set's epoch is old.
    CONTROLLER_FENCED_SYNC_STATE_SET_EPOCH = 2001;
    /// The caller is not the master.
    CONTROLLER_INVALID_MASTER = 2002;
    /// A replica in the set is unknown.
    CONTROLLER_INVALID_REPLICAS = 2003;
    /// There is no master.
    CONTROLLER_MASTER_NOT_AVAILABLE = 2004;
    /// The request makes no sense.
    CONTROLLER_INVALID_REQUEST = 2005;
    /// The replica is dead.
    CONTROLLER_BROKER_NOT_ALIVE = 2006;
    /// Ask another controller.
    CONTROLLER_NOT_LEADER = 2007;
    /// The broker set is unknown.
    CONTROLLER_BROKER_METADATA_NOT_EXIST = 2008;
    /// The cleanup is refused.
    CONTROLLER_INVALID_CLEAN_BROKER_METADATA = 2009;
    /// Register first.
    CONTROLLER_BROKER_NEED_TO_BE_REGISTERED = 2010;
    /// No election is needed.
    CONTROLLER_MASTER_STILL_EXIST = 2011;
    /// The election failed.
    CONTROLLER_ELECT_MASTER_FAILED = 2012;
    /// The in-sync set was not changed.
    CONTROLLER_ALTER_SYNC_STATE_SET_FAILED = 2013;
    /// The id is taken.
    CONTROLLER_BROKER_ID_INVALID = 2014;
    /// The controllers' log failed.
    CONTROLLER_JRAFT_INTERNAL_ERROR = 2015;
    /// Nothing is known about the broker's life.
    CONTROLLER_BROKER_LIVE_INFO_NOT_EXISTS = 2016;
    /// Too many light queues.
    LMQ_QUOTA_EXCEEDED = 2017;
    /// Too many lite subscriptions.
    LITE_SUBSCRIPTION_QUOTA_EXCEEDED = 2018;
    /// No such user.
    USER_NOT_EXIST = 3001;
    /// No such policy.
    POLICY_NOT_EXIST = 3002;
}

impl ResponseCode {
    /// True for outcomes of a send in which the message *is* stored.
    pub fn is_stored(self) -> bool {
        matches!(
            self,
            ResponseCode::SUCCESS
                | ResponseCode::FLUSH_DISK_TIMEOUT
                | ResponseCode::SLAVE_NOT_AVAILABLE
                | ResponseCode::FLUSH_SLAVE_TIMEOUT
        )
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
