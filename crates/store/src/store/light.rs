// SPDX-License-Identifier: Apache-2.0
//! Light queues: a message that is appended once and is in several queues. See `protocol::light`.
//! Invariant: which queues a message is in, and where, is said by its record and decided with its place in the log.

use std::sync::atomic::Ordering;

use super::{Store, check_queue};
use crate::append::{self, Appended, Counted, Draft};
use crate::error::AppendError;
use crate::latest;
use crate::queue::QueueRef;
use crate::queues::QueueLimit;

impl Store {
    /// As [`Store::append`], for messages of which some list light queues: those are in them too.
    pub fn append_light(&self, drafts: &[Draft<'_>]) -> Result<Appended, AppendError> {
        if !self.is_light.load(Ordering::Relaxed) || !drafts.iter().any(Draft::lists_light) {
            return self.append(drafts);
        }
        self.append_numbered(drafts, true)
    }

    /// Appends messages of which some name offsets in their text, as often as these changed meanwhile: inner batches, and
    /// with `lights` those that list light queues.
    pub(super) fn append_numbered(
        &self,
        drafts: &[Draft<'_>],
        lights: bool,
    ) -> Result<Appended, AppendError> {
        self.append_by(drafts, |store, drafts| {
            loop {
                if let Some(appended) = store.try_append_numbered(drafts, lights)? {
                    return Ok(appended);
                }
            }
        })
    }

    fn try_append_numbered(
        &self,
        drafts: &[Draft<'_>],
        lights: bool,
    ) -> Result<Option<Appended>, AppendError> {
        let mut counted = Counted::default();
        append::with_buffer(|encoded| {
            for draft in drafts {
                check_queue(draft);
                let message = match draft.queue.keeps_latest() {
                    false => draft.message,
                    true => latest::marked(draft.message),
                };
                let draft = &Draft { message, ..*draft };
                match (draft.is_batch(), lights) {
                    (true, _) => encoded.push_batch(draft, &mut counted)?,
                    (false, true) => {
                        encoded.push_light(draft, &mut counted, |name| self.views.light_anyway(name))?
                    }
                    (false, false) => encoded.push_counted(draft, &mut counted)?,
                }
            }
            self.try_sequence(encoded, drafts.iter().map(|draft| draft.queue), |_| {})
        })
    }

    /// Finds a light queue or makes its handle, unless there are `max` of them.
    pub fn light_queue(&self, name: &str, max: usize) -> Result<QueueRef, QueueLimit> {
        self.views.light(name, max)
    }

    /// How many light queues there are.
    pub fn light_queues(&self) -> usize {
        self.views.light_count()
    }

    /// Says whether messages go to the light queues that they list; they do unless told otherwise.
    pub fn set_light(&self, is_light: bool) {
        self.is_light.store(is_light, Ordering::Relaxed);
    }
}
