// SPDX-License-Identifier: Apache-2.0
//! The server roles in one process: `standalone`, `namesrv`, `broker`. Opens the parts from the bottom up, says `ready`,
//! waits for a signal or for the store to give up, and closes the parts from the top down.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use broker::{Broker, Membership, Running};
use clap::Args;
use namesrv::{NameServer, NameServerConfig};
use remoting::{Seats, Server, ServerConfig};
use stdx::{ByteSize, Clock, SystemClock, Threads};
use store::disk::FileDisk;
use store::{Durability, OpenError, Store};

use crate::commands::limits;
use crate::config::Config;
use crate::exit::{self, Exit};
use crate::hiccups::Hiccups;
use crate::metrics::{Metrics, Sources};

/// Flags that every server role takes.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServerArgs {
    /// Directory of everything this process stores.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, value_name = "ADDR")]
    bind: Option<IpAddr>,
    /// Port of the name server; 0 takes a free one.
    #[arg(long, value_name = "N")]
    namesrv_port: Option<u16>,
    /// Port of the broker; 0 takes a free one.
    #[arg(long, value_name = "N")]
    broker_port: Option<u16>,
    /// Second port of the broker, for clients with the VIP channel; 0 does without [default: two below --broker-port].
    #[arg(long, value_name = "N")]
    fast_port: Option<u16>,
    /// Port of the gRPC face; it does not exist yet.
    #[arg(long, value_name = "N")]
    grpc_port: Option<u16>,
    /// Port of the remoting proxy; it does not exist yet.
    #[arg(long, value_name = "N")]
    proxy_port: Option<u16>,
    /// Port of the figures for Prometheus; 0 takes a free one [default: 5557 where it is free].
    #[arg(long, value_name = "N")]
    metrics_port: Option<u16>,
    /// Port of the console; it does not exist yet.
    #[arg(long, value_name = "N")]
    console_port: Option<u16>,
    /// Name servers to register with, separated by semicolons.
    #[arg(short = 'n', long, value_name = "ADDR")]
    namesrv: Option<String>,
    /// Sets a key of the configuration, under our name or RocketMQ's.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Configuration file: TOML, or RocketMQ's `broker.conf`.
    #[arg(short = 'c', long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ServerArgs {
    /// Puts the configuration together from file, environment and flags.
    pub(crate) fn load(&self) -> Result<Config> {
        let mut flags = Vec::new();
        for assignment in &self.set {
            let (name, text) = assignment
                .split_once('=')
                .ok_or_else(|| Exit::usage(format!("--set {assignment}: write KEY=VALUE")))?;
            flags.push((name.to_owned(), text.to_owned()));
        }
        let mut flag =
            |name: &str, text: Option<String>| flags.extend(text.map(|text| (name.to_owned(), text)));
        flag("data_dir", self.data_dir.as_ref().map(|dir| dir.display().to_string()));
        flag("bind", self.bind.map(|bind| bind.to_string()));
        flag("namesrv", self.namesrv.clone());
        for (name, port) in [
            ("namesrv_port", self.namesrv_port),
            ("broker_port", self.broker_port),
            ("fast_port", self.fast_port),
            ("grpc_port", self.grpc_port),
            ("proxy_port", self.proxy_port),
            ("metrics_port", self.metrics_port),
            ("console_port", self.console_port),
        ] {
            flag(name, port.map(|port| port.to_string()));
        }
        let config = Config::load(self.config.as_deref(), std::env::vars(), &flags).map_err(Exit::config)?;
        config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(config)
    }
}

/// Which roles a process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Roles {
    Standalone,
    NameServer,
    Broker,
}

/// The running parts of a process, the lowest first.
pub(crate) struct Node {
    namesrv: Option<Server>,
    broker: Option<BrokerNode>,
    metrics: Option<Metrics>,
    data_dir: PathBuf,
    drain: Duration,
    memory_reserve: ByteSize,
}

struct BrokerNode {
    store: Arc<Store>,
    broker: Arc<Broker>,
    store_threads: Threads,
    running: Running,
    server: Server,
    fast: Option<Server>,
    hiccups: Arc<Hiccups>,
    membership: Membership,
}

/// Runs a role until it is told to stop.
pub(crate) fn run(args: &ServerArgs, roles: Roles) -> Result<()> {
    let config = args.load()?;
    let node = Node::start(&config, roles)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", node.ready_line())?;
    out.flush()?;
    drop(out);
    let ended = node.wait();
    node.stop();
    ended
}

impl Node {
    /// Opens and starts every part of `roles`.
    pub(crate) fn start(config: &Config, roles: Roles) -> Result<Node> {
        let problems: Vec<String> = config.broker.validate();
        if !problems.is_empty() {
            return Err(Exit::config(problems.join("\n")).into());
        }
        limits::begin_small();
        let clock = SystemClock::new();
        let mut node = Node {
            namesrv: None,
            broker: None,
            metrics: None,
            data_dir: config.node.data_dir.clone(),
            drain: config.node.drain,
            memory_reserve: config.node.memory_reserve,
        };
        let seats = Seats::new(limits::seats(config.node.connections)?);
        if roles != Roles::Broker {
            node.namesrv = Some(start_namesrv(config, roles, &seats, &clock)?);
        }
        if roles != Roles::NameServer {
            let here = node.namesrv.as_ref().map(|server| reachable(server.local_addr()));
            let broker = start_broker(config, roles, (&seats, here), &clock)?;
            node.metrics = start_metrics(config, &broker)?;
            node.broker = Some(broker);
        }
        Ok(node)
    }

