// SPDX-License-Identifier: Apache-2.0
//! Committed progress never moves back unless somebody asks for it; a crash takes back no more than what was
//! committed since it last became part of the log, and a power cut no more than what of that was lasting.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::names::{Group, QueueId, TopicName};
use stdx::Timestamp;

use crate::message::{Known, Place};
use crate::node::Node;

/// How long it takes until retention has heard of what a group has not read.
const FLOOR: Duration = Duration::from_secs(32);

/// A group's place in a queue.
pub(crate) type Seat = (String, Place);

pub(crate) struct Progress {
    now: BTreeMap<Seat, Option<u64>>,
    /// Where a consumer was sent and has not come yet.
    pending: BTreeMap<Seat, u64>,
    /// Where a consumer was sent last: one commit of it counts although it is behind.
    sent_to: BTreeMap<Seat, u64>,
    /// Since when a group needs messages that it had not needed before.
    lower_since: BTreeMap<Seat, Timestamp>,
    /// What became part of the log, and what happened since then; the last one is going on.
    eras: Vec<Era>,
    /// Nobody has looked since the last crash.
    has_crashed: bool,
}

#[derive(Clone, Debug, Default)]
struct Era {
    /// The log has it all below this.
    end: u64,
    saved: BTreeMap<Seat, Option<u64>>,
    values: BTreeMap<Seat, Vec<Option<u64>>>,
}

impl Default for Progress {
    fn default() -> Progress {
        let (now, pending, sent_to) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Progress {
            now,
            pending,
            sent_to,
            lower_since: BTreeMap::new(),
            eras: vec![Era::default()],
            has_crashed: false,
        }
    }
}

impl Progress {
    /// Where a group stands.
    pub(crate) fn of(&self, seat: &Seat) -> Option<u64> {
        self.now.get(seat).copied().flatten()
    }

    fn set(&mut self, seat: &Seat, value: Option<u64>) {
        self.now.insert(seat.clone(), value);
        let era = self.eras.last_mut().expect("one is going on");
        era.values.entry(seat.clone()).or_default().push(value);
    }

    /// A consumer told how far it has come, and the broker took it; `actual` is what it says now.
    pub(crate) fn committed(&mut self, seat: &Seat, offset: u64, actual: Option<u64>, now: Timestamp) {
        let before = self.of(seat);
        if before.is_none_or(|before| actual < Some(before)) {
            self.lower_since.insert(seat.clone(), now);
        }
        let expected = match before {
            _ if self.pending.contains_key(seat) => before,
            Some(stored) if offset < stored && self.sent_to.get(seat) != Some(&offset) => Some(stored),
            _ => Some(offset),
        };
        if before != expected && self.sent_to.get(seat) == Some(&offset) {
            self.sent_to.remove(seat);
        }
        assert!(actual == expected, "{seat:?} stood at {before:?}, {offset} was committed, now {actual:?}");
        self.set(seat, actual);
    }

    /// An operator moved a group.
    pub(crate) fn moved(&mut self, seat: &Seat, offset: u64, now: Timestamp) {
        self.lower_since.insert(seat.clone(), now);
        self.pending.insert(seat.clone(), offset);
        self.sent_to.remove(seat);
        self.set(seat, Some(offset));
    }

    /// A consumer was sent away by its pull.
    pub(crate) fn sent(&mut self, seat: &Seat, offset: u64) {
        let pending = self.pending.remove(seat);
        assert!(pending == Some(offset), "{seat:?} was sent to {offset}, it was moved to {pending:?}");
        self.sent_to.insert(seat.clone(), offset);
    }

    /// True while a consumer is still to be sent away.
    pub(crate) fn is_moved(&self, seat: &Seat) -> bool {
        self.pending.contains_key(seat)
    }

    /// Progress of a topic or a group was removed.
    pub(crate) fn removed(&mut self, is_gone: impl Fn(&Seat) -> bool) {
        let gone: Vec<Seat> = self.now.keys().filter(|seat| is_gone(seat)).cloned().collect();
        for seat in gone {
            self.pending.remove(&seat);
            self.sent_to.remove(&seat);
            self.set(&seat, None);
        }
    }

