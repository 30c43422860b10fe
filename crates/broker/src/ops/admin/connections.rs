// SPDX-License-Identifier: Apache-2.0
//! Who is connected, as operators look at it. Called by the faces of 203, 204, 328 and 345.

use std::sync::Arc;

use protocol::body::{
    Connection, ConsumerConnection, OtherSubscription, ProducerConnection, ProducerInfo, ProducerTableInfo,
    SubscriptionData, SubscriptionDispute,
};
use protocol::names::{Group, TopicName};

use crate::Broker;
use crate::clients::{Disputed, Session, Subscription};

/// Why there is nothing to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShowRefused {
    /// No consumer of the group is connected.
    #[error("the consumer group[{group}] not online")]
    NoConsumers {
        /// The group.
        group: Group,
    },
    /// No producer of the group is connected.
    #[error("the producer group[{group}] not exist")]
    NoProducers {
        /// The group.
        group: Group,
    },
}

impl Broker {
    /// The members of a consumer group and what they want.
    pub(crate) fn consumer_connections(&self, group: &Group) -> Result<ConsumerConnection, ShowRefused> {
        let shown = self.clients.with_members(group, |members| ConsumerConnection {
            connection_set: members.sessions().map(connection).collect(),
            consume_from_where: members.manner.from,
            consume_type: members.manner.consume_type,
            message_model: members.manner.model,
            disputes: members.disputes().map(dispute).collect(),
            subscription_table: members
                .subscriptions()
                .into_iter()
                .map(|(topic, wanted)| (topic, wanted.clone()))
                .collect(),
        });
        shown.ok_or_else(|| ShowRefused::NoConsumers { group: group.clone() })
    }

    /// The members of a producer group.
    pub(crate) fn producer_connections(&self, group: &Group) -> Result<ProducerConnection, ShowRefused> {
        let found = self.clients.producers().into_iter().find(|(name, _)| name == group);
        let (_, sessions) = found.ok_or_else(|| ShowRefused::NoProducers { group: group.clone() })?;
        Ok(ProducerConnection { connection_set: sessions.iter().map(connection).collect() })
    }

    /// All producers.
    pub(crate) fn all_producers(&self) -> ProducerTableInfo {
        let info = |session: &Session| ProducerInfo {
            client_id: session.client.to_string(),
            language: session.language,
            last_update_timestamp: session.seen.0,
            remote_ip: session.peer.to_string(),
            version: session.version,
        };
        let groups = self.clients.producers().into_iter();
        let groups = groups.map(|(group, sessions)| (group, sessions.iter().map(info).collect()));
        ProducerTableInfo { data: groups.collect() }
    }

    /// What a group wants of a topic, by the newest words of its members.
    pub(crate) fn subscription_of(&self, group: &Group, topic: &TopicName) -> Option<SubscriptionData> {
        self.clients.subscriptions(group).into_iter().find(|wanted| wanted.topic == *topic)
    }
}

fn dispute(disputed: Disputed<'_>) -> SubscriptionDispute {
    let other = |(wanted, who): &(Option<&Arc<Subscription>>, Vec<&Session>)| OtherSubscription {
        client_ids: who.iter().map(|session| session.client.to_string()).collect(),
        expression: wanted.map_or_else(String::new, |wanted| wanted.data.sub_string.clone()),
        expression_type: wanted.map_or("NONE", |wanted| &wanted.data.expression_type).to_owned(),
    };
    SubscriptionDispute {
        expression: disputed.governing.data.sub_string.clone(),
        expression_type: disputed.governing.data.expression_type.clone(),
        others: disputed.others.iter().map(other).collect(),
        topic: disputed.topic.clone(),
    }
}

fn connection(session: &Session) -> Connection {
    Connection {
        client_addr: session.peer.to_string(),
        client_id: session.client.to_string(),
        language: session.language,
        version: session.version,
    }
}
