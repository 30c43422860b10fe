// SPDX-License-Identifier: Apache-2.0
//! The task of one held queue: pulls ahead, hands over, and settles the account when the queue is given up.
//! Started and stopped by the member loop. All rules about offsets are in `window`, all sharing is through `Held`.
//! Invariants: never pulls beyond the window's limits; an orderly queue has one batch with the listener at a time, and
//! only under the broker's lock.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use protocol::names::QueueOffset;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use crate::consumer::delivery;
use crate::consumer::group::GroupState;
use crate::consumer::held::{Held, Stop};
use crate::consumer::push::Mode;
use crate::consumer::reading::{Place, PullError, Pulled, Reading};
use crate::consumer::subscription::Interest;
use crate::retry::Backoff;

type Pulling = Pin<Box<dyn Future<Output = Result<Pulled, PullError>> + Send>>;

pub(crate) struct Worker {
    group: Arc<GroupState>,
    held: Arc<Held>,
    interest: Arc<Interest>,
    pulling: Option<Pulling>,
    handlers: JoinSet<()>,
    member: i64,
    failures: u32,
}

/// What woke the worker.
enum Event {
    Asked,
    Pulled(Result<Pulled, PullError>),
    Permit(OwnedSemaphorePermit),
    Handled,
}

/// What is left of a worker: handlers that still run after the queue was given up.
pub(crate) struct Leftover {
    pub(crate) held: Arc<Held>,
    pub(crate) handlers: JoinSet<()>,
}

impl Worker {
    pub(crate) fn new(group: Arc<GroupState>, held: Arc<Held>, interest: Arc<Interest>) -> Worker {
        Worker { group, held, interest, pulling: None, handlers: JoinSet::new(), member: 0, failures: 0 }
    }

    /// Works until the queue is given up.
    pub(crate) async fn run(mut self) -> Leftover {
        if self.begin().await {
            while self.step().await {}
        }
        self.settle().await;
        Leftover { held: self.held, handlers: self.handlers }
    }

    /// Finds the first offset; false when the queue was given up before that.
    async fn begin(&mut self) -> bool {
        let mut failures = 0;
        loop {
            let first = self.group.first_offset(&self.held.queue);
            let found = tokio::select! {
                () = self.held.until_stopped() => return false,
                found = first => found,
            };
            match found {
                Ok((from, committed)) => {
                    self.held.begin(from, committed);
                    return true;
                }
                Err(error) => {
                    tracing::warn!(queue = %self.held.queue, %error, "cannot find out where to begin");
                    self.pause(failures).await;
                    failures += 1;
                }
            }
        }
    }

    /// Waits for one thing and does it; false at the end.
    async fn step(&mut self) -> bool {
        match self.next().await {
            Event::Asked => {
                if self.held.stopped().is_some() {
                    return false;
                }
                if let Some(to) = self.held.take_rewind() {
                    self.rewind(to).await;
                }
            }
            Event::Pulled(Ok(pulled)) => self.pulled(pulled).await,
            Event::Pulled(Err(error)) => self.failed(&error),
            Event::Permit(permit) => self.deliver(permit),
            Event::Handled => {}
        }
        true
    }

    async fn next(&mut self) -> Event {
        if self.pulling.is_none()
            && let Some(from) = self.held.next_pull(&self.group.config.window)
        {
            self.pulling = Some(self.pull(from));
        }
        let may_deliver = self.held.has_waiting()
            && (self.group.config.mode == Mode::Concurrent || self.handlers.is_empty());
        tokio::select! {
            () = self.held.until_asked() => Event::Asked,
            Some(done) = self.handlers.join_next() => {
                if let Err(error) = done {
                    tracing::error!(queue = %self.held.queue, %error, "a handler was lost");
                }
                Event::Handled
            }
            permit = self.group.permit(), if may_deliver => Event::Permit(permit),
            pulled = maybe(&mut self.pulling), if self.pulling.is_some() => {
                self.pulling = None;
                Event::Pulled(pulled)
            }
        }
    }

