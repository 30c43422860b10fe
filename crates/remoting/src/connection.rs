// SPDX-License-Identifier: Apache-2.0
//! The task of one connection, on either end: read once, decode all, work on each request at once, write all answers in
//! one call. No other task takes part; what has to wait is parked here and dropped with the connection.
//! Servers and clients start it; it calls handlers through their router and never waits for one of them.
//! Invariants: memory is bounded by the limits; a peer that does not read, finish its frame or speak is closed.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use protocol::codes::ResponseCode;
use protocol::frame::{Decoder, Frame};
use stdx::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::admission::{Class, Gate, Permit};
use crate::draft::Writing;
use crate::handle::{Connection, ReplyTo, Rest, Wish};
use crate::quiet::Quiet;
use crate::router::{self, Routes, Work};

const READ_LEAST: usize = 4 << 10;
const READ_MOST: usize = 256 << 10;
/// A read up to this size is copied to a buffer that fits, so that a parked request keeps little alive.
const COPIED_UP_TO: usize = 1 << 10;
/// Slices of one vectored write.
const SLICES: usize = 128;
/// Rounds of one turn, after which other connections of the worker have theirs.
const ROUNDS_A_TURN: usize = 8;
/// A buffer not used for this long is given back.
const CALM: Duration = Duration::from_secs(5);
/// A peer that takes less than this within the write deadline does not read.
const READS_AT_LEAST: usize = 64 << 10;
/// A timer with nothing to wait for.
const FAR: Duration = Duration::from_secs(3600);
/// Deadlines are not told apart below this.
const TICK: Duration = Duration::from_millis(5);
/// First byte of a TLS handshake; no frame that is small enough starts so.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a connection may take and how long its peer may keep it waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_frame: usize,
    /// No whole frame for this long ends the connection.
    pub(crate) idle: Option<Duration>,
    /// No progress of a write for this long ends it too.
    pub(crate) write_deadline: Duration,
    /// Nothing more is read while more than this is unsent.
    pub(crate) unsent: usize,
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// One of the two ends wanted it so.
    Closed,
    /// Nothing came for long.
    Idle,
    /// The socket broke.
    Failed(io::Error),
    /// The peer broke the rules.
    Broken(&'static str, String),
}

/// A request that waits for something.
struct Parked {
    work: Work,
    permit: Option<Permit>,
    to: ReplyTo,
}

impl Future for Parked {
    type Output = Option<Permit>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Permit>> {
        self.work.as_mut().poll(cx).map(|()| self.permit.take())
    }
}

/// What has been read and not yet decoded.
struct Reading {
    decoder: Decoder,
    input: BytesMut,
    /// How much to read at a time; follows what the peer sends at a time.
    want: usize,
    /// Input was left because too much was unsent.
    backlog: bool,
    /// When the last whole frame came or the last parked request ended.
    active: Timestamp,
}

/// A peer that does not take what is written.
struct Stall {
    since: Timestamp,
    /// What it took since then.
    taken: usize,
}

/// When something has to be done though nothing happens.
struct Alarm {
    timer: Pin<Box<Sleep>>,
    /// When the timer fires, on our clock.
    armed: Timestamp,
}

/// One connection with everything its task owns.
pub(crate) struct Link {
    stream: TcpStream,
    connection: Connection,
    routes: Arc<Routes>,
    limits: Limits,
    gate: Gate,
    reading: Reading,
    writing: Writing,
    stall: Option<Stall>,
    parked: FuturesUnordered<Parked>,
    /// No parked request is over before this.
    overdue: Option<Timestamp>,
    alarm: Alarm,
    on_end: Box<dyn Fn(u64) + Send>,
}

impl Link {
    /// Prepares the task; the timer belongs to the runtime that this is called in.
    pub(crate) fn new(
        stream: TcpStream,
        connection: Connection,
        routes: Arc<Routes>,
        limits: Limits,
        gate: Gate,
        on_end: Box<dyn Fn(u64) + Send>,
    ) -> Link {
        let active = connection.clock().now();
        let decoder = Decoder::new(limits.max_frame);
        Link {
            stream,
            connection,
            routes,
            limits,
            gate,
            reading: Reading { decoder, input: BytesMut::new(), want: READ_LEAST, backlog: false, active },
            writing: Writing::default(),
            stall: None,
            parked: FuturesUnordered::new(),
            overdue: None,
            alarm: Alarm { timer: Box::pin(tokio::time::sleep(FAR)), armed: Timestamp(i64::MAX) },
            on_end,
        }
    }

