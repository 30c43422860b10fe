// SPDX-License-Identifier: Apache-2.0
//! Cleaning up on demand. Called by the faces of 306, 316 and 329. Views drop what the log no longer has by themselves, and
//! a removed topic takes its queues along, so only the log itself is left to look at.

use crate::Broker;

/// The most segments that one request removes.
const SEGMENTS_MAX: usize = 64;

impl Broker {
    /// Removes segments that are past their time, whatever the hour is, as in Apache.
    pub(crate) fn retain(&self) -> usize {
        let removed = (0..SEGMENTS_MAX).take_while(|_| self.store.retain_on_demand()).count();
        tracing::info!(removed, "segments looked through on demand");
        removed
    }
}
