// SPDX-License-Identifier: Apache-2.0
//! Requests and replies: a message that says who waits for an answer, and the answer, which a broker pushes to whoever
//! waits. Called by applications and, with replies, by brokers.
//!
//! Invariants: nobody waits beyond the time allowed, and a request that is no longer awaited leaves nothing behind; a
//! broker knows this producer before it stores a request of it, on the connection that the reply will come by.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::compress::{self, Codec};
use protocol::heartbeat::Heartbeat;
use protocol::names::{ByteStr, TopicName};
use protocol::properties::{self, Properties};
use protocol::send::PushReplyMessage;
use protocol::{caps, json, record};
use remoting::{Ctx, Refusal, Reply};
use stdx::Timestamp;
use tokio::sync::oneshot;

use super::transaction::Check;
use super::{Producer, SendError, Shared};
use crate::consumer::Received;
use crate::message::Message;
use crate::routes::Route;

/// What a reply says of its kind.
pub(super) const REPLY: &str = "reply";

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Replied {
    /// What it says.
    pub body: Bytes,
    /// The application's own flag.
    pub flag: i32,
    /// When it was made.
    pub born_at: Timestamp,
    /// Where it was made, as the broker saw it.
    pub born_host: ByteStr,
    /// When the broker took it.
    pub stored_at: Timestamp,
    properties: Properties,
}

impl Replied {
    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name)
    }

    /// All properties in the order they came.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties.iter()
    }
}

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// It was, and nobody answered in time.
    #[error("no reply within {} ms", after.as_millis())]
    Unanswered {
        /// The time allowed.
        after: Duration,
    },
}

/// A message that nobody waits for an answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is no request: it has no property {0}")]
pub struct NotARequest(&'static str);

/// Where brokers reach a producer.
#[derive(Default)]
pub(super) struct Desk {
    awaited: Mutex<HashMap<String, oneshot::Sender<Replied>>>,
    /// Asked about transactions.
    pub(super) check: Option<Check>,
    pub(super) shared: OnceLock<Weak<Shared>>,
}

/// A reply that is awaited. It is no longer when this is dropped.
struct Waiting<'a> {
    desk: &'a Desk,
    id: String,
    reply: oneshot::Receiver<Replied>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.desk.awaited.lock().remove(&self.id);
    }
}

impl Desk {
    /// One that is asked about transactions.
    pub(super) fn asked(check: Check) -> Desk {
        Desk { check: Some(check), ..Desk::default() }
    }

    fn wait_for(&self, id: String) -> Waiting<'_> {
        let (sender, reply) = oneshot::channel();
        self.awaited.lock().insert(id.clone(), sender);
        Waiting { desk: self, id, reply }
    }
}

impl Producer {
    /// Sends a message and waits until somebody replied to it, `patience` in all.
    pub async fn request(&self, message: Message, patience: Duration) -> Result<Replied, RequestError> {
        let shared = &self.shared;
        let mut waiting = shared.desk.wait_for(shared.ids.next(shared.session.now()));
        let message = message
            .set(properties::CORRELATION_ID, &waiting.id)
            .set(properties::REPLY_TO_CLIENT, shared.session.id())
            .set(properties::TTL, &patience.as_millis().max(1).to_string());
        let draft = shared.draft(message).map_err(SendError::from)?;
        let asked = async {
            shared.greet(&*shared.route(draft.topic()).await.map_err(SendError::from)?).await;
            shared.send_anywhere(&draft).await?;
            // The sender stays in the table for as long as this waits.
            Ok((&mut waiting.reply).await.ok())
        };
        match shared.session.within(patience, asked).await {
            Some(Err(error)) => Err(RequestError::Send(error)),
            Some(Ok(Some(reply))) => Ok(reply),
            Some(Ok(None)) | None => Err(RequestError::Unanswered { after: patience }),
        }
    }
}

