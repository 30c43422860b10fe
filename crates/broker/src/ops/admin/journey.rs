// SPDX-License-Identifier: Apache-2.0
//! The journey of a message, from what the broker has: its records in the log, wherever they went, and what pulls and
//! commits noted. Called by the face of our own 30060. Nothing is asked of clients, and nothing is guessed: where it is
//! not known what happened, the journey says since when it would be.

mod tell;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use protocol::ids::OffsetId;
use protocol::names::{Group, HALF_TOPIC, QueueId, QueueOffset, SCHEDULE_TOPIC, TIMER_TOPIC, TopicName};
use protocol::properties;
use protocol::record::Record;
use stdx::Timestamp;
use store::{ReadError, Store};

use self::tell::Listener;
use super::transactions::Seen;
use crate::Broker;
use crate::groups::is_for_tools;
use crate::rates::Told;
use crate::transaction::Decision;

/// The most topics that are searched for a message whose topic nobody names.
const TOPICS_MAX: usize = 4096;
/// The most records of a message in one topic.
const COPIES_MAX: usize = 32;
/// Where a message is before it is where it belongs.
const WAITING_ROOMS: [&str; 3] = [HALF_TOPIC, TIMER_TOPIC, SCHEDULE_TOPIC];

/// What happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Its producer made it.
    Born,
    /// It was stored in its topic.
    Stored,
    /// Consumers can read it.
    Dispatched,
    /// It waits for the end of its transaction.
    Half,
    /// Its transaction was committed.
    Committed,
    /// Its transaction was rolled back.
    RolledBack,
    /// Nobody has decided its transaction.
    Undecided,
    /// It waits for its time.
    Waits,
    /// It was taken back.
    Recalled,
    /// A client of a group was given it.
    Given,
    /// A group read past it, because it did not want it.
    PassedOver,
    /// A group's progress passed it.
    Acknowledged,
    /// An operator moved a group over it.
    Moved,
    /// It was given, and the group did not say that it is done.
    InFlight,
    /// A group has not come to it.
    NotGiven,
    /// A group gave it back, to be tried again.
    Failed,
    /// It was stored for the next try.
    Again,
    /// It became a dead letter.
    Dead,
    /// Nobody remembers.
    Unknown,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// What happened.
    pub what: What,
    /// When, or not before; `None` where that is not known.
    pub at: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// The topic that it happened in.
    pub topic: TopicName,
    /// Its queue there.
    pub queue: QueueId,
    /// Its offset in that queue.
    pub offset: QueueOffset,
    /// The group that it concerns.
    pub group: Option<Group>,
    /// The client that it concerns.
    pub client: Option<String>,
    /// More about it, for people.
    pub detail: String,
    /// Where it stands among the others.
    pub(crate) order: Timestamp,
}

/// All that is known of a message.
#[derive(Clone, Debug)]
pub struct Journey {
    /// The id that its producer gave it.
    pub id: String,
    /// The topic that it is for.
    pub topic: TopicName,
    /// What happened, in its order.
    pub hops: Vec<Hop>,
}

