// SPDX-License-Identifier: Apache-2.0
//! This broker among others: it tells every name server who it is and which topics it has. At the start, when topics
//! change, when a name server comes back, and every 30 seconds so that its lease lasts; at the end it says farewell.
//! Started by whoever runs the broker. What a name server is to be told next is decided in `news`; one task for each of
//! them does it, so that a slow one holds up nobody; one more asks them where the queues of topics lie on other brokers,
//! when somebody here wants to know. The only part of this crate with a runtime of its own.

mod audience;
mod news;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use protocol::body::{
    RegisterBrokerBody, TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicRouteData,
};
use protocol::codes::ResponseCode;
use protocol::data_version::DataVersion;
use protocol::json;
use protocol::names::{BrokerName, TopicName};
use protocol::route::{GetRouteInfo, QueryDataVersion, RegisterBroker, UnregisterBroker};
use remoting::{CallError, Client, ClientConfig, Connection, Router};
use stdx::{Clock, Threads, Watermark, deadline};

pub(crate) use self::audience::Audience;
use self::news::{Next, State, Told, next};
use crate::Broker;
use crate::topics::{READ, Topic, WRITE};

/// How often a name server hears of us.
const PERIOD: Duration = Duration::from_secs(30);
/// How long one may take to answer.
const PATIENCE: Duration = Duration::from_secs(6);
/// The same for a farewell, which nobody waits for.
const FAREWELL: Duration = Duration::from_secs(2);
/// The same for a route, which a client waits for.
const ROUTE: Duration = Duration::from_millis(700);
/// The first pause after a failure; doubles up to the period.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a start waits for the first answers.
const FIRST: Duration = Duration::from_secs(3);
/// The most topics of one request: far below the largest frame.
const PART: usize = 10_000;

/// A broker that name servers know.
pub struct Membership {
    stop: Arc<Watermark>,
    threads: Threads,
}

/// What every task shares.
struct Member {
    broker: Arc<Broker>,
    client: Client,
    /// Where clients reach the broker, as it listens.
    listening: SocketAddr,
    clock: Arc<dyn Clock>,
    stop: Arc<Watermark>,
    /// How many name servers were spoken to, successfully or not.
    spoken: Arc<Watermark>,
}

impl Membership {
    /// Registers with the name servers and keeps doing so. Returns when all of them were spoken to once, or were given
    /// the time for it.
    pub fn join(
        broker: Arc<Broker>,
        name_servers: Vec<String>,
        listening: SocketAddr,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Membership> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, spoken) = (Arc::<Watermark>::default(), Arc::<Watermark>::default());
        let client = Client::new(ClientConfig::default(), clock.clone(), Router::<()>::new(), Arc::new(()));
        let member = Member { broker, client, listening, clock, stop: stop.clone(), spoken: spoken.clone() };
        let count = name_servers.len() as u64;
        member.broker.spread.follow(count > 0);
        let mut threads = Threads::default();
        threads.spawn("membership", move |_| {
            runtime.block_on(async {
                let told = join_all(name_servers.iter().map(|name| member.follow(name)));
                tokio::join!(told, member.scout(&name_servers));
            });
        })?;
        while spoken.get() < count {
            let before = spoken.get();
            if spoken.wait_past(before, FIRST) == before {
                break;
            }
        }
        Ok(Membership { stop, threads })
    }

    /// Says farewell to the name servers.
    pub fn leave(mut self) {
        self.stop.advance(1);
        self.threads.join();
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop.advance(1);
    }
}

/// What one name server has heard of us.
#[derive(Default)]
struct Standing {
    told: Option<Told>,
    /// The address we gave, and the connection we gave it on.
    seat: Option<(String, Connection)>,
    failures: u32,
}

impl Member {
    /// Keeps one name server up to date until the end.
    async fn follow(&self, name_server: &str) {
        let mut standing = Standing::default();
        let mut is_first = true;
        while self.stop.get() == 0 {
            let seen = self.broker.topics.changed().get();
            let outcome = self.tell(name_server, &mut standing).await;
            match outcome {
                Ok(()) => self.broker.audience.heard(name_server, seen),
                Err(_) => self.broker.audience.lost(name_server, seen),
            }
            if std::mem::take(&mut is_first) {
                self.spoken.advance(self.spoken.get() + 1);
            }
            let pause = note(name_server, &mut standing, outcome);
            self.rest(&mut standing, seen, pause).await;
        }
        self.broker.audience.lost(name_server, self.broker.topics.changed().get());
        self.farewell(name_server, &standing).await;
    }

