// SPDX-License-Identifier: Apache-2.0
//! Half messages: how the first half of a transaction is stored, and what message a commit makes of it. Called by the
//! send and by the operations on transactions.
//! Invariant: a commit goes the way a plain send of the same message would go, delays included.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::names::{Group, LogOffset, QueueId, QueueOffset, TopicName};
use protocol::properties;
use protocol::record::{self, Message, Record};
use stdx::Timestamp;
use store::{Appended, Half, QueueRef};

use super::plan::{Route, plan};
use super::room::Text;
use super::stamp::Said;
use super::{Envelope, Place, Planned, SendRefused};
use crate::Broker;
use crate::topics::{Topic, TopicRefused};

/// What a half message becomes when it is committed.
pub(crate) struct Onward {
    envelope: Envelope,
    body: Bytes,
    pub(crate) topic: Arc<Topic>,
    pub(crate) queue: QueueRef,
    properties: Text,
    /// It goes to light queues too.
    pub(crate) is_light: bool,
}

impl Onward {
    /// The message, which names its half and so is the commit.
    pub(crate) fn message(&self, id: LogOffset) -> Message<'_> {
        let plain = self.envelope.message(&self.queue, &self.body, &self.properties);
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
        topic: &TopicName,
        place: &Place<'_>,
        fresh: Option<&str>,
        out: &mut String,
    ) {
        let queue = place.told.to_string();
        let id = said.unique.or(fresh).unwrap_or_default();
        let also = [
            (properties::TRANSACTION_ID, id),
            (properties::REAL_TOPIC, &**topic),
            (properties::REAL_QID, &queue),
        ];
        said.stored(&self.brand, if said.stale { &STALE } else { &[] }, &also, fresh, out);
    }

    /// Takes a half message that was just stored into the ledger.
    pub(super) fn note_half(
        &self,
        planned: &Planned<'_>,
        place: (LogOffset, QueueOffset),
        stored_at: Timestamp,
    ) {
        if let Some(opening) = &planned.half {
            let group = Group::stored(opening.group.to_owned());
            self.transactions.opened([opening.half(group, place, stored_at)], &self.transaction_limits());
        }
    }

    /// Takes those half messages into the ledger that are among messages that were just stored together.
    pub(super) fn note_halves(&self, planned: &[Result<Planned<'_>, SendRefused>], appended: &Appended) {
        let openings = planned.iter().flatten().zip(appended.places());
        let mut group = Group::default();
        let halves = openings.filter_map(|(planned, place)| {
            let opening = planned.half.as_ref()?;
            // what one connection sends is mostly of one group
            if *group != *opening.group {
                group = Group::stored(opening.group.to_owned());
            }
            Some(opening.half(group.clone(), place, appended.stored_at))
        });
        let halves = halves.collect::<Vec<_>>();
        if !halves.is_empty() {
            self.transactions.opened(halves, &self.transaction_limits());
        }
    }

    /// What the half message in `record`, which lies in `raw` and has properties that say this, becomes when it is committed
    /// now.
    pub(crate) fn onward(
        &self,
        raw: &Bytes,
        record: &Record<'_>,
        mut said: Said<'_>,
        now: Timestamp,
    ) -> Result<Onward, SendRefused> {
        let name = said.real_topic.unwrap_or_default();
        let wanted = said.real_queue.and_then(|text| text.parse().ok()).unwrap_or(0);
        let topic = self.topics.get(name);
        let topic =
            topic.ok_or_else(|| TopicRefused::Missing { topic: TopicName::stored(name.to_owned()) })?;
        let told = topic.still_read(QueueId(wanted));
        let envelope = Envelope {
            flag: record.flag(),
            sys_flag: record.sys_flag(),
            born_at: record.born_at(),
            born_host: record.born_host(),
            store_host: record.store_host(),
            reconsumed: record.reconsume(),
        };
        // COMPAT: it still says that it was a half message.
        said.half = false;
        let route = plan(&said, self.delay.levels(), None, envelope.reconsumed, self.clockwork(now))?;
        self.expire(&mut said, &topic, route, now);
        let place = self.place(&topic, told, route, now)?;
        let properties = self.properties(&said, topic.name(), &place, route, None)?;
        let queue = place.queue.into_owned();
        let is_light = route == Route::Direct && said.light.is_some();
        Ok(Onward { envelope, body: raw.slice_ref(record.body()), topic, queue, properties, is_light })
    }
}

/// A half message on its way into the log.
pub(super) struct Opening<'a> {
    /// The topic that it is for.
    pub(super) topic: &'a TopicName,
    /// The group of its producer.
    pub(super) group: &'a str,
    /// How long its producer is not to be asked.
    pub(super) immunity: Option<Duration>,
}

impl Opening<'_> {
    /// The half message, once it is in the log.
    fn half(
        &self,
        group: Group,
        (start, queue_offset): (LogOffset, QueueOffset),
        stored_at: Timestamp,
    ) -> Half {
        Half {
            id: start,
            queue_offset,
            log: start,
            stored_at,
            parked: false,
            immunity: self.immunity,
            group,
            topic: self.topic.clone(),
        }
    }
}

/// What an earlier broker may have left in a message that is sent anew: [`Said::stale`].
const STALE: [&str; 3] =
    [properties::TRANSACTION_ID, properties::TRANSACTION_CHECK_TIMES, properties::TRAN_PREPARED_QUEUE_OFFSET];
