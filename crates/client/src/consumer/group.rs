// SPDX-License-Identifier: Apache-2.0
//! What the parts of one push consumer share: configuration, subscriptions, listener, session, and the calls that
//! concern a group's progress, locks and failed messages. It runs nothing itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::body::{
    CheckClientRequestBody, ConsumeFromWhere, ConsumeType, ConsumerData, GetConsumerListByGroupResponseBody,
    HeartbeatData, LockBatchRequestBody, LockBatchResponseBody, MessageModel, MessageQueue,
    UnlockBatchRequestBody,
};
use protocol::filter::is_tag_kind;
use protocol::heartbeat::{CheckClientConfig, GetConsumerListByGroup};
use protocol::json;
use protocol::lock::{LockBatchQueues, UnlockBatchQueues};
use protocol::names::{BrokerName, ByteStr, QueueOffset, TopicName};
use protocol::properties;
use protocol::send::{ConsumerSendMessageBack, SendHeader, SendMessageV2};
use remoting::CallError;
use stdx::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::consumer::held::Held;
use crate::consumer::listener::Listener;
use crate::consumer::offsets::OffsetError;
use crate::consumer::progress::ProgressFile;
use crate::consumer::push::{ConsumeFrom, Model, PushConfig};
use crate::consumer::received::Received;
use crate::consumer::subscription::{Interest, Subscription};
use crate::queue::Queue;
use crate::routes::Route;
use crate::session::{Session, StartError};

/// How long a granted lock is trusted; brokers let it lapse after twice that.
const LOCK_TRUST: Duration = Duration::from_secs(30);

pub(crate) struct GroupState {
    pub(crate) config: PushConfig,
    pub(crate) interests: BTreeMap<TopicName, Arc<Interest>>,
    pub(crate) listener: Listener,
    pub(crate) session: Session,
    /// One for each batch that may be with the listener.
    permits: Arc<Semaphore>,
    pub(crate) local: Option<LocalProgress>,
    /// Told when a broker seems not to know us any more.
    pub(crate) forgotten: Notify,
    pub(crate) started_at: Timestamp,
}

/// Progress of a broadcast consumer.
pub(crate) struct LocalProgress {
    file: ProgressFile,
    offsets: Mutex<BTreeMap<Queue, QueueOffset>>,
}

impl GroupState {
    pub(crate) fn new(
        config: PushConfig,
        subscriptions: &[Subscription],
        listener: Listener,
        session: Session,
    ) -> Result<GroupState, StartError> {
        let started_at = session.now();
        let mut interests = BTreeMap::new();
        let retry = Subscription::all(TopicName::retry_of(&config.group));
        let retry = Some(&retry).filter(|_| config.model == Model::Clustering);
        for subscription in subscriptions.iter().chain(retry) {
            let fault =
                |error: String| StartError::Subscription(format!("{}: {error}", subscription.topic()));
            subscription.topic().check().map_err(|error| fault(error.to_string()))?;
            let interest =
                Interest::new(subscription, started_at.0).map_err(|error| fault(error.to_string()))?;
            interests.insert(subscription.topic().clone(), Arc::new(interest));
        }
        let local = (config.model == Model::Broadcast).then(|| {
            let dir = config.progress_dir.join(session.id()).join(config.group.as_str());
            LocalProgress::open(ProgressFile::new(dir.join("offsets.json")))
        });
        let permits = Arc::new(Semaphore::new(config.workers));
        let forgotten = Notify::new();
        Ok(GroupState { config, interests, listener, session, permits, local, forgotten, started_at })
    }

    /// Waits for leave to call the listener.
    pub(crate) async fn permit(&self) -> OwnedSemaphorePermit {
        self.permits.clone().acquire_owned().await.expect("the permits are never closed")
    }

    /// What brokers are told about this consumer.
    pub(crate) fn heartbeat(&self) -> HeartbeatData {
        let subscriptions = self.interests.iter().map(|(topic, interest)| interest.data(topic));
        HeartbeatData {
            client_id: self.session.id().to_owned(),
            consumer_data_set: vec![ConsumerData {
                consume_from_where: match self.config.from {
                    ConsumeFrom::Last => ConsumeFromWhere::LastOffset,
                    ConsumeFrom::First => ConsumeFromWhere::FirstOffset,
                    ConsumeFrom::Time(_) => ConsumeFromWhere::Timestamp,
                },
                consume_type: ConsumeType::Passively,
                group_name: self.config.group.clone(),
                message_model: match self.config.model {
                    Model::Clustering => MessageModel::Clustering,
                    Model::Broadcast => MessageModel::Broadcasting,
                },
                subscription_data_set: subscriptions.collect(),
                unit_mode: false,
            }],
            ..HeartbeatData::default()
        }
    }

