// SPDX-License-Identifier: Apache-2.0
//! How a call can fail: what, where and why. Built by connections and clients, read by everyone who calls.

use std::net::SocketAddr;
use std::time::Duration;

use protocol::codes::ResponseCode;
use protocol::frame::EncodeError;
use protocol::request::DecodeError;

/// A call without a successful answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// No connection could be made; nothing was sent.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// As the caller wrote it.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The answer did not come in time; the request may have been done.
    #[error("{peer} did not answer request {code} within {} ms", after.as_millis())]
    Timeout {
        /// The other end.
        peer: SocketAddr,
        /// The request code.
        code: i32,
        /// How long the caller was willing to wait.
        after: Duration,
    },
    /// The connection closed before the answer; the request may have been done.
    #[error("the connection to {peer} closed before request {code} was answered")]
    Closed {
        /// The other end.
        peer: SocketAddr,
        /// The request code.
        code: i32,
    },
    /// Too much is under way to this peer already; nothing was sent.
    #[error("{in_flight} calls and {unsent} unsent bytes are under way to {peer}: no more are taken")]
    TooMany {
        /// The other end.
        peer: SocketAddr,
        /// Unanswered calls.
        in_flight: usize,
        /// Bytes the peer has not taken yet.
        unsent: usize,
    },
    /// The peer answered that it will not do it.
    #[error("{peer} refused request {code}: {} {remark}", refusal.0)]
    Refused {
        /// The other end.
        peer: SocketAddr,
        /// The request code.
        code: i32,
        /// The response code.
        refusal: ResponseCode,
        /// The peer's sentence.
        remark: String,
    },
    /// The answer's header is not what this request is answered with.
    #[error("the answer of {peer} to request {code} cannot be read: {error}")]
    Decode {
        /// The other end.
        peer: SocketAddr,
        /// The request code.
        code: i32,
        /// What is wrong and where.
        error: DecodeError,
    },
    /// The request does not fit the protocol; nothing was sent.
    #[error("request {code} cannot be written: {error}")]
    Encode {
        /// The request code.
        code: i32,
        /// What is wrong.
        error: EncodeError,
    },
}

impl CallError {
    /// The response code of a refusal.
    pub fn refusal(&self) -> Option<ResponseCode> {
        match self {
            CallError::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }

    /// Returns true when the request has certainly not been sent.
    pub fn is_unsent(&self) -> bool {
        matches!(self, CallError::Connect { .. } | CallError::TooMany { .. } | CallError::Encode { .. })
    }
}
