// SPDX-License-Identifier: Apache-2.0
//! Opening the views: the newest complete checkpoint is taken over, or, where there is none that can be used, the
//! views start empty and the whole log is replayed. Nothing here is repaired: a file that does not hold what was
//! written to it makes all views start empty, which is always right.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::names::{LogOffset, QueueId};

use super::save::Saver;
use super::{Applied, ViewError, Views, ViewsConfig};
use crate::arena::{self, Arena, Part};
use crate::checkpoint::item::{Commit, Item, Items};
use crate::checkpoint::{self, CheckpointFile, Found};
use crate::disk::Disk;
use crate::facts::Facts;
use crate::keys::hash::Seeded;
use crate::keys::{KeyEntry, Keys, run};
use crate::queue::QueueRef;
use crate::queues::Queues;
use crate::timer::Timers;
use crate::timer::pending::Pending;
use crate::timer::restore::Restore;

/// How the views came up.
#[derive(Debug, Default)]
pub(crate) struct ViewsOpened {
    /// The replay begins here.
    pub(crate) resume: LogOffset,
    /// True when a checkpoint was taken over.
    pub(crate) from_checkpoint: bool,
    /// Bytes of an unfinished checkpoint that were cut; usual after a crash.
    pub(crate) torn: u64,
    /// Why a checkpoint that was there is not used.
    pub(crate) damage: Option<String>,
}

impl Views {
    /// Opens the views of a log that starts at `log_start`. Replay goes on from [`ViewsOpened`].
    pub(crate) fn open(
        config: ViewsConfig,
        disk: &Arc<dyn Disk>,
        log_start: LogOffset,
    ) -> Result<(Views, ViewsOpened), ViewError> {
        disk.create_dir(&config.dir).map_err(ViewError::disk("create", &config.dir))?;
        let (finished, unfinished) = checkpoint::list(&config.dir, disk)?;
        let newest = finished.last().copied();
        let mut opened = ViewsOpened { resume: log_start, ..ViewsOpened::default() };
        let loaded = match newest.map(|generation| Loader::load(&config, disk, generation, log_start)) {
            None => None,
            Some(Ok((loader, torn))) => {
                opened =
                    ViewsOpened { resume: loader.commit.upto, from_checkpoint: true, torn, damage: None };
                Some(loader)
            }
            // A disk that cannot be read is for the operator to mend, not to be taken for damage.
            Some(Err(error @ ViewError::Disk { .. })) if !is_missing(&error) => return Err(error),
            Some(Err(error)) => {
                opened.damage = Some(error.to_string());
                None
            }
        };
        if loaded.is_some() {
            // A process that died may not have made the name lasting.
            disk.sync_dir(&config.dir).map_err(ViewError::disk("sync", &config.dir))?;
        }
        for name in unfinished.into_iter().chain(stale(&config.dir, disk, loaded.as_ref())?) {
            let path = config.dir.join(name);
            disk.remove(&path).map_err(ViewError::disk("remove", &path))?;
        }
        let next_generation = newest.map_or(1, |generation| generation + 1);
        let views = match loaded {
            Some(loader) => loader.into_views(config, disk, next_generation),
            None => Views::empty(config, disk, next_generation, log_start)?,
        };
        if views.first() < log_start {
            // The log was cut after the last checkpoint, or while a crash came in between.
            views.retain(log_start);
        }
        let ViewsOpened { resume, from_checkpoint, torn, .. } = &opened;
        tracing::info!(offset = resume.0, from_checkpoint, torn, "views opened");
        Ok((views, opened))
    }

    /// Removes the checkpoint, so that the next open starts empty and replays the whole log.
    pub(crate) fn erase(dir: &Path, disk: &Arc<dyn Disk>) -> Result<(), ViewError> {
        disk.create_dir(dir).map_err(ViewError::disk("create", dir))?;
        for generation in checkpoint::list(dir, disk)?.0 {
            let path = dir.join(checkpoint::name(generation));
            disk.remove(&path).map_err(ViewError::disk("remove", &path))?;
        }
        disk.sync_dir(dir).map_err(ViewError::disk("sync", dir))
    }