    /// Runs until the connection ends.
    pub(crate) async fn run(mut self) {
        let end = std::future::poll_fn(|cx| self.turn(cx)).await;
        self.report(&end);
    }

    /// One wake-up: everything that can be done now.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..ROUNDS_A_TURN {
            let wish = self.connection.rise();
            let rests = match self.round(wish, cx) {
                Ok(true) => Ok(false),
                Ok(false) => self.rest(wish, cx),
                Err(end) => Err(end),
            };
            match rests {
                Ok(true) => return Poll::Pending,
                Ok(false) => {}
                Err(end) => {
                    // What was answered before the end is still offered to the peer, once.
                    let _ = write_loop(self, cx);
                    return Poll::Ready(end);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Finishes what was parked, reads once, writes all. True when another round may find more.
    fn round(&mut self, wish: Wish, cx: &mut Context<'_>) -> Result<bool, End> {
        if wish == Wish::Close {
            return Err(End::Closed);
        }
        let was_choked = self.is_choked();
        self.finish_parked(cx);
        let progress = wish == Wish::Serve && read_loop(self, cx)?;
        write_loop(self, cx)?;
        if wish == Wish::Drain && self.is_drained() {
            return Err(End::Closed);
        }
        // A choked round has not looked at everything, so nothing would wake the task for it.
        Ok(progress || was_choked && !self.is_choked())
    }

    /// The peer reads too slowly for more answers.
    fn is_choked(&self) -> bool {
        self.connection.unsent() > self.limits.unsent
    }

    fn finish_parked(&mut self, cx: &mut Context<'_>) {
        while !self.parked.is_empty() && !self.is_choked() {
            let Poll::Ready(Some(permit)) = self.parked.poll_next_unpin(cx) else { return };
            permit.into_iter().for_each(|permit| self.gate.leave(permit));
            self.reading.active = self.connection.clock().now();
        }
    }

    /// A draining connection ends once nothing but long polls is left.
    fn is_drained(&self) -> bool {
        let is_poll =
            |parked: &Parked| parked.permit.as_ref().is_some_and(|permit| permit.class() == Class::Pull);
        self.connection.unsent() == 0 && self.parked.iter().all(is_poll)
    }

    /// Decodes what was read and works on each frame; stops early when the peer does not take the answers.
    fn serve(&mut self, input: &mut BytesMut) -> Result<(), End> {
        let now = self.connection.clock().now();
        self.reading.backlog = false;
        loop {
            if self.is_choked() {
                self.reading.backlog = true;
                return Ok(());
            }
            match self.reading.decoder.next(input) {
                Ok(Some(frame)) => {
                    self.reading.active = now;
                    self.take(frame, now);
                }
                Ok(None) => return Ok(()),
                Err(_) if input.first() == Some(&TLS_HANDSHAKE) => {
                    return Err(End::Broken("the peer speaks TLS and this port does not", String::new()));
                }
                Err(error) => {
                    return Err(End::Broken("the peer does not speak the protocol", error.to_string()));
                }
            }
        }
    }

    /// Works on one frame as far as it goes without waiting.
    fn take(&mut self, frame: Frame, now: Timestamp) {
        if frame.is_response() {
            return self.connection.complete(frame);
        }
        let to = ReplyTo::of(&frame);
        let Some((class, handler)) = self.routes.find(frame.code) else {
            let remark = format!("request code {} is not supported here", frame.code);
            return to.refuse(&self.connection, ResponseCode::REQUEST_CODE_NOT_SUPPORTED, &remark);
        };
        let permit = match self.gate.enter(class, frame.body.len(), now) {
            Ok(permit) => permit,
            Err(busy) => return to.shed(&self.connection, busy),
        };
        let Some(mut work) = router::route(handler, &self.connection, frame, now) else {
            return self.gate.leave(permit);
        };
        // Polled without a waker: work that has to wait is polled again right away, by the set it is parked in.
        match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(()) => self.gate.leave(permit),
            Poll::Pending => self.park(work, permit, to),
        }
    }

    fn park(&mut self, work: Work, mut permit: Permit, to: ReplyTo) {
        self.gate.park(&mut permit);
        self.overdue = self.overdue.into_iter().chain(permit.expires()).min();
        self.parked.push(Parked { work, permit: Some(permit), to });
    }

    /// Gives up on requests that waited longer than the door allows.
    fn sweep(&mut self, now: Timestamp) {
        if self.overdue.is_none_or(|overdue| overdue > now) {
            return;
        }
        self.overdue = None;
        for mut parked in std::mem::take(&mut self.parked) {
            let Some(permit) = parked.permit.take() else { continue };
            if permit.expires().is_some_and(|expires| expires <= now) {
                self.gate.leave(permit);
                let remark = "[TIMEOUT_CLEAN_QUEUE] the request waited longer than the server allows";
                parked.to.refuse(&self.connection, ResponseCode::SYSTEM_BUSY, remark);
                continue;
            }
            self.overdue = self.overdue.into_iter().chain(permit.expires()).min();
            parked.permit = Some(permit);
            self.parked.push(parked);
        }
    }

    /// Prepares to sleep. False when there is something to do after all.
    fn rest(&mut self, wish: Wish, cx: &mut Context<'_>) -> Result<bool, End> {
        if !self.gate.stuck(self.stuck_bytes()) {
            return Err(End::Broken("too much is kept for peers that do not go on", String::new()));
        }
        let blocked = !self.writing.is_done();
        let Rest::Sleep(calls_due) = self.connection.rest(cx.waker(), wish, blocked) else {
            return Ok(false);
        };
        let due = self.next_due(calls_due);
        if due >= self.alarm.armed && !self.alarm.timer.is_elapsed() {
            return Ok(true);
        }
        let now = self.connection.clock().now();
        if due <= now {
            // Moves every deadline that has passed, so the next look arms the timer.
            self.on_alarm(now)?;
            return Ok(false);
        }
        self.alarm.arm(due, now, cx);
        Ok(true)
    }

    fn stuck_bytes(&self) -> usize {
        let unfinished = if self.reading.input.len() > READ_LEAST { self.reading.input.len() } else { 0 };
        unfinished + self.writing.left()
    }

    fn next_due(&self, calls_due: Option<Timestamp>) -> Timestamp {
        let active = self.reading.active;
        let idle = self.limits.idle.filter(|_| self.parked.is_empty()).map(|idle| active + idle);
        let stalled = self.stall.as_ref().map(|stall| stall.since + self.limits.write_deadline);
        let calm = self.reading.has_room().then(|| active + CALM);
        let all = [idle, stalled, calm, calls_due, self.overdue];
        all.into_iter().flatten().min().unwrap_or(active + FAR)
    }

    fn on_alarm(&mut self, now: Timestamp) -> Result<(), End> {
        let passed = |since: Timestamp, time: Duration| since + time <= now;
        if self.stall.as_ref().is_some_and(|stall| passed(stall.since, self.limits.write_deadline)) {
            return Err(End::Broken(
                "the peer does not read",
                format!("{} bytes are unsent", self.connection.unsent()),
            ));
        }
        let idle = self.limits.idle.filter(|_| self.parked.is_empty());
        if idle.is_some_and(|idle| passed(self.reading.active, idle)) {
            return Err(End::Idle);
        }
        self.connection.expire_calls(now);
        self.sweep(now);
        if passed(self.reading.active, CALM) {
            self.release();
        }
        Ok(())
    }

    /// Gives back the memory of a calm connection.
    fn release(&mut self) {
        let left = std::mem::take(&mut self.reading.input);
        if !left.is_empty() {
            self.reading.input = BytesMut::from(&left[..]);
        }
        self.reading.want = READ_LEAST;
        self.writing.release();
    }

    fn report(&self, end: &End) {
        let peer = self.connection.peer();
        match end {
            End::Closed => tracing::debug!(%peer, "connection closed"),
            End::Idle => tracing::debug!(%peer, "idle connection closed"),
            End::Failed(error) => tracing::debug!(%peer, %error, "connection failed"),
            End::Broken(what, detail) => {
                static BROKEN: Quiet = Quiet::new();
                if let Some(unsaid) = BROKEN.speak(self.connection.clock().now()) {
                    tracing::warn!(%peer, %detail, unsaid, "connection given up: {what}");
                }
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Whoever is told of the end finds nothing of it left.
        self.parked.clear();
        self.gate.close();
        self.connection.end();
        (self.on_end)(self.connection.id());
    }
}

impl Alarm {
    fn arm(&mut self, due: Timestamp, now: Timestamp, cx: &mut Context<'_>) {
        self.armed = due;
        self.timer.as_mut().reset(Instant::now() + due.since(now).max(TICK));
        // Registers the waker; a timer just set has not fired.
        let _ = self.timer.as_mut().poll(cx);
    }
}

/// Reads once and works on all that came. True when there may be more.
pub(crate) fn read_loop(link: &mut Link, cx: &mut Context<'_>) -> Result<bool, End> {
    if link.is_choked() {
        return Ok(false);
    }
    let mut input = std::mem::take(&mut link.reading.input);
    let held = input.len();
    let mut progress = link.reading.backlog;
    if !progress {
        let read = poll_read(&link.reading, &mut link.stream, &mut input, cx);
        match read {
            Poll::Pending => {}
            Poll::Ready(Ok(0)) => return Err(End::Closed),
            Poll::Ready(Ok(size)) => {
                let was_filled = input.capacity() == input.len();
                link.reading.adapt(size, was_filled);
                progress = true;
            }
            Poll::Ready(Err(error)) => return Err(End::Failed(error)),
        }
    }
    if progress && held == 0 && input.len() <= COPIED_UP_TO {
        let mut small = BytesMut::from(&input[..]);
        input.clear();
        link.serve(&mut small)?;
        input.extend_from_slice(&small);
    } else if progress {
        link.serve(&mut input)?;
    }
    link.reading.input = input;
    Ok(progress)
}

fn poll_read(
    reading: &Reading,
    stream: &mut TcpStream,
    input: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if input.capacity() == input.len() {
        // A silent connection holds no buffer.
        std::task::ready!(stream.poll_read_ready(cx))?;
    }
    if input.capacity() - input.len() < reading.want / 2 {
        input.reserve(reading.want);
    }
    pin!(stream.read_buf(input)).poll(cx)
}

impl Reading {
    /// A buffer is held beyond what is in it.
    fn has_room(&self) -> bool {
        self.input.capacity() > self.input.len()
    }

    fn adapt(&mut self, size: usize, was_filled: bool) {
        if was_filled {
            self.want = (self.want * 2).min(READ_MOST);
        } else if size < self.want / 4 {
            self.want = (self.want / 2).max(READ_LEAST);
        }
    }
}

/// Writes until all is written or the peer takes no more.
pub(crate) fn write_loop(link: &mut Link, cx: &mut Context<'_>) -> Result<(), End> {
    loop {
        let is_done = link.writing.is_done();
        if is_done && (link.connection.unsent() == 0 || !link.connection.take_draft(&mut link.writing)) {
            link.stall = None;
            return Ok(());
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = link.writing.slices(&mut slices);
        match Pin::new(&mut link.stream).poll_write_vectored(cx, &slices[..used]) {
            Poll::Ready(Ok(0)) => return Err(End::Closed),
            Poll::Ready(Ok(size)) => {
                link.writing.advance(size);
                link.went_on(size);
            }
            Poll::Ready(Err(error)) => return Err(End::Failed(error)),
            Poll::Pending => {
                link.connection.note_left(link.writing.left());
                let since = || Stall { since: link.connection.clock().now(), taken: 0 };
                link.stall.get_or_insert_with(since);
                return Ok(());
            }
        }
    }
}

impl Link {
    /// Starts the write deadline anew once the peer has taken enough.
    fn went_on(&mut self, size: usize) {
        if let Some(stall) = &mut self.stall {
            stall.taken += size;
            if stall.taken >= READS_AT_LEAST {
                self.stall = None;
            }
        }
    }
}
