// SPDX-License-Identifier: Apache-2.0
//! What an operation of the store can answer instead of a result; one type an operation.
//! Not every bad news is an error: a message that is stored but not yet flushed is [`Settled`], not `Err`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::names::LogOffset;

use crate::views::ViewError;

/// Why nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A message, or all messages of one append together, are larger than the log takes at once.
    #[error("{size} bytes do not fit, the limit is {max}")]
    TooLarge {
        /// Bytes of the records.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// A message cannot become a record.
    #[error(transparent)]
    Record(#[from] protocol::record::RecordError),
    /// The log takes bytes faster than the disk does; try again later.
    #[error("the disk is behind, try again in {retry_after:?}")]
    Busy {
        /// How long to wait.
        retry_after: Duration,
    },
    /// There is no room on the disk, or no descriptor or mapping for more. Reads go on, and appends resume by themselves
    /// once there is.
    #[error("the store has no room: {why}")]
    DiskFull {
        /// What was tried and what is missing.
        why: Arc<str>,
    },
    /// A write or sync failed before; nothing can be promised any more.
    #[error("the store is poisoned: {0}")]
    Poisoned(Arc<str>),
    /// The queue's topic was removed while the caller held its handle; look the queue up again.
    #[error("the queue was removed")]
    Removed,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// How far the promise for an append has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The promised durability holds.
    Done,
    /// Stored, but not flushed within the caller's patience. It may still become lasting.
    FlushTimeout,
    /// Stored, but the disk failed; nobody knows what will be there after a restart.
    Poisoned(Arc<str>),
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory.
    #[error("{} is in use by another process", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
    /// The disk answered with an error.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The disk's answer.
        source: io::Error,
    },
    /// A view of the log cannot be opened or rebuilt.
    #[error(transparent)]
    Views(#[from] ViewError),
}

impl OpenError {
    /// Names what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
        |source| OpenError::Io { what: what.into(), source }
    }
}

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The data is not in memory; use the store's readers.
    #[error("the data is not in memory")]
    Cold,
    /// The store's readers have more work than they can hold; try again later.
    #[error("the disk readers are busy, try again in {retry_after:?}")]
    Busy {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The disk answered with an error.
    #[error("reading the log at {at} failed: {why}")]
    Io {
        /// Where.
        at: LogOffset,
        /// The disk's answer.
        why: Arc<str>,
    },
    /// What lies there is not the record that was written.
    #[error("the log is damaged at {at}: {why}")]
    Damaged {
        /// Where.
        at: LogOffset,
        /// What is wrong.
        why: Arc<str>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
