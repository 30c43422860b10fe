// SPDX-License-Identifier: Apache-2.0
//! The pull consumer: the application says which queues, from where, and when. It belongs to a group only in that its
//! progress is kept under the group's name; nothing is shared out, nothing happens unasked but heartbeats.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::body::{ConsumeType, ConsumerData, HeartbeatData, MessageModel};
use protocol::names::{Group, QueueOffset, TopicName};
use remoting::Router;
use stdx::Timestamp;
use tokio::task::JoinSet;

use crate::config::ClientConfig;
use crate::consumer::offsets::OffsetError;
use crate::consumer::reading::{Place, PullError, Pulled, Reading};
use crate::consumer::subscription::{Interest, Subscription};
use crate::queue::Queue;
use crate::routes::RouteError;
use crate::session::{Session, StartError};

/// What a pull consumer is told at its start.
#[derive(Clone)]
pub struct PullConfig {
    /// Name servers and intervals.
    pub client: ClientConfig,
    /// Under whose name progress is kept.
    pub group: Group,
    /// Messages asked for in one pull.
    pub messages: u32,
    /// Bytes asked for in one pull.
    pub bytes: u32,
}

impl PullConfig {
    /// Takes the usual values.
    pub fn new(group: Group, name_servers: &str) -> PullConfig {
        PullConfig { client: ClientConfig::new(name_servers), group, messages: 32, bytes: 256 << 10 }
    }
}

/// A running pull consumer.
pub struct PullConsumer {
    shared: Arc<Shared>,
    /// Owns the heartbeats.
    tasks: JoinSet<()>,
}

struct Shared {
    config: PullConfig,
    session: Session,
    assigned: Mutex<BTreeMap<Queue, Assigned>>,
}

#[derive(Clone)]
struct Assigned {
    interest: Arc<Interest>,
    position: QueueOffset,
    member: i64,
}

impl PullConsumer {
    /// Connects. Nothing is assigned yet.
    pub async fn start(config: PullConfig) -> Result<PullConsumer, StartError> {
        config.group.check().map_err(|error| StartError::Group(error.to_string()))?;
        let session = Session::open(config.client.clone(), Router::new(), Arc::new(())).await?;
        let shared = Arc::new(Shared { config, session, assigned: Mutex::default() });
        let mut tasks = JoinSet::new();
        tasks.spawn(shared.clone().keep_alive());
        Ok(PullConsumer { shared, tasks })
    }

    /// The id that servers and tools show.
    pub fn client_id(&self) -> &str {
        self.shared.session.id()
    }

    /// The queues of a topic that can be read.
    pub async fn queues(&self, topic: &TopicName) -> Result<Vec<Queue>, RouteError> {
        Ok(self.shared.session.route(topic).await?.readable().to_vec())
    }

    /// Adds queues of the subscription's topic. Each begins at the group's progress, or at its first message.
    pub async fn assign(&self, subscription: &Subscription, queues: &[Queue]) -> Result<(), OffsetError> {
        let shared = &self.shared;
        let interest = Interest::new(subscription, shared.session.now().0)?;
        let interest = Arc::new(interest);
        for queue in queues {
            let kept = shared.session.committed(&shared.config.group, queue, true).await?;
            let position = match kept {
                Some(kept) => kept,
                None => shared.session.first_offset(queue).await?,
            };
            let assigned = Assigned { interest: interest.clone(), position, member: 0 };
            shared.assigned.lock().insert(queue.clone(), assigned);
        }
        // Brokers shall know the subscription too.
        shared.session.routes().new_broker.notify_one();
        Ok(())
    }

    /// Takes queues out again.
    pub fn unassign(&self, queues: &[Queue]) {
        let mut assigned = self.shared.assigned.lock();
        for queue in queues {
            assigned.remove(queue);
        }
    }

    /// The queues that are assigned.
    pub fn assigned(&self) -> Vec<Queue> {
        self.shared.assigned.lock().keys().cloned().collect()
    }