    fn empty(
        config: ViewsConfig,
        disk: &Arc<dyn Disk>,
        next_generation: u64,
        log_start: LogOffset,
    ) -> Result<Views, ViewError> {
        let commit = Commit { upto: log_start, first: log_start, next_slot: 1, next_run: 1, arena_files: 0 };
        let loader = Loader {
            queues: Queues::new(config.queue_limit),
            arena: Arena::open(&config.dir, disk, config.arena, 0)?,
            keys: Keys::new(&config.dir, disk),
            facts: Facts::default(),
            timers: Restore::default(),
            pending: Pending::default(),
            slots: HashMap::default(),
            withheld: Vec::new(),
            runs: Vec::new(),
            entries: Vec::new(),
            commit,
            generation: 0,
            file: None,
        };
        Ok(loader.into_views(config, disk, next_generation))
    }
}

fn is_missing(error: &ViewError) -> bool {
    matches!(error, ViewError::Disk { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

/// Files that nothing names: left behind by a crash, or by a checkpoint that is not used.
fn stale(dir: &Path, disk: &Arc<dyn Disk>, loaded: Option<&Loader>) -> Result<Vec<String>, ViewError> {
    let mut needed: Vec<String> = Vec::new();
    if let Some(loader) = loaded {
        needed.push(checkpoint::name(loader.generation));
        needed.extend(loader.runs.iter().map(|&id| run::name(id)));
        needed.extend((0..loader.commit.arena_files as usize).map(arena::name));
    }
    let is_ours =
        |name: &str| ["checkpoint-", "keys-", "arena-"].iter().any(|prefix| name.starts_with(prefix));
    needed.sort_unstable();
    let names = disk.list(dir).map_err(ViewError::disk("list", dir))?.into_iter().map(|entry| entry.name);
    // Unfinished checkpoints are listed by the caller.
    let stale = names.filter(|name| is_ours(name) && !name.ends_with(".new"));
    Ok(stale.filter(|name| needed.binary_search(name).is_err()).collect())
}

/// Views in the making.
struct Loader {
    queues: Queues,
    arena: Arena,
    keys: Keys,
    facts: Facts,
    timers: Restore,
    pending: Pending,
    slots: HashMap<u64, QueueRef, Seeded>,
    /// Parts that frames behind the full checkpoint gave up; the full one still names them.
    withheld: Vec<Part>,
    runs: Vec<u64>,
    entries: Vec<KeyEntry>,
    commit: Commit,
    generation: u64,
    file: Option<CheckpointFile>,
}

impl Loader {
    fn load(
        config: &ViewsConfig,
        disk: &Arc<dyn Disk>,
        generation: u64,
        log_start: LogOffset,
    ) -> Result<(Loader, u64), ViewError> {
        let found = checkpoint::find(&config.dir, disk, generation)?;
        let mut loader = Loader {
            queues: Queues::new(config.queue_limit),
            arena: Arena::open(&config.dir, disk, found.shape, 0)?,
            keys: Keys::new(&config.dir, disk),
            facts: Facts::default(),
            timers: Restore::default(),
            pending: Pending::default(),
            slots: HashMap::default(),
            withheld: Vec::new(),
            runs: Vec::new(),
            entries: Vec::new(),
            commit: Commit::default(),
            generation,
            file: None,
        };
        loader.read(&found)?;
        if loader.commit.upto < log_start {
            let what = format!("it ends at {}, the log starts at {log_start}", loader.commit.upto);
            return Err(ViewError::damaged(&found.path(), what));
        }
        let files = loader.commit.arena_files as usize;
        loader.arena = Arena::open(&config.dir, disk, found.shape, files)?;
        loader.settle(&found)?;
        let torn = found.torn;
        loader.file = Some(found.file);
        Ok((loader, torn))
    }

    fn read(&mut self, found: &Found) -> Result<(), ViewError> {
        let path = found.path();
        let mut is_first = true;
        found.each(|frame| {
            for item in Items::new(frame) {
                let item = item.map_err(|error| ViewError::damaged(&path, error.to_string()))?;
                if let Item::Commit(commit) = item {
                    self.commit = commit;
                    if std::mem::take(&mut is_first) {
                        // What changed while the full checkpoint was written is named by nothing older.
                        self.withheld.clear();
                    }
                } else {
                    self.take(item).map_err(|what| ViewError::damaged(&path, what))?;
                }
            }
            Ok(())
        })
    }

    fn take(&mut self, item: Item<'_>) -> Result<(), String> {
        match item {
            Item::Queue { slot, topic, queue } => {
                let queue = self.queues.for_dispatch(topic, QueueId(queue));
                self.slots.insert(slot, queue);
            }
            Item::State(image) => {
                let slot = image.slot;
                let queue = self.slots.get(&slot).ok_or(format!("queue {slot} is not known"))?;
                if !queue.0.restore(image, self.generation, &mut self.withheld) {
                    return Err(format!("{queue:?} has extents out of order"));
                }
            }
            Item::DropQueue { slot } => {
                if let Some(queue) = self.slots.remove(&slot) {
                    self.queues.forget(&queue);
                    queue.0.empty(&mut self.withheld);
                }
            }
            Item::Fact(fact) => self.facts.restore(fact),
            Item::Keys(entries) => self.entries.extend(entries),
            Item::Run { id } => {
                self.entries.clear();
                self.runs.push(id);
            }
            Item::MergedRun { id, from } => self.take_merged_run(id, &from)?,
            Item::DropRun { id } => self.runs.retain(|&run| run != id),
            Item::TimerTopic { number, topic } => self.timers.topic(number as usize, topic)?,
            Item::Timers(changes) => self.timers.take(changes),
            Item::Commit(_) => {}
        }
        Ok(())
    }

    /// A run takes the place of those it was made of.
    fn take_merged_run(&mut self, id: u64, from: &[u64]) -> Result<(), String> {
        let at = self.runs.windows(from.len().max(1)).position(|runs| runs == from);
        let at = at.ok_or(format!("run {id} stands for runs that are not known"))?;
        self.runs.splice(at..at + from.len(), [id]);
        Ok(())
    }

    /// Checks what was read as a whole, and opens what it names.
    fn settle(&mut self, found: &Found) -> Result<(), ViewError> {
        let mut used = Vec::new();
        for queue in self.slots.values() {
            if !queue.0.is_sound() {
                return Err(ViewError::damaged(&found.path(), format!("{queue:?} is not sound")));
            }
            queue.0.parts(&mut used);
        }
        self.arena.set_used(used, std::mem::take(&mut self.withheld))?;
        self.keys.restore(&self.runs, std::mem::take(&mut self.entries))?;
        self.facts.applied(self.commit.upto);
        let timers = std::mem::take(&mut self.timers);
        self.pending = timers.finish().map_err(|what| ViewError::damaged(&found.path(), what))?;
        Ok(())
    }

    fn into_views(self, mut config: ViewsConfig, disk: &Arc<dyn Disk>, next_generation: u64) -> Views {
        config.arena = self.arena.shape();
        let saver = Saver::new(self.file, next_generation, &self.commit);
        let applied = Applied {
            upto: self.commit.upto,
            first: self.commit.first,
            is_live: false,
            dirty: Vec::new(),
            dropped: Vec::new(),
            next_slot: self.commit.next_slot,
            unreadable: 0,
            ended: HashSet::new(),
            recent: Default::default(),
            entered: (LogOffset(0), 0),
            is_torn: false,
            keys: Vec::new(),
        };
        let views = Views {
            config,
            disk: disk.clone(),
            queues: self.queues,
            arena: self.arena,
            keys: self.keys,
            facts: self.facts,
            timers: Timers::new(self.pending),
            applied: Mutex::new(applied),
            saver: Mutex::new(saver),
        };
        views.restore_latest();
        views
    }
}
