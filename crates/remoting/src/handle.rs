// SPDX-License-Identifier: Apache-2.0
//! The handle of a live connection. Handlers, other threads and callers leave frames on the connection's desk; the
//! connection's own task writes them. Never touches the socket and never blocks on the peer.
//! Invariant: whoever leaves something on the desk of a sleeping task wakes it, once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::frame::{EncodeError, Frame, Head, Language, ONE_WAY, RESPONSE, Serialization, VERSION};
use protocol::request::{Header, Request};
use stdx::{Clock, Timestamp, Watermark};

use crate::call::Call;
use crate::draft::{Draft, Writing};
use crate::error::CallError;
use crate::pending::{Ended, Found, Pending};
use crate::reply::Body;

/// A connection, seen from anywhere. Cheap to clone; it does not keep the connection open.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    id: u64,
    peer: SocketAddr,
    local: SocketAddr,
    clock: Arc<dyn Clock>,
    /// Unsent bytes above which no further call is taken.
    unsent_max: usize,
    serialization: Serialization,
    /// 0 while open, 1 once closed.
    closed: Watermark,
    /// Bytes on the desk and in the task's hands, for looks without the lock.
    unsent: AtomicUsize,
    desk: Mutex<Desk>,
}

/// What others leave for the connection's task.
struct Desk {
    draft: Draft,
    pending: Pending<Frame>,
    waker: Waker,
    asleep: bool,
    wish: Wish,
    /// Bytes the task has taken from the desk and not written yet.
    taken: usize,
}

/// What the owner wants of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    /// Go on.
    Serve,
    /// Take no more requests, finish what is under way, close.
    Drain,
    /// Close now.
    Close,
}

/// Two ends of a connection, and what its handle may do.
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) in_flight_max: usize,
    pub(crate) unsent_max: usize,
    pub(crate) serialization: Serialization,
}

/// What a task finds when it wants to sleep.
pub(crate) enum Rest {
    /// Something was left meanwhile.
    Work,
    /// Nothing to do before this time.
    Sleep(Option<Timestamp>),
}

impl Connection {
    pub(crate) fn new(ends: Ends) -> Connection {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        Connection(Arc::new(Shared {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            peer: ends.peer,
            local: ends.local,
            clock: ends.clock,
            unsent_max: ends.unsent_max,
            serialization: ends.serialization,
            closed: Watermark::default(),
            unsent: AtomicUsize::new(0),
            desk: Mutex::new(Desk {
                draft: Draft::default(),
                pending: Pending::new(ends.in_flight_max),
                waker: Waker::noop().clone(),
                asleep: false,
                wish: Wish::Serve,
                taken: 0,
            }),
        }))
    }

    /// A number no other connection of this process has or had.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The other end.
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// This end.
    pub fn local(&self) -> SocketAddr {
        self.0.local
    }

    /// Returns false once the connection has ended, for whatever reason.
    pub fn is_open(&self) -> bool {
        self.0.closed.get() == 0
    }

    /// Resolves when the connection has ended.
    pub async fn closed(&self) {
        // The watermark is never closed as a watermark, only raised.
        let _ = self.0.closed.reached(1).await;
    }

    /// Ends the connection without waiting for anything.
    pub fn close(&self) {
        self.wish(Wish::Close);
    }

    /// Sends a request at once and returns the future of its answer; dropping that future forgets the call.
    pub fn call<R: Request>(&self, request: &R, body: impl Into<Body>, timeout: Duration) -> Call<R::Reply> {
        let started = self.start(request, body.into(), timeout);
        Call::new(self.clone(), R::CODE, timeout, started)
    }

    /// Sends a request that is not answered.
    pub fn notify<R: Request>(&self, request: &R, body: impl Into<Body>) -> Result<(), CallError> {
        let mut desk = self.0.desk.lock();
        self.admit::<R>(&desk)?;
        // A number that no call has, for peers that answer all the same.
        let head = self.head(R::CODE, -1, ONE_WAY, None, self.0.serialization);
        let pushed = desk.draft.push(&head, request, body.into());
        self.wake(desk);
        pushed.map_err(|error| CallError::Encode { code: R::CODE, error })
    }

    fn start<R: Request>(&self, request: &R, body: Body, timeout: Duration) -> Result<i32, CallError> {
        let expires = self.0.clock.now() + timeout;
        let mut desk = self.0.desk.lock();
        self.admit::<R>(&desk)?;
        let Some(opaque) = desk.pending.begin(expires) else { return Err(self.too_many(&desk)) };
        let head = self.head(R::CODE, opaque, 0, None, self.0.serialization);
        if let Err(error) = desk.draft.push(&head, request, body) {
            desk.pending.forget(opaque);
            return Err(CallError::Encode { code: R::CODE, error });
        }
        self.wake(desk);
        Ok(opaque)
    }

    fn admit<R: Request>(&self, desk: &Desk) -> Result<(), CallError> {
        if !self.is_open() {
            return Err(CallError::Closed { peer: self.0.peer, code: R::CODE });
        }
        if desk.draft.len() + desk.taken > self.0.unsent_max {
            return Err(self.too_many(desk));
        }
        Ok(())
    }

