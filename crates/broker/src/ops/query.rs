// SPDX-License-Identifier: Apache-2.0
//! Finding single messages: by key, by the id their sender made, by their place in the log. Called by the faces of
//! 12 and 33. What is not in memory is read on the store's own threads; reads are bounded by the number of messages.

use bytes::Bytes;
use protocol::names::{ByteStr, LogOffset, TopicName};
use stdx::Timestamp;
use store::{ReadError, Store};

use crate::Broker;

/// COMPAT: the most messages that a query by key gives, as in Apache.
const QUERY_MAX: usize = 64;

/// What is looked for.
#[derive(Clone, Debug)]
pub struct QueryInput {
    /// The topic.
    pub topic: TopicName,
    /// A key of the message, or its id.
    pub key: ByteStr,
    /// `key` is the id that the sender made.
    pub unique: bool,
    /// How many messages at most.
    pub max: usize,
    /// Stored at or after.
    pub begin: Timestamp,
    /// Stored at or before.
    pub end: Timestamp,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The records.
    pub records: Vec<Bytes>,
    /// How far the log is indexed.
    pub indexed_to: LogOffset,
}

/// Why nothing is given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryRefused {
    /// No message has that key at that time.
    #[error("can not find message, maybe time range not correct")]
    NotFound,
    /// No message lies there.
    #[error("can not find message by the offset, {at}")]
    NotThere {
        /// Where.
        at: LogOffset,
    },
    /// The store could not read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Broker {
    /// Finds messages by key or by id, newest first.
    pub async fn query(&self, input: QueryInput) -> Result<Found, QueryRefused> {
        let limit = if input.unique { self.config().reading.query_max } else { input.max };
        let limit = limit.clamp(1, QUERY_MAX);
        let find = move |store: &Store| match input.unique {
            true => store.by_unique_id(&input.topic, &input.key, limit, input.begin, input.end),
            false => store.by_key(&input.topic, &input.key, limit, input.begin, input.end),
        };
        let records = self.store.query(find).await?;
        if records.is_empty() {
            return Err(QueryRefused::NotFound);
        }
        Ok(Found { records, indexed_to: LogOffset(self.store.watermarks().dispatched.get()) })
    }

    /// Reads the message at a place of the log.
    pub async fn view(&self, at: LogOffset) -> Result<Bytes, QueryRefused> {
        self.store.record(at).await?.ok_or(QueryRefused::NotThere { at })
    }
}
