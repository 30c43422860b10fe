// SPDX-License-Identifier: Apache-2.0
//! A listening port with its workers. Each worker is one thread with one runtime; an accepted connection is dealt to the one
//! that has the fewest and never moves. Roles start it with their router and stop it with a time to drain.
//! Invariant: every connection is in the table from its accept to the end of its task.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::{Condvar, Mutex};
use protocol::caps;
use protocol::frame::Serialization;
use stdx::{Clock, Threads};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

use crate::admission::{Allowance, Budget, Gate};
use crate::connection::{Limits, Link, Service};
use crate::handle::{Connection, Ends, Wish};
use crate::net;
use crate::quiet::Quiet;
use crate::router::{Router, Routes};
use crate::seats::{Seat, Seats};
use crate::stages::Stages;

/// Accepted sockets that wait for their worker.
const DEALT_AHEAD: usize = 256;
/// After the machine had no descriptor left for a connection.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// What a server allows.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Largest frame that is read, its length field included.
    pub max_frame: usize,
    /// Open connections; one more is closed at once.
    pub max_connections: usize,
    /// A connection without a whole frame for this long is closed.
    pub idle: Duration,
    /// A peer that takes nothing for this long is closed.
    pub write_deadline: Duration,
    /// A request other than a long poll that waits longer is given up.
    pub request_deadline: Duration,
    /// Bytes of requests that wait, of one connection.
    pub bytes_per_connection: usize,
    /// Bytes of requests that wait, of all.
    pub bytes_total: usize,
    /// Requests that wait, of one connection, long polls included.
    pub waiting_per_connection: usize,
    /// Requests that wait, of all.
    pub waiting_total: usize,
    /// Unsent answers of one connection above which nothing more is read from it.
    pub unsent_per_connection: usize,
    /// Bytes that peers do not take, and of frames they do not finish, of all.
    pub stuck_total: usize,
    /// Unanswered requests of ours to one peer.
    pub in_flight_per_connection: usize,
    /// Connections of all servers that share them.
    pub seats: Seats,
    /// Threads that serve connections.
    pub workers: usize,
    /// Threads are called this and a number.
    pub name: &'static str,
    /// Where it is noted how long requests take; servers may share it.
    pub stages: Arc<Stages>,
}

/// Half of the cores, because the log needs about as much again; but two where there are two, so that what takes a core away
/// for a while (another program, the host) does not stop every connection.
fn usual_workers(cores: usize) -> usize {
    cores.div_ceil(2).max(cores.min(2))
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            max_frame: caps::MAX_FRAME,
            max_connections: 16_384,
            idle: Duration::from_secs(120),
            write_deadline: Duration::from_secs(15),
            request_deadline: Duration::from_secs(30),
            bytes_per_connection: 64 << 20,
            bytes_total: 256 << 20,
            waiting_per_connection: 16_384,
            waiting_total: 262_144,
            unsent_per_connection: 1 << 20,
            stuck_total: 256 << 20,
            in_flight_per_connection: 4096,
            seats: Seats::default(),
            workers: std::thread::available_parallelism().map_or(1, |cores| usual_workers(cores.get())),
            name: "server",
            stages: Arc::default(),
        }
    }
}

/// A running server. Dropping it closes everything at once.
pub struct Server {
    local: SocketAddr,
    house: Arc<House>,
    workers: Vec<Worker>,
    threads: Threads,
}

/// Where connections are dealt to.
#[derive(Clone)]
struct Worker {
    dealt: mpsc::Sender<Dealt>,
    open: Arc<AtomicUsize>,
}

/// A connection of a worker, counted for as long as it is there.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn at(worker: &Worker) -> Counted {
        worker.open.fetch_add(1, Ordering::Relaxed);
        Counted(worker.open.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Dealt = (std::net::TcpStream, SocketAddr, (Seat, Counted));
type OnClose = Arc<dyn Fn(u64) + Send + Sync>;

/// What all workers share.
struct House {
    config: ServerConfig,
    routes: Arc<Routes>,
    clock: Arc<dyn Clock>,
    budget: Arc<Budget>,
    on_close: OnClose,
    open: Mutex<HashMap<u64, Connection>>,
    left: Condvar,
    closing: Notify,
    is_closing: AtomicBool,
}

/// What a server holds right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerUsage {
    /// Open connections.
    pub connections: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Their bytes, long polls left out.
    pub waiting_bytes: usize,
}

