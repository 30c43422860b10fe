// SPDX-License-Identifier: Apache-2.0
//! The commit log as one run of bytes: segments on disk, and on top of them the stages in memory. Asked by
//! dispatch, reads and recovery for bytes at an offset; told by the sequencer, the drain and retention what changes.
//!
//! Invariants: segments are adjacent and sorted; every byte from the first segment's base to `written` is in a
//! stage or, below `drained`, in a segment; bytes below `written` never change.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};
use protocol::names::LogOffset;
use protocol::record;

use crate::disk::{DIRECT_ALIGN, Disk};
use crate::error::ReadError;
use crate::segment::{OpenFiles, Segment};
use crate::stage::{Stage, Stages};

/// How far a read may go to get its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Memory only: stages and what the system has cached. Never waits.
    Cached,
    /// The device too.
    Device,
}

/// Bytes of the log.
pub(crate) struct Part {
    pub(crate) bytes: Bytes,
    /// True when a disk may have changed them since they were written.
    pub(crate) is_from_file: bool,
}

pub(crate) struct Log {
    files: OpenFiles,
    stages: Stages,
    segments: RwLock<VecDeque<Segment>>,
    segment_size: u64,
    /// End of the last segment whose room is taken.
    ready_end: AtomicU64,
    /// One maker of segments at a time.
    making: Mutex<()>,
    /// Fewer bytes are not worth a wait for the device.
    direct_min: u64,
    /// How often a reader of a queue was behind what the stages hold.
    lagging: AtomicU64,
}

