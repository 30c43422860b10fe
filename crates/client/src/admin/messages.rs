// SPDX-License-Identifier: Apache-2.0
//! Single messages: found by id, by key, by place.

use std::time::Duration;

use protocol::codes::ResponseCode;
use protocol::filter::Filter;
use protocol::ids::OffsetId;
use protocol::names::{BrokerName, ByteStr, Group, QueueOffset, TopicName};
use protocol::properties;
use protocol::query::{QueryMessage, ViewMessageById};
use stdx::Timestamp;

use crate::admin::{Admin, AdminError};
use crate::consumer::{Interest, PullError, Reading, Received};
use crate::queue::Queue;

/// The group that tools read as.
pub(super) const TOOLS: &str = "TOOLS_CONSUMER";

/// What messages to look for by their key.
#[derive(Clone, Debug)]
pub struct KeyQuery<'a> {
    /// The topic they are in.
    pub topic: &'a TopicName,
    /// One of their keys.
    pub key: &'a str,
    /// How many, from each broker.
    pub max: i32,
    /// Not older than this.
    pub begin: Timestamp,
    /// Not younger than this.
    pub end: Timestamp,
}

impl<'a> KeyQuery<'a> {
    /// Looks for up to 64 messages of any age.
    pub fn new(topic: &'a TopicName, key: &'a str) -> KeyQuery<'a> {
        KeyQuery { topic, key, max: 64, begin: Timestamp(0), end: Timestamp(i64::MAX) }
    }
}

impl Admin {
    /// The message that an offset id names. The id says which broker to ask.
    pub async fn message_by_offset_id(
        &self,
        topic: Option<&TopicName>,
        id: &str,
    ) -> Result<Received, AdminError> {
        let id = OffsetId::parse(id)?;
        let request = ViewMessageById { topic: topic.cloned(), offset: id.offset };
        let (_, body) = self.session.ask(&id.host.to_string(), &request, ()).await?;
        let masters = self.masters(None).await.unwrap_or_default();
        let named = masters.into_iter().find(|master| master.address == id.host.to_string());
        let broker = named.map(|master| master.broker).unwrap_or_default();
        let found = Received::list(&body, &broker, &Filter::All).map_err(PullError::Record)?;
        found.into_iter().next().ok_or(AdminError::NoMessage)
    }

    /// The messages with a key, oldest first.
    pub async fn messages_by_key(&self, query: &KeyQuery<'_>) -> Result<Vec<Received>, AdminError> {
        let found = self.query(query, false).await?;
        // Brokers look keys up by hash; other keys with the same hash are left out here.
        Ok(found.into_iter().filter(|message| message.keys().any(|key| key == query.key)).collect())
    }

    /// The messages with the id their producer gave them, oldest first: several, where a send was repeated or a
    /// delivery failed.
    pub async fn messages_by_unique_id(
        &self,
        topic: &TopicName,
        id: &str,
    ) -> Result<Vec<Received>, AdminError> {
        let found = self.query(&KeyQuery { max: 32, ..KeyQuery::new(topic, id) }, true).await?;
        Ok(found.into_iter().filter(|m| m.property(properties::UNIQ_KEY) == Some(id)).collect())
    }

    /// The message at a place in a queue.
    pub async fn message_at(&self, queue: &Queue, offset: QueueOffset) -> Result<Received, AdminError> {
        let reading = Reading {
            group: &Group::stored(TOOLS),
            queue,
            from: offset,
            messages: 1,
            bytes: 256 << 10,
            wait: Duration::ZERO,
            member: 0,
            interest: &Interest::all(),
            carries_subscription: true,
        };
        let pulled = self.session.read(&reading).await?;
        pulled.messages.into_iter().find(|m| m.offset == offset).ok_or(AdminError::NoMessage)
    }

    async fn query(&self, query: &KeyQuery<'_>, unique: bool) -> Result<Vec<Received>, AdminError> {
        let request = QueryMessage {
            topic: query.topic.clone(),
            key: ByteStr::from(query.key),
            max: query.max,
            begin: query.begin,
            end: query.end,
            unique,
            index: None,
            last_key: None,
        };
        let mut found = Vec::new();
        let route = self.route(query.topic).await?;
        for broker in &route.broker_datas {
            let name: &BrokerName = &broker.broker_name;
            let Some(address) = broker.broker_addrs.values().next() else { continue };
            let timeout = self.session.config().request_timeout;
            let response = self.session.call(address, &request, (), timeout).await?;
            if response.code() == ResponseCode::QUERY_NOT_FOUND {
                continue;
            }
            let (_, body) = response.ok()?;
            found.extend(Received::list(&body, name, &Filter::All).map_err(PullError::Record)?);
        }
        found.sort_by_key(|message| (message.stored_at, message.log_offset));
        Ok(found)
    }
}
