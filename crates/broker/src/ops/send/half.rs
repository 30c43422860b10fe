// SPDX-License-Identifier: Apache-2.0
//! Half messages: how the first half of a transaction is stored, and what message a commit makes of it. Called by the
//! send and by the operations on transactions.
//! Invariant: a commit goes the way a plain send of the same message would go, delays included.

use std::sync::Arc;

use protocol::names::{Group, LogOffset, QueueId, QueueOffset, TopicName};
use protocol::properties;
use protocol::record::{self, Message, Record};
use stdx::Timestamp;
use store::{Half, QueueRef};

use super::plan::plan;
use super::stamp::Said;
use super::{Place, Planned, SendInput, SendRefused, message};
use crate::Broker;
use crate::topics::{Template, Topic, TopicRefused};

/// What a half message becomes when it is committed.
pub(crate) struct Onward {
    input: SendInput,
    pub(crate) topic: Arc<Topic>,
    pub(crate) queue: QueueRef,
    properties: String,
}

impl Onward {
    /// The message, which names its half and so is the commit.
    pub(crate) fn message(&self, id: LogOffset) -> Message<'_> {
        let plain = message(&self.input, &self.queue, &self.input.body, &self.properties);
        Message { sys_flag: plain.sys_flag | record::COMMITTED, prepared: id, ..plain }
    }
}

impl Broker {
    /// Says whether a further transaction may begin.
    pub(super) fn admit_half(&self) -> Result<(), SendRefused> {
        let config = self.config();
        if config.transactional.reject_transactions {
            return Err(SendRefused::Half { broker: config.identity.name.clone() });
        }
        let (open, parked) = self.transactions.ledger().count();
        let (open, max) = (open - parked, config.transactional.transactions_open_max);
        if open >= max {
            return Err(SendRefused::TooManyOpen { open, max });
        }
        Ok(())
    }

    /// What a half message says in the log: all that its sender said, and where it is for.
    pub(super) fn half_properties(
        &self,
        said: &Said<'_>,
        input: &SendInput,
        place: &Place<'_>,
        fresh: Option<&str>,
    ) -> String {
        let queue = place.told.to_string();
        let id = said.unique.or(fresh).unwrap_or_default();
        let also = [
            (properties::TRANSACTION_ID, id),
            (properties::REAL_TOPIC, &*input.topic),
            (properties::REAL_QID, &queue),
        ];
        said.stored(&self.brand, &STALE, &also, fresh)
    }

    /// Takes a half message that was just stored into the ledger.
    pub(super) fn note_half(
        &self,
        planned: &Planned<'_>,
        (start, queue_offset): (LogOffset, QueueOffset),
        stored_at: Timestamp,
    ) {
        if !planned.is_half {
            return;
        }
        let input = planned.input;
        let group = properties::get(&input.properties, properties::PGROUP).unwrap_or_default();
        let half = Half {
            id: start,
            queue_offset,
            log: start,
            stored_at,
            parked: false,
            immunity: planned.immunity,
            group: Group::stored(group.to_owned()),
            topic: input.topic.detached(),
        };
        self.transactions.opened(half, &self.transaction_limits());
    }

    /// What the half message in `record` becomes when it is committed now.
    pub(crate) fn onward(&self, record: &Record<'_>, now: Timestamp) -> Result<Onward, SendRefused> {
        let said_topic = record.property(properties::REAL_TOPIC).unwrap_or_default();
        let name = TopicName::stored(said_topic.to_owned());
        let topic = self.topics.get(&name).ok_or_else(|| TopicRefused::Missing { topic: name.clone() })?;
        let wanted: u32 =
            record.property(properties::REAL_QID).and_then(|text| text.parse().ok()).unwrap_or(0);
        let told = topic.still_read(QueueId(wanted));
        let input = SendInput {
            template: Template::default(),
            queue: Some(told),
            topic: name,
            flag: record.flag(),
            sys_flag: record.sys_flag(),
            born_at: record.born_at(),
            born_host: record.born_host(),
            store_host: record.store_host(),
            reconsumed: record.reconsume(),
            reconsume_max: None,
            properties: record.properties_text().to_owned().into(),
            body: record.body().to_vec().into(),
            batch: false,
        };
        // COMPAT: it still says that it was a half message.
        let mut said = Said::read(&input.properties);
        said.half = false;
        let route = plan(&said, self.delay.levels(), None, input.reconsumed, self.clockwork(now))?;
        self.expire(&mut said, &topic, route, now);
        let place = self.place(&input, &topic, told, route, now)?;
        let properties = self.properties(&said, &input, &place, route, None)?;
        let queue = place.queue.into_owned();
        Ok(Onward { topic, queue, properties, input })
    }
}

/// What an earlier broker may have left in a message that is sent anew.
const STALE: [&str; 3] =
    [properties::TRANSACTION_ID, properties::TRANSACTION_CHECK_TIMES, properties::TRAN_PREPARED_QUEUE_OFFSET];
