// SPDX-License-Identifier: Apache-2.0
//! Finds out, when a store is opened, where its log ends and what is in it. Called by `Store::open` and by the
//! offline tools; runs alone, before any append.
//!
//! In this order: what earlier stages hold is written to the segments; the log is walked from the views' checkpoint
//! on, each record checked and applied; where it stops making sense, a record that knows its own place is searched
//! for behind. If there is one, what lies between is damage: set aside as a file, reported, its queue offsets
//! become holes. If there is none, the log ends there and what follows is erased, lastingly, so that it can never
//! be taken for records later.
//! Invariants: doing it again finds the same log; nothing that a finished promise covers is cut or set aside unless
//! the disk lost it.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use protocol::names::LogOffset;
use protocol::record::{self, Record, Scan};
use stdx::Timestamp;

use crate::disk::{Disk, DiskFile, OpenMode, read_exact_at};
use crate::segment::{OpenFiles, Segment};
use crate::stage::Stage;

mod search;

use search::{erase, find_record, first_byte};

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The first byte of the log.
    pub start: LogOffset,
    /// One past the last record.
    pub end: LogOffset,
    /// Where the views' checkpoint stood, and the walk began.
    pub resumed: LogOffset,
    /// Why the views' checkpoint was not used, if it was not: the whole log was walked instead.
    pub checkpoint_damage: Option<String>,
    /// Records walked and applied.
    pub replayed: u64,
    /// Bytes that only stages held.
    pub from_stages: u64,
    /// Bytes of a torn tail that were erased.
    pub cut: u64,
    /// Damage with records behind it.
    pub damaged: Vec<Damage>,
    /// Stages that do not belong to the log and were not used.
    pub foreign_stages: u32,
}

/// A part of the log that is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its first byte.
    pub start: LogOffset,
    /// One past its last byte.
    pub end: LogOffset,
    /// Where its bytes were put, if they were.
    pub file: Option<PathBuf>,
}

/// The files of the log while nobody else uses them.
pub(crate) struct Ground<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) files: &'a OpenFiles,
    pub(crate) segments: Vec<Segment>,
    pub(crate) segment_size: u64,
    /// Where damage is set aside; without it, it is only reported.
    pub(crate) damaged_dir: Option<PathBuf>,
}

/// How much is read at once.
const CHUNK: usize = 1 << 20;

