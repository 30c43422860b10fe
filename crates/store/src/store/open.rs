// SPDX-License-Identifier: Apache-2.0
//! Opening a store: locks, stages, recovery, replay of the views, and a sequencer that goes on where the log ends.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;
use protocol::names::LogOffset;
use stdx::{Clock, Timestamp};

use super::{FactsTail, Store, Upkeep};
use crate::append::Sequencer;
use crate::cold::Readers;
use crate::config::{Durability, StoreConfig};
use crate::disk::Disk;
use crate::dispatch::Dispatch;
use crate::drain::Drain;
use crate::error::OpenError;
use crate::flush::Flush;
use crate::health::Health;
use crate::lag::Lag;
use crate::lock::{self, StageHome};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::recovery::{Ground, Opened};
use crate::segment::{self, OpenFiles};
use crate::stage::{self, Stages};
use crate::views::{Views, ViewsConfig};
use crate::watermarks::Watermarks;

/// Directory of the segments, named as Apache names it.
pub(super) const LOG_DIR: &str = "commitlog";
/// Directory of the views.
pub(super) const VIEWS_DIR: &str = "views";
/// Directory of damage that was set aside.
const DAMAGED_DIR: &str = "damaged";

impl Store {
    /// Opens or makes the store in `config.dir`, recovers what a crash left, and is then ready for everything.
    pub fn open(config: StoreConfig, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Store, OpenError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(OpenError::Config(problems.join("; ")));
        }
        let dir = config.dir.clone();
        disk.create_dir(&dir).map_err(OpenError::io(format!("making {}", dir.display())))?;
        let lock = lock::lock(&*disk, &dir)?;
        let recovered = recover(&config, &disk)?;
        let home = settle_home(&config, &disk, recovered.home)?;
        let log_dir = dir.join(LOG_DIR);
        let stages =
            Stages::new(disk.clone(), home.dir.clone(), home.owner, config.stage_size, config.stages_max);
        let log = Log::new(
            disk.clone(),
            &log_dir,
            recovered.segments,
            config.segment_size,
            config.direct_min,
            stages,
        );
        let opened = recovered.opened;
        let (start, end) = (opened.start.0, opened.end.0);
        log.make_ready(end).map_err(OpenError::io("taking room for the log"))?;
        let marks = Watermarks::new(config.durability, start);
        marks.advance_written(end);
        marks.advance_drained(end);
        let durable = match config.durability {
            // What was promised to survive a power cut must not be shown before it does.
            Durability::Disk => {
                log.sync(opened.resumed.0, end).map_err(OpenError::io("flushing the log"))?;
                end
            }
            Durability::Memory => opened.resumed.0,
        };
        marks.advance_durable(durable);
        marks.advance_dispatched(end);
        let sequencer = first_stage(&log, end, recovered.last_stored)?;
        Ok(Store {
            log,
            marks,
            health: Health::default(),
            views: recovered.views,
            sequencer,
            drain: Drain::new(config.page_cache),
            flush: Flush::default(),
            dispatch: Dispatch::default(),
            facts: Mutex::new(FactsTail::default()),
            ends: Mutex::default(),
            digests: Mutex::default(),
            readers: Readers::default(),
            upkeep: Mutex::new(Upkeep::new(clock.now(), opened.resumed.0, end)),
            unread_floor: AtomicU64::new(0),
            owed: Mutex::default(),
            is_stuck: AtomicBool::new(false),
            is_light: AtomicBool::new(true),
            metrics: Metrics::default(),
            lag: Lag::default(),
            opened,
            home: Mutex::new(home),
            config,
            disk,
            clock,
            _lock: lock,
        })
    }
}

/// Records between two looks at how much the views hold in memory.
const CHECK_EACH: u64 = 1 << 14;

struct Recovered {
    segments: Vec<segment::Segment>,
    views: Views,
    opened: Opened,
    last_stored: Timestamp,
    home: Option<StageHome>,
}