    /// Asks a broker of each topic whether it can evaluate what only brokers evaluate. One that cannot be reached is not
    /// waited for: its pulls will tell.
    pub(crate) async fn check_filters(&self) -> Result<(), StartError> {
        let by_broker = self.interests.iter().filter(|(_, interest)| !is_tag_kind(&interest.kind));
        for (topic, interest) in by_broker {
            let Some(route) = self.session.routes().get(topic) else { continue };
            let Some(address) = route.addresses().next() else { continue };
            let question = CheckClientRequestBody {
                client_id: self.session.id().to_owned(),
                group: self.config.group.clone(),
                namespace: None,
                subscription_data: interest.data(topic),
            };
            match self.session.ask(address, &CheckClientConfig, json::to_vec(&question)).await {
                Err(CallError::Refused { refusal: code, remark, .. }) => {
                    return Err(StartError::Subscription(format!("{topic}: {} {remark}", code.0)));
                }
                Err(error) => tracing::warn!(%topic, %error, "nobody judged the filter"),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// The members of the group, as any broker of a topic knows them; `None` while none of them can say.
    pub(crate) async fn members(&self, route: &Route) -> Option<Vec<String>> {
        let request = GetConsumerListByGroup { group: self.config.group.clone() };
        for broker in route.brokers().keys() {
            let Some(address) = route.member(broker, 0) else { continue };
            let answer = self.session.ask(address, &request, ()).await;
            let list = answer.map(|(_, body)| json::from_slice::<GetConsumerListByGroupResponseBody>(&body));
            match list {
                Ok(Ok(list)) if !list.consumer_id_list.is_empty() => return Some(list.consumer_id_list),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(broker = %broker, %error, "cannot read the members of the group")
                }
                Err(error) => {
                    tracing::debug!(broker = %broker, %error, "cannot learn the members of the group")
                }
            }
        }
        None
    }

    /// Where a queue is to be read from, and the progress that is already kept there.
    pub(crate) async fn first_offset(
        &self,
        queue: &Queue,
    ) -> Result<(QueueOffset, Option<QueueOffset>), OffsetError> {
        let kept = match &self.local {
            Some(local) => local.offsets.lock().get(queue).copied(),
            None => {
                // Asked for the truth a broker does not answer 0 for a young queue, which only a start in time needs.
                let exact = matches!(self.config.from, ConsumeFrom::Time(_));
                self.session.committed(&self.config.group, queue, exact).await?
            }
        };
        if let Some(kept) = kept {
            return Ok((kept, Some(kept)));
        }
        let is_retry = queue.topic.is_retry();
        let first = match self.config.from {
            _ if is_retry => QueueOffset(0),
            ConsumeFrom::First => QueueOffset(0),
            ConsumeFrom::Last => self.session.end_offset(queue).await?,
            ConsumeFrom::Time(at) => self.session.offset_at(queue, at).await?,
        };
        Ok((first, None))
    }

    /// Saves the progress of a queue, if there is news.
    pub(crate) async fn commit(&self, held: &Held) {
        let Some(offset) = held.uncommitted() else { return };
        if let Some(local) = &self.local {
            local.offsets.lock().insert(held.queue.clone(), offset);
            held.committed(offset);
            return;
        }
        match self.session.commit(&self.config.group, &held.queue, offset).await {
            Ok(()) => held.committed(offset),
            Err(error) => {
                tracing::warn!(queue = %held.queue, offset = %offset, %error, "cannot save the progress")
            }
        }
    }

    /// Asks for the locks of queues on one broker; returns those it granted, with the time they are good for.
    pub(crate) async fn lock(
        &self,
        broker: &BrokerName,
        queues: &[Queue],
    ) -> Result<(Vec<Queue>, Timestamp), OffsetError> {
        let address = self.session.master(broker).ok_or_else(|| OffsetError::NoBroker(broker.clone()))?;
        let asked_at = self.session.now();
        let body = LockBatchRequestBody {
            client_id: self.session.id().to_owned(),
            consumer_group: self.config.group.clone(),
            mq_set: queues.iter().map(MessageQueue::from).collect(),
            only_this_broker: false,
        };
        let (_, answer) = self.session.ask(&address, &LockBatchQueues, json::to_vec(&body)).await?;
        let granted: LockBatchResponseBody = json::from_slice(&answer)?;
        Ok((granted.lock_ok_mq_set.iter().map(Queue::from).collect(), asked_at + LOCK_TRUST))
    }

    /// Gives a lock back.
    pub(crate) async fn unlock(&self, queue: &Queue) {
        if self.config.model == Model::Broadcast {
            return;
        }
        let Some(address) = self.session.master(&queue.broker) else { return };
        let body = UnlockBatchRequestBody {
            client_id: self.session.id().to_owned(),
            consumer_group: self.config.group.clone(),
            mq_set: [MessageQueue::from(queue)].into(),
            only_this_broker: false,
        };
        if let Err(error) = self.session.ask(&address, &UnlockBatchQueues, json::to_vec(&body)).await {
            tracing::warn!(queue = %queue, %error, "cannot give a lock back; it lapses by itself");
        }
    }

    /// Gives a message back to its broker, to be delivered again later or to become a dead letter. Where that fails it
    /// is sent to the retry topic as a new message, wherever that is.
    pub(crate) async fn send_back(&self, message: &Received, level: i32) -> Result<(), OffsetError> {
        let Some(address) = self.session.master(&message.queue.broker) else {
            return self.resend(message, level).await;
        };
        let request = ConsumerSendMessageBack {
            offset: message.log_offset,
            group: self.config.group.clone(),
            delay_level: level,
            message_id: Some(ByteStr::from(message.id())),
            topic: Some(message.topic.clone()),
            unit: false,
            max_reconsume: Some(self.retries_max()),
            reconsumed: message.reconsume_times.try_into().ok(),
        };
        match self.session.ask(&address, &request, ()).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(queue = %message.queue, offset = %message.offset, %error, "a broker did not take a message back; sending a copy");
                self.resend(message, level).await
            }
        }
    }

