// SPDX-License-Identifier: Apache-2.0
//! Faces of 43, 45 and 907, and of the limits on cold reads (2001 to 2004), which this broker does not have: cold data
//! is read by threads of its own and disturbs nobody.

use std::sync::Arc;

use bytes::Bytes;
use protocol::admin::replica::{
    GetAllConsumerOffset, GetAllDelayOffset, GetBrokerHaStatus, GetColdDataFlowControl,
    RemoveColdDataFlowControl, SetCommitLogReadMode, UpdateColdDataFlowControl,
};
use protocol::codes::ResponseCode;
use remoting::{Ctx, Refusal, Reply};
use serde::Serialize;

use super::show;
use crate::Broker;

pub(crate) async fn all_progress(
    broker: Arc<Broker>,
    _ctx: Ctx,
    _request: GetAllConsumerOffset,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    show((), &broker.all_progress())
}

pub(crate) async fn delay_progress(
    broker: Arc<Broker>,
    _ctx: Ctx,
    _request: GetAllDelayOffset,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    show((), &broker.delay_progress())
}

pub(crate) async fn replication(
    broker: Arc<Broker>,
    _ctx: Ctx,
    _request: GetBrokerHaStatus,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    show((), &broker.replication())
}

pub(crate) async fn limit_cold_reads(
    _broker: Arc<Broker>,
    _ctx: Ctx,
    _request: UpdateColdDataFlowControl,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    Err(no_limits())
}

pub(crate) async fn lift_cold_limit(
    _broker: Arc<Broker>,
    _ctx: Ctx,
    _request: RemoveColdDataFlowControl,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    Err(no_limits())
}

/// The limits on cold reads: none.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ColdLimits {
    runtime_table: std::collections::BTreeMap<String, String>,
    config_table: std::collections::BTreeMap<String, i64>,
    cg_cold_read_threshold: i64,
    global_cold_read_threshold: i64,
    global_acc: i64,
}

pub(crate) async fn cold_limits(
    _broker: Arc<Broker>,
    _ctx: Ctx,
    _request: GetColdDataFlowControl,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    show((), &ColdLimits::default())
}

pub(crate) async fn read_mode(
    _broker: Arc<Broker>,
    _ctx: Ctx,
    request: SetCommitLogReadMode,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let remark = match request.mode {
        Some(0 | 1) => "this broker reads the log by position; there is no read-ahead to set",
        _ => "set commitlog readahead mode param value error",
    };
    Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark))
}

fn no_limits() -> Refusal {
    let remark = "cold reads are not limited by group on this broker: they run on threads of their own";
    Refusal::new(ResponseCode::INVALID_PARAMETER, remark)
}
