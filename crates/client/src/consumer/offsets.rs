// SPDX-License-Identifier: Apache-2.0
//! Progress and bounds of queues, asked of the brokers that keep them. Used by both consumers.

use protocol::codes::ResponseCode;
use protocol::filter::FilterError;
use protocol::json::JsonError;
use protocol::names::{BrokerName, Group, QueueOffset};
use protocol::offset::{
    Boundary, GetMaxOffset, GetMinOffset, QueryConsumerOffset, SearchOffset, UpdateConsumerOffset,
};
use remoting::CallError;
use stdx::Timestamp;

use crate::queue::Queue;
use crate::routes::RouteError;
use crate::session::Session;

/// Why a broker could not be asked about queues or groups.
#[derive(Debug, thiserror::Error)]
pub enum OffsetError {
    /// There is no route to the queue.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The broker was not reached, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// No route names this broker's master.
    #[error("broker {0} has no master that is known")]
    NoBroker(BrokerName),
    /// The answer cannot be read.
    #[error("the broker's answer cannot be read: {0}")]
    Answer(#[from] JsonError),
    /// The subscription cannot be understood.
    #[error("illegal subscription: {0}")]
    Subscription(#[from] FilterError),
}

impl Session {
    async fn master_of(&self, queue: &Queue) -> Result<String, OffsetError> {
        let route = self.route(&queue.topic).await?;
        let address = route.member(&queue.broker, 0).map(str::to_owned);
        address.ok_or_else(|| OffsetError::NoBroker(queue.broker.clone()))
    }

    /// The progress of a group on a queue. Unless `exact`, a broker answers 0 for a queue that is still young,
    /// so that a new group does not miss its first messages.
    pub(crate) async fn committed(
        &self,
        group: &Group,
        queue: &Queue,
        exact: bool,
    ) -> Result<Option<QueueOffset>, OffsetError> {
        let request = QueryConsumerOffset {
            group: group.clone(),
            topic: queue.topic.clone(),
            queue: queue.id,
            zero_if_not_found: exact.then_some(false),
        };
        let address = self.master_of(queue).await?;
        let response = self.call(&address, &request, (), self.config().request_timeout).await?;
        match response.code() {
            ResponseCode::SUCCESS => Ok(Some(response.header()?.offset)),
            ResponseCode::QUERY_NOT_FOUND => Ok(None),
            _ => Err(response.refused().into()),
        }
    }

    /// Saves the progress of a group on a queue.
    pub(crate) async fn commit(
        &self,
        group: &Group,
        queue: &Queue,
        offset: QueueOffset,
    ) -> Result<(), OffsetError> {
        let request = UpdateConsumerOffset {
            group: group.clone(),
            topic: queue.topic.clone(),
            queue: queue.id,
            commit: offset,
        };
        self.ask(&self.master_of(queue).await?, &request, ()).await?;
        Ok(())
    }

    /// The first offset that is there.
    pub(crate) async fn first_offset(&self, queue: &Queue) -> Result<QueueOffset, OffsetError> {
        let request = GetMinOffset { topic: queue.topic.clone(), queue: queue.id };
        Ok(self.ask(&self.master_of(queue).await?, &request, ()).await?.0.offset)
    }

    /// One past the last offset that is there.
    pub(crate) async fn end_offset(&self, queue: &Queue) -> Result<QueueOffset, OffsetError> {
        let request = GetMaxOffset { topic: queue.topic.clone(), queue: queue.id, committed: None };
        Ok(self.ask(&self.master_of(queue).await?, &request, ()).await?.0.offset)
    }

    /// The first offset stored at a time or later.
    pub(crate) async fn offset_at(&self, queue: &Queue, at: Timestamp) -> Result<QueueOffset, OffsetError> {
        let request =
            SearchOffset { topic: queue.topic.clone(), queue: queue.id, at, boundary: Boundary::Lower };
        Ok(self.ask(&self.master_of(queue).await?, &request, ()).await?.0.offset)
    }
}
