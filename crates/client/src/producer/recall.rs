// SPDX-License-Identifier: Apache-2.0
//! Taking a timed message back, with the handle that its send was answered with.

use protocol::codes::ResponseCode;
use protocol::ids::RecallHandle;
use protocol::names::{BrokerName, ByteStr, TopicName};
use protocol::send::RecallMessage;
use remoting::CallError;

use super::Producer;
use crate::routes::RouteError;

/// Why a message is not known to be taken back.
#[derive(Debug, thiserror::Error)]
pub enum RecallError {
    /// The text is no recall handle, or one of another topic.
    #[error("not recalled: the handle is none of this topic")]
    Invalid,
    /// The broker that keeps the message is not known.
    #[error("not recalled: {0}")]
    Route(#[from] RouteError),
    /// The broker says that it is delivered.
    #[error("not recalled: {0}")]
    Refused(String),
    /// It was not reached, or did not answer: only then the message may be taken back all the same.
    #[error("not acknowledged: {0}")]
    Failed(#[source] CallError),
}

impl Producer {
    /// Takes a message back that waits for its time; returns its id. It is not delivered then.
    pub async fn recall(&self, topic: &TopicName, handle: &str) -> Result<String, RecallError> {
        let meant = RecallHandle::parse(handle).map_err(|_| RecallError::Invalid)?;
        if meant.topic != **topic {
            return Err(RecallError::Invalid);
        }
        let shared = &self.shared;
        let route = shared.route(topic).await?;
        let broker = BrokerName::stored(meant.broker);
        let missing = || RouteError::NoQueue { topic: topic.clone(), verb: "recall from" };
        let address = route.master(&broker).ok_or_else(missing)?;
        let request = RecallMessage {
            group: Some(shared.config.group.clone()),
            topic: topic.clone(),
            handle: ByteStr::from(handle),
        };
        let call = shared.session.call(address, &request, bytes::Bytes::new(), shared.config.retry.timeout);
        let response = call.await.map_err(RecallError::Failed)?;
        match response.code() {
            ResponseCode::SUCCESS => {
                let header = response.header().map_err(RecallError::Failed)?;
                Ok(header.message_id.map_or(meant.unique, |id| id.to_string()))
            }
            code => Err(RecallError::Refused(format!("{code:?}: {}", response.refused()))),
        }
    }
}
