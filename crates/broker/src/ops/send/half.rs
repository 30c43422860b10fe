// SPDX-License-Identifier: Apache-2.0
//! Half messages: how the first half of a transaction is stored, and what message a commit makes of it. Called by the
//! send and by the operations on transactions.
//! Invariant: a commit goes the way a plain send of the same message would go, delays included.

use std::sync::Arc;

use bytes::Bytes;
use protocol::names::{ByteStr, Group, LogOffset, QueueId, QueueOffset, TopicName};
use protocol::properties;
use protocol::record::{self, Message, Record};
use stdx::Timestamp;
use store::{Appended, Half, QueueRef};

use super::plan::{Route, plan};
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
    /// It goes to light queues too.
    pub(crate) is_light: bool,
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
        place: (LogOffset, QueueOffset),
        stored_at: Timestamp,
    ) {
        if planned.is_half {
            let half = planned.half(place, stored_at);
            self.transactions.opened([half], &self.transaction_limits());
        }
    }

    /// Takes those half messages into the ledger that are among messages that were just stored together.
    pub(super) fn note_halves(&self, planned: &[Result<Planned<'_>, SendRefused>], appended: &Appended) {
        let halves = planned.iter().flatten().zip(appended.places());
        let halves = halves.filter(|(planned, _)| planned.is_half);
        let halves =
            halves.map(|(planned, place)| planned.half(place, appended.stored_at)).collect::<Vec<_>>();
        if !halves.is_empty() {
            self.transactions.opened(halves, &self.transaction_limits());
        }
    }

    /// What the half message in `record`, which lies in `raw`, becomes when it is committed now.
    pub(crate) fn onward(
        &self,
        raw: &Bytes,
        record: &Record<'_>,
        now: Timestamp,
    ) -> Result<Onward, SendRefused> {
        let text = record.properties_text();
        let (mut name, mut wanted) = ("", 0);
        for (property, value) in properties::iter(text) {
            match property {
                properties::REAL_TOPIC => name = value,
                properties::REAL_QID => wanted = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        let topic = self.topics.get(name);
        let topic =
            topic.ok_or_else(|| TopicRefused::Missing { topic: TopicName::stored(name.to_owned()) })?;
        let told = topic.still_read(QueueId(wanted));
        let input = SendInput {
            template: Template::default(),
            queue: Some(told),
            topic: topic.name().clone(),
            flag: record.flag(),
            sys_flag: record.sys_flag(),
            born_at: record.born_at(),
            born_host: record.born_host(),
            store_host: record.store_host(),
            reconsumed: record.reconsume(),
            reconsume_max: None,
            properties: ByteStr::from_utf8(raw.slice_ref(text.as_bytes())).unwrap_or_default(),
            body: raw.slice_ref(record.body()),
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
        let is_light = route == Route::Direct && said.light.is_some();
        Ok(Onward { topic, queue, properties, is_light, input })
    }
}

impl Planned<'_> {
    /// The half message that it is, once it is in the log.
    fn half(&self, (start, queue_offset): (LogOffset, QueueOffset), stored_at: Timestamp) -> Half {
        let group = properties::get(&self.input.properties, properties::PGROUP).unwrap_or_default();
        Half {
            id: start,
            queue_offset,
            log: start,
            stored_at,
            parked: false,
            immunity: self.immunity,
            group: Group::stored(group.to_owned()),
            topic: self.input.topic.detached(),
        }
    }
}

/// What an earlier broker may have left in a message that is sent anew.
const STALE: [&str; 3] =
    [properties::TRANSACTION_ID, properties::TRANSACTION_CHECK_TIMES, properties::TRAN_PREPARED_QUEUE_OFFSET];
