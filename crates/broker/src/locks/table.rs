// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Which client of a group may consume which queue in order.
//! In: lock, unlock, expire. Out: which queues were granted. Never calls anyone.
//! Invariant: a queue of a group has at most one holder, and a holder keeps it until its lease ends or it lets go.

use std::collections::HashMap;
use std::time::Duration;

use protocol::names::{ByteStr, Group, QueueKey};
use stdx::Timestamp;

/// The leases of all groups.
pub(crate) struct LockTable {
    lease: Duration,
    groups: HashMap<Group, HashMap<QueueKey, Holder>>,
}

#[derive(Debug)]
struct Holder {
    client: ByteStr,
    renewed: Timestamp,
}

impl LockTable {
    /// A lease that is not renewed for `lease` is free for others.
    pub(crate) fn new(lease: Duration) -> LockTable {
        LockTable { lease, groups: HashMap::new() }
    }

    /// Takes or renews each queue for `client`; says for each whether it is the holder now.
    pub(crate) fn lock(
        &mut self,
        group: &Group,
        client: &ByteStr,
        queues: &[QueueKey],
        now: Timestamp,
    ) -> Vec<bool> {
        let held = self.groups.entry(group.clone()).or_default();
        let grant = |queue: &QueueKey| {
            let holder =
                held.entry(queue.clone()).or_insert_with(|| Holder { client: client.clone(), renewed: now });
            let granted = holder.client == *client || is_over(holder, self.lease, now);
            if granted {
                *holder = Holder { client: client.clone(), renewed: now };
            }
            granted
        };
        queues.iter().map(grant).collect()
    }

    /// Lets go of the queues that `client` holds; the others stay with their holders.
    pub(crate) fn unlock(&mut self, group: &Group, client: &ByteStr, queues: &[QueueKey]) {
        let Some(held) = self.groups.get_mut(group) else { return };
        for queue in queues {
            if held.get(queue).is_some_and(|holder| holder.client == *client) {
                held.remove(queue);
            }
        }
        if held.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Says whether any member of the group holds a queue now, which makes it a group that consumes in order.
    pub(crate) fn is_held(&self, group: &Group, now: Timestamp) -> bool {
        let held = self.groups.get(group);
        held.is_some_and(|held| held.values().any(|holder| !is_over(holder, self.lease, now)))
    }

    /// Forgets leases that ended, so that gone groups take no memory.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        let lease = self.lease;
        self.groups.retain(|_, held| {
            held.retain(|_, holder| !is_over(holder, lease, now));
            !held.is_empty()
        });
    }

    /// Asserts the invariant of this file.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        assert!(self.groups.values().all(|held| !held.is_empty()), "a group without locks is removed");
    }
}

fn is_over(holder: &Holder, lease: Duration, now: Timestamp) -> bool {
    now.since(holder.renewed) > lease
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use protocol::names::{QueueId, TopicName};

    const LEASE: Duration = Duration::from_secs(60);

    fn check(script: &str, expected: Expect) {
        let mut table = LockTable::new(LEASE);
        let mut printed = String::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split(' ').collect();
            let now = Timestamp(words[0].parse::<i64>().unwrap() * 1000);
            let group = Group::parse("g").unwrap();
            let client = ByteStr::from(*words.get(2).unwrap_or(&""));
            let key = |id: &&str| QueueKey {
                topic: TopicName::parse("t").unwrap(),
                queue: QueueId(id.parse().unwrap()),
            };
            let queues: Vec<QueueKey> = words.iter().skip(3).map(key).collect();
            match words[1] {
                "lock" => printed += &format!("{line}: {:?}\n", table.lock(&group, &client, &queues, now)),
                "unlock" => table.unlock(&group, &client, &queues),
                "expire" => table.expire(now),
                _ => printed += &format!("{line}: {}\n", table.is_held(&group, now)),
            }
            table.check();
        }
        expected.assert_eq(&printed);
    }

    #[test]
    fn a_lease_has_one_holder_until_it_ends() {
        check(
            "0 lock a 0 1
             1 lock b 1 2
             59 lock a 0
             61 lock b 0 1
             119 held
             120 lock b 0
             181 held",
            expect![[r#"
                0 lock a 0 1: [true, true]
                1 lock b 1 2: [false, true]
                59 lock a 0: [true]
                61 lock b 0 1: [false, true]
                119 held: true
                120 lock b 0: [true]
                181 held: false
            "#]],
        );
    }

    #[test]
    fn only_the_holder_lets_go() {
        check(
            "0 lock a 0
             1 unlock b 0
             2 lock b 0
             3 unlock a 0
             4 lock b 0
             70 expire
             70 held",
            expect![[r#"
                0 lock a 0: [true]
                2 lock b 0: [false]
                4 lock b 0: [true]
                70 held: false
            "#]],
        );
    }
}
