// SPDX-License-Identifier: Apache-2.0
//! Messages that one connection sent at once: planned one by one, appended together, so that the lock of the log, the
//! watermarks and the counters are touched once for all of them. Called by the faces of 10, 310 and 320.
//! Invariants: every message gets its own answer, in the order of the requests; if they cannot all be appended, each is
//! tried on its own, as if it had come alone.

use std::sync::Arc;

use protocol::names::QueueId;
use stdx::Timestamp;
use store::{Appended, Draft};

use super::check::check;
use super::{Planned, SendInput, SendRefused, Sending, Stored};
use crate::Broker;
use crate::config::BrokerConfig;
use crate::topics::Found;

/// The topics of several messages, each looked up once while they follow one another.
struct Topics {
    found: Vec<Result<Found, SendRefused>>,
    /// The topic of each message.
    of: Vec<usize>,
}

/// Most of them are for another topic than the one before: looked at are the first.
fn are_mixed(inputs: &[SendInput]) -> bool {
    const LOOK: usize = 4;
    let changes = inputs.windows(2).take(LOOK).filter(|pair| pair[0].topic != pair[1].topic);
    inputs.len() > LOOK && changes.count() >= LOOK / 2
}

impl Broker {
    /// Stores what several requests ask for. All but the waiting is done when this returns.
    pub fn send_together(self: &Arc<Broker>, inputs: Vec<SendInput>, now: Timestamp) -> Vec<Sending> {
        let stored: Vec<Result<Stored, SendRefused>> = match &inputs[..] {
            // a batch is an append of its own
            inputs if inputs.len() < 2 || inputs.iter().any(|input| input.batch) => {
                inputs.iter().map(|input| self.put(input, now)).collect()
            }
            inputs => self.put_together(inputs, now),
        };
        inputs.into_iter().zip(stored).map(|(input, stored)| self.settling(input, stored, now)).collect()
    }

    /// Puts messages into the log, all with one append if that can be.
    fn put_together(&self, inputs: &[SendInput], now: Timestamp) -> Vec<Result<Stored, SendRefused>> {
        let config = self.config();
        let topics = self.topics_of(inputs, now);
        let plan = |(input, at)| self.planned_at(input, &topics.found[at], &config, now);
        let planned: Vec<_> = inputs.iter().zip(topics.of.iter().copied()).map(plan).collect();
        let mut drafts: Vec<Draft<'_>> = Vec::with_capacity(planned.len());
        drafts.extend(planned.iter().flatten().map(Planned::draft));
        let is_light = planned.iter().flatten().any(|planned| planned.is_light);
        let append = || if is_light { self.store.append_light(&drafts) } else { self.store.append(&drafts) };
        let appended = (!drafts.is_empty()).then(append).transpose();
        drop(drafts);
        let made = topics.of.iter().map(|at| topics.found[*at].as_ref().is_ok_and(|found| found.is_new));
        let with_made = |(stored, made): (Result<Stored, SendRefused>, bool)| {
            stored.map(|stored| Stored { made_topic: stored.made_topic | made, ..stored })
        };
        let Ok(appended) = appended else {
            return inputs.iter().map(|input| self.put(input, now)).zip(made).map(with_made).collect();
        };
        if let Some(appended) = &appended {
            self.count_together(&planned, &topics, appended, now);
            self.note_halves(&planned, appended);
            self.dispatch_at_once(appended.end);
        }
        let mut places =
            appended.iter().flat_map(|appended| appended.places().map(move |place| (place, appended.end)));
        let stored = planned.into_iter().map(|planned| {
            let planned = planned?;
            let (place, end) = places.next().expect("every planned message was appended");
            Ok(planned.stored(place, end))
        });
        stored.zip(made).map(with_made).collect()
    }

    fn topics_of(&self, inputs: &[SendInput], now: Timestamp) -> Topics {
        if are_mixed(inputs) {
            let queue = |input: &SendInput| input.queue.unwrap_or(QueueId(0));
            self.topics.bring_near(inputs.iter().map(|input| (&input.topic, queue(input))));
        }
        let mut topics = Topics { found: Vec::new(), of: Vec::with_capacity(inputs.len()) };
        let mut last = None;
        for input in inputs {
            if last != Some(&input.topic) {
                let found = self.topics.for_write(&input.topic, &input.template, &self.store, now);
                topics.found.push(found.map_err(SendRefused::from));
                last = Some(&input.topic);
            }
            topics.of.push(topics.found.len() - 1);
        }
        topics
    }

    fn planned_at<'a>(
        &'a self,
        input: &'a SendInput,
        found: &'a Result<Found, SendRefused>,
        config: &BrokerConfig,
        now: Timestamp,
    ) -> Result<Planned<'a>, SendRefused> {
        let topic = &found.as_ref().map_err(SendRefused::clone)?.topic;
        check(input, topic, config)?;
        self.planned(input, topic, config, now)
    }

    /// Counts what was appended, once for each run of messages of one topic.
    fn count_together(
        &self,
        planned: &[Result<Planned<'_>, SendRefused>],
        topics: &Topics,
        appended: &Appended,
        now: Timestamp,
    ) {
        let ends = appended.starts().skip(1).chain([appended.end]);
        let mut sizes = appended.starts().zip(ends).map(|(start, end)| (end.0 - start.0) as usize);
        let mut run = (0, 0, 0);
        for (planned, at) in planned.iter().zip(&topics.of) {
            let Ok(planned) = planned else { continue };
            self.count_dead(planned, now);
            if run.0 != *at {
                self.count_run(run, topics, now);
                run = (*at, 0, 0);
            }
            run = (*at, run.1 + 1, run.2 + sizes.next().unwrap_or_default());
        }
        self.count_run(run, topics, now);
    }

    fn count_run(&self, (at, messages, bytes): (usize, usize, usize), topics: &Topics, now: Timestamp) {
        if let Some(Ok(found)) = topics.found.get(at).filter(|_| messages > 0) {
            self.count_sent(&found.topic, messages, messages, bytes, now);
        }
    }
}
