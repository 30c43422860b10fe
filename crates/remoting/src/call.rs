// SPDX-License-Identifier: Apache-2.0
//! The future of an answer, and the answer. A call is one slot in its connection's table: no task, no channel.

use std::future::Future;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use protocol::codes::ResponseCode;
use protocol::frame::Frame;
use protocol::names::ByteStr;
use protocol::request::Header;

use crate::error::CallError;
use crate::handle::Connection;
use crate::pending::Ended;

/// A request under way. It was sent when this was made; dropping it forgets the answer.
#[must_use = "without it the answer is dropped; use notify for requests without one"]
pub struct Call<H> {
    connection: Connection,
    code: i32,
    timeout: Duration,
    state: State,
    header: PhantomData<fn() -> H>,
}

enum State {
    Waiting(i32),
    Failed(CallError),
    Done,
}

impl<H> Call<H> {
    pub(crate) fn new(
        connection: Connection,
        code: i32,
        timeout: Duration,
        started: Result<i32, CallError>,
    ) -> Call<H> {
        let state = started.map_or_else(State::Failed, State::Waiting);
        Call { connection, code, timeout, state, header: PhantomData }
    }

    fn end(&self, ended: Ended<Frame>) -> Result<Response<H>, CallError> {
        let (peer, code) = (self.connection.peer(), self.code);
        match ended {
            Ended::Answered(frame) => Ok(Response { frame, peer, request: code, header: PhantomData }),
            Ended::Expired => Err(CallError::Timeout { peer, code, after: self.timeout }),
            Ended::Lost => Err(CallError::Closed { peer, code }),
        }
    }
}

impl<H> Future for Call<H> {
    type Output = Result<Response<H>, CallError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Waiting(opaque) = self.state {
            let Some(ended) = self.connection.poll_call(opaque, cx.waker()) else { return Poll::Pending };
            self.state = State::Done;
            return Poll::Ready(self.end(ended));
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Failed(error) => Poll::Ready(Err(error)),
            State::Waiting(_) | State::Done => Poll::Ready(self.end(Ended::Lost)),
        }
    }
}

impl<H> Drop for Call<H> {
    fn drop(&mut self) {
        if let State::Waiting(opaque) = self.state {
            self.connection.forget_call(opaque);
        }
    }
}

/// An answer, whatever its code. The header is read when asked for: refusals mostly have none.
pub struct Response<H> {
    frame: Frame,
    peer: SocketAddr,
    request: i32,
    header: PhantomData<fn() -> H>,
}

impl<H: Header> Response<H> {
    /// The response code.
    pub fn code(&self) -> ResponseCode {
        ResponseCode(self.frame.code)
    }

    /// The peer's sentence.
    pub fn remark(&self) -> Option<&ByteStr> {
        self.frame.remark.as_ref()
    }

    /// The bytes after the header.
    pub fn body(&self) -> &Bytes {
        &self.frame.body
    }

    /// The frame as it came.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Reads the header, whatever the code.
    pub fn header(&self) -> Result<H, CallError> {
        self.frame.decode().map_err(|error| CallError::Decode { peer: self.peer, code: self.request, error })
    }

    /// Returns header and body of a success; any other code is a refusal.
    pub fn ok(self) -> Result<(H, Bytes), CallError> {
        if self.code() != ResponseCode::SUCCESS {
            return Err(self.refused());
        }
        Ok((self.header()?, self.frame.body))
    }

    /// Turns the answer into the refusal it is, for callers that know more codes than success.
    pub fn refused(&self) -> CallError {
        CallError::Refused {
            peer: self.peer,
            code: self.request,
            refusal: self.code(),
            remark: self.remark().map(|remark| remark.to_string()).unwrap_or_default(),
        }
    }
}