    fn pull(&self, from: QueueOffset) -> Pulling {
        let (group, held, interest) = (self.group.clone(), self.held.clone(), self.interest.clone());
        let (member, failures) = (self.member, self.failures);
        Box::pin(async move {
            if let Some(failures) = failures.checked_sub(1) {
                group.session.sleep(Backoff::LOOP.pause(failures)).await;
            }
            let config = &group.config;
            let reading = Reading {
                group: &config.group,
                queue: &held.queue,
                from,
                messages: config.pull_messages,
                bytes: config.pull_bytes,
                wait: config.pull_wait,
                member,
                interest: &interest,
                carries_subscription: false,
            };
            group.session.read(&reading).await
        })
    }

    async fn pulled(&mut self, pulled: Pulled) {
        self.failures = 0;
        self.member = pulled.member;
        match pulled.place {
            Place::Found | Place::AtEnd | Place::Filtered => {
                self.held.pulled(pulled.next, pulled.messages, self.group.session.now());
            }
            Place::Moved => {
                tracing::warn!(queue = %self.held.queue, offset = %pulled.next, "the broker moved the offset");
                self.rewind(pulled.next).await;
            }
        }
    }

    fn failed(&mut self, error: &PullError) {
        self.failures = self.failures.saturating_add(1);
        // A broker that restarted, or lost our connection, has forgotten us until the next heartbeat.
        self.group.forgotten.notify_one();
        if self.failures == 1 {
            tracing::debug!(queue = %self.held.queue, %error, "cannot pull");
        } else {
            tracing::warn!(queue = %self.held.queue, %error, failures = self.failures, "cannot pull");
        }
        self.member = 0;
    }

    /// Goes on elsewhere and makes that the progress at once, so that nobody begins at the old place.
    async fn rewind(&mut self, to: QueueOffset) {
        self.pulling = None;
        self.held.rewind(to);
        self.group.commit(&self.held).await;
    }

    fn deliver(&mut self, permit: OwnedSemaphorePermit) {
        if let Some(batch) = self.held.take(self.group.config.batch, self.group.session.now()) {
            let (group, held) = (self.group.clone(), self.held.clone());
            match self.group.config.mode {
                Mode::Concurrent => self.handlers.spawn(delivery::concurrently(group, held, batch, permit)),
                Mode::Orderly => self.handlers.spawn(delivery::orderly(group, held, batch, permit)),
            };
        }
    }

    /// Leaves the queue in a state that its next owner can go on from.
    async fn settle(&mut self) {
        self.pulling = None;
        let is_orderly = self.group.config.mode == Mode::Orderly;
        match self.held.stopped() {
            Some(Stop::LockLost) => return,
            Some(Stop::Leaving) => while self.handlers.join_next().await.is_some() {},
            Some(Stop::GivenUp) | None if is_orderly => self.await_last_batch().await,
            Some(Stop::GivenUp) | None => {}
        }
        self.group.commit(&self.held).await;
        if is_orderly {
            self.group.unlock(&self.held.queue).await;
        }
    }

    /// The next owner must not begin before the last batch has ended; the lock says how long that may take.
    async fn await_last_batch(&mut self) {
        let left = self.held.locked_until().since(self.group.session.now());
        let ended = async { while self.handlers.join_next().await.is_some() {} };
        if self.group.session.within(left, ended).await.is_none() {
            tracing::warn!(queue = %self.held.queue, "a batch outlives the lock of its queue");
        }
    }

    async fn pause(&mut self, failures: u32) {
        tokio::select! {
            () = self.held.until_stopped() => {}
            () = self.group.session.sleep(Backoff::LOOP.pause(failures)) => {}
        }
    }
}

/// The pull under way; for ever, where there is none.
async fn maybe(pulling: &mut Option<Pulling>) -> Result<Pulled, PullError> {
    match pulling {
        Some(pulling) => pulling.await,
        None => std::future::pending().await,
    }
}
