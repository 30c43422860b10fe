// SPDX-License-Identifier: Apache-2.0
//! What clients wrote down about a message, where they were asked to.

use std::net::SocketAddr;

use protocol::names::TopicName;
use protocol::trace::{self, TraceKind};
use stdx::Timestamp;

use crate::admin::{Admin, AdminError, KeyQuery};

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
