// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Which queues of a topic belong to which member of a group.
//! In: all queues, all client ids, our own id. Out: our share. Every member computes the same from the same input,
//! so nobody has to agree with anybody; used by the consumers when the membership or the route changes.
//! Invariant: over all clients the shares are disjoint and together hold every queue.

use std::collections::BTreeSet;

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
    /// Returns the share of `me`, sorted; empty when `me` is not a member.
    pub fn share<Q: Clone + Ord>(self, queues: &[Q], clients: &[String], me: &str) -> Vec<Q> {
        let queues: Vec<&Q> = queues.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let clients: Vec<&String> = clients.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let Ok(index) = clients.binary_search_by(|client| client.as_str().cmp(me)) else {
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

/// What a new share means for the queues that are held now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change<Q> {
    pub(crate) taken: Vec<Q>,
    pub(crate) given_up: Vec<Q>,
}

/// Compares what is held with what should be held.
pub(crate) fn change<Q: Clone + Ord>(held: &BTreeSet<Q>, share: &BTreeSet<Q>) -> Change<Q> {
    Change {
        taken: share.difference(held).cloned().collect(),
        given_up: held.difference(share).cloned().collect(),
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
    fn a_stranger_gets_nothing() {
        assert!(Allocation::Averagely.share(&[1, 2], &ids(2), "someone else").is_empty());
        assert!(Allocation::ByCircle.share(&[1, 2], &[], "someone else").is_empty());
    }

    #[test]
    fn a_change_names_both_directions() {
        let held = BTreeSet::from([1, 2, 3]);
        let share = BTreeSet::from([3, 4]);
        assert_eq!(change(&held, &share), Change { taken: vec![4], given_up: vec![1, 2] });
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
