// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Which broker serves which queues of which topic, and until when that may be believed.
//! In: registrations, heartbeats, farewells, closed connections, `now`. Out: routes, lists, refusals. Never calls anyone.
//!
//! Invariants, asserted by [`RouteTable::check`]: an address has one seat, and a seat has one lease; a broker without a
//! seat is not in the table and no topic names it; a topic without queues is not in the table; a broker belongs to one
//! cluster.
//!
//! The connection number is the epoch of an address: what arrives on an older connection than the one that last
//! registered the address comes from the past and changes nothing.

mod grace;
mod lists;
mod route;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use protocol::body::TopicQueueMappingInfo;
use protocol::data_version::DataVersion;
use stdx::Timestamp;

use grace::Grace;
pub(crate) use lists::TopicSet;
pub(crate) use route::{Address, Lookup, Members, Route};

/// The id that makes a broker the master of its name.
pub(crate) const MASTER: u64 = 0;
/// The lease of a broker that does not ask for one.
pub(crate) const DEFAULT_LEASE: Duration = Duration::from_secs(120);
/// The longest lease that is granted; a broker that asks for more would be believed for ever.
pub(crate) const LEASE_MAX: Duration = Duration::from_secs(3600);
/// Permission bit: producers may write.
pub(crate) const WRITE: i32 = 2;

/// One topic's queues on one broker, as the broker announced them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queues {
    pub(crate) read: i32,
    pub(crate) write: i32,
    pub(crate) permission: i32,
    pub(crate) flags: i32,
}

/// Who speaks: one process at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) cluster: String,
    pub(crate) broker: String,
    pub(crate) id: u64,
    pub(crate) address: String,
}

/// Everything a broker says when it registers.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) seat: Seat,
    pub(crate) replication_address: String,
    pub(crate) zone: Option<String>,
    /// `None` for brokers too old to know about acting masters.
    pub(crate) acting_master: Option<bool>,
    pub(crate) lease: Duration,
    pub(crate) version: DataVersion,
    pub(crate) topics: Vec<(String, Queues)>,
    /// How static topics lie on this broker, by topic.
    pub(crate) mappings: Vec<(String, TopicQueueMappingInfo)>,
    pub(crate) connection: u64,
    /// The broker runs on this machine.
    pub(crate) is_local: bool,
}

/// What an accepted registration tells its sender, and the shell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Registered {
    /// Address and replication address of the master, for those that are not the master.
    pub(crate) master: Option<(String, String)>,
    /// The roster of broker names to remember over a restart changed.
    pub(crate) roster_changed: bool,
}

/// Why a registration changed nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegisterRefused {
    /// A single-topic update before the first whole one.
    #[error("register broker failed: a registration of one topic needs a whole registration before it")]
    Partial,
    /// The seat is held by somebody whose state is newer.
    #[error("broker id {id} of {broker} is held by {holder} with a newer state version ({held} > {offered})")]
    Stale { broker: String, id: u64, holder: String, held: i64, offered: i64 },
    /// The address registered on a newer connection since.
    #[error("{address} has registered on a newer connection since")]
    Past { address: String },
    /// The broker name is taken in another cluster.
    #[error("the broker name {broker} is taken in cluster {cluster}")]
    OtherCluster { broker: String, cluster: String },
}

/// Settings that change what the table does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Lets the lowest surviving replica appear under the master's id.
    pub(crate) acting_master: bool,
    /// Drops topics that a whole registration no longer lists.
    pub(crate) drop_unlisted: bool,
}

/// The route table.
#[derive(Debug)]
pub(crate) struct RouteTable {
    pub(crate) rules: Rules,
    brokers: BTreeMap<Arc<str>, Broker>,
    topics: HashMap<String, Vec<OnBroker>>,
    /// By static topic and broker. Outlives the broker: clients still name its queues by their global numbers.
    mappings: HashMap<String, BTreeMap<String, TopicQueueMappingInfo>>,
    /// No lease ends before this; may be early, never late.
    next_end: Option<Timestamp>,
    grace: Grace,
}

