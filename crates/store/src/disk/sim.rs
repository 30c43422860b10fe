// SPDX-License-Identifier: Apache-2.0
//! A disk in memory that fails on purpose, for tests and the simulator. It keeps the promises of
//! [`crate::disk`] and no more: whatever may be lost, torn or reordered is, by a seed.
//!
//! Every write, sync, change of a name and store into mapped memory is a numbered step. A test runs its story once to
//! count the steps, then again with [`SimDisk::die_at`] each of them, and reopens what [`SimDisk::kill`] or
//! [`SimDisk::cut_power`] left. A step that dies may have done part of its work.
//! Invariant: the same seed and the same calls give the same disk.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use stdx::Rng;

use crate::disk::{DirEntry, DirLock, Disk, DiskFile, OpenMode, Space, Tape};

mod file;
mod memory;
mod names;

use file::{FileState, SimFile};
use memory::SimMemory;
use names::{NameOp, Names, Node};

/// A simulated machine's disk, as one process sees it.
#[derive(Clone)]
pub struct SimDisk(Arc<World>);

/// What a sync answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncFault {
    /// It does what it says.
    #[default]
    None,
    /// It says yes and does nothing: a drive with a volatile cache that lies.
    Lies,
    /// It fails from now on.
    Fails,
}

struct World {
    state: Mutex<State>,
}

struct State {
    names: Names,
    files: Vec<FileState>,
    locks: BTreeSet<PathBuf>,
    steps: u64,
    die_at: Option<u64>,
    is_dead: bool,
    capacity: u64,
    /// Nothing can be opened or mapped.
    is_short: bool,
    sync_fault: SyncFault,
    /// Writes fail from this step on.
    writes_fail_at: Option<u64>,
    /// Nothing of a file is in the system's memory.
    is_cold: bool,
    rng: Rng,
    boot: u64,
}

impl SimDisk {
    /// An empty disk. `seed` decides what crashes take.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::from_state(State {
            names: Names::default(),
            files: Vec::new(),
            locks: BTreeSet::new(),
            steps: 0,
            die_at: None,
            is_dead: false,
            capacity: u64::MAX,
            is_short: false,
            sync_fault: SyncFault::None,
            writes_fail_at: None,
            is_cold: false,
            rng: Rng::new(seed),
            boot: 1,
        })
    }

    fn from_state(state: State) -> SimDisk {
        SimDisk(Arc::new(World { state: Mutex::new(state) }))
    }

    /// How many steps were made.
    pub fn steps(&self) -> u64 {
        self.0.state.lock().steps
    }

    /// The process dies in step `step` (the first is 1): nothing it does from then on happens.
    pub fn die_at(&self, step: u64) {
        self.0.state.lock().die_at = Some(step);
    }

    /// True once the process has died.
    pub fn is_dead(&self) -> bool {
        self.0.state.lock().is_dead
    }

    /// Limits all files together to `bytes`.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.state.lock().capacity = bytes;
    }

    /// With `true`, the process has no descriptor and no mapping left for anything that is not open.
    pub fn set_short(&self, is_short: bool) {
        self.0.state.lock().is_short = is_short;
    }

    /// Bytes that files take.
    pub fn used(&self) -> u64 {
        self.0.state.lock().used()
    }

    /// Changes what syncs do.
    pub fn set_sync_fault(&self, fault: SyncFault) {
        self.0.state.lock().sync_fault = fault;
    }

    /// Lets every write fail from now on.
    pub fn fail_writes(&self) {
        let mut state = self.0.state.lock();
        state.writes_fail_at = Some(state.steps);
    }

    /// With `true`, every read that may not wait for the device is refused.
    pub fn set_cold(&self, is_cold: bool) {
        self.0.state.lock().is_cold = is_cold;
    }

    /// The disk as the next process finds it when this one dies now.
    pub fn kill(&self) -> SimDisk {
        let mut state = self.0.state.lock();
        state.is_dead = true;
        let files = state.files.iter_mut().map(FileState::after_kill).collect();
        let state = State {
            names: state.names.clone(),
            files,
            locks: BTreeSet::new(),
            rng: Rng::new(state.rng.next()),
            ..State::fresh(&state)
        };
        SimDisk::from_state(state)
    }

    /// The disk as the next process finds it when the machine loses power now and is started again.
    pub fn cut_power(&self) -> SimDisk {
        let mut state = self.0.state.lock();
        state.is_dead = true;
        let mut rng = Rng::new(state.rng.next());
        let keeps_tapes = rng.chance(3);
        let files: Vec<_> = state.files.iter_mut().map(|file| file.after_power_cut(&mut rng)).collect();
        let names = state.names.after_power_cut(&mut rng, |node| match node {
            Node::File(id) => keeps_tapes || !files[*id].is_tape(),
            Node::Dir => true,
        });
        let boot = state.boot + 1;
        SimDisk::from_state(State { names, files, rng, boot, ..State::fresh(&state) })
    }

    /// Changes bytes of a file behind everyone's back, lastingly.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.0.state.lock();
        let Some(&Node::File(id)) = state.names.get(path) else { return Err(missing(path)) };
        state.files[id].damage(change);
        Ok(())
    }
}

