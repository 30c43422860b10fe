// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The body of a facts record: a list of changes, each a kind, a key, and a value or its removal.
//! In: changes, or bytes from the log. Out: bytes, or borrowed changes. Decoding never panics and never reads past
//! its slice. Layout: `docs/format/facts.md`.

/// What a fact is about. The store keeps the low numbers for itself, the broker names the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactKind(pub u8);

impl FactKind {
    /// A topic was removed: its queues begin again at 0 behind this record. Key: the topic. Never kept.
    pub const REMOVE_TOPIC: FactKind = FactKind(0);
    /// Offsets of a queue below the value (8 bytes) were used. Key: queue number (4 bytes) and topic. Never kept.
    pub const QUEUE_NEXT: FactKind = FactKind(1);
    /// An undecided half message (`docs/format/transaction.md`). Key: where it was first stored (8 bytes).
    pub const HALF: FactKind = FactKind(2);
    /// Where the latest message of a key lies (`docs/format/compaction.md`). Key: topic, queue, key. Never in a record.
    pub(crate) const LATEST: FactKind = FactKind(3);
    /// The first kind that is not the store's own.
    pub const FIRST_FREE: FactKind = FactKind(16);

    /// True for the kinds that only the store itself writes.
    pub fn is_reserved(self) -> bool {
        self < FactKind::FIRST_FREE
    }

    /// True for the kinds that stand in the table of facts.
    pub(crate) fn is_kept(self) -> bool {
        self == FactKind::HALF || !self.is_reserved()
    }
}

/// One change of the table of facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactChange {
    /// What it is about.
    pub kind: FactKind,
    /// Which one.
    pub key: Vec<u8>,
    /// The new value; `None` removes the fact.
    pub value: Option<Vec<u8>>,
}

impl FactChange {
    /// A change that says: the queues of `topic` begin again.
    pub fn remove_topic(topic: &str) -> FactChange {
        FactChange { kind: FactKind::REMOVE_TOPIC, key: topic.as_bytes().to_vec(), value: None }
    }

    /// A change that carries a queue's next offset forward.
    pub(crate) fn queue_next(topic: &str, queue: u32, next: u64) -> FactChange {
        let mut key = queue.to_be_bytes().to_vec();
        key.extend_from_slice(topic.as_bytes());
        FactChange { kind: FactKind::QUEUE_NEXT, key, value: Some(next.to_be_bytes().to_vec()) }
    }
}

/// A change as it lies in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change<'a> {
    pub(crate) kind: FactKind,
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
}

/// Why a body is no list of changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("facts record is unreadable at byte {at}: {what}")]
pub(crate) struct FactsError {
    /// Where decoding stopped.
    pub(crate) at: usize,
    /// What was wrong.
    pub(crate) what: &'static str,
}

/// The longest key, in bytes.
pub(crate) const KEY_MAX: usize = u16::MAX as usize;
const VERSION: u8 = 1;
const REMOVED: u8 = 0;
const PRESENT: u8 = 1;

/// Writes the body of a facts record. The caller has refused keys longer than [`KEY_MAX`].
pub(crate) fn encode(changes: &[FactChange]) -> Vec<u8> {
    let len = |change: &FactChange| 8 + change.key.len() + change.value.as_ref().map_or(0, Vec::len);
    let mut body = Vec::with_capacity(1 + changes.iter().map(len).sum::<usize>());
    body.push(VERSION);
    for change in changes {
        assert!(change.key.len() <= KEY_MAX, "keys of facts are capped by their writers");
        body.push(change.kind.0);
        body.extend((change.key.len() as u16).to_be_bytes());
        body.extend(&change.key);
        match &change.value {
            None => body.push(REMOVED),
            Some(value) => {
                let value_len = u32::try_from(value.len()).expect("a record is shorter than 4 GiB");
                body.push(PRESENT);
                body.extend(value_len.to_be_bytes());
                body.extend(value);
            }
        }
    }
    body
}

