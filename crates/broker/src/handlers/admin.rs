// SPDX-License-Identifier: Apache-2.0
//! The remoting faces of what operators can do, one file for each subject of `ops/admin`.

pub(crate) mod broker;
pub(crate) mod connections;
pub(crate) mod groups;
pub(crate) mod journey;
pub(crate) mod progress;
mod refusal;
pub(crate) mod relay;
pub(crate) mod replicas;
pub(crate) mod reset;
pub(crate) mod timers;
pub(crate) mod topics;
pub(crate) mod transactions;

use protocol::caps;
use protocol::codes::ResponseCode;
use protocol::json;
use protocol::names::ByteStr;
use remoting::{Refusal, Reply};
use serde::Serialize;

use crate::bodies;
use crate::ops::admin::Page;

/// Room for the header beside a body.
const HEADROOM: usize = 64 << 10;

/// A reply whose body is JSON as tools of every version read it; a refusal where it does not fit a frame, because a
/// client would drop the connection.
fn show<H>(header: H, body: &impl Serialize) -> Result<Reply<H>, Refusal> {
    let body = json::to_vec_fastjson(body);
    let max = caps::MAX_FRAME - HEADROOM;
    if body.len() > max {
        let remark = format!("the answer takes {} bytes, at most {max} fit: ask page by page", body.len());
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
    }
    Ok(Reply::ok(header).with_body(body))
}

/// The page that is wanted; `None` when the asker knows no pages and wants everything.
fn page(from: Option<i32>, max: Option<i32>, version: Option<&ByteStr>) -> Option<Page> {
    if from.is_none() && max.is_none() && version.is_none() {
        return None;
    }
    let count =
        |number: Option<i32>, absent| number.map_or(absent, |number| usize::try_from(number).unwrap_or(0));
    Some(Page {
        from: count(from, 0),
        max: count(max, usize::MAX),
        version: version.and_then(|text| bodies::VERSION.read(text.as_str().as_bytes()).ok()),
    })
}