impl Log {
    /// `segments` are adjacent and sorted.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segments: Vec<Segment>,
        segment_size: u64,
        direct_min: u64,
        stages: Stages,
    ) -> Log {
        for pair in segments.windows(2) {
            assert_eq!(pair[0].end(), pair[1].base, "segments are adjacent");
        }
        let ready_end = segments.last().map_or(0, Segment::end);
        Log {
            files: OpenFiles::new(disk, dir.to_owned()),
            stages,
            segments: RwLock::new(segments.into()),
            segment_size,
            ready_end: AtomicU64::new(ready_end),
            making: Mutex::new(()),
            direct_min,
            lagging: AtomicU64::new(0),
        }
    }

    /// How often a reader of a queue was behind what the stages hold.
    pub(crate) fn lagging(&self) -> u64 {
        self.lagging.load(Ordering::Relaxed)
    }

    pub(crate) fn stages(&self) -> &Stages {
        &self.stages
    }

    /// The most bytes that can be appended at once: they fit a stage and a segment, with room for a filler.
    pub(crate) fn append_max(&self) -> usize {
        let segment = usize::try_from(self.segment_size).unwrap_or(usize::MAX);
        self.stages.capacity().min(segment) - record::BLANK_MIN
    }

    /// All segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<Segment> {
        self.segments.read().iter().cloned().collect()
    }

    /// The segment that holds, or will hold, the byte at `offset`.
    pub(crate) fn segment(&self, offset: u64) -> Option<Segment> {
        let segments = self.segments.read();
        let index = segments.partition_point(|segment| segment.base <= offset).checked_sub(1)?;
        (offset < segments[index].end()).then(|| segments[index].clone())
    }

    /// Takes the room for the next segment when less than a quarter of one is left behind `written`.
    pub(crate) fn prepare_segment(&self, written: u64) -> io::Result<()> {
        self.make_ready(written + self.segment_size / 4)
    }

    /// Makes segments until the byte at `offset` has room.
    pub(crate) fn make_ready(&self, offset: u64) -> io::Result<()> {
        let _making = self.making.lock();
        while self.ready_end.load(Ordering::Acquire) <= offset {
            let base = self.ready_end.load(Ordering::Acquire);
            let segment = Segment { base, size: self.segment_size };
            self.files.create(&segment)?;
            self.segments.write().push_back(segment);
            self.ready_end.store(base + self.segment_size, Ordering::Release);
        }
        Ok(())
    }

    /// End of the last segment whose room is taken.
    pub(crate) fn ready_end(&self) -> u64 {
        self.ready_end.load(Ordering::Acquire)
    }

    /// Removes the first segment, unless it is the only one. Returns the new start of the log.
    pub(crate) fn remove_first(&self) -> io::Result<Option<u64>> {
        let (first, start) = {
            let mut segments = self.segments.write();
            if segments.len() < 2 {
                return Ok(None);
            }
            let first = segments.pop_front().expect("two segments are there");
            (first, segments[0].base)
        };
        self.files.remove(&first)?;
        self.files.sync_dir()?;
        Ok(Some(start))
    }

    /// Writes drained bytes. `data` lies within one segment.
    pub(crate) fn write(&self, data: &[u8], at: u64) -> io::Result<()> {
        let segment = self.segment(at).expect("room was taken before the bytes were appended");
        assert!(at + data.len() as u64 <= segment.end(), "a stage lies within one segment");
        self.files.get(&segment)?.write_at(data, at - segment.base)
    }

    /// Writes the whole blocks of drained bytes past the system's memory and, if there are any, the bytes in front of them;
    /// returns where they end. `None`, and nothing done, when that is not worth it or not possible.
    pub(crate) fn write_direct(&self, data: &[u8], at: u64) -> io::Result<Option<u64>> {
        let segment = self.segment(at).expect("room was taken before the bytes were appended");
        let block = DIRECT_ALIGN as u64;
        let (from, to) = (at.next_multiple_of(block), (at + data.len() as u64) / block * block);
        if to < from + self.direct_min || !segment.base.is_multiple_of(block) {
            return Ok(None);
        }
        let (front, rest) = data.split_at((from - at) as usize);
        let file = self.files.get(&segment)?;
        if !front.is_empty() {
            file.write_at(front, at - segment.base)?;
        }
        file.write_direct_at(&rest[..(to - from) as usize], from - segment.base)?;
        Ok(Some(to))
    }

    /// Asks the device to begin with what was written.
    pub(crate) fn start_writeback(&self, from: u64, to: u64) -> io::Result<()> {
        let Some(segment) = self.segment(from) else { return Ok(()) };
        let to = to.min(segment.end());
        self.files.get(&segment)?.start_writeback(from - segment.base, to - from)
    }

    /// Lets go of the system's copies of `from..to`.
    pub(crate) fn uncache(&self, from: u64, to: u64) -> io::Result<()> {
        for segment in self.segments() {
            let (from, to) = (from.max(segment.base), to.min(segment.end()));
            if from < to {
                self.files.get(&segment)?.uncache(from - segment.base, to - from)?;
            }
        }
        Ok(())
    }

    /// Makes `from..to` lasting.
    pub(crate) fn sync(&self, from: u64, to: u64) -> io::Result<()> {
        for segment in self.segments() {
            if segment.base < to && segment.end() > from {
                self.files.get(&segment)?.sync_data()?;
            }
        }
        Ok(())
    }

    /// Some bytes of `from..to`, at least one, as many as are at hand without a copy or fit one read.
    /// A stage gives whole records; a file may end in the middle of one, then ask again with a larger `most`.
    pub(crate) fn some(&self, from: u64, to: u64, most: usize) -> Result<Part, ReadError> {
        let stage = self.stages.from(from);
        if let Some(stage) = &stage
            && stage.base() <= from
        {
            let bytes = stage.tape().lease(stage.at(from)..stage.at(to.min(stage.limit())));
            return Ok(Part { bytes, is_from_file: false });
        }
        let (segment, to) = self.in_file(from, to, stage)?;
        let len = (to - from).min(most as u64) as usize;
        let bytes = self.read_file(&segment, from, len, Access::Device)?;
        Ok(Part { bytes, is_from_file: true })
    }

    /// The segment that holds `from`, and up to where its file has the log. What lies in front of the first stage in
    /// memory is drained; what lies behind its base may not be.
    fn in_file(&self, from: u64, to: u64, stage: Option<Arc<Stage>>) -> Result<(Segment, u64), ReadError> {
        let to = stage.map_or(to, |stage| to.min(stage.base()));
        let segment = self.segment(from).ok_or_else(|| outside(from))?;
        let to = to.min(segment.end());
        Ok((segment, to))
    }

    /// Everything that memory has from `from` on without a gap, leased. `None` when `from` is not in memory, or when
    /// readers hold so much that leases are not to be had.
    pub(crate) fn hot(&self, from: u64) -> Option<Bytes> {
        let stage = self.stages.find(from).filter(|_| !self.stages.is_pressed())?;
        Some(stage.tape().lease(stage.at(from)..stage.at(stage.limit())))
    }

    /// Bytes from `from` up to `to` or to the next place where memory and files meet, at least one. When `from`
    /// and `to` are the ends of records, so is the end of what is returned.
    pub(crate) fn part(&self, from: u64, to: u64, access: Access) -> Result<Part, ReadError> {
        let part = self.piece(from, to, access);
        if part.as_ref().map_or(true, |part| part.is_from_file) {
            self.lagging.fetch_add(1, Ordering::Relaxed);
        }
        part
    }

    fn piece(&self, from: u64, to: u64, access: Access) -> Result<Part, ReadError> {
        let stage = self.stages.from(from);
        if let Some(stage) = &stage
            && stage.base() <= from
        {
            let range = stage.at(from)..stage.at(to.min(stage.limit()));
            let is_pressed = self.stages.is_pressed();
            let bytes = if is_pressed {
                Bytes::copy_from_slice(&stage.tape().bytes()[range])
            } else {
                stage.tape().lease(range)
            };
            return Ok(Part { bytes, is_from_file: false });
        }
        let (segment, to) = self.in_file(from, to, stage)?;
        let bytes = self.read_file(&segment, from, (to - from) as usize, access)?;
        Ok(Part { bytes, is_from_file: true })
    }

    /// Exactly `from..from + len`, which is one record.
    pub(crate) fn slice(&self, from: u64, len: usize, access: Access) -> Result<Bytes, ReadError> {
        match self.piece(from, from + len as u64, access)?.bytes {
            bytes if bytes.len() == len => Ok(bytes),
            bytes => Err(damaged(from, format!("{} of {len} bytes are there", bytes.len()))),
        }
    }

    fn read_file(
        &self,
        segment: &Segment,
        from: u64,
        len: usize,
        access: Access,
    ) -> Result<Bytes, ReadError> {
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::WouldBlock => ReadError::Cold,
            _ => ReadError::Io { at: LogOffset(from), why: e.to_string().into() },
        };
        let file = self.files.get(segment).map_err(failed)?;
        let mut out = BytesMut::zeroed(len);
        let got = match access {
            Access::Cached => file.read_cached_at(&mut out, from - segment.base),
            Access::Device => file.read_at(&mut out, from - segment.base),
        };
        match got.map_err(failed)? {
            n if n == len => Ok(out.freeze()),
            n => Err(damaged(from, format!("the file ended after {n} of {len} bytes"))),
        }
    }
}

fn outside(at: u64) -> ReadError {
    damaged(at, "no segment holds it".to_owned())
}

fn damaged(at: u64, why: String) -> ReadError {
    ReadError::Damaged { at: LogOffset(at), why: why.into() }
}
