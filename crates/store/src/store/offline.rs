// SPDX-License-Identifier: Apache-2.0
//! Looking at a store that is not running: what its log holds, whether its views agree with the log, and having them
//! built anew. Called by `kiruna store inspect|verify|rebuild`; each takes the directory's lock, so none can meet a
//! running server.
//! Invariant: `inspect` and `verify` leave the log and the checkpoint of its views as they are; what they write lies where
//! no checkpoint looks.

use std::io;
use std::path::Path;
use std::sync::Arc;

use protocol::names::LogOffset;
use protocol::record::Record;
use stdx::Timestamp;

use super::Store;
use super::open::{LOG_DIR, VIEWS_DIR};
use crate::arena::ArenaShape;
use crate::disk::{DirLock, Disk};
use crate::error::OpenError;
use crate::lock::{self, StageHome};
use crate::recovery::{Damage, Ground, Opened};
use crate::segment::{self, OpenFiles};
use crate::stage;
use crate::views::{Difference, ViewError, Views, ViewsConfig, ViewsUsage};

/// What a store holds, read from its files.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The segments, oldest first.
    pub segments: Vec<SegmentSummary>,
    /// Pieces of the log that are still in stages: start and end of each.
    pub stages: Vec<(LogOffset, LogOffset)>,
    /// The views as the checkpoint has them.
    pub views: ViewsUsage,
    /// The next open replays the log from here.
    pub resume: LogOffset,
}

/// One file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// The log offset of its first byte.
    pub base: LogOffset,
    /// Its bytes.
    pub size: u64,
    /// Records in it.
    pub records: u64,
    /// When its first and its last record were stored.
    pub stored: Option<(Timestamp, Timestamp)>,
    /// Parts that hold no record though records follow.
    pub damaged: Vec<Damage>,
}

/// Whether log and views agree.
#[derive(Clone, Debug)]
pub struct Verification {
    /// Records that were read and checked.
    pub records: u64,
    /// The log that was checked.
    pub log: (LogOffset, LogOffset),
    /// Parts of the log that are lost.
    pub damaged: Vec<Damage>,
    /// What the views say otherwise than the log; the first hundred.
    pub differences: Vec<Difference>,
}

/// How the arena of views without a checkpoint begins: small, it is thrown away.
const SMALL: ArenaShape = ArenaShape { top_class: 12, first_blocks: 1, max_blocks: 4096 };
/// More differences say nothing more.
const DIFFERENCES: usize = 100;
/// Where views are built to compare with; removed afterwards.
const SCRATCH_DIR: &str = "verify";

