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
use crate::consumer::listener::Consumed;
use crate::consumer::push::Model;
use crate::consumer::received::Received;

/// How long messages stay here when even giving them back failed.
const LOCAL_RETRY: Duration = Duration::from_secs(5);

/// Hands over a batch whose order does not matter.
pub(crate) async fn concurrently(
    group: Arc<GroupState>,
    held: Arc<Held>,
    batch: Batch,
    mut permit: OwnedSemaphorePermit,
) {
    let Batch { round, mut messages } = batch;
    loop {
        let verdict = consume(&group, &messages).await;
        drop(permit);
        let level = match verdict {
            Consumed::Done => break,
            Consumed::Later => 0,
            Consumed::LaterAt(level) => level,
        };
        if group.config.model == Model::Broadcast {
            tracing::warn!(queue = %held.queue, messages = messages.len(), "a broadcast listener failed; its messages are dropped");
            break;
        }
        let (back, kept) = give_back(&group, &held, messages, level).await;
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
    held.finish(round, messages.iter().map(|m| m.offset));
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
        let verdict = consume(&group, &messages).await;
        drop(permit);
        if verdict == Consumed::Done {
            break;
        }
        messages.iter_mut().for_each(|message| message.reconsume_times += 1);
        let limit = group.config.max_reconsume();
        let (spent, rest): (Vec<_>, Vec<_>) = messages.into_iter().partition(|m| m.reconsume_times > limit);
        let (back, kept) = give_back(&group, &held, spent, 0).await;
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
    held.finish(round, messages.iter().map(|m| m.offset));
}

/// Calls the listener, with an end to its patience.
pub(crate) async fn consume(group: &GroupState, messages: &[Received]) -> Consumed {
    // The call itself may panic as well as the future it returns.
    let called = AssertUnwindSafe(async { group.listener.call(messages.into()).await }).catch_unwind();
    match group.session.within(group.config.consume_timeout, called).await {
        Some(Ok(verdict)) => verdict,
        Some(Err(_)) => {
            tracing::error!(group = %group.config.group, "the listener panicked");
            Consumed::Later
        }
        None => {
            tracing::warn!(group = %group.config.group, "the listener took too long and was stopped");
            Consumed::Later
        }
    }
}

/// Gives messages back to the broker; returns those it took and those it did not.
async fn give_back(
    group: &GroupState,
    held: &Held,
    messages: Vec<Received>,
    level: i32,
) -> (Vec<Received>, Vec<Received>) {
    let (mut back, mut kept) = (Vec::new(), Vec::new());
    for message in messages {
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
