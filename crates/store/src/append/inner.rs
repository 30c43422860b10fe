// SPDX-License-Identifier: Apache-2.0
//! Inner batches on their way into the log: one record that takes as many offsets of its queue as it holds messages, and
//! names the first of them. See `protocol::inner` and [`super::numbers`]. Called for each draft whose flag says so.
//! Invariant: what a record takes is what a replay of it takes, whatever its text said before.

use std::fmt::Write;

use protocol::properties::{self, PropertiesOut};
use protocol::{inner, record};

use super::numbers::{Counted, Kind, Number};
use super::{Draft, Encoded};
use crate::error::AppendError;

impl Draft<'_> {
    /// True when its flag says that it is an inner batch.
    pub(crate) fn is_batch(&self) -> bool {
        self.message.sys_flag & record::INNER_BATCH != 0
    }
}

impl Encoded {
    /// Adds an inner batch, and to its text its own offset.
    pub(crate) fn push_batch(&mut self, draft: &Draft<'_>, counted: &mut Counted) -> Result<(), AppendError> {
        let said = String::from_utf8_lossy(draft.message.properties);
        let count = inner::wanted(draft.message.sys_flag, &said);
        let ahead = counted.add(draft.queue, count);
        let mut out = PropertiesOut::from_text(&said);
        // Its place as a copy of another record.
        out.remove(properties::INNER_BASE);
        let mut text = out.as_str().to_owned();
        text += properties::INNER_BASE;
        text.push(properties::NAME_END);
        let (record, first) = (self.ends.len(), self.numbers.list.len());
        let (at, expected) = (text.len(), draft.queue.next().0 + ahead);
        write!(text, "{expected}").expect("a string takes everything");
        let (queue, width) = (draft.queue.clone(), text.len() - at);
        text.push(properties::VALUE_END);
        self.numbers.list.push(Number { queue, record, at, width, ahead, kind: Kind::Own { count } });
        self.push_text(draft, &text, first)
    }
}