    /// Address of the name server, for whoever runs in the same process.
    pub(crate) fn namesrv_addr(&self) -> Option<SocketAddr> {
        self.namesrv.as_ref().map(|server| reachable(server.local_addr()))
    }

    /// Address of the broker.
    pub(crate) fn broker_addr(&self) -> Option<SocketAddr> {
        self.broker.as_ref().map(|broker| reachable(broker.server.local_addr()))
    }

    /// The line that scripts wait for.
    pub(crate) fn ready_line(&self) -> String {
        let mut line = "ready".to_owned();
        let broker = self.broker.as_ref();
        let faces = [
            ("namesrv", self.namesrv.as_ref().map(Server::local_addr)),
            ("broker", broker.map(|broker| broker.server.local_addr())),
            ("fast", broker.and_then(|broker| broker.fast.as_ref()).map(Server::local_addr)),
            ("metrics", self.metrics.as_ref().map(Metrics::local_addr)),
        ];
        for (name, address) in faces {
            if let Some(address) = address {
                line.push_str(&format!(" {name}={address}"));
            }
        }
        let data = self.data_dir.canonicalize().unwrap_or_else(|_| self.data_dir.clone());
        line.push_str(&format!(" data={}", data.display()));
        line
    }

    /// Waits for SIGTERM or Ctrl-C, or for the store to give up.
    fn wait(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut look = tokio::time::interval(Duration::from_millis(200));
            let mut weigh = tokio::time::interval(Duration::from_secs(1));
            let stopped = exit::signal();
            tokio::pin!(stopped);
            loop {
                tokio::select! {
                    signal = &mut stopped => return signal,
                    _ = look.tick() => self.check()?,
                    _ = weigh.tick() => self.weigh(),
                }
            }
        })
    }

    fn check(&self) -> Result<()> {
        match self.broker.as_ref().and_then(|broker| broker.store.poisoned()) {
            Some(cause) => Err(Exit::poisoned(cause).into()),
            None => Ok(()),
        }
    }

    /// Nothing new is made while memory is short.
    fn weigh(&self) {
        limits::grow();
        if let Some(broker) = &self.broker {
            broker.broker.set_lack(limits::lack_of_memory(self.memory_reserve).as_deref());
        }
    }

    /// Lets requests under way finish, saves what is in memory and closes.
    pub(crate) fn stop(self) {
        exit::on_second_signal();
        drop(self.metrics);
        if let Some(broker) = self.broker {
            broker.membership.leave();
            broker.server.shutdown(self.drain);
            if let Some(fast) = broker.fast {
                fast.shutdown(self.drain);
            }
            broker.running.close();
            drop(broker.broker);
            let mut threads = broker.store_threads;
            threads.join();
            broker.store.close();
        }
        if let Some(server) = self.namesrv {
            server.shutdown(self.drain);
        }
        tracing::info!("stopped");
    }
}

fn start_namesrv(config: &Config, roles: Roles, seats: &Seats, clock: &Arc<dyn Clock>) -> Result<Server> {
    let given = NameServerConfig { dir: config.node.data_dir.join("namesrv"), ..config.namesrv.clone() };
    let namesrv = Arc::new(NameServer::open(given, &**clock).context("cannot open the name server")?);
    let address = SocketAddr::new(bind_ip(config, roles)?, config.node.namesrv_port);
    let closed = namesrv.clone();
    let on_close = Arc::new(move |connection| closed.closed(connection));
    Server::bind(
        address,
        server_config(config, "namesrv", seats),
        namesrv::routes(),
        namesrv,
        clock.clone(),
        on_close,
    )
    .with_context(|| {
        format!("cannot listen on {address} for the name server; --namesrv-port 0 takes a free port")
    })
}

fn start_broker(
    config: &Config,
    roles: Roles,
    (seats, namesrv): (&Seats, Option<SocketAddr>),
    clock: &Arc<dyn Clock>,
) -> Result<BrokerNode> {
    let store = open_store(config, clock)?;
    let broker = Broker::open(config.broker.clone(), store.clone(), clock.clone()).map_err(Exit::config)?;
    let mut store_threads = Threads::default();
    store.start(&mut store_threads)?;
    let running = broker.run()?;
    let address = SocketAddr::new(bind_ip(config, roles)?, config.node.broker_port);
    let done = {
        let broker = broker.clone();
        move || requests_of(&broker)
    };
    let hiccups = Hiccups::start(&mut store_threads, clock.clone(), done)?;
    let server =
        listen_for(&broker, address, server_config(config, "broker", seats), clock).with_context(|| {
            format!("cannot listen on {address} for the broker; --broker-port 0 takes a free port")
        })?;
    let fast = start_fast(config, &broker, server.local_addr(), seats, clock)?;
    let mut namesrvs: Vec<String> = namesrv.iter().map(ToString::to_string).collect();
    namesrvs.extend(
        config.node.namesrv.split(';').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned),
    );
    let membership = Membership::join(broker.clone(), namesrvs, server.local_addr(), clock.clone())?;
    Ok(BrokerNode { store, broker, store_threads, running, server, fast, hiccups, membership })
}

