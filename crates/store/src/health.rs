// SPDX-License-Identifier: Apache-2.0
//! Whether the store may still take appends. Read on every append, changed by the loops that meet the disk.
//! Invariant: poison is for ever, and the first cause is the one that is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;

use crate::error::AppendError;

#[derive(Default)]
pub(crate) struct Health {
    /// True when any of the others says no: the one flag an append looks at.
    refuses: AtomicBool,
    poison: OnceLock<Arc<str>>,
    full: RwLock<Option<Arc<str>>>,
    closed: AtomicBool,
}

impl Health {
    /// Says whether an append may begin.
    pub(crate) fn admit(&self) -> Result<(), AppendError> {
        if self.refuses.load(Ordering::Acquire) { self.refusal() } else { Ok(()) }
    }

    #[cold]
    fn refusal(&self) -> Result<(), AppendError> {
        if let Some(cause) = self.poison.get() {
            return Err(AppendError::Poisoned(cause.clone()));
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(AppendError::Closed);
        }
        match &*self.full.read() {
            Some(why) => Err(AppendError::DiskFull { why: why.clone() }),
            None => Ok(()),
        }
    }

    /// Says whether the store may append for itself, which it also has to when the disk is full: what it writes again
    /// lets more go.
    pub(crate) fn admit_upkeep(&self) -> Result<(), AppendError> {
        match self.admit() {
            Err(AppendError::DiskFull { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// Ends all promises. Returns true for the first cause.
    pub(crate) fn poison(&self, cause: &str) -> bool {
        let is_first = self.poison.set(cause.into()).is_ok();
        self.refuses.store(true, Ordering::Release);
        if is_first {
            tracing::error!(cause, "the store is poisoned: no further append is taken");
        }
        is_first
    }

    pub(crate) fn poisoned(&self) -> Option<Arc<str>> {
        self.poison.get().cloned()
    }

    /// Refuses appends until there is room again.
    pub(crate) fn set_full(&self, why: Option<String>) {
        let mut full = self.full.write();
        if full.is_some() != why.is_some() {
            match &why {
                Some(why) => tracing::warn!(why, "the store has no room: appends are refused"),
                None => tracing::info!("the store has room again: appends are taken"),
            }
        }
        *full = why.map(Arc::from);
        let refuses = full.is_some() || self.poison.get().is_some() || self.closed.load(Ordering::Acquire);
        self.refuses.store(refuses, Ordering::Release);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.read().is_some()
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.refuses.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// What a producer is told to wait when the stages are full.
pub(crate) const BUSY_RETRY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fullness_passes_and_poison_stays() {
        let health = Health::default();
        assert_eq!(health.admit(), Ok(()));
        health.set_full(Some("99 %".into()));
        assert_eq!(health.admit(), Err(AppendError::DiskFull { why: "99 %".into() }));
        health.set_full(None);
        assert_eq!(health.admit(), Ok(()));
        assert!(health.poison("sync failed"));
        assert!(!health.poison("and again"));
        health.set_full(Some("full".into()));
        health.set_full(None);
        health.close();
        assert_eq!(health.admit(), Err(AppendError::Poisoned("sync failed".into())));
    }
}
