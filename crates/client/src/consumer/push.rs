// SPDX-License-Identifier: Apache-2.0
//! The push consumer: subscribes, shares the queues with the other members of its group, and calls a listener.
//! This file is what the application sees; `member` is the loop behind it.
//!
//! Delivery is at least once: a message may come again after a crash, a rebalance, a reset, or a listener that took
//! too long. Dropping the consumer stops it at once; [`PushConsumer::shutdown`] lets the listener finish.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::assignment::Allocation;
use protocol::names::{Group, TopicName};
use stdx::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::config::ClientConfig;
use crate::consumer::group::GroupState;
use crate::consumer::inbox::Inbox;
use crate::consumer::listener::{Consumed, Delivery, Listener};
use crate::consumer::member::Member;
use crate::consumer::subscription::Subscription;
use crate::consumer::window::WindowLimits;
use crate::session::{Session, StartError};

/// Who gets a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model {
    /// One member of the group.
    #[default]
    Clustering,
    /// Every member; each keeps its own progress in a file, and what fails is not delivered again.
    Broadcast,
}

/// In what order messages are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As soon as a worker is free.
    #[default]
    Concurrent,
    /// Queue by queue, one batch after the other; a batch that fails holds its queue up.
    Orderly,
}

/// Where a group begins that has no progress yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsumeFrom {
    /// At the end of the queue.
    #[default]
    Last,
    /// At the first message the broker still has.
    First,
    /// At the first message stored at this time or later.
    Time(Timestamp),
}

/// What a push consumer is told at its start.
#[derive(Clone)]
pub struct PushConfig {
    /// Name servers and intervals.
    pub client: ClientConfig,
    /// The group it joins.
    pub group: Group,
    /// Who gets a message.
    pub model: Model,
    /// In what order.
    pub mode: Mode,
    /// Where to begin.
    pub from: ConsumeFrom,
    /// How queues are shared; the same in all members.
    pub allocation: Allocation,
    /// How many batches may be with the listener at a time.
    pub workers: usize,
    /// Messages in one delivery.
    pub batch: usize,
    /// Failed deliveries after which a message is a dead letter; by default 16, and without end where order counts.
    pub max_reconsume: Option<u32>,
    /// How long one call of the listener may take before it is stopped and counts as failed.
    pub consume_timeout: Duration,
    /// How long an orderly queue rests after a failure.
    pub suspend: Duration,
    /// Messages asked for in one pull.
    pub pull_messages: u32,
    /// Bytes asked for in one pull.
    pub pull_bytes: u32,
    /// How long a broker may wait for a message.
    pub pull_wait: Duration,
    /// What is kept in memory for one queue.
    pub window: WindowLimits,
    /// How often progress is saved.
    pub commit_interval: Duration,
    /// How often the shares are looked at without being asked to.
    pub rebalance_interval: Duration,
    /// How often queue locks are renewed; brokers let them lapse after a minute.
    pub lock_interval: Duration,
    /// How long a shutdown waits for the listener.
    pub shutdown_patience: Duration,
    /// Where a broadcast consumer keeps its progress.
    pub progress_dir: PathBuf,
}

impl PushConfig {
    /// Takes the usual values; `name_servers` is a list such as `127.0.0.1:9876;10.0.0.2:9876`.
    pub fn new(group: Group, name_servers: &str) -> PushConfig {
        PushConfig {
            client: ClientConfig::new(name_servers),
            group,
            model: Model::Clustering,
            mode: Mode::Concurrent,
            from: ConsumeFrom::Last,
            allocation: Allocation::Averagely,
            workers: 20,
            batch: 1,
            max_reconsume: None,
            consume_timeout: Duration::from_secs(15 * 60),
            suspend: Duration::from_secs(1),
            pull_messages: 32,
            pull_bytes: 256 << 10,
            pull_wait: Duration::from_secs(15),
            window: WindowLimits::default(),
            commit_interval: Duration::from_secs(5),
            rebalance_interval: Duration::from_secs(20),
            lock_interval: Duration::from_secs(20),
            shutdown_patience: Duration::from_secs(10),
            progress_dir: std::env::home_dir().unwrap_or_default().join(".rocketmq_offsets"),
        }
    }

    pub(crate) fn max_reconsume(&self) -> u32 {
        self.max_reconsume.unwrap_or(match self.mode {
            Mode::Concurrent => 16,
            Mode::Orderly => u32::MAX,
        })
    }

    fn check(&self) -> Result<(), StartError> {
        self.group.check().map_err(|error| StartError::Group(error.to_string()))?;
        if self.group.is_system() {
            return Err(StartError::Group(format!("group {} belongs to the servers", self.group)));
        }
        if self.workers == 0 || self.batch == 0 || self.pull_messages == 0 {
            return Err(StartError::Subscription("workers, batch and pull_messages must not be zero".into()));
        }
        Ok(())
    }
}

/// A running push consumer.
pub struct PushConsumer {
    group: Arc<GroupState>,
    stop: Option<oneshot::Sender<()>>,
    /// Owns the member loop: dropping the consumer ends it.
    tasks: JoinSet<()>,
}

impl PushConsumer {
    /// Subscribes and starts to deliver. A topic that does not exist yet is picked up when it does.
    pub async fn start<F, V>(
        config: PushConfig,
        subscriptions: &[Subscription],
        listener: F,
    ) -> Result<PushConsumer, StartError>
    where
        F: Fn(Delivery) -> V + Send + Sync + 'static,
        V: Future<Output = Consumed> + Send + 'static,
    {
        config.check()?;
        let (asks, inbox) = mpsc::channel(Inbox::CAPACITY);
        let router = Inbox::router();
        let mut client = config.client.clone();
        if config.model == Model::Broadcast {
            // The progress file is found by the instance, so it must not change from run to run.
            client.instance.get_or_insert_with(|| "DEFAULT".to_owned());
        }
        let inbox_state = Arc::new(Inbox::new(config.group.clone(), asks));
        let session = Session::open(client, router, inbox_state).await?;
        let group = GroupState::new(config, subscriptions, Listener::new(listener), session)?;
        let group = Arc::new(group);
        let mut member = Member::new(group.clone(), inbox);
        member.join().await?;
        let (stop, stopped) = oneshot::channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(member.run(stopped));
        Ok(PushConsumer { group, stop: Some(stop), tasks })
    }

    /// The id that servers and tools show.
    pub fn client_id(&self) -> &str {
        self.group.session.id()
    }

    /// The topics it subscribes to, its retry topic among them.
    pub fn topics(&self) -> impl Iterator<Item = &TopicName> {
        self.group.interests.keys()
    }

    /// Stops pulling, waits for the listener, saves the progress, gives locks back and leaves the group.
    pub async fn shutdown(mut self) {
        drop(self.stop.take());
        while self.tasks.join_next().await.is_some() {}
    }
}
