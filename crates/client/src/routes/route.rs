// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The route of one topic: which queues may be written and read, and where their brokers are.
//! In: a name server's answer. Out: queues in the order every client agrees on, addresses.
//! Invariant: every writable queue has a master, every readable queue some broker that answers for it.

use std::collections::BTreeMap;

use protocol::body::{QueueData, TopicRouteData};
use protocol::names::{BrokerName, TopicName};

use crate::queue::Queue;

const PERM_WRITE: i32 = 0x2;
const PERM_READ: i32 = 0x4;
const MASTER: i64 = 0;

/// More queues than this in one answer are not believed; the rest is left out.
const MAX_QUEUES: u32 = 65_536;

/// Where the queues of a topic are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    writable: Vec<Queue>,
    readable: Vec<Queue>,
    brokers: BTreeMap<BrokerName, BTreeMap<i64, String>>,
    is_borrowed: bool,
}

impl Route {
    /// Reads a name server's answer.
    pub(crate) fn new(topic: &TopicName, answer: &TopicRouteData) -> Route {
        let brokers: BTreeMap<BrokerName, BTreeMap<i64, String>> = answer
            .broker_datas
            .iter()
            .map(|broker| (BrokerName::stored(broker.broker_name.as_str()), broker.broker_addrs.clone()))
            .filter(|(_, addresses)| !addresses.is_empty())
            .collect();
        let has_master =
            |name: &str| brokers.get(name).is_some_and(|addresses| addresses.contains_key(&MASTER));
        let written = |data: &QueueData| data.perm & PERM_WRITE != 0 && has_master(&data.broker_name);
        let read = |data: &QueueData| data.perm & PERM_READ != 0 && brokers.contains_key(&*data.broker_name);
        let datas = &answer.queue_datas;
        let mut writable = match answer.order_topic_conf.as_deref().filter(|conf| !conf.is_empty()) {
            Some(conf) => ordered(topic, conf),
            None => queues(topic, datas.iter().filter(|d| written(d)), |d| d.write_queue_nums),
        };
        let mut readable = queues(topic, datas.iter().filter(|d| read(d)), |d| d.read_queue_nums);
        writable.sort_unstable();
        readable.sort_unstable();
        Route { writable, readable, brokers, is_borrowed: false }
    }

    /// The route of a topic that does not exist yet, made from that of the template topic: its first message
    /// creates it wherever that message arrives.
    pub(crate) fn borrowed(topic: &TopicName, template: &TopicRouteData, queues: i32) -> Route {
        let mut template = template.clone();
        template.order_topic_conf = None;
        for data in &mut template.queue_datas {
            let count = data.read_queue_nums.min(queues);
            (data.read_queue_nums, data.write_queue_nums) = (count, count);
        }
        Route { is_borrowed: true, ..Route::new(topic, &template) }
    }

    /// Queues that take messages, sorted.
    pub fn writable(&self) -> &[Queue] {
        &self.writable
    }

    /// Queues that give messages, sorted.
    pub fn readable(&self) -> &[Queue] {
        &self.readable
    }

    /// Address of the broker that takes writes.
    pub fn master(&self, broker: &BrokerName) -> Option<&str> {
        self.brokers.get(broker)?.get(&MASTER).map(String::as_str)
    }

    /// Address of the member of a broker group with this id; another one when that is gone, the master first.
    pub fn member(&self, broker: &BrokerName, id: i64) -> Option<&str> {
        let addresses = self.brokers.get(broker)?;
        addresses.get(&id).or_else(|| addresses.values().next()).map(String::as_str)
    }

    /// Every broker that was named, with its addresses by id; 0 is the master.
    pub fn brokers(&self) -> &BTreeMap<BrokerName, BTreeMap<i64, String>> {
        &self.brokers
    }

    /// All addresses of all brokers.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &String> {
        self.brokers.values().flat_map(BTreeMap::values)
    }

    /// True for a route made from the template topic.
    pub(crate) fn is_borrowed(&self) -> bool {
        self.is_borrowed
    }
}

fn queues<'a>(
    topic: &TopicName,
    datas: impl Iterator<Item = &'a QueueData>,
    count: impl Fn(&QueueData) -> i32,
) -> Vec<Queue> {
    datas.flat_map(|data| numbered(topic, &data.broker_name, count(data))).collect()
}

