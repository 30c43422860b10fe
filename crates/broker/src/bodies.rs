// SPDX-License-Identifier: Apache-2.0
//! What others send us as a body: how large each kind may be, in one table, and how one becomes a value.
//! Called by every face that reads a body, and where members answer our questions. Messages are no such bodies.
//! Invariant: nothing is parsed, copied or taken memory for before its size is judged.

use std::borrow::Cow;

use protocol::caps;
use protocol::json::{self, JsonError};
use serde::de::DeserializeOwned;

/// A kind of body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    name: &'static str,
    /// How many bytes it may have.
    max: usize,
}

/// 34: ten thousand subscriptions with the longest names.
pub(crate) const HEARTBEAT: Kind = Kind { name: "heartbeat", max: 4 << 20 };
/// 46: one subscription.
pub(crate) const FILTER: Kind = Kind { name: "filter to check", max: 256 << 10 };
/// 41 and 42: as many queues as one request may name.
pub(crate) const LOCKS: Kind = Kind { name: "list of queues", max: 8 << 20 };
/// 400: one member.
pub(crate) const ASSIGNMENT: Kind = Kind { name: "question for queues", max: 64 << 10 };
/// 401: one group.
pub(crate) const MODE: Kind = Kind { name: "mode of a group", max: 64 << 10 };
/// 200: one group.
pub(crate) const GROUP: Kind = Kind { name: "group", max: 256 << 10 };
/// 225: some ten thousand groups.
pub(crate) const GROUPS: Kind = Kind { name: "list of groups", max: 8 << 20 };
/// 18: some ten thousand topics.
pub(crate) const TOPICS: Kind = Kind { name: "list of topics", max: 8 << 20 };
/// 25: all keys there are, many times over.
pub(crate) const SETTINGS: Kind = Kind { name: "list of settings", max: 256 << 10 };
/// 201, 21: a version that a field of the header carries.
pub(crate) const VERSION: Kind = Kind { name: "version", max: 4 << 10 };
/// What a member answers to 221: a place for each queue.
pub(crate) const STATUS: Kind = Kind { name: "status of a consumer", max: 8 << 20 };

const ALL: [Kind; 11] =
    [HEARTBEAT, FILTER, LOCKS, ASSIGNMENT, MODE, GROUP, GROUPS, TOPICS, SETTINGS, VERSION, STATUS];

/// Each is a limit of its own, below that of frames.
const _: () = {
    let mut index = 0;
    while index < ALL.len() {
        assert!(ALL[index].max <= caps::MAX_FRAME / 2);
        index += 1;
    }
};

/// Why a body is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyRefused {
    /// It is too large to look into.
    #[error("the {what} is {size} bytes long, at most {max} are read")]
    TooLarge {
        /// What it should be.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// It is not what it should be.
    #[error("the body is not readable: {0}")]
    Unreadable(#[from] JsonError),
}

impl Kind {
    /// Reads a body of this kind.
    pub(crate) fn read<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, BodyRefused> {
        self.admit(body)?;
        Ok(json::from_slice(body)?)
    }

    /// Reads a body that is plain text.
    pub(crate) fn text(self, body: &[u8]) -> Result<Cow<'_, str>, BodyRefused> {
        self.admit(body)?;
        Ok(String::from_utf8_lossy(body))
    }

    fn admit(self, body: &[u8]) -> Result<(), BodyRefused> {
        match body.len() {
            size if size > self.max => Err(BodyRefused::TooLarge { what: self.name, size, max: self.max }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::body::{ConsumerData, HeartbeatData, SubscriptionData};
    use protocol::names::TopicName;
    use std::collections::BTreeMap;
    use std::path::Path;

    #[test]
    fn a_body_is_judged_before_it_is_read() {
        for kind in ALL {
            // No JSON at all: whoever looked inside would say so.
            let refused = kind.read::<()>(&vec![b'#'; kind.max + 1]);
            let expected = BodyRefused::TooLarge { what: kind.name, size: kind.max + 1, max: kind.max };
            assert_eq!(refused, Err(expected.clone()), "{}", kind.name);
            assert_eq!(kind.text(&vec![b'#'; kind.max + 1]), Err(expected), "{}", kind.name);
            let fits =
                kind.read::<BTreeMap<String, String>>(format!("{{}}{}", " ".repeat(kind.max - 2)).as_bytes());
            assert!(fits.is_ok(), "{}: {fits:?}", kind.name);
        }
    }

    #[test]
    fn a_client_may_subscribe_to_ten_thousand_topics() {
        let subscription = |index| SubscriptionData {
            topic: TopicName::stored(format!("{index:0>127}")),
            sub_string: "*".to_owned(),
            sub_version: i64::MAX,
            ..SubscriptionData::default()
        };
        let group = ConsumerData {
            subscription_data_set: (0..10_000).map(subscription).collect(),
            ..ConsumerData::default()
        };
        let data = HeartbeatData { consumer_data_set: vec![group], ..HeartbeatData::default() };
        assert_eq!(HEARTBEAT.read::<HeartbeatData>(&json::to_vec(&data)), Ok(data));
    }

    /// Looks for readers of foreign JSON that go around this file. What the store gives back is ours.
    #[test]
    fn nobody_reads_a_body_past_this_table() {
        fn look(dir: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(dir).expect("a directory of sources") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    look(&path, found);
                } else if std::fs::read_to_string(&path).expect("a source").contains("from_slice") {
                    found.push(path.display().to_string());
                }
            }
        }
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = Vec::new();
        look(&sources.join("handlers"), &mut found);
        look(&sources.join("ops"), &mut found);
        assert_eq!(found, Vec::<String>::new(), "use bodies::Kind::read");
    }
}
