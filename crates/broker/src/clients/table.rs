// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Who is connected: producers and consumers by group, each session on one connection.
//! In: heartbeats, goodbyes, closed connections, the time. Out: which groups changed, hence who has to be told.
//! Never calls anyone. Invariants: a group without sessions is forgotten; a connection that is known stands in at
//! least one group; every session stands under its own connection.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::body::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};
use protocol::filter::{Filter, FilterError};
use protocol::frame::Language;
use protocol::names::{ByteStr, Group, TopicName};
use stdx::Timestamp;

use super::agreement::{Agreement, Dispute, Word};

/// The number of a connection, as the server counts them.
pub type ConnectionId = u64;

/// One client on one connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// The connection it speaks on.
    pub connection: ConnectionId,
    /// What the client calls itself.
    pub client: ByteStr,
    /// Where it is.
    pub peer: SocketAddr,
    /// What its SDK is written in.
    pub language: Language,
    /// The version its SDK names.
    pub version: i32,
    /// When it was last heard of.
    pub seen: Timestamp,
}

/// What a group wants of one topic.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// As the client wrote it.
    pub data: SubscriptionData,
    /// Compiled; `Err` says why it cannot be.
    pub filter: Result<Arc<Filter>, FilterError>,
}

/// How a group consumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Pulled by the client's own loop, by the application, or popped.
    pub consume_type: ConsumeType,
    /// One member gets a message, or all.
    pub model: MessageModel,
    /// Where a new group starts.
    pub from: ConsumeFromWhere,
}

/// One consumer group's part of a heartbeat.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(crate) group: Group,
    pub(crate) manner: Manner,
    /// `None` when the heartbeat left them out because the broker knows them.
    pub(crate) subscriptions: Option<HashMap<TopicName, Arc<Subscription>>>,
    /// Identifies the subscriptions; zero from clients that always send them.
    pub(crate) fingerprint: i32,
}

/// A consumer group as it is now.
#[derive(Debug, Default)]
pub struct Members {
    /// How it consumes, by the latest heartbeat.
    pub manner: Manner,
    sessions: BTreeMap<ConnectionId, Member>,
    /// Follows from what the members want.
    agreements: BTreeMap<TopicName, Agreement>,
}

#[derive(Debug)]
struct Member {
    session: Session,
    /// How this member consumes, whatever others of its group do.
    consume_type: ConsumeType,
    words: HashMap<TopicName, Word>,
    fingerprint: i32,
}

/// A topic of which the members of a group want different things.
pub(crate) struct Disputed<'a> {
    pub(crate) topic: &'a TopicName,
    /// What the group has wanted longest.
    pub(crate) governing: &'a Arc<Subscription>,
    /// What others want instead, and who; `None` is nothing of this topic.
    pub(crate) others: Vec<(Option<&'a Arc<Subscription>>, Vec<&'a Session>)>,
}

impl Member {
    /// True when its queues are dealt to it: one that chooses them by itself is in nobody's way.
    fn shares(&self) -> bool {
        self.consume_type == ConsumeType::Passively
    }

    /// True when it subscribes, but not to this topic: the queues that fall to it are read by nobody.
    fn misses(&self, topic: &TopicName) -> bool {
        !self.words.is_empty() && !self.words.contains_key(topic)
    }
}

/// What a heartbeat changed in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Greeted {
    /// The member is new.
    pub(crate) joined: bool,
    /// The set of subscribed topics is another one.
    pub(crate) resubscribed: bool,
    /// The client left its subscriptions out, and they are unknown or others: it has to send them.
    pub(crate) unknown: bool,
    /// Topics of which the members want different things since this heartbeat.
    pub(crate) disputed: Vec<TopicName>,
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct ClientTable {
    consumers: HashMap<Group, Members>,
    producers: HashMap<Group, BTreeMap<ConnectionId, Session>>,
    /// Where a client of some name produces, and in how many groups there.
    producing: HashMap<ByteStr, BTreeMap<ConnectionId, usize>>,
    /// The groups a connection stands in, so that closing it touches no others.
    connections: HashMap<ConnectionId, HashSet<Group>>,
    /// Counts what members said anew.
    said: u64,
}

