// SPDX-License-Identifier: Apache-2.0
//! One send: pick a queue, try, judge, and try elsewhere. The judgement is `retry`'s; this is its shell.

use protocol::codes::ResponseCode;
use protocol::names::BrokerName;
use protocol::send::{SendBatchMessage, SendMessageV2, SendReply, SendReplyMessageV2};
use remoting::{CallError, Response};

use crate::producer::draft::Draft;
use crate::producer::{SendError, Sent, Shared, Stored};
use crate::queue::Queue;
use crate::retry::{Attempts, Next, may_pass};
use crate::routes::{Route, RouteError};

impl Shared {
    /// Tries brokers in turn.
    pub(super) async fn send_anywhere(&self, draft: &Draft) -> Result<Sent, SendError> {
        let mut attempts = Attempts::new(self.config.retry, self.session.now());
        loop {
            let route = self.route_in_time(draft, &attempts).await?;
            let queue = self.pick(&route, attempts.last()).clone();
            match self.attempt(draft, &route, &queue, &mut attempts).await {
                Ok(sent) => return Ok(sent),
                Err(error) => self.after(&mut attempts, draft, queue, error, true).await?,
            }
        }
    }

    /// Tries one queue again and again.
    pub(super) async fn send_to(
        &self,
        draft: &Draft,
        route: &Route,
        queue: &Queue,
    ) -> Result<Sent, SendError> {
        let mut attempts = Attempts::new(self.config.retry, self.session.now());
        loop {
            match self.attempt(draft, route, queue, &mut attempts).await {
                Ok(sent) => return Ok(sent),
                Err(error) => self.after(&mut attempts, draft, queue.clone(), error, false).await?,
            }
        }
    }

    pub(super) async fn send_one_way(&self, draft: &Draft) -> Result<(), SendError> {
        let route = self.route(draft.topic()).await?;
        let queue = self.pick(&route, None);
        let failed = |error| SendError::Failed { attempts: 1, queue: queue.clone(), error };
        let address = master(&route, queue)?;
        let (header, body) = (draft.header(queue.id), draft.body.clone());
        let connection = self.session.connect(address, self.config.retry.timeout).await.map_err(failed)?;
        let left = match draft.is_reply() {
            true => connection.notify(&SendReplyMessageV2(header), body),
            false => connection.notify(&SendMessageV2(header), body),
        };
        left.map_err(failed)
    }

    async fn route_in_time(
        &self,
        draft: &Draft,
        attempts: &Attempts,
    ) -> Result<std::sync::Arc<Route>, SendError> {
        let left = attempts.left(self.session.now());
        let found = self.session.within(left, self.route(draft.topic())).await;
        Ok(found.ok_or(SendError::Late { after: self.config.retry.timeout })??)
    }

    async fn attempt(
        &self,
        draft: &Draft,
        route: &Route,
        queue: &Queue,
        attempts: &mut Attempts,
    ) -> Result<Sent, CallError> {
        let patience = attempts.begin(queue.broker.clone(), self.session.now());
        let address = route.master(&queue.broker).unwrap_or_default();
        let (header, body) = (draft.header(queue.id), draft.body.clone());
        let response = if draft.is_batch() {
            self.session.call(address, &SendBatchMessage(header), body, patience).await?
        } else if draft.is_reply() {
            self.session.call(address, &SendReplyMessageV2(header), body, patience).await?
        } else {
            self.session.call(address, &SendMessageV2(header), body, patience).await?
        };
        let sent = self.sent(draft, queue, &response)?;
        self.penalties.lock().answered(&queue.broker);
        Ok(sent)
    }

    fn sent(&self, draft: &Draft, queue: &Queue, response: &Response<SendReply>) -> Result<Sent, CallError> {
        let stored = match response.code() {
            ResponseCode::SUCCESS => Stored::Safely,
            ResponseCode::FLUSH_DISK_TIMEOUT => Stored::FlushTimeout,
            ResponseCode::SLAVE_NOT_AVAILABLE => Stored::NoReplica,
            ResponseCode::FLUSH_SLAVE_TIMEOUT => Stored::ReplicaTimeout,
            _ => return Err(response.refused()),
        };
        let header = response.header()?;
        Ok(Sent {
            id: draft.id.clone(),
            offset_ids: header.message_id.split(',').map(str::to_owned).collect(),
            queue: self.queue(queue, header.queue),
            offset: header.queue_offset,
            stored,
            recall_handle: header.recall_handle.map(|handle| handle.to_string()),
        })
    }

    /// Judges a failure: waits before the next attempt, or makes it the answer.
    async fn after(
        &self,
        attempts: &mut Attempts,
        draft: &Draft,
        queue: Queue,
        error: CallError,
        may_move: bool,
    ) -> Result<(), SendError> {
        let now = self.session.now();
        let refusal = error.refusal();
        let is_retriable = match refusal {
            Some(code) => may_pass(code),
            // An answer that cannot be read, or a request that cannot be written, will be so again.
            None => !matches!(error, CallError::Decode { .. } | CallError::Encode { .. }),
        };
        if refusal.is_none() && is_retriable {
            self.penalties.lock().failed(&queue.broker, now);
        }
        let Next::Try { pause } = attempts.failed(is_retriable, now) else {
            return Err(SendError::Failed { attempts: attempts.made(), queue, error });
        };
        tracing::debug!(queue = %queue, %error, "a send failed and is tried again");
        if may_move && refusal != Some(ResponseCode::SYSTEM_BUSY) {
            self.refresh(draft, attempts).await;
        }
        if !may_move || !self.has_other(draft, &queue.broker) || refusal == Some(ResponseCode::FLOW_CONTROL) {
            self.session.sleep(pause).await;
        }
        Ok(())
    }

    /// A failure may mean that the route is old; a new one is worth a short wait.
    async fn refresh(&self, draft: &Draft, attempts: &Attempts) {
        let left = attempts.left(self.session.now()) / 4;
        let fetched = self.session.within(left, self.session.fetch_route(draft.topic())).await;
        if let Some(Err(error)) = fetched {
            tracing::debug!(topic = %draft.topic(), %error, "the route stays as it is");
        }
    }

    /// True when the topic has a writable queue on another broker.
    fn has_other(&self, draft: &Draft, broker: &BrokerName) -> bool {
        let route = self.session.routes().get(draft.topic());
        route.is_some_and(|route| route.writable().iter().any(|queue| queue.broker != *broker))
    }
}

fn master<'a>(route: &'a Route, queue: &Queue) -> Result<&'a str, RouteError> {
    route.master(&queue.broker).ok_or(RouteError::NoQueue { topic: queue.topic.clone(), verb: "write" })
}
