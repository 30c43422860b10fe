// SPDX-License-Identifier: Apache-2.0
//! Producers of a compaction topic: messages with a key, of which the latest is to stay, and some that end their key.

use broker::ops::send::{SendRefused, Sent};
use bytes::Bytes;
use protocol::body::TopicConfig;
use protocol::names::{ByteStr, TopicName};
use protocol::record::Record;
use store::Settled;

use super::produce::{When, input};
use crate::invariants::latest::TABLE;
use crate::plan::PATIENCE;
use crate::world::{Done, Label, World};

/// So many keys there are.
const KEYS: u64 = 12;

impl World {
    /// Sends a message with a key; the topic is made before the first.
    pub(super) fn keep(&mut self) {
        if self.node.broker.topics().get(TABLE).is_none() && !self.make_table() {
            return;
        }
        // Some keys come seldom: the segments of their latest messages grow old.
        let most = 1 + self.rng.below(KEYS);
        let (key, is_end) = (self.rng.below(most), self.rng.chance(5));
        let number = self.oracle.latest.asks(key, is_end);
        self.say(&format!("keep {number} of {key}, end {is_end}"));
        let mut input = input(&(TABLE.to_owned(), 0), &[number], "", When::Now, true);
        input.properties = ByteStr::from(format!("UNIQ_KEY\u{1}u{number}\u{2}KEYS\u{1}{key}\u{2}"));
        if is_end {
            input.body = Bytes::new();
        }
        let (broker, now) = (self.node.broker.clone(), self.now());
        let future = async move { Done::Sent(broker.send(input, now).await) };
        let id = self.tasks.start(Label::Keep(number), now + PATIENCE, future);
        self.poll(id);
    }

    fn make_table(&mut self) -> bool {
        let now = self.now();
        let mut config = TopicConfig::new(TopicName::stored(TABLE), 1, 6);
        config.attributes.insert("cleanup.policy".to_owned(), "COMPACTION".to_owned());
        let set = self.live(|world| {
            let topics = world.node.broker.topics();
            topics.update(config, &world.node.store, now).map(drop)
        });
        self.say(&format!("set {TABLE}: {set:?}"));
        matches!(set, Some(Ok(())))
    }

    /// A producer is answered.
    pub(super) fn kept(&mut self, number: u64, sent: Result<Sent, SendRefused>) -> String {
        let sent = match sent {
            Ok(sent) => sent,
            Err(refused) => {
                self.oracle.latest.refused(number);
                return format!("{number} refused: {refused}");
            }
        };
        let start = sent.start;
        let bytes = self.node.store.record_at(start);
        match bytes.unwrap_or_else(|e| panic!("message {number} cannot be read at {start}: {e}")) {
            Some(bytes) => {
                let record = Record::parse(&bytes).unwrap_or_else(|e| panic!("no record at {start}: {e}"));
                self.oracle.kept(&record, number, sent.queue_offset.0, sent.settled == Settled::Done);
            }
            None => {
                let is_gone = start.0 < self.node.store.watermarks().start.get();
                assert!(is_gone, "message {number} is not at {start}, where its sender was told");
            }
        }
        format!("{number} at {start} offset {} {:?}", sent.queue_offset, sent.settled)
    }
}
