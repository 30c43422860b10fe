// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Whether the members of a group want the same of a topic. Queues are dealt to members, not messages: what one
//! member's filter passes over is lost for another one that wanted it. So the group has one filter for a topic, the one
//! that a member has had longest; whoever wants something else is in dispute with it until those members are gone.
//! Called by `table` when what a group wants changes. Never decides what becomes of a dispute.

use std::sync::Arc;

use protocol::filter::Filter;

use super::table::Subscription;

/// What a member wants of a topic, and since which change of the table.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) since: u64,
}

/// What a group wants of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    governing: Word,
    /// Everything else that members want, each once.
    others: Vec<Arc<Subscription>>,
    /// Some members want nothing of the topic.
    is_missed: bool,
    /// Takes what any member wants; there when a server alone applies all filters.
    union: Option<Arc<Filter>>,
}

/// Two members that want different things of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Dispute {
    /// What the group has wanted longest.
    pub(crate) governing: Arc<Subscription>,
    /// Takes what any member wants; absent when clients filter once more by themselves.
    pub(crate) union: Option<Arc<Filter>>,
    /// The member wants something else than the group.
    pub(crate) is_other: bool,
}

impl Subscription {
    /// True when both choose the same messages, however they are written.
    pub(crate) fn same(&self, other: &Subscription) -> bool {
        match (&self.filter, &other.filter) {
            (Ok(one), Ok(two)) => Arc::ptr_eq(one, two) || one == two,
            _ => {
                (&self.data.expression_type, &self.data.sub_string)
                    == (&other.data.expression_type, &other.data.sub_string)
            }
        }
    }
}

impl Agreement {
    /// Weighs what the members of a group say about one topic.
    pub(crate) fn of<'a>(
        words: impl Iterator<Item = &'a Word> + Clone,
        is_missed: bool,
    ) -> Option<Agreement> {
        let governing = words.clone().min_by_key(|word| word.since)?.clone();
        let mut others: Vec<Arc<Subscription>> = Vec::new();
        for word in words {
            let known = std::iter::once(&governing.subscription).chain(&others);
            if !known.clone().any(|known| known.same(&word.subscription)) {
                others.push(word.subscription.clone());
            }
        }
        let all = std::iter::once(&governing.subscription).chain(&others);
        let served = |one: &Arc<Subscription>| match &one.filter {
            Ok(filter) if !matches!(**filter, Filter::Tags(_)) => Some(filter.clone()),
            _ => None,
        };
        let union = all.map(served).collect::<Option<Vec<_>>>().filter(|_| !others.is_empty());
        Some(Agreement { governing, others, is_missed, union: union.map(|all| Arc::new(Filter::Any(all))) })
    }

    /// What the group has wanted longest.
    pub(crate) fn governing(&self) -> &Arc<Subscription> {
        &self.governing.subscription
    }

    /// What some members want instead.
    pub(crate) fn others(&self) -> &[Arc<Subscription>] {
        &self.others
    }

    /// Some members want nothing of the topic.
    pub(crate) fn is_missed(&self) -> bool {
        self.is_missed
    }

    /// Not all members want the same.
    pub(crate) fn is_disputed(&self) -> bool {
        self.is_missed || !self.others.is_empty()
    }

    /// Says how a member stands to it, if not all want the same.
    pub(crate) fn dispute(&self, own: &Subscription) -> Option<Dispute> {
        (!self.others.is_empty()).then(|| Dispute {
            governing: self.governing().clone(),
            union: self.union.clone(),
            is_other: !own.same(self.governing()),
        })
    }
}
