// SPDX-License-Identifier: Apache-2.0
//! What operators and tools do: look at a cluster and change it. Every call goes out once, to the servers it names;
//! nothing runs in the background. Calls that concern a whole cluster visit its masters one after the other.

mod brokers;
mod consumption;
mod dead_letters;
mod error;
mod groups;
mod messages;
mod scan;
mod timers;
mod topics;
mod traces;
mod transactions;

use std::sync::Arc;

use bytes::Bytes;
use protocol::body::{ClusterInfo, KVTable};
use protocol::json;
use protocol::names::{BrokerName, ByteStr};
use protocol::request::Request;
use protocol::route::{
    AddWritePermission, DeleteKvConfig, GetBrokerClusterInfo, GetKvConfig, GetKvListByNamespace,
    GetNameServerConfig, PutKvConfig, UpdateNameServerConfig, WipeWritePermission,
};
use remoting::{Body, Router};
use serde::de::DeserializeOwned;

use crate::config::ClientConfig;
use crate::session::{Session, StartError};

pub use consumption::{PlannedMove, ResetScope, ResetTo};
pub use dead_letters::{DeadLetterFilter, DeadLetters};
pub use error::AdminError;
pub use groups::{GroupProgress, QueueProgress};
pub use messages::KeyQuery;
pub use scan::{ScanQuery, Scanned};
pub use timers::{TimedName, TimerQuery};
pub use traces::ClientTrace;
pub use transactions::TransactionQuery;

/// A connected admin client.
pub struct Admin {
    session: Session,
}

/// A broker that takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// The cluster it belongs to.
    pub cluster: String,
    /// Its name.
    pub broker: BrokerName,
    /// Its address.
    pub address: String,
}

impl Admin {
    /// Connects to a name server.
    pub async fn start(config: ClientConfig) -> Result<Admin, StartError> {
        Ok(Admin { session: Session::open(config, Router::new(), Arc::new(())).await? })
    }

    /// Closes the connections.
    pub fn close(&self) {
        self.session.close();
    }

    /// Brokers and clusters.
    pub async fn cluster_info(&self) -> Result<ClusterInfo, AdminError> {
        self.name_server(&GetBrokerClusterInfo).await
    }

    /// The masters of one cluster, or of all.
    pub async fn masters(&self, cluster: Option<&str>) -> Result<Vec<Master>, AdminError> {
        let info = self.cluster_info().await?;
        if let Some(cluster) = cluster.filter(|name| !info.cluster_addr_table.contains_key(*name)) {
            return Err(AdminError::NoCluster(cluster.to_owned()));
        }
        let wanted = |name: &str| cluster.is_none_or(|cluster| cluster == name);
        let brokers = info.broker_addr_table.values().filter(|broker| wanted(&broker.cluster));
        let masters: Vec<Master> = brokers
            .filter_map(|broker| {
                let address = broker.broker_addrs.get(&0)?.clone();
                Some(Master { cluster: broker.cluster.clone(), broker: broker.broker_name.clone(), address })
            })
            .collect();
        if masters.is_empty() { Err(AdminError::NoMaster) } else { Ok(masters) }
    }

    /// Keeps a value in all name servers.
    pub async fn put_kv(&self, namespace: &str, key: &str, value: &str) -> Result<(), AdminError> {
        let request =
            PutKvConfig { namespace: namespace.into(), key: key.into(), value: ByteStr::from(value) };
        self.every_name_server(&request, Bytes::new()).await
    }

    /// Reads a value from a name server.
    pub async fn get_kv(&self, namespace: &str, key: &str) -> Result<Option<String>, AdminError> {
        let request = GetKvConfig { namespace: namespace.into(), key: key.into() };
        let response = self.session.ask_name_server(&request).await?;
        if response.code() == protocol::ResponseCode::QUERY_NOT_FOUND {
            return Ok(None);
        }
        Ok(response.ok()?.0.value.map(|value| value.to_string()))
    }

    /// Forgets a value in all name servers.
    pub async fn delete_kv(&self, namespace: &str, key: &str) -> Result<(), AdminError> {
        let request = DeleteKvConfig { namespace: namespace.into(), key: key.into() };
        self.every_name_server(&request, Bytes::new()).await
    }

    /// Everything under a namespace.
    pub async fn list_kv(&self, namespace: &str) -> Result<KVTable, AdminError> {
        self.name_server(&GetKvListByNamespace { namespace: namespace.into() }).await
    }

    /// The settings of each name server, as properties text.
    pub async fn name_server_configs(&self) -> Result<Vec<(String, String)>, AdminError> {
        let mut configs = Vec::new();
        for server in &self.session.config().name_servers {
            let (_, body) = self.session.ask(server, &GetNameServerConfig, ()).await?;
            configs.push((server.clone(), String::from_utf8_lossy(&body).into_owned()));
        }
        Ok(configs)
    }

    /// Changes settings of all name servers.
    pub async fn update_name_server_config(&self, changes: &[(&str, &str)]) -> Result<(), AdminError> {
        self.every_name_server(&UpdateNameServerConfig, properties_text(changes)).await
    }

    /// Takes a broker's topics out of writing, or back in; returns how many topics that concerned.
    pub async fn set_writable(&self, broker: &BrokerName, is_writable: bool) -> Result<i32, AdminError> {
        let mut topics = 0;
        for server in &self.session.config().name_servers {
            topics = if is_writable {
                self.session.ask(server, &AddWritePermission { broker: broker.clone() }, ()).await?.0.topics
            } else {
                self.session.ask(server, &WipeWritePermission { broker: broker.clone() }, ()).await?.0.topics
            };
        }
        Ok(topics)
    }

    /// Asks any name server for a body.
    async fn name_server<R: Request, T: DeserializeOwned>(&self, request: &R) -> Result<T, AdminError> {
        let (_, body) = self.session.ask_name_server(request).await?.ok()?;
        Ok(json::from_slice(&body)?)
    }

    /// Tells every name server; the first failure ends it.
    async fn every_name_server<R: Request>(&self, request: &R, body: Bytes) -> Result<(), AdminError> {
        for server in &self.session.config().name_servers {
            self.session.ask(server, request, body.clone()).await?;
        }
        Ok(())
    }

    /// Asks a broker for a body.
    async fn broker<R: Request, T: DeserializeOwned>(
        &self,
        address: &str,
        request: &R,
    ) -> Result<T, AdminError> {
        let (_, body) = self.session.ask(address, request, ()).await?;
        Ok(json::from_slice(&body)?)
    }

    /// Tells a broker.
    async fn tell<R: Request>(
        &self,
        address: &str,
        request: &R,
        body: impl Into<Body>,
    ) -> Result<(), AdminError> {
        self.session.ask(address, request, body).await?;
        Ok(())
    }
}

/// Settings travel as lines of `key=value`.
fn properties_text(changes: &[(&str, &str)]) -> Bytes {
    changes.iter().map(|(key, value)| format!("{key}={value}\n")).collect::<String>().into()
}
