// SPDX-License-Identifier: Apache-2.0
//! What every producer, consumer and admin client is told at its start, and the id it goes by.
//! Read once when a client starts; nothing here is looked at again afterwards.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use stdx::{Clock, SystemClock};

/// What all clients need to know.
#[derive(Clone)]
pub struct ClientConfig {
    /// Name servers as `host:port`; they hold the same, so one that answers is enough.
    pub name_servers: Vec<String>,
    /// Part of the client id. Without it every client gets one of its own. Broadcast consumers that set it find
    /// their progress again after a restart.
    pub instance: Option<String>,
    /// How long one request may take unless an operation says otherwise.
    pub request_timeout: Duration,
    /// How often routes are fetched again.
    pub route_interval: Duration,
    /// How often brokers hear that we live.
    pub heartbeat_interval: Duration,
    /// Where time comes from; the machine's clock when absent.
    pub clock: Option<Arc<dyn Clock>>,
}

impl ClientConfig {
    /// Takes a list such as `127.0.0.1:9876;10.0.0.2:9876`.
    pub fn new(name_servers: &str) -> ClientConfig {
        let servers = name_servers.split([';', ',']).map(str::trim).filter(|server| !server.is_empty());
        ClientConfig {
            name_servers: servers.map(str::to_owned).collect(),
            instance: None,
            request_timeout: Duration::from_secs(3),
            route_interval: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(30),
            clock: None,
        }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        static MACHINE: OnceLock<Arc<dyn Clock>> = OnceLock::new();
        self.clock.clone().unwrap_or_else(|| MACHINE.get_or_init(SystemClock::new).clone())
    }

    /// `address@instance`, the form that servers and tools show. Unique among all clients of a group unless
    /// an instance was given.
    pub(crate) fn client_id(&self, host: IpAddr) -> String {
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        if let Some(instance) = &self.instance {
            return format!("{host}@{instance}");
        }
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
        format!("{host}@{}#{}-{number}", std::process::id(), self.clock().now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_list_of_name_servers_is_split() {
        assert_eq!(ClientConfig::new(" a:1; b:2;;").name_servers, ["a:1", "b:2"]);
    }

    #[test]
    fn ids_differ_unless_an_instance_is_named() {
        let mut config = ClientConfig::new("a:1");
        let host = Ipv4Addr::LOCALHOST.into();
        assert_ne!(config.client_id(host), config.client_id(host));
        config.instance = Some("one".into());
        assert_eq!(config.client_id(host), "127.0.0.1@one");
    }
}
