// SPDX-License-Identifier: Apache-2.0
//! What a producer, a consumer and an admin client have in common: an id, connections, routes, heartbeats.
//! Each of them owns one session; the session knows none of them. It never retries on its own but for asking the next
//! name server.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use protocol::body::HeartbeatData;
use protocol::heartbeat::{Heartbeat, UnregisterClient};
use protocol::json;
use protocol::names::{BrokerName, ByteStr, Group, TopicName};
use protocol::request::Request;
use remoting::{Body, CallError, Client, Connection, Response, Router};
use stdx::{Clock, Timestamp, deadline};

use crate::config::ClientConfig;
use crate::routes::Routes;

/// Why a client cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration names no name server.
    #[error("no name server is configured")]
    NoNameServer,
    /// The group cannot exist, or belongs to the servers.
    #[error("illegal group: {0}")]
    Group(String),
    /// None of the name servers answers.
    #[error("no name server answers: {0}")]
    Unreachable(#[source] CallError),
    /// A subscription cannot be understood.
    #[error("illegal subscription: {0}")]
    Subscription(String),
}

/// Connections and routes of one client.
pub(crate) struct Session {
    id: String,
    host: IpAddr,
    config: ClientConfig,
    clock: Arc<dyn Clock>,
    remote: Client,
    preferred_server: AtomicUsize,
    routes: Routes,
}

impl Session {
    /// Opens a session over the first name server that answers; `router` answers what brokers ask of this client.
    pub(crate) async fn open<S: Send + Sync + 'static>(
        config: ClientConfig,
        router: Router<S>,
        state: Arc<S>,
    ) -> Result<Session, StartError> {
        let clock = config.clock();
        let remote = Client::new(remoting::ClientConfig::default(), clock.clone(), router, state);
        let mut failure = StartError::NoNameServer;
        for (index, server) in config.name_servers.iter().enumerate() {
            match remote.connect(server).await {
                Ok(connection) => {
                    let host = connection.local().ip();
                    return Ok(Session {
                        id: config.client_id(host),
                        host,
                        config,
                        clock,
                        remote,
                        preferred_server: AtomicUsize::new(index),
                        routes: Routes::default(),
                    });
                }
                Err(error) => failure = StartError::Unreachable(error),
            }
        }
        Err(failure)
    }

    /// This machine's address, as name servers see it.
    pub(crate) fn host(&self) -> IpAddr {
        self.host
    }

    /// The id that servers and tools show.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Waits.
    pub(crate) async fn sleep(&self, time: Duration) {
        let at = self.now() + time;
        deadline(&self.clock, at, std::future::pending::<()>()).await;
    }

    /// Waits for a future, but not beyond a time.
    pub(crate) async fn within<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        deadline(&self.clock, self.now() + time, future).await
    }

    /// The shared connection to a broker, made within `timeout` where there is none.
    pub(crate) async fn connect(&self, address: &str, timeout: Duration) -> Result<Connection, CallError> {
        match self.within(timeout, self.remote.connect(address)).await {
            Some(connected) => connected,
            None => Err(CallError::Connect {
                address: address.to_owned(),
                reason: format!("no connection within {} ms", timeout.as_millis()),
            }),
        }
    }

    /// Sends a request to a broker and waits for the answer, whatever its code.
    pub(crate) async fn call<R: Request>(
        &self,
        address: &str,
        request: &R,
        body: impl Into<Body>,
        timeout: Duration,
    ) -> Result<Response<R::Reply>, CallError> {
        self.connect(address, timeout).await?.call(request, body, timeout).await
    }

    /// As `call` with the usual timeout; anything but success is an error.
    pub(crate) async fn ask<R: Request>(
        &self,
        address: &str,
        request: &R,
        body: impl Into<Body>,
    ) -> Result<(R::Reply, Bytes), CallError> {
        self.call(address, request, body, self.config.request_timeout).await?.ok()
    }

    /// Asks a name server; one that cannot be reached is passed over, and the next call starts with its successor.
    pub(crate) async fn ask_name_server<R: Request>(
        &self,
        request: &R,
    ) -> Result<Response<R::Reply>, CallError> {
        let servers = &self.config.name_servers;
        let first = self.preferred_server.load(Ordering::Relaxed);
        let mut last = None;
        for index in (first..first + servers.len()).map(|n| n % servers.len()) {
            match self.call(&servers[index], request, (), self.config.request_timeout).await {
                Ok(response) => {
                    self.preferred_server.store(index, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("a session has at least one name server"))
    }

    /// The address of a broker's master, as far as any known route names it.
    pub(crate) fn master(&self, broker: &BrokerName) -> Option<String> {
        self.routes.each().iter().find_map(|route| route.master(broker).map(str::to_owned))
    }

    /// Waits until the next heartbeat is due: after a while, or at once when a broker appears that knows nothing of us.
    pub(crate) async fn until_beat(&self) {
        let pause = self.config.heartbeat_interval.min(self.config.route_interval);
        tokio::select! {
            () = self.sleep(pause) => {}
            () = self.routes.new_broker.notified() => {}
        }
    }

    /// Tells every broker of every known route that we live; returns how many answered.
    pub(crate) async fn beat(&self, data: &HeartbeatData) -> usize {
        let body = Bytes::from(json::to_vec(data));
        let brokers = self.brokers();
        let beats = brokers.iter().map(|address| {
            let body = body.clone();
            async move {
                let answer = self.ask(address, &Heartbeat, body).await;
                if let Err(error) = &answer {
                    tracing::warn!(peer = %address, %error, "heartbeat failed");
                }
                usize::from(answer.is_ok())
            }
        });
        join_all(beats).await.into_iter().sum()
    }

    /// Tells every broker that a group loses this client.
    pub(crate) async fn unregister(&self, producer: Option<&Group>, consumer: Option<&Group>) {
        let request = UnregisterClient {
            client: ByteStr::from(self.id.as_str()),
            producer_group: producer.cloned(),
            consumer_group: consumer.cloned(),
        };
        let brokers = self.brokers();
        let calls = brokers.iter().map(|address| self.ask(address, &request, ()));
        for error in join_all(calls).await.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "a broker was not told that this client leaves");
        }
    }

    /// Fetches the known routes again, those of `also` too. Returns true when one of them changed.
    pub(crate) async fn refresh_routes(&self, also: &[TopicName]) -> bool {
        let mut topics: BTreeSet<TopicName> = self.routes.topics().into_iter().collect();
        topics.extend(also.iter().cloned());
        let mut changed = false;
        for topic in topics {
            match self.fetch_route(&topic).await {
                Ok(is_new) => changed |= is_new,
                Err(error) => tracing::debug!(%topic, %error, "cannot refresh a route"),
            }
        }
        changed
    }

    /// Every address in every known route, each once.
    fn brokers(&self) -> BTreeSet<String> {
        let routes = self.routes.each();
        routes.iter().flat_map(|route| route.addresses().cloned()).collect()
    }

    /// Closes the connections.
    pub(crate) fn close(&self) {
        self.remote.close();
    }
}
