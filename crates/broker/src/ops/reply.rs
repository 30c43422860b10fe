// SPDX-License-Identifier: Apache-2.0
//! Replies to requests: a client that asked by message waits for its reply on a connection of this broker, and gets it
//! there. Called by the faces of 324 and 325.
//!
//! Invariants: a reply that a send would refuse is not passed on either; the replier is told that all is well only
//! when the asking client has taken the reply; a reply is stored, if replies are, whether or not it was taken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::names::{ByteStr, QueueId};
use protocol::properties::{self, PropertiesOut};
use protocol::send::{PushReplyMessage, SendHeader};
use stdx::Timestamp;

use super::send::{SendInput, SendRefused, Sent};
use crate::Broker;

/// How long the asking client may take to take its reply, as in Apache.
const PATIENCE: Duration = Duration::from_secs(10);

/// A reply that was taken.
#[derive(Clone, Debug)]
pub struct Replied {
    /// The queue it was for.
    pub queue: QueueId,
    /// What became of it in the log; `None` when it is not there.
    pub stored: Option<Sent>,
}

/// Why a reply did not reach the client that asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyRefused {
    /// It would be refused as a message.
    #[error(transparent)]
    Send(#[from] SendRefused),
    /// It does not say who asked.
    #[error("reply message properties[REPLY_TO_CLIENT] is null")]
    Nobody,
    /// Who asked is not there, or not here.
    #[error("push reply message fail, channel of <{client}> not found.")]
    Gone {
        /// What the client calls itself.
        client: String,
    },
    /// Who asked did not take it.
    #[error("push reply message to {client}fail.")]
    NotTaken {
        /// What the client calls itself.
        client: String,
    },
}

impl Broker {
    /// Passes a reply on to the client that asked, and stores it. `header` is `input` as it came.
    pub(crate) async fn reply(
        self: &Arc<Broker>,
        header: SendHeader,
        mut input: SendInput,
        now: Timestamp,
    ) -> Result<Replied, ReplyRefused> {
        let queue = self.queue_for(&input, now)?;
        input.queue = Some(queue);
        let taken = self.pass_on(header, &input, now).await;
        let mut stored = None;
        if self.config().sending.store_replies {
            match self.send(input, self.clock.now()).await {
                Ok(sent) => stored = Some(sent),
                Err(refused) => tracing::warn!(%refused, "a reply is not stored"),
            }
        }
        taken.map(|()| Replied { queue, stored })
    }

    async fn pass_on(
        &self,
        header: SendHeader,
        input: &SendInput,
        now: Timestamp,
    ) -> Result<(), ReplyRefused> {
        let client = header.properties.get(properties::REPLY_TO_CLIENT).ok_or(ReplyRefused::Nobody)?;
        let client = client.to_owned();
        let Some(connection) = self.clients.producing(&client) else {
            return Err(ReplyRefused::Gone { client });
        };
        let push = push(header, input, now);
        match connection.call(&push, input.body.clone(), PATIENCE).await.and_then(|answer| answer.ok()) {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(client, %error, "a reply was not taken");
                Err(ReplyRefused::NotTaken { client })
            }
        }
    }
}

/// What the asking client is told.
fn push(header: SendHeader, input: &SendInput, now: Timestamp) -> PushReplyMessage {
    let mut said = PropertiesOut::from_text(header.properties.as_str());
    said.set(properties::PUSH_REPLY_TIME, &now.to_string());
    PushReplyMessage {
        group: header.group,
        topic: header.topic,
        default_topic: header.default_topic,
        default_queues: header.default_queues,
        queue: header.queue,
        sys_flag: header.sys_flag,
        born_at: header.born_at,
        flag: header.flag,
        properties: said.finish(),
        reconsume: header.reconsume,
        unit: header.unit,
        born_host: shown(input.born_host),
        store_host: shown(input.store_host),
        stored_at: now,
    }
}

/// COMPAT: clients split at the last colon and take no brackets.
fn shown(address: SocketAddr) -> ByteStr {
    ByteStr::from(format!("{}:{}", address.ip().to_canonical(), address.port()))
}
