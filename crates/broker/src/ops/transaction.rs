// SPDX-License-Identifier: Apache-2.0
//! The second half of transactions: decisions by producers and operators, and the questions to producers who do not
//! decide. Called by the faces of 37 and of operators' requests, and by a loop. Decisions that came together are dealt
//! with by [`Broker::end_together`], which knows the usual case only and leaves all others to what stands here.
//!
//! Invariants: the delivered message is the commit, and a rollback is a record, so a decision and its effect cannot
//! disagree after a crash; the first decision in the log stands, a contrary one is refused and told of; a half message
//! stays where it is while it is asked about.

mod together;

use std::sync::Arc;

use bytes::Bytes;
use protocol::body::TopicConfig;
use protocol::ids::OffsetId;
use protocol::names::{
    ByteStr, CHECK_MAX_TIME_TOPIC, Group, HALF_OP_TOPIC, HALF_TOPIC, LogOffset, QueueId, QueueOffset,
    TopicName,
};
use protocol::properties;
use protocol::record::Record;
use protocol::transaction::CheckTransactionState;
use stdx::Timestamp;
use store::halves::{NOTES, NOTES_COMMIT, NOTES_LOST, NOTES_PARKED, NOTES_ROLLBACK};
use store::{AppendError, Draft, Half, ReadError, Settled, Store};

pub use self::together::Ending;
use super::send::{Onward, Said, SendRefused};
use crate::Broker;
use crate::loops::Wake;
use crate::topics::{READ, WRITE};
use crate::transaction::records::{self, Audit, Note};
use crate::transaction::{Decision, Due, Judged, Ledger, Limits};

/// Which transaction, and how it ends.
#[derive(Clone, Debug)]
pub struct EndInput {
    /// Where its half message was first stored.
    pub id: LogOffset,
    /// The queue offset it got there.
    pub queue_offset: QueueOffset,
    /// The group that says so; `None` for an operator.
    pub group: Option<Group>,
    /// The message's own id as the producer says it, in one field or the other. A power cut may take a half message that was not
    /// flushed, and another one comes to lie in its place.
    pub unique: [Option<ByteStr>; 2],
    /// Commit or rollback.
    pub decision: Decision,
    /// Who decides by hand, and why.
    pub audit: Option<Audit>,
}

/// A transaction that is decided as asked.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How far the promise has come.
    pub settled: Settled,
    /// It was decided so before.
    pub again: bool,
}

/// Why a transaction is not decided as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndRefused {
    /// No half message was ever stored there.
    #[error("Find prepared transaction message failed: no half message lies at {id}")]
    NotThere {
        /// Where it should be.
        id: LogOffset,
    },
    /// Another group made it.
    #[error("The producer group wrong")]
    OtherGroup,
    /// It has another queue offset.
    #[error("The transaction state table offset wrong")]
    OtherOffset,
    /// It was decided otherwise before.
    #[error("the transaction at {id} was decided before: {decision:?}; the first decision stands")]
    Contrary {
        /// Which.
        id: LogOffset,
        /// How it was decided.
        decision: Decision,
    },
    /// Its message cannot be delivered.
    #[error("the transaction cannot be committed: {0}")]
    Send(#[from] SendRefused),
    /// Its data could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its data is damaged.
    #[error("the half message at {id} was lost to damage of the log")]
    Lost {
        /// Which.
        id: LogOffset,
    },
}

impl From<AppendError> for EndRefused {
    fn from(error: AppendError) -> EndRefused {
        EndRefused::Send(SendRefused::Append(error))
    }
}

/// What the log tells of a transaction that does not wait any more.
#[derive(Clone, Debug)]
pub struct Past {
    /// Its half message.
    pub half: Half,
    /// How it ended; `None` when damage took the message undecided.
    pub decision: Option<Decision>,
    /// The note of that, unless a crash took it.
    pub note: Option<Bytes>,
    /// The half message.
    pub raw: Bytes,
}

/// A decision that nothing stands against.
struct Ruling {
    half: Arc<Half>,
    /// What is delivered; nothing by a rollback.
    onward: Option<Onward>,
}