    /// Progress may be gone if the process dies now.
    pub(crate) fn may_go(&mut self, is_going: impl Fn(&Seat) -> bool) {
        let era = self.eras.last_mut().expect("one is going on");
        for seat in self.now.keys().filter(|seat| is_going(seat)) {
            era.values.entry(seat.clone()).or_default().push(None);
        }
    }

    /// True when something happened that is not part of the log yet.
    pub(crate) fn is_dirty(&self) -> bool {
        let era = self.eras.last().expect("one is going on");
        // A removal becomes part of the log by itself.
        let is_dirty = |seat: &Seat| self.of(seat).is_some_and(|now| era.saved.get(seat) != Some(&Some(now)));
        era.values.keys().any(is_dirty)
    }

    /// Everything became part of the log, which ends at `end` now and is lasting up to `durable`.
    pub(crate) fn saved(&mut self, end: u64, durable: u64) {
        self.eras.push(Era { end, saved: self.now.clone(), values: BTreeMap::new() });
        let lasting = self.eras.iter().rposition(|era| era.end <= durable).unwrap_or(0);
        self.eras.drain(..lasting);
    }

    /// Retention took a record: nobody was still to read it, as far as retention could know.
    pub(crate) fn retained(&self, known: &Known, now: Timestamp) {
        for (seat, offset) in self.now.iter().filter(|((_, place), _)| *place == known.place) {
            let (group, place) = seat;
            if self.lower_since.get(seat).is_some_and(|since| now.since(*since) < FLOOR) {
                continue;
            }
            assert!(
                offset.is_none_or(|offset| offset > known.offset),
                "retention took {known:?}, which {group} has not read: it stands at {offset:?} of {place:?}"
            );
        }
    }

    /// The log is whole up to `whole`: what became part of it below that counts at least.
    pub(crate) fn crashed(&mut self, whole: u64, now: Timestamp) {
        self.lower_since.extend(self.now.keys().map(|seat| (seat.clone(), now)));
        let kept = self.eras.iter().rposition(|era| era.end <= whole).unwrap_or(0);
        let mut later = self.eras.split_off(kept).into_iter();
        let mut era = later.next().expect("the first one is always kept");
        for more in later {
            more.values
                .into_iter()
                .for_each(|(seat, values)| era.values.entry(seat).or_default().extend(values));
        }
        // A power cut may go back further than this crash did.
        self.eras.push(era);
        self.has_crashed = true;
        self.pending.clear();
        self.sent_to.clear();
    }

    /// Holds what the broker says against what it may say, and goes on from there.
    pub(crate) fn check(&mut self, node: &Node) {
        let era = self.eras.last().expect("one is going on").clone();
        let seats: Vec<Seat> = era.saved.keys().chain(era.values.keys()).cloned().collect();
        for seat in seats {
            let actual = committed(node, &seat);
            let saved = era.saved.get(&seat).copied().flatten();
            let since = era.values.get(&seat).cloned().unwrap_or_default();
            let may_be = actual == saved || since.contains(&actual);
            assert!(may_be, "{seat:?} stands at {actual:?}; it was saved at {saved:?}, then {since:?}");
            self.now.insert(seat, actual);
        }
        if std::mem::take(&mut self.has_crashed) {
            // What was found is part of the log.
            let end = node.store.watermarks().written.get();
            self.eras.push(Era { end, saved: self.now.clone(), values: BTreeMap::new() });
        }
    }
}

/// What the broker says.
pub(crate) fn committed(node: &Node, seat: &Seat) -> Option<u64> {
    let (group, (topic, queue)) = seat;
    let (group, topic) = (Group::stored(group.as_str()), TopicName::stored(topic.as_str()));
    node.broker.offsets().committed(&group, &topic, QueueId(*queue)).map(|offset| offset.0)
}
