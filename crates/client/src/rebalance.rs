// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a new share of the queues means for a member that holds some. Used by the consumers when the membership
//! or the route changes.

use std::collections::BTreeSet;

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

    #[test]
    fn a_change_names_both_directions() {
        let held = BTreeSet::from([1, 2, 3]);
        let share = BTreeSet::from([3, 4]);
        assert_eq!(change(&held, &share), Change { taken: vec![4], given_up: vec![1, 2] });
    }
}
