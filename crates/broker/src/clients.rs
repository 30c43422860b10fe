// SPDX-License-Identifier: Apache-2.0
//! Who is connected: sessions of producers and consumers, what each group subscribed to, and how to reach them.
//! The shell of `table`; it adds the live connections. Called by the client operations, by pulls (subscriptions)
//! and when a connection closes. Never decides what a member may do.

mod agreement;
mod table;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use protocol::body::{MessageModel, SubscriptionData};
use protocol::names::{ByteStr, Group, TopicName};
use remoting::Connection;
use stdx::Timestamp;

pub(crate) use self::agreement::Dispute;
use self::table::ClientTable;
pub use self::table::{ConnectionId, Manner, Members, Session, Subscription};
pub(crate) use self::table::{Disputed, Greeted, Presence};

/// All sessions with their connections.
#[derive(Default)]
pub struct Clients {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    table: ClientTable,
    connections: HashMap<ConnectionId, Connection>,
}

/// What a group wants of a topic.
pub(crate) struct Wants {
    /// Every member gets every message.
    pub(crate) broadcasts: bool,
    /// What is wanted of the topic, if anything.
    pub(crate) subscription: Option<Arc<Subscription>>,
    /// How the member on this connection stands to the others, if not all want the same.
    pub(crate) dispute: Option<Dispute>,
}

impl Clients {
    /// Notes a heartbeat: the groups a client consumes and produces in.
    pub(crate) fn heartbeat(
        &self,
        connection: &Connection,
        session: &Session,
        consumers: Vec<Presence>,
        producers: Vec<Group>,
    ) -> Vec<Greeted> {
        let mut state = self.state.write();
        if !consumers.is_empty() || !producers.is_empty() {
            state.connections.insert(session.connection, connection.clone());
        }
        producers.into_iter().for_each(|group| state.table.producer(session, group));
        consumers.into_iter().map(|presence| state.table.consumer(session, presence)).collect()
    }

    /// Forgets a producer that says goodbye.
    pub(crate) fn leave_producer(&self, connection: ConnectionId, group: &Group) {
        self.state.write().table.leave_producer(connection, group);
    }

    /// Forgets a consumer that says goodbye; true when it was a member.
    pub(crate) fn leave_consumer(&self, connection: ConnectionId, group: &Group) -> bool {
        self.state.write().table.leave_consumer(connection, group)
    }

    /// Forgets everyone on a closed connection; returns the consumer groups that lost a member.
    pub(crate) fn close(&self, connection: ConnectionId) -> Vec<Group> {
        let mut state = self.state.write();
        state.connections.remove(&connection);
        state.table.close(connection)
    }

    /// Forgets who was not heard of for `silence`; returns the consumer groups that lost a member.
    pub(crate) fn expire(&self, now: Timestamp, silence: Duration) -> Vec<Group> {
        self.state.write().table.expire(now, silence)
    }

    /// Looks at a consumer group that has members.
    pub fn with_members<T>(&self, group: &Group, look: impl FnOnce(&Members) -> T) -> Option<T> {
        self.state.read().table.members(group).map(look)
    }

    /// Returns what the member on `connection`, or else its group, wants of a topic; `None` without members.
    pub(crate) fn wants(&self, group: &Group, connection: ConnectionId, topic: &TopicName) -> Option<Wants> {
        self.with_members(group, |members| Wants {
            broadcasts: members.manner.model == MessageModel::Broadcasting,
            subscription: members.subscription(connection, topic).cloned(),
            dispute: members.dispute(connection, topic),
        })
    }

    /// Returns the names of a group's members, each once, in order.
    pub fn consumer_ids(&self, group: &Group) -> BTreeSet<ByteStr> {
        self.with_members(group, Members::client_ids).unwrap_or_default()
    }

    /// Returns the connections of a group's members.
    pub fn connections(&self, group: &Group) -> Vec<Connection> {
        let state = self.state.read();
        let members = state.table.members(group).into_iter().flat_map(Members::sessions);
        members.filter_map(|session| state.connections.get(&session.connection).cloned()).collect()
    }

    /// Returns the connection of one member by its name, the most recently heard of.
    pub fn find(&self, group: &Group, client: &str) -> Option<(Session, Connection)> {
        let state = self.state.read();
        let session = state.table.members(group)?.find(client)?;
        let connection = state.connections.get(&session.connection)?;
        Some((session.clone(), connection.clone()))
    }

    /// Returns how the member of a group on a connection calls itself.
    pub(crate) fn name(&self, group: &Group, connection: ConnectionId) -> Option<ByteStr> {
        let mut name = None;
        self.with_members(group, |members| {
            let found = members.sessions().find(|session| session.connection == connection);
            name = found.map(|session| session.client.clone());
        });
        name
    }

    /// Returns the consumer groups that have members now.
    pub fn consumer_groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> =
            self.state.read().table.consumers().map(|(group, _)| group.clone()).collect();
        groups.sort();
        groups
    }

    /// Returns the groups whose members subscribed to a topic now.
    pub fn groups_of(&self, topic: &TopicName) -> Vec<Group> {
        let state = self.state.read();
        let wanting =
            state.table.consumers().filter(|(_, members)| members.subscriptions().contains_key(topic));
        let mut groups: Vec<Group> = wanting.map(|(group, _)| group.clone()).collect();
        groups.sort();
        groups
    }

    /// Returns what a group's members subscribed to, topic by topic, by their newest words.
    pub fn subscriptions(&self, group: &Group) -> Vec<SubscriptionData> {
        let all = |members: &Members| members.subscriptions().into_values().cloned().collect();
        self.with_members(group, all).unwrap_or_default()
    }

    /// Returns a connection of a producer group that takes requests, another one with each `turn`.
    pub(crate) fn producer(&self, group: &Group, turn: usize) -> Option<Connection> {
        let state = self.state.read();
        let open = |id: &ConnectionId| state.connections.get(id).filter(|connection| connection.is_open());
        let live: Vec<&Connection> = state.table.producers_of(group).filter_map(open).collect();
        live.get(turn % live.len().max(1)).map(|connection| (*connection).clone())
    }

    /// Returns the newest connection on which a client of that name produces and takes requests.
    pub(crate) fn producing(&self, client: &str) -> Option<Connection> {
        let state = self.state.read();
        let open = |id: &ConnectionId| state.connections.get(id).filter(|connection| connection.is_open());
        state.table.producing(client).find_map(open).cloned()
    }

    /// True when somebody of a producer group is there.
    pub(crate) fn produces(&self, group: &Group) -> bool {
        self.state.read().table.producers_of(group).next().is_some()
    }

    /// Returns all producer groups with their sessions.
    pub fn producers(&self) -> Vec<(Group, Vec<Session>)> {
        let state = self.state.read();
        let mut all: Vec<(Group, Vec<Session>)> = state
            .table
            .producers()
            .map(|(group, sessions)| (group.clone(), sessions.into_iter().cloned().collect()))
            .collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }
}
