// SPDX-License-Identifier: Apache-2.0
//! Consumer progress and the ends of queues. Called by the faces of 14, 15 and 29 to 32.
//! Invariant: a group is never told a start that lies behind a message it could still have seen first.

use protocol::body::{ConsumeFromWhere, ConsumeType};
use protocol::names::{Group, LogOffset, QueueId, QueueOffset, TopicName};
use stdx::Timestamp;
use store::{Boundary, QueueRef};

use crate::Broker;
use crate::clients::ConnectionId;
use crate::groups::GroupRefused;
use crate::offsets::{Committed, QUEUES_MAX};
use crate::ops::pull::readable_queue;
use crate::rates::trail::{Kind, Step};
use crate::topics::TopicRefused;

/// A group's place in a queue.
#[derive(Clone, Debug)]
pub struct PlaceInput {
    /// The group.
    pub group: Group,
    /// The topic.
    pub topic: TopicName,
    /// The queue.
    pub queue: QueueId,
}

/// Why progress is not told or kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffsetRefused {
    /// The group was never here.
    #[error("Not found, maybe this group consumer boot first")]
    NotFound,
    /// The group cannot be used.
    #[error(transparent)]
    Group(#[from] GroupRefused),
    /// The topic cannot be used.
    #[error(transparent)]
    Topic(#[from] TopicRefused),
    /// The group has progress in as many queues as it may.
    #[error("progress of group {group} in topic {topic} is kept for no more queues")]
    TooMany {
        /// The group.
        group: Group,
        /// The topic.
        topic: TopicName,
    },
}

impl Broker {
    /// Tells how far a group has come; `zero` lets a new group start a young queue at its beginning.
    pub fn query_offset(&self, place: &PlaceInput, zero: bool) -> Result<QueueOffset, OffsetRefused> {
        if let Some(offset) = self.offsets.committed(&place.group, &place.topic, place.queue) {
            return Ok(offset);
        }
        let topic = self.topics.get(&place.topic);
        let known = topic.is_some_and(|topic| place.queue.0 < topic.read_queues().max(topic.write_queues()));
        if !zero || !known {
            return Err(OffsetRefused::NotFound);
        }
        let queue = self.store.find_queue(&place.topic, place.queue);
        if queue.is_none_or(|queue| self.is_young(&queue)) {
            return Ok(QueueOffset(0));
        }
        // COMPAT: Apache says "not found", and the client starts at the end as it is by then, which skips what came
        // in since the group was first seen. We remember where the queue ended at that moment.
        self.offsets.joined(&place.group, &place.topic, place.queue).ok_or(OffsetRefused::NotFound)
    }

    /// True while a queue still has its first message and the log has not grown much since.
    ///
    /// COMPAT: a new group starts such a queue at 0 whatever it asked for, as in Apache. An empty queue counts too:
    /// 0 is its end, and stays right when a message arrives before the client asks for more.
    fn is_young(&self, queue: &QueueRef) -> bool {
        if queue.first().0 > 0 {
            return false;
        }
        let first = self.store.entries(queue, QueueOffset(0), 1).first().map(|entry| entry.log);
        let end = self.store.watermarks().written.get();
        first.is_none_or(|LogOffset(at)| end.saturating_sub(at) <= self.config().reading.young_queue.0)
    }

    /// Remembers where the queues of a topic end when a group is first seen with it.
    pub(crate) fn remember_first_sight(
        &self,
        group: &Group,
        topic: &TopicName,
        from: ConsumeFromWhere,
        kind: ConsumeType,
    ) {
        let starts_at_end = matches!(
            from,
            ConsumeFromWhere::LastOffset
                | ConsumeFromWhere::LastOffsetAndFromMinWhenBootFirst
                | ConsumeFromWhere::MaxOffset
        );
        if !starts_at_end || kind == ConsumeType::Pop {
            return;
        }
        let Some(known) = self.topics.get(topic) else { return };
        self.offsets.join(group, topic, || {
            let end = |queue| self.store.find_queue(topic, QueueId(queue)).map(|queue| queue.dispatched());
            (0..known.read_queues().min(QUEUES_MAX)).map(|queue| end(queue).unwrap_or_default()).collect()
        });
    }

    /// Keeps how far a group has come. An operator's tool, which asks for an answer and is no member of the group,
    /// may also move it back.
    pub fn update_offset(
        &self,
        place: &PlaceInput,
        offset: QueueOffset,
        asker: Option<ConnectionId>,
    ) -> Result<Committed, OffsetRefused> {
        if self.groups.get(&place.group).is_none() {
            return Err(GroupRefused::Missing { group: place.group.clone() }.into());
        }
        if self.topics.get(&place.topic).is_none() {
            return Err(TopicRefused::Missing { topic: place.topic.clone() }.into());
        }
        let by = asker.unwrap_or_default();
        let outcome = self.commit(&place.group, &place.topic, place.queue, offset, by);
        match outcome {
            // COMPAT: Apache takes every offset, also one that a consumer which lost the queue sends late. Progress
            // moves back here only when somebody means it.
            Committed::Behind { stored }
                if asker.is_some_and(|asker| !self.is_member(&place.group, asker)) =>
            {
                self.offsets.set(&place.group, &place.topic, place.queue, offset);
                self.noted(&place.group, &place.topic, place.queue, (Kind::Moved, Some(stored), offset), by);
                tracing::info!(group = %place.group, topic = %place.topic, queue = %place.queue, %offset, "progress moved back");
                Ok(Committed::Moved)
            }
            Committed::TooMany => {
                Err(OffsetRefused::TooMany { group: place.group.clone(), topic: place.topic.clone() })
            }
            outcome => Ok(outcome),
        }
    }

    /// Keeps how far a consumer has come, and notes it for those who ask later.
    pub(crate) fn commit(
        &self,
        group: &Group,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
        by: ConnectionId,
    ) -> Committed {
        let (outcome, before) = self.offsets.commit(group, topic, queue, offset);
        if outcome == Committed::Moved && before != Some(offset) {
            // Back it moves only where an operator sent it before.
            let kind =
                if before.is_some_and(|before| before > offset) { Kind::Moved } else { Kind::Committed };
            self.noted(group, topic, queue, (kind, before, offset), by);
        }
        outcome
    }

    /// Notes that a group stands elsewhere now.
    pub(crate) fn noted(
        &self,
        group: &Group,
        topic: &TopicName,
        queue: QueueId,
        (kind, before, offset): (Kind, Option<QueueOffset>, QueueOffset),
        by: ConnectionId,
    ) {
        if topic.is_light() {
            // They are too many for a trail of each.
            return;
        }
        let now = self.clock.now();
        // A group that never said anything stood where it was first seen, if it was seen at an end.
        let before = before.or_else(|| self.offsets.joined(group, topic, queue));
        let from = before.unwrap_or_else(|| self.queue_start(topic, queue).min(offset));
        let step = Step { kind, from, to: offset, first: now, last: now, by };
        self.rates.group(topic, group, now).moved(queue, step);
    }

    /// Returns where the first message lies that some group has not read, or that waits for its time. Topics that no
    /// group reads count as read.
    pub fn unread_from(&self) -> LogOffset {
        let mut floor = self.owed_from();
        let mut unread = |topic: &str, queue, offset| {
            let found = self.store.find_queue(topic, queue);
            let entry = found.and_then(|queue| self.store.entries(&queue, offset, 1).first().copied());
            if let Some(entry) = entry.filter(|entry| !entry.is_hole()) {
                floor = floor.min(entry.log);
            }
        };
        self.offsets.each(|topic, queue, offset| unread(topic, queue, offset));
        floor
    }

    /// From where in the log on the broker itself owes messages: delayed ones, and what is not dispatched yet may be one.
    pub(crate) fn owed_from(&self) -> LogOffset {
        let dispatched = LogOffset(self.store.watermarks().dispatched.get());
        self.delay.owed_from(&self.store).map_or(dispatched, |owed| owed.min(dispatched))
    }

    fn is_member(&self, group: &Group, connection: ConnectionId) -> bool {
        self.clients.with_members(group, |members| members.has(connection)).unwrap_or(false)
    }

    /// Tells where a queue ends: one past the last message, visible or not when `committed` is false.
    pub fn queue_end(&self, topic: &TopicName, queue: QueueId, committed: bool) -> QueueOffset {
        let end = |queue: QueueRef| if committed { queue.dispatched() } else { queue.next() };
        self.store.find_queue(topic, queue).map(end).unwrap_or_default()
    }

    /// Tells where a queue begins.
    pub fn queue_start(&self, topic: &TopicName, queue: QueueId) -> QueueOffset {
        self.store.find_queue(topic, queue).map(|queue| queue.first()).unwrap_or_default()
    }

    /// Tells which message of a queue was stored at a time.
    pub fn offset_at(
        &self,
        topic: &TopicName,
        queue: QueueId,
        at: Timestamp,
        boundary: Boundary,
    ) -> QueueOffset {
        let found = self.store.find_queue(topic, queue);
        found.map(|queue| self.store.offset_by_time(&queue, at, boundary)).unwrap_or_default()
    }

    /// Tells when the first message of a queue was stored.
    pub fn first_stored_at(
        &self,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<Option<Timestamp>, TopicRefused> {
        let known = self.topics.for_read(topic)?;
        let queue = readable_queue(&known, queue)?;
        let queue = known.queue(queue, &self.store)?;
        Ok(self.store.stored_at(&queue, queue.first()))
    }
}