impl Ruling {
    fn decision(&self) -> Decision {
        if self.onward.is_some() { Decision::Commit } else { Decision::Rollback }
    }
}

/// Decisions that are in the log and in the book.
struct Entered {
    /// Where they end.
    end: LogOffset,
    /// Those about which was asked.
    asked: Vec<LogOffset>,
}

/// Whether a producer that says its message's id means another one than this.
fn is_another(unique: Option<&str>, said: &[Option<ByteStr>; 2]) -> bool {
    let mut said = said.iter().flatten().filter(|id| !id.is_empty()).peekable();
    if said.peek().is_none() {
        return false;
    }
    unique.is_some_and(|unique| !said.any(|id| **id == *unique))
}

/// The most questions in one step, and the pause after such a step.
const TOGETHER: usize = 256;
const BREATH: std::time::Duration = std::time::Duration::from_millis(20);
/// How long a question waits that could not go out: a connection is full, a producer is gone.
const LATER: std::time::Duration = std::time::Duration::from_secs(1);

impl Broker {
    /// Ends a transaction; resolves once the promised durability holds.
    pub async fn end_transaction(
        self: &Arc<Broker>,
        input: EndInput,
        now: Timestamp,
    ) -> Result<Ended, EndRefused> {
        let judged = self.transactions.ledger().judge(input.id, input.queue_offset, input.group.as_ref());
        let half = match judged {
            Judged::Open(half) => half,
            Judged::OtherGroup => return Err(EndRefused::OtherGroup),
            Judged::OtherOffset => return Err(EndRefused::OtherOffset),
            Judged::Decided(decision) => return again(&input, decision),
            Judged::Unknown => return self.decided_long_ago(&input).await,
        };
        let raw = match self.store.record(half.log).await? {
            Some(raw) => raw,
            None => self.moved(&half)?.ok_or(EndRefused::Lost { id: half.id })?,
        };
        let is_another =
            |record: Record<'_>| is_another(record.property(properties::UNIQ_KEY), &input.unique);
        if Record::parse(&raw).is_ok_and(is_another) {
            return Err(EndRefused::NotThere { id: half.id });
        }
        let until = now + self.config().sending.busy_wait;
        loop {
            match self.decide(&half, &raw, &input, now) {
                Err(EndRefused::Send(SendRefused::Append(AppendError::Busy { .. })))
                    if self.clock.now() < until =>
                {
                    self.store.roomier(until).await;
                }
                Ok(Some(end)) => {
                    self.dispatch_at_once(end);
                    let patience = self.config().sending.settle_timeout;
                    return Ok(Ended {
                        settled: self.store.settled(end, now + patience).await,
                        again: false,
                    });
                }
                Ok(None) => return Ok(Ended { settled: Settled::Done, again: true }),
                Err(refused) => return Err(refused),
            }
        }
    }

    /// The data of a half message that is not where it was: retention may have written it again.
    fn moved(&self, half: &Half) -> Result<Option<Bytes>, ReadError> {
        match self.store.half(half.id) {
            Some(known) if known.log != half.log => self.store.record_at(known.log),
            _ => Ok(None),
        }
    }

    fn data(&self, half: &Half) -> Result<Option<Bytes>, ReadError> {
        match self.store.record_at(half.log)? {
            Some(raw) => Ok(Some(raw)),
            None => self.moved(half),
        }
    }

