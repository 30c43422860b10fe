// SPDX-License-Identifier: Apache-2.0
//! A small role for the tests: requests that echo, wait, call back and answer at length, and raw sockets to send them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::codes::ResponseCode;
use protocol::frame::{self, Decoder, Frame, Head, ONE_WAY};
use protocol::request::{DecodeError, Header, Request};
use protocol::{Fields, FieldsOut};
use remoting::{
    Asked, Class, Client, ClientConfig, Connection, Ctx, Refusal, Reply, Router, Server, ServerConfig, Turn,
};
use stdx::{Clock, SystemClock, Watermark};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A header with one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) u32);

impl Header for Number {
    fn decode(fields: &Fields) -> Result<Number, DecodeError> {
        let missing = || DecodeError { at: 0, what: "field 'number' is missing or no number".into() };
        fields.get("number").and_then(|text| text.parse().ok()).map(Number).ok_or_else(missing)
    }
    fn encode(&self, out: &mut FieldsOut<'_>) {
        out.put_text("number", &self.0.to_string());
    }
}

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident = $code:literal)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name(pub(crate) u32);

        impl Header for $name {
            fn decode(fields: &Fields) -> Result<$name, DecodeError> {
                Number::decode(fields).map(|number| $name(number.0))
            }
            fn encode(&self, out: &mut FieldsOut<'_>) {
                Number(self.0).encode(out);
            }
        }

        impl Request for $name {
            const CODE: i32 = $code;
            const NAME: &'static str = stringify!($name);
            type Reply = Number;
        }
    )+};
}

requests! {
    /// Answers at once with the same number and body.
    Echo = 1001
    /// Answers once the hall is open past the number; counted in the budget.
    Wait = 1002
    /// The same, as a long poll that is answered with its own body.
    Poll = 1003
    /// Asks back with an `Echo` and answers with what it got.
    AskBack = 1004
    /// Answers with that many bytes, in pieces of 10,000.
    Fill = 1005
    /// Is refused with its number as the code.
    Refuse = 1006
    /// Sends a one-way `Echo` back and answers.
    NotifyBack = 1007
    /// Worked on together with those of one read; odd numbers are answered once the hall is open past them.
    Gather = 1008
    /// The same, of a class of its own.
    Aside = 1009
    /// Answers with the name of the thread that it is worked on by.
    Where = 1010
    /// Answered by nobody.
    Unknown = 1999
    /// Its code has more than 16 bits.
    Large = 200_050
    /// As an answer: success.
    Success = 0
}

/// The state of the role, in numbers that rise.
#[derive(Default)]
pub(crate) struct Hall {
    /// Waiters below it may go.
    pub(crate) open: Watermark,
    pub(crate) echoed: Counter,
    pub(crate) waiting: Counter,
    pub(crate) left: Counter,
    pub(crate) filled: Counter,
    pub(crate) closed: Counter,
}

/// Counts events, so that a test can wait for the n-th.
#[derive(Default)]
pub(crate) struct Counter {
    count: AtomicU64,
    mark: Watermark,
}

