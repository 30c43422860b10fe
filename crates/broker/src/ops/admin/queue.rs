// SPDX-License-Identifier: Apache-2.0
//! The entries of one queue, and which of them a group's filter takes. Called by the face of 321.

use protocol::body::{ConsumeQueueData, QueryConsumeQueueResponseBody};
use protocol::filter::{Filter, FilterError};
use protocol::names::{Group, QueueId, QueueOffset, TopicName};

use crate::Broker;

/// The most entries of one answer.
const ENTRIES_MAX: usize = 4096;

/// Which entries are wanted.
#[derive(Clone, Debug)]
pub(crate) struct EntriesInput {
    pub(crate) topic: TopicName,
    pub(crate) queue: QueueId,
    /// The first one; below 0 counts from the end.
    pub(crate) from: i64,
    pub(crate) count: usize,
    /// Whose filter is to judge them.
    pub(crate) group: Option<Group>,
}

/// Why there is nothing to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntriesRefused {
    /// The queue has never been used.
    #[error("{queue}@{topic} is not exist!")]
    NoQueue {
        /// The topic.
        topic: TopicName,
        /// The queue.
        queue: QueueId,
    },
}

impl Broker {
    /// Shows entries of a queue.
    pub(crate) fn queue_entries(
        &self,
        input: &EntriesInput,
    ) -> Result<QueryConsumeQueueResponseBody, EntriesRefused> {
        let missing = || EntriesRefused::NoQueue { topic: input.topic.clone(), queue: input.queue };
        let queue = self.store.find_queue(&input.topic, input.queue).ok_or_else(missing)?;
        let (first, end) = (queue.first(), queue.dispatched());
        let from = match u64::try_from(input.from) {
            Ok(from) => QueueOffset(from),
            Err(_) => QueueOffset(end.0.saturating_sub(input.from.unsigned_abs())),
        };
        let wanted = input.group.as_ref().and_then(|group| self.subscription_of(group, &input.topic));
        let filter = wanted.as_ref().map(|wanted| Filter::parse(&wanted.expression_type, &wanted.sub_string));
        let entries = self.store.entries(&queue, from.max(first), input.count.min(ENTRIES_MAX));
        let show = |entry: store::Entry| ConsumeQueueData {
            eval: judge(filter.as_ref(), entry.tag_hash),
            physic_offset: entry.log.0 as i64,
            physic_size: entry.size as i32,
            tags_code: entry.tag_hash,
            ..ConsumeQueueData::default()
        };
        let offline = |group: &Group| format!("{group}@{} is not online!", input.topic);
        Ok(QueryConsumeQueueResponseBody {
            filter_data: input.group.as_ref().filter(|_| wanted.is_none()).map(offline),
            max_queue_index: end.0 as i64,
            min_queue_index: first.0 as i64,
            queue_data: entries.into_iter().map(show).collect(),
            subscription_data: wanted,
        })
    }
}

/// Whether a filter takes an entry by its tag; without a filter, or with one that cannot be read, nothing is taken.
fn judge(filter: Option<&Result<Filter, FilterError>>, tag_hash: i64) -> bool {
    filter.and_then(|filter| filter.as_ref().ok()).is_some_and(|filter| filter.by_entry(tag_hash))
}