impl Store {
    /// Reads what a store holds.
    pub fn inspect(dir: &Path, disk: Arc<dyn Disk>) -> Result<Inspection, OpenError> {
        let offline = Offline::open(dir, disk)?;
        let mut segments = Vec::new();
        let ground = offline.ground();
        let mut at = ground.segments.first().map_or(0, |first| first.base);
        for segment in &ground.segments {
            let (mut stored, mut opened) = (None, Opened::default());
            at = at.max(segment.base);
            let note = |record: &Record<'_>, _, _| {
                let (first, last) = stored.unwrap_or((record.stored_at(), record.stored_at()));
                stored = Some((first, last.max(record.stored_at())));
                io::Result::Ok(())
            };
            at = ground.walk(at, Some(segment.end()), &mut opened, note).map_err(reading)?.0;
            segments.push(SegmentSummary {
                base: LogOffset(segment.base),
                size: segment.size,
                records: opened.replayed,
                stored,
                damaged: opened.damaged,
            });
        }
        let (views, resume) = offline.views(VIEWS_DIR, SMALL)?;
        Ok(Inspection { segments, stages: offline.stages()?, views: views.usage(), resume })
    }

    /// Reads the whole log, checks each record, and compares the views with what the log says.
    pub fn verify(dir: &Path, disk: Arc<dyn Disk>) -> Result<Verification, OpenError> {
        let offline = Offline::open(dir, disk)?;
        let ground = offline.ground();
        let (views, resume) = offline.views(VIEWS_DIR, SMALL)?;
        offline.clear_scratch()?;
        let (replayed, start) = offline.views(SCRATCH_DIR, views.arena_shape())?;
        let mut opened = Opened::default();
        let apply = |views: &Views, record: &Record<'_>, at, is_torn| {
            views.replay(record, at, is_torn).map_err(|e| io::Error::other(e.to_string()))
        };
        let only_new = |record: &Record<'_>, at, is_torn| apply(&replayed, record, at, is_torn);
        let at = ground.walk(start.0, Some(resume.0), &mut opened, only_new).map_err(reading)?.0;
        // What a removed segment proved may have been written again behind the checkpoint: compared is at the end.
        let both = |record: &Record<'_>, at, is_torn| {
            apply(&views, record, at, is_torn).and_then(|()| apply(&replayed, record, at, is_torn))
        };
        let (end, _) = ground.walk(at.max(resume.0), None, &mut opened, both).map_err(reading)?;
        views.check()?;
        // Entries below the start may linger in a checkpoint that is older than the last removal.
        views.retain(start);
        replayed.retain(start);
        let differences = views.compare(&replayed, DIFFERENCES)?;
        drop(replayed);
        offline.clear_scratch()?;
        Ok(Verification {
            records: opened.replayed,
            log: (start, LogOffset(end)),
            damaged: opened.damaged,
            differences,
        })
    }

    /// Forgets the views, so that the next open builds them from the whole log.
    pub fn rebuild(dir: &Path, disk: Arc<dyn Disk>) -> Result<(), OpenError> {
        let _lock = lock::lock(&*disk, dir)?;
        Views::erase(&dir.join(VIEWS_DIR), &disk)?;
        Ok(())
    }
}

fn reading(source: io::Error) -> OpenError {
    OpenError::Io { what: "reading the log".to_owned(), source }
}

/// A data directory that nobody else uses.
struct Offline<'a> {
    dir: &'a Path,
    disk: Arc<dyn Disk>,
    files: OpenFiles,
    segments: Vec<segment::Segment>,
    _lock: Box<dyn DirLock>,
}

impl<'a> Offline<'a> {
    fn open(dir: &'a Path, disk: Arc<dyn Disk>) -> Result<Offline<'a>, OpenError> {
        let _lock = lock::lock(&*disk, dir)?;
        let log_dir = dir.join(LOG_DIR);
        let segments = segment::list(&*disk, &log_dir).map_err(OpenError::io("listing the log"))?;
        let files = OpenFiles::new(disk.clone(), log_dir);
        Ok(Offline { dir, files, segments, _lock, disk })
    }

    fn ground(&self) -> Ground<'_> {
        Ground {
            disk: &*self.disk,
            files: &self.files,
            segments: self.segments.clone(),
            segment_size: 0,
            damaged_dir: None,
        }
    }

    /// A directory that has views keeps its shape; `arena` is for one that has none.
    fn views(&self, name: &str, arena: ArenaShape) -> Result<(Views, LogOffset), ViewError> {
        let start = LogOffset(self.segments.first().map_or(0, |first| first.base));
        let config = ViewsConfig { arena, ..ViewsConfig::new(self.dir.join(name)) };
        let (views, opened) = Views::open(config, &self.disk, start)?;
        Ok((views, opened.resume))
    }

    fn stages(&self) -> Result<Vec<(LogOffset, LogOffset)>, OpenError> {
        let Some(home) = StageHome::find(&*self.disk, self.dir)? else { return Ok(Vec::new()) };
        let left = stage::left_behind(&*self.disk, &home.dir, home.owner)
            .map_err(OpenError::io(format!("reading stages in {}", home.dir.display())))?;
        Ok(left.iter().map(|stage| (LogOffset(stage.base()), LogOffset(stage.limit()))).collect())
    }

    fn clear_scratch(&self) -> Result<(), OpenError> {
        let dir = self.dir.join(SCRATCH_DIR);
        let clear = || -> io::Result<()> {
            let entries = match self.disk.list(&dir) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other?,
            };
            for entry in entries {
                self.disk.remove(&dir.join(entry.name))?;
            }
            self.disk.remove_dir(&dir)
        };
        clear().map_err(OpenError::io(format!("clearing {}", dir.display())))
    }
}