fn numbered(topic: &TopicName, broker: &str, count: i32) -> impl Iterator<Item = Queue> {
    let (topic, broker) = (topic.clone(), BrokerName::stored(broker));
    let count = u32::try_from(count).unwrap_or(0).min(MAX_QUEUES);
    (0..count).map(move |id| Queue::new(topic.clone(), broker.clone(), id))
}

/// An order topic names its queues itself, as `broker-a:4;broker-b:4`, so that they stay put while a broker is away.
fn ordered(topic: &TopicName, conf: &str) -> Vec<Queue> {
    conf.split(';')
        .filter_map(|part| part.split_once(':'))
        .filter_map(|(broker, count)| Some((broker, count.trim().parse().ok()?)))
        .flat_map(|(broker, count)| numbered(topic, broker, count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn answer(json: &str) -> TopicRouteData {
        protocol::json::from_slice(json.as_bytes()).unwrap()
    }

    const TWO: &str = r#"{"queueDatas":[{"brokerName":"b","readQueueNums":2,"writeQueueNums":1,"perm":6},
        {"brokerName":"a","readQueueNums":1,"writeQueueNums":1,"perm":4},
        {"brokerName":"c","readQueueNums":1,"writeQueueNums":2,"perm":6},
        {"brokerName":"gone","readQueueNums":9,"writeQueueNums":9,"perm":6}],
        "brokerDatas":[{"brokerName":"a","brokerAddrs":{0:"a0:1"}},{"brokerName":"b","brokerAddrs":{0:"b0:1",1:"b1:1"}},
        {"brokerName":"c","brokerAddrs":{"2":"c2:1"}}]}"#;

    fn check(route: &Route, expected: Expect) {
        let list = |queues: &[Queue]| queues.iter().map(Queue::to_string).collect::<Vec<_>>().join(" ");
        expected.assert_eq(&format!("w {}\nr {}", list(&route.writable), list(&route.readable)));
    }

    #[test]
    fn permissions_and_masters_decide() {
        let route = Route::new(&TopicName::stored("t"), &answer(TWO));
        check(
            &route,
            expect![[r#"
            w t@b:0
            r t@a:0 t@b:0 t@b:1 t@c:0"#]],
        );
        let b = BrokerName::stored("b");
        assert_eq!(
            (route.master(&b), route.member(&b, 1), route.member(&b, 7)),
            (Some("b0:1"), Some("b1:1"), Some("b0:1"))
        );
        assert_eq!(route.master(&BrokerName::stored("c")), None);
        assert_eq!(route.member(&BrokerName::stored("c"), 0), Some("c2:1"));
    }

    #[test]
    fn an_order_configuration_names_the_queues() {
        let mut data = answer(TWO);
        data.order_topic_conf = Some("b:2;x:oops;a:1".into());
        check(
            &Route::new(&TopicName::stored("t"), &data),
            expect![[r#"
            w t@a:0 t@b:0 t@b:1
            r t@a:0 t@b:0 t@b:1 t@c:0"#]],
        );
    }

    #[test]
    fn a_borrowed_route_has_few_queues() {
        let data = answer(
            r#"{"queueDatas":[{"brokerName":"a","readQueueNums":8,"writeQueueNums":8,"perm":7}],
                "brokerDatas":[{"brokerName":"a","brokerAddrs":{0:"a0:1"}}]}"#,
        );
        let route = Route::borrowed(&TopicName::stored("new"), &data, 4);
        check(
            &route,
            expect![[r#"
            w new@a:0 new@a:1 new@a:2 new@a:3
            r new@a:0 new@a:1 new@a:2 new@a:3"#]],
        );
        assert!(route.is_borrowed());
    }

    #[test]
    fn absurd_counts_are_capped() {
        let data = answer(
            r#"{"queueDatas":[{"brokerName":"a","readQueueNums":-4,"writeQueueNums":2147483647,"perm":6}],
                "brokerDatas":[{"brokerName":"a","brokerAddrs":{0:"a0:1"}}]}"#,
        );
        let route = Route::new(&TopicName::stored("t"), &data);
        assert_eq!((route.writable.len(), route.readable.len()), (MAX_QUEUES as usize, 0));
    }
}
