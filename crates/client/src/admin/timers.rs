// SPDX-License-Identifier: Apache-2.0
//! Messages that wait for their time: which there are, what became of one, taking them back and giving them another time.
//! Requests that only our own broker knows; Apache's answers that it does not.

use std::time::Duration;

use protocol::admin::timer::{ChangeTimer, CountTimers, ListTimers, ShowTimer};
use protocol::body::{TimerHistogram, TimerInfo, TimerList};
use protocol::ids::RecallHandle;
use protocol::names::{BrokerName, ByteStr, LogOffset, TopicName};
use stdx::Timestamp;

use crate::admin::{Admin, AdminError, Master};

/// Which waiting messages are wanted.
#[derive(Clone, Debug, Default)]
pub struct TimerQuery {
    /// For this topic.
    pub topic: Option<TopicName>,
    /// Due then or later.
    pub from: Option<Timestamp>,
    /// Due before then.
    pub until: Option<Timestamp>,
    /// Of those due at `from`, only the ones behind this place in the log.
    pub behind: Option<u64>,
    /// How many of each broker.
    pub max: u32,
}

/// Names timed messages of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedName {
    topic: TopicName,
    /// Its broker, where that is known.
    broker: Option<BrokerName>,
    id: Option<ByteStr>,
    key: Option<ByteStr>,
}

impl TimedName {
    /// By the recall handle that the send was answered with; `None` when the text is none.
    pub fn handle(text: &str) -> Option<TimedName> {
        let handle = RecallHandle::parse(text).ok()?;
        Some(TimedName {
            topic: TopicName::parse(handle.topic).ok()?,
            broker: Some(BrokerName::parse(handle.broker).ok()?),
            id: Some(ByteStr::from(handle.unique)),
            key: None,
        })
    }

    /// By the id that the producer gave it.
    pub fn id(topic: TopicName, id: &str) -> TimedName {
        TimedName { topic, broker: None, id: Some(ByteStr::from(id)), key: None }
    }

    /// All that have this key.
    pub fn key(topic: TopicName, key: &str) -> TimedName {
        TimedName { topic, broker: None, id: None, key: Some(ByteStr::from(key)) }
    }
}

impl Admin {
    /// Waiting messages by broker, in due order, and how many wait for each topic.
    pub async fn timers(&self, query: &TimerQuery) -> Result<Vec<(BrokerName, TimerList)>, AdminError> {
        let request = ListTimers {
            topic: query.topic.clone(),
            from: query.from,
            until: query.until,
            behind: query.behind.map(LogOffset),
            max: query.max,
        };
        let mut lists = Vec::new();
        for Master { broker, address, .. } in self.masters(None).await? {
            lists.push((broker, self.broker(&address, &request).await?));
        }
        Ok(lists)
    }

    /// What became of timed messages, and the brokers that have them.
    pub async fn timed(&self, name: &TimedName) -> Result<Vec<(BrokerName, TimerInfo)>, AdminError> {
        let request = ShowTimer { topic: name.topic.clone(), id: name.id.clone(), key: name.key.clone() };
        let mut all = Vec::new();
        for Master { broker, address, .. } in self.keepers(name).await? {
            let list: TimerList = self.broker(&address, &request).await?;
            all.extend(list.timers.into_iter().map(|timer| (broker.clone(), timer)));
        }
        Ok(all)
    }

    /// Takes timed messages back, or has them delivered at another time. What each broker says came of it: `cancelled`,
    /// `moved`, `too late` or `unknown`.
    pub async fn change_timed(
        &self,
        name: &TimedName,
        deliver_at: Option<Timestamp>,
    ) -> Result<Vec<(BrokerName, String)>, AdminError> {
        let request =
            ChangeTimer { topic: name.topic.clone(), id: name.id.clone(), key: name.key.clone(), deliver_at };
        let mut outcomes = Vec::new();
        for Master { broker, address, .. } in self.keepers(name).await? {
            let (reply, _) = self.session.ask(&address, &request, ()).await?;
            outcomes.push((broker, reply.outcome.to_string()));
        }
        Ok(outcomes)
    }

    /// How many messages are due when, by broker.
    pub async fn count_timers(
        &self,
        topic: Option<&TopicName>,
        every: Duration,
        max: u32,
    ) -> Result<Vec<(BrokerName, TimerHistogram)>, AdminError> {
        let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        let request = CountTimers { topic: topic.cloned(), every, max };
        let mut counts = Vec::new();
        for Master { broker, address, .. } in self.masters(None).await? {
            counts.push((broker, self.broker(&address, &request).await?));
        }
        Ok(counts)
    }

    /// The brokers that may keep a message: the one that its name says, or all.
    async fn keepers(&self, name: &TimedName) -> Result<Vec<Master>, AdminError> {
        let mut masters = self.masters(None).await?;
        if let Some(broker) = &name.broker {
            masters.retain(|master| master.broker == *broker);
            if masters.is_empty() {
                return Err(AdminError::NoBroker(broker.clone()));
            }
        }
        Ok(masters)
    }
}
