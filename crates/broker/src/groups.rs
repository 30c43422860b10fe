// SPDX-License-Identifier: Apache-2.0
//! The consumer groups of this broker and their settings. Called by every operation that consumes. Settings are
//! facts of the log, except for the groups that every broker has.
//! Invariants: a setting is part of the log before anyone sees it, together with the new version; a lookup
//! creates nothing.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use protocol::body::SubscriptionGroupConfig;
use protocol::data_version::DataVersion;
use protocol::json;
use protocol::names::{Group, NameError};
use stdx::Timestamp;
use store::{AppendError, FactChange, Store};

use crate::config::Creation;
use crate::facts;
use crate::room::{NoRoom, Room};

/// Groups that servers and tools use without asking.
const SYSTEM: [&str; 8] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
];

/// All consumer groups of this broker.
pub struct Groups {
    table: RwLock<HashMap<Group, Arc<SubscriptionGroupConfig>>>,
    /// Held while a change goes to the log and into the table, so that changes have one order.
    version: Mutex<DataVersion>,
    room: Arc<Room>,
}

/// Why a group cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupRefused {
    /// There is no such group, and it is not made by itself.
    #[error("subscription group [{group}] does not exist")]
    Missing {
        /// Its name.
        group: Group,
    },
    /// An operator stopped it.
    #[error("subscription group no permission, {group}")]
    Disabled {
        /// Its name.
        group: Group,
    },
    /// A group cannot be called that.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// Nothing more may be made.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// Its settings did not become part of the log.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// True for groups that servers and tools use, which are nobody's.
pub(crate) fn is_for_tools(group: &str) -> bool {
    SYSTEM.contains(&group)
}

impl Groups {
    /// Reads all settings back and adds the groups that every broker has.
    pub(crate) fn open(store: &Store, room: Arc<Room>, now: Timestamp) -> Groups {
        let system = |name: &&str| {
            let group_name = Group::stored(*name);
            let config = SubscriptionGroupConfig { group_name: group_name.clone(), ..Default::default() };
            (group_name, Arc::new(config))
        };
        let mut table: HashMap<Group, Arc<SubscriptionGroupConfig>> = SYSTEM.iter().map(system).collect();
        for (name, value) in store.facts(facts::GROUPS) {
            match json::from_slice::<SubscriptionGroupConfig>(&value) {
                Ok(group) => drop(table.insert(group.group_name.clone(), Arc::new(group))),
                Err(error) => {
                    tracing::error!(group = %String::from_utf8_lossy(&name), %error, "settings are not readable");
                }
            }
        }
        let version = store.fact(facts::VERSIONS, b"groups").and_then(|value| json::from_slice(&value).ok());
        Groups {
            table: RwLock::new(table),
            version: Mutex::new(version.unwrap_or_else(|| DataVersion::new(now))),
            room,
        }
    }

    /// Looks a group up. Every group called like a light queue is there, as it comes.
    pub fn get(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        self.table.read().get(group).cloned().or_else(|| light(group))
    }

    /// Returns a group, made when it is unknown and may come into being by itself.
    pub(crate) fn find_or_create(
        &self,
        group: &Group,
        creation: &Creation,
        store: &Store,
        now: Timestamp,
    ) -> Result<Arc<SubscriptionGroupConfig>, GroupRefused> {
        if let Some(known) = self.get(group) {
            return Ok(known);
        }
        let wanted = creation.auto_create_groups || (creation.auto_create_system_groups && group.is_system());
        if !wanted {
            return Err(GroupRefused::Missing { group: group.clone() });
        }
        group.check()?;
        let config = SubscriptionGroupConfig { group_name: group.detached(), ..Default::default() };
        self.put(config, true, store, now)
    }

    /// Returns a group that may consume.
    pub(crate) fn for_read(
        &self,
        group: &Group,
        creation: &Creation,
        store: &Store,
        now: Timestamp,
    ) -> Result<Arc<SubscriptionGroupConfig>, GroupRefused> {
        let config = self.find_or_create(group, creation, store, now)?;
        if config.consume_enable { Ok(config) } else { Err(GroupRefused::Disabled { group: group.clone() }) }
    }

    /// Sets a group, new or not.
    pub fn update(
        &self,
        config: SubscriptionGroupConfig,
        store: &Store,
        now: Timestamp,
    ) -> Result<Arc<SubscriptionGroupConfig>, GroupRefused> {
        if self.get(&config.group_name).is_none() {
            config.group_name.check()?;
        }
        self.put(config, false, store, now)
    }

    /// Removes a group's settings; false when there were none.
    pub fn remove(&self, group: &Group, store: &Store, now: Timestamp) -> Result<bool, AppendError> {
        let mut version = self.version.lock();
        if self.get(group).is_none() {
            return Ok(false);
        }
        let mut next = *version;
        next.advance(now, 0);
        let gone = FactChange { kind: facts::GROUPS, key: group.as_bytes().to_vec(), value: None };
        store.put_facts(&[gone, version_fact(&next)])?;
        *version = next;
        self.table.write().remove(group.as_str());
        tracing::info!(%group, "group removed");
        Ok(true)
    }

    /// Returns all groups by name.
    pub fn all(&self) -> Vec<Arc<SubscriptionGroupConfig>> {
        let mut all: Vec<Arc<SubscriptionGroupConfig>> = self.table.read().values().cloned().collect();
        all.sort_by(|one, other| one.group_name.cmp(&other.group_name));
        all
    }

    /// Returns the version of the table.
    pub fn version(&self) -> DataVersion {
        *self.version.lock()
    }

    /// Puts settings into the log and the table. With `only_new`, a group that is there meanwhile wins.
    fn put(
        &self,
        config: SubscriptionGroupConfig,
        only_new: bool,
        store: &Store,
        now: Timestamp,
    ) -> Result<Arc<SubscriptionGroupConfig>, GroupRefused> {
        let mut version = self.version.lock();
        match self.get(&config.group_name) {
            Some(known) if only_new => return Ok(known),
            Some(_) => {}
            None => self.room.admit_group(self.table.read().len())?,
        }
        let mut next = *version;
        next.advance(now, 0);
        let key = config.group_name.as_bytes().to_vec();
        let setting = FactChange { kind: facts::GROUPS, key, value: Some(json::to_vec(&config)) };
        store.put_facts(&[setting, version_fact(&next)])?;
        *version = next;
        tracing::info!(group = %config.group_name, "group set");
        let config = Arc::new(config);
        self.table.write().insert(config.group_name.clone(), config.clone());
        Ok(config)
    }
}

/// A group that reads light queues: its settings are the usual ones and are kept nowhere.
fn light(group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
    let group_name = Group::stored(group.to_owned());
    let is_one = group_name.is_light() && group_name.check().is_ok();
    is_one.then(|| Arc::new(SubscriptionGroupConfig { group_name, ..Default::default() }))
}

fn version_fact(version: &DataVersion) -> FactChange {
    FactChange { kind: facts::VERSIONS, key: b"groups".to_vec(), value: Some(json::to_vec(version)) }
}