/// All replicas that share a broker name.
#[derive(Debug)]
struct Broker {
    cluster: String,
    zone: Option<String>,
    acting_master: bool,
    /// An operator took the write permission away; kept beside the topics so that no registration gives it back.
    wiped: bool,
    replicas: BTreeMap<u64, Replica>,
}

#[derive(Debug)]
struct Replica {
    address: String,
    replication_address: String,
    version: DataVersion,
    lease: Duration,
    heard_at: Timestamp,
    connection: u64,
    is_local: bool,
}

#[derive(Clone, Debug)]
struct OnBroker {
    broker: Arc<str>,
    queues: Queues,
}

impl Replica {
    fn ends_at(&self) -> Timestamp {
        self.heard_at + self.lease
    }
}

impl RouteTable {
    /// An empty table that waits, until `grace_end` at most, for the brokers it remembers.
    pub(crate) fn new(rules: Rules, remembered: Vec<String>, grace_end: Timestamp) -> RouteTable {
        RouteTable {
            rules,
            brokers: BTreeMap::new(),
            topics: HashMap::new(),
            mappings: HashMap::new(),
            next_end: None,
            grace: Grace::new(remembered, grace_end),
        }
    }

    /// Takes a registration, or says why it changes nothing.
    pub(crate) fn register(
        &mut self,
        new: Registration,
        now: Timestamp,
    ) -> Result<Registered, RegisterRefused> {
        self.admit(&new)?;
        self.vacate(&new.seat);
        let name = self.seat(&new, now);
        self.list(&name, &new);
        let roster_changed = self.grace.joined(&name);
        let broker = &self.brokers[&name];
        let master = broker.replicas.get(&MASTER).filter(|_| new.seat.id != MASTER);
        let master = master.map(|master| (master.address.clone(), master.replication_address.clone()));
        Ok(Registered { master, roster_changed })
    }

    /// Renews a lease. Returns false when the seat is not known.
    pub(crate) fn heartbeat(&mut self, cluster: &str, broker: &str, address: &str, now: Timestamp) -> bool {
        let found = self.replica_mut(cluster, broker, address);
        let is_known = found.is_some();
        if let Some(replica) = found {
            replica.heard_at = replica.heard_at.max(now);
        }
        is_known
    }

    /// The data version last registered from an address.
    pub(crate) fn version(&self, cluster: &str, broker: &str, address: &str) -> Option<&DataVersion> {
        let broker = self.brokers.get(broker).filter(|broker| broker.cluster == cluster)?;
        broker.replicas.values().find(|replica| replica.address == address).map(|replica| &replica.version)
    }

    /// A broker says farewell. Returns true when the roster to remember changed.
    pub(crate) fn unregister(&mut self, seat: &Seat, connection: u64) -> bool {
        let held = self.brokers.get(seat.broker.as_str()).filter(|broker| broker.cluster == seat.cluster);
        let held = held.and_then(|broker| broker.replicas.get(&seat.id));
        if held.is_none_or(|replica| replica.address != seat.address || replica.connection > connection) {
            return false;
        }
        self.remove_replicas(|broker, id, _| broker == seat.broker && id == seat.id);
        !self.brokers.contains_key(seat.broker.as_str()) && self.grace.left(&seat.broker)
    }

    /// A connection ended: seats that last registered on it are empty now.
    pub(crate) fn disconnect(&mut self, connection: u64) -> Vec<Seat> {
        self.remove_replicas(|_, _, replica| replica.connection == connection)
    }

