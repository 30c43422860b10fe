// SPDX-License-Identifier: Apache-2.0
//! The task of one connection, on either end: read once, decode all, work on each request at once, write all answers in
//! one call. No other task takes part; what has to wait is parked here and dropped with the connection.
//! Servers and clients start it; it calls handlers through their router and never waits for one of them.
//! Invariants: memory is bounded by the limits; a peer that does not read, finish its frame or speak is closed.

mod alarm;
mod parked;
mod timing;

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use protocol::codes::ResponseCode;
use protocol::frame::{Decoder, Frame};
use protocol::request::DecodeError;
use stdx::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use crate::admission::{Class, Gate};
use crate::draft::Writing;
use crate::gather::{Ended, Gather, Gathers, Unreadable};
use crate::handle::{Connection, ReplyTo, Wish};
use crate::quiet::Quiet;
use crate::router::{Ctx, Handler, Routes};
use crate::stages::Stages;
use alarm::Alarm;
use parked::Parked;
use timing::Timing;

const READ_LEAST: usize = 4 << 10;
const READ_MOST: usize = 256 << 10;
/// Slices of one vectored write.
const SLICES: usize = 128;
/// Rounds of one turn, after which other connections of the worker have theirs.
const ROUNDS_A_TURN: usize = 8;
/// A peer that takes less than this within the write deadline does not read.
const READS_AT_LEAST: usize = 64 << 10;
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
    /// Buffers have been used since they were last given back.
    is_warm: bool,
}

/// A peer that does not take what is written.
struct Stall {
    since: Timestamp,
    /// What it took since then.
    taken: usize,
}

/// What a connection is served by and within.
pub(crate) struct Service {
    pub(crate) routes: Arc<Routes>,
    pub(crate) limits: Limits,
    pub(crate) gate: Gate,
    /// Where it is noted how long requests take, if anybody wants to know.
    pub(crate) stages: Option<Arc<Stages>>,
}

/// One connection with everything its task owns.
pub(crate) struct Link {
    stream: TcpStream,
    connection: Connection,
    routes: Arc<Routes>,
    limits: Limits,
    reading: Reading,
    writing: Writing,
    stall: Option<Stall>,
    /// The requests that are gathered.
    gathers: Gathers,
    parked: Parked,
    timing: Timing,
    alarm: Alarm,
    /// New requests are refused; what is under way may end.
    is_draining: bool,
    on_end: Box<dyn Fn(u64) + Send>,
}

