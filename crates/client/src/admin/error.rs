// SPDX-License-Identifier: Apache-2.0
//! How an admin call can fail.

use protocol::codes::ResponseCode;
use protocol::ids::IdError;
use protocol::json::JsonError;
use protocol::names::{BrokerName, NameError, QueueOffset, TopicName};
use remoting::CallError;

use crate::consumer::{OffsetError, PullError};
use crate::routes::RouteError;

/// Why an admin call has no result.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A server was not reached, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// There is no route.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A queue could not be asked about.
    #[error(transparent)]
    Offset(#[from] OffsetError),
    /// A queue could not be read.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// An answer cannot be read.
    #[error("a server's answer cannot be read: {0}")]
    Answer(#[from] JsonError),
    /// The name cannot be given to a new thing.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The text is no message id.
    #[error("no message id: {0}")]
    Id(#[from] IdError),
    /// No such cluster.
    #[error("there is no cluster {0}")]
    NoCluster(String),
    /// Nothing can be written anywhere.
    #[error("no master broker is registered")]
    NoMaster,
    /// No such broker.
    #[error("there is no broker {0}")]
    NoBroker(BrokerName),
    /// No broker knows the group.
    #[error("no broker knows group {0}")]
    NoGroup(String),
    /// The topic has no queue like that.
    #[error("topic {0} has no such queue")]
    NoQueue(TopicName),
    /// The queue does not reach so far.
    #[error("offset {offset} is not within {first} and {end}")]
    NoSuchOffset {
        /// What was asked for.
        offset: QueueOffset,
        /// Where the queue begins.
        first: QueueOffset,
        /// Where it ends.
        end: QueueOffset,
    },
    /// There is no such message.
    #[error("no such message")]
    NoMessage,
    /// No broker knows the transaction.
    #[error("no broker knows a transaction by {0}")]
    NoTransaction(String),
}

impl AdminError {
    /// The response code, where a server refused.
    pub fn refusal(&self) -> Option<ResponseCode> {
        match self {
            AdminError::Call(error)
            | AdminError::Route(RouteError::Call(error))
            | AdminError::Offset(OffsetError::Call(error)) => error.refusal(),
            AdminError::Pull(error) => error.refusal(),
            _ => None,
        }
    }
}