impl State {
    /// The parts that a crash resets.
    fn fresh(old: &State) -> State {
        State {
            names: Names::default(),
            files: Vec::new(),
            locks: BTreeSet::new(),
            steps: 0,
            die_at: None,
            is_dead: false,
            capacity: old.capacity,
            is_short: false,
            sync_fault: SyncFault::None,
            writes_fail_at: None,
            is_cold: false,
            rng: Rng::new(0),
            boot: old.boot,
        }
    }

    fn used(&self) -> u64 {
        let linked = self.names.files();
        linked.map(|id| &self.files[id]).filter(|file| !file.is_tape()).map(FileState::len).sum()
    }

    fn alive(&self) -> io::Result<()> {
        if self.is_dead { Err(io::Error::other("the simulated process is dead")) } else { Ok(()) }
    }

    /// Counts a step. `Ok(false)` when the process dies in it.
    fn step(&mut self) -> io::Result<bool> {
        self.alive()?;
        self.steps += 1;
        self.is_dead = self.die_at == Some(self.steps);
        Ok(!self.is_dead)
    }

    fn whole_step(&mut self) -> io::Result<()> {
        self.step()?;
        self.alive()
    }

    fn admits_write(&self) -> io::Result<()> {
        match self.writes_fail_at {
            Some(_) => Err(io::Error::other("simulated write error")),
            None => Ok(()),
        }
    }

    fn admits_opening(&self) -> io::Result<()> {
        match self.is_short {
            true => {
                Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the simulated process may open no more"))
            }
            false => Ok(()),
        }
    }

    fn admits_growth(&self, by: u64) -> io::Result<()> {
        match self.used().saturating_add(by) > self.capacity {
            true => Err(io::Error::new(io::ErrorKind::StorageFull, "the simulated disk is full")),
            false => Ok(()),
        }
    }

    fn make_file(&mut self, path: &Path, file: FileState) -> usize {
        self.files.push(file);
        let id = self.files.len() - 1;
        self.names.change(NameOp::Link(path.to_owned(), Node::File(id)));
        id
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.state.lock();
        state.alive()?;
        state.admits_opening()?;
        let id = match (state.names.get(path), mode) {
            (Some(Node::Dir), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(&Node::File(id)), OpenMode::Replace) => {
                state.whole_step()?;
                state.files[id].set_len(0);
                id
            }
            (Some(&Node::File(id)), _) => id,
            (None, OpenMode::Read | OpenMode::Write) => return Err(missing(path)),
            (None, OpenMode::Create | OpenMode::Replace) => {
                state.names.check_parent(path)?;
                state.whole_step()?;
                state.make_file(path, FileState::default())
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), id, path: path.to_owned() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.0.state.lock();
        state.alive()?;
        state.names.list(dir, |id| state.files[id].len())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.state.lock();
        if !matches!(state.names.get(dir), Some(Node::Dir)) {
            state.whole_step()?;
            state.names.create_dir(dir);
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.state.lock();
        state.names.get(from).ok_or_else(|| missing(from))?;
        state.whole_step()?;
        state.names.change(NameOp::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.state.lock();
        state.names.get(path).ok_or_else(|| missing(path))?;
        state.whole_step()?;
        state.names.change(NameOp::Unlink(path.to_owned()));
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.state.lock();
        if !state.names.list(dir, |_| 0)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.whole_step()?;
        state.names.change(NameOp::Unlink(dir.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.state.lock();
        state.admits_opening()?;
        state.whole_step()?;
        match state.sync_fault {
            SyncFault::None => state.names.sync(dir),
            SyncFault::Lies => {}
            SyncFault::Fails => return Err(io::Error::other("simulated sync error")),
        }
        Ok(())
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let state = self.0.state.lock();
        state.names.get(path).ok_or_else(|| missing(path))?;
        Ok(Space { total: state.capacity, free: state.capacity.saturating_sub(state.used()) })
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut state = self.0.state.lock();
        state.alive()?;
        if !state.locks.insert(dir.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { disk: self.clone(), dir: dir.to_owned() }))
    }

    fn boot_id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.0.state.lock().boot.to_le_bytes());
        id
    }

    fn create_tape(&self, path: &Path, capacity: usize) -> io::Result<Tape> {
        let mut state = self.0.state.lock();
        state.names.check_parent(path)?;
        state.admits_opening()?;
        state.whole_step()?;
        let memory = SimMemory::new(self, &vec![0; crate::disk::memory::TAPE_HEADER + capacity]);
        state.make_file(path, FileState::tape(memory.clone()));
        Ok(Tape::new(memory.shared()))
    }

    fn open_tape(&self, path: &Path) -> io::Result<Tape> {
        let mut state = self.0.state.lock();
        state.alive()?;
        let Some(&Node::File(id)) = state.names.get(path) else { return Err(missing(path)) };
        let bytes = state.files[id].bytes();
        if bytes.len() < crate::disk::memory::TAPE_HEADER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no tape"));
        }
        let memory = SimMemory::new(self, &bytes);
        state.files[id] = FileState::tape(memory.clone());
        Ok(Tape::new(memory.shared()))
    }
}

struct SimLock {
    disk: SimDisk,
    dir: PathBuf,
}

impl DirLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.0.state.lock().locks.remove(&self.dir);
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimDisk")
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file", path.display()))
}

#[cfg(test)]
mod tests;
