// SPDX-License-Identifier: Apache-2.0
//! How much this broker may hold. Whoever makes a topic or a group asks here first, so that a limit is met at the door and with
//! its reason: what was made can be used, whatever comes later.
//! Called by topics and groups under the lock of their changes; the process says when memory is short.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::config::Creation;

/// What is still allowed.
#[derive(Debug, Default)]
pub struct Room {
    topics: AtomicUsize,
    queues: AtomicUsize,
    groups: AtomicUsize,
    is_short: AtomicBool,
    lack: RwLock<Option<Arc<str>>>,
}

/// Why nothing new is made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// There are as many topics as may be.
    #[error("there are {limit} topics, as many as there may be (topics_max)")]
    Topics {
        /// How many.
        limit: usize,
    },
    /// All topics together would have more queues than may be.
    #[error("all topics together would have {wanted} queues, {limit} may be (queues_max)")]
    Queues {
        /// How many they would have.
        wanted: usize,
        /// How many they may have.
        limit: usize,
    },
    /// There are as many groups as may be.
    #[error("there are {limit} groups, as many as there may be (groups_max)")]
    Groups {
        /// How many.
        limit: usize,
    },
    /// The process or its machine is short of something.
    #[error("nothing new is made now: {why}")]
    Short {
        /// Of what.
        why: Arc<str>,
    },
}

impl Room {
    /// Takes over the limits of the configuration.
    pub(crate) fn follow(&self, creation: &Creation) {
        self.topics.store(creation.topics_max, Ordering::Relaxed);
        self.queues.store(creation.queues_max, Ordering::Relaxed);
        self.groups.store(creation.groups_max, Ordering::Relaxed);
    }

    /// Says that something is missing, or that nothing is any more.
    pub(crate) fn set_lack(&self, why: Option<&str>) {
        let mut lack = self.lack.write();
        if lack.is_some() != why.is_some() {
            match why {
                Some(why) => tracing::warn!(why, "no topic and no group is made for now"),
                None => tracing::info!("topics and groups are made again"),
            }
        }
        *lack = why.map(Arc::from);
        self.is_short.store(lack.is_some(), Ordering::Release);
    }

    fn admit(&self) -> Result<(), NoRoom> {
        if self.is_short.load(Ordering::Acquire)
            && let Some(why) = self.lack.read().clone()
        {
            return Err(NoRoom::Short { why });
        }
        Ok(())
    }

    /// Says whether one more topic may be made beside `topics`.
    pub(crate) fn admit_topic(&self, topics: usize) -> Result<(), NoRoom> {
        let limit = self.topics.load(Ordering::Relaxed);
        if topics >= limit {
            return Err(NoRoom::Topics { limit });
        }
        self.admit()
    }

    /// Says whether all topics together may have `wanted` queues.
    pub(crate) fn admit_queues(&self, wanted: usize) -> Result<(), NoRoom> {
        let limit = self.queues.load(Ordering::Relaxed);
        if wanted > limit { Err(NoRoom::Queues { wanted, limit }) } else { self.admit() }
    }

    /// Says whether one more group may be made beside `groups`.
    pub(crate) fn admit_group(&self, groups: usize) -> Result<(), NoRoom> {
        let limit = self.groups.load(Ordering::Relaxed);
        if groups >= limit { Err(NoRoom::Groups { limit }) } else { self.admit() }
    }
}
