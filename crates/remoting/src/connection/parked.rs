// SPDX-License-Identifier: Apache-2.0
//! Requests of one connection that wait for something, with the permits they wait under. The connection's task parks
//! them here and polls them when they are woken; dropping this abandons them.
//! Invariant: a parked request holds exactly one permit, and gives it back however it ends.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use protocol::codes::ResponseCode;
use stdx::Timestamp;

use crate::admission::{Busy, Class, Gate, Permit};
use crate::handle::{Connection, ReplyTo};
use crate::router::Work;

/// One request that waits.
struct Waiting {
    work: Work,
    permit: Option<Permit>,
    to: ReplyTo,
    /// Since when it is here.
    begun: u64,
}

impl Future for Waiting {
    type Output = (Option<Permit>, u64);
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(Option<Permit>, u64)> {
        self.work.as_mut().poll(cx).map(|()| (self.permit.take(), self.begun))
    }
}

/// All that waits, behind the connection's gate.
pub(crate) struct Parked {
    gate: Gate,
    waiting: FuturesUnordered<Waiting>,
    /// Nothing that waits is over before this.
    overdue: Option<Timestamp>,
}

impl Parked {
    pub(crate) fn new(gate: Gate) -> Parked {
        Parked { gate, waiting: FuturesUnordered::new(), overdue: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nothing but long polls waits.
    pub(crate) fn is_only_polls(&self) -> bool {
        let is_poll =
            |waiting: &Waiting| waiting.permit.as_ref().is_some_and(|permit| permit.class() == Class::Pull);
        self.waiting.iter().all(is_poll)
    }

    /// Lets a request in.
    pub(crate) fn enter(&self, class: Class, bytes: usize, now: Timestamp) -> Result<Permit, Busy> {
        self.gate.enter(class, bytes, now)
    }

    /// Ends a request that did not have to wait.
    pub(crate) fn leave(&mut self, permit: Permit) {
        self.gate.leave(permit);
    }

    /// Works on a request, here since `begun`, as far as it goes without waiting. True when that was all.
    pub(crate) fn start(&mut self, mut work: Work, permit: Permit, to: ReplyTo, begun: u64) -> bool {
        // Polled without a waker: work that has to wait is polled again right away, by the set it is parked in.
        let is_done = work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if is_done {
            self.leave(permit);
        } else {
            self.park(Waiting { work, permit: None, to, begun }, permit);
        }
        is_done
    }

    /// Keeps a request that has to wait.
    fn park(&mut self, waiting: Waiting, mut permit: Permit) {
        self.gate.park(&mut permit);
        self.overdue = self.overdue.into_iter().chain(permit.expires()).min();
        self.waiting.push(Waiting { permit: Some(permit), ..waiting });
    }

    /// Finishes one request that was woken and is done, and tells its class and since when it was here.
    pub(crate) fn finish(&mut self, cx: &mut Context<'_>) -> Option<(Class, u64)> {
        if self.waiting.is_empty() {
            return None;
        }
        let Poll::Ready(Some((permit, begun))) = self.waiting.poll_next_unpin(cx) else { return None };
        let permit = permit.expect("a request that waits holds its permit");
        let class = permit.class();
        self.gate.leave(permit);
        Some((class, begun))
    }

    /// When the next request may be over.
    pub(crate) fn overdue(&self) -> Option<Timestamp> {
        self.overdue
    }

    /// Gives up on requests that waited longer than the door allows.
    pub(crate) fn sweep(&mut self, now: Timestamp, connection: &Connection) {
        if self.overdue.is_none_or(|overdue| overdue > now) {
            return;
        }
        self.overdue = None;
        for mut waiting in std::mem::take(&mut self.waiting) {
            let Some(permit) = waiting.permit.take() else { continue };
            if permit.expires().is_some_and(|expires| expires <= now) {
                self.gate.leave(permit);
                let remark = "[TIMEOUT_CLEAN_QUEUE] the request waited longer than the server allows";
                waiting.to.refuse(connection, ResponseCode::SYSTEM_BUSY, remark);
                continue;
            }
            self.overdue = self.overdue.into_iter().chain(permit.expires()).min();
            waiting.permit = Some(permit);
            self.waiting.push(waiting);
        }
    }

    /// Notes what is kept for a peer that does not go on; false when this connection has to go for it.
    pub(crate) fn stuck(&mut self, bytes: usize) -> bool {
        self.gate.stuck(bytes)
    }

    /// Abandons all and gives every permit back.
    pub(crate) fn close(&mut self) {
        self.waiting.clear();
        self.gate.close();
    }
}
