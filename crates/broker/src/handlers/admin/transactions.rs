// SPDX-License-Identifier: Apache-2.0
//! Faces of 323 and of our own 30020 to 30022.

use std::sync::Arc;

use bytes::Bytes;
use protocol::admin::broker::ResumeCheckHalfMessage;
use protocol::admin::transaction::{DecideTransaction, ListTransactions, ShowTransaction};
use protocol::body::{TransactionInfo, TransactionList};
use protocol::codes::ResponseCode;
use protocol::names::LogOffset;
use protocol::properties;
use protocol::record::Record;
use protocol::transaction::{COMMIT, ROLLBACK};
use remoting::{Ctx, Refusal, Reply};
use store::Half;

use super::show;
use crate::Broker;
use crate::handlers::transaction::answer;
use crate::ops::admin::transactions::{Seen, Wanted};
use crate::ops::transaction::Past;
use crate::transaction::records::{BY, WHY};
use crate::transaction::{Audit, Decision, Open};

pub(crate) async fn ask_again(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: ResumeCheckHalfMessage,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    broker.ask_again(request.message_id.as_deref().unwrap_or_default(), ctx.now).await?;
    Ok(Reply::ok(()))
}

pub(crate) async fn list(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: ListTransactions,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let wanted = Wanted {
        topic: request.topic,
        group: request.group,
        parked: request.parked,
        after: request.after.map(LogOffset),
        max: request.max as usize,
    };
    let listed = broker.transactions(wanted).await?;
    let body = TransactionList {
        open: listed.count.0 as u64,
        parked: listed.count.1 as u64,
        transactions: listed.page.iter().map(|(open, raw)| undecided(open, raw.as_deref())).collect(),
    };
    show((), &body)
}

pub(crate) async fn show_one(
    broker: Arc<Broker>,
    _ctx: Ctx,
    request: ShowTransaction,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    match broker.transaction(&request.id).await? {
        Seen::Open(open, raw) => show((), &undecided(&open, raw.as_deref())),
        Seen::Past(past) => show((), &decided(&past)),
    }
}

pub(crate) async fn decide(
    broker: Arc<Broker>,
    ctx: Ctx,
    request: DecideTransaction,
    _body: Bytes,
) -> Result<Reply<()>, Refusal> {
    let decision = match request.decision {
        COMMIT => Decision::Commit,
        ROLLBACK => Decision::Rollback,
        other => {
            let remark = format!("{other} is neither a commit ({COMMIT}) nor a rollback ({ROLLBACK})");
            return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
        }
    };
    let audit = Audit { by: format!("{} ({})", request.by, ctx.peer), why: request.why.to_string() };
    let audit = if request.by.trim().is_empty() { Audit { by: String::new(), ..audit } } else { audit };
    answer(broker.decide_by_hand(&request.id, decision, audit, ctx.now).await?.settled)
}

fn undecided(open: &Open, raw: Option<&[u8]>) -> TransactionInfo {
    let state = if open.half.parked { "parked" } else { "open" };
    TransactionInfo {
        checks: open.checks,
        next_check: open.next.map(|at| at.0),
        ..info(&open.half, raw, state)
    }
}

fn decided(past: &Past) -> TransactionInfo {
    let state = match past.decision {
        Some(Decision::Commit) => "committed",
        Some(Decision::Rollback) => "rolled back",
        None => "lost",
    };
    let note = past.note.as_deref().and_then(|raw| Record::parse(raw).ok());
    let said = |name| note.and_then(|note| note.property(name)).map(str::to_owned);
    TransactionInfo {
        decided_at: note.map(|note| note.stored_at().0),
        decided_by: said(BY),
        decided_why: said(WHY),
        ..info(&past.half, Some(&past.raw), state)
    }
}

fn info(half: &Half, raw: Option<&[u8]>, state: &str) -> TransactionInfo {
    let record = raw.and_then(|raw| Record::parse(raw).ok());
    let said = |name| record.and_then(|record| record.property(name)).map(str::to_owned);
    TransactionInfo {
        id: half.id.0,
        queue_offset: half.queue_offset.0,
        topic: half.topic.to_string(),
        group: half.group.to_string(),
        state: state.to_owned(),
        stored_at: half.stored_at.0,
        unique_id: said(properties::UNIQ_KEY),
        keys: said(properties::KEYS),
        body_size: record.map_or(0, |record| record.body().len() as u64),
        ..TransactionInfo::default()
    }
}