fn recover(config: &StoreConfig, disk: &Arc<dyn Disk>) -> Result<Recovered, OpenError> {
    let log_dir = config.dir.join(LOG_DIR);
    disk.create_dir(&log_dir).map_err(OpenError::io(format!("making {}", log_dir.display())))?;
    let files = OpenFiles::new(disk.clone(), log_dir.clone());
    let mut ground = Ground {
        disk: &**disk,
        files: &files,
        segments: segment::list(&**disk, &log_dir).map_err(OpenError::io("listing the log"))?,
        segment_size: config.segment_size,
        damaged_dir: Some(config.dir.join(DAMAGED_DIR)),
    };
    let mut opened = Opened::default();
    // A process that was killed while it made a segment may have left a name that is not lasting.
    files.sync_dir().map_err(OpenError::io("making the names of the log's files lasting"))?;
    ground.mend().map_err(OpenError::io("mending the log's files"))?;
    let home = StageHome::find(&**disk, &config.dir)?;
    let left = match &home {
        Some(home) => stage::left_behind(&**disk, &home.dir, home.owner)
            .map_err(OpenError::io(format!("reading stages in {}", home.dir.display())))?,
        None => Vec::new(),
    };
    let known_end = ground.pour(&left, &mut opened).map_err(OpenError::io("writing what stages hold"))?;
    opened.start = LogOffset(ground.segments.first().map_or(0, |first| first.base));
    let views_config = ViewsConfig {
        arena: config.arena,
        queue_limit: config.queue_limit,
        ..ViewsConfig::new(config.dir.join(VIEWS_DIR))
    };
    let (views, last_stored) = match replay(&ground, &views_config, disk, known_end, &mut opened)? {
        Some(replayed) => replayed,
        // The views had seen more than there is: a disk lied about a sync. The log decides.
        None => {
            Views::erase(&views_config.dir, disk)?;
            replay(&ground, &views_config, disk, known_end, &mut opened)?
                .expect("views without a checkpoint begin at the log's start")
        }
    };
    // Where stages say that the log ends, nothing was ever written behind.
    if known_end != Some(opened.end.0) {
        ground.cut(opened.end.0, &mut opened).map_err(OpenError::io("erasing the torn end of the log"))?;
    }
    Ok(Recovered { segments: ground.segments, views, opened, last_stored, home })
}

/// Opens the views and applies the log to them. `None` when their checkpoint lies behind the end of the log.
fn replay(
    ground: &Ground<'_>,
    views_config: &ViewsConfig,
    disk: &Arc<dyn Disk>,
    known_end: Option<u64>,
    opened: &mut Opened,
) -> Result<Option<(Views, Timestamp)>, OpenError> {
    let (views, from) = Views::open(views_config.clone(), disk, opened.start)?;
    if let Some(damage) = &from.damage {
        tracing::warn!(damage, "the views are built anew from the log");
    }
    tracing::debug!(?from, "views opened");
    (opened.resumed, opened.checkpoint_damage) = (from.resume, from.damage);
    let is_inside = from.resume.0 <= ground.end() && known_end.is_none_or(|end| from.resume.0 <= end);
    if !is_inside {
        return Ok(None);
    }
    let mut count = 0u64;
    let walked = ground.walk(from.resume.0, known_end, opened, |record, at, is_torn| {
        count += 1;
        // A long replay does not gather all of its changes in memory.
        if count.is_multiple_of(CHECK_EACH) && views.wants_checkpoint() {
            ground.sync(from.resume.0, at.0)?;
            views.checkpoint(at).map_err(WalkError::Views)?;
        }
        views.replay(record, at, is_torn).map_err(WalkError::Views)
    });
    let (end, last_stored) = walked.map_err(|e| match e {
        WalkError::Io(source) => OpenError::Io { what: "reading the log".to_owned(), source },
        WalkError::Views(e) => OpenError::Views(e),
    })?;
    opened.end = LogOffset(end);
    views.go_live();
    Ok(Some((views, last_stored)))
}

enum WalkError {
    Io(std::io::Error),
    Views(crate::views::ViewError),
}

impl From<std::io::Error> for WalkError {
    fn from(e: std::io::Error) -> WalkError {
        WalkError::Io(e)
    }
}

/// Empties the old home of stages, or makes a new one where the configuration wants it. What stages held is in the
/// log's files by now, where a process crash does not reach it.
fn settle_home(
    config: &StoreConfig,
    disk: &Arc<dyn Disk>,
    home: Option<StageHome>,
) -> Result<StageHome, OpenError> {
    let make = || {
        let room = (2 * config.stage_size) as u64;
        StageHome::make(disk, &config.dir, config.stage_dir.as_deref(), room)
    };
    let remove_old = |dir: &Path| {
        stage::remove_all(&**disk, dir)
            .map_err(OpenError::io(format!("removing stages in {}", dir.display())))
    };
    match home {
        None => make(),
        Some(mut home) if home.is_wanted(config.stage_dir.as_deref()) => {
            home.disown(&**disk).map_err(OpenError::io("noting that stages are used up"))?;
            remove_old(&home.dir)?;
            Ok(home)
        }
        Some(old) => {
            let home = make()?;
            remove_old(&old.dir)?;
            let dir = old.dir.clone();
            drop(old);
            remove_home(&**disk, &dir);
            Ok(home)
        }
    }
}

/// Removes an empty home; one that holds something else stays.
pub(super) fn remove_home(disk: &dyn Disk, dir: &Path) {
    for name in ["owner", "lock"] {
        let _ = disk.remove(&dir.join(name));
    }
    let _ = disk.remove_dir(dir);
}

/// Two stages: one to write, one to come.
fn first_stage(log: &Log, end: u64, last_stored: Timestamp) -> Result<Sequencer, OpenError> {
    let prepare = || log.stages().prepare(end).map_err(OpenError::io("making a stage"));
    prepare()?;
    let stage = log.stages().next(end).expect("a stage was just prepared");
    prepare()?;
    let segment = log.segment(end).expect("room for the log was just taken");
    Ok(Sequencer::new(stage, end, segment.end(), last_stored))
}
