// SPDX-License-Identifier: Apache-2.0
//! Questions to one client that are passed on, and its answer as it gave it. Called by the faces of 307 and 309; the
//! members of a group are asked the same way by `reset`.

use std::time::Duration;

use bytes::Bytes;
use protocol::fields::Fields;
use protocol::ids::{IdError, OffsetId};
use protocol::names::{ByteStr, Group, TopicName};
use protocol::request::Request;
use remoting::{CallError, Connection, Response};
use store::ReadError;

use crate::Broker;
use crate::clients::Session;

/// How long a client may take to answer, as in Apache.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first version (3.1.8) whose clients answer.
const ANSWERED_SINCE: i32 = 62;

/// Why a client's answer is not there.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MemberRefused {
    /// Nobody of the group is known.
    #[error("No Any Consumer online in the consumer group: [{group}]")]
    NoMembers {
        /// The group.
        group: Group,
    },
    /// The client is not known.
    #[error("The Consumer <{group}> <{client}> not online")]
    Offline {
        /// The group.
        group: Group,
        /// What the client calls itself.
        client: ByteStr,
    },
    /// The client would not understand.
    #[error(
        "The Consumer <{client}> Version <{version}> too low to finish, please upgrade it to V3_1_8_SNAPSHOT"
    )]
    TooOld {
        /// What the client calls itself.
        client: ByteStr,
        /// Its version.
        version: i32,
    },
    /// The client was asked in vain.
    #[error("invoke consumer <{group}> <{client}> Exception: {error}")]
    Call {
        /// The group.
        group: Group,
        /// What the client calls itself.
        client: ByteStr,
        /// What went wrong.
        error: Box<CallError>,
    },
    /// No message has such an id.
    #[error("the message id is not readable: {0}")]
    BadId(#[from] IdError),
    /// No message lies there.
    #[error("no message has the id {id}")]
    NotThere {
        /// The id.
        id: ByteStr,
    },
    /// The store could not read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Broker {
    /// The members of a group with their connections.
    pub(crate) fn members(&self, group: &Group) -> Vec<(Session, Connection)> {
        let sessions: Vec<Session> = self
            .clients
            .with_members(group, |members| members.sessions().cloned().collect())
            .unwrap_or_default();
        let connections = self.clients.connections(group);
        let connected = |session: Session| {
            let connection = connections.iter().find(|connection| connection.id() == session.connection)?;
            Some((session, connection.clone()))
        };
        sessions.into_iter().filter_map(connected).collect()
    }

    /// Asks one member of a group and returns what it answered, whatever the code.
    pub(crate) async fn ask_member<R: Request<Reply = Fields>>(
        &self,
        group: &Group,
        client: &ByteStr,
        question: &R,
        body: Bytes,
    ) -> Result<Response<Fields>, MemberRefused> {
        let (session, connection) = self
            .clients
            .find(group, client)
            .ok_or_else(|| MemberRefused::Offline { group: group.clone(), client: client.clone() })?;
        if session.version < ANSWERED_SINCE {
            return Err(MemberRefused::TooOld { client: client.clone(), version: session.version });
        }
        let answer = connection.call(question, body, PATIENCE).await;
        let failed = |error| MemberRefused::Call {
            group: group.clone(),
            client: client.clone(),
            error: Box::new(error),
        };
        answer.map_err(failed)
    }

    /// The record of a message by the id that tells its place in the log.
    pub(crate) async fn record_by_id(&self, id: &ByteStr) -> Result<Bytes, MemberRefused> {
        let place = OffsetId::parse(id)?;
        self.store.record(place.offset).await?.ok_or_else(|| MemberRefused::NotThere { id: id.clone() })
    }

    /// The flags of a topic and of a group, for a client that is asked to consume.
    pub(crate) fn flags(&self, topic: Option<&TopicName>, group: &Group) -> (Option<i32>, Option<i32>) {
        let topic = topic.and_then(|topic| self.topics.get(topic));
        let group = self.groups.get(group);
        (topic.map(|topic| topic.config().topic_sys_flag), group.map(|group| group.group_sys_flag))
    }
}
