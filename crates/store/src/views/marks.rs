// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What the views need of a record's properties, found in one pass over their text.
//! In: the properties of a record. Out: tag hash, index keys, whether it expires, what it says of its time. Where a name stands twice the later one counts.

use protocol::record::{self, Record};

use crate::keys::KeyEntry;
use crate::keys::hash;
use crate::timer::hop::Times;

const VALUE_END: u8 = 2;

/// The marks of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks<'a> {
    tag: &'a [u8],
    unique: &'a [u8],
    keys: &'a [u8],
    expires: bool,
    light: &'a [u8],
    light_offsets: &'a [u8],
    times: Times<'a>,
}

/// The light queues that a record lists, and its offsets in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Light<'a> {
    pub(crate) names: &'a str,
    pub(crate) offsets: &'a str,
    /// As for [`Marks::expires`].
    pub(crate) expires: bool,
}

impl<'a> Marks<'a> {
    pub(crate) fn of(properties: &'a [u8]) -> Marks<'a> {
        let mut marks = Marks::default();
        each_pair(properties, |pair| marks.take(pair));
        marks
    }

    /// Looks for the end of three names where it would be; the others are not searched for theirs.
    fn take(&mut self, pair: &'a [u8]) {
        const NAME_END: u8 = 1;
        let name_end = if pair.get(4) == Some(&NAME_END) { 4 } else { 8 };
        let Some((name, [NAME_END, value @ ..])) = pair.split_at_checked(name_end) else {
            return self.take_other(pair);
        };
        match name {
            // A pair without a value says nothing.
            _ if value.is_empty() => {}
            b"UNIQ_KEY" => self.unique = value,
            b"TAGS" => self.tag = value,
            b"__EXPIRE" => self.expires = true,
            b"KEYS" => self.keys = value,
            _ => {}
        }
    }

    /// Looks for two names that begin alike, and for those that say when a message is due.
    fn take_other(&mut self, pair: &'a [u8]) {
        let Some(rest) = pair.strip_prefix(b"INNER_MULTI_") else { return self.times.take(pair) };
        if let Some(value) = rest.strip_prefix(b"DISPATCH\x01") {
            self.light = value;
        } else if let Some(value) = rest.strip_prefix(b"QUEUE_OFFSET\x01") {
            self.light_offsets = value;
        }
    }

    /// The light queues that it is in, if it says so.
    pub(crate) fn light(&self) -> Option<Light<'a>> {
        if self.light.is_empty() || self.light_offsets.is_empty() {
            return None;
        }
        let (names, offsets) = (str::from_utf8(self.light).ok()?, str::from_utf8(self.light_offsets).ok()?);
        Some(Light { names, offsets, expires: self.expires })
    }

    /// What it says of its time.
    pub(crate) fn times(&self) -> Times<'a> {
        self.times
    }

    /// What the queue entry holds for the tag.
    pub(crate) fn tag_hash(&self) -> i64 {
        str::from_utf8(self.tag).map_or(0, record::tag_hash)
    }

    /// It is not worth being read for ever.
    pub(crate) fn expires(&self) -> bool {
        self.expires
    }

    /// Its keys, the unique one first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let tokens = self.keys.split(|&byte| byte == b' ').filter(|token| !token.is_empty());
        let unique = (!self.unique.is_empty()).then_some(self.unique);
        unique.into_iter().chain(tokens)
    }

    /// The index entries of the record at `log`.
    pub(crate) fn key_entries(
        &self,
        record: &Record<'_>,
        topic_hash: u64,
        log: u64,
    ) -> impl Iterator<Item = KeyEntry> + use<'a> {
        let stored_at = record.stored_at().0;
        self.keys().map(move |key| KeyEntry { hash: hash::of_key(topic_hash, key), log, stored_at })
    }

    /// True when there may be any.
    pub(crate) fn has_keys(&self) -> bool {
        !self.unique.is_empty() || !self.keys.is_empty()
    }
}

/// Visits the pairs of name and value.
pub(crate) fn each_pair<'a>(properties: &'a [u8], mut visit: impl FnMut(&'a [u8])) {
    let mut start = 0;
    each_end(properties, |end| {
        visit(&properties[start..end]);
        start = end + 1;
    });
    visit(properties.get(start..).unwrap_or_default());
}

