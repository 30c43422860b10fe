// SPDX-License-Identifier: Apache-2.0
//! Any bytes sent to a server as one connection, in pieces: no panic, every answer is a whole frame, nothing is kept
//! after the end, and another client is answered all the while.
#![no_main]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use protocol::frame::{self, Decoder, Head};
use protocol::heartbeat::UnregisterClient;
use protocol::pull::PullMessage;
use protocol::request::Request;
use protocol::send::{SendMessage, SendMessageV2};
use remoting::{Class, Ctx, Refusal, Reply, Router, Server, ServerConfig};
use stdx::SystemClock;

/// Answers at once with what it got.
async fn echo<R: Request<Reply = ()>>(_: Arc<()>, _: Ctx, _: R, body: Bytes) -> Result<Reply<()>, Refusal> {
    Ok(Reply::ok(()).with_body(body))
}

/// Waits for ever: dropped with its connection.
async fn wait<R: Request>(_: Arc<()>, _: Ctx, _: R, _: Bytes) -> Result<Reply<R::Reply>, Refusal> {
    std::future::pending().await
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let router = Router::new()
        .class(Class::Client)
        .on(echo::<UnregisterClient>)
        .class(Class::Send)
        .on(wait::<SendMessage>)
        .on(wait::<SendMessageV2>)
        .class(Class::Pull)
        .on(wait::<PullMessage>);
    let config = ServerConfig { workers: 1, max_frame: 1 << 20, ..ServerConfig::default() };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Server::bind(any, config, router, Arc::new(()), SystemClock::new(), Arc::new(|_| {})).expect("a port")
});

fn connect() -> TcpStream {
    let stream = TcpStream::connect(SERVER.local_addr()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// Reads frames until `enough` have come or the server has closed.
fn answers(stream: &mut TcpStream, enough: usize) -> usize {
    let (mut decoder, mut input, mut count) = (Decoder::default(), BytesMut::new(), 0);
    let mut piece = [0; 64 << 10];
    loop {
        while let Some(frame) = decoder.next(&mut input).expect("whole frames") {
            assert!(frame.is_response());
            count += 1;
        }
        if count >= enough {
            return count;
        }
        match stream.read(&mut piece) {
            Ok(0) => return count,
            Ok(size) => input.extend_from_slice(&piece[..size]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return count,
            Err(error) => panic!("the server neither answers nor closes: {error}"),
        }
    }
}

/// A request without its fields; the refusal is an answer like any other.
fn probe() -> Vec<u8> {
    let head = Head { code: UnregisterClient::CODE, ..Head::default() };
    let mut out = BytesMut::new();
    frame::encode(&head, &(), 0, &mut out).expect("it fits");
    out.to_vec()
}

fuzz_target!(|data: &[u8]| {
    let Some((step, bytes)) = data.split_first() else { return };
    let mut stream = connect();
    for piece in bytes.chunks(usize::from(*step) + 1) {
        // The server may have closed already.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    answers(&mut stream, usize::MAX);
    drop(stream);

    let mut other = connect();
    other.write_all(&probe()).expect("it is taken");
    assert_eq!(answers(&mut other, 1), 1);
    let usage = SERVER.usage();
    assert_eq!((usage.waiting, usage.waiting_bytes), (0, 0));
});
