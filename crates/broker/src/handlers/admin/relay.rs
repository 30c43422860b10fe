// SPDX-License-Identifier: Apache-2.0
//! Faces of 307 and 309: a tool's question goes to the client as it came, the client's answer comes back as it is.

use std::sync::Arc;

use bytes::Bytes;
use protocol::codes::ResponseCode;
use protocol::fields::{Fields, FieldsOut};
use protocol::heartbeat::{ConsumeMessageDirectly, GetConsumerRunningInfo};
use protocol::names::ByteStr;
use protocol::request::{DecodeError, Header, Request};
use remoting::{Ctx, Refusal, Reply, Response};

use crate::Broker;

/// 307 with all its fields, known or not.
pub(crate) struct RunningInfo {
    request: GetConsumerRunningInfo,
    fields: Fields,
}

impl Header for RunningInfo {
    fn decode(fields: &Fields) -> Result<RunningInfo, DecodeError> {
        Ok(RunningInfo { request: GetConsumerRunningInfo::decode(fields)?, fields: fields.clone() })
    }
    fn encode(&self, out: &mut FieldsOut<'_>) {
        self.fields.encode(out);
    }
}

impl Request for RunningInfo {
    const CODE: i32 = GetConsumerRunningInfo::CODE;
    const NAME: &'static str = GetConsumerRunningInfo::NAME;
    type Reply = Fields;
}

/// 309, whose answer has fields of the client's choice.
pub(crate) struct ConsumeDirectly(ConsumeMessageDirectly);

impl Header for ConsumeDirectly {
    fn decode(fields: &Fields) -> Result<ConsumeDirectly, DecodeError> {
        ConsumeMessageDirectly::decode(fields).map(ConsumeDirectly)
    }
    fn encode(&self, out: &mut FieldsOut<'_>) {
        self.0.encode(out);
    }
}

impl Request for ConsumeDirectly {
    const CODE: i32 = ConsumeMessageDirectly::CODE;
    const NAME: &'static str = ConsumeMessageDirectly::NAME;
    type Reply = Fields;
}

pub(crate) async fn running_info(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: RunningInfo,
    body: Bytes,
) -> Result<Reply<Fields>, Refusal> {
    let GetConsumerRunningInfo { group, client, .. } = &request.request;
    Ok(verbatim(&broker.ask_member(group, client, &request, body).await?))
}

/// The client gets the message itself, the broker that has it, and the flags of topic and group.
pub(crate) async fn consume_directly(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: ConsumeDirectly,
    _body: Bytes,
) -> Result<Reply<Fields>, Refusal> {
    let mut question = request;
    let asked = &mut question.0;
    let id = asked.message_id.clone().unwrap_or_default();
    let record = broker.record_by_id(&id).await?;
    asked.broker = Some(ByteStr::from(broker.config().identity.name.clone()));
    (asked.topic_sys_flag, asked.group_sys_flag) = broker.flags(asked.topic.as_ref(), &asked.group);
    let (group, client) = (asked.group.clone(), asked.client.clone().unwrap_or_default());
    Ok(verbatim(&broker.ask_member(&group, &client, &question, record).await?))
}

fn verbatim(answer: &Response<Fields>) -> Reply<Fields> {
    let frame = answer.frame();
    let reply =
        Reply::ok(frame.fields.clone()).with_code(ResponseCode(frame.code)).with_body(frame.body.clone());
    match &frame.remark {
        Some(remark) => reply.with_remark(remark.to_string()),
        None => reply,
    }
}