    /// Puts a decision into the log, unless there is one. Returns where it ends; `None` when it was the same before.
    fn decide(
        &self,
        half: &Arc<Half>,
        raw: &Bytes,
        input: &EndInput,
        now: Timestamp,
    ) -> Result<Option<LogOffset>, EndRefused> {
        let record = Record::parse(raw).map_err(|_| EndRefused::Lost { id: half.id })?;
        let onward = match input.decision {
            Decision::Commit => Some(self.onward(raw, &record, Said::read(record.properties_text()), now)?),
            Decision::Rollback => None,
        };
        let ruling = Ruling { half: half.clone(), onward };
        let mut ledger = self.transactions.ledger();
        if let Judged::Decided(decision) = ledger.judge(half.id, half.queue_offset, None) {
            drop(ledger);
            return again(input, decision).map(|_| None);
        }
        let entered = self.enter(&mut ledger, std::iter::once(&ruling), input.audit.as_ref(), now)?;
        drop(ledger);
        self.stop_asking(&entered);
        if let Some(audit) = &input.audit {
            let Audit { by, why } = audit;
            tracing::info!(decision = ?input.decision, half = half.id.0, topic = %half.topic, group = %half.group, by, why, "transaction decided by hand");
        }
        Ok(Some(entered.end))
    }

