// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Which queues of a topic belong to which member of a group: how they are dealt, and the requests of members
//! whose broker does that for them, all in bodies.
//! In: all queues, all client ids, one of them. Out: its share. Everybody computes the same from the same input, so
//! members and brokers need not agree about anything else.
//! Invariant: over all clients the shares are disjoint and together hold every queue.

use std::collections::BTreeSet;

use crate::request::request;

request! {
    /// Asks which queues of a topic are a member's; they are the body.
    QueryAssignment = 400 -> ()
}

request! {
    /// Sets how a group consumes a topic.
    SetMessageRequestMode = 401 -> ()
}

request! {
    /// Lists how groups consume topics, where it was set; the list is the body.
    GetAllMessageRequestMode = 402 -> ()
}

/// How the queues of a topic are dealt to the members of a group. All members must use the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocation {
    /// One run of neighbouring queues each; the first members get one more when it does not come out even.
    #[default]
    Averagely,
    /// Queues are dealt one by one, round and round.
    ByCircle,
}

impl Allocation {
    /// Reads the name that clients give it.
    pub fn named(name: &str) -> Option<Allocation> {
        match name {
            "AVG" => Some(Allocation::Averagely),
            "AVG_BY_CIRCLE" => Some(Allocation::ByCircle),
            _ => None,
        }
    }

    /// Returns the share of `me`, sorted; empty when `me` is not a member.
    pub fn share<Q: Clone + Ord>(self, queues: &[Q], clients: &[impl AsRef<str>], me: &str) -> Vec<Q> {
        let queues: Vec<&Q> = queues.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let clients: Vec<&str> =
            clients.iter().map(AsRef::as_ref).collect::<BTreeSet<_>>().into_iter().collect();
        let Ok(index) = clients.binary_search(&me) else {
            return Vec::new();
        };
        match self {
            Allocation::Averagely => {
                let (each, more) = (queues.len() / clients.len(), queues.len() % clients.len());
                let start = index * each + index.min(more);
                let count = each + usize::from(index < more);
                queues.into_iter().skip(start).take(count).cloned().collect()
            }
            Allocation::ByCircle => queues.into_iter().skip(index).step_by(clients.len()).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn ids(clients: usize) -> Vec<String> {
        (0..clients).map(|n| format!("10.0.0.{n}@{n}")).collect()
    }

    fn check(allocation: Allocation, queues: u32, clients: usize, expected: Expect) {
        let queues: Vec<u32> = (0..queues).rev().collect();
        let clients = ids(clients);
        let shares: Vec<String> =
            clients.iter().map(|me| format!("{:?}", allocation.share(&queues, &clients, me))).collect();
        expected.assert_eq(&shares.join(" "));
    }

    #[test]
    fn shares_come_out_as_every_other_client_computes_them() {
        check(Allocation::Averagely, 8, 1, expect!["[0, 1, 2, 3, 4, 5, 6, 7]"]);
        check(Allocation::Averagely, 8, 3, expect!["[0, 1, 2] [3, 4, 5] [6, 7]"]);
        check(Allocation::Averagely, 2, 3, expect!["[0] [1] []"]);
        check(Allocation::Averagely, 0, 2, expect!["[] []"]);
        check(Allocation::ByCircle, 8, 3, expect!["[0, 3, 6] [1, 4, 7] [2, 5]"]);
        check(Allocation::ByCircle, 2, 3, expect!["[0] [1] []"]);
    }

    #[test]
    fn names_are_those_that_clients_give() {
        assert_eq!(Allocation::named("AVG"), Some(Allocation::Averagely));
        assert_eq!(Allocation::named("AVG_BY_CIRCLE"), Some(Allocation::ByCircle));
        assert_eq!(Allocation::named("CONFIG"), None);
    }

    #[test]
    fn a_stranger_gets_nothing() {
        assert!(Allocation::Averagely.share(&[1, 2], &ids(2), "someone else").is_empty());
        assert!(Allocation::ByCircle.share(&[1, 2], &ids(0), "someone else").is_empty());
    }

    proptest! {
        #[test]
        fn every_queue_has_exactly_one_owner(
            queues in prop::collection::vec(0u32..500, 0..200),
            clients in 1usize..40,
            circle: bool,
        ) {
            let allocation = if circle { Allocation::ByCircle } else { Allocation::Averagely };
            let clients = ids(clients);
            let shares: Vec<Vec<u32>> =
                clients.iter().map(|me| allocation.share(&queues, &clients, me)).collect();
            let mut dealt: Vec<u32> = shares.concat();
            dealt.sort_unstable();
            let all: Vec<u32> = queues.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
            prop_assert_eq!(dealt, all);
            let (least, most) = (shares.iter().map(Vec::len).min(), shares.iter().map(Vec::len).max());
            prop_assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 1);
        }
    }
}
