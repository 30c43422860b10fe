// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a checkpoint consists of, item by item, and its bytes. Later items win over earlier ones.
//! In: items, or bytes from a frame whose checksum held. Out: bytes, or items. Decoding never panics and allocates
//! no more than the bytes it was given could hold. Layout: `docs/format/checkpoint.md`.

use bytes::Bytes;
use protocol::names::LogOffset;
use stdx::Timestamp;

use crate::arena::Part;
use crate::facts::{FactImage, FactKind};
use crate::keys::KeyEntry;
use crate::queue::QueueImage;
use crate::queue::extents::Extent;
use crate::timer::Slot;
use crate::timer::pending::Change;

const QUEUE: u8 = 1;
const STATE: u8 = 2;
const DROP_QUEUE: u8 = 3;
const FACT: u8 = 4;
const KEYS: u8 = 5;
const RUN: u8 = 6;
const DROP_RUN: u8 = 7;
const COMMIT: u8 = 8;
const TIMER_TOPIC: u8 = 9;
const TIMERS: u8 = 10;
const MERGED_RUN: u8 = 11;

/// Class byte of an extent that has no part.
const HOLE: u64 = 0xFF;

/// One item of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// Queue `queue` of a topic is called `slot` from here on.
    Queue { slot: u64, topic: &'a str, queue: u32 },
    /// Where a queue stands; its extents are added to those known.
    State(QueueImage),
    /// A queue that is gone.
    DropQueue { slot: u64 },
    /// A fact or its removal.
    Fact(FactImage),
    /// Key entries that are in no run.
    Keys(Vec<KeyEntry>),
    /// All key entries so far are in this run.
    Run { id: u64 },
    /// A run that is gone.
    DropRun { id: u64 },
    /// This run holds what those did, and takes their place.
    MergedRun { id: u64, from: Vec<u64> },
    /// Topic `number` of the waiting messages is called so.
    TimerTopic { number: u32, topic: &'a str },
    /// Messages that wait for their time, or do not any more.
    Timers(Vec<Change>),
    /// What precedes is complete.
    Commit(Commit),
}

/// The end of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Commit {
    /// The views hold exactly the log below this.
    pub(crate) upto: LogOffset,
    /// The log's start as the views last heard of it.
    pub(crate) first: LogOffset,
    /// Arena files.
    pub(crate) arena_files: u64,
    /// The next slot that was never used.
    pub(crate) next_slot: u64,
    /// The next run number that was never used.
    pub(crate) next_run: u64,
}

/// A frame that passed its checksum holds something else than items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no checkpoint item at byte {at}")]
pub(crate) struct ItemError {
    pub(crate) at: usize,
}

impl Item<'_> {
    /// Appends the item's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Item::Queue { slot, topic, queue } => {
                out.push(QUEUE);
                put(out, *slot);
                put(out, u64::from(*queue));
                put_bytes(out, topic.as_bytes());
            }
            Item::State(image) => {
                out.push(STATE);
                encode_image(image, out);
            }
            Item::DropQueue { slot } => put_tagged(out, DROP_QUEUE, *slot),
            Item::Fact(fact) => {
                out.push(FACT);
                put(out, fact.at.0);
                out.push(fact.kind.0);
                put_bytes(out, &fact.key);
                put(out, u64::from(fact.value.is_some()));
                if let Some(value) = &fact.value {
                    put_bytes(out, value);
                }
            }
            Item::Keys(entries) => {
                out.push(KEYS);
                put(out, entries.len() as u64);
                for entry in entries {
                    out.extend(entry.hash.to_be_bytes());
                    out.extend(entry.log.to_be_bytes());
                    out.extend(entry.stored_at.to_be_bytes());
                }
            }
            Item::Run { id } => put_tagged(out, RUN, *id),
            Item::DropRun { id } => put_tagged(out, DROP_RUN, *id),
            Item::MergedRun { id, from } => {
                put_tagged(out, MERGED_RUN, *id);
                put(out, from.len() as u64);
                from.iter().for_each(|id| put(out, *id));
            }
            Item::TimerTopic { number, topic } => {
                put_tagged(out, TIMER_TOPIC, u64::from(*number));
                put_bytes(out, topic.as_bytes());
            }
            Item::Timers(changes) => {
                put_tagged(out, TIMERS, changes.len() as u64);
                encode_timers(changes, out);
            }
            Item::Commit(commit) => {
                put_tagged(out, COMMIT, commit.upto.0);
                put(out, commit.first.0);
                put(out, commit.arena_files);
                put(out, commit.next_slot);
                put(out, commit.next_run);
            }
        }
    }
}

