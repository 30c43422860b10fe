// SPDX-License-Identifier: Apache-2.0
//! What became of a message: as its brokers tell it, and as clients wrote it down where they were asked to.

use std::net::SocketAddr;

use protocol::admin::journey::TraceMessage;
use protocol::body::MessageJourney;
use protocol::codes::ResponseCode;
use protocol::json;
use protocol::names::{BrokerName, ByteStr, TopicName};
use protocol::trace::{self, TraceKind};
use stdx::Timestamp;

use crate::admin::{Admin, AdminError, KeyQuery, Master};

/// One step of a message, as a client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTrace {
    /// What happened.
    pub kind: TraceKind,
    /// When, by the clock of the client.
    pub at: Option<Timestamp>,
    /// The client's group.
    pub group: Option<String>,
    /// Where the client was.
    pub client: SocketAddr,
    /// The topic of the message, where the client said it.
    pub topic: Option<String>,
    /// How long it took, in milliseconds.
    pub cost: Option<i64>,
    /// Whether it went well.
    pub success: Option<bool>,
    /// How often consuming had failed before.
    pub retries: Option<i64>,
    /// What was decided about its transaction.
    pub state: Option<String>,
}

impl Admin {
    /// What became of a message, from what each broker that knows it has; only our own brokers can tell. A producer's id
    /// needs no topic unless there are thousands.
    pub async fn journeys(
        &self,
        id: &str,
        topic: Option<&TopicName>,
    ) -> Result<Vec<(BrokerName, MessageJourney)>, AdminError> {
        let request = TraceMessage { id: ByteStr::from(id), topic: topic.cloned() };
        let mut journeys = Vec::new();
        for Master { broker, address, .. } in self.masters(None).await? {
            match self.session.ask(&address, &request, ()).await {
                Ok((_, body)) => journeys.push((broker, json::from_slice(&body)?)),
                Err(error) if error.refusal() == Some(ResponseCode::QUERY_NOT_FOUND) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if journeys.is_empty() { Err(AdminError::NoMessage) } else { Ok(journeys) }
    }

    /// What clients wrote into a trace topic about the message with this id, oldest first. What comes before consuming and
    /// what comes after are two.
    pub async fn client_traces(&self, topic: &TopicName, id: &str) -> Result<Vec<ClientTrace>, AdminError> {
        let mut traces = Vec::new();
        for message in self.messages_by_key(&KeyQuery::new(topic, id)).await? {
            let body = String::from_utf8_lossy(&message.body);
            traces.extend(trace::lines(&body).filter(|line| line.id == id).map(|line| ClientTrace {
                kind: line.kind,
                at: line.at,
                group: line.group.map(str::to_owned),
                client: message.born_host,
                topic: line.topic.map(str::to_owned),
                cost: line.cost,
                success: line.success,
                retries: line.retries,
                state: line.state.map(str::to_owned),
            }));
        }
        traces.sort_by_key(|trace| trace.at);
        Ok(traces)
    }
}
