// SPDX-License-Identifier: Apache-2.0
//! A batch: several messages of one queue in one request. They become consecutive records, all or none of them; in a topic
//! that keeps batches one record, see `inner`.
//! Invariant: every unit is judged before anything is stored.

use protocol::batch::{Unit, units};
use protocol::names::ByteStr;
use protocol::properties;
use protocol::record::Message;
use stdx::Timestamp;
use store::{Draft, QueueRef, Settled};

use super::check::check_kind;
use super::room::Text;
use super::stamp::Said;
use super::{SendInput, SendRefused, Sent, Stored, counts_itself, message, properties_fit};
use crate::Broker;
use crate::topics::Topic;

/// As many messages as a batch usually has.
const USUAL: usize = 32;

/// One message of a batch, ready to store.
struct Letter<'a> {
    unit: Unit<'a>,
    properties: Text,
    is_light: bool,
}

impl Broker {
    /// Takes a batch apart and appends its messages together.
    pub(super) fn store_batch(
        &self,
        input: &SendInput,
        topic: &Topic,
        now: Timestamp,
    ) -> Result<Stored, SendRefused> {
        let whole = Said::read(&input.properties);
        if whole.unique.is_some() && topic.keeps_batches() {
            return self.store_inner(input, whole, topic, now);
        }
        // COMPAT: a batch without an id of its own is taken apart in every topic, as in Apache.
        counts_itself(&whole)?;
        let letters = self.letters(input, &whole, topic, now)?;
        let told = input.queue.unwrap_or_else(|| topic.any_queue());
        let queue = topic.queue(told, &self.store)?;
        if topic.is_compacted() {
            letters.iter().try_for_each(|letter| self.admit_keys(topic, told, &letter.properties))?;
        }
        let draft = |letter| draft_of(letter, input, &queue);
        let drafts: Vec<Draft<'_>> = letters.iter().map(draft).collect();
        let appended = match letters.iter().any(|letter| letter.is_light) {
            false => self.store.append(&drafts)?,
            true => self.store.append_light(&drafts)?,
        };
        self.count_sent(topic, 1, letters.len(), (appended.end.0 - appended.start.0) as usize, now);
        let sent = Sent {
            start: appended.start,
            rest: appended.starts().skip(1).collect(),
            store_host: input.store_host,
            queue: told,
            queue_offset: appended.first_queue_offset,
            unique: whole.unique.map(|id| input.properties.slice_ref(id)),
            timed: None,
            is_inner: false,
            settled: Settled::Done,
        };
        let patience = self.patience(whole.wait);
        Ok(Stored { sent, end: appended.end, patience, made_topic: false })
    }

    fn letters<'a>(
        &self,
        input: &'a SendInput,
        whole: &Said<'_>,
        topic: &Topic,
        now: Timestamp,
    ) -> Result<Vec<Letter<'a>>, SendRefused> {
        at_once(whole)?;
        let max = self.config().sending.batch_messages_max;
        let mut letters = Vec::with_capacity(USUAL.min(max));
        for unit in units(&input.body) {
            let unit = unit?;
            if letters.len() == max {
                return Err(SendRefused::BatchCount { count: max + 1, max });
            }
            letters.push(self.letter(unit, input, whole, topic, now)?);
        }
        if letters.is_empty() {
            return Err(SendRefused::BatchCount { count: 0, max });
        }
        Ok(letters)
    }

    fn letter<'a>(
        &self,
        unit: Unit<'a>,
        input: &SendInput,
        whole: &Said<'_>,
        topic: &Topic,
        now: Timestamp,
    ) -> Result<Letter<'a>, SendRefused> {
        let (text, mut said) = self.judge(&unit, topic)?;
        said.expire(now, topic.ttl());
        let fresh = said.unique.is_none().then(|| self.ids.next(now));
        let inherited: Vec<(&str, &str)> = inherited(&input.properties, text).collect();
        let mut properties = Text::new();
        said.stored(&self.brand, &[], &inherited, fresh.as_deref(), &mut properties);
        let properties = properties_fit(properties)?;
        let is_light = self.admit_light(said.light.or(whole.light), topic, properties.len())?;
        Ok(Letter { unit, properties, is_light })
    }
}

impl Broker {
    /// Reads one message of a batch and judges it by itself.
    pub(super) fn judge<'a>(
        &self,
        unit: &Unit<'a>,
        topic: &Topic,
    ) -> Result<(&'a str, Said<'a>), SendRefused> {
        let text = std::str::from_utf8(unit.properties).map_err(|_| SendRefused::PropertiesNotText)?;
        let said = Said::read(text);
        at_once(&said)?;
        if unit.body.is_empty() && !topic.is_compacted() {
            return Err(SendRefused::NoBody);
        }
        if topic.is_compacted() && !said.keyed {
            return Err(SendRefused::KeyMissing);
        }
        if self.config().sending.check_message_types {
            check_kind(topic, said.kind())?;
        }
        Ok((text, said))
    }
}

fn draft_of<'a>(letter: &'a Letter<'a>, input: &SendInput, queue: &'a QueueRef) -> Draft<'a> {
    let message = message(input, queue, letter.unit.body, &letter.properties);
    Draft { queue, message: Message { flag: letter.unit.flag, ..message } }
}

/// What a batch says for all its messages, unless one says it itself. An id is not shared.
fn inherited<'a>(whole: &'a ByteStr, own: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    properties::iter(whole).filter(move |(name, _)| {
        *name != properties::UNIQ_KEY
            && !super::stamp::is_cleared(name)
            && properties::get(own, name).is_none()
    })
}

/// A batch is stored where it is sent, at once and committed.
pub(super) fn at_once(said: &Said<'_>) -> Result<(), SendRefused> {
    match said {
        Said { half: true, .. } => Err(SendRefused::NotInBatch { what: "transactional messages" }),
        Said { timing, .. } if timing.is_asked() => Err(SendRefused::NotInBatch { what: "a delivery time" }),
        Said { delay: 1.., .. } => Err(SendRefused::NotInBatch { what: "delay level" }),
        _ => Ok(()),
    }
}
