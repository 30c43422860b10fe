// SPDX-License-Identifier: Apache-2.0
//! The producer: sends one message, many, in order, or without waiting. All calls take `&self`, so that a program has as
//! many sends under way as it awaits futures.
//!
//! A send that failed on one broker is tried on another as long as time and attempts allow; after a lost connection or
//! a missed deadline the message may therefore be stored twice, under the same id.

mod attempt;
mod draft;
mod recall;
mod request;
mod transaction;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::body::{HeartbeatData, ProducerData};
use protocol::ids::UniqueIds;
use protocol::names::{Group, QueueId, QueueOffset, TopicName};
use protocol::record;
use remoting::{CallError, Router};
use stdx::Rng;
use tokio::task::JoinSet;

use crate::config::ClientConfig;
use crate::message::{InvalidMessage, Message};
use crate::queue::Queue;
use crate::retry::{Penalties, RetryLimits};
use crate::routes::{Route, RouteError};
use crate::session::{Session, StartError};

use draft::Draft;
pub use recall::RecallError;
use request::Desk;
pub use request::{NotARequest, Replied, RequestError};
pub use transaction::{Ended, Outcome, TransactionProducer};

/// What a producer is told at its start.
#[derive(Clone)]
pub struct ProducerConfig {
    /// Name servers and intervals.
    pub client: ClientConfig,
    /// The group it belongs to.
    pub group: Group,
    /// How often and how long a send is tried.
    pub retry: RetryLimits,
    /// Bodies of this size are compressed; `usize::MAX` sends them as they are.
    pub compress_from: usize,
    /// How hard to compress, 1 to 9.
    pub compress_level: i32,
    /// Queues on each broker of a topic that its first message creates.
    pub default_queues: u32,
}

impl ProducerConfig {
    /// Takes the usual values; `name_servers` is a list such as `127.0.0.1:9876;10.0.0.2:9876`.
    pub fn new(group: Group, name_servers: &str) -> ProducerConfig {
        ProducerConfig {
            client: ClientConfig::new(name_servers),
            group,
            retry: RetryLimits::default(),
            compress_from: 4096,
            compress_level: 5,
            default_queues: 4,
        }
    }
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The id it can be found by. Of a batch the id of the first.
    pub id: String,
    /// Ids that name broker and place in the log, one for each message of a batch; one alone where its topic keeps batches
    /// together.
    pub offset_ids: Vec<String>,
    /// Where it is.
    pub queue: Queue,
    /// Its place there; of a batch that of the first.
    pub offset: QueueOffset,
    /// How far the broker kept its promise.
    pub stored: Stored,
    /// What a delayed message can be taken back with.
    pub recall_handle: Option<String>,
}

/// What is known about a message that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// All that was promised.
    Safely,
    /// The disk did not confirm in time.
    FlushTimeout,
    /// No replica was there.
    NoReplica,
    /// No replica confirmed in time.
    ReplicaTimeout,
}

