// SPDX-License-Identifier: Apache-2.0
//! What brokers ask of a consumer: answered here, decided in the member loop. A handler turns the request into an
//! [`Ask`], leaves it in a short queue, and waits for the loop's word where an answer is due.

use std::sync::Arc;

use bytes::Bytes;
use protocol::admin::reset::{GetConsumerStatusFromClient, ResetConsumerClientOffset};
use protocol::body::{
    ConsumeMessageDirectlyResult, ConsumerRunningInfo, GetConsumerStatusBody, ResetOffsetBody,
};
use protocol::codes::ResponseCode;
use protocol::heartbeat::{ConsumeMessageDirectly, GetConsumerRunningInfo, NotifyConsumerIdsChanged};
use protocol::json;
use protocol::names::{BrokerName, Group, QueueOffset, TopicName};
use remoting::{Ctx, Refusal, Reply, Router};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::queue::Queue;

/// Something a broker wants.
pub(crate) enum Ask {
    /// Look at the shares again (40).
    MembersChanged,
    /// Go on at these offsets (220).
    Reset(Vec<(Queue, QueueOffset)>),
    /// How far are you with this topic? (221)
    Status(TopicName, oneshot::Sender<GetConsumerStatusBody>),
    /// What are you doing? (307)
    RunningInfo(oneshot::Sender<ConsumerRunningInfo>),
    /// Consume this record now (309).
    Consume(Bytes, BrokerName, oneshot::Sender<ConsumeMessageDirectlyResult>),
}

/// The handlers' side of the queue.
pub(crate) struct Inbox {
    group: Group,
    asks: mpsc::Sender<Ask>,
}

impl Inbox {
    /// How many asks may wait; brokers ask rarely and the loop is quick.
    pub(crate) const CAPACITY: usize = 64;

    pub(crate) fn new(group: Group, asks: mpsc::Sender<Ask>) -> Inbox {
        Inbox { group, asks }
    }

    pub(crate) fn router() -> Router<Inbox> {
        Router::new()
            .on(members_changed) // 40
            .on(reset) // 220
            .on(status) // 221
            .on(running_info) // 307
            .on(consume_directly) // 309
    }

    fn put(&self, group: &Group, ask: Ask) -> Result<(), Refusal> {
        if *group != self.group {
            let remark = format!("this client consumes for {}, not for {group}", self.group);
            return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
        }
        self.asks.try_send(ask).map_err(|_| {
            Refusal::new(ResponseCode::SYSTEM_BUSY, "this client has enough to do, ask again later")
        })
    }

    async fn put_and_wait<T: Serialize>(
        &self,
        group: &Group,
        ask: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Result<Reply<()>, Refusal> {
        let (sender, answer) = oneshot::channel();
        self.put(group, ask(sender))?;
        let answer = answer
            .await
            .map_err(|_| Refusal::new(ResponseCode::SERVICE_NOT_AVAILABLE, "this client is shutting down"))?;
        Ok(Reply::ok(()).with_body(json::to_vec_fastjson(&answer)))
    }
}

async fn members_changed(
    inbox: Arc<Inbox>,
    _: Ctx,
    request: NotifyConsumerIdsChanged,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    inbox.put(&request.group, Ask::MembersChanged)?;
    Ok(Reply::ok(()))
}

async fn reset(
    inbox: Arc<Inbox>,
    _: Ctx,
    request: ResetConsumerClientOffset,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let body: ResetOffsetBody = json::from_slice(&body).map_err(|error| {
        Refusal::new(ResponseCode::SYSTEM_ERROR, format!("cannot read the offsets: {error}"))
    })?;
    let offsets =
        body.offset_table.0.iter().filter_map(|(queue, offset)| {
            Some((Queue::from(queue), QueueOffset(u64::try_from(*offset).ok()?)))
        });
    inbox.put(&request.0.group, Ask::Reset(offsets.collect()))?;
    Ok(Reply::ok(()))
}

async fn status(
    inbox: Arc<Inbox>,
    _: Ctx,
    request: GetConsumerStatusFromClient,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    let request = request.0;
    inbox.put_and_wait(&request.group, |answer| Ask::Status(request.topic.clone(), answer)).await
}

async fn running_info(
    inbox: Arc<Inbox>,
    _: Ctx,
    request: GetConsumerRunningInfo,
    _: Bytes,
) -> Result<Reply<()>, Refusal> {
    inbox.put_and_wait(&request.group, Ask::RunningInfo).await
}

async fn consume_directly(
    inbox: Arc<Inbox>,
    _: Ctx,
    request: ConsumeMessageDirectly,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let broker = BrokerName::stored(request.broker.unwrap_or_default());
    inbox.put_and_wait(&request.group, |answer| Ask::Consume(body, broker, answer)).await
}
