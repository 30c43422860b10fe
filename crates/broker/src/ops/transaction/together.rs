// SPDX-License-Identifier: Apache-2.0
//! Decisions that one connection sent at once: judged one by one, put into the log with one append, so that the book, the
//! log and its watermarks are locked once for all of them. Called by the face of 37.
//! Invariants: every decision gets its own answer, in the order of the requests; what is not simply open, or not in memory,
//! or comes twice, goes its own way afterwards, as if it had come alone, and so do all when they cannot be appended.

use std::pin::Pin;
use std::sync::Arc;

use protocol::names::LogOffset;
use stdx::Timestamp;
use store::{Half, Near, Settled};

use super::{EndInput, EndRefused, Ended, Ruling, again, is_another};
use crate::Broker;
use crate::ops::send::Said;
use crate::transaction::{Decision, Judged};

/// A decision under way.
pub enum Ending {
    /// It is over.
    Done(Result<Ended, EndRefused>),
    /// Something is awaited: its promise, its data, or room for it.
    Waits(Pin<Box<dyn Future<Output = Result<Ended, EndRefused>> + Send>>),
}

/// What one decision comes to, as far as it is known before it is in the log.
enum Judgement {
    Ruling(Ruling),
    Known(Result<Ended, EndRefused>),
    /// It takes its own way.
    Alone,
}

impl Broker {
    /// Ends several transactions. All but the waiting is done when this returns.
    pub fn end_together(self: &Arc<Broker>, inputs: Vec<EndInput>, now: Timestamp) -> Vec<Ending> {
        let (mut rulings, mut known) = (Vec::with_capacity(inputs.len()), Vec::new());
        let mut seen = Vec::with_capacity(inputs.len());
        let mut near = self.store.near();
        for (at, (judged, input)) in self.judged(&inputs).into_iter().zip(&inputs).enumerate() {
            // a few dozen at most: they are sooner compared than hashed
            let is_first = !seen.contains(&input.id);
            seen.push(input.id);
            match if is_first { self.judgement(judged, input, &mut near, now) } else { Judgement::Alone } {
                Judgement::Ruling(ruling) => rulings.push((at, ruling)),
                Judgement::Known(outcome) => known.push((at, outcome)),
                Judgement::Alone => {}
            }
        }
        drop(near);
        let entered = self.enter_together(&mut rulings, now);
        let mut known = known.into_iter().peekable();
        let mut rulings = rulings.into_iter().peekable();
        let ending = |(at, input): (usize, EndInput)| {
            if let Some((_, outcome)) = known.next_if(|(of, _)| *of == at) {
                return Ending::Done(outcome);
            }
            match (rulings.next_if(|(of, _)| *of == at), entered) {
                (Some(_), Some(end)) => self.when_settled(end, now),
                _ => {
                    let broker = self.clone();
                    Ending::Waits(Box::pin(async move { broker.end_transaction(input, now).await }))
                }
            }
        };
        inputs.into_iter().enumerate().map(ending).collect()
    }

    fn judged(&self, inputs: &[EndInput]) -> Vec<Judged> {
        let ledger = self.transactions.ledger();
        inputs.iter().map(|input| ledger.judge(input.id, input.queue_offset, input.group.as_ref())).collect()
    }

    fn judgement(&self, judged: Judged, input: &EndInput, near: &mut Near<'_>, now: Timestamp) -> Judgement {
        match judged {
            Judged::Open(_) if input.audit.is_some() => Judgement::Alone,
            Judged::Open(half) => self.ruling(half, input, near, now),
            Judged::OtherGroup => Judgement::Known(Err(EndRefused::OtherGroup)),
            Judged::OtherOffset => Judgement::Known(Err(EndRefused::OtherOffset)),
            Judged::Decided(decision) => Judgement::Known(again(input, decision)),
            Judged::Unknown => Judgement::Alone,
        }
    }

    fn ruling(&self, half: Arc<Half>, input: &EndInput, near: &mut Near<'_>, now: Timestamp) -> Judgement {
        let id = half.id;
        let judgement = near.look(half.log, |raw, record| {
            let said = Said::read(record.properties_text());
            if is_another(said.unique, &input.unique) {
                return Judgement::Known(Err(EndRefused::NotThere { id }));
            }
            let onward = match input.decision {
                Decision::Commit => match self.onward(raw, record, said, now) {
                    Ok(onward) => Some(onward),
                    Err(refused) => return Judgement::Known(Err(refused.into())),
                },
                Decision::Rollback => None,
            };
            Judgement::Ruling(Ruling { half, onward })
        });
        judgement.ok().flatten().unwrap_or(Judgement::Alone)
    }

    /// Puts those decisions into the log that still are the first ones, and leaves only them in `rulings`. Returns where
    /// they end; `None` when none was put there.
    fn enter_together(&self, rulings: &mut Vec<(usize, Ruling)>, now: Timestamp) -> Option<LogOffset> {
        if rulings.is_empty() {
            return None;
        }
        let mut ledger = self.transactions.ledger();
        rulings.retain(|(_, ruling)| ledger.is_open(ruling.half.id));
        let all = rulings.iter().map(|(_, ruling)| ruling);
        let entered = (!rulings.is_empty()).then(|| self.enter(&mut ledger, all, None, now))?.ok()?;
        drop(ledger);
        self.stop_asking(&entered);
        self.dispatch_at_once(entered.end);
        Some(entered.end)
    }

    fn when_settled(self: &Arc<Broker>, end: LogOffset, now: Timestamp) -> Ending {
        if self.store.watermarks().gate.get() >= end.0 {
            return Ending::Done(Ok(Ended { settled: Settled::Done, again: false }));
        }
        let (broker, patience) = (self.clone(), self.config().sending.settle_timeout);
        Ending::Waits(Box::pin(async move {
            Ok(Ended { settled: broker.store.settled(end, now + patience).await, again: false })
        }))
    }
}