    /// Goes on somewhere else.
    pub fn seek(&self, queue: &Queue, to: QueueOffset) -> Result<(), PullError> {
        let mut assigned = self.shared.assigned.lock();
        assigned.get_mut(queue).ok_or_else(|| PullError::Unassigned(queue.clone()))?.position = to;
        Ok(())
    }

    /// The offset the next pull asks for.
    pub fn position(&self, queue: &Queue) -> Option<QueueOffset> {
        self.shared.assigned.lock().get(queue).map(|assigned| assigned.position)
    }

    /// Pulls once and moves the position behind what came. Waits up to `wait` for a first message.
    /// After an offset that the broker does not have, the position is where the broker says to go on.
    pub async fn pull(&self, queue: &Queue, wait: Duration) -> Result<Pulled, PullError> {
        let shared = &self.shared;
        let found = shared.assigned.lock().get(queue).cloned();
        let assigned = found.ok_or_else(|| PullError::Unassigned(queue.clone()))?;
        let reading = Reading {
            group: &shared.config.group,
            queue,
            from: assigned.position,
            messages: shared.config.messages,
            bytes: shared.config.bytes,
            wait,
            member: assigned.member,
            interest: &assigned.interest,
            carries_subscription: true,
        };
        let pulled = shared.session.read(&reading).await?;
        let mut table = shared.assigned.lock();
        // A seek while the pull was under way wins.
        if let Some(now) = table.get_mut(queue).filter(|now| now.position == assigned.position) {
            now.member = pulled.member;
            if pulled.place != Place::AtEnd {
                now.position = pulled.next;
            }
        }
        drop(table);
        Ok(pulled)
    }

    /// Saves the group's progress on a queue.
    pub async fn commit(&self, queue: &Queue, offset: QueueOffset) -> Result<(), OffsetError> {
        self.shared.session.commit(&self.shared.config.group, queue, offset).await
    }

    /// The group's progress on a queue.
    pub async fn committed(&self, queue: &Queue) -> Result<Option<QueueOffset>, OffsetError> {
        self.shared.session.committed(&self.shared.config.group, queue, true).await
    }

    /// The first offset that is there.
    pub async fn first_offset(&self, queue: &Queue) -> Result<QueueOffset, OffsetError> {
        self.shared.session.first_offset(queue).await
    }

    /// One past the last offset that is there.
    pub async fn end_offset(&self, queue: &Queue) -> Result<QueueOffset, OffsetError> {
        self.shared.session.end_offset(queue).await
    }

    /// The first offset stored at a time or later.
    pub async fn offset_at(&self, queue: &Queue, at: Timestamp) -> Result<QueueOffset, OffsetError> {
        self.shared.session.offset_at(queue, at).await
    }

    /// Leaves the group and closes the connections. Progress is what was committed.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
        self.shared.session.unregister(None, Some(&self.shared.config.group)).await;
        self.shared.session.close();
    }
}

impl Shared {
    async fn keep_alive(self: Arc<Shared>) {
        loop {
            self.session.beat(&self.heartbeat()).await;
            self.session.until_beat().await;
            self.session.refresh_routes(&[]).await;
        }
    }

    fn heartbeat(&self) -> HeartbeatData {
        let assigned = self.assigned.lock();
        let subscriptions: BTreeMap<_, _> =
            assigned.iter().map(|(queue, a)| (&queue.topic, a.interest.data(&queue.topic))).collect();
        HeartbeatData {
            client_id: self.session.id().to_owned(),
            consumer_data_set: vec![ConsumerData {
                consume_type: ConsumeType::Actively,
                group_name: self.config.group.clone(),
                message_model: MessageModel::Clustering,
                subscription_data_set: subscriptions.into_values().collect(),
                ..ConsumerData::default()
            }],
            ..HeartbeatData::default()
        }
    }
}
