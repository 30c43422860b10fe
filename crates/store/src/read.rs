// SPDX-License-Identifier: Apache-2.0
//! From a queue offset to the bytes of messages. Called for every pull; hot data is leased from stages without a copy.
//!
//! A read that may not wait answers [`ReadError::Cold`] when its first message is neither in a stage nor cached by
//! the system; the caller then asks the store's readers.
//! A filter that has to look into records asks first what is remembered of them ([`Digests`]), and looks into files
//! only where waiting is allowed: that is work for a reader thread, not for a connection's.
//! Invariants: nothing at or past `dispatched` is returned; a message whose tag hash fits but whose tag does not is
//! left out, and so is one that a disk damaged or whose time is over; the first message that fits is returned whatever its size; `next` is past everything looked at, and never inside a record.

use std::cell::Cell;
use std::ops::Range;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::filter::Filter;
use protocol::names::{LogOffset, QueueOffset};
use protocol::properties;
use protocol::record::{self, Record};
use stdx::Timestamp;

use crate::digest::{self, Block, Digests};
use crate::dispatch;
use crate::error::ReadError;
use crate::log::{Access, Log, Part};
use crate::metrics::Counter;
use crate::queue::latest::Latest;
use crate::queue::{Entry, QueueRef};
use crate::views::Views;

mod batches;
mod slices;

pub use slices::Slices;

/// How much one read returns at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Messages.
    pub messages: usize,
    /// Bytes; the first message may be larger.
    pub bytes: usize,
}

/// Which offsets a queue has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first that is still there.
    pub first: QueueOffset,
    /// One past the last that may be read.
    pub next: QueueOffset,
}

/// What a read found.
#[derive(Clone, Debug)]
pub enum Read {
    /// Messages.
    Found(Batch),
    /// Nothing yet: the offset is the next one to come.
    AtTail(Bounds),
    /// The offset is not in the queue.
    Beyond(Bounds),
    /// Messages are there, but none that the filter lets through.
    Filtered {
        /// Where to read on.
        next: QueueOffset,
        /// The queue's offsets.
        bounds: Bounds,
    },
}

/// Messages, in order, as they lie in the log.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Whole records, one or more a slice.
    pub slices: Slices,
    /// How many messages; of an inner batch all, also those before the offset that was asked for.
    pub count: usize,
    /// How many bytes.
    pub bytes: usize,
    /// Where to read on.
    pub next: QueueOffset,
    /// The queue's offsets.
    pub bounds: Bounds,
}

impl Read {
    /// The queue's offsets when it was read.
    pub fn bounds(&self) -> Bounds {
        match self {
            Read::Found(batch) => batch.bounds,
            Read::AtTail(bounds) | Read::Beyond(bounds) | Read::Filtered { bounds, .. } => *bounds,
        }
    }
}

/// How much work one read is when the filter lets little or nothing through: an entry is one step, and so are properties
/// that are remembered. A millisecond, or two.
const STEPS_MAX: usize = 16_384;
/// The steps of a look into a record.
const LOOK: usize = 8;
/// How many entries are taken from the queue at once.
const ENTRIES: usize = 256;
/// Fewer looks than these are not worth being remembered.
const NOTED_LEAST: usize = 64;

/// Entries of a queue, and the offsets of those that do not follow each other.
#[derive(Default)]
struct Room {
    entries: Vec<Entry>,
    offsets: Vec<u64>,
}

thread_local! {
    /// For the next read on this thread; no read begins within another.
    static ROOM: Cell<Room> = Cell::default();
}

/// What is read from, and when.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) log: &'a Log,
    pub(crate) views: &'a Views,
    pub(crate) digests: &'a Mutex<Digests>,
    /// Counts messages whose time is over.
    pub(crate) expired: &'a Counter,
    /// Counts looks into records for a filter.
    pub(crate) looks: &'a Counter,
    pub(crate) now: Timestamp,
    pub(crate) access: Access,
}

