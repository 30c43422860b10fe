// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The book of transactions: which half messages are open, whom to ask about them and when, how the latest
//! ones were decided. In: openings, judgements, decisions, questions that went out, the time. Out: what holds, and what
//! is due. Which are open is a view of the log; this adds the times of the questions and keeps no data.
//! Invariants: an open half message waits for its time, for a producer of its group, or is parked, and stands in
//! exactly one of these; only a question that really went out is counted; a decision is never replaced.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocol::names::{Group, LogOffset, QueueOffset};
use stdx::Timestamp;
use store::Half;

use crate::config::Transactional;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The message is delivered.
    Commit,
    /// The message is forgotten.
    Rollback,
}

/// When to ask, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// A producer is left alone for so long, unless its message says otherwise.
    pub(crate) timeout: Duration,
    /// The time between two questions; later ones come ever more slowly.
    pub(crate) interval: Duration,
    /// How many questions there are.
    pub(crate) checks_max: u32,
}

/// What is known of a transaction that somebody wants to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It is open.
    Open(Arc<Half>),
    /// It was decided lately.
    Decided(Decision),
    /// It is not known here; the log may know.
    Unknown,
    /// The group is not the one that made it.
    OtherGroup,
    /// Its half message has another queue offset.
    OtherOffset,
}

/// Something that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Ask a producer of its group.
    Ask(Half),
    /// It was asked about often enough.
    Park(Half),
}

/// An open transaction as tools see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its half message.
    pub half: Half,
    /// How often its producers were asked.
    pub checks: u32,
    /// When they are asked next; `None` while nobody is there to ask, and when it is parked.
    pub next: Option<Timestamp>,
}

/// The book.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    open: BTreeMap<LogOffset, Entry>,
    due: BTreeSet<(Timestamp, LogOffset)>,
    stranded: HashMap<Group, BTreeSet<LogOffset>>,
    parked: usize,
    decided: HashMap<LogOffset, Decision>,
    decided_order: VecDeque<LogOffset>,
}

#[derive(Debug)]
struct Entry {
    half: Arc<Half>,
    checks: u32,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Due(Timestamp),
    Stranded,
    Parked,
}

/// How many decisions are remembered here; older ones are in the log.
const DECIDED_MAX: usize = 1 << 16;
/// So many questions come at the plain interval, each later one after twice the time of the one before.
const STEADY: u32 = 5;
/// The interval grows to so many times the plain one.
const GROWN_MAX: u32 = 16;
/// No producer is left alone for longer, whatever its message says.
const IMMUNITY_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

impl Limits {
    /// As configured.
    pub(crate) fn of(config: &Transactional) -> Limits {
        Limits {
            timeout: config.transaction_timeout,
            interval: config.transaction_check_interval,
            checks_max: config.transaction_checks_max,
        }
    }

    fn first(&self, half: &Half) -> Timestamp {
        half.stored_at + half.immunity.unwrap_or(self.timeout).min(IMMUNITY_MAX)
    }

    fn after(&self, checks: u32, now: Timestamp) -> Timestamp {
        let grown = 1 << checks.saturating_sub(STEADY).min(GROWN_MAX.ilog2());
        now + self.interval * grown
    }
}

impl Ledger {
    /// Takes an open half message in; `asked` says how often and when last its producers were asked.
    pub(crate) fn open(&mut self, half: Half, asked: Option<(u32, Timestamp)>, limits: &Limits) {
        let id = half.id;
        let (checks, at) = match asked {
            Some((checks, last)) if checks > 0 => (checks, limits.after(checks, last)),
            _ => (0, limits.first(&half)),
        };
        let place = if half.parked { Place::Parked } else { Place::Due(at) };
        let before = self.open.insert(id, Entry { half: Arc::new(half), checks, place });
        assert!(before.is_none() && !self.decided.contains_key(&id), "a half message is opened once");
        self.enter(id, place);
    }

    /// Says what is known of a transaction that `group` wants to end; `None` is an operator.
    pub(crate) fn judge(&self, id: LogOffset, offset: QueueOffset, group: Option<&Group>) -> Judged {
        if let Some(decision) = self.decided.get(&id) {
            return Judged::Decided(*decision);
        }
        match self.open.get(&id) {
            None => Judged::Unknown,
            Some(entry) if group.is_some_and(|group| *group != entry.half.group) => Judged::OtherGroup,
            Some(entry) if entry.half.queue_offset != offset => Judged::OtherOffset,
            Some(entry) => Judged::Open(entry.half.clone()),
        }
    }

    /// True while nothing has decided it.
    pub(crate) fn is_open(&self, id: LogOffset) -> bool {
        self.open.contains_key(&id)
    }

    /// Notes a decision that is in the log. Returns how often had been asked.
    pub(crate) fn decide(&mut self, id: LogOffset, decision: Decision) -> u32 {
        let checks = self.forget(id);
        let before = self.decided.insert(id, decision);
        assert!(before.is_none(), "a decision is never replaced");
        self.decided_order.push_back(id);
        if self.decided_order.len() > DECIDED_MAX
            && let Some(oldest) = self.decided_order.pop_front()
        {
            self.decided.remove(&oldest);
        }
        checks
    }