    /// Finds out where the queues of wanted topics lie, until the end.
    async fn scout(&self, name_servers: &[String]) {
        let spread = &self.broker.spread;
        while self.stop.get() == 0 {
            let seen = spread.asked().get();
            let mut pause = PERIOD;
            for topic in spread.due(self.clock.now()) {
                match self.route(name_servers, &topic).await {
                    Some(route) => spread.learn(&topic, route.as_ref(), self.clock.now()),
                    None => pause = PAUSE,
                }
            }
            let woken = async {
                tokio::select! {
                    _ = self.stop.reached(1) => {}
                    _ = spread.asked().reached(seen + 1) => {}
                }
            };
            deadline(&self.clock, self.clock.now() + pause, woken).await;
        }
        spread.follow(false);
    }

    /// Asks one name server after the other for a route. `None` when none of them answers.
    async fn route(&self, name_servers: &[String], topic: &TopicName) -> Option<Option<TopicRouteData>> {
        let request = GetRouteInfo { topic: topic.clone(), standard_json: true };
        for name_server in name_servers {
            let Ok(answer) = self.client.call(name_server, &request, (), ROUTE).await else { continue };
            if answer.code() == ResponseCode::TOPIC_NOT_EXIST {
                return Some(None);
            }
            let read = answer.ok().ok().and_then(|(_, body)| json::from_slice(&body).ok());
            if read.is_some() {
                return Some(read);
            }
        }
        None
    }

    /// Waits until there may be something to tell.
    async fn rest(&self, standing: &mut Standing, seen: u64, pause: Duration) {
        let connection = standing.seat.as_ref().map(|(_, connection)| connection.clone());
        let lost = async {
            match connection {
                Some(connection) => connection.closed().await,
                None => std::future::pending().await,
            }
        };
        let woken = async {
            tokio::select! {
                _ = self.stop.reached(1) => false,
                _ = self.broker.topics.changed().reached(seen + 1) => false,
                () = lost => true,
            }
        };
        let is_lost = deadline(&self.clock, self.clock.now() + pause, woken).await == Some(true);
        if is_lost {
            // The name server has forgotten us with the connection; kept, the broken one would wake us again at once.
            *standing = Standing { failures: standing.failures, ..Standing::default() };
        }
    }

    /// Tells a name server what it does not know yet.
    async fn tell(&self, name_server: &str, standing: &mut Standing) -> Result<(), CallError> {
        let connection = self.client.connect(name_server).await?;
        let address = self.address(&connection);
        if standing.seat.as_ref().is_some_and(|(known, on)| *known != address || on.id() != connection.id()) {
            standing.told = None;
        }
        let state = self.state();
        let now = self.clock.now();
        let mut step = next(standing.told.as_ref(), state, now);
        if let Next::Ask = step {
            let is_news = self.is_news(&connection, &address, state.version).await?;
            step = if is_news { Next::Whole } else { Next::Nothing };
        }
        let since = |changes| self.broker.topics.since(changes).filter(|changed| !changed.is_empty());
        match (step, &mut standing.told) {
            (Next::Ask | Next::Nothing, _) => {}
            (Next::Since(changes), Some(told)) if let Some(changed) = since(changes) => {
                self.register_all(&connection, &address, state, &changed).await?;
                told.add(state);
            }
            (Next::Since(_) | Next::Whole, told) => {
                self.register_all(&connection, &address, state, &self.broker.topics.all()).await?;
                *told = Some(Told::whole(state, now));
            }
        }
        standing.seat = Some((address, connection));
        Ok(())
    }

    /// Where the topics stand. To be asked before they are read: what changes meanwhile is told again.
    fn state(&self) -> State {
        let changes = self.broker.topics.changed().get();
        let mut version = self.broker.topics.version();
        let settings = self.broker.settings.version();
        version.counter += settings.counter;
        version.timestamp = version.timestamp.max(settings.timestamp);
        let permission = i32::try_from(self.broker.config().identity.permission).unwrap_or(READ | WRITE);
        State { changes, version, permission, count: self.broker.topics.count() }
    }

    /// Registers topics with the permissions that the broker leaves them, some at a time.
    async fn register_all(
        &self,
        connection: &Connection,
        address: &str,
        state: State,
        topics: &[Arc<Topic>],
    ) -> Result<(), CallError> {
        let masked = |topic: &Arc<Topic>| {
            let config = topic.config().clone();
            TopicConfig { perm: config.perm & (state.permission | !(READ | WRITE)), ..config }
        };
        for part in topics.chunks(PART) {
            let part = part.iter().map(masked).map(|config| (config.topic_name.clone(), config)).collect();
            self.register(connection, address, state.version, part).await?;
        }
        Ok(())
    }

