// SPDX-License-Identifier: Apache-2.0
//! Where the queues of topics lie, on all brokers of the cluster, as the name servers tell. Asked when this broker assigns
//! queues to the members of a group; filled by `membership`, which asks for the topics that are wanted here, and asks
//! again while they are. A broker without name servers knows only its own queues, and knows that.
//! Invariants: what a name server said last stays until the next answer; at most the topics of this broker are kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::body::{MessageQueue, TopicRouteData};
use protocol::names::{QueueId, TopicName};
use stdx::{Timestamp, Watermark};

use crate::topics::READ;

/// How old an answer may be before the name servers are asked again.
const FRESH: Duration = Duration::from_secs(10);
/// How long a topic is kept after somebody wanted it.
const KEPT: Duration = Duration::from_secs(300);

/// The queues of a topic, in order.
pub(crate) type Queues = Arc<BTreeSet<MessageQueue>>;

/// What is known of topics.
#[derive(Default)]
pub(crate) struct Spread {
    state: Mutex<State>,
    /// Rises when there is something to ask.
    asked: Watermark,
    /// Rises with each answer.
    learned: Watermark,
}

#[derive(Default)]
struct State {
    /// Somebody asks name servers.
    is_followed: bool,
    topics: HashMap<TopicName, Known>,
}

struct Known {
    /// The last answer, and when it came; no queues where no name server knows the topic.
    answer: Option<(Timestamp, Option<Queues>)>,
    wanted_at: Timestamp,
}

/// What is known of one topic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// There are no name servers: all its queues are here.
    Here,
    /// What they said last.
    Told(Option<Queues>),
    /// They are being asked.
    Unknown,
}

impl Spread {
    /// Looks a topic up, and has the name servers asked when that is due.
    pub(crate) fn find(&self, topic: &TopicName, now: Timestamp) -> Found {
        let mut state = self.state.lock();
        if !state.is_followed {
            return Found::Here;
        }
        let known = match state.topics.get_mut(topic) {
            Some(known) => known,
            None => state.topics.entry(topic.detached()).or_insert(Known { answer: None, wanted_at: now }),
        };
        known.wanted_at = now;
        if known.is_due(now) {
            self.asked.advance(self.asked.get() + 1);
        }
        known.answer.as_ref().map_or(Found::Unknown, |(_, queues)| Found::Told(queues.clone()))
    }

    /// Rises with each answer of a name server.
    pub(crate) fn learned(&self) -> &Watermark {
        &self.learned
    }

    /// Rises when there may be something to ask.
    pub(crate) fn asked(&self) -> &Watermark {
        &self.asked
    }

    /// Says whether somebody asks name servers.
    pub(crate) fn follow(&self, is_followed: bool) {
        self.state.lock().is_followed = is_followed;
    }

    /// The topics to ask for now; forgets those that nobody wants any more.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<TopicName> {
        let mut state = self.state.lock();
        state.topics.retain(|_, known| now.since(known.wanted_at) < KEPT);
        state.topics.iter().filter(|(_, known)| known.is_due(now)).map(|(topic, _)| topic.clone()).collect()
    }

    /// A name server answered: with a route, or that there is none.
    pub(crate) fn learn(&self, topic: &TopicName, route: Option<&TopicRouteData>, now: Timestamp) {
        let queues = route.map(|route| Arc::new(readable(topic, route)));
        let mut state = self.state.lock();
        if let Some(known) = state.topics.get_mut(topic) {
            known.answer = Some((now, queues));
        }
        self.learned.advance(self.learned.get() + 1);
    }
}

impl Known {
    fn is_due(&self, now: Timestamp) -> bool {
        self.answer.as_ref().is_none_or(|(at, _)| now.since(*at) >= FRESH)
    }
}

/// The queues that a route lets consumers read.
fn readable(topic: &TopicName, route: &TopicRouteData) -> BTreeSet<MessageQueue> {
    let brokers = route.queue_datas.iter().filter(|queues| queues.perm & READ != 0);
    let queues = brokers.flat_map(|queues| {
        (0..u32::try_from(queues.read_queue_nums).unwrap_or(0)).map(|id| MessageQueue {
            broker_name: queues.broker_name.clone(),
            queue_id: QueueId(id),
            topic: topic.clone(),
        })
    });
    queues.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::body::QueueData;
    use protocol::names::BrokerName;

    fn route(queues: &[(&str, i32, i32)]) -> TopicRouteData {
        let data = queues.iter().map(|(broker, perm, read)| QueueData {
            broker_name: BrokerName::stored(*broker),
            perm: *perm,
            read_queue_nums: *read,
            ..QueueData::default()
        });
        TopicRouteData { queue_datas: data.collect(), ..TopicRouteData::default() }
    }

    fn told(found: Found) -> String {
        let Found::Told(Some(queues)) = found else { return format!("{found:?}") };
        let names = queues.iter().map(|queue| format!("{}{}", queue.broker_name, queue.queue_id));
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_name_servers_said_stays_until_they_say_something_else() {
        let (spread, topic) = (Spread::default(), TopicName::stored("t"));
        let at = |seconds: i64| Timestamp(seconds * 1000);
        assert_eq!(spread.find(&topic, at(0)), Found::Here, "nobody could ask");
        spread.follow(true);
        assert_eq!(spread.find(&topic, at(0)), Found::Unknown);
        assert_eq!((spread.asked().get(), spread.due(at(0))), (1, vec![topic.clone()]));
        spread.learn(&topic, Some(&route(&[("b", 6, 2), ("a", 4, 1), ("c", 2, 3), ("d", 6, -1)])), at(1));
        assert_eq!(told(spread.find(&topic, at(2))), "a0 b0 b1", "in order, and only what may be read");
        assert_eq!((spread.learned().get(), spread.asked().get()), (1, 1));
        assert!(spread.due(at(10)).is_empty(), "it is fresh");
        assert_eq!(told(spread.find(&topic, at(11))), "a0 b0 b1", "old is better than nothing");
        assert_eq!((spread.asked().get(), spread.due(at(11)).len()), (2, 1));
        spread.learn(&topic, None, at(12));
        assert_eq!(spread.find(&topic, at(12)), Found::Told(None));
        assert!(spread.due(at(312)).is_empty());
        assert_eq!(spread.find(&topic, at(313)), Found::Unknown, "nobody wanted it for five minutes");
    }
}
