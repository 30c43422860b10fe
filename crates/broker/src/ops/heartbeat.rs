// SPDX-License-Identifier: Apache-2.0
//! Clients come, live and go. Called by the faces of 34, 35, 38 and 46, when a connection closes, and by the loop that
//! looks for silent ones. Whoever is left in a group that changed is told, so that its queues are shared anew.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::body::{MessageModel, SubscriptionData};
use protocol::filter::{self, FilterError};
use protocol::frame::Language;
use protocol::heartbeat::NotifyConsumerIdsChanged;
use protocol::names::{ByteStr, Group, TopicName};
use remoting::Connection;
use stdx::Timestamp;

use crate::Broker;
use crate::clients::{Manner, Presence, Session, Subscription};
use crate::filters::Filters;
use crate::groups::GroupRefused;
use crate::topics::TopicRefused;

/// What a client says about itself.
#[derive(Debug)]
pub struct HeartbeatInput {
    /// What it calls itself.
    pub client: ByteStr,
    /// What its SDK is written in.
    pub language: Language,
    /// The version its SDK names.
    pub version: i32,
    /// Where it is.
    pub peer: SocketAddr,
    /// Groups it consumes in.
    pub consumers: Vec<ConsumerInput>,
    /// Groups it produces for.
    pub producers: Vec<Group>,
    /// Identifies the subscriptions; zero from clients that send them every time.
    pub fingerprint: i32,
    /// The subscriptions were left out.
    pub without_subscriptions: bool,
}

/// A group that a client consumes in.
#[derive(Debug)]
pub struct ConsumerInput {
    /// Its name.
    pub group: Group,
    /// How it consumes.
    pub manner: Manner,
    /// What it wants.
    pub subscriptions: Vec<SubscriptionData>,
    /// The flags of a retry topic that has to be made.
    pub topic_flag: i32,
}

/// What a heartbeat led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// The client has to send its subscriptions next time.
    pub unknown: bool,
    /// A retry topic was made.
    pub made_topic: bool,
}

/// Why a client is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientRefused {
    /// Nobody of the group is known.
    #[error("no consumer for this group, {group}")]
    NoMembers {
        /// The group.
        group: Group,
    },
    /// Its filter cannot be read.
    #[error(transparent)]
    BadFilter(#[from] FilterError),
    /// Filters of its kind are not served.
    #[error("The broker does not support consumer to filter message by {kind}")]
    FilterOff {
        /// The kind.
        kind: String,
    },
}

impl Broker {
    /// Notes that a client lives.
    ///
    /// A group that may not exist here is left out; its client learns that when it pulls.
    pub fn heartbeat(&self, connection: &Connection, input: HeartbeatInput, now: Timestamp) -> Noted {
        let session = Session {
            connection: connection.id(),
            client: input.client,
            peer: input.peer,
            language: input.language,
            version: input.version,
            seen: now,
        };
        let mut groups = Vec::new();
        let mut presences = Vec::new();
        let mut noted = Noted::default();
        for consumer in input.consumers {
            match self.prepare_group(&consumer, now) {
                Ok(made_topic) => noted.made_topic |= made_topic,
                Err(refused) => {
                    tracing::warn!(group = %consumer.group, client = %session.client, %refused, "a heartbeat's group is left out");
                    continue;
                }
            }
            groups.push((consumer.group.clone(), consumer.manner));
            let presence = presence(consumer, &self.filters, input.fingerprint, input.without_subscriptions);
            presences.push(presence);
        }
        let producers = input.producers.iter().map(Group::detached).collect();
        let greeted = self.clients.heartbeat(connection, &session, presences, producers);
        if !connection.is_open() {
            // It closed while this was on its way; nobody else would forget these sessions.
            self.connection_closed(connection.id());
        }
        for ((group, manner), greeted) in groups.into_iter().zip(greeted) {
            noted.unknown |= greeted.unknown;
            greeted.disputed.iter().for_each(|topic| self.tell_of_dispute(&group, topic));
            if (greeted.joined || greeted.resubscribed) && manner.model == MessageModel::Clustering {
                self.tell_members(&group);
            }
        }
        noted
    }

    /// Says in the log that members of a group want different things. Once a dispute, not once a heartbeat.
    fn tell_of_dispute(&self, group: &Group, topic: &TopicName) {
        let disputes = self.consumer_connections(group).map(|shown| shown.disputes).unwrap_or_default();
        for dispute in disputes.iter().filter(|dispute| dispute.topic == *topic) {
            tracing::warn!(
                %group,
                %topic,
                kind = dispute.expression_type,
                expression = dispute.expression,
                others = ?dispute.others,
                policy = stdx::config::Value::print(&self.config().consumers.mixed_subscriptions),
                "members of one group want different things of a topic"
            );
        }
    }

