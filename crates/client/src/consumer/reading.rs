// SPDX-License-Identifier: Apache-2.0
//! One pull: from which broker, with which header, and what its answer means.
//! Called by the push and the pull consumer; keeps nothing between two pulls.

use std::time::Duration;

use protocol::codes::ResponseCode;
use protocol::names::{Group, QueueOffset};
use protocol::pull::{self, PullMessage, PullReply};
use protocol::record::RecordError;
use remoting::{CallError, Response};

use crate::consumer::received::Received;
use crate::consumer::subscription::Interest;
use crate::queue::Queue;
use crate::routes::RouteError;
use crate::session::Session;

/// How much longer than the broker's own patience an answer may take.
const GRACE: Duration = Duration::from_secs(10);

/// What to pull.
pub(crate) struct Reading<'a> {
    pub(crate) group: &'a Group,
    pub(crate) queue: &'a Queue,
    pub(crate) from: QueueOffset,
    pub(crate) messages: u32,
    pub(crate) bytes: u32,
    /// How long the broker may wait for a first message; zero answers at once.
    pub(crate) wait: Duration,
    /// The member of the broker group to ask; 0 is the master.
    pub(crate) member: i64,
    pub(crate) interest: &'a Interest,
    /// True where the broker does not know the subscription from a heartbeat.
    pub(crate) carries_subscription: bool,
}

/// What a pull brought.
#[derive(Debug)]
pub struct Pulled {
    /// Messages that match, in queue order; may be empty.
    pub messages: Vec<Received>,
    /// Where to go on.
    pub next: QueueOffset,
    /// The first offset the broker still has.
    pub first: QueueOffset,
    /// One past the last offset it has.
    pub end: QueueOffset,
    /// Where the asked offset stood to what the broker has.
    pub place: Place,
    pub(crate) member: i64,
}

/// Where a pull hit the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// There were messages.
    Found,
    /// Nothing was there in time.
    AtEnd,
    /// There were messages, none of which matches.
    Filtered,
    /// The offset is none the broker has, or was reset: go on at `next`.
    Moved,
}

/// Why a pull failed.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// There is no broker to ask.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The broker was not reached, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer holds what is no message.
    #[error("the broker's answer holds a broken message: {0}")]
    Record(#[from] RecordError),
    /// The queue was not assigned.
    #[error("queue {0} is not assigned to this consumer")]
    Unassigned(Queue),
}

impl PullError {
    /// The broker's response code, when it refused.
    pub fn refusal(&self) -> Option<ResponseCode> {
        match self {
            PullError::Call(error) | PullError::Route(RouteError::Call(error)) => error.refusal(),
            _ => None,
        }
    }
}

impl Session {
    /// Pulls once.
    pub(crate) async fn read(&self, reading: &Reading<'_>) -> Result<Pulled, PullError> {
        let queue = reading.queue;
        let route = self.route(&queue.topic).await?;
        let address = route.member(&queue.broker, reading.member);
        let missing = || RouteError::NoQueue { topic: queue.topic.clone(), verb: "read" };
        let address = address.ok_or_else(missing)?;
        let response = self.call(address, &reading.request(), (), reading.wait + GRACE).await?;
        pulled(&response, reading)
    }
}

impl Reading<'_> {
    fn request(&self) -> PullMessage {
        let mut sys_flag = 0;
        if !self.wait.is_zero() {
            sys_flag |= pull::SUSPEND;
        }
        let subscription = self.carries_subscription.then(|| self.interest.expression.clone());
        if subscription.is_some() {
            sys_flag |= pull::SUBSCRIPTION;
        }
        PullMessage {
            group: self.group.clone(),
            topic: self.queue.topic.clone(),
            queue: self.queue.id,
            from: self.from,
            max_messages: self.messages.try_into().unwrap_or(i32::MAX),
            sys_flag,
            commit: None,
            suspend: Some(self.wait),
            subscription,
            sub_version: self.interest.version,
            expression_type: Some(self.interest.kind.clone()),
            max_bytes: Some(self.bytes),
            request_source: None,
            proxied_client: None,
        }
    }
}

fn pulled(response: &Response<PullReply>, reading: &Reading<'_>) -> Result<Pulled, PullError> {
    let place = match response.code() {
        ResponseCode::SUCCESS => Place::Found,
        ResponseCode::PULL_NOT_FOUND => Place::AtEnd,
        ResponseCode::PULL_RETRY_IMMEDIATELY => Place::Filtered,
        ResponseCode::PULL_OFFSET_MOVED => Place::Moved,
        _ => return Err(response.refused().into()),
    };
    let header = response.header()?;
    let mut messages = Vec::new();
    if place == Place::Found {
        let filter = &reading.interest.filter;
        messages = Received::read(response.body(), &reading.queue.broker, filter, reading.from)?;
    }
    Ok(Pulled {
        messages,
        next: header.next,
        first: header.min,
        end: header.max,
        place,
        member: header.suggested_broker,
    })
}
