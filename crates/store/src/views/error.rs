// SPDX-License-Identifier: Apache-2.0
//! What can go wrong in the views. Everything here but `Damaged` in a read stops the store: the views are derived
//! from the log, so a view that disagrees with it is never repaired in place.

use std::io;
use std::path::{Path, PathBuf};

use protocol::names::{LogOffset, QueueOffset};

/// Why a view could not follow the log, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The disk refused.
    #[error("cannot {act} {}: {source}", path.display())]
    Disk { act: &'static str, path: PathBuf, source: io::Error },
    /// A view's file does not hold what was written to it.
    #[error("{} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    /// A record was applied that the views have passed already.
    #[error("record at {at} was applied before: the views stand at {upto}")]
    Repeated { at: LogOffset, upto: LogOffset },
    /// A queue's offsets do not follow each other.
    #[error("record at {at} has queue offset {found} in {queue}, {expected} was due")]
    NotContiguous { at: LogOffset, queue: String, expected: QueueOffset, found: QueueOffset },
    /// The arena has no addresses left.
    #[error("the queue arena is full")]
    ArenaFull,
}

impl ViewError {
    /// Wraps an error of the disk for `map_err`.
    pub(crate) fn disk(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ViewError {
        move |source| ViewError::Disk { act, path: path.to_path_buf(), source }
    }

    /// Says that a file is damaged.
    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> ViewError {
        ViewError::Damaged { path: path.to_path_buf(), what: what.into() }
    }
}