impl Server {
    /// Listens and starts to serve. `on_close` is told the id of every connection that has ended.
    pub fn bind<S: Send + Sync + 'static>(
        address: SocketAddr,
        config: ServerConfig,
        router: Router<S>,
        state: Arc<S>,
        clock: Arc<dyn Clock>,
        on_close: OnClose,
    ) -> io::Result<Server> {
        let listener = net::listen(address)?;
        let local = listener.local_addr()?;
        let allowed = Allowance { bytes: config.bytes_total, slots: config.waiting_total };
        let house = Arc::new(House {
            budget: Budget::new(allowed, config.stuck_total),
            routes: router.bind(&state),
            clock,
            on_close,
            open: Mutex::default(),
            left: Condvar::new(),
            closing: Notify::new(),
            is_closing: AtomicBool::new(false),
            config,
        });
        let mut server = Server { local, house, workers: Vec::new(), threads: Threads::default() };
        server.start(listener)?;
        Ok(server)
    }

    /// Where it listens; tells the port when it was asked for any.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What is held right now.
    pub fn usage(&self) -> ServerUsage {
        ServerUsage {
            connections: self.house.open.lock().len(),
            waiting: self.house.budget.slots(),
            waiting_bytes: self.house.budget.bytes(),
        }
    }

    /// Takes no more connections or requests, lets those under way finish for up to `drain`, and closes. Blocks.
    pub fn shutdown(mut self, drain: Duration) {
        self.close(drain);
    }

    fn start(&mut self, listener: std::net::TcpListener) -> io::Result<()> {
        let mut dealt = Vec::new();
        for _ in 0..self.house.config.workers.max(1) {
            let (sender, receiver) = mpsc::channel(DEALT_AHEAD);
            self.workers.push(Worker { dealt: sender, open: Arc::default() });
            dealt.push(receiver);
        }
        let mut listener = Some(listener);
        for (number, dealt) in dealt.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
            let accept = listener.take().map(|listener| (listener, self.workers.clone()));
            let house = self.house.clone();
            let name = format!("{}-{number}", self.house.config.name);
            self.threads.spawn(&name, move |_| runtime.block_on(work(house, accept, dealt)))?;
        }
        Ok(())
    }

    fn close(&mut self, drain: Duration) {
        self.house.is_closing.store(true, Ordering::SeqCst);
        self.house.closing.notify_one();
        self.house.wish_all(Wish::Drain);
        self.house.wait_empty(drain);
        self.house.wish_all(Wish::Close);
        // A worker ends when nobody can deal to it any more; its connections end with its runtime.
        self.workers.clear();
        self.threads.join();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}

/// One worker's thread: serves what it is dealt. One of them also accepts.
async fn work(
    house: Arc<House>,
    accept: Option<(std::net::TcpListener, Vec<Worker>)>,
    mut dealt: mpsc::Receiver<Dealt>,
) {
    if let Some((listener, workers)) = accept {
        tokio::spawn(accept_all(house.clone(), listener, workers));
    }
    while let Some((socket, peer, seat)) = dealt.recv().await {
        match TcpStream::from_std(socket).and_then(|stream| house.admit(stream, peer, seat)) {
            Ok(link) => drop(tokio::spawn(link.run())),
            Err(error) => tracing::debug!(%peer, %error, "connection lost before it was served"),
        }
    }
}

/// Deals accepted connections to the workers until the server closes. Each goes to the one that has the fewest: in turn, a
/// client that opens a connection to ask for the route before each other one would have them all on one worker.
async fn accept_all(house: Arc<House>, listener: std::net::TcpListener, workers: Vec<Worker>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut spare = Spare::take();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = house.closing.notified() => return,
        };
        let dealt = match accepted {
            Ok((stream, peer)) => match house.seat(peer) {
                Some(seat) => stream.into_std().map(|socket| (socket, peer, seat)),
                None => continue,
            },
            Err(error) if is_out_of_descriptors(&error) && spare.turn_away(&listener) => {
                house.say(&error);
                continue;
            }
            Err(error) => Err(error),
        };
        match (dealt, workers.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed))) {
            (Ok((socket, peer, seat)), Some(worker)) => {
                if worker.dealt.send((socket, peer, (seat, Counted::at(worker)))).await.is_err() {
                    return;
                }
            }
            (Err(error), _) => house.stumble(&error).await,
            (Ok(_), None) => return,
        }
    }
}