/// Why nothing is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JourneyRefused {
    /// No message is known by that id.
    #[error("no message is known by {id}")]
    NotThere {
        /// The id.
        id: String,
    },
    /// There are too many topics to look through.
    #[error("there are {topics} topics; say which one the message is in")]
    WhichTopic {
        /// How many there are.
        topics: usize,
    },
    /// The store could not read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Broker {
    /// Tells what became of the message with an id: one that its producer made, or the one of its place.
    pub async fn journey(
        self: &Arc<Broker>,
        id: &str,
        topic: Option<TopicName>,
    ) -> Result<Journey, JourneyRefused> {
        // What was sent a moment ago is to be found.
        self.dispatch_answered();
        let (topic, id) = self.identify(id, topic).await?;
        let groups = self.listeners(&topic);
        let mut rooms: Vec<TopicName> = WAITING_ROOMS.iter().map(|room| TopicName::stored(*room)).collect();
        rooms.push(topic.clone());
        let retries = |group: &Group| [TopicName::retry_of(group), TopicName::dlq_of(group)];
        rooms.extend(groups.iter().flat_map(retries));
        let found = self.copies(rooms, id.clone()).await?;
        let mut hops = Vec::new();
        for raw in &found {
            let Ok(record) = Record::parse(raw) else { continue };
            self.tell(&record, &topic, &groups, &mut hops);
        }
        if found.iter().any(|raw| Record::parse(raw).is_ok_and(|record| record.topic() == HALF_TOPIC)) {
            hops.extend(self.decision(&id).await);
        }
        hops.sort_by_key(|hop| hop.order);
        // Every record of a message says it; it was born once.
        let mut is_born = false;
        hops.retain(|hop| hop.what != What::Born || !std::mem::replace(&mut is_born, true));
        Ok(Journey { id, topic, hops })
    }

    /// The records of a message in some topics, in the order of the log.
    async fn copies(
        self: &Arc<Broker>,
        topics: Vec<TopicName>,
        id: String,
    ) -> Result<Vec<Bytes>, JourneyRefused> {
        let find = move |store: &Store| {
            let mut found = Vec::new();
            for topic in &topics {
                found.extend(by_id(store, topic, &id, COPIES_MAX)?);
            }
            Ok(found)
        };
        let mut found = self.store.query(find).await?;
        found.sort_by_key(|raw| Record::parse(raw).map(|record| record.log_offset()).unwrap_or_default());
        Ok(found)
    }

    /// Finds the topic that a message is for, and the id that its producer gave it.
    async fn identify(
        self: &Arc<Broker>,
        id: &str,
        topic: Option<TopicName>,
    ) -> Result<(TopicName, String), JourneyRefused> {
        // A producer's id may read like that of a place.
        if let Ok(place) = OffsetId::parse(id)
            && let Some(raw) = self.store.record(place.offset).await?
            && let Some(named) = named(&raw)
        {
            return Ok(named);
        }
        let mut topics: Vec<TopicName> = match topic {
            Some(topic) => vec![topic],
            None => self.topics.all().iter().map(|topic| topic.name().clone()).collect(),
        };
        if topics.len() > TOPICS_MAX {
            return Err(JourneyRefused::WhichTopic { topics: topics.len() });
        }
        topics.extend(WAITING_ROOMS.iter().map(|room| TopicName::stored(*room)));
        let wanted = id.to_owned();
        let find = move |store: &Store| {
            for topic in &topics {
                if let Some(raw) = by_id(store, topic, &wanted, 1)?.first() {
                    return Ok(named(raw));
                }
            }
            Ok(None)
        };
        let found = self.store.query(find).await?;
        found.ok_or_else(|| JourneyRefused::NotThere { id: id.to_owned() })
    }

    /// The groups that a topic concerns: those with progress, members, or anything noted.
    fn listeners(&self, topic: &TopicName) -> BTreeSet<Group> {
        let mut groups: BTreeSet<Group> = self.offsets.groups_of(topic).into_iter().collect();
        groups.extend(self.clients.groups_of(topic));
        groups.extend(self.rates.groups_of(topic));
        // Tools read without being anybody.
        groups.retain(|group| !is_for_tools(group) && self.groups.get(group).is_some());
        groups
    }

    /// Adds what a record tells, and what groups did with it.
    fn tell(&self, record: &Record<'_>, topic: &TopicName, groups: &BTreeSet<Group>, hops: &mut Vec<Hop>) {
        let levels = self.delay.levels();
        let level_due = levels.due(record.queue().0 as usize, record.stored_at());
        let (told, group) = tell::stored(record, topic, level_due);
        hops.extend(told);
        let is_read = record.topic() == topic.as_str() || record.topic() == retry_of(group.as_ref());
        let readers: Vec<&Group> = match &group {
            Some(group) => vec![group],
            None => groups.iter().collect(),
        };
        let is_dispatched = record.log_offset().0 < self.store.watermarks().dispatched.get();
        if !is_read || !is_dispatched {
            return;
        }
        hops.push(tell::dispatched(record));
        for group in readers {
            hops.extend(tell::group(record, &self.listener(group, record)));
        }
    }

    fn listener(&self, group: &Group, record: &Record<'_>) -> Listener {
        let topic = TopicName::stored(record.topic().to_owned());
        let (queue, offset) = (record.queue(), record.queue_offset());
        let nothing = || {
            let since = self.rates.known_since(self.clock.now());
            Told { steps: Vec::new(), since: (since, since), readers: Vec::new() }
        };
        let traffic = self.rates.find_group(&topic, group);
        let wants = self.clients.wants(group, 0, &topic);
        let filter = wants.as_ref().and_then(|wants| wants.subscription.as_ref()?.filter.clone().ok());
        Listener {
            group: group.clone(),
            told: traffic.map_or_else(nothing, |traffic| traffic.told(queue, offset)),
            committed: self.offsets.committed(group, &topic, queue),
            broadcasts: wants.as_ref().is_some_and(|wants| wants.broadcasts),
            wants_it: filter.map(|filter| filter.by_record(record)),
        }
    }

    /// How the transaction of a message ended.
    async fn decision(self: &Arc<Broker>, id: &str) -> Option<Hop> {
        let (half, what, note) = match self.transaction(id).await.ok()? {
            Seen::Open(open, _) => (open.half, What::Undecided, None),
            Seen::Past(past) => {
                let what = match past.decision {
                    Some(Decision::Commit) => What::Committed,
                    Some(Decision::Rollback) => What::RolledBack,
                    None => What::Unknown,
                };
                (past.half, what, past.note)
            }
        };
        let note = note.as_deref().and_then(|raw| Record::parse(raw).ok());
        let at = note.map(|note| note.stored_at());
        Some(Hop {
            what,
            at,
            until: None,
            topic: TopicName::stored(HALF_TOPIC),
            queue: QueueId(0),
            offset: half.queue_offset,
            group: Some(half.group),
            client: None,
            detail: note.map(tell::audit).unwrap_or_default(),
            order: at.unwrap_or(half.stored_at),
        })
    }
}

fn retry_of(group: Option<&Group>) -> String {
    group.map(|group| TopicName::retry_of(group).to_string()).unwrap_or_default()
}

fn by_id(store: &Store, topic: &TopicName, id: &str, max: usize) -> Result<Vec<Bytes>, ReadError> {
    store.by_unique_id(topic, id, max, Timestamp(0), Timestamp(i64::MAX))
}

/// The topic that a record is for in the end, and the id of its message.
fn named(raw: &[u8]) -> Option<(TopicName, String)> {
    let record = Record::parse(raw).ok()?;
    let id = record.property(properties::UNIQ_KEY)?.to_owned();
    let said = [properties::RETRY_TOPIC, properties::DLQ_ORIGIN_TOPIC, properties::REAL_TOPIC];
    let here = TopicName::stored(record.topic().to_owned());
    let is_elsewhere = here.is_retry() || here.is_dlq() || WAITING_ROOMS.contains(&here.as_str());
    let origin = said.iter().find_map(|name| record.property(name)).filter(|_| is_elsewhere);
    Some((origin.map_or(here, |topic| TopicName::stored(topic.to_owned())), id))
}