/// Reads the body of a facts record, all of it or nothing.
pub(crate) fn decode(body: &[u8]) -> Result<Vec<Change<'_>>, FactsError> {
    let mut cursor = Cursor { body, at: 0 };
    if cursor.array::<1>()? != [VERSION] {
        return Err(FactsError { at: 0, what: "unknown version" });
    }
    let mut changes = Vec::new();
    while cursor.at < body.len() {
        let kind = FactKind(cursor.array::<1>()?[0]);
        let key_len = u16::from_be_bytes(cursor.array()?);
        let key = cursor.take(usize::from(key_len))?;
        let value = match cursor.array::<1>()?[0] {
            REMOVED => None,
            PRESENT => {
                let len = u32::from_be_bytes(cursor.array()?);
                Some(cursor.take(len as usize)?)
            }
            _ => return Err(FactsError { at: cursor.at - 1, what: "unknown mark" }),
        };
        changes.push(Change { kind, key, value });
    }
    Ok(changes)
}

/// Reads the key and value of a [`FactKind::QUEUE_NEXT`].
pub(crate) fn decode_queue_next<'a>(change: &Change<'a>) -> Option<(&'a str, u32, u64)> {
    let (queue, topic) = change.key.split_first_chunk::<4>()?;
    let next = change.value?.try_into().ok()?;
    Some((str::from_utf8(topic).ok()?, u32::from_be_bytes(*queue), u64::from_be_bytes(next)))
}

struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], FactsError> {
        let rest = &self.body[self.at..];
        let taken = rest.get(..len).ok_or(FactsError { at: self.at, what: "it ends too soon" })?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FactsError> {
        self.take(N).map(|bytes| bytes.try_into().expect("N bytes were taken"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_change() -> impl Strategy<Value = FactChange> {
        let key = proptest::collection::vec(any::<u8>(), 0..40);
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200));
        (any::<u8>(), key, value).prop_map(|(kind, key, value)| FactChange {
            kind: FactKind(kind),
            key,
            value,
        })
    }

    #[test]
    fn bytes_are_those_of_the_document() {
        let changes = [
            FactChange { kind: FactKind(16), key: b"orders".to_vec(), value: Some(b"v".to_vec()) },
            FactChange::remove_topic("t"),
        ];
        let expected = b"\x01\x10\x00\x06orders\x01\x00\x00\x00\x01v\x00\x00\x01t\x00";
        assert_eq!(encode(&changes), expected);
        let next = encode(&[FactChange::queue_next("t", 3, 9)]);
        let next = decode(&next).unwrap();
        assert_eq!(decode_queue_next(&next[0]), Some(("t", 3, 9)));
    }

    #[test]
    fn says_where_a_body_breaks() {
        let check = |body: &[u8]| decode(body).map(|list| list.len()).map_err(|e| (e.at, e.what));
        assert_eq!(check(b"\x01"), Ok(0));
        assert_eq!(check(b""), Err((0, "it ends too soon")));
        assert_eq!(check(b"\x02"), Err((0, "unknown version")));
        assert_eq!(check(b"\x01\x10\x00\x06ord"), Err((4, "it ends too soon")));
        assert_eq!(check(b"\x01\x10\x00\x00\x07"), Err((4, "unknown mark")));
        assert_eq!(check(b"\x01\x10\x00\x00\x01\xFF\xFF\xFF\xFF"), Err((9, "it ends too soon")));
    }

    proptest! {
        #[test]
        fn round_trip(changes in proptest::collection::vec(any_change(), 0..20)) {
            let body = encode(&changes);
            let read: Vec<FactChange> = decode(&body).unwrap().into_iter().map(|change| FactChange {
                kind: change.kind,
                key: change.key.to_vec(),
                value: change.value.map(<[u8]>::to_vec),
            }).collect();
            prop_assert_eq!(read, changes);
        }

        #[test]
        fn never_panics(mut body in proptest::collection::vec(any::<u8>(), 0..200), versioned in any::<bool>()) {
            if versioned && !body.is_empty() {
                body[0] = VERSION;
            }
            let _ = decode(&body);
        }
    }
}
