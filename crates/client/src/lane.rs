// SPDX-License-Identifier: Apache-2.0
//! A lane to one broker for load generators: one connection, requests prepared beforehand, as many under way as the
//! caller keeps. No route, no retry, no id, no copy but into the frame.

use std::sync::Arc;
use std::time::Duration;

use protocol::names::{AUTO_CREATE_TOPIC, ByteStr, Group, QueueId, TopicName};
use protocol::properties::Properties;
use protocol::pull::{PullMessage, PullReply};
use protocol::request::Request;
use protocol::send::{SendBatchMessage, SendHeader, SendMessageV2, SendReply};
use remoting::{Body, Call, CallError, Client, Connection, Router};
use stdx::Timestamp;

use crate::config::ClientConfig;

/// One connection of the caller's own.
pub struct Lane {
    connection: Connection,
    timeout: Duration,
}

/// A send to one queue that only lacks its body.
#[derive(Clone, Debug)]
pub struct Prepared(Kind);

#[derive(Clone, Debug)]
enum Kind {
    One(SendMessageV2),
    Batch(SendBatchMessage),
}

impl Prepared {
    /// Prepares sends of single messages, all with the same properties (in text form).
    pub fn one(group: &Group, topic: &TopicName, queue: QueueId, properties: &str) -> Prepared {
        Prepared(Kind::One(SendMessageV2(header(group, topic, queue, properties, false))))
    }

    /// Prepares sends of batch bodies.
    pub fn batch(group: &Group, topic: &TopicName, queue: QueueId) -> Prepared {
        Prepared(Kind::Batch(SendBatchMessage(header(group, topic, queue, "", true))))
    }
}

fn header(group: &Group, topic: &TopicName, queue: QueueId, properties: &str, batch: bool) -> SendHeader {
    SendHeader {
        group: group.clone(),
        topic: topic.clone(),
        default_topic: Some(TopicName::stored(ByteStr::from_static(AUTO_CREATE_TOPIC))),
        default_queues: 4,
        queue: Some(queue),
        sys_flag: 0,
        born_at: Timestamp(0),
        flag: 0,
        properties: Properties::new(properties),
        reconsume: 0,
        unit: false,
        max_reconsume: None,
        batch,
    }
}

impl Lane {
    /// Connects to `host:port`. `timeout` holds for every request.
    pub async fn connect(address: &str, config: &ClientConfig, timeout: Duration) -> Result<Lane, CallError> {
        let remote = remoting::ClientConfig::default();
        let client = Client::new(remote, config.clock(), Router::new(), Arc::new(()));
        Ok(Lane { connection: client.dial(address).await?, timeout })
    }

    /// Sends at once; the future is the answer, whatever its code. `now` is when the message was made.
    pub fn send(&self, prepared: &mut Prepared, now: Timestamp, body: impl Into<Body>) -> Call<SendReply> {
        match &mut prepared.0 {
            Kind::One(request) => {
                request.0.born_at = now;
                self.connection.call(request, body, self.timeout)
            }
            Kind::Batch(request) => {
                request.0.born_at = now;
                self.connection.call(request, body, self.timeout)
            }
        }
    }

    /// Sends without an answer.
    pub fn send_one_way(
        &self,
        prepared: &mut Prepared,
        now: Timestamp,
        body: impl Into<Body>,
    ) -> Result<(), CallError> {
        match &mut prepared.0 {
            Kind::One(request) => {
                request.0.born_at = now;
                self.connection.notify(request, body)
            }
            Kind::Batch(request) => {
                request.0.born_at = now;
                self.connection.notify(request, body)
            }
        }
    }

    /// Pulls at once. `timeout` must cover what the request allows the broker to wait.
    pub fn pull(&self, request: &PullMessage, timeout: Duration) -> Call<PullReply> {
        self.connection.call(request, (), timeout)
    }

    /// Sends any request at once.
    pub fn call<R: Request>(&self, request: &R, body: impl Into<Body>) -> Call<R::Reply> {
        self.connection.call(request, body, self.timeout)
    }

    /// The connection itself.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.connection.close();
    }
}