impl Received {
    /// Makes the reply to this request; it is sent like any message, and reaches who asked at once.
    pub fn reply(&self, body: impl Into<Bytes>) -> Result<Message, NotARequest> {
        let said = |name| self.property(name).ok_or(NotARequest(name));
        let topic = format!("{}_REPLY_TOPIC", said(properties::CLUSTER)?);
        let mut reply = Message::new(TopicName::stored(topic), body).set(properties::MSG_TYPE, REPLY);
        for name in [properties::CORRELATION_ID, properties::REPLY_TO_CLIENT] {
            reply = reply.set(name, said(name)?);
        }
        Ok(match self.property(properties::TTL) {
            Some(time) => reply.set(properties::TTL, time),
            None => reply,
        })
    }
}

impl Shared {
    /// Makes sure that the brokers of a route know this producer on the connections that are open now.
    async fn greet(&self, route: &Route) {
        for address in route.addresses() {
            let timeout = self.session.config().request_timeout;
            let Ok(connection) = self.session.connect(address, timeout).await else { continue };
            if self.greeted.lock().get(address) == Some(&connection.id()) {
                continue;
            }
            let beat = connection.call(&Heartbeat, json::to_vec(&self.presence()), timeout).await;
            match beat.and_then(|answer| answer.ok()) {
                Ok(_) => drop(self.greeted.lock().insert(address.clone(), connection.id())),
                Err(error) => {
                    tracing::warn!(peer = %address, %error, "a broker does not know where replies go");
                }
            }
        }
    }
}

/// Hands a reply that a broker pushes to whoever waits for it. One that came too late is nobody's.
pub(super) async fn take(
    desk: Arc<Desk>,
    ctx: Ctx,
    push: PushReplyMessage,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let id = push.properties.get(properties::CORRELATION_ID).unwrap_or_default();
    match desk.awaited.lock().remove(id) {
        Some(waiting) => drop(waiting.send(replied(push, body))),
        None => tracing::debug!(peer = %ctx.peer, id, "a reply that nobody waits for"),
    }
    Ok(Reply::ok(()))
}

fn replied(push: PushReplyMessage, body: Bytes) -> Replied {
    let codec = Codec::of(push.sys_flag).filter(|_| push.sys_flag & record::COMPRESSED != 0);
    let unpacked = codec.map(|codec| compress::decompress(codec, &body, caps::MAX_MESSAGE));
    let body = match unpacked {
        Some(Ok(body)) => body.into(),
        Some(Err(error)) => {
            tracing::warn!(%error, "cannot unpack a reply");
            body
        }
        None => body,
    };
    Replied {
        body,
        flag: push.flag,
        born_at: push.born_at,
        born_host: push.born_host,
        stored_at: push.stored_at,
        properties: push.properties,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::received::tests::stored;
    use protocol::filter::Filter;
    use protocol::names::BrokerName;

    fn received(properties: &[(&str, &str)]) -> Received {
        let text: String =
            properties.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect();
        let bytes = Bytes::from(stored("t", 0, 0, b"?", &text));
        Received::list(&bytes, &BrokerName::stored("b"), &Filter::All).unwrap().remove(0)
    }

    #[test]
    fn a_reply_says_what_it_belongs_to() {
        let asked =
            [("CLUSTER", "C"), ("CORRELATION_ID", "1"), ("REPLY_TO_CLIENT", "me"), ("TTL", "5"), ("X", "y")];
        let reply = received(&asked).reply("because").unwrap();
        assert_eq!((reply.topic.as_str(), &reply.body[..]), ("C_REPLY_TOPIC", &b"because"[..]));
        let said = |name| reply.get(name);
        assert_eq!((said("MSG_TYPE"), said("CORRELATION_ID")), (Some("reply"), Some("1")));
        assert_eq!((said("REPLY_TO_CLIENT"), said("TTL"), said("X")), (Some("me"), Some("5"), None));
        for missing in 0..3 {
            let mut asked = asked.to_vec();
            let (name, _) = asked.remove(missing);
            assert_eq!(received(&asked).reply("x").unwrap_err(), NotARequest(name));
        }
    }

    #[test]
    fn what_is_no_longer_awaited_is_forgotten() {
        let desk = Desk::default();
        let waiting = desk.wait_for("1".into());
        assert_eq!(desk.awaited.lock().len(), 1);
        drop(waiting);
        assert!(desk.awaited.lock().is_empty());
    }
}
