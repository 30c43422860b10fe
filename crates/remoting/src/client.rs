// SPDX-License-Identifier: Apache-2.0
//! The calling side: one shared connection an address, made when it is needed, made anew after it broke, with a pause
//! that grows while nobody answers. Works inside any tokio runtime; a connection lives on the runtime that dialed it.
//! Never repeats a call by itself: only the caller knows whether that is safe.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::caps;
use protocol::frame::Serialization;
use protocol::request::Request;
use stdx::{Clock, Timestamp};

use crate::admission::{Allowance, Budget, Gate};
use crate::call::Response;
use crate::connection::{Limits, Link, Service};
use crate::error::CallError;
use crate::handle::{Connection, Ends};
use crate::net;
use crate::reply::Body;
use crate::router::{Router, Routes};

/// Addresses kept in mind; beyond this, those without a connection are forgotten.
const KNOWN_PEERS: usize = 1024;

/// What a client allows itself and its peers.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// How long a connection may take to be made, name look-up included.
    pub connect_timeout: Duration,
    /// Pause after the first failure to connect; doubles with each one.
    pub backoff_least: Duration,
    /// Longest pause.
    pub backoff_most: Duration,
    /// Largest frame that is read.
    pub max_frame: usize,
    /// Unanswered calls of one connection.
    pub in_flight: usize,
    /// Unsent bytes of one connection above which a call is refused.
    pub unsent: usize,
    /// A peer that takes nothing for this long is given up.
    pub write_deadline: Duration,
    /// A request of the peer that waits longer is given up.
    pub request_deadline: Duration,
    /// How headers are written.
    pub serialization: Serialization,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig {
            connect_timeout: Duration::from_secs(3),
            backoff_least: Duration::from_millis(50),
            backoff_most: Duration::from_secs(1),
            max_frame: caps::MAX_FRAME,
            in_flight: 65_536,
            unsent: 64 << 20,
            write_deadline: Duration::from_secs(15),
            request_deadline: Duration::from_secs(60),
            serialization: Serialization::Json,
        }
    }
}

/// Calls peers by address. Cheap to clone; connections stay while any clone or their task lives.
#[derive(Clone)]
pub struct Client(Arc<Inside>);

struct Inside {
    config: ClientConfig,
    clock: Arc<dyn Clock>,
    routes: Arc<Routes>,
    budget: Arc<Budget>,
    peers: Mutex<HashMap<String, Arc<Peer>>>,
}

/// One address.
#[derive(Default)]
struct Peer {
    live: Mutex<Option<Connection>>,
    /// Held while dialing, so that callers share one attempt.
    dialing: tokio::sync::Mutex<Backoff>,
}

/// The pause between attempts.
#[derive(Default)]
struct Backoff {
    failure: Option<CallError>,
    pause: Duration,
    until: Timestamp,
}

impl Client {
    /// Makes a client whose peers' requests go to `router`.
    pub fn new<S: Send + Sync + 'static>(
        config: ClientConfig,
        clock: Arc<dyn Clock>,
        router: Router<S>,
        state: Arc<S>,
    ) -> Client {
        let allowed = Allowance { bytes: config.max_frame * 4, slots: config.in_flight };
        // What is stuck here is our own: each connection's unsent bytes are limited, and the peers are few.
        let budget = Budget::new(allowed, usize::MAX);
        let routes = router.bind(&state);
        Client(Arc::new(Inside { config, clock, routes, budget, peers: Mutex::default() }))
    }

    /// Returns the shared connection to `host:port`, making it when there is none.
    pub async fn connect(&self, address: &str) -> Result<Connection, CallError> {
        let peer = self.0.peer(address);
        if let Some(connection) = peer.live() {
            return Ok(connection);
        }
        let mut backoff = peer.dialing.lock().await;
        if let Some(connection) = peer.live() {
            return Ok(connection);
        }
        backoff.check(self.0.clock.now())?;
        match self.dial(address).await {
            Ok(connection) => {
                *backoff = Backoff::default();
                *peer.live.lock() = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                backoff.failed(&error, &self.0.config, self.0.clock.now());
                Err(error)
            }
        }
    }

    /// Makes a connection of the caller's own, which no other caller shares.
    pub async fn dial(&self, address: &str) -> Result<Connection, CallError> {
        let failed =
            |error: std::io::Error| CallError::Connect { address: address.into(), reason: error.to_string() };
        let inside = &self.0;
        let config = &inside.config;
        let stream = net::dial(address, config.connect_timeout).await.map_err(failed)?;
        let connection = Connection::new(Ends {
            peer: stream.peer_addr().map_err(failed)?,
            local: stream.local_addr().map_err(failed)?,
            clock: inside.clock.clone(),
            in_flight_max: config.in_flight,
            unsent_max: config.unsent,
            serialization: config.serialization,
        });
        let limits = Limits {
            max_frame: config.max_frame,
            idle: None,
            write_deadline: config.write_deadline,
            // Our own calls must never keep us from reading answers: two ends that wait for each other to read
            // would wait for ever.
            unsent: config.unsent + 2 * config.max_frame,
        };
        let share = Allowance { bytes: config.max_frame * 2, slots: config.in_flight };
        let gate = Gate::new(inside.budget.clone(), share, config.request_deadline);
        let service = Service { routes: inside.routes.clone(), limits, gate, stages: None };
        let link = Link::new(stream, connection.clone(), service, Box::new(|_| {}));
        tokio::spawn(link.run());
        Ok(connection)
    }

    /// Calls `address` and waits for the answer for up to `timeout` after the connection is there.
    pub async fn call<R: Request>(
        &self,
        address: &str,
        request: &R,
        body: impl Into<Body>,
        timeout: Duration,
    ) -> Result<Response<R::Reply>, CallError> {
        self.connect(address).await?.call(request, body, timeout).await
    }

    /// Sends a request that is not answered.
    pub async fn notify<R: Request>(
        &self,
        address: &str,
        request: &R,
        body: impl Into<Body>,
    ) -> Result<(), CallError> {
        self.connect(address).await?.notify(request, body)
    }

    /// Closes all shared connections; the next call makes new ones.
    pub fn close(&self) {
        let peers: Vec<Arc<Peer>> = self.0.peers.lock().drain().map(|(_, peer)| peer).collect();
        peers.iter().filter_map(|peer| peer.live()).for_each(|connection| connection.close());
    }
}

impl Inside {
    fn peer(&self, address: &str) -> Arc<Peer> {
        let mut peers = self.peers.lock();
        if let Some(peer) = peers.get(address) {
            return peer.clone();
        }
        if peers.len() >= KNOWN_PEERS {
            peers.retain(|_, peer| peer.live().is_some());
        }
        peers.entry(address.to_owned()).or_default().clone()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let peers = std::mem::take(self.peers.get_mut());
        peers.values().filter_map(|peer| peer.live()).for_each(|connection| connection.close());
    }
}

impl Peer {
    fn live(&self) -> Option<Connection> {
        self.live.lock().as_ref().filter(|connection| connection.is_open()).cloned()
    }
}

impl Backoff {
    fn check(&self, now: Timestamp) -> Result<(), CallError> {
        match &self.failure {
            Some(failure) if now < self.until => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    fn failed(&mut self, error: &CallError, config: &ClientConfig, now: Timestamp) {
        self.pause = (self.pause * 2).clamp(config.backoff_least, config.backoff_most);
        self.until = now + self.pause;
        self.failure = Some(error.clone());
    }
}
