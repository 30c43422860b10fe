// SPDX-License-Identifier: Apache-2.0
//! A small HTTP server: GET of a few paths, each answered from memory. One thread serves all; who asks too slowly, too
//! much or too often is sent away.
//! Invariants: at most [`AT_ONCE`] connections, each for [`PATIENCE`] and one request; none takes more than [`HEAD_MAX`]
//! for what it asks.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::TcpListener as Listener;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use stdx::Threads;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::PATIENCE;

/// Connections that are served at a time; one more is told so.
const AT_ONCE: usize = 32;
/// Bytes of a request, the body left out, which nobody reads.
const HEAD_MAX: usize = 8192;
/// The pause after a failed accept, mostly for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 43\r\n\
                      connection: close\r\nretry-after: 5\r\n\r\nas many ask for figures as may, come again\n";

/// What a path is answered with.
pub(super) struct Answer {
    pub(super) kind: &'static str,
    pub(super) body: Vec<u8>,
}

/// Starts the thread that serves `listener` until `closing` is told. `answer` is asked for each path.
pub(super) fn serve(
    threads: &mut Threads,
    (listener, closing): (Listener, Arc<Notify>),
    answer: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    threads.spawn("metrics", move |_| runtime.block_on(accept(listener, &closing, Arc::new(answer))))
}

async fn accept<F>(listener: TcpListener, closing: &Notify, answer: Arc<F>)
where
    F: Fn(&str) -> Option<Answer> + Send + Sync + 'static,
{
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.notified() => return,
        };
        match accepted {
            Ok((stream, _)) => match room.clone().try_acquire_owned() {
                Ok(permit) => drop(tokio::spawn(one(stream, permit, answer.clone()))),
                Err(_) => turn_away(stream),
            },
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Says that there is no room, if that can be said without waiting.
fn turn_away(stream: TcpStream) {
    // A fresh connection takes so little at once; where it does not, closing says the same.
    let _ = stream.into_std().and_then(|mut stream| stream.write_all(FULL));
}

/// Serves one connection for as long as it may take.
async fn one<F>(stream: TcpStream, _permit: OwnedSemaphorePermit, answer: Arc<F>)
where
    F: Fn(&str) -> Option<Answer>,
{
    let respond = |request: Request<Incoming>| {
        let response = respond(&request, &*answer);
        async move { Ok::<_, Infallible>(response) }
    };
    let served = http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    match tokio::time::timeout(PATIENCE, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request for figures failed"),
        Err(_) => tracing::debug!("a request for figures took too long"),
    }
}

fn respond(request: &Request<Incoming>, answer: &impl Fn(&str) -> Option<Answer>) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, kind, body) = if !is_read {
        (StatusCode::METHOD_NOT_ALLOWED, super::TEXT, b"figures are read with GET\n".to_vec())
    } else if let Some(Answer { kind, body }) = answer(request.uri().path()) {
        (StatusCode::OK, kind, body)
    } else {
        (StatusCode::NOT_FOUND, super::TEXT, b"there are /metrics, /stages and /pauses\n".to_vec())
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    if !is_read {
        headers.insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
    }
    response
}
