// SPDX-License-Identifier: Apache-2.0
//! Topics and groups are after a crash what the surviving log says they were.

use std::collections::BTreeMap;

use crate::node::Node;
use crate::workload::{GROUPS, TOPICS};

/// How a topic or a group is set; `None` when it is not there.
type Setting = Option<String>;

#[derive(Default)]
pub(crate) struct Settings {
    /// Every change with where its records in the log begin and end, by name.
    changes: BTreeMap<String, Vec<(u64, u64, Setting)>>,
    /// Changes of the log up to here cannot be missing.
    whole: u64,
    /// The process died while it did something for a client.
    is_unsure: bool,
}

impl Settings {
    /// Looks at all names after a step that wrote the log from `from` to `to`.
    pub(crate) fn look(&mut self, node: &Node, from: u64, to: u64) {
        for (name, setting) in current(node) {
            let changes = self.changes.entry(name).or_default();
            if changes.last().map(|(_, _, last)| last) != Some(&setting) {
                changes.push((from, to, setting));
            }
        }
    }

    /// Changes past `end` did not happen; one past `whole` may have.
    pub(crate) fn crashed(&mut self, whole: u64, end: u64, is_unsure: bool) {
        (self.whole, self.is_unsure) = (whole, is_unsure);
        for changes in self.changes.values_mut() {
            changes.retain(|(from, _, _)| *from < end || *from == 0);
        }
    }

    /// Holds what is there against what was.
    pub(crate) fn check(&mut self, node: &Node) {
        let end = node.store.watermarks().written.get();
        let whole = std::mem::replace(&mut self.whole, u64::MAX);
        let is_unsure = std::mem::take(&mut self.is_unsure);
        for (name, setting) in current(node) {
            let Some(changes) = self.changes.get(&name) else { continue };
            let sure = changes.iter().rposition(|(_, to, _)| *to <= whole).unwrap_or(0);
            let possible: Vec<&Setting> = changes[sure..].iter().map(|(_, _, setting)| setting).collect();
            let may_be = possible.contains(&&setting) || is_unsure;
            assert!(may_be, "{name} is {setting:?}, it was {possible:?}");
            if changes.last().map(|(_, _, last)| last) != Some(&setting) {
                self.changes.entry(name).or_default().push((end.saturating_sub(1), end, setting));
            }
        }
    }
}

fn current(node: &Node) -> Vec<(String, Setting)> {
    let topic = |name: &&str| {
        let topic = node.broker.topics().get(name);
        (format!("topic {name}"), topic.map(|topic| format!("{:?}", topic.config())))
    };
    let group = |name: &&str| {
        let group = node.broker.groups().get(name);
        (format!("group {name}"), group.map(|group| format!("{group:?}")))
    };
    TOPICS.iter().map(topic).chain(GROUPS.iter().map(group)).collect()
}
