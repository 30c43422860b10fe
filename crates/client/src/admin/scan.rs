// SPDX-License-Identifier: Apache-2.0
//! Looking through a topic: by time, tag or properties, which brokers know, and by words in bodies, which nobody
//! indexes. A scan is bounded by how many messages it may look at and says whether that was enough.

use std::time::Duration;

use protocol::names::{Group, QueueOffset};
use stdx::Timestamp;

use crate::admin::consumption::ResetScope;
use crate::admin::messages::TOOLS;
use crate::admin::{Admin, AdminError};
use crate::consumer::{Interest, OffsetError, Place, Reading, Received, Subscription};
use crate::queue::Queue;

/// Messages that one pull looks at.
const STEP: u32 = 32;
/// Bytes that one pull brings, unless one message alone is larger.
const STEP_BYTES: u32 = 1 << 20;

/// What to look for in a topic.
#[derive(Clone, Debug)]
pub struct ScanQuery {
    /// The topic and what brokers are to let through.
    pub wanted: Subscription,
    /// Which of its queues.
    pub scope: ResetScope,
    /// Not older than this.
    pub begin: Timestamp,
    /// Not younger than this.
    pub end: Timestamp,
    /// Only with these bytes in their body, as it was before it was packed.
    pub contains: Option<Vec<u8>>,
    /// How many messages are enough; the last turn may bring more.
    pub max: usize,
    /// How many messages may be passed by in all, found or not.
    pub look_at: u64,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Scanned {
    /// The messages, oldest first.
    pub messages: Vec<Received>,
    /// How many were passed by.
    pub looked_at: u64,
    /// Where the scan stopped before it was through, and the offset it would go on at.
    pub unseen: Vec<(Queue, QueueOffset)>,
}

impl Admin {
    /// Looks through a topic. Queues take turns, so that a bound cuts all of them alike.
    pub async fn scan(&self, query: &ScanQuery) -> Result<Scanned, AdminError> {
        let interest = Interest::new(&query.wanted, 0).map_err(OffsetError::from)?;
        let mut places = Vec::new();
        for queue in self.scoped(query.wanted.topic(), &query.scope).await? {
            let from = self.session.offset_at(&queue, query.begin).await?;
            let first = self.session.first_offset(&queue).await?;
            let end = self.session.end_offset(&queue).await?;
            if from.max(first) < end {
                places.push((queue, from.max(first), end));
            }
        }
        let mut scanned = Scanned::default();
        while !places.is_empty() && scanned.messages.len() < query.max && scanned.looked_at < query.look_at {
            let mut left = Vec::new();
            for (queue, from, end) in places {
                let next = self.scan_step(query, &interest, &queue, from, &mut scanned).await?;
                if let Some(next) = next.filter(|next| *next < end) {
                    left.push((queue, next, end));
                }
            }
            places = left;
        }
        scanned.messages.sort_by_key(|message| (message.stored_at, message.log_offset));
        scanned.unseen = places.into_iter().map(|(queue, next, _)| (queue, next)).collect();
        Ok(scanned)
    }

    /// Looks at a few messages of one queue; returns where to go on, if anywhere.
    async fn scan_step(
        &self,
        query: &ScanQuery,
        interest: &Interest,
        queue: &Queue,
        from: QueueOffset,
        scanned: &mut Scanned,
    ) -> Result<Option<QueueOffset>, AdminError> {
        let reading = Reading {
            group: &Group::stored(TOOLS),
            queue,
            from,
            messages: STEP,
            bytes: STEP_BYTES,
            wait: Duration::ZERO,
            member: 0,
            interest,
            carries_subscription: true,
        };
        let pulled = self.session.read(&reading).await?;
        scanned.looked_at += pulled.next.0.saturating_sub(from.0);
        let is_over = pulled.messages.iter().any(|message| message.stored_at > query.end);
        scanned.messages.extend(pulled.messages.into_iter().filter(|message| query.takes(message)));
        let has_more = matches!(pulled.place, Place::Found | Place::Filtered | Place::Moved);
        Ok((has_more && !is_over && pulled.next > from).then_some(pulled.next))
    }
}

impl ScanQuery {
    /// Everything in a topic that brokers let through, up to a bound.
    pub fn new(wanted: Subscription) -> ScanQuery {
        ScanQuery {
            wanted,
            scope: ResetScope::default(),
            begin: Timestamp(0),
            end: Timestamp(i64::MAX),
            contains: None,
            max: 100,
            look_at: 100_000,
        }
    }

    fn takes(&self, message: &Received) -> bool {
        let has = |wanted: &Vec<u8>| {
            wanted.is_empty() || message.body.windows(wanted.len()).any(|part| part == wanted.as_slice())
        };
        (self.begin..=self.end).contains(&message.stored_at) && self.contains.as_ref().is_none_or(has)
    }
}
