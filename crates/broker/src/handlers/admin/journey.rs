// SPDX-License-Identifier: Apache-2.0
//! Face of our own 30060.

use std::sync::Arc;

use bytes::Bytes;
use protocol::admin::journey::TraceMessage;
use protocol::body::{JourneyHop, MessageJourney};
use remoting::{Ctx, Refusal, Reply};

use super::show;
use crate::Broker;
use crate::ops::admin::journey::{Hop, What};

pub(crate) async fn trace(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: TraceMessage,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let topic = request.topic.filter(|topic| !topic.trim().is_empty());
    let journey = broker.journey(&request.id, topic).await?;
    let hops = journey.hops.into_iter().map(to_wire).collect();
    show((), &MessageJourney { hops, id: journey.id, topic: journey.topic.to_string() })
}

fn to_wire(hop: Hop) -> JourneyHop {
    JourneyHop {
        at: hop.at.map(|at| at.0),
        client: hop.client,
        detail: hop.detail,
        group: hop.group.map(|group| group.to_string()),
        offset: hop.offset.0,
        queue: hop.queue.0,
        topic: hop.topic.to_string(),
        until: hop.until.map(|at| at.0),
        what: name(hop.what).to_owned(),
    }
}

fn name(what: What) -> &'static str {
    match what {
        What::Born => "born",
        What::Stored => "stored",
        What::Dispatched => "dispatched",
        What::Half => "half",
        What::Committed => "committed",
        What::RolledBack => "rolled back",
        What::Undecided => "undecided",
        What::Waits => "waits",
        What::Recalled => "recalled",
        What::Given => "given",
        What::PassedOver => "passed over",
        What::Acknowledged => "acknowledged",
        What::Moved => "moved",
        What::InFlight => "in flight",
        What::NotGiven => "not given",
        What::Failed => "failed",
        What::Again => "again",
        What::Dead => "dead",
        What::Unknown => "not known",
    }
}