/// Visits where values end, eight bytes at a time: this runs for every message stored.
fn each_end(bytes: &[u8], mut visit: impl FnMut(usize)) {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const SEVEN: u64 = 0x7F * LOW;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let differs = u64::from_le_bytes(*word) ^ (LOW * u64::from(VALUE_END));
        // The high bit of each byte that is zero, and of no other.
        let mut ends = !(((differs & SEVEN) + SEVEN) | differs | SEVEN);
        while ends != 0 {
            visit(index * 8 + (ends.trailing_zeros() / 8) as usize);
            ends &= ends - 1;
        }
    }
    let at = bytes.len() - rest.len();
    for (index, _) in rest.iter().enumerate().filter(|(_, byte)| **byte == VALUE_END) {
        visit(at + index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::names::{LogOffset, QueueId, TopicName};
    use protocol::record::Message;
    use std::net::SocketAddr;
    use stdx::Timestamp;

    fn marks(properties: &str) -> [String; 3] {
        let bytes = properties.replace('=', "\x01").replace(';', "\x02").into_bytes();
        let marks = Marks::of(&bytes);
        [marks.tag, marks.unique, marks.keys].map(|part| String::from_utf8(part.to_vec()).unwrap())
    }

    #[test]
    fn finds_light_queues_with_their_offsets() {
        let light = |properties: &str| {
            let bytes = properties.replace('=', "\x01").replace(';', "\x02").into_bytes();
            Marks::of(&bytes).light().map(|light| format!("{}: {}", light.names, light.offsets))
        };
        let both = "TAGS=a;INNER_MULTI_DISPATCH=%LMQ%a,%LMQ%b;INNER_MULTI_QUEUE_OFFSET=3,4;";
        assert_eq!(light(both).as_deref(), Some("%LMQ%a,%LMQ%b: 3,4"));
        for neither in [
            "",
            "INNER_MULTI_DISPATCH=%LMQ%a;",
            "INNER_MULTI_QUEUE_OFFSET=3;",
            "INNER_MULTI_DISPATCH=;INNER_MULTI_QUEUE_OFFSET=3;",
            "XINNER_MULTI_DISPATCH=%LMQ%a;INNER_MULTI_QUEUE_OFFSET=3;",
            "INNER_MULTI_DISPATCHED=%LMQ%a;INNER_MULTI_QUEUE_OFFSET=3",
        ] {
            assert_eq!(light(neither), None, "{neither}");
        }
    }

    #[test]
    fn finds_the_three_names() {
        assert_eq!(marks(""), ["", "", ""]);
        assert_eq!(marks("UNIQ_KEY=0A;WAIT=true;TAGS=t1;KEYS=a b;CLUSTER=c;"), ["t1", "0A", "a b"]);
        assert_eq!(marks("TAGS=t1;TAGS=t2"), ["t2", "", ""], "the later counts, the last mark may be absent");
        assert_eq!(marks("XTAGS=t1;TAGSX=t2;TAGS"), ["", "", ""]);
    }

    proptest! {
        #[test]
        fn finds_ends_as_a_plain_search_does(bytes in proptest::collection::vec(0..4u8, 0..64), high in any::<u8>()) {
            let bytes: Vec<u8> = bytes.into_iter().map(|byte| if byte == 3 { high } else { byte }).collect();
            let mut found = Vec::new();
            each_end(&bytes, |at| found.push(at));
            let wanted: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == VALUE_END).collect();
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn agrees_with_the_record(parts in proptest::collection::vec(0..9usize, 0..30)) {
            let words = ["TAGS", "KEYS", "UNIQ_KEY", "\x01", "\x02", "a", "bb cc", "", "TAGSX"];
            let text: String = parts.into_iter().map(|part| words[part]).collect();
            let topic = TopicName::stored("t");
            let host: SocketAddr = "127.0.0.1:1".parse().unwrap();
            let message = Message {
                topic: &topic,
                queue: QueueId(0),
                flag: 0,
                sys_flag: 0,
                born_at: Timestamp(0),
                born_host: host,
                store_host: host,
                reconsume: 0,
                prepared: LogOffset(0),
                body: b"",
                properties: text.as_bytes(),
            };
            let mut bytes = Vec::new();
            record::encode(&message, &mut bytes).unwrap();
            let record = Record::parse(&bytes).unwrap();
            let marks = Marks::of(record.properties());
            let wanted = ["TAGS", "KEYS", "UNIQ_KEY"].map(|name| record.property(name).unwrap_or("").as_bytes());
            prop_assert_eq!([marks.tag, marks.keys, marks.unique], wanted);
            prop_assert_eq!(marks.tag_hash(), record.tag_hash());
        }
    }
}
