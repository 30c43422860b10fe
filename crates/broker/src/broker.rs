// SPDX-License-Identifier: Apache-2.0
//! The broker: its parts, and how it opens and closes. What it can do stands in `ops`, what it answers in `routes`,
//! what it does unasked in `loops`. Parts know nothing of each other; an operation that needs three uses three.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use protocol::body::SetMessageRequestModeRequestBody;
use protocol::ids::UniqueIds;
use protocol::names::{ByteStr, Group, LogOffset, TopicName};
use remoting::Stages;
use stdx::{Clock, Rng, Watermark};
use store::{Arrival, Store};

use crate::arrivals::Arrivals;
use crate::clients::Clients;
use crate::config::BrokerConfig;
use crate::counts::Counts;
use crate::delay::Delay;
use crate::filters::Filters;
use crate::forbidden::Forbidden;
use crate::groups::Groups;
use crate::locks::Locks;
use crate::loops::{Upkeep, Wake};
use crate::membership::Audience;
use crate::modes::Modes;
use crate::offsets::Offsets;
use crate::ops::send::Brand;
use crate::rates::Rates;
use crate::room::Room;
use crate::settings::Settings;
use crate::spread::Spread;
use crate::timer::Timer;
use crate::topics::Topics;
use crate::transaction::{Limits, Transactions};

/// One broker over one store.
pub struct Broker {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    config: ArcSwap<BrokerConfig>,
    /// How much may be made.
    room: Arc<Room>,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) forbidden: Forbidden,
    pub(crate) modes: Modes,
    pub(crate) clients: Clients,
    pub(crate) offsets: Offsets,
    pub(crate) arrivals: Arrivals,
    pub(crate) delay: Delay,
    pub(crate) transactions: Transactions,
    pub(crate) timer: Timer,
    pub(crate) locks: Locks,
    pub(crate) counts: Counts,
    pub(crate) rates: Rates,
    pub(crate) stages: Arc<Stages>,
    pub(crate) settings: Settings,
    pub(crate) audience: Audience,
    pub(crate) spread: Spread,
    /// A second port and the first.
    side_door: OnceLock<(u16, u16)>,
    /// Ids for messages that come without one.
    pub(crate) ids: UniqueIds,
    /// Told to every producer, for its traces.
    pub(crate) region: ByteStr,
    /// Properties that every stored message gets.
    pub(crate) brand: Brand,
    pub(crate) filters: Filters,
    /// Held by whoever dispatches; its buffer is kept.
    pub(crate) dispatching: Mutex<Vec<Arrival>>,
    pub(crate) upkeep: Mutex<Upkeep>,
    /// Rings for the upkeep.
    pub(crate) bell: Watermark,
}

/// Why a broker cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration cannot be served: {}", problems.join("; "))]
pub struct OpenRefused {
    /// Everything that is wrong with it.
    pub problems: Vec<String>,
}

impl Broker {
    /// Takes up where the log of the store says.
    pub fn open(
        config: BrokerConfig,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Broker>, OpenRefused> {
        let now = clock.now();
        let mut config = config;
        let settings = Settings::open(&store, &mut config, now);
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(OpenRefused { problems });
        }
        store.set_light(puts_light(&config));
        let identity = &config.identity;
        let host = identity.advertised.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
        let room = Arc::new(Room::default());
        room.follow(&config.creation);
        let broker = Arc::new(Broker {
            topics: Topics::open(&store, &config, room.clone(), now),
            groups: Groups::open(&store, room.clone(), now),
            room,
            forbidden: Forbidden::open(&store),
            modes: Modes::open(&store),
            clients: Clients::default(),
            offsets: Offsets::open(&store),
            arrivals: Arrivals::new(config.reading.waiters_max),
            delay: Delay::open(config.sending.delay_levels.clone(), &store),
            transactions: Transactions::open(&store, &Limits::of(&config.transactional)),
            timer: Timer::default(),
            locks: Locks::open(config.consumers.lock_lease, &store, now),
            counts: Counts::default(),
            rates: Rates::new(now),
            stages: Arc::default(),
            settings,
            audience: Audience::default(),
            spread: Spread::default(),
            side_door: OnceLock::new(),
            ids: UniqueIds::new(host, std::process::id() as u16, Rng::from_entropy().next() as u32),
            // Kept for good, so that the answers that carry it count no references.
            region: ByteStr::from_static(identity.region.clone().leak()),
            brand: Brand::new(&identity.cluster, &identity.region, identity.trace_on),
            filters: Filters::default(),
            dispatching: Mutex::default(),
            upkeep: Mutex::default(),
            bell: Watermark::default(),
            config: ArcSwap::from_pointee(config),
            store,
            clock,
        });
        let owing = Arc::downgrade(&broker);
        broker
            .store
            .keep_owed(move || owing.upgrade().map_or(LogOffset(u64::MAX), |broker| broker.owed_from()));
        Ok(broker)
    }

    /// The settings as they are now. Read once in an operation, and not kept while it waits.
    pub fn config(&self) -> Guard<Arc<BrokerConfig>> {
        self.config.load()
    }

    /// Changes settings while running; keys that need a restart keep their effect until then.
    pub fn reconfigure(&self, config: BrokerConfig) -> Result<(), OpenRefused> {
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(OpenRefused { problems });
        }
        let config = Arc::new(config);
        // Whoever is rung for by the topics reads the new settings.
        self.config.store(config.clone());
        self.room.follow(&config.creation);
        self.topics.follow(&config);
        self.store.set_light(puts_light(&config));
        Ok(())
    }

    /// Says that clients also come in at `port`; what they are told to come back to is `main`.
    pub fn also_reached_at(&self, port: u16, main: u16) {
        // Set once, before anybody listens there.
        let _ = self.side_door.set((port, main));
    }

    /// The address that clients are told, for one who reached us at `local`.
    pub(crate) fn address(&self, local: SocketAddr) -> SocketAddr {
        let main = self.side_door.get().filter(|(side, _)| *side == local.port());
        let here = main.map_or(local, |(_, main)| SocketAddr::new(local.ip(), *main));
        self.config().identity.advertised.unwrap_or(here)
    }

    /// Says what this process or its machine is short of: no topic and no group is made until nothing is.
    pub fn set_lack(&self, why: Option<&str>) {
        self.room.set_lack(why);
    }

    /// The store underneath.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Its topics.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Its consumer groups.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// How groups consume topics, where it was set.
    pub fn modes(&self) -> BTreeMap<TopicName, BTreeMap<Group, SetMessageRequestModeRequestBody>> {
        self.modes.all()
    }

    /// Who is connected.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// How far each group has come.
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// What went in and out.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How long requests take. The servers in front of it are to note it here.
    pub fn stages(&self) -> &Arc<Stages> {
        &self.stages
    }

    /// How many pulls wait now.
    pub fn waiting_pulls(&self) -> usize {
        self.arrivals.waiting()
    }

    /// Saves what is kept in memory. Called when the loops have ended.
    pub(crate) fn close(&self) {
        // Whatever else is lost now, a store that closes makes the log lasting from its start.
        self.delay.save(&self.store, u64::MAX);
        if let Err(error) = self.transactions.save(&self.store) {
            tracing::error!(%error, "how often producers were asked could not be saved");
        }
        if let Err(error) = self.offsets.persist(&self.store) {
            tracing::error!(%error, "consumer progress of the last moments could not be saved");
        }
        while self.dispatch_step(self.clock.now()) == Wake::Now {}
    }
}

/// Messages go to the light queues that they list.
fn puts_light(config: &BrokerConfig) -> bool {
    config.creation.light_queues && config.creation.light_dispatch
}