/// A descriptor that is kept for the moment when there is none: with it, whoever connects then is told no. Without, it would
/// wait for an answer that does not come.
struct Spare(Option<File>);

impl Spare {
    fn take() -> Spare {
        Spare(File::open("/dev/null").ok())
    }

    /// Closes the next connection that waits to be accepted; false when that could not be done either.
    fn turn_away(&mut self, listener: &TcpListener) -> bool {
        self.0 = None;
        let gone = listener.accept().now_or_never();
        let is_gone = matches!(gone, Some(Ok(_)));
        drop(gone);
        *self = Spare::take();
        is_gone
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// The machine has no descriptor left.
const ENFILE: i32 = 23;
/// The process has none.
const EMFILE: i32 = 24;

impl House {
    /// Takes the seat of a connection; without one it is closed.
    fn seat(&self, peer: SocketAddr) -> Option<Seat> {
        static FULL: Quiet = Quiet::new();
        let (open, most) = (self.open.lock().len(), self.config.max_connections);
        let seat = if open < most { self.config.seats.take() } else { None };
        if seat.is_none()
            && let Some(unsaid) = FULL.speak(self.clock.now())
        {
            let seats = self.config.seats.most();
            tracing::warn!(%peer, open, most, seats, unsaid, "connection refused, as many are open as allowed");
        }
        seat
    }

    /// Waits out a failure of accept.
    async fn stumble(&self, error: &io::Error) {
        self.say(error);
        tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
    }

    fn say(&self, error: &io::Error) {
        static STUMBLED: Quiet = Quiet::new();
        if let Some(unsaid) = STUMBLED.speak(self.clock.now()) {
            tracing::warn!(%error, unsaid, "cannot accept a connection");
        }
    }

    /// Makes the task of an accepted connection and enters it into the table.
    fn admit(
        self: &Arc<House>,
        stream: TcpStream,
        peer: SocketAddr,
        held: (Seat, Counted),
    ) -> io::Result<Link> {
        net::tune(&stream)?;
        let config = &self.config;
        let connection = Connection::new(Ends {
            peer,
            local: stream.local_addr()?,
            clock: self.clock.clone(),
            in_flight_max: config.in_flight_per_connection,
            unsent_max: config.unsent_per_connection,
            serialization: Serialization::Json,
        });
        self.open.lock().insert(connection.id(), connection.clone());
        if self.is_closing.load(Ordering::SeqCst) {
            connection.wish(Wish::Drain);
        }
        let limits = Limits {
            max_frame: config.max_frame,
            idle: Some(config.idle),
            write_deadline: config.write_deadline,
            unsent: config.unsent_per_connection,
        };
        let share = Allowance { bytes: config.bytes_per_connection, slots: config.waiting_per_connection };
        let gate = Gate::new(self.budget.clone(), share, config.request_deadline);
        let house = self.clone();
        let on_end = Box::new(move |id| {
            house.forget(id);
            // Kept until here, and gone with this closure, behind the socket.
            let _ = &held;
        });
        let stages = Some(config.stages.clone());
        let service = Service { routes: self.routes.clone(), limits, gate, stages };
        Ok(Link::new(stream, connection, service, on_end))
    }

    fn forget(&self, id: u64) {
        (self.on_close)(id);
        let mut open = self.open.lock();
        open.remove(&id);
        if open.is_empty() {
            self.left.notify_all();
        }
    }

    fn wish_all(&self, wish: Wish) {
        let open: Vec<Connection> = self.open.lock().values().cloned().collect();
        open.iter().for_each(|connection| connection.wish(wish));
    }

    fn wait_empty(&self, patience: Duration) {
        let mut open = self.open.lock();
        self.left.wait_while_for(&mut open, |open| !open.is_empty(), patience);
    }
}
