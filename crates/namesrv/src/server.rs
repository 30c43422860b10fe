// SPDX-License-Identifier: Apache-2.0
//! The name server: the route table behind its lock, the key-value settings, the configuration. Owned by whoever runs
//! the sockets; handlers borrow it. Decides nothing itself: rules are in `table`.
//! Leases are looked at whenever somebody asks, so that nothing expired is ever answered and no loop is needed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock};
use stdx::{Clock, Timestamp};

use crate::config::{ConfigRefused, Configured, NameServerConfig};
use crate::file;
use crate::kv::{ORDER_TOPICS, Settings};
use crate::table::{RegisterRefused, Registered, Registration, RouteTable, Seat};

/// A name server without its sockets.
pub struct NameServer {
    table: RwLock<RouteTable>,
    settings: Mutex<Settings>,
    configured: RwLock<Configured>,
    roster_file: PathBuf,
    /// Held while the roster is written, so that an older one never replaces a newer one.
    roster: Mutex<()>,
}

/// Why a name server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file of an earlier run is damaged, and so is its backup.
    #[error(transparent)]
    Damaged(#[from] file::ReadError),
}

impl NameServer {
    /// Reads what an earlier run left and starts with an empty route table.
    pub fn open(config: NameServerConfig, clock: &dyn Clock) -> Result<NameServer, OpenError> {
        let configured = Configured::open(config)?;
        let config = &configured.now;
        let roster_file = config.roster_file();
        let remembered = file::read(&roster_file, |bytes| serde_json::from_slice::<Vec<String>>(bytes))?
            .unwrap_or_default();
        let grace = if config.start_grace { config.start_grace_seconds } else { 0 };
        let grace_end = clock.now() + Duration::from_secs(grace);
        let table = RouteTable::new(config.rules(), remembered, grace_end);
        let settings = Settings::open(config.kv_file())?;
        Ok(NameServer {
            table: RwLock::new(table),
            settings: Mutex::new(settings),
            configured: RwLock::new(configured),
            roster_file,
            roster: Mutex::new(()),
        })
    }

    /// A connection ended: brokers that registered on it are gone.
    pub fn closed(&self, connection: u64) {
        for seat in self.table.write().disconnect(connection) {
            tracing::info!(
                broker = seat.broker,
                id = seat.id,
                address = seat.address,
                "broker connection closed"
            );
        }
    }

    /// Looks at the table as it is now.
    pub(crate) fn look<T>(&self, now: Timestamp, read: impl FnOnce(&RouteTable) -> T) -> T {
        self.expire(now);
        read(&self.table.read())
    }

    /// Changes the table as it is now.
    pub(crate) fn change<T>(&self, now: Timestamp, change: impl FnOnce(&mut RouteTable) -> T) -> T {
        self.expire(now);
        change(&mut self.table.write())
    }

    /// Takes a registration.
    pub(crate) fn register(&self, new: Registration, now: Timestamp) -> Result<Registered, RegisterRefused> {
        let seat = new.seat.clone();
        let outcome = self.change(now, |table| table.register(new, now));
        match &outcome {
            Ok(registered) if registered.roster_changed => {
                tracing::info!(broker = seat.broker, id = seat.id, address = seat.address, "broker joined");
                self.save_roster();
            }
            Ok(_) => {}
            Err(refused) => {
                tracing::warn!(broker = seat.broker, address = seat.address, %refused, "registration refused");
            }
        }
        outcome
    }

    /// Takes a farewell.
    pub(crate) fn unregister(&self, seat: &Seat, connection: u64, now: Timestamp) {
        tracing::info!(broker = seat.broker, id = seat.id, address = seat.address, "broker says farewell");
        if self.change(now, |table| table.unregister(seat, connection)) {
            self.save_roster();
        }
    }

    /// The key-value settings.
    pub(crate) fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock()
    }

    /// The orders of the queues of ordered topics.
    pub(crate) fn order_topics(&self) -> BTreeMap<String, String> {
        self.settings.lock().namespace(ORDER_TOPICS).cloned().unwrap_or_default()
    }

    /// Reads the configuration in force.
    pub(crate) fn config<T>(&self, read: impl FnOnce(&NameServerConfig) -> T) -> T {
        read(&self.configured.read().now)
    }

    /// Prints the configuration in force.
    pub(crate) fn print_config(&self) -> String {
        self.configured.read().print()
    }

    /// Changes the configuration.
    pub(crate) fn update_config(&self, text: &[u8]) -> Result<(), ConfigRefused> {
        let rules = {
            let mut configured = self.configured.write();
            configured.update(text)?;
            configured.now.rules()
        };
        self.table.write().rules = rules;
        Ok(())
    }

    fn expire(&self, now: Timestamp) {
        if !self.table.read().is_due(now) {
            return;
        }
        for seat in self.table.write().expire(now) {
            tracing::warn!(broker = seat.broker, id = seat.id, address = seat.address, "broker lease ended");
        }
    }

    /// Writes down who is expected back after a restart. Losing it only costs the next start some patience.
    fn save_roster(&self) {
        let _one_at_a_time = self.roster.lock();
        let roster = self.table.read().roster();
        let text = serde_json::to_vec(&roster).expect("a list of names is JSON");
        if let Err(error) = file::replace(&self.roster_file, &text) {
            tracing::warn!(path = %self.roster_file.display(), %error, "roster cannot be written");
        }
    }
}