/// Reads from one queue.
pub(crate) fn read(
    source: Source<'_>,
    queue: &QueueRef,
    from: QueueOffset,
    limit: ReadLimit,
    filter: &Filter,
) -> Result<Read, ReadError> {
    // `next` is read first: `first` may rise meanwhile, never past it.
    let next = queue.dispatched();
    let bounds = Bounds { first: queue.first().min(next), next };
    if from == bounds.next {
        return Ok(Read::AtTail(bounds));
    }
    // Where only the latest of each key are kept, a reader from the start goes on at the first of them.
    let kept = queue.0.latest();
    let is_before = from < bounds.first && !kept.is_some_and(Latest::has_any);
    if is_before || from > bounds.next {
        return Ok(Read::Beyond(bounds));
    }
    // A record that has the offset besides others is given whole.
    let start = if queue.may_batch(from) { source.views.batch_start(queue, from) } else { from };
    let expiry = may_expire(queue, start).then_some(source.now);
    let mut gather = Gather {
        source,
        filter,
        expiry,
        limit,
        held: None,
        out: Slices::default(),
        count: 0,
        bytes: 0,
        noted: expiry.is_none().then(Noted::default).filter(|_| filter.needs_records() && kept.is_none()),
    };
    let Room { mut entries, mut offsets } = ROOM.take();
    offsets.clear();
    let (mut at, mut steps) = (start, 0);
    let mut outcome = Ok(());
    while outcome.is_ok() && at < next && steps < STEPS_MAX && !gather.is_full() {
        entries.clear();
        let want = (next.0 - at.0).min(gather.entries_at(at)) as usize;
        match kept {
            None => source.views.entries(queue, at, want, &mut entries),
            Some(latest) => source.views.shown(queue, latest, (at, next), want, &mut entries, &mut offsets),
        }
        if entries.is_empty() {
            // Retention passed by, or nothing up to the end is the latest of its key.
            at = if kept.is_some() { next } else { at };
            break;
        }
        if queue.may_batch(at) {
            let singles = gather.singles(queue, at, &entries);
            if singles == 0 {
                let passed;
                (passed, outcome) = gather.take_batch(queue, at, &entries[0], &mut steps);
                if passed == at {
                    break;
                }
                at = passed;
                continue;
            }
            entries.truncate(singles);
        }
        let dealt;
        (dealt, outcome) = gather.take_some(queue, at, &entries, &mut steps);
        at.0 = match dealt.checked_sub(1).and_then(|last| offsets.get(last)) {
            Some(last) => last + 1,
            None => at.0 + dealt as u64,
        };
        if dealt < entries.len() {
            break;
        }
    }
    ROOM.set(Room { entries, offsets });
    if gather.count == 0 {
        outcome?;
    }
    Ok(match gather.count {
        0 if at == start => Read::Beyond(Bounds { first: queue.first(), ..bounds }),
        0 => Read::Filtered { next: at, bounds },
        count => Read::Found(Batch { slices: gather.out, count, bytes: gather.bytes, next: at, bounds }),
    })
}

/// What waits for servers does not expire meanwhile, and a dead letter is there to be looked at.
fn may_expire(queue: &QueueRef, from: QueueOffset) -> bool {
    queue.may_expire(from) && !queue.key().topic.is_system() && !queue.key().topic.is_dlq()
}

/// Collects the bytes of entries.
struct Gather<'a> {
    source: Source<'a>,
    filter: &'a Filter,
    /// The time, where messages may expire.
    expiry: Option<Timestamp>,
    limit: ReadLimit,
    /// The end of a stage that was leased last, and where in the log it begins.
    held: Option<(u64, Bytes)>,
    out: Slices,
    count: usize,
    bytes: usize,
    /// What was looked at, where that is worth being remembered.
    noted: Option<Noted>,
}

/// The properties of records that were looked at, in their order.
#[derive(Default)]
struct Noted {
    records: Vec<(LogOffset, usize)>,
    text: String,
}

/// Adjacent records that are fetched together.
struct Run {
    start: u64,
    end: u64,
    count: usize,
    /// The place in the entries of its last record, plus one.
    upto: usize,
}

