// SPDX-License-Identifier: Apache-2.0
//! How far groups have come, as operators look at it and copy it. Called by the faces of 208, 303, 308, 314, 317, 343.
//! A queue that a group has never committed counts as unread from where the group was first seen, if it starts at the
//! end, else from its first message.

use std::collections::{BTreeMap, BTreeSet};

use protocol::body::{ConsumeStats, OffsetWrapper, QueueTimeSpan};
use protocol::names::{Group, QueueId, QueueOffset, TopicName};
use stdx::Timestamp;
use store::QueueRef;

use crate::Broker;
use crate::rates::{GroupTraffic, Span};
use crate::topics::{Topic, TopicRefused};

/// Which topics of a group are wanted.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// These, whatever the group says it subscribes to.
    These(Vec<TopicName>),
    /// This one, if the group, as far as it is online, subscribes to it.
    One(TopicName),
    /// All that the group has progress in and, as far as it is online, subscribes to.
    All,
}

/// The progress of all groups, and how much is left.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    pub(crate) groups: Vec<(Group, Vec<ConsumeStats>)>,
    /// Messages that are not committed.
    pub(crate) behind: i64,
    /// Messages that are given and not committed.
    pub(crate) in_flight: i64,
}

impl Broker {
    /// How far a group has come in each queue of the wanted topics, and how fast it goes.
    pub(crate) fn consume_stats(&self, group: &Group, wanted: Wanted, now: Timestamp) -> ConsumeStats {
        let topics = match wanted {
            Wanted::These(topics) => topics,
            Wanted::One(topic) if self.follows(group, &topic) => vec![topic],
            Wanted::One(_) => Vec::new(),
            Wanted::All => self.followed(group),
        };
        let mut stats = ConsumeStats::default();
        for topic in topics.iter().filter_map(|topic| self.topics.get(topic)) {
            self.add_topic(&mut stats, group, &topic, now);
        }
        stats
    }

    /// The progress of every group, topic by topic; of ordered topics only if wanted.
    pub(crate) fn consume_overview(&self, only_ordered: bool, now: Timestamp) -> Overview {
        let mut overview = Overview::default();
        for group in self.groups.all() {
            let topics =
                self.followed(&group.group_name).into_iter().filter_map(|topic| self.topics.get(&topic));
            let topics = topics.filter(|topic| !only_ordered || topic.config().order);
            let mut all = Vec::new();
            for topic in topics {
                let mut stats = ConsumeStats::default();
                self.add_topic(&mut stats, &group.group_name, &topic, now);
                for (_, queue) in &stats.offset_table.0 {
                    overview.behind += queue.broker_offset - queue.consumer_offset;
                    overview.in_flight += queue.pull_offset - queue.consumer_offset;
                }
                all.push(stats);
            }
            overview.groups.push((group.group_name.clone(), all));
        }
        overview
    }

    fn add_topic(&self, stats: &mut ConsumeStats, group: &Group, topic: &Topic, now: Timestamp) {
        let traffic = self.rates.find_group(topic.name(), group);
        for queue in (0..topic.read_queues()).map(QueueId) {
            let offsets = self.queue_progress(group, topic.name(), queue, traffic.as_deref());
            stats.offset_table.0.push((self.message_queue(topic.name(), queue), offsets));
        }
        stats.consume_tps +=
            traffic.map_or(0.0, |traffic| traffic.gets.messages(Span::Minute, now).per_second);
    }

    fn queue_progress(
        &self,
        group: &Group,
        topic: &TopicName,
        queue: QueueId,
        traffic: Option<&GroupTraffic>,
    ) -> OffsetWrapper {
        let found = self.store.find_queue(topic, queue);
        let committed = self.offsets.committed(group, topic, queue);
        let committed = committed.or_else(|| self.offsets.joined(group, topic, queue));
        let reach = traffic.and_then(|traffic| traffic.reach(queue)).max(committed).unwrap_or_default();
        let end = found.as_ref().map(QueueRef::dispatched).unwrap_or_default();
        let last = committed.and_then(|committed| committed.0.checked_sub(1)).map(QueueOffset);
        let last = found.as_ref().zip(last).and_then(|(found, last)| self.store.stored_at(found, last));
        OffsetWrapper {
            broker_offset: end.0 as i64,
            consumer_offset: committed.unwrap_or_default().0 as i64,
            last_timestamp: last.map_or(0, |at| at.0),
            pull_offset: reach.0 as i64,
        }
    }