fn listen_for(
    broker: &Arc<Broker>,
    address: SocketAddr,
    config: ServerConfig,
    clock: &Arc<dyn Clock>,
) -> std::io::Result<Server> {
    let config = ServerConfig { stages: broker.stages().clone(), ..config };
    let closed = broker.clone();
    let on_close = Arc::new(move |connection| closed.connection_closed(connection));
    Server::bind(address, config, broker::routes(), broker.clone(), clock.clone(), on_close)
}

/// Requests that moved messages so far.
fn requests_of(broker: &Broker) -> u64 {
    let counts = broker.counts().now();
    counts.sent_messages.wrapping_add(counts.pulls_found)
}

/// Opens the port of the figures. Who asked for a port gets it or no server; where it would merely have been the usual one, the
/// server runs without it, so that a second broker beside the first still starts.
fn start_metrics(config: &Config, node: &BrokerNode) -> Result<Option<Metrics>> {
    let Some(port) = config.node.metrics_port() else { return Ok(None) };
    let address = SocketAddr::new(bind_ip(config, Roles::Standalone)?, port);
    let sources = Sources { broker: node.broker.clone(), hiccups: node.hiccups.clone() };
    match Metrics::start(address, sources) {
        Ok(metrics) => Ok(Some(metrics)),
        Err(error) if config.node.metrics_port.is_none() => {
            tracing::warn!(
                %address, %error,
                "no figures: another server may have the port; metrics_port names another, metrics = false does without"
            );
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| {
            format!("cannot listen on {address} for figures; --metrics-port 0 takes a free port, --set metrics=false does without")
        }),
    }
}

/// Opens the broker's second port. Who asked for one gets it or no server; a broker that would merely have had one runs
/// without it, so that a second broker beside the first still starts.
fn start_fast(
    config: &Config,
    broker: &Arc<Broker>,
    main: SocketAddr,
    seats: &Seats,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Server>> {
    let Some(port) = config.node.fast_port() else { return Ok(None) };
    let address = SocketAddr::new(main.ip(), port);
    broker.also_reached_at(port, main.port());
    match listen_for(broker, address, server_config(config, "fast", seats), clock) {
        Ok(server) => Ok(Some(server)),
        Err(error) if config.node.fast_port.is_none() => {
            tracing::warn!(
                %address, %error,
                "no second port: clients with the VIP channel reach whoever listens there, or fail; fast_port = 0 does without"
            );
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| {
            format!("cannot listen on {address}, the broker's second port; --fast-port 0 does without")
        }),
    }
}

fn open_store(config: &Config, clock: &Arc<dyn Clock>) -> Result<Arc<Store>> {
    let mut given = config.log.store(&config.node.data_dir, config.broker.sending.max_message);
    let creation = &config.broker.creation;
    given.queue_limit = given.queue_limit.max(creation.queues_max).saturating_add(creation.light_queues_max);
    let problems = given.problems();
    if !problems.is_empty() {
        return Err(Exit::config(problems.join("\n")).into());
    }
    let promise = match given.durability {
        Durability::Memory => {
            "an acknowledgement survives a killed process, not a power cut (durability = memory)"
        }
        Durability::Disk => "an acknowledgement survives a power cut (durability = disk)",
    };
    tracing::info!("{promise}");
    let store = Store::open(given, Arc::new(FileDisk), clock.clone()).map_err(|error| match error {
        error @ OpenError::Locked { .. } => Exit::in_use(error),
        other => Exit::failed(other),
    })?;
    Ok(Arc::new(store))
}

fn server_config(config: &Config, name: &'static str, seats: &Seats) -> ServerConfig {
    let mut server = ServerConfig { name, seats: seats.clone(), ..ServerConfig::default() };
    server.bytes_total = usize::try_from(config.node.request_bytes.0).unwrap_or(usize::MAX);
    server.max_connections = config.node.connections;
    if config.node.workers > 0 {
        server.workers = config.node.workers;
    }
    server
}

fn bind_ip(config: &Config, roles: Roles) -> Result<IpAddr> {
    let text = match config.node.bind.as_str() {
        "" if roles == Roles::Standalone => "127.0.0.1",
        "" => "0.0.0.0",
        text => text,
    };
    text.parse().map_err(|_| Exit::config(format!("bind = {text}: not an IP address")).into())
}

/// The address under which this machine reaches its own listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let ip =
        if address.is_ipv4() { IpAddr::from([127, 0, 0, 1]) } else { IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]) };
    SocketAddr::new(ip, address.port())
}