/// Why a message is not known to be stored.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It cannot be sent as it is; nothing was.
    #[error("not sent: {0}")]
    Invalid(#[from] InvalidMessage),
    /// There is nowhere to send it to.
    #[error("not sent: {0}")]
    Route(#[from] RouteError),
    /// The last broker that was tried refused it, or was not reached, or did not answer: only then it may be stored.
    #[error("not acknowledged after {attempts} attempts, the last on {queue}: {error}")]
    Failed {
        /// How often it was tried.
        attempts: u32,
        /// Where last.
        queue: Queue,
        /// What happened there.
        #[source]
        error: CallError,
    },
    /// The chosen queue cannot be written to.
    #[error("not sent: {0} is no queue that can be written to")]
    NoSuchQueue(Queue),
    /// No attempt fit into the time allowed.
    #[error("not sent within {} ms", after.as_millis())]
    Late {
        /// The time allowed.
        after: Duration,
    },
}

/// A running producer.
pub struct Producer {
    shared: Arc<Shared>,
    /// Owns heartbeats and route refreshes.
    tasks: JoinSet<()>,
}

struct Shared {
    config: ProducerConfig,
    session: Session,
    ids: UniqueIds,
    turn: AtomicUsize,
    penalties: Mutex<Penalties>,
    desk: Arc<Desk>,
    /// The connections on which brokers know this producer for sure.
    greeted: Mutex<HashMap<String, u64>>,
}

impl Producer {
    /// Connects to a name server. Brokers are found when the first message needs them.
    pub async fn start(config: ProducerConfig) -> Result<Producer, StartError> {
        Producer::open(config, Router::new(), Desk::default()).await
    }

    /// As `start`; `router` answers what brokers ask of this producer.
    async fn open(config: ProducerConfig, router: Router<Desk>, desk: Desk) -> Result<Producer, StartError> {
        config.group.check().map_err(|error| StartError::Group(error.to_string()))?;
        let desk = Arc::new(desk);
        let router = router.on(request::take);
        let session = Session::open(config.client.clone(), router, desk.clone()).await?;
        let mut rng = Rng::from_entropy();
        let ids = UniqueIds::new(session.host(), std::process::id() as u16, rng.next() as u32);
        let turn = AtomicUsize::new(rng.below(1 << 16) as usize);
        let (penalties, greeted) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { config, session, ids, turn, penalties, desk, greeted });
        // Set once, and before a broker knows of this producer.
        let _ = shared.desk.shared.set(Arc::downgrade(&shared));
        let mut tasks = JoinSet::new();
        tasks.spawn(shared.clone().keep_alive());
        Ok(Producer { shared, tasks })
    }

    /// The id that servers and tools show.
    pub fn client_id(&self) -> &str {
        self.shared.session.id()
    }

    /// Sends a message to any queue of its topic and returns once it is stored.
    pub async fn send(&self, message: Message) -> Result<Sent, SendError> {
        let draft = self.shared.draft(message)?;
        self.shared.send_anywhere(&draft).await
    }

    /// Sends a message to one queue. Tried again there only.
    pub async fn send_to(&self, message: Message, queue: &Queue) -> Result<Sent, SendError> {
        let draft = self.shared.draft(message)?;
        let route = self.shared.route(draft.topic()).await?;
        if !route.writable().contains(queue) {
            return Err(SendError::NoSuchQueue(queue.clone()));
        }
        self.shared.send_to(&draft, &route, queue).await
    }

    /// Sends a message to the queue that `choose` picks among those of its topic, by index modulo their number.
    pub async fn send_selected(
        &self,
        message: Message,
        choose: impl FnOnce(&[Queue]) -> usize,
    ) -> Result<Sent, SendError> {
        let draft = self.shared.draft(message)?;
        let route = self.shared.route(draft.topic()).await?;
        let queues = route.writable();
        let queue = &queues[choose(queues) % queues.len()];
        self.shared.send_to(&draft, &route, queue).await
    }

    /// Sends a message so that it stays in order with all others of the same key: one key, one queue, as long as the
    /// number of queues does not change.
    pub async fn send_ordered(&self, message: Message, key: &str) -> Result<Sent, SendError> {
        let hash = record::string_hash(key).unsigned_abs() as usize;
        self.send_selected(message.sharding_key(key), |_| hash).await
    }

    /// Sends messages of one topic in one request to one queue; all are stored or none is.
    pub async fn send_batch(&self, messages: &[Message]) -> Result<Sent, SendError> {
        let draft = self.shared.draft_batch(messages)?;
        self.shared.send_anywhere(&draft).await
    }

    /// Sends a message and does not wait for what becomes of it: it may be lost without a word.
    pub async fn send_one_way(&self, message: Message) -> Result<(), SendError> {
        let draft = self.shared.draft(message)?;
        self.shared.send_one_way(&draft).await
    }

    /// The queues of a topic that can be written to.
    pub async fn queues(&self, topic: &TopicName) -> Result<Vec<Queue>, RouteError> {
        Ok(self.shared.route(topic).await?.writable().to_vec())
    }

    /// Leaves the group and closes the connections. Sends that are under way fail.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
        self.shared.session.unregister(Some(&self.shared.config.group), None).await;
        self.shared.session.close();
    }
}

impl Shared {
    async fn keep_alive(self: Arc<Shared>) {
        let data = self.presence();
        loop {
            self.session.beat(&data).await;
            self.session.until_beat().await;
            self.session.refresh_routes(&[]).await;
        }
    }

    /// What brokers are told in heartbeats.
    fn presence(&self) -> HeartbeatData {
        HeartbeatData {
            client_id: self.session.id().to_owned(),
            producer_data_set: vec![ProducerData { group_name: self.config.group.clone() }],
            ..HeartbeatData::default()
        }
    }

    async fn route(&self, topic: &TopicName) -> Result<Arc<Route>, RouteError> {
        let queues = self.config.default_queues.try_into().unwrap_or(i32::MAX);
        self.session.route_for_write(topic, queues).await
    }

    fn draft(&self, message: Message) -> Result<Draft, InvalidMessage> {
        Draft::new(message, &self.config, &self.ids, self.session.now())
    }

    fn draft_batch(&self, messages: &[Message]) -> Result<Draft, InvalidMessage> {
        Draft::batch(messages, &self.config, &self.ids, self.session.now())
    }

    /// Picks the next queue in turn: not on the broker that just failed, and not on one that is being avoided, unless
    /// there is no other.
    fn pick<'a>(&self, route: &'a Route, failed: Option<&protocol::names::BrokerName>) -> &'a Queue {
        let queues = route.writable();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let nth = |n: usize| &queues[(first.wrapping_add(n)) % queues.len()];
        let penalties = self.penalties.lock();
        let now = self.session.now();
        let other = |queue: &&Queue| failed != Some(&queue.broker);
        let healthy = |queue: &&Queue| !penalties.holds(&queue.broker, now);
        let turns = || (0..queues.len()).map(nth);
        let best = turns().find(|queue| other(queue) && healthy(queue));
        best.or_else(|| turns().find(other)).unwrap_or_else(|| nth(0))
    }

    /// The queue that an answer names.
    fn queue(&self, asked: &Queue, answered: QueueId) -> Queue {
        Queue { id: answered, ..asked.clone() }
    }
}
