// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Which client of a group may consume which queue in order.
//! In: who asks, who was granted, who lets go, the time. Out: what becomes of a wish, what is free again. Never calls
//! anyone.
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

/// What becomes of a client's wish for a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Another client holds it.
    Refused,
    /// It holds it already.
    Renewed,
    /// Nobody holds it, or nobody any more.
    Taken,
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

    /// Says of each queue what becomes of it when `client` asks for it. Changes nothing.
    pub(crate) fn judge(
        &self,
        group: &Group,
        client: &ByteStr,
        queues: &[QueueKey],
        now: Timestamp,
    ) -> Vec<Verdict> {
        let held = self.groups.get(group);
        let judge = |queue: &QueueKey| match held.and_then(|held| held.get(queue)) {
            Some(holder) if holder.client == *client => Verdict::Renewed,
            Some(holder) if !is_over(holder, self.lease, now) => Verdict::Refused,
            Some(_) | None => Verdict::Taken,
        };
        queues.iter().map(judge).collect()
    }

    /// Makes `client` the holder of a queue, anew or still.
    pub(crate) fn grant(&mut self, group: &Group, client: &ByteStr, queue: &QueueKey, now: Timestamp) {
        let held = self.groups.entry(group.clone()).or_default();
        held.insert(queue.clone(), Holder { client: client.clone(), renewed: now });
    }

    /// A holder from before a start: it has half of a lease to say that it lives. No client trusts a lock for longer
    /// than that without a word from us.
    pub(crate) fn inherit(&mut self, group: &Group, client: &ByteStr, queue: &QueueKey, now: Timestamp) {
        let lease = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
        self.grant(group, client, queue, Timestamp(now.0.saturating_sub(lease - lease / 2)));
    }

    /// Lets go of the queues that `client` holds; the others stay with their holders. Returns those it held.
    pub(crate) fn unlock(&mut self, group: &Group, client: &ByteStr, queues: &[QueueKey]) -> Vec<QueueKey> {
        let Some(held) = self.groups.get_mut(group) else { return Vec::new() };
        let mut freed = Vec::new();
        for queue in queues {
            if held.get(queue).is_some_and(|holder| holder.client == *client) {
                held.remove(queue);
                freed.push(queue.clone());
            }
        }
        if held.is_empty() {
            self.groups.remove(group);
        }
        freed
    }

    /// Says whether any member of the group holds a queue now, which makes it a group that consumes in order.
    pub(crate) fn is_held(&self, group: &Group, now: Timestamp) -> bool {
        let held = self.groups.get(group);
        held.is_some_and(|held| held.values().any(|holder| !is_over(holder, self.lease, now)))
    }

    /// Forgets leases that ended, so that gone groups take no memory; returns them.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<(Group, QueueKey)> {
        let lease = self.lease;
        let mut ended = Vec::new();
        self.groups.retain(|group, held| {
            let over = held.extract_if(|_, holder| is_over(holder, lease, now));
            ended.extend(over.map(|(queue, _)| (group.clone(), queue)));
            !held.is_empty()
        });
        ended
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
                "lock" => {
                    let verdicts = table.judge(&group, &client, &queues, now);
                    let granted = queues.iter().zip(&verdicts).filter(|(_, v)| **v != Verdict::Refused);
                    granted.for_each(|(queue, _)| table.grant(&group, &client, queue, now));
                    printed += &format!("{line}: {verdicts:?}\n");
                }
                "inherit" => queues.iter().for_each(|queue| table.inherit(&group, &client, queue, now)),
                "unlock" => printed += &format!("{line}: {}\n", table.unlock(&group, &client, &queues).len()),
                "expire" => printed += &format!("{line}: {}\n", table.expire(now).len()),
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
                0 lock a 0 1: [Taken, Taken]
                1 lock b 1 2: [Refused, Taken]
                59 lock a 0: [Renewed]
                61 lock b 0 1: [Refused, Taken]
                119 held: true
                120 lock b 0: [Taken]
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
                0 lock a 0: [Taken]
                1 unlock b 0: 0
                2 lock b 0: [Refused]
                3 unlock a 0: 1
                4 lock b 0: [Taken]
                70 expire: 1
                70 held: false
            "#]],
        );
    }

    #[test]
    fn a_holder_from_before_a_start_has_half_a_lease_to_speak_up() {
        check(
            "100 inherit a 0 1
             100 lock b 0
             120 lock a 1
             130 lock b 0
             131 lock b 0 1
             180 lock b 1
             181 lock b 1",
            expect![[r#"
                100 lock b 0: [Refused]
                120 lock a 1: [Renewed]
                130 lock b 0: [Refused]
                131 lock b 0 1: [Taken, Refused]
                180 lock b 1: [Refused]
                181 lock b 1: [Taken]
            "#]],
        );
    }
}
