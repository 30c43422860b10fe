// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Lists of topics for operators. Reads only.

use std::collections::BTreeSet;

use super::{Queues, RouteTable};

const UNIT: i32 = 1;
const UNIT_SUBSCRIPTION: i32 = 2;

/// Which topics a list holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TopicSet<'a> {
    All,
    /// On any broker of a cluster.
    Cluster(&'a str),
    Unit,
    UnitSubscription,
    UnitSubscriptionOnly,
}

impl RouteTable {
    /// The names of the topics in a set, sorted.
    pub(crate) fn topics(&self, set: TopicSet<'_>) -> BTreeSet<String> {
        let flags = |wanted: i32, unwanted: i32| {
            move |queues: Queues| queues.flags & wanted == wanted && queues.flags & unwanted == 0
        };
        match set {
            TopicSet::All => self.topics.keys().cloned().collect(),
            TopicSet::Cluster(cluster) => {
                let is_in = |listed: &super::OnBroker| self.brokers[&listed.broker].cluster == cluster;
                let listed = self.topics.iter().filter(|(_, listed)| listed.iter().any(is_in));
                listed.map(|(topic, _)| topic.clone()).collect()
            }
            TopicSet::Unit => self.topics_by(flags(UNIT, 0)),
            TopicSet::UnitSubscription => self.topics_by(flags(UNIT_SUBSCRIPTION, 0)),
            TopicSet::UnitSubscriptionOnly => self.topics_by(flags(UNIT_SUBSCRIPTION, UNIT)),
        }
    }

    fn topics_by(&self, matches: impl Fn(Queues) -> bool) -> BTreeSet<String> {
        let listed =
            self.topics.iter().filter(|(_, listed)| listed.first().is_some_and(|on| matches(on.queues)));
        listed.map(|(topic, _)| topic.clone()).collect()
    }
}
