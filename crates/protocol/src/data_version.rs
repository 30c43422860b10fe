// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Which of two copies of a table is newer. Called by everyone who keeps or compares such tables.
//! Order: the state version (the master's epoch) first, then the count of changes, then the time.

use core::cmp::Ordering;

use serde::{Deserialize, Serialize};
use stdx::Timestamp;

/// The version of a table that brokers and name servers exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DataVersion {
    /// Counts changes.
    pub counter: i64,
    /// The epoch of the master that made the change, zero without a controller.
    pub state_version: i64,
    /// When the last change was made, in milliseconds.
    pub timestamp: i64,
}

impl DataVersion {
    /// Returns the version of a table that is made at `now`.
    pub fn new(now: Timestamp) -> DataVersion {
        DataVersion { counter: 0, state_version: 0, timestamp: now.0 }
    }

    /// Counts one change.
    pub fn advance(&mut self, now: Timestamp, state_version: i64) {
        self.counter = self.counter.wrapping_add(1);
        self.state_version = state_version;
        self.timestamp = now.0;
    }
}

impl Ord for DataVersion {
    fn cmp(&self, other: &DataVersion) -> Ordering {
        let key = |version: &DataVersion| (version.state_version, version.counter, version.timestamp);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for DataVersion {
    fn partial_cmp(&self, other: &DataVersion) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn the_epoch_counts_more_than_changes_and_changes_more_than_time() {
        let version = |state_version, counter, timestamp| DataVersion { counter, state_version, timestamp };
        let rising =
            [version(0, 0, 9), version(0, 1, 3), version(0, 1, 4), version(0, 2, 0), version(1, 0, 0)];
        assert!(rising.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_change_makes_it_newer() {
        let old = DataVersion::new(Timestamp(50));
        let mut new = old;
        new.advance(Timestamp(49), 0);
        assert!(new > old);
        assert_eq!(json::to_vec(&new), br#"{"counter":1,"stateVersion":0,"timestamp":49}"#);
        assert_eq!(json::from_slice::<DataVersion>(br#"{"counter":"1","timestamp":49}"#).unwrap(), new);
    }
}