impl ClientTable {
    /// Notes that a member of a consumer group lives.
    pub(crate) fn consumer(&mut self, session: &Session, presence: Presence) -> Greeted {
        let Presence { group, manner, subscriptions, fingerprint } = presence;
        self.connections.entry(session.connection).or_default().insert(group.clone());
        let members = self.consumers.entry(group).or_insert_with(|| Members { manner, ..Members::default() });
        members.manner = manner;
        let before = members.topics();
        let joined = !members.sessions.contains_key(&session.connection);
        let member = members.sessions.entry(session.connection).or_insert_with(|| Member {
            session: session.clone(),
            consume_type: manner.consume_type,
            words: HashMap::new(),
            fingerprint,
        });
        member.session = session.clone();
        let turned = std::mem::replace(&mut member.consume_type, manner.consume_type) != manner.consume_type;
        let (mut unknown, mut is_new) = (false, turned);
        match subscriptions {
            Some(subscriptions) => {
                let (words, differ) = newest(&member.words, subscriptions, &mut self.said);
                member.words = words;
                member.fingerprint = fingerprint;
                is_new |= differ;
            }
            None => unknown = member.words.is_empty() || member.fingerprint != fingerprint,
        }
        if turned {
            // who begins to share comes behind those who share already
            self.said += 1;
            member.words.values_mut().for_each(|word| word.since = self.said);
        }
        let disputed = if is_new { members.agree() } else { Vec::new() };
        Greeted { joined, resubscribed: members.topics() != before, unknown, disputed }
    }

    /// Notes that a producer lives.
    pub(crate) fn producer(&mut self, session: &Session, group: Group) {
        self.connections.entry(session.connection).or_default().insert(group.clone());
        let sessions = self.producers.entry(group).or_default();
        let before = sessions.insert(session.connection, session.clone());
        if before.as_ref().is_some_and(|before| before.client == session.client) {
            return;
        }
        let groups = self.producing.entry(session.client.clone()).or_default();
        *groups.entry(session.connection).or_default() += 1;
        if let Some(before) = before {
            self.produces_less(&before);
        }
    }

    /// Takes one group from what a session produces in.
    fn produces_less(&mut self, session: &Session) {
        let Some(connections) = self.producing.get_mut(&session.client) else { return };
        if let Some(groups) = connections.get_mut(&session.connection) {
            *groups -= 1;
            if *groups == 0 {
                connections.remove(&session.connection);
            }
        }
        if connections.is_empty() {
            self.producing.remove(&session.client);
        }
    }

    /// Forgets a producer that says goodbye.
    pub(crate) fn leave_producer(&mut self, connection: ConnectionId, group: &Group) {
        if let Some(sessions) = self.producers.get_mut(group) {
            let left = sessions.remove(&connection);
            if sessions.is_empty() {
                self.producers.remove(group);
            }
            if let Some(left) = left {
                self.produces_less(&left);
            }
        }
        self.tidy_connection(connection, group);
    }

    /// Forgets a consumer that says goodbye; true when it was a member.
    pub(crate) fn leave_consumer(&mut self, connection: ConnectionId, group: &Group) -> bool {
        let Some(members) = self.consumers.get_mut(group) else { return false };
        let left = members.sessions.remove(&connection).is_some();
        if members.sessions.is_empty() {
            self.consumers.remove(group);
        } else if left {
            members.agree();
        }
        self.tidy_connection(connection, group);
        left
    }

    /// Forgets everyone on a connection; returns the consumer groups that lost a member.
    pub(crate) fn close(&mut self, connection: ConnectionId) -> Vec<Group> {
        let mut groups: Vec<Group> =
            self.connections.remove(&connection).unwrap_or_default().into_iter().collect();
        groups.retain(|group| {
            self.leave_producer(connection, group);
            self.leave_consumer(connection, group)
        });
        groups.sort();
        groups
    }

    /// Forgets who was not heard of for `silence`; returns the consumer groups that lost a member.
    pub(crate) fn expire(&mut self, now: Timestamp, silence: Duration) -> Vec<Group> {
        let gone = |session: &Session| now.since(session.seen) > silence;
        let consumers = self.consumers.iter().flat_map(|(group, members)| {
            let silent = members.sessions.values().filter(|member| gone(&member.session));
            silent.map(move |member| (member.session.connection, group.clone()))
        });
        let consumers: Vec<_> = consumers.collect();
        let producers = self.producers.iter().flat_map(|(group, sessions)| {
            let silent = sessions.values().filter(|session| gone(session));
            silent.map(move |session| (session.connection, group.clone()))
        });
        let producers: Vec<_> = producers.collect();
        for (connection, group) in producers {
            self.leave_producer(connection, &group);
        }
        let mut changed = BTreeSet::new();
        for (connection, group) in consumers {
            self.leave_consumer(connection, &group);
            changed.insert(group);
        }
        changed.into_iter().collect()
    }