impl Gather<'_> {
    fn is_full(&self) -> bool {
        self.count > 0 && (self.count >= self.limit.messages || self.bytes >= self.limit.bytes)
    }

    /// How many entries are taken at once: as far as is remembered together, where anything is.
    fn entries_at(&self, at: QueueOffset) -> u64 {
        match self.noted {
            Some(_) => digest::TOGETHER - at.0 % digest::TOGETHER,
            None => ENTRIES.min(self.limit.messages.max(16)) as u64,
        }
    }

    /// Takes messages of `entries`, which begin at `at`, as far as that can be; returns how many entries were dealt with.
    fn take_some(
        &mut self,
        queue: &QueueRef,
        at: QueueOffset,
        entries: &[Entry],
        steps: &mut usize,
    ) -> (usize, Result<(), ReadError>) {
        if self.noted.is_some() {
            let known = self.source.digests.lock().find(queue.address(), at.0);
            return self.sift(queue, at, entries, known.as_deref(), steps);
        }
        let looks = self.filter.needs_records() || self.expiry.is_some();
        *steps += entries.len() * if looks { LOOK } else { 1 };
        self.take(entries)
    }

    /// Does the same as [`Gather::take`] for `entries` that begin at `at`, but passes over those of which it is known that
    /// they are not wanted, and has remembered what it looked at.
    fn sift(
        &mut self,
        queue: &QueueRef,
        at: QueueOffset,
        entries: &[Entry],
        known: Option<&Block>,
        steps: &mut usize,
    ) -> (usize, Result<(), ReadError>) {
        let mut chosen = entries.to_vec();
        let mut unknown = None;
        for (entry, offset) in chosen.iter_mut().zip(at.0..).filter(|(entry, _)| !entry.is_hole()) {
            *steps += 1;
            match known.and_then(|known| known.get(offset, entry.log)) {
                Some(text) if !self.filter.by_properties(text) => *entry = Entry::HOLE,
                Some(_) => {}
                None => {
                    *steps += LOOK - 1;
                    unknown.get_or_insert(entry.log);
                }
            }
        }
        let is_behind = |at: &LogOffset| self.source.log.stages().find(at.0).is_none();
        if self.source.access == Access::Cached && unknown.as_ref().is_some_and(is_behind) {
            return (0, Err(ReadError::Cold));
        }
        let (dealt, outcome) = self.take(&chosen);
        self.remember(queue, at, &entries[..dealt], known);
        (dealt, outcome)
    }

    /// Has it remembered what `entries`, which begin at `at`, were found to say.
    fn remember(&mut self, queue: &QueueRef, at: QueueOffset, entries: &[Entry], known: Option<&Block>) {
        let Some(noted) = &mut self.noted else { return };
        self.source.looks.add(noted.records.len() as u64);
        if noted.records.len() >= NOTED_LEAST {
            let mut block = Block::new(at.0);
            let (mut records, mut start) = (noted.records.iter().peekable(), 0);
            for (entry, offset) in entries.iter().zip(at.0..) {
                let seen = records.next_if(|(log, _)| *log == entry.log);
                let fresh = seen.map(|(_, end)| &noted.text[std::mem::replace(&mut start, *end)..*end]);
                block.push(entry.log, fresh.or_else(|| known?.get(offset, entry.log)));
            }
            self.source.digests.lock().keep(queue.address(), block);
        }
        noted.records.clear();
        noted.text.clear();
    }

    /// Takes messages of `entries` until full or until one cannot be had; returns how many entries were dealt with.
    fn take(&mut self, entries: &[Entry]) -> (usize, Result<(), ReadError>) {
        let mut dealt = 0;
        while dealt < entries.len() && !self.is_full() {
            let (passed, run) = self.next_run(&entries[dealt..]);
            let Some(run) = run else { return (dealt + passed, Ok(())) };
            if let Err(e) = self.fetch(&run, &entries[dealt + passed..dealt + run.upto]) {
                return (dealt + passed, Err(e));
            }
            dealt += run.upto;
        }
        (dealt, Ok(()))
    }

    /// Finds the next records to fetch together, and how many entries in front of them are passed over.
    fn next_run(&self, entries: &[Entry]) -> (usize, Option<Run>) {
        let passes = |entry: &Entry| !entry.is_hole() && self.filter.by_entry(entry.tag_hash);
        let Some(passed) = entries.iter().position(passes) else { return (entries.len(), None) };
        let mut run =
            Run { start: entries[passed].log.0, end: entries[passed].log.0, count: 0, upto: passed };
        for entry in entries[passed..].iter().take_while(|entry| passes(entry)) {
            let (count, bytes) = (self.count + run.count, self.bytes + (run.end - run.start) as usize);
            let fits = count == 0
                || (count < self.limit.messages && bytes + entry.size as usize <= self.limit.bytes);
            if !fits || entry.log.0 != run.end {
                break;
            }
            run.end += u64::from(entry.size);
            run.count += 1;
            run.upto += 1;
        }
        (passed, (run.count > 0).then_some(run))
    }

    /// Adds all of a run or, on an error, nothing. `entries` are those of the run.
    fn fetch(&mut self, run: &Run, entries: &[Entry]) -> Result<(), ReadError> {
        let (slices, count, bytes) = (self.out.len(), self.count, self.bytes);
        let outcome = self.fetch_parts(run, entries);
        if outcome.is_err() {
            self.out.truncate(slices);
            (self.count, self.bytes) = (count, bytes);
        }
        outcome
    }

    fn fetch_parts(&mut self, run: &Run, mut entries: &[Entry]) -> Result<(), ReadError> {
        let mut at = run.start;
        while at < run.end {
            let part = self.part(at, run.end)?;
            let end = at + part.bytes.len() as u64;
            let (inside, behind) = entries.split_at(entries.partition_point(|entry| entry.log.0 < end));
            if part.is_from_file || self.expiry.is_some() || !matches!(self.filter, Filter::All) {
                self.keep_some(at, &part, inside);
            } else {
                self.keep(part.bytes, inside.len());
            }
            (at, entries) = (end, behind);
        }
        Ok(())
    }

    /// Bytes from `at` up to `end` or less, from what is leased already where that is possible.
    fn part(&mut self, at: u64, end: u64) -> Result<Part, ReadError> {
        let covers = |held: &Option<(u64, Bytes)>| {
            held.as_ref().is_some_and(|(start, bytes)| *start <= at && end <= start + bytes.len() as u64)
        };
        if !covers(&self.held)
            && let Some(hot) = self.source.log.hot(at)
        {
            self.held = Some((at, hot));
        }
        match &self.held {
            Some((start, bytes)) if covers(&self.held) => {
                let bytes = bytes.slice((at - start) as usize..(end - start) as usize);
                Ok(Part { bytes, is_from_file: false })
            }
            _ => self.source.log.part(at, end, self.source.access),
        }
    }

    fn keep(&mut self, bytes: Bytes, count: usize) {
        self.count += count;
        self.bytes += bytes.len();
        self.out.push(bytes);
    }

    /// Looks into each record. An entry's hash is not proof enough for a filter; and what a disk damaged is passed
    /// over like a message that was lost, because a consumer could neither read it nor get past it.
    fn keep_some(&mut self, at: u64, part: &Part, entries: &[Entry]) {
        let (mut kept, mut count) = (0..0, 0);
        for entry in entries {
            let start = (entry.log.0 - at) as usize;
            let range = start..start + entry.size as usize;
            if !self.wants(entry, &part.bytes[range.clone()], part.is_from_file) {
                continue;
            }
            if kept.end != range.start {
                self.keep_range(&part.bytes, std::mem::replace(&mut kept, range.start..range.start), count);
                count = 0;
            }
            kept.end = range.end;
            count += 1;
        }
        self.keep_range(&part.bytes, kept, count);
    }

    fn keep_range(&mut self, bytes: &Bytes, range: Range<usize>, count: usize) {
        if !range.is_empty() {
            self.keep(bytes.slice(range), count);
        }
    }

    /// A time that is no number is none.
    fn is_over(&self, record: &Record<'_>) -> bool {
        let Some(now) = self.expiry else { return false };
        let until = record.property(properties::EXPIRES).and_then(|until| until.parse::<i64>().ok());
        until.is_some_and(|until| until <= now.0)
    }

    fn wants(&mut self, entry: &Entry, bytes: &[u8], is_from_file: bool) -> bool {
        // Whether what is not wanted is whole does not matter.
        if let Some(noted) = &mut self.noted
            && let Some(text) = record::properties_of(bytes)
        {
            noted.text.push_str(text);
            noted.records.push((entry.log, noted.text.len()));
            if !self.filter.by_properties(text) {
                return false;
            }
        }
        let checked = Record::parse(bytes).map_err(|e| e.to_string()).and_then(|record| {
            if is_from_file {
                dispatch::check(&record, entry.log.0)?;
            }
            // A drive that lied may have left the entry of an earlier life of the log.
            if record.len() != bytes.len() {
                return Err(format!("its entry says {} bytes, it has {}", bytes.len(), record.len()));
            }
            Ok(record)
        });
        match checked {
            Ok(record) if self.is_over(&record) => {
                self.source.expired.add(1);
                false
            }
            Ok(record) => self.filter.by_record(&record),
            Err(why) => {
                tracing::warn!(offset = entry.log.0, why, "a damaged message is passed over");
                false
            }
        }
    }
}
