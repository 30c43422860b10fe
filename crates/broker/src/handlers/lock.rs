// SPDX-License-Identifier: Apache-2.0
//! Faces of 41 and 42.

use std::sync::Arc;

use bytes::Bytes;
use protocol::body::{LockBatchRequestBody, LockBatchResponseBody, MessageQueue, UnlockBatchRequestBody};
use protocol::codes::ResponseCode;
use protocol::json;
use protocol::lock::{LockBatchQueues, UnlockBatchQueues};
use protocol::names::{ByteStr, Group, QueueKey};
use remoting::{Ctx, Refusal, Reply};

use crate::ops::lock::{LOCKS_MAX, LockInput};
use crate::{Broker, bodies};

pub(crate) async fn lock_queues(
    broker: Arc<Broker>,
    ctx: Ctx,
    _request: LockBatchQueues,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let wanted: LockBatchRequestBody = bodies::LOCKS.read(&body)?;
    let input = from_wire(&wanted.consumer_group, &wanted.client_id, &wanted.mq_set)?;
    let granted = broker.lock_queues(&input, ctx.now);
    let granted =
        wanted.mq_set.into_iter().zip(granted).filter_map(|(queue, granted)| granted.then_some(queue));
    let answer = LockBatchResponseBody { lock_ok_mq_set: granted.collect() };
    Ok(Reply::ok(()).with_body(json::to_vec(&answer)))
}

pub(crate) async fn unlock_queues(
    broker: Arc<Broker>,
    _ctx: Ctx,
    _request: UnlockBatchQueues,
    body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let held: UnlockBatchRequestBody = bodies::LOCKS.read(&body)?;
    broker.unlock_queues(&from_wire(&held.consumer_group, &held.client_id, &held.mq_set)?);
    Ok(Reply::ok(()))
}

fn from_wire<'a>(
    group: &Group,
    client: &str,
    queues: impl IntoIterator<Item = &'a MessageQueue, IntoIter: ExactSizeIterator>,
) -> Result<LockInput, Refusal> {
    let queues = queues.into_iter();
    if queues.len() > LOCKS_MAX {
        let remark = format!("{} queues in one request, at most {LOCKS_MAX} are allowed", queues.len());
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
    }
    let key = |queue: &MessageQueue| QueueKey { topic: queue.topic.clone(), queue: queue.queue_id };
    Ok(LockInput { group: group.clone(), client: ByteStr::from(client), queues: queues.map(key).collect() })
}