    /// Returns a consumer group that has members.
    pub(crate) fn members(&self, group: &Group) -> Option<&Members> {
        self.consumers.get(group)
    }

    /// Returns all consumer groups that have members.
    pub(crate) fn consumers(&self) -> impl Iterator<Item = (&Group, &Members)> {
        self.consumers.iter()
    }

    /// Returns the connections of a producer group.
    pub(crate) fn producers_of(&self, group: &Group) -> impl Iterator<Item = &ConnectionId> {
        self.producers.get(group).into_iter().flat_map(BTreeMap::keys)
    }

    /// Returns the connections on which a client of that name produces, the newest first.
    pub(crate) fn producing(&self, client: &str) -> impl Iterator<Item = &ConnectionId> {
        self.producing.get(client).into_iter().flat_map(|connections| connections.keys().rev())
    }

    /// Returns all producer groups with their sessions.
    pub(crate) fn producers(&self) -> impl Iterator<Item = (&Group, Vec<&Session>)> {
        self.producers.iter().map(|(group, sessions)| (group, sessions.values().collect()))
    }

    fn tidy_connection(&mut self, connection: ConnectionId, group: &Group) {
        let consumes =
            self.consumers.get(group).is_some_and(|members| members.sessions.contains_key(&connection));
        let produces = self.producers.get(group).is_some_and(|sessions| sessions.contains_key(&connection));
        if let Some(groups) = self.connections.get_mut(&connection)
            && !consumes
            && !produces
        {
            groups.remove(group);
            if groups.is_empty() {
                self.connections.remove(&connection);
            }
        }
    }

    /// Asserts the invariants of this file.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        assert!(self.consumers.values().all(|members| !members.sessions.is_empty()));
        assert!(self.producers.values().all(|sessions| !sessions.is_empty()));
        let mut seen: HashMap<ConnectionId, HashSet<Group>> = HashMap::new();
        let mut producing: HashMap<ByteStr, BTreeMap<ConnectionId, usize>> = HashMap::new();
        for (group, members) in &self.consumers {
            for (connection, member) in &members.sessions {
                assert_eq!(*connection, member.session.connection);
                seen.entry(*connection).or_default().insert(group.clone());
            }
        }
        for (group, sessions) in &self.producers {
            for (connection, session) in sessions {
                seen.entry(*connection).or_default().insert(group.clone());
                *producing.entry(session.client.clone()).or_default().entry(*connection).or_default() += 1;
            }
        }
        assert_eq!(producing, self.producing, "a name leads to the connections on which it produces");
        assert_eq!(seen, self.connections, "a connection knows exactly the groups it stands in");
        self.consumers.values().for_each(Members::check);
    }
}