    /// Makes sure of what a consuming group needs: its settings, its retry topic, where its queues ended. True when the
    /// topic is new.
    fn prepare_group(&self, consumer: &ConsumerInput, now: Timestamp) -> Result<bool, PrepareRefused> {
        let group = self.groups.find_or_create(&consumer.group, &self.config().creation, &self.store, now)?;
        let made_topic = self.retry_topic(&group, consumer.topic_flag, now)?.is_new;
        if consumer.manner.model == MessageModel::Clustering {
            for wanted in &consumer.subscriptions {
                let Manner { from, consume_type, .. } = consumer.manner;
                self.remember_first_sight(&consumer.group, &wanted.topic, from, consume_type);
            }
        }
        Ok(made_topic)
    }

    /// Forgets a client's groups that it says goodbye to.
    pub fn unregister(&self, connection: &Connection, producer: Option<&Group>, consumer: Option<&Group>) {
        if let Some(group) = producer {
            self.clients.leave_producer(connection.id(), group);
        }
        if let Some(group) = consumer
            && self.clients.leave_consumer(connection.id(), group)
        {
            self.tell_members(group);
        }
    }

    /// Forgets everyone on a connection that ended.
    pub fn connection_closed(&self, connection: u64) {
        self.clients.close(connection).iter().for_each(|group| self.tell_members(group));
    }

    /// Forgets clients that were silent for too long.
    pub(crate) fn expire_clients(&self, now: Timestamp) {
        let silence: Duration = self.config().consumers.session_timeout;
        self.clients.expire(now, silence).iter().for_each(|group| self.tell_members(group));
    }

    /// Tells every member that the group is another one now.
    fn tell_members(&self, group: &Group) {
        let wanted = self.groups.get(group).is_none_or(|config| config.notify_consumer_ids_changed_enable);
        let broadcasts =
            self.clients.with_members(group, |members| members.manner.model == MessageModel::Broadcasting);
        if !wanted || !self.config().consumers.notify_members || broadcasts == Some(true) {
            return;
        }
        let news = NotifyConsumerIdsChanged { group: group.clone() };
        for connection in self.clients.connections(group) {
            if let Err(error) = connection.notify(&news, ()) {
                tracing::debug!(%group, peer = %connection.peer(), %error, "a member was not told of the change");
            }
        }
    }

    /// Returns the names of a group's members.
    pub fn consumer_ids(&self, group: &Group) -> Result<Vec<ByteStr>, ClientRefused> {
        let ids: Vec<ByteStr> = self.clients.consumer_ids(group).into_iter().collect();
        if ids.is_empty() {
            return Err(ClientRefused::NoMembers { group: group.clone() });
        }
        Ok(ids)
    }

    /// Judges a filter before its client uses it.
    pub fn check_filter(&self, wanted: &SubscriptionData) -> Result<(), ClientRefused> {
        let kind = &wanted.expression_type;
        if !self.serves_filter(kind) {
            return Err(ClientRefused::FilterOff { kind: kind.clone() });
        }
        self.filters.compile(kind, &wanted.sub_string)?;
        Ok(())
    }

    /// True when filters of a kind are served here at all.
    pub(crate) fn serves_filter(&self, kind: &str) -> bool {
        filter::is_tag_kind(kind) || self.config().reading.property_filter
    }
}

/// Why a group cannot be made ready.
#[derive(Debug, thiserror::Error)]
enum PrepareRefused {
    #[error(transparent)]
    Group(#[from] GroupRefused),
    #[error(transparent)]
    Topic(#[from] TopicRefused),
}

fn presence(
    consumer: ConsumerInput,
    filters: &Filters,
    fingerprint: i32,
    without_subscriptions: bool,
) -> Presence {
    let compile = |data: SubscriptionData| -> (TopicName, Arc<Subscription>) {
        let filter = filters.compile(&data.expression_type, &data.sub_string);
        (data.topic.detached(), Arc::new(Subscription { data, filter }))
    };
    let subscriptions: HashMap<TopicName, Arc<Subscription>> =
        consumer.subscriptions.into_iter().map(compile).collect();
    Presence {
        group: consumer.group.detached(),
        manner: consumer.manner,
        subscriptions: (!without_subscriptions).then_some(subscriptions),
        fingerprint,
    }
}
