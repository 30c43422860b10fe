// SPDX-License-Identifier: Apache-2.0
//! The faces of the name server: header and body in, a call of the server, reply out. One file per subject.

pub(crate) mod brokers;
pub(crate) mod route;
pub(crate) mod settings;
pub(crate) mod topics;

use protocol::caps;
use protocol::codes::ResponseCode;
use remoting::{Refusal, Reply};

/// Room for the header beside a body.
const HEADROOM: usize = 64 << 10;

/// A reply with a body, or a refusal where the body does not fit a frame: a client would drop the connection.
fn fitting<H>(header: H, body: Vec<u8>, what: &str) -> Result<Reply<H>, Refusal> {
    let max = caps::MAX_FRAME - HEADROOM;
    if body.len() > max {
        let remark = format!("{what} takes {} bytes, at most {max} fit an answer", body.len());
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
    }
    Ok(Reply::ok(header).with_body(body))
}