impl Members {
    /// Returns the sessions, by connection.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().map(|member| &member.session)
    }

    /// Returns the names of the members, each once, in order. Twins that share a name count as one.
    pub fn client_ids(&self) -> BTreeSet<ByteStr> {
        self.sessions().map(|session| session.client.clone()).collect()
    }

    /// Returns the session of a client by its name, the most recently heard of.
    pub fn find(&self, client: &str) -> Option<&Session> {
        self.sessions().filter(|session| session.client == *client).max_by_key(|session| session.seen)
    }

    /// True when the connection belongs to a member.
    pub fn has(&self, connection: ConnectionId) -> bool {
        self.sessions.contains_key(&connection)
    }

    /// Returns what the member on `connection` wants of a topic, else what its group has wanted longest.
    pub fn subscription(&self, connection: ConnectionId, topic: &TopicName) -> Option<&Arc<Subscription>> {
        self.own(connection, topic).or_else(|| self.agreements.get(topic).map(Agreement::governing))
    }

    /// Says how the member on `connection` stands to its group, if that shares out the messages of a topic and not all of
    /// those that take part want the same.
    pub(crate) fn dispute(&self, connection: ConnectionId, topic: &TopicName) -> Option<Dispute> {
        let shares = self.sessions.get(&connection).is_some_and(Member::shares);
        let shares = shares && self.manner.model == MessageModel::Clustering;
        let own = self.own(connection, topic).filter(|_| shares)?;
        self.agreements.get(topic)?.dispute(own)
    }

    /// Returns the topics of which not all members want the same, and who wants what, by the names of the clients.
    pub(crate) fn disputes(&self) -> impl Iterator<Item = Disputed<'_>> {
        let shares = self.manner.model == MessageModel::Clustering;
        let disputed = self.agreements.iter().filter(move |(_, agreement)| shares && agreement.is_disputed());
        disputed.map(|(topic, agreement)| {
            let who = |wanted: &dyn Fn(&Member) -> bool| -> Vec<&Session> {
                let members = self.sessions.values().filter(|member| wanted(member));
                let mut sessions: Vec<&Session> = members.map(|member| &member.session).collect();
                sessions.sort_by(|one, other| one.client.cmp(&other.client));
                sessions
            };
            let wants = |other: &Arc<Subscription>, member: &Member| {
                member.words.get(topic).is_some_and(|word| word.subscription.same(other))
            };
            let others = agreement.others().iter();
            let mut others: Vec<_> =
                others.map(|other| (Some(other), who(&|member| wants(other, member)))).collect();
            if agreement.is_missed() {
                others.push((None, who(&|member| member.misses(topic))));
            }
            Disputed { topic, governing: agreement.governing(), others }
        })
    }

    fn own(&self, connection: ConnectionId, topic: &TopicName) -> Option<&Arc<Subscription>> {
        let word = self.sessions.get(&connection).and_then(|member| member.words.get(topic));
        word.map(|word| &word.subscription)
    }

    /// Asserts that a group has one filter for a topic, and that it is a member's.
    #[cfg(test)]
    fn check(&self) {
        assert_eq!(self.agreements.keys().cloned().collect::<BTreeSet<_>>(), self.topics());
        for (topic, agreement) in &self.agreements {
            let mut governed = 0;
            for (connection, member) in &self.sessions {
                let Some(word) = member.words.get(topic) else { continue };
                let is_other = self.dispute(*connection, topic).is_some_and(|dispute| dispute.is_other);
                let differs = !word.subscription.same(agreement.governing());
                assert_eq!(is_other, differs && member.shares(), "{topic}");
                governed += usize::from(!differs);
            }
            assert!(governed > 0, "a filter that nobody wants governs {topic}");
        }
    }

    /// Weighs anew what the members want that share a topic, or all if none does; returns the topics that were not
    /// disputed before.
    fn agree(&mut self) -> Vec<TopicName> {
        let before = std::mem::take(&mut self.agreements);
        let mut disputed = Vec::new();
        for topic in self.topics() {
            let sharing = |member: &&Member| member.shares() && member.words.contains_key(&topic);
            let is_shared = self.sessions.values().any(|member| sharing(&member));
            let heard = self.sessions.values().filter(|member| sharing(member) || !is_shared);
            let words = heard.filter_map(|member| member.words.get(&topic));
            let is_missed = self.sessions.values().any(|member| member.shares() && member.misses(&topic));
            let Some(agreement) = Agreement::of(words, is_missed) else { continue };
            let was_disputed = before.get(&topic).is_some_and(Agreement::is_disputed);
            if agreement.is_disputed() && !was_disputed {
                disputed.push(topic.clone());
            }
            self.agreements.insert(topic, agreement);
        }
        disputed
    }

    /// Returns what the group wants, topic by topic, by its newest words.
    pub fn subscriptions(&self) -> BTreeMap<TopicName, &SubscriptionData> {
        let mut all: BTreeMap<TopicName, &SubscriptionData> = BTreeMap::new();
        for (topic, word) in self.sessions.values().flat_map(|member| &member.words) {
            let newest = all.entry(topic.clone()).or_insert(&word.subscription.data);
            if newest.sub_version < word.subscription.data.sub_version {
                *newest = &word.subscription.data;
            }
        }
        all
    }

    fn topics(&self) -> BTreeSet<TopicName> {
        self.sessions.values().flat_map(|member| member.words.keys().cloned()).collect()
    }
}

/// Takes the topics of `new`, but keeps what is known of one in a later version: heartbeats overtake each other. What is
/// wanted in other words or a later version is as old as before. True when something else is wanted than before.
fn newest(
    known: &HashMap<TopicName, Word>,
    new: HashMap<TopicName, Arc<Subscription>>,
    said: &mut u64,
) -> (HashMap<TopicName, Word>, bool) {
    let mut is_new = known.len() != new.len();
    let pick = |(topic, subscription): (TopicName, Arc<Subscription>)| {
        let old = known.get(&topic);
        let later = old.filter(|old| old.subscription.data.sub_version > subscription.data.sub_version);
        let subscription = later.map_or(subscription, |old| old.subscription.clone());
        let since = old.filter(|old| old.subscription.same(&subscription)).map_or_else(
            || {
                is_new = true;
                *said += 1;
                *said
            },
            |old| old.since,
        );
        (topic, Word { subscription, since })
    };
    let words = new.into_iter().map(pick).collect();
    (words, is_new)
}

#[cfg(test)]
mod tests;