impl Counter {
    pub(crate) fn add(&self) {
        self.mark.advance(self.count.fetch_add(1, Ordering::SeqCst) + 1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    pub(crate) async fn reaches(&self, count: u64) {
        within(self.mark.reached(count)).await.expect("never closed");
    }
}

/// Counts the end of a future, however it ends.
struct Leaves(Arc<Hall>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.left.add();
    }
}

type Answer = Result<Reply<Number>, Refusal>;

async fn echo(hall: Arc<Hall>, _: Ctx, request: Echo, body: Bytes) -> Answer {
    hall.echoed.add();
    Ok(Reply::ok(Number(request.0)).with_body(body))
}

async fn place(_: Arc<Hall>, _: Ctx, request: Where, _: Bytes) -> Answer {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    Ok(Reply::ok(Number(request.0)).with_body(Bytes::from(name)))
}

async fn stay(hall: Arc<Hall>, number: u32) -> Answer {
    let leaves = Leaves(hall.clone());
    hall.waiting.add();
    let _ = hall.open.reached(u64::from(number) + 1).await;
    drop(leaves);
    Ok(Reply::ok(Number(number)))
}

async fn wait(hall: Arc<Hall>, _: Ctx, request: Wait, _: Bytes) -> Answer {
    stay(hall, request.0).await
}

async fn poll(hall: Arc<Hall>, _: Ctx, request: Poll, body: Bytes) -> Answer {
    stay(hall, request.0).await.map(|reply| reply.with_body(body))
}

async fn ask_back(_: Arc<Hall>, ctx: Ctx, request: AskBack, body: Bytes) -> Answer {
    let failed = |error: remoting::CallError| Refusal::new(ResponseCode::SYSTEM_ERROR, error.to_string());
    let asked = ctx.connection.call(&Echo(request.0 + 1), body, PATIENCE).await.map_err(failed)?;
    let (header, body) = asked.ok().map_err(failed)?;
    Ok(Reply::ok(header).with_body(body))
}

async fn notify_back(_: Arc<Hall>, ctx: Ctx, request: NotifyBack, _: Bytes) -> Answer {
    let _ = ctx.connection.notify(&Echo(request.0), ());
    Ok(Reply::ok(Number(request.0)))
}

async fn fill(hall: Arc<Hall>, _: Ctx, request: Fill, _: Bytes) -> Answer {
    hall.filled.add();
    let whole = Bytes::from((0..request.0).map(|n| n as u8).collect::<Vec<u8>>());
    let pieces: Vec<Bytes> =
        (0..whole.len()).step_by(10_000).map(|at| whole.slice(at..whole.len().min(at + 10_000))).collect();
    Ok(Reply::ok(Number(request.0)).with_body(pieces))
}

async fn refuse(_: Arc<Hall>, _: Ctx, request: Refuse, _: Bytes) -> Answer {
    Err(Refusal::new(ResponseCode(request.0 as i32), "because it was asked to"))
}

/// The body of an answer names the numbers that were asked together.
fn gather(
    hall: &Arc<Hall>,
    _: &Turn,
    asked: &mut Vec<Asked<Gather>>,
    answers: &mut Vec<remoting::Answer<Number>>,
) {
    let numbers: Vec<String> = asked.iter().map(|asked| asked.request.0.to_string()).collect();
    let numbers = Bytes::from(numbers.join(" "));
    answers.extend(asked.drain(..).map(|asked| {
        let number = asked.request.0;
        if number % 2 == 0 {
            return remoting::Answer::Now(Ok(Reply::ok(Number(number)).with_body(numbers.clone())));
        }
        let hall = hall.clone();
        remoting::Answer::Later(Box::pin(async move { stay(hall, number).await }))
    }));
}

fn aside(
    _: &Arc<Hall>,
    _: &Turn,
    asked: &mut Vec<Asked<Aside>>,
    answers: &mut Vec<remoting::Answer<Number>>,
) {
    let mark = |asked: &Asked<Aside>| if asked.one_way { "!" } else { "" };
    let numbers: Vec<String> =
        asked.iter().map(|asked| format!("{}{}", asked.request.0, mark(asked))).collect();
    let numbers = Bytes::from(numbers.join(" "));
    let answer = |asked: Asked<Aside>| {
        remoting::Answer::Now(Ok(Reply::ok(Number(asked.request.0)).with_body(numbers.clone())))
    };
    answers.extend(asked.drain(..).map(answer));
}

pub(crate) fn router() -> Router<Hall> {
    Router::new()
        .class(Class::Client)
        .on_together(gather)
        .class(Class::Settle)
        .on_together(aside)
        .class(Class::Client)
        .on(echo)
        .on(place)
        .on(ask_back)
        .on(notify_back)
        .on(refuse)
        .class(Class::Send)
        .on(wait)
        .class(Class::Pull)
        .on(poll)
        .on(fill)
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

/// A server with the role, and what it needs.
pub(crate) struct Site {
    pub(crate) hall: Arc<Hall>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) server: Server,
}

impl Site {
    pub(crate) fn open(config: ServerConfig) -> Site {
        Site::open_at("127.0.0.1:0", config)
    }

    pub(crate) fn open_at(address: &str, config: ServerConfig) -> Site {
        let hall = Arc::new(Hall::default());
        let clock = SystemClock::new();
        let told = hall.clone();
        let address = address.parse().expect("an address");
        let on_close = Arc::new(move |_| told.closed.add());
        let server = Server::bind(address, config, router(), hall.clone(), clock.clone(), on_close);
        Site { hall, clock, server: server.expect("a free port") }
    }

    pub(crate) fn address(&self) -> String {
        self.server.local_addr().to_string()
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with(ClientConfig::default())
    }

    pub(crate) fn client_with(&self, config: ClientConfig) -> Client {
        Client::new(config, self.clock.clone(), router(), Arc::new(Hall::default()))
    }

    pub(crate) async fn dial(&self) -> Connection {
        self.client().dial(&self.address()).await.expect("a connection")
    }

    pub(crate) async fn raw(&self) -> Raw {
        let stream = within(TcpStream::connect(self.address())).await.expect("a connection");
        Raw { stream, input: BytesMut::new(), decoder: Decoder::default() }
    }

    /// Waits until that many requests are counted as waiting; a handler is entered a moment before.
    pub(crate) async fn holds(&self, waiting: usize) {
        within(async {
            while self.server.usage().waiting != waiting {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Proves that the server still serves others.
    pub(crate) async fn is_well(&self) {
        let connection = self.dial().await;
        let answer = within(connection.call(&Echo(7), vec![7; 100], PATIENCE)).await;
        let (header, body) = answer.expect("an answer").ok().expect("success");
        assert_eq!((header, body.len()), (Number(7), 100));
    }
}

/// Two workers, so that connections meet on one and live on several.
pub(crate) fn config() -> ServerConfig {
    ServerConfig { workers: 2, ..ServerConfig::default() }
}

/// A socket without a client around it.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    input: BytesMut,
    decoder: Decoder,
}

impl Raw {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.expect("it is taken");
    }

    /// The next frame, or `None` once the peer has closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.input).expect("a frame") {
                return Some(frame);
            }
            match within(self.stream.read_buf(&mut self.input)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

pub(crate) fn encode<R: Request>(opaque: i32, one_way: bool, request: &R, body: &[u8]) -> Vec<u8> {
    encode_as(if one_way { ONE_WAY } else { 0 }, opaque, request, body)
}

pub(crate) fn encode_as<R: Request>(flag: i32, opaque: i32, request: &R, body: &[u8]) -> Vec<u8> {
    let head = Head { code: R::CODE, opaque, flag, version: 513, ..Head::default() };
    let mut out = BytesMut::new();
    frame::encode(&head, request, body.len(), &mut out).expect("it fits");
    out.extend_from_slice(body);
    out.to_vec()
}