    /// Puts decisions into the log and into the book, all or none. Each is the first about its transaction; the book stays
    /// locked meanwhile, so that this remains so.
    fn enter<'a>(
        &self,
        ledger: &mut Ledger,
        rulings: impl Iterator<Item = &'a Ruling> + Clone,
        audit: Option<&Audit>,
        now: Timestamp,
    ) -> Result<Entered, EndRefused> {
        let end = self.put_decisions(rulings.clone(), audit, now)?;
        let decided = rulings.map(|ruling| (ruling.half.id, ruling.decision()));
        let asked = decided.filter(|(id, decision)| ledger.decide(*id, *decision) > 0);
        Ok(Entered { end, asked: asked.map(|(id, _)| id).collect() })
    }

    /// Forgets how often was asked about what is decided now.
    fn stop_asking(&self, entered: &Entered) {
        entered.asked.iter().for_each(|id| self.transactions.count(*id, None));
        if !entered.asked.is_empty() {
            self.transactions.ring();
        }
    }

    /// One append: the messages that are commits, the notes that are rollbacks, and one note of all the commits.
    fn put_decisions<'a>(
        &self,
        rulings: impl Iterator<Item = &'a Ruling> + Clone,
        audit: Option<&Audit>,
        now: Timestamp,
    ) -> Result<LogOffset, EndRefused> {
        let queue = self.note_queue()?;
        let is_commit = |ruling: &&Ruling| ruling.decision() == Decision::Commit;
        let committed: Vec<&Half> = rulings.clone().filter(is_commit).map(|ruling| &*ruling.half).collect();
        let rolled_back = rulings.clone().filter(|ruling| !is_commit(ruling));
        let mut notes: Vec<Note> =
            rolled_back.map(|ruling| Note::new(&[&ruling.half], NOTES_ROLLBACK, audit, now)).collect();
        if !committed.is_empty() {
            notes.push(Note::new(&committed, NOTES_COMMIT, audit, now));
        }
        let messages =
            || rulings.clone().filter_map(|ruling| Some((ruling.half.id, ruling.onward.as_ref()?)));
        let delivered =
            messages().map(|(id, onward)| Draft { queue: &onward.queue, message: onward.message(id) });
        let noted = notes.iter().map(|note| Draft { queue, message: note.message(&queue.key().topic) });
        let drafts: Vec<Draft<'_>> = delivered.chain(noted).collect();
        let appended = match messages().any(|(_, onward)| onward.is_light) {
            false => self.store.append(&drafts)?,
            true => self.store.append_light(&drafts)?,
        };
        let ends = appended.starts().skip(1).chain([appended.end]);
        let mut sizes = appended.starts().zip(ends).map(|(start, end)| (end.0 - start.0) as usize);
        let mut delivered = messages().map(|(_, onward)| &onward.topic).peekable();
        let mut all = 0;
        while let Some(topic) = delivered.next() {
            let (mut count, mut bytes) = (1, sizes.next().unwrap_or_default());
            while delivered.next_if(|next| Arc::ptr_eq(next, topic)).is_some() {
                (count, bytes) = (count + 1, bytes + sizes.next().unwrap_or_default());
            }
            topic.traffic(&self.rates, now).puts.add_all(count, count, bytes);
            all += bytes;
        }
        self.counts.sent(committed.len(), all);
        Ok(appended.end)
    }

    fn note_queue(&self) -> Result<&store::QueueRef, EndRefused> {
        Ok(self.transactions.note_queue(&self.store).map_err(SendRefused::from)?)
    }

    /// Judges a transaction that is in no book: what the log says stands.
    async fn decided_long_ago(&self, input: &EndInput) -> Result<Ended, EndRefused> {
        let id = input.id;
        let Some(Past { half, decision, .. }) = self.store.query(move |store| past(store, id)).await? else {
            return Err(EndRefused::NotThere { id });
        };
        if input.group.as_ref().is_some_and(|group| *group != half.group) {
            return Err(EndRefused::OtherGroup);
        }
        if half.queue_offset != input.queue_offset {
            return Err(EndRefused::OtherOffset);
        }
        again(input, decision.ok_or(EndRefused::Lost { id })?)
    }

    /// Asks producers about what they have not decided, and parks what was asked about often enough.
    pub fn checks_step(&self, now: Timestamp) -> Wake {
        if self.store.poisoned().is_some() {
            return Wake::Ended;
        }
        let limits = self.transaction_limits();
        let stranded = self.transactions.ledger().stranded();
        for group in stranded.iter().filter(|group| self.clients.produces(group)) {
            self.transactions.ledger().reachable(group, now);
        }
        let due = self.transactions.ledger().due(now, &limits, TOGETHER);
        for (turn, due) in due.iter().enumerate() {
            let outcome = match due {
                Due::Ask(half) => self.ask(half, turn, now, &limits),
                Due::Park(half) => self.park(half, now),
            };
            if let (Err(error), Due::Ask(half) | Due::Park(half)) = (outcome, due) {
                tracing::warn!(half = half.id.0, %error, "an undecided transaction waits");
                self.transactions.ledger().postpone(half.id, now + LATER);
            }
        }
        let saved = self.transactions.save(&self.store);
        let retry = saved.is_err().then(|| now + LATER);
        let ledger = self.transactions.ledger();
        let look = (!ledger.stranded().is_empty()).then(|| now + LATER);
        match ledger.next_due().into_iter().chain(look).chain(retry).min() {
            None => Wake::Idle,
            Some(at) if at <= now && due.len() == TOGETHER => Wake::After(BREATH),
            Some(at) if at <= now => Wake::Now,
            Some(at) => Wake::At(at),
        }
    }

    /// Asks one producer of the group, each in its turn. Only a question that went out counts.
    fn ask(&self, half: &Half, turn: usize, now: Timestamp, limits: &Limits) -> Result<(), EndRefused> {
        let Some(open) = self.transactions.ledger().get(half.id) else { return Ok(()) };
        let Some(producer) = self.clients.producer(&half.group, turn + open.checks as usize) else {
            self.transactions.ledger().strand(half.id);
            return Ok(());
        };
        let Some(raw) = self.data(half)? else { return self.give_up(half, now) };
        let Ok(record) = Record::parse(&raw) else { return self.give_up(half, now) };
        let unique = record.property(properties::UNIQ_KEY).map(ByteStr::from);
        let offset_id = OffsetId { host: record.store_host(), offset: half.id };
        let question = CheckTransactionState {
            topic: Some(TopicName::stored(HALF_TOPIC)),
            half_offset: half.queue_offset.0 as i64,
            log_offset: half.id.0 as i64,
            message_id: unique.clone(),
            transaction_id: unique,
            offset_id: Some(ByteStr::from(offset_id.to_string())),
            broker: Some(ByteStr::from(self.config().identity.name.as_str())),
        };
        let Ok(body) = records::question(half, &record, open.checks) else { return self.give_up(half, now) };
        if let Err(error) = producer.notify(&question, Bytes::from(body)) {
            tracing::debug!(group = %half.group, peer = %producer.peer(), %error, "a producer cannot be asked now");
            self.transactions.ledger().postpone(half.id, now + LATER);
            return Ok(());
        }
        if let Some(checks) = self.transactions.ledger().asked(half.id, now, limits) {
            self.transactions.count(half.id, Some((checks, now)));
        }
        Ok(())
    }

    /// Puts a copy where operators look for such; the half message stays open for whoever decides after all.
    fn park(&self, half: &Half, now: Timestamp) -> Result<(), EndRefused> {
        let Some(raw) = self.data(half)? else { return self.give_up(half, now) };
        let Ok(record) = Record::parse(&raw) else { return self.give_up(half, now) };
        let parked = TopicConfig::new(TopicName::stored(CHECK_MAX_TIME_TOPIC), 1, READ | WRITE);
        let parked = self.topics.ensure(parked, &self.store, now).map_err(SendRefused::from)?.topic;
        let copies = parked.queue(QueueId(0), &self.store).map_err(SendRefused::from)?;
        let notes = self.note_queue()?;
        let note = Note::new(&[half], NOTES_PARKED, None, now);
        let copy = Draft { queue: &copies, message: records::parked(half, &record, parked.name()) };
        let mut ledger = self.transactions.ledger();
        if ledger.get(half.id).is_none() {
            return Ok(());
        }
        self.store.append(&[copy, Draft { queue: notes, message: note.message(&notes.key().topic) }])?;
        ledger.park(half.id);
        drop(ledger);
        tracing::warn!(topic = %half.topic, group = %half.group, half = half.id.0, "transaction parked: asked about too often, nobody decided");
        Ok(())
    }

    /// Ends a transaction whose data damage took, so that it holds nobody up; loudly, for a message is lost.
    fn give_up(&self, half: &Half, now: Timestamp) -> Result<(), EndRefused> {
        let notes = self.note_queue()?;
        let note = Note::new(&[half], NOTES_LOST, None, now);
        let mut ledger = self.transactions.ledger();
        if ledger.get(half.id).is_none() {
            return Ok(());
        }
        self.store.append(&[Draft { queue: notes, message: note.message(&notes.key().topic) }])?;
        ledger.forget(half.id);
        drop(ledger);
        self.transactions.count(half.id, None);
        tracing::error!(topic = %half.topic, group = %half.group, half = half.id.0, "a half message was lost to damage of the log");
        Ok(())
    }
}