fn encode_image(image: &QueueImage, out: &mut Vec<u8>) {
    put(out, image.slot);
    put(out, image.first);
    put(out, image.next);
    put(out, image.anchor.0);
    put(out, image.extents.len() as u64);
    for extent in &image.extents {
        put(out, extent.base);
        match extent.part {
            None => put(out, HOLE),
            Some(part) => {
                put(out, u64::from(part.class));
                put(out, u64::from(part.unit));
            }
        }
    }
}

/// Each as the difference to the one before: slots of a full checkpoint are in due order, and then close together.
fn encode_timers(changes: &[Change], out: &mut Vec<u8>) {
    let mut last = Slot { due: Timestamp(0), at: LogOffset(0) };
    for Change { slot, topic } in changes {
        put_difference(out, slot.due.0.wrapping_sub(last.due.0));
        put_difference(out, slot.at.0.wrapping_sub(last.at.0) as i64);
        put(out, topic.map_or(0, |topic| u64::from(topic) + 1));
        last = *slot;
    }
}

/// Small numbers of either sign become small ones.
fn put_difference(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn put_tagged(out: &mut Vec<u8>, tag: u8, value: u64) {
    out.push(tag);
    put(out, value);
}

/// Seven bits a byte, lowest first; the high bit says that more follow.
fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads the items of one frame.
pub(crate) struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Items<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Items<'a> {
        Items { bytes, at: 0 }
    }

    fn item(&mut self) -> Option<Item<'a>> {
        Some(match self.byte()? {
            QUEUE => {
                let (slot, queue) = (self.number()?, self.number()?);
                let topic = str::from_utf8(self.slice()?).ok()?;
                Item::Queue { slot, queue: u32::try_from(queue).ok()?, topic }
            }
            STATE => Item::State(self.image()?),
            DROP_QUEUE => Item::DropQueue { slot: self.number()? },
            FACT => Item::Fact(self.fact()?),
            KEYS => Item::Keys(self.keys()?),
            RUN => Item::Run { id: self.number()? },
            DROP_RUN => Item::DropRun { id: self.number()? },
            TIMER_TOPIC => {
                let number = u32::try_from(self.number()?).ok()?;
                Item::TimerTopic { number, topic: str::from_utf8(self.slice()?).ok()? }
            }
            TIMERS => Item::Timers(self.timers()?),
            MERGED_RUN => {
                let (id, count) = (self.number()?, self.count(1)?);
                Item::MergedRun { id, from: (0..count).map(|_| self.number()).collect::<Option<_>>()? }
            }
            COMMIT => Item::Commit(Commit {
                upto: LogOffset(self.number()?),
                first: LogOffset(self.number()?),
                arena_files: self.number()?,
                next_slot: self.number()?,
                next_run: self.number()?,
            }),
            _ => return None,
        })
    }

    fn image(&mut self) -> Option<QueueImage> {
        let (slot, first, next) = (self.number()?, self.number()?, self.number()?);
        let anchor = LogOffset(self.number()?);
        let count = self.count(2)?;
        let mut extents = Vec::with_capacity(count);
        for _ in 0..count {
            let base = self.number()?;
            let part = match self.number()? {
                HOLE => None,
                class => {
                    Some(Part { class: u8::try_from(class).ok()?, unit: u32::try_from(self.number()?).ok()? })
                }
            };
            extents.push(Extent { base, part });
        }
        Some(QueueImage { slot, first, next, anchor, extents })
    }

    fn fact(&mut self) -> Option<FactImage> {
        let at = LogOffset(self.number()?);
        let kind = FactKind(self.byte()?);
        let key = self.slice()?.into();
        let value = match self.number()? {
            0 => None,
            1 => Some(Bytes::copy_from_slice(self.slice()?)),
            _ => return None,
        };
        Some(FactImage { at, kind, key, value })
    }

    fn keys(&mut self) -> Option<Vec<KeyEntry>> {
        const LEN: usize = 24;
        let count = self.count(LEN)?;
        let bytes = self.take(count * LEN)?;
        let long = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
        let entry = |entry: &[u8]| KeyEntry {
            hash: long(&entry[..8]),
            log: long(&entry[8..16]),
            stored_at: long(&entry[16..]) as i64,
        };
        Some(bytes.chunks_exact(LEN).map(entry).collect())
    }

    fn timers(&mut self) -> Option<Vec<Change>> {
        let count = self.count(3)?;
        let mut changes = Vec::with_capacity(count);
        let (mut due, mut at) = (0i64, 0u64);
        for _ in 0..count {
            due = due.wrapping_add(self.difference()?);
            at = at.wrapping_add(self.difference()? as u64);
            let topic = match self.number()? {
                0 => None,
                number => Some(u32::try_from(number - 1).ok()?),
            };
            changes.push(Change { slot: Slot { due: Timestamp(due), at: LogOffset(at) }, topic });
        }
        Some(changes)
    }

    fn difference(&mut self) -> Option<i64> {
        let folded = self.number()?;
        Some((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    /// A count of things that take `each` bytes or more, all of which are still to come.
    fn count(&mut self, each: usize) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= (self.bytes.len() - self.at) / each).then_some(count)
    }

    fn slice(&mut self) -> Option<&'a [u8]> {
        let len = self.count(1)?;
        self.take(len)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes[self.at..].get(..len)?;
        self.at += len;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, ItemError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.bytes.len() {
            return None;
        }
        let at = self.at;
        let item = self.item().ok_or(ItemError { at });
        if item.is_err() {
            self.at = self.bytes.len();
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples() -> Vec<Item<'static>> {
        let image = QueueImage {
            slot: 300,
            first: 1,
            next: u64::MAX,
            anchor: LogOffset(1 << 40),
            extents: vec![
                Extent { base: 0, part: Some(Part { unit: u32::MAX, class: 14 }) },
                Extent { base: 4, part: None },
            ],
        };
        let fact = |value: Option<&'static [u8]>| FactImage {
            at: LogOffset(77),
            kind: FactKind(16),
            key: (*b"orders").into(),
            value: value.map(Bytes::from_static),
        };
        vec![
            Item::Queue { slot: 300, topic: "orders", queue: 3 },
            Item::State(image),
            Item::DropQueue { slot: 5 },
            Item::Fact(fact(Some(b"value"))),
            Item::Fact(fact(None)),
            Item::Keys(vec![KeyEntry { hash: u64::MAX, log: 9, stored_at: -1 }]),
            Item::Run { id: 8 },
            Item::DropRun { id: 7 },
            Item::MergedRun { id: 9, from: vec![3, 300] },
            Item::TimerTopic { number: 7, topic: "orders" },
            Item::Timers(vec![
                Change { slot: Slot { due: Timestamp(i64::MAX), at: LogOffset(9) }, topic: Some(7) },
                Change { slot: Slot { due: Timestamp(-1), at: LogOffset(u64::MAX) }, topic: Some(u32::MAX) },
                Change { slot: Slot { due: Timestamp(8), at: LogOffset(3) }, topic: None },
            ]),
            Item::Commit(Commit {
                upto: LogOffset(5),
                first: LogOffset(4),
                arena_files: 3,
                next_slot: 2,
                next_run: 1,
            }),
        ]
    }

    fn bytes(items: &[Item<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        items.iter().for_each(|item| item.encode(&mut out));
        out
    }

    #[test]
    fn round_trip_and_every_cut_is_refused() {
        let all = bytes(&samples());
        let read: Vec<Item<'_>> = Items::new(&all).map(Result::unwrap).collect();
        assert_eq!(read, samples());
        for sample in samples() {
            let whole = bytes(std::slice::from_ref(&sample));
            for cut in 1..whole.len() {
                let read: Result<Vec<_>, _> = Items::new(&whole[..cut]).collect();
                assert!(read.is_err(), "{sample:?} cut to {cut}");
            }
        }
    }

    #[test]
    fn counts_beyond_the_frame_allocate_nothing() {
        let check = |tail: &[u8]| {
            let mut frame = tail.to_vec();
            put(&mut frame, u64::MAX >> 1);
            Items::new(&frame).collect::<Result<Vec<_>, _>>().unwrap_err()
        };
        assert_eq!(check(&[KEYS]), ItemError { at: 0 });
        assert_eq!(check(&[STATE, 1, 0, 0, 0]), ItemError { at: 0 });
        assert_eq!(check(&[QUEUE, 1, 0]), ItemError { at: 0 });
    }

    proptest! {
        #[test]
        fn never_panics(frame in proptest::collection::vec(any::<u8>(), 0..100), tag in 0..12u8) {
            let mut frame = frame;
            frame.insert(0, tag);
            let _ = Items::new(&frame).collect::<Result<Vec<_>, _>>();
        }
    }
}
