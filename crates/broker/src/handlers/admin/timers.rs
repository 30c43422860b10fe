// SPDX-License-Identifier: Apache-2.0
//! Faces of our own 30040 to 30043.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::admin::timer::{ChangeTimer, ChangedTimer, CountTimers, ListTimers, ShowTimer};
use protocol::body::{TimerBar, TimerHistogram, TimerInfo, TimerList, TimerTopic};
use protocol::codes::ResponseCode;
use protocol::names::{ByteStr, LogOffset};
use protocol::properties;
use protocol::record::Record;
use remoting::{Ctx, Refusal, Reply};
use store::Slot;

use super::show;
use crate::Broker;
use crate::ops::admin::timers::{State, Wanted};
use crate::ops::recall::{Outcome, Which, Wish};

pub(crate) async fn list(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: ListTimers,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let behind = request.behind.map_or(LogOffset(0), |at| LogOffset(at.0.saturating_add(1)));
    let wanted = Wanted {
        topic: request.topic,
        from: request.from.map_or(Slot::FIRST, |due| Slot { due, at: behind }),
        until: request.until,
        max: request.max as usize,
    };
    let listed = broker.timers(wanted).await.map_err(|error| crate::refusal::read(&error))?;
    let topic = |(name, waiting): &(Arc<str>, u64)| TimerTopic { topic: name.to_string(), waiting: *waiting };
    let body = TimerList {
        timers: listed
            .page
            .iter()
            .map(|(waiting, raw)| TimerInfo {
                due: waiting.slot.due.0,
                log_offset: waiting.slot.at.0,
                topic: waiting.topic.to_string(),
                ..info(State::Waiting, raw.as_deref())
            })
            .collect(),
        topics: listed.topics.iter().map(topic).collect(),
        waiting: listed.waiting,
    };
    show((), &body)
}

pub(crate) async fn show_one(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: ShowTimer,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let which = which(request.id, request.key)?;
    let found = broker.timed(&request.topic, which, ctx.now).await?;
    let timers = found.iter().map(|(state, raw)| info(*state, Some(raw))).collect();
    show((), &TimerList { timers, ..TimerList::default() })
}

pub(crate) async fn change(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: ChangeTimer,
    _body: Bytes,
) -> Result<Reply<ChangedTimer>, Refusal> {
    let which = which(request.id, request.key)?;
    let wish = request.deliver_at.map_or(Wish::Cancel, Wish::Move);
    let outcome = broker.change_timed(&request.topic, which, wish, ctx.now).await?;
    let word = match outcome {
        Outcome::Cancelled => "cancelled",
        Outcome::Moved => "moved",
        Outcome::TooLate => "too late",
        Outcome::Unknown => "unknown",
    };
    tracing::info!(topic = %request.topic, ?wish, peer = %ctx.peer, outcome = word, "a timed message by hand");
    Ok(Reply::ok(ChangedTimer { outcome: ByteStr::from(word) }))
}

pub(crate) async fn count(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: CountTimers,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let every = Duration::from_millis(request.every);
    let counted = broker.count_timers(request.topic, every, request.max as usize).await;
    let counted = counted.map_err(|error| crate::refusal::read(&error))?;
    let bars = counted.bars.iter().map(|(from, count)| TimerBar { from: from.0, count: *count }).collect();
    show((), &TimerHistogram { bars, every: request.every, later: counted.later })
}

fn which(id: Option<ByteStr>, key: Option<ByteStr>) -> Result<Which, Refusal> {
    match (id, key) {
        (Some(id), None) => Ok(Which::Id(id)),
        (None, Some(key)) => Ok(Which::Key(key)),
        _ => Err(Refusal::new(ResponseCode::INVALID_PARAMETER, "either an id or a key names timed messages")),
    }
}

fn info(state: State, raw: Option<&[u8]>) -> TimerInfo {
    let record = raw.and_then(|raw| Record::parse(raw).ok());
    let said = |name| record.and_then(|record| record.property(name)).map(str::to_owned);
    let state = match state {
        State::Waiting => "waiting",
        State::Delivered => "delivered",
        State::Cancelled => "cancelled",
    };
    TimerInfo {
        body_size: record.map_or(0, |record| record.body().len() as u64),
        due: record.and_then(|record| store::due(&record)).map_or(0, |due| due.0),
        keys: said(properties::KEYS),
        log_offset: record.map_or(0, |record| record.log_offset().0),
        queue: said(properties::REAL_QID).and_then(|queue| queue.parse().ok()),
        state: state.to_owned(),
        stored_at: record.map_or(0, |record| record.stored_at().0),
        topic: said(properties::REAL_TOPIC).unwrap_or_default(),
        unique_id: said(properties::UNIQ_KEY),
    }
}
