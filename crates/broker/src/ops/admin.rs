// SPDX-License-Identifier: Apache-2.0
//! What operators can do and see, one file a subject. Called by the faces in `handlers/admin`; uses the same parts as
//! the operations of clients, and adds no path of its own to the log.

pub(crate) mod attributes;
pub(crate) mod connections;
pub mod groups;
pub mod journey;
pub(crate) mod progress;
pub(crate) mod queue;
pub(crate) mod relay;
pub(crate) mod replicas;
pub mod reset;
pub(crate) mod runtime;
pub(crate) mod settings;
pub(crate) mod stats;
pub mod timers;
pub mod topics;
pub mod transactions;
pub(crate) mod upkeep;

use protocol::data_version::DataVersion;

/// The most entries of one page, as in Apache.
const PAGE_MAX: usize = 2000;
/// The most queues of one topic: what one group's progress in it is kept for.
pub(crate) const QUEUES_MAX: i32 = 65_536;

/// Which part of a table is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// The first entry.
    pub(crate) from: usize,
    /// How many at most.
    pub(crate) max: usize,
    /// The version that the pages before it had.
    pub(crate) version: Option<DataVersion>,
}

impl Page {
    /// The entries of this page out of a whole table. A table that has changed since the pages before starts over: the
    /// caller sees the new version and asks again from there.
    fn of<T>(self, all: Vec<T>, version: DataVersion) -> Vec<T> {
        let from = if self.version == Some(version) { self.from } else { 0 };
        all.into_iter().skip(from).take(self.max.min(PAGE_MAX)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_starts_over_when_the_table_changed() {
        let now = DataVersion { counter: 7, ..DataVersion::default() };
        let page = |from, max, version| Page { from, max, version }.of((0..5000).collect::<Vec<u32>>(), now);
        assert_eq!(page(10, 3, Some(now)), [10, 11, 12]);
        assert_eq!(page(10, 3, Some(DataVersion::default())), [0, 1, 2]);
        assert_eq!(page(10, 3, None), [0, 1, 2]);
        assert_eq!((page(4999, 10, Some(now)).len(), page(9999, 10, Some(now)).len()), (1, 0));
        assert_eq!(page(0, usize::MAX, Some(now)).len(), PAGE_MAX);
    }
}