    fn retries_max(&self) -> i32 {
        self.config.max_reconsume().try_into().unwrap_or(i32::MAX)
    }

    async fn resend(&self, message: &Received, level: i32) -> Result<(), OffsetError> {
        let topic = TopicName::retry_of(&self.config.group);
        let route = self.session.route_for_write(&topic, 1).await?;
        let queue = route.writable().first().expect("a route to write by has a queue");
        let address =
            route.master(&queue.broker).ok_or_else(|| OffsetError::NoBroker(queue.broker.clone()))?;
        let times = message.reconsume_times + 1;
        // Below zero the consumer gave the message up: then no try is within the limit.
        let limit = if level < 0 { -1 } else { self.retries_max() };
        // The level that a broker would choose.
        let usual = i32::try_from(message.reconsume_times).unwrap_or(i32::MAX).saturating_add(3);
        let level = if level > 0 { level } else { usual };
        let origin =
            message.property(properties::ORIGIN_MESSAGE_ID).map_or_else(|| message.id(), str::to_owned);
        let mut text = properties::PropertiesOut::from_text(message.text());
        text.remove(properties::TRAN_MSG);
        text.set(properties::RETRY_TOPIC, &message.topic);
        text.set(properties::ORIGIN_MESSAGE_ID, &origin);
        text.set(properties::RECONSUME_TIME, &times.to_string());
        text.set(properties::MAX_RECONSUME_TIMES, &limit.to_string());
        text.set(properties::DELAY, &level.to_string());
        let header = SendHeader {
            group: self.config.group.clone(),
            topic: topic.clone(),
            default_topic: None,
            default_queues: 1,
            queue: Some(queue.id),
            sys_flag: 0,
            born_at: self.session.now(),
            flag: message.flag,
            properties: text.finish(),
            reconsume: times.try_into().unwrap_or(i32::MAX),
            unit: false,
            max_reconsume: Some(limit),
            batch: false,
        };
        let timeout = self.session.config().request_timeout;
        let answer =
            self.session.call(address, &SendMessageV2(header), message.body.clone(), timeout).await?;
        if answer.code().is_stored() { Ok(()) } else { Err(answer.refused().into()) }
    }
}

impl LocalProgress {
    fn open(file: ProgressFile) -> LocalProgress {
        let offsets = Mutex::new(file.load());
        LocalProgress { file, offsets }
    }

    /// Writes the file. Small and rare enough for the thread it is called on.
    pub(crate) fn save(&self) {
        let offsets = self.offsets.lock().clone();
        if let Err(error) = self.file.save(&offsets) {
            tracing::warn!(%error, "cannot save local progress");
        }
    }
}
