// SPDX-License-Identifier: Apache-2.0
//! One batch with the listener, until it is dealt with: consumed, sent back, or dropped where nobody takes it back.
//! Run as tasks of a queue's worker. A listener that panics or never ends counts as one that said "later".
//! Invariant: a message is finished only when the listener accepted it or the broker has it again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;

use crate::consumer::group::GroupState;
use crate::consumer::held::{Batch, Held};
use crate::consumer::listener::Levels;
use crate::consumer::push::Model;
use crate::consumer::received::Received;

/// How long messages stay here when even giving them back failed.
const LOCAL_RETRY: Duration = Duration::from_secs(5);

/// The delay level that means never again.
const GIVE_UP: i32 = -1;

/// Hands over a batch whose order does not matter.
pub(crate) async fn concurrently(
    group: Arc<GroupState>,
    held: Arc<Held>,
    batch: Batch,
    mut permit: OwnedSemaphorePermit,
) {
    let Batch { round, mut messages } = batch;
    loop {
        let levels = consume(&group, &messages).await;
        drop(permit);
        let (failed, done) = split(messages, &levels);
        held.finish(round, done.iter().map(|m| m.offset));
        if group.config.model == Model::Broadcast && !failed.is_empty() {
            tracing::warn!(queue = %held.queue, messages = failed.len(), "a broadcast listener failed; its messages are dropped");
            held.finish(round, failed.iter().map(|(m, _)| m.offset));
            return;
        }
        let (back, kept) = give_back(&group, &held, failed).await;
        held.finish(round, back.iter().map(|m| m.offset));
        messages = kept;
        if messages.is_empty() {
            return;
        }
        tokio::select! {
            () = held.until_stopped() => return,
            () = group.session.sleep(LOCAL_RETRY) => {}
        }
        messages.iter_mut().for_each(|message| message.reconsume_times += 1);
        permit = group.permit().await;
    }
}

/// Those that failed, each with its level, and those that are dealt with.
fn split(messages: Vec<Received>, levels: &[Option<i32>]) -> (Vec<(Received, i32)>, Vec<Received>) {
    let (mut failed, mut done) = (Vec::new(), Vec::new());
    for (message, level) in messages.into_iter().zip(levels) {
        match level {
            Some(level) => failed.push((message, *level)),
            None => done.push(message),
        }
    }
    (failed, done)
}

/// Hands over a batch in its order, again and again until it is accepted.
pub(crate) async fn orderly(
    group: Arc<GroupState>,
    held: Arc<Held>,
    batch: Batch,
    mut permit: OwnedSemaphorePermit,
) {
    let Batch { round, mut messages } = batch;
    loop {
        held.until_locked(|| group.session.now()).await;
        if held.stopped().is_some() {
            return;
        }
        let levels = consume(&group, &messages).await;
        drop(permit);
        // What stands behind one that failed must not pass it.
        let first = levels.iter().position(Option::is_some).unwrap_or(messages.len());
        let again = messages.split_off(first);
        held.finish(round, messages.iter().map(|m| m.offset));
        if again.is_empty() {
            return;
        }
        let limit = group.config.max_reconsume();
        let is_spent = |message: &Received, level: i32| level < 0 || message.reconsume_times >= limit;
        let (mut spent, mut rest) = (Vec::new(), Vec::new());
        for (mut message, level) in again.into_iter().zip(levels.into_iter().skip(first)) {
            match level {
                Some(level) if is_spent(&message, level) => spent.push((message, GIVE_UP)),
                Some(_) => {
                    message.reconsume_times = message.reconsume_times.saturating_add(1);
                    rest.push(message);
                }
                None => rest.push(message),
            }
        }
        // The broker counts deliveries that it gave; of those here it knows nothing, so it is told that this was the last.
        let (back, kept) = give_back(&group, &held, spent).await;
        held.finish(round, back.iter().map(|m| m.offset));
        messages = kept;
        messages.extend(rest);
        messages.sort_unstable_by_key(|m| m.offset);
        if messages.is_empty() {
            return;
        }
        tokio::select! {
            () = held.until_stopped() => return,
            () = group.session.sleep(group.config.suspend) => {}
        }
        permit = group.permit().await;
    }
}

/// Calls the listener, with an end to its patience.
pub(crate) async fn consume(group: &GroupState, messages: &[Received]) -> Levels {
    let failed = || vec![Some(0); messages.len()];
    // The call itself may panic as well as the future it returns.
    let called = AssertUnwindSafe(async { group.listener.call(messages.into()).await }).catch_unwind();
    match group.session.within(group.config.consume_timeout, called).await {
        Some(Ok(levels)) => levels,
        Some(Err(_)) => {
            tracing::error!(group = %group.config.group, "the listener panicked");
            failed()
        }
        None => {
            tracing::warn!(group = %group.config.group, "the listener took too long and was stopped");
            failed()
        }
    }
}

/// Gives messages back to the broker; returns those it took and those it did not.
async fn give_back(
    group: &GroupState,
    held: &Held,
    messages: Vec<(Received, i32)>,
) -> (Vec<Received>, Vec<Received>) {
    let (mut back, mut kept) = (Vec::new(), Vec::new());
    for (message, level) in messages {
        match group.send_back(&message, level).await {
            Ok(()) => back.push(message),
            Err(error) => {
                tracing::warn!(queue = %held.queue, offset = %message.offset, %error, "cannot give a message back");
                kept.push(message);
            }
        }
    }
    (back, kept)
}
