// SPDX-License-Identifier: Apache-2.0
//! Faces of 203, 204, 328 and 345.

use std::sync::Arc;

use bytes::Bytes;
use protocol::admin::group::{
    GetAllProducerInfo, GetConsumerConnectionList, GetProducerConnectionList, QuerySubscriptionByConsumer,
};
use protocol::body::QuerySubscriptionResponseBody;
use remoting::{Ctx, Refusal, Reply};

use super::show;
use crate::Broker;

pub(crate) async fn consumer_connections(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: GetConsumerConnectionList,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    show((), &broker.consumer_connections(&request.group)?)
}

pub(crate) async fn producer_connections(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: GetProducerConnectionList,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    show((), &broker.producer_connections(&request.group)?)
}

pub(crate) async fn all_producers(
    broker: Arc<Broker>,
    _ctx: Ctx,
    _request: GetAllProducerInfo,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    show((), &broker.all_producers())
}

pub(crate) async fn subscription(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: QuerySubscriptionByConsumer,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let (group, topic) = (request.group, request.topic.unwrap_or_default());
    let subscription_data = broker.subscription_of(&group, &topic);
    show((), &QuerySubscriptionResponseBody { group, subscription_data, topic })
}
