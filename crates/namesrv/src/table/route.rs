// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What the table answers about one topic, one broker name, or all brokers. Reads only.

use std::collections::BTreeMap;

use protocol::body::TopicQueueMappingInfo;
use stdx::Timestamp;

use super::{Broker, MASTER, Queues, RouteTable, WRITE};

/// The outcome of asking for a topic.
#[derive(Debug, PartialEq)]
pub(crate) enum Lookup {
    Found(Route),
    /// Nobody serves the topic.
    Missing,
    /// Nobody known serves it, but brokers are still expected back after a start.
    TooEarly,
}

/// Where one topic lives, in the order of the broker names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Route {
    pub(crate) queues: Vec<(String, Queues)>,
    pub(crate) brokers: Vec<Members>,
    /// Of a static topic, by broker.
    pub(crate) mappings: Option<BTreeMap<String, TopicQueueMappingInfo>>,
}

/// The replicas of one broker name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) cluster: String,
    pub(crate) broker: String,
    pub(crate) zone: Option<String>,
    pub(crate) acting_master: bool,
    pub(crate) addresses: BTreeMap<u64, Address>,
}

/// Where a replica listens, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) text: String,
    /// The replica runs on this machine.
    pub(crate) is_local: bool,
}

impl Route {
    /// Leaves the brokers of one zone, and those without a master, which may be read from anywhere.
    ///
    /// COMPAT: Apache answers an empty route when no such broker has the topic; an empty route is a false outage, so
    /// the whole one is answered instead.
    pub(crate) fn in_zone(self, zone: &str) -> Route {
        let is_near = |broker: &Members| {
            !broker.addresses.contains_key(&MASTER)
                || broker.zone.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(zone))
        };
        let near: Vec<Members> = self.brokers.iter().filter(|broker| is_near(broker)).cloned().collect();
        if near.is_empty() {
            return self;
        }
        let mut queues = self.queues.clone();
        queues.retain(|(name, _)| near.iter().any(|broker| broker.broker == *name));
        Route { queues, brokers: near, ..self }
    }
}

impl RouteTable {
    /// Where a topic lives.
    pub(crate) fn route(&self, topic: &str, now: Timestamp) -> Lookup {
        let Some(listed) = self.topics.get(topic) else {
            return if self.grace.holds(now) { Lookup::TooEarly } else { Lookup::Missing };
        };
        let mut route = Route { mappings: self.mappings.get(topic).cloned(), ..Route::default() };
        for on in listed {
            let broker = &self.brokers[&on.broker];
            let queues = broker.allowed(on.queues);
            let mut members = broker.members(&on.broker);
            if self.rules.acting_master && queues.permission & WRITE == 0 {
                members.promote();
            }
            route.queues.push((on.broker.to_string(), queues));
            route.brokers.push(members);
        }
        Lookup::Found(route)
    }

    /// The replicas of one broker name.
    pub(crate) fn members(&self, broker: &str) -> Option<Members> {
        self.brokers.get(broker).map(|entry| entry.members(broker))
    }

    /// All replicas of all broker names.
    pub(crate) fn all_members(&self) -> Vec<Members> {
        self.brokers.iter().map(|(name, broker)| broker.members(name)).collect()
    }
}

impl Broker {
    fn members(&self, name: &str) -> Members {
        let address =
            |replica: &super::Replica| Address { text: replica.address.clone(), is_local: replica.is_local };
        Members {
            cluster: self.cluster.clone(),
            broker: name.to_owned(),
            zone: self.zone.clone(),
            acting_master: self.acting_master,
            addresses: self.replicas.iter().map(|(id, replica)| (*id, address(replica))).collect(),
        }
    }

    /// What may be done with queues of this broker now: nobody writes to a replica that only stands in.
    fn allowed(&self, queues: Queues) -> Queues {
        let stands_in = self.acting_master && !self.replicas.contains_key(&MASTER);
        let denied = if self.wiped || stands_in { WRITE } else { 0 };
        Queues { permission: queues.permission & !denied, ..queues }
    }
}

impl Members {
    /// Shows the lowest replica under the master's id where there is no master.
    fn promote(&mut self) {
        if self.acting_master
            && !self.addresses.contains_key(&MASTER)
            && let Some((_, address)) = self.addresses.pop_first()
        {
            self.addresses.insert(MASTER, address);
        }
    }
}