    fn too_many(&self, desk: &Desk) -> CallError {
        let unsent = desk.draft.len() + desk.taken;
        CallError::TooMany { peer: self.0.peer, in_flight: desk.pending.len(), unsent }
    }

    fn head<'a>(
        &self,
        code: i32,
        opaque: i32,
        flag: i32,
        remark: Option<&'a str>,
        serialization: Serialization,
    ) -> Head<'a> {
        Head { code, opaque, flag, version: VERSION, language: Language::RUST, remark, serialization }
    }

    /// Leaves the answer to a request of the peer on the desk.
    pub(crate) fn answer<H: Header>(
        &self,
        to: &ReplyTo,
        code: i32,
        remark: Option<&str>,
        header: &H,
        body: Body,
    ) -> Result<(), EncodeError> {
        let head = self.head(code, to.opaque, RESPONSE, remark, to.serialization);
        let mut desk = self.0.desk.lock();
        if !self.is_open() {
            return Ok(());
        }
        let pushed = desk.draft.push(&head, header, body);
        self.wake(desk);
        pushed
    }

    /// Hands an answer of the peer to the call that waits for it; nobody may wait any more.
    pub(crate) fn complete(&self, frame: Frame) {
        let waker = self.0.desk.lock().pending.answer(frame.opaque, frame);
        if let Ok(Some(waker)) = waker {
            waker.wake();
        }
    }

    pub(crate) fn poll_call(&self, opaque: i32, waker: &Waker) -> Option<Ended<Frame>> {
        match self.0.desk.lock().pending.poll(opaque, waker) {
            Found::Waiting => None,
            Found::Ended(ended) => Some(ended),
        }
    }

    pub(crate) fn forget_call(&self, opaque: i32) {
        self.0.desk.lock().pending.forget(opaque);
    }

    /// Tells the task what its owner wants; a stronger wish is not taken back.
    pub(crate) fn wish(&self, wish: Wish) {
        let mut desk = self.0.desk.lock();
        desk.wish = desk.wish.max(wish);
        self.wake(desk);
    }

    fn wake(&self, mut desk: parking_lot::MutexGuard<'_, Desk>) {
        self.0.unsent.store(desk.draft.len() + desk.taken, Ordering::Relaxed);
        if std::mem::take(&mut desk.asleep) {
            let waker = desk.waker.clone();
            drop(desk);
            waker.wake();
        }
    }

    // The rest is for the connection's own task.

    /// Bytes the peer has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        self.0.unsent.load(Ordering::Relaxed)
    }

    /// Begins a turn: nobody needs to wake the task until it sleeps again.
    pub(crate) fn rise(&self) -> Wish {
        let mut desk = self.0.desk.lock();
        desk.asleep = false;
        desk.wish
    }

    /// Moves what was drafted into the task's hands; false when there was nothing.
    pub(crate) fn take_draft(&self, writing: &mut Writing) -> bool {
        let mut desk = self.0.desk.lock();
        writing.begin(&mut desk.draft);
        desk.taken = writing.left();
        self.0.unsent.store(desk.taken, Ordering::Relaxed);
        desk.taken > 0
    }

    /// Notes how much of what was taken the peer has not taken yet.
    pub(crate) fn note_left(&self, left: usize) {
        let mut desk = self.0.desk.lock();
        desk.taken = left;
        self.0.unsent.store(desk.draft.len() + left, Ordering::Relaxed);
    }

    /// Ends a turn. To a task that waits for its peer to read, more to write is no work.
    pub(crate) fn rest(&self, waker: &Waker, seen: Wish, blocked: bool) -> Rest {
        let mut desk = self.0.desk.lock();
        if desk.wish != seen || (!blocked && !desk.draft.is_empty()) {
            return Rest::Work;
        }
        if !desk.waker.will_wake(waker) {
            desk.waker = waker.clone();
        }
        desk.asleep = true;
        Rest::Sleep(desk.pending.next_deadline())
    }

    /// Ends the calls whose time has come.
    pub(crate) fn expire_calls(&self, now: Timestamp) {
        let mut woken = Vec::new();
        self.0.desk.lock().pending.expire(now, &mut woken);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Gives back the memory of a calm connection.
    pub(crate) fn release(&self) {
        self.0.desk.lock().draft.release();
    }

    /// The task is gone: every call is lost, and who waits for the end is told.
    pub(crate) fn end(&self) {
        self.0.closed.advance(1);
        let mut woken = Vec::new();
        {
            let mut desk = self.0.desk.lock();
            desk.pending.close(&mut woken);
            desk.draft = Draft::default();
            desk.waker = Waker::noop().clone();
        }
        woken.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({}, {} to {})", self.0.id, self.0.local, self.0.peer)
    }
}

/// Where an answer goes.
#[derive(Clone, Copy)]
pub(crate) struct ReplyTo {
    pub(crate) opaque: i32,
    pub(crate) serialization: Serialization,
    pub(crate) one_way: bool,
    /// The request code, for logs.
    pub(crate) code: i32,
}