    /// From when to when the messages of each queue are, and where a group stands among them.
    pub(crate) fn time_spans(
        &self,
        group: &Group,
        topic: &TopicName,
        now: Timestamp,
    ) -> Result<Vec<QueueTimeSpan>, TopicRefused> {
        let known = self.topic(topic)?;
        let span = |queue| self.time_span(group, topic, QueueId(queue), now);
        Ok((0..known.write_queues()).map(span).collect())
    }

    /// COMPAT: Apache reports a delay as long as the epoch for a queue that the group has never consumed; here it is
    /// the age of the queue's first message.
    fn time_span(&self, group: &Group, topic: &TopicName, queue: QueueId, now: Timestamp) -> QueueTimeSpan {
        let found = self.store.find_queue(topic, queue);
        let at = |offset: QueueOffset| found.as_ref().and_then(|found| self.store.stored_at(found, offset));
        let (first, end) =
            found.as_ref().map(|found| (found.first(), found.dispatched())).unwrap_or_default();
        let before = |offset: QueueOffset| offset.0.checked_sub(1).map(QueueOffset);
        let committed = self.offsets.committed(group, topic, queue);
        let next = committed.unwrap_or_default().max(first);
        let millis = |at: Option<Timestamp>| at.map_or(-1, |at| at.0);
        let consumed = committed.and_then(before).and_then(at).or_else(|| at(first));
        let waiting = if next < end { at(next) } else { None };
        QueueTimeSpan {
            consume_time_stamp: millis(consumed),
            delay_time: waiting.map_or(0, |at| now.since(at).as_millis() as i64),
            max_time_stamp: millis(before(end).and_then(at)),
            message_queue: self.message_queue(topic, queue),
            min_time_stamp: millis(at(first)),
        }
    }

    /// The least progress of other groups in each queue of a topic, and `i64::MAX` where the compared group is behind
    /// all of them.
    ///
    /// COMPAT: Apache deletes the progress of the groups that are left out; here they are only left out.
    pub(crate) fn correction_offsets(
        &self,
        topic: &TopicName,
        left_out: &[Group],
        compared: &Group,
    ) -> BTreeMap<i32, i64> {
        let mut least = BTreeMap::new();
        for group in self.offsets.groups_of(topic).iter().filter(|group| !left_out.contains(group)) {
            for (queue, offset) in self.offsets.all(group, topic) {
                if offset >= self.queue_start(topic, queue) {
                    let least = least.entry(queue.0 as i32).or_insert(offset.0 as i64);
                    *least = (*least).min(offset.0 as i64);
                }
            }
        }
        for (queue, offset) in self.offsets.all(compared, topic) {
            if let Some(least) = least.get_mut(&(queue.0 as i32)).filter(|least| **least > offset.0 as i64) {
                *least = i64::MAX;
            }
        }
        least
    }

    /// Gives one group the progress of another, in one topic or in all that the other has. Returns the topics.
    ///
    /// COMPAT: Apache copies nothing when no topic is named; here all of them.
    pub(crate) fn clone_progress(
        &self,
        source: &Group,
        target: &Group,
        topic: Option<&TopicName>,
        is_offline: bool,
    ) -> BTreeSet<TopicName> {
        let topics = topic.map_or_else(|| self.offsets.topics_of(source), |topic| vec![topic.clone()]);
        let wanted = topics.into_iter().filter(|topic| self.topics.get(topic).is_some());
        let wanted: BTreeSet<TopicName> =
            wanted.filter(|topic| is_offline || self.follows(source, topic)).collect();
        for topic in &wanted {
            for (queue, offset) in self.offsets.all(source, topic) {
                self.offsets.set(target, topic, queue, offset);
            }
        }
        tracing::info!(group = %source, %target, topics = wanted.len(), "progress copied");
        wanted
    }

    /// The topics that a group has progress in and, as far as it is online, subscribes to.
    fn followed(&self, group: &Group) -> Vec<TopicName> {
        let mut topics = self.offsets.topics_of(group);
        topics.retain(|topic| self.follows(group, topic));
        topics
    }

    /// False only for a topic that the members of an online group do not want.
    fn follows(&self, group: &Group, topic: &TopicName) -> bool {
        let subscriptions = self.clients.subscriptions(group);
        subscriptions.is_empty() || subscriptions.iter().any(|wanted| wanted.topic == *topic)
    }
}