    /// Returns true when `expire` would find something to look at.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.next_end.is_some_and(|end| end < now)
    }

    /// Empties the seats whose lease has ended before `now`.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Seat> {
        let expired = self.remove_replicas(|_, _, replica| replica.ends_at() < now);
        let all = self.brokers.values().flat_map(|broker| broker.replicas.values());
        self.next_end = all.map(Replica::ends_at).min();
        expired
    }

    /// Takes the write permission of a broker away, or gives back what it registered. Returns how many topics it has.
    pub(crate) fn set_wiped(&mut self, broker: &str, wiped: bool) -> i32 {
        let Some(entry) = self.brokers.get_mut(broker) else { return 0 };
        entry.wiped = wiped;
        let listed = self.topics.values().filter(|listed| listed.iter().any(|on| &*on.broker == broker));
        i32::try_from(listed.count()).unwrap_or(i32::MAX)
    }

    /// Announces one topic for brokers that are registered. Nothing changes unless all of them are.
    pub(crate) fn register_topic(&mut self, topic: &str, queues: &[(String, Queues)]) -> bool {
        let names: Option<Vec<_>> =
            queues.iter().map(|(broker, queues)| Some((self.name(broker)?, *queues))).collect();
        let Some(names) = names.filter(|names| !names.is_empty()) else { return false };
        for (broker, queues) in names {
            put(&mut self.topics, topic, &broker, queues);
        }
        true
    }

    /// Forgets a topic, in one cluster or in all.
    pub(crate) fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(listed) = self.topics.get_mut(topic) else { return };
        listed.retain(|on| cluster.is_some_and(|cluster| self.brokers[&on.broker].cluster != cluster));
        if listed.is_empty() {
            self.topics.remove(topic);
            self.mappings.remove(topic);
        }
    }

    /// The broker names to remember over a restart.
    pub(crate) fn roster(&self) -> Vec<String> {
        self.grace.roster()
    }

    /// Asserts the invariants of the file's head. For tests and the simulation.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let mut addresses = std::collections::BTreeSet::new();
        for broker in self.brokers.values() {
            assert!(!broker.replicas.is_empty(), "a broker without a seat");
            for replica in broker.replicas.values() {
                assert!(addresses.insert((&broker.cluster, &replica.address)), "an address with two seats");
                assert!(self.next_end.is_some_and(|end| end <= replica.ends_at()), "a lease nobody watches");
            }
        }
        for listed in self.topics.values() {
            assert!(!listed.is_empty(), "a topic without queues");
            assert!(listed.is_sorted_by(|a, b| a.broker < b.broker), "a broker listed twice");
            assert!(listed.iter().all(|on| self.brokers.contains_key(&on.broker)), "queues of nobody");
        }
    }

    fn admit(&self, new: &Registration) -> Result<(), RegisterRefused> {
        let Seat { cluster, broker, id, address } = &new.seat;
        let known = self.brokers.get(broker.as_str());
        if let Some(other) = known.filter(|known| known.cluster != *cluster)
            && other.replicas.values().any(|replica| replica.address != *address)
        {
            return Err(RegisterRefused::OtherCluster {
                broker: broker.clone(),
                cluster: other.cluster.clone(),
            });
        }
        let Some(known) = known.filter(|known| known.cluster == *cluster) else {
            return if new.topics.len() == 1 { Err(RegisterRefused::Partial) } else { Ok(()) };
        };
        let same = known.replicas.values().find(|replica| replica.address == *address);
        if same.is_some_and(|replica| replica.connection > new.connection) {
            return Err(RegisterRefused::Past { address: address.clone() });
        }
        match known.replicas.get(id) {
            Some(held)
                if held.address != *address && held.version.state_version > new.version.state_version =>
            {
                Err(RegisterRefused::Stale {
                    broker: broker.clone(),
                    id: *id,
                    holder: held.address.clone(),
                    held: held.version.state_version,
                    offered: new.version.state_version,
                })
            }
            None if new.topics.len() == 1 => Err(RegisterRefused::Partial),
            _ => Ok(()),
        }
    }

    /// Frees the other seats of an address: the process there is somebody else now.
    fn vacate(&mut self, seat: &Seat) {
        let mut others = Vec::new();
        for (name, broker) in &self.brokers {
            let is_name = **name == *seat.broker;
            let is_cluster = broker.cluster == seat.cluster;
            for (&id, _) in broker.replicas.iter().filter(|(_, replica)| replica.address == seat.address) {
                if (is_name || is_cluster) && !(is_name && is_cluster && id == seat.id) {
                    others.push((name.clone(), id));
                }
            }
        }
        for (name, id) in others {
            let broker = self.brokers.get_mut(&name).expect("it was found above");
            broker.replicas.remove(&id);
            // The registering name keeps its topics: it gets its new seat at once.
            if broker.replicas.is_empty() && (*name != *seat.broker || broker.cluster != seat.cluster) {
                self.remove_broker(&name);
            }
        }
    }

    /// Gives the registering process its seat and a fresh lease.
    fn seat(&mut self, new: &Registration, now: Timestamp) -> Arc<str> {
        let name = self.name(&new.seat.broker).unwrap_or_else(|| new.seat.broker.as_str().into());
        let broker = self.brokers.entry(name.clone()).or_insert_with(|| Broker {
            cluster: new.seat.cluster.clone(),
            zone: None,
            acting_master: false,
            wiped: false,
            replicas: BTreeMap::new(),
        });
        broker.zone.clone_from(&new.zone);
        broker.acting_master = new.acting_master == Some(true);
        let replica = Replica {
            address: new.seat.address.clone(),
            replication_address: new.replication_address.clone(),
            version: new.version,
            lease: new.lease,
            heard_at: now,
            connection: new.connection,
            is_local: new.is_local,
        };
        let end = replica.ends_at();
        self.next_end = Some(self.next_end.map_or(end, |next| next.min(end)));
        broker.replicas.insert(new.seat.id, replica);
        name
    }

    /// Takes the topics, from the master or from the replica that stands in for it.
    fn list(&mut self, name: &Arc<str>, new: &Registration) {
        let lowest = self.brokers[name].replicas.keys().next().copied();
        let is_stand_in = new.acting_master.is_some() && lowest == Some(new.seat.id);
        if new.seat.id != MASTER && !is_stand_in {
            return;
        }
        // One topic alone is an update, never the whole list.
        if self.rules.drop_unlisted && new.topics.len() != 1 && new.mappings.is_empty() {
            let listed: std::collections::HashSet<&str> =
                new.topics.iter().map(|(topic, _)| topic.as_str()).collect();
            self.topics.retain(|topic, on| {
                on.retain(|on| on.broker != *name || listed.contains(topic.as_str()));
                !on.is_empty()
            });
        }
        for (topic, queues) in &new.topics {
            put(&mut self.topics, topic, name, *queues);
        }
        for (topic, mapping) in &new.mappings {
            let on = self.mappings.entry(topic.clone()).or_default();
            on.insert(mapping.bname.to_string(), mapping.clone());
        }
    }

    fn name(&self, broker: &str) -> Option<Arc<str>> {
        self.brokers.get_key_value(broker).map(|(name, _)| name.clone())
    }

    fn replica_mut(&mut self, cluster: &str, broker: &str, address: &str) -> Option<&mut Replica> {
        let broker = self.brokers.get_mut(broker).filter(|broker| broker.cluster == cluster)?;
        broker.replicas.values_mut().find(|replica| replica.address == address)
    }

    fn remove_replicas(&mut self, is_gone: impl Fn(&str, u64, &Replica) -> bool) -> Vec<Seat> {
        let mut gone = Vec::new();
        for (name, broker) in &mut self.brokers {
            broker.replicas.retain(|&id, replica| {
                let is_gone = is_gone(name, id, replica);
                if is_gone {
                    let (cluster, address) = (broker.cluster.clone(), replica.address.clone());
                    gone.push(Seat { cluster, broker: name.to_string(), id, address });
                }
                !is_gone
            });
        }
        let empty = |broker: &Broker| broker.replicas.is_empty();
        let empty: Vec<_> =
            self.brokers.iter().filter(|(_, b)| empty(b)).map(|(name, _)| name.clone()).collect();
        empty.iter().for_each(|name| self.remove_broker(name));
        gone
    }

    fn remove_broker(&mut self, name: &str) {
        self.brokers.remove(name);
        self.topics.retain(|_, listed| {
            listed.retain(|on| &*on.broker != name);
            !listed.is_empty()
        });
    }
}

fn put(topics: &mut HashMap<String, Vec<OnBroker>>, topic: &str, broker: &Arc<str>, queues: Queues) {
    let Some(listed) = topics.get_mut(topic) else {
        topics.insert(topic.to_owned(), vec![OnBroker { broker: broker.clone(), queues }]);
        return;
    };
    match listed.binary_search_by(|on| on.broker.cmp(broker)) {
        Ok(at) => listed[at].queues = queues,
        Err(at) => listed.insert(at, OnBroker { broker: broker.clone(), queues }),
    }
}

#[cfg(test)]
mod tests;