    /// The address to give: the configured one, or where the broker listens; a broker that listens everywhere gives the
    /// address it reached the name server from.
    fn address(&self, connection: &Connection) -> String {
        let advertised = self.broker.config().identity.advertised;
        let here = advertised.unwrap_or(self.listening);
        if here.ip().is_unspecified() {
            return SocketAddr::new(connection.local().ip().to_canonical(), here.port()).to_string();
        }
        here.to_string()
    }

    async fn register(
        &self,
        connection: &Connection,
        address: &str,
        version: DataVersion,
        topics: BTreeMap<TopicName, TopicConfig>,
    ) -> Result<(), CallError> {
        let (broker, cluster, id) = self.identity();
        let request = RegisterBroker {
            broker,
            address: address.into(),
            cluster: cluster.as_str().into(),
            replication_address: Some(replication_address(address).into()),
            broker_id: id,
            lease: None,
            acting_master: Some(false),
            compressed: false,
            body_crc: 0,
        };
        let wrapper = TopicConfigAndMappingSerializeWrapper {
            data_version: version,
            topic_config_table: topics,
            ..TopicConfigAndMappingSerializeWrapper::default()
        };
        let body =
            RegisterBrokerBody { filter_server_list: Vec::new(), topic_config_serialize_wrapper: wrapper };
        connection.call(&request, body.encode(false), PATIENCE).await?.ok()?;
        Ok(())
    }

    /// Asks whether a name server knows another version; asking keeps the lease.
    async fn is_news(
        &self,
        connection: &Connection,
        address: &str,
        version: DataVersion,
    ) -> Result<bool, CallError> {
        let (broker, cluster, broker_id) = self.identity();
        let (address, cluster) = (address.into(), cluster.as_str().into());
        let request = QueryDataVersion { broker, address, cluster, broker_id };
        let answer = connection.call(&request, json::to_vec(&version), PATIENCE).await?;
        Ok(answer.ok()?.0.changed)
    }

    async fn farewell(&self, name_server: &str, standing: &Standing) {
        let Some((address, connection)) = &standing.seat else { return };
        let (broker, cluster, broker_id) = self.identity();
        let (address, cluster) = (address.as_str().into(), cluster.as_str().into());
        let request = UnregisterBroker { broker, address, cluster, broker_id };
        match connection.call(&request, (), FAREWELL).await.and_then(|answer| answer.ok()) {
            Ok(_) => tracing::info!(peer = name_server, "said farewell to a name server"),
            Err(error) => {
                tracing::warn!(peer = name_server, %error, "a name server did not hear our farewell")
            }
        }
    }

    fn identity(&self) -> (BrokerName, String, i64) {
        let config = self.broker.config();
        let identity = &config.identity;
        let id = i64::try_from(identity.id).unwrap_or(i64::MAX);
        (BrokerName::stored(&identity.name), identity.cluster.clone(), id)
    }
}

/// Counts failures, says when things change, and returns how long to rest.
fn note(name_server: &str, standing: &mut Standing, outcome: Result<(), CallError>) -> Duration {
    match outcome {
        Ok(()) => {
            if standing.failures > 0 {
                tracing::info!(peer = name_server, "registered again");
            }
            standing.failures = 0;
            PERIOD
        }
        Err(error) => {
            if standing.failures == 0 {
                tracing::warn!(peer = name_server, %error, "not registered, trying again");
            }
            let pause = PAUSE.saturating_mul(1 << standing.failures.min(16));
            standing.failures += 1;
            pause.min(PERIOD)
        }
    }
}

/// COMPAT: replicas are expected one port above the broker's, as in Apache.
fn replication_address(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(address) => SocketAddr::new(address.ip(), address.port().wrapping_add(1)).to_string(),
        Err(_) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_rest_longer_and_longer() {
        let mut standing = Standing::default();
        let failed = || Err(CallError::Connect { address: "a:1".into(), reason: "refused".into() });
        let pauses: Vec<u128> = (0..9).map(|_| note("a:1", &mut standing, failed()).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!((note("a:1", &mut standing, Ok(())), standing.failures), (PERIOD, 0));
        assert_eq!(replication_address("127.0.0.1:10911"), "127.0.0.1:10912");
    }
}
