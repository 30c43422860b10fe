// SPDX-License-Identifier: Apache-2.0
//! Records that are looked at one after the other, mostly in the same stage: what memory has from the first of them on
//! is leased once. Used by the broker for half messages that are decided together.
//! Invariant: what is handed out is a whole record that says that it lies where it was looked for.

use bytes::Bytes;
use protocol::names::LogOffset;
use protocol::record::Record;

use super::Store;
use crate::error::ReadError;

/// Looks at records without waiting for the device.
pub struct Near<'a> {
    store: &'a Store,
    /// The end of a stage that was leased last, and where in the log it begins.
    held: Option<(u64, Bytes)>,
}

impl Store {
    /// Begins to look at records.
    pub fn near(&self) -> Near<'_> {
        Near { store: self, held: None }
    }
}

impl Near<'_> {
    /// Shows the record that starts at `at`, and its bytes. `None` where none does; [`ReadError::Cold`] when that would
    /// have to wait for the device.
    pub fn look<T>(
        &mut self,
        at: LogOffset,
        look: impl FnOnce(&Bytes, &Record<'_>) -> T,
    ) -> Result<Option<T>, ReadError> {
        if !self.holds(at)
            && let Some(hot) = self.store.log.hot(at.0)
        {
            self.held = Some((at.0, hot));
        }
        if self.holds(at)
            && let Some((start, bytes)) = &self.held
        {
            let rest = &bytes[(at.0 - start) as usize..];
            let record = Record::parse(rest).ok().filter(|record| record.log_offset() == at);
            return Ok(record.map(|record| look(&bytes.slice_ref(record.raw()), &record)));
        }
        let Some(bytes) = self.store.record_now(at)? else { return Ok(None) };
        Ok(Record::parse(&bytes).ok().map(|record| look(&bytes, &record)))
    }

    fn holds(&self, at: LogOffset) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|(start, bytes)| (*start..start + bytes.len() as u64).contains(&at.0))
    }
}