    /// Takes out a half message that is decided, or whose data is lost. Returns how often had been asked.
    pub(crate) fn forget(&mut self, id: LogOffset) -> u32 {
        let entry = self.open.remove(&id).expect("only what is open is decided");
        self.leave(id, &entry.half.group, entry.place);
        entry.checks
    }

    /// Returns up to `max` things to do now, the longest overdue first. Whoever does them says so, or they stay due.
    pub(crate) fn due(&self, now: Timestamp, limits: &Limits, max: usize) -> Vec<Due> {
        let ready = self.due.range(..=(now, LogOffset(u64::MAX))).take(max);
        let entries = ready.map(|(_, id)| &self.open[id]);
        let what = |entry: &Entry| match entry.checks >= limits.checks_max {
            true => Due::Park(Half::clone(&entry.half)),
            false => Due::Ask(Half::clone(&entry.half)),
        };
        entries.map(what).collect()
    }

    /// When [`Ledger::due`] will have something next.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Notes that a question went out; returns how many have.
    pub(crate) fn asked(&mut self, id: LogOffset, now: Timestamp, limits: &Limits) -> Option<u32> {
        let entry = self.open.get_mut(&id)?;
        entry.checks += 1;
        let checks = entry.checks;
        self.place(id, Place::Due(limits.after(checks, now)));
        Some(checks)
    }

    /// Tries again at `at`: the question could not go out for now.
    pub(crate) fn postpone(&mut self, id: LogOffset, at: Timestamp) {
        self.place(id, Place::Due(at));
    }

    /// Nobody of its group is there to ask.
    pub(crate) fn strand(&mut self, id: LogOffset) {
        self.place(id, Place::Stranded);
    }

    /// The groups that have something to be asked and nobody to answer.
    pub(crate) fn stranded(&self) -> Vec<Group> {
        self.stranded.keys().cloned().collect()
    }

    /// Somebody of this group is there again.
    pub(crate) fn reachable(&mut self, group: &Group, now: Timestamp) {
        for id in self.stranded.get(group).cloned().unwrap_or_default() {
            self.place(id, Place::Due(now));
        }
    }

    /// It was asked about often enough; a decision or an operator may still come.
    pub(crate) fn park(&mut self, id: LogOffset) {
        self.place(id, Place::Parked);
        if let Some(entry) = self.open.get_mut(&id) {
            Arc::make_mut(&mut entry.half).parked = true;
        }
    }

    /// Asks from the beginning again.
    pub(crate) fn resume(&mut self, id: LogOffset, now: Timestamp) {
        if let Some(entry) = self.open.get_mut(&id) {
            Arc::make_mut(&mut entry.half).parked = false;
            entry.checks = 0;
            self.place(id, Place::Due(now));
        }
    }

    /// One open transaction.
    pub(crate) fn get(&self, id: LogOffset) -> Option<Open> {
        self.open.get(&id).map(shown)
    }

    /// Open transactions behind `after`, the oldest first.
    pub(crate) fn list(&self, after: Option<LogOffset>) -> impl Iterator<Item = Open> + '_ {
        let from = after.map_or(LogOffset(0), |after| LogOffset(after.0.saturating_add(1)));
        self.open.range(from..).map(|(_, entry)| shown(entry))
    }

    /// How many are open, and how many of them are parked.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.open.len(), self.parked)
    }

    fn place(&mut self, id: LogOffset, place: Place) {
        let Some(entry) = self.open.get_mut(&id) else { return };
        let before = std::mem::replace(&mut entry.place, place);
        let group = entry.half.group.clone();
        self.leave(id, &group, before);
        self.enter(id, place);
    }

    fn enter(&mut self, id: LogOffset, place: Place) {
        match place {
            Place::Due(at) => drop(self.due.insert((at, id))),
            Place::Stranded => {
                let group = self.open[&id].half.group.clone();
                self.stranded.entry(group).or_default().insert(id);
            }
            Place::Parked => self.parked += 1,
        }
    }

    fn leave(&mut self, id: LogOffset, group: &Group, place: Place) {
        match place {
            Place::Due(at) => drop(self.due.remove(&(at, id))),
            Place::Stranded => {
                if let Some(ids) = self.stranded.get_mut(group) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        self.stranded.remove(group);
                    }
                }
            }
            Place::Parked => self.parked -= 1,
        }
    }

    /// Asserts the invariants of this file.
    pub(crate) fn check(&self) {
        let (mut due, mut stranded, mut parked) = (0, 0, 0);
        for (id, entry) in &self.open {
            assert!(!self.decided.contains_key(id), "{id} is open and decided");
            match entry.place {
                Place::Due(at) => {
                    assert!(self.due.contains(&(at, *id)));
                    due += 1;
                }
                Place::Stranded => {
                    assert!(self.stranded[&entry.half.group].contains(id));
                    stranded += 1;
                }
                Place::Parked => parked += 1,
            }
        }
        assert_eq!(due, self.due.len());
        assert_eq!(stranded, self.stranded.values().map(BTreeSet::len).sum::<usize>());
        assert_eq!(parked, self.parked);
        assert_eq!(self.decided.len(), self.decided_order.len());
    }
}

fn shown(entry: &Entry) -> Open {
    let next = match entry.place {
        Place::Due(at) => Some(at),
        Place::Stranded | Place::Parked => None,
    };
    Open { half: Half::clone(&entry.half), checks: entry.checks, next }
}

#[cfg(test)]
mod tests;
