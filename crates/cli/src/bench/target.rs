// SPDX-License-Identifier: Apache-2.0
//! Where the load goes: brokers and queues of a topic, found through a name server or given by hand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use client::{Admin, ClientConfig as SdkConfig};
use protocol::body::TopicConfig;
use protocol::frame::Serialization;
use protocol::names::{QueueId, TopicName};
use remoting::{Client, ClientConfig, Connection, Router};
use stdx::{Clock, SystemClock};

use super::Common;
use super::topics::Many;

/// How long one request may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A queue and the broker that has it.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) broker: String,
    pub(super) queue: QueueId,
}

/// What the load is aimed at.
pub(super) struct Target {
    pub(super) topic: TopicName,
    /// The topic is the first of so many.
    pub(super) many: Option<Many>,
    pub(super) queues: Vec<Queue>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) serialization: Serialization,
    client: Client,
}

impl Target {
    /// Finds the queues, making the topic where it does not exist.
    pub(super) async fn find(common: &Common) -> Result<Target> {
        Target::find_topic(common, TopicName::parse(common.topic.as_str())?, None).await
    }

    /// The same for the first of many topics.
    pub(super) async fn find_many(common: &Common, many: Many) -> Result<Target> {
        Target::find_topic(common, many.first(common)?, Some(many)).await
    }

    async fn find_topic(common: &Common, topic: TopicName, many: Option<Many>) -> Result<Target> {
        let config = ClientConfig { serialization: common.serialization(), ..ClientConfig::default() };
        let clock = SystemClock::new();
        let client = Client::new(config, clock.clone(), Router::new(), Arc::new(()));
        let queues = match &common.broker {
            Some(broker) => (0..common.queues)
                .map(|queue| Queue { broker: broker.clone(), queue: QueueId(queue) })
                .collect(),
            None => routed(common, &topic).await?,
        };
        Ok(Target { topic, many, queues, clock, serialization: common.serialization(), client })
    }

    /// Opens a connection for single questions to the broker of `queue`.
    pub(super) async fn dial(&self, queue: &Queue) -> Result<Connection> {
        let failed = || format!("cannot connect to the broker at {}", queue.broker);
        self.client.dial(&queue.broker).await.with_context(failed)
    }
}

impl Target {
    /// Every broker that has a queue, once.
    pub(super) fn brokers(&self) -> BTreeSet<&str> {
        self.queues.iter().map(|queue| queue.broker.as_str()).collect()
    }

    /// The queues of one broker.
    pub(super) fn queues_of(&self, broker: &str) -> Vec<QueueId> {
        self.queues.iter().filter(|queue| queue.broker == broker).map(|queue| queue.queue).collect()
    }
}

/// The writable queues of the topic on all masters, after making sure that it exists.
async fn routed(common: &Common, topic: &TopicName) -> Result<Vec<Queue>> {
    let admin = Admin::start(SdkConfig::new(&common.namesrv)).await?;
    if admin.route(topic).await.is_err() {
        let queues = i32::try_from(common.queues)?;
        let config = TopicConfig {
            topic_name: topic.clone(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            ..TopicConfig::default()
        };
        admin.put_topic(None, &config).await.with_context(|| format!("cannot make topic {topic}"))?;
    }
    let mut queues = Vec::new();
    for master in admin.masters(None).await? {
        let Ok(config) = admin.topic_config(&master.address, topic).await else { continue };
        let ids = 0..u32::try_from(config.write_queue_nums).unwrap_or(0);
        queues.extend(ids.map(|queue| Queue { broker: master.address.clone(), queue: QueueId(queue) }));
    }
    if queues.is_empty() {
        bail!("topic {topic} has no queue that can be written, says the name server {}", common.namesrv);
    }
    Ok(queues)
}

/// A body of the wanted size that does not compress to nothing.
pub(super) fn body(size: usize) -> Bytes {
    let mut rng = stdx::Rng::new(size as u64);
    let filler: Vec<u8> = (0..size).map(|_| b' ' + rng.below(94) as u8).collect();
    Bytes::from(filler)
}
