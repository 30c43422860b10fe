// SPDX-License-Identifier: Apache-2.0
//! A batch that stays together: in a topic with `queue.type=BatchCQ` it becomes one record, an inner batch, that takes as
//! many queue offsets as it holds messages and is taken apart by its consumers. See `protocol::inner`.
//! Invariants: every unit is judged before anything is stored; a record is said to hold what its readers find in it.

use protocol::batch::units;
use protocol::record::{COMPRESSED, Message};
use protocol::{inner, properties};
use stdx::Timestamp;
use store::{Draft, Settled};

use super::batch::at_once;
use super::room::Text;
use super::stamp::Said;
use super::{SendInput, SendRefused, Sent, Stored, message, properties_fit_with};
use crate::Broker;
use crate::topics::Topic;

/// What the store adds: the name, a number and what separates them.
const BASE: usize = properties::INNER_BASE.len() + 22;

impl Broker {
    /// Appends a batch as one record. `whole` is what its properties say.
    pub(super) fn store_inner(
        &self,
        input: &SendInput,
        mut whole: Said<'_>,
        topic: &Topic,
        now: Timestamp,
    ) -> Result<Stored, SendRefused> {
        let count = self.count_inner(input, &whole, topic)?;
        whole.expire(now, topic.ttl());
        let number = count.to_string();
        let mut properties = Text::new();
        whole.stored(&self.brand, &[], &[(properties::INNER_NUM, &number)], None, &mut properties);
        let properties = properties_fit_with(properties, BASE)?;
        let told = input.queue.unwrap_or_else(|| topic.any_queue());
        let queue = topic.queue(told, &self.store)?;
        let plain = message(input, &queue, &input.body, &properties);
        let message = Message { sys_flag: plain.sys_flag | inner::FLAGS, ..plain };
        let appended = self.store.append(&[Draft { queue: &queue, message }])?;
        self.count_sent(topic, 1, count, (appended.end.0 - appended.start.0) as usize, now);
        let sent = Sent {
            start: appended.start,
            rest: Vec::new(),
            store_host: input.store_host,
            queue: told,
            queue_offset: appended.first_queue_offset,
            unique: whole.unique.map(|id| input.properties.slice_ref(id)),
            timed: None,
            is_inner: true,
            settled: Settled::Done,
        };
        let patience = self.patience(whole.wait);
        Ok(Stored { sent, end: appended.end, patience, made_topic: false })
    }

    /// Judges all messages of a batch, and counts them as its consumers will.
    fn count_inner(&self, input: &SendInput, whole: &Said<'_>, topic: &Topic) -> Result<usize, SendRefused> {
        at_once(whole)?;
        if input.sys_flag & COMPRESSED != 0 {
            return Err(SendRefused::NotInBatch { what: "compression of the whole" });
        }
        let fills_light = self.fills_light(topic);
        let lists = |said: &Said<'_>| fills_light && said.light.is_some();
        if lists(whole) {
            return Err(SendRefused::NotInBatch { what: LIGHT });
        }
        let max = self.config().sending.batch_messages_max.min(inner::MESSAGES_MAX);
        let mut count = 0;
        for unit in units(&input.body) {
            let (_, said) = self.judge(&unit?, topic)?;
            if lists(&said) {
                return Err(SendRefused::NotInBatch { what: LIGHT });
            }
            if said.says_ttl() {
                return Err(SendRefused::NotInBatch { what: "a time to live of one message in this topic" });
            }
            if count == max {
                return Err(SendRefused::BatchCount { count: max + 1, max });
            }
            count += 1;
        }
        if count == 0 {
            return Err(SendRefused::BatchCount { count: 0, max });
        }
        Ok(count)
    }
}

const LIGHT: &str = "light queues in this topic";
