// SPDX-License-Identifier: Apache-2.0
//! Undecided transactions: which there are, and how their data outlives the segment it lies in. Called by the broker
//! when it opens, and by retention.
//! Invariants: a segment goes only when no open half message has its data there; nothing is written again behind what ends
//! it, so that a log that begins anywhere says the same.

use std::collections::VecDeque;

use protocol::names::{HALF_TOPIC, LogOffset, QueueId, TopicName};
use protocol::properties::PropertiesOut;
use protocol::record::Record;

use super::Store;
use crate::append::{self, Draft};
use crate::error::AppendError;
use crate::facts::{FactChange, FactKind};
use crate::halves::{self, Half};

/// So many bytes are written again before retention looks anew.
const AGAIN_MAX: usize = 16 << 20;

/// Ends of half messages that are in the log and may not be dispatched yet. Locked by whoever appends one, and by whoever
/// writes a half message again.
#[derive(Debug, Default)]
pub(super) struct Ends(VecDeque<(LogOffset, LogOffset)>);

impl Ends {
    /// Notes what an append that ends at `end` says. What is dispatched is no longer of interest.
    pub(super) fn note(&mut self, drafts: &[Draft<'_>], end: LogOffset, dispatched: u64) {
        while self.0.front().is_some_and(|(_, end)| end.0 <= dispatched) {
            self.0.pop_front();
        }
        let ended = drafts.iter().filter_map(|draft| halves::may_end(&draft.message));
        self.0.extend(ended.map(|id| (id, end)));
    }

    fn has(&self, id: LogOffset) -> bool {
        self.0.iter().any(|(ended, _)| *ended == id)
    }
}

impl Store {
    /// All half messages that the dispatched part of the log leaves open, the oldest first.
    pub fn halves(&self) -> Vec<Half> {
        self.views.halves()
    }

    /// One open half message, as far as it was dispatched.
    pub fn half(&self, id: LogOffset) -> Option<Half> {
        let key = Half::key(id);
        Half::decode(&key, &self.fact(FactKind::HALF, &key)?)
    }

    /// Notes another state of an open half message as a record of its own: it is to be asked about again.
    pub fn put_half(&self, half: &Half) -> Result<(), AppendError> {
        let key = Half::key(half.id).to_vec();
        self.put_facts(&[FactChange { kind: FactKind::HALF, key, value: Some(half.encode()) }]).map(drop)
    }

    /// Writes open half messages again whose data lies below `end`. True when there is none left there: what is written
    /// here has to come through dispatch first. The caller holds `facts`.
    pub(super) fn halves_moved(&self, end: u64) -> bool {
        let (mut bytes, mut moved, mut ending) = (0, 0, 0);
        for half in self.views.halves().into_iter().filter(|half| half.log.0 < end) {
            if bytes > AGAIN_MAX {
                break;
            }
            // What damage took holds nothing up; whoever needs it finds that out and says so.
            let Some(raw) = self.record_at(half.log).ok().flatten() else { continue };
            match self.move_half(&half, &raw) {
                Ok(Some(len)) => (bytes, moved) = (bytes + len, moved + 1),
                Ok(None) => ending += 1,
                Err(error) => {
                    tracing::warn!(%error, "a half message could not be written again yet");
                    return false;
                }
            }
        }
        if moved > 0 {
            tracing::info!(
                count = moved,
                bytes,
                "undecided half messages were written again, their segment goes"
            );
        }
        // What ends one has to come through dispatch as well: until then its data may be needed after a power cut.
        moved + ending == 0
    }

    /// Returns how many bytes were written; `None` when the log says already that it is decided.
    fn move_half(&self, half: &Half, raw: &[u8]) -> Result<Option<usize>, AppendError> {
        let topic = TopicName::stored(HALF_TOPIC);
        let record = Record::parse(raw).expect("record_at returns whole records");
        let queue = self.views.queue(&topic, QueueId(0)).expect("the queue of half messages has been used");
        let mut properties = PropertiesOut::default();
        let message = halves::again(half, &record, &topic, &mut properties);
        let ends = self.ends.lock();
        // In this order: an end that is not noted any more is dispatched.
        if ends.has(half.id) || self.half(half.id).is_none() {
            return Ok(None);
        }
        // Also on a full disk: it makes room.
        self.health.admit_upkeep()?;
        append::with_buffer(|encoded| {
            encoded.push(&message)?;
            self.sequence(encoded, std::iter::once(&queue), |_| {})
        })?;
        Ok(Some(record.len()))
    }
}