impl Ground<'_> {
    /// Makes the segments adjacent and the last one whole: a power cut may have taken a file's length.
    pub(crate) fn mend(&mut self) -> io::Result<()> {
        let mut mended: Vec<Segment> = Vec::with_capacity(self.segments.len() + 1);
        let mut rest: VecDeque<_> = std::mem::take(&mut self.segments).into();
        while let Some(mut segment) = rest.pop_front() {
            let whole = self.segment_size.max(segment.size);
            let gap = rest.front().map_or(whole, |next| next.base - segment.base);
            if segment.size > gap {
                let message = format!("segment {} overlaps the next one", segment.file_name());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            if segment.size < whole.min(gap) {
                segment.size = whole.min(gap);
                let file = self.files.get(&segment)?;
                file.allocate(segment.size)?;
                file.sync_data()?;
            }
            if segment.size < gap {
                // A whole file is missing. Its place is damage like any other.
                let missing = Segment { base: segment.end(), size: whole.min(gap - segment.size) };
                self.files.create(&missing)?;
                rest.push_front(missing);
            }
            mended.push(segment);
        }
        self.segments = mended;
        Ok(())
    }

    /// Writes what stages of the last process hold and the files do not. Returns where the log must end if it is
    /// whole, and the bytes written; `None` when no stage tells.
    pub(crate) fn pour(&mut self, stages: &[Stage], opened: &mut Opened) -> io::Result<Option<u64>> {
        let mut end = None;
        for stage in stages {
            if self.segments.last().is_none_or(|last| last.end() == stage.base()) {
                let segment = Segment { base: stage.base(), size: self.segment_size };
                self.files.create(&segment)?;
                self.segments.push(segment);
            }
            let Some(segment) = self.segment(stage.base()).filter(|segment| stage.limit() <= segment.end())
            else {
                opened.foreign_stages += 1;
                continue;
            };
            let from = stage.drained();
            let bytes = stage.bytes_from(from);
            if !bytes.is_empty() {
                self.files.get(&segment)?.write_at(bytes, from - segment.base)?;
            }
            opened.from_stages += bytes.len() as u64;
            end = end.max(Some(stage.limit()));
        }
        Ok(end)
    }

    /// Walks the log from `from` and gives each record to `apply`, with whether damage was passed before. `known_end` is
    /// where a log that lost nothing ends. Returns the end and the store time of the last record.
    pub(crate) fn walk<E: From<io::Error>>(
        &self,
        from: u64,
        known_end: Option<u64>,
        opened: &mut Opened,
        mut apply: impl FnMut(&Record<'_>, LogOffset, bool) -> Result<(), E>,
    ) -> Result<(u64, Timestamp), E> {
        let mut reader = Reader::new(self);
        let limit = known_end.unwrap_or(u64::MAX).min(self.end());
        let mut at = from;
        let mut last_stored = Timestamp(0);
        let mut is_torn = !opened.damaged.is_empty();
        while at < limit {
            match reader.at(at)? {
                Found::Record(record) => {
                    apply(&record, LogOffset(at), is_torn)?;
                    last_stored = last_stored.max(record.stored_at());
                    opened.replayed += 1;
                    at += record.len() as u64;
                }
                Found::Next(base) => at = base,
                Found::Nothing => match find_record(self, at + 1, limit)? {
                    Some(next) => {
                        opened.damaged.push(self.set_aside(at, next)?);
                        is_torn = true;
                        at = next;
                    }
                    None => break,
                },
            }
        }
        Ok((at, last_stored))
    }

    /// Makes `from..to` lasting.
    pub(crate) fn sync(&self, from: u64, to: u64) -> io::Result<()> {
        let mut touched = self.segments.iter().filter(|segment| segment.base < to && segment.end() > from);
        touched.try_for_each(|segment| self.files.get(segment)?.sync_data())
    }

    /// Erases everything from `end` on.
    pub(crate) fn cut(&self, end: u64, opened: &mut Opened) -> io::Result<()> {
        for segment in self.segments.iter().filter(|segment| segment.end() > end) {
            opened.cut +=
                erase(&*self.files.get(segment)?, end.max(segment.base) - segment.base, segment.size)?;
        }
        Ok(())
    }

    /// Copies a damaged part of the log to a file of its own.
    fn set_aside(&self, start: u64, end: u64) -> io::Result<Damage> {
        let damage = |file| Damage { start: LogOffset(start), end: LogOffset(end), file };
        let Some(dir) = &self.damaged_dir else { return Ok(damage(None)) };
        self.disk.create_dir(dir)?;
        let path = dir.join(format!("{start:020}-{end:020}"));
        let copy = self.disk.open(&path, OpenMode::Replace)?;
        let mut at = start;
        while at < end {
            let segment = self.segment(at).expect("the part lies in the log");
            let file = self.files.get(&segment)?;
            let stop = end.min(segment.end());
            // A long run of nothing stays a hole in the copy.
            let Some(from) = first_byte(&*file, at - segment.base, stop - segment.base)? else {
                at = stop;
                continue;
            };
            let from = from + segment.base;
            let mut bytes = vec![0; ((stop - from) as usize).min(CHUNK)];
            read_exact_at(&*file, &mut bytes, from - segment.base)?;
            copy.write_at(&bytes, from - start)?;
            at = from + bytes.len() as u64;
        }
        copy.sync_data()?;
        self.disk.sync_dir(dir)?;
        tracing::warn!(start, end, file = %path.display(), "a damaged part of the log was set aside");
        Ok(damage(Some(path)))
    }

    pub(crate) fn segment(&self, at: u64) -> Option<Segment> {
        let index = self.segments.partition_point(|segment| segment.base <= at).checked_sub(1)?;
        Some(self.segments[index].clone()).filter(|segment| at < segment.end())
    }

    pub(crate) fn end(&self) -> u64 {
        self.segments.last().map_or(0, Segment::end)
    }
}

/// What lies at an offset of the log.
pub(crate) enum Found<'a> {
    Record(Record<'a>),
    /// A filler; the log continues at this segment.
    Next(u64),
    /// Zeros, damage, or the middle of something.
    Nothing,
}

/// True for a record that belongs at `at` and of which nothing is missing; in its file it lies at `in_file`.
fn is_whole(record: &Record<'_>, at: u64, in_file: u64) -> bool {
    crate::dispatch::check(record, at).is_ok() && !lacks_text(record, in_file)
}

/// What a disk writes at once or not at all.
const SECTOR: u64 = 512;

/// True when some of what stands behind the body was never written. The checksum covers the body only: after a power
/// cut, topic and properties may be missing from a record whose body is there. Both are text: it does not end with a
/// zero, and never has a sector of them.
fn lacks_text(record: &Record<'_>, at: u64) -> bool {
    // A record without properties ends with their length: two zeros.
    let text_end = record.len() - if record.properties().is_empty() { 2 } else { 0 };
    let text = record.topic().len() + record.properties().len() + 2;
    let (mut from, end) = (at + (record.len() - text) as u64, at + text_end as u64);
    if record.raw()[text_end - 1] == 0 {
        return true;
    }
    while from < end {
        let to = end.min((from / SECTOR + 1) * SECTOR);
        let piece = &record.raw()[(from - at) as usize..(to - at) as usize];
        if from % SECTOR == 0 && piece.iter().all(|byte| *byte == 0) {
            return true;
        }
        from = to;
    }
    false
}

/// Reads a log from front to back through one buffer.
pub(crate) struct Reader<'a> {
    ground: &'a Ground<'a>,
    /// The segment in the buffer, its file, and the bytes from `start` on.
    current: Option<(Segment, std::sync::Arc<dyn DiskFile>)>,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(ground: &'a Ground<'a>) -> Reader<'a> {
        Reader { ground, current: None, start: 0, bytes: Vec::new() }
    }

    /// Looks at `at`: a record counts only if it is whole, unharmed, and knows that this is its place.
    pub(crate) fn at(&mut self, at: u64) -> io::Result<Found<'_>> {
        let Some(segment_end) = self.fill(at, record::MIN_LEN)? else { return Ok(Found::Nothing) };
        let room = segment_end - at;
        let mut size = 0;
        if let Some(head) = self.rest(at).first_chunk::<4>() {
            size = u32::from_be_bytes(*head) as usize;
        }
        if (record::MIN_LEN..=record::MAX_LEN).contains(&size) && size as u64 <= room {
            self.fill(at, size)?;
        }
        let in_file = self.current.as_ref().map_or(0, |(segment, _)| at - segment.base);
        Ok(match record::scan(self.rest(at)) {
            Scan::Record(record) if is_whole(&record, at, in_file) => Found::Record(record),
            Scan::Blank { len } if len as u64 == room => Found::Next(segment_end),
            _ => Found::Nothing,
        })
    }

    fn rest(&self, at: u64) -> &[u8] {
        &self.bytes[(at - self.start) as usize..]
    }

    /// Has at least `len` bytes from `at` in the buffer if the segment has them. Returns the segment's end.
    fn fill(&mut self, at: u64, len: usize) -> io::Result<Option<u64>> {
        let is_inside = matches!(&self.current, Some((s, _)) if s.base <= at && at < s.end());
        if !is_inside {
            let Some(segment) = self.ground.segment(at) else { return Ok(None) };
            let file = self.ground.files.get(&segment)?;
            (self.current, self.start) = (Some((segment, file)), at);
            self.bytes.clear();
        }
        let (segment, file) = self.current.as_ref().expect("it was just set");
        let have = (self.start + self.bytes.len() as u64).saturating_sub(at);
        let want = (len as u64).min(segment.end() - at);
        if at < self.start || have < want {
            let take = (segment.end() - at).min(CHUNK.max(len) as u64) as usize;
            self.bytes.resize(take, 0);
            self.start = at;
            read_exact_at(&**file, &mut self.bytes, at - segment.base)?;
        }
        Ok(Some(segment.end()))
    }
}