/// Answers a decision about what is decided.
fn again(input: &EndInput, decision: Decision) -> Result<Ended, EndRefused> {
    if decision == input.decision {
        return Ok(Ended { settled: Settled::Done, again: true });
    }
    let group = input.group.as_deref().unwrap_or_default();
    tracing::warn!(half = input.id.0, group, ?decision, "a contrary decision about a transaction is refused");
    Err(EndRefused::Contrary { id: input.id, decision })
}

/// Looks in the log for how the half message at `id` ended.
pub(crate) fn past(store: &Store, id: LogOffset) -> Result<Option<Past>, ReadError> {
    let Some(raw) = store.record_at(id)? else { return Ok(None) };
    let half = Record::parse(&raw).ok().and_then(|record| store::halves::first(&record, id));
    let Some(half) = half else { return Ok(None) };
    let (topic, all) = (TopicName::stored(HALF_OP_TOPIC), (Timestamp(0), Timestamp(i64::MAX)));
    let notes = store.by_key(&topic, &records::note_key(id), NOTES_MAX, all.0, all.1)?;
    let said = |raw: &Bytes| match Record::parse(raw).ok()?.property(NOTES)? {
        NOTES_COMMIT => Some((Some(Decision::Commit), Some(raw.clone()))),
        NOTES_ROLLBACK => Some((Some(Decision::Rollback), Some(raw.clone()))),
        NOTES_LOST => Some((None, Some(raw.clone()))),
        _ => None,
    };
    // A commit whose note a crash took is still a commit: whatever else ends a half message is a note.
    let (decision, note) = notes.iter().find_map(said).unwrap_or((Some(Decision::Commit), None));
    Ok(Some(Past { half, decision, note, raw: Bytes::from(raw.to_vec()) }))
}

/// A half message has a note of its end, and perhaps one that it was parked.
const NOTES_MAX: usize = 8;