impl Link {
    /// Prepares the task; the timer belongs to the runtime that this is called in.
    pub(crate) fn new(
        stream: TcpStream,
        connection: Connection,
        Service { routes, limits, gate, stages }: Service,
        on_end: Box<dyn Fn(u64) + Send>,
    ) -> Link {
        let reading = Reading {
            decoder: Decoder::new(limits.max_frame),
            input: BytesMut::new(),
            want: READ_LEAST,
            backlog: false,
            active: connection.clock().now(),
            is_warm: false,
        };
        let timing = Timing::new(stages, connection.clock().clone());
        Link {
            stream,
            connection,
            routes,
            limits,
            reading,
            writing: Writing::default(),
            stall: None,
            gathers: Gathers::default(),
            parked: Parked::new(gate),
            timing,
            alarm: Alarm::new(),
            is_draining: false,
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
        self.is_draining = wish == Wish::Drain;
        self.timing.wakes();
        self.finish_parked(cx);
        let progress = read_loop(self, cx)?;
        let was_choked = self.is_choked();
        write_loop(self, cx)?;
        if self.is_draining && self.is_drained() {
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
        let mut finished = false;
        while !self.is_choked()
            && let Some((class, begun)) = self.parked.finish(cx)
        {
            self.timing.waited(class, begun);
            finished = true;
        }
        if finished {
            self.reading.active = self.connection.clock().now();
        }
    }

    /// A draining connection ends once nothing but long polls is left.
    fn is_drained(&self) -> bool {
        self.connection.unsent() == 0 && self.parked.is_only_polls()
    }

    /// Decodes what was read and works on each frame; stops early when the peer does not take the answers.
    fn serve(&mut self, input: &mut BytesMut) -> Result<(), End> {
        let now = self.connection.clock().now();
        self.timing.read();
        let served = self.serve_all(input, now);
        finish_gathered(&mut self.gathers, &mut self.parked, &self.connection, &mut self.timing, now);
        served
    }

    fn serve_all(&mut self, input: &mut BytesMut, now: Timestamp) -> Result<(), End> {
        self.reading.backlog = false;
        loop {
            if self.is_choked() {
                self.reading.backlog = true;
                return Ok(());
            }
            let before = input.len();
            match self.next_frame(input) {
                Ok(Some(frame)) => {
                    self.reading.active = now;
                    self.timing.decoded();
                    self.take(frame, before - input.len(), now);
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

    /// Cuts the next frame off the input. On a connection whose requests wait, a small frame gets memory of its own, so
    /// that many that wait do not keep alive everything they were read with.
    fn next_frame(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        if let Some(length) = input.first_chunk::<4>().filter(|_| !self.parked.is_empty()) {
            let size = u32::from_be_bytes(*length) as usize + 4;
            if size <= READ_LEAST && size <= input.len() {
                let mut own = BytesMut::from(&input[..size]);
                input.advance(size);
                return self.reading.decoder.next(&mut own);
            }
        }
        self.reading.decoder.next(input)
    }

    /// Works on one frame as far as it goes without waiting.
    fn take(&mut self, frame: Frame, size: usize, now: Timestamp) {
        if frame.is_response() {
            return self.connection.complete(frame);
        }
        let to = ReplyTo::of(&frame);
        if self.is_draining {
            return to.refuse(&self.connection, ResponseCode::SERVICE_NOT_AVAILABLE, "the server is closing");
        }
        let Some((class, handler)) = self.routes.find(frame.code) else {
            let remark = format!("request code {} is not supported here", frame.code);
            return to.refuse(&self.connection, ResponseCode::REQUEST_CODE_NOT_SUPPORTED, &remark);
        };
        let permit = match self.parked.enter(class, size, now) {
            Ok(permit) => permit,
            Err(busy) => return to.shed(&self.connection, busy),
        };
        match handler {
            Handler::Together(make) => {
                let Link { gathers, parked, connection, timing, .. } = self;
                let gather =
                    gathers.of(class, frame.code, make, |other| work(other, parked, connection, timing, now));
                match gather.push(frame, to, permit) {
                    Ok(()) if gather.is_full() => work(gather, parked, connection, timing, now),
                    Ok(()) => {}
                    Err(Unreadable { name, error, permit }) => {
                        to.refuse_unreadable(connection, name, &error);
                        parked.leave(permit);
                    }
                }
            }
            Handler::Each(handler) => {
                finish_gathered(&mut self.gathers, &mut self.parked, &self.connection, &mut self.timing, now);
                let begun = self.timing.begins(1);
                let (ctx, body) = Ctx::of(frame, &self.connection, now);
                let is_answered = match handler(ctx, to, body) {
                    Some(work) => self.parked.start(work, permit, to, begun),
                    None => {
                        self.parked.leave(permit);
                        true
                    }
                };
                self.timing.answered(class, is_answered.into());
            }
        }
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
        self.parked.close();
        self.connection.end();
        (self.on_end)(self.connection.id());
    }
}

/// Works on all that was gathered. Nothing that came later is begun before it.
fn finish_gathered(
    gathers: &mut Gathers,
    parked: &mut Parked,
    connection: &Connection,
    timing: &mut Timing,
    now: Timestamp,
) {
    gathers.each(|gather| work(gather, parked, connection, timing, now));
}

fn work(
    gather: &mut dyn Gather,
    parked: &mut Parked,
    connection: &Connection,
    timing: &mut Timing,
    now: Timestamp,
) {
    let begun = timing.begins(gather.len());
    let (mut class, mut answered) = (Class::Send, 0);
    gather.work(connection, now, &mut |ended| match ended {
        Ended::Answered(permit) => {
            (class, answered) = (permit.class(), answered + 1);
            parked.leave(permit);
        }
        Ended::Waits(work, permit, to) => {
            class = permit.class();
            answered += usize::from(parked.start(work, permit, to, begun));
        }
    });
    timing.answered(class, answered);
}

/// Reads once and works on all that came. True when there may be more.
pub(crate) fn read_loop(link: &mut Link, cx: &mut Context<'_>) -> Result<bool, End> {
    if link.is_choked() {
        return Ok(false);
    }
    let mut input = std::mem::take(&mut link.reading.input);
    let mut progress = link.reading.backlog;
    if !progress {
        match poll_read(&link.reading, &mut link.stream, &mut input, cx) {
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
    if progress {
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
    // Back to the front of the buffer once all that was read is done: a small buffer used again is in the cache.
    if !input.try_reclaim(reading.want) && input.capacity() - input.len() < reading.want / 2 {
        input.reserve(reading.want);
    }
    pin!(stream.read_buf(input)).poll(cx)
}

impl Reading {
    fn adapt(&mut self, size: usize, was_filled: bool) {
        self.is_warm = true;
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
        if is_done {
            if link.connection.unsent() == 0 || !link.connection.take_draft(&mut link.writing) {
                link.stall = None;
                link.timing.rests();
                return Ok(());
            }
            link.timing.writes(link.writing.frames());
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = link.writing.slices(&mut slices);
        match Pin::new(&mut link.stream).poll_write_vectored(cx, &slices[..used]) {
            Poll::Ready(Ok(0)) => return Err(End::Closed),
            Poll::Ready(Ok(size)) => {
                link.writing.advance(size);
                link.went_on(size);
                if link.writing.is_done() {
                    link.timing.written();
                }
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
