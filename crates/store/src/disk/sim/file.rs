// SPDX-License-Identifier: Apache-2.0
//! A file of a simulated disk: what the process wrote, what is lasting, and what may or may not survive.
//! Invariant: `current` is `lasting` with all pending changes applied, mapped memory on top.

use std::io;
use std::path::PathBuf;

use stdx::Rng;

use super::memory::SimMemory;
use super::{SimDisk, State, SyncFault};
use crate::disk::{DiskFile, Region, assert_direct};

/// What a disk writes at once or not at all.
const SECTOR: usize = 512;

#[derive(Default)]
pub(super) struct FileState {
    current: Vec<u8>,
    lasting: Vec<u8>,
    pending: Vec<Change>,
    maps: Vec<(usize, SimMemory)>,
    tape: Option<SimMemory>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

fn put(image: &mut Vec<u8>, at: usize, data: &[u8]) {
    if image.len() < at + data.len() {
        image.resize(at + data.len(), 0);
    }
    image[at..at + data.len()].copy_from_slice(data);
}

impl FileState {
    pub(super) fn tape(memory: SimMemory) -> FileState {
        FileState { tape: Some(memory), ..FileState::default() }
    }

    pub(super) fn is_tape(&self) -> bool {
        self.tape.is_some()
    }

    pub(super) fn len(&self) -> u64 {
        self.tape.as_ref().map_or(self.current.len(), SimMemory::len) as u64
    }

    /// What a read sees.
    pub(super) fn bytes(&mut self) -> Vec<u8> {
        if let Some(tape) = &self.tape {
            return tape.bytes();
        }
        self.take_maps();
        self.current.clone()
    }

    /// Notes what was stored through mappings.
    fn take_maps(&mut self) {
        for (at, memory) in &self.maps {
            let Some(bytes) = memory.take_changed() else { continue };
            for start in (0..bytes.len()).step_by(SECTOR) {
                let sector = &bytes[start..bytes.len().min(start + SECTOR)];
                if self.current[at + start..at + start + sector.len()] != *sector {
                    put(&mut self.current, at + start, sector);
                    self.pending.push(Change::Write(at + start, sector.to_vec()));
                }
            }
        }
    }

    pub(super) fn write(&mut self, at: usize, data: &[u8]) {
        self.take_maps();
        put(&mut self.current, at, data);
        for (start, memory) in &self.maps {
            let (from, to) = (at.max(*start), (at + data.len()).min(start + memory.len()));
            if from < to {
                memory.write(&data[from - at..to - at], from - start);
            }
        }
        self.pending.push(Change::Write(at, data.to_vec()));
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.take_maps();
        self.current.resize(len, 0);
        self.pending.push(Change::Len(len));
    }

    fn sync(&mut self) {
        self.take_maps();
        self.lasting.clone_from(&self.current);
        self.pending.clear();
    }

    pub(super) fn damage(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(tape) = &self.tape {
            let mut bytes = tape.bytes();
            change(&mut bytes);
            bytes.resize(tape.len(), 0);
            tape.write(&bytes, 0);
            return;
        }
        change(&mut self.current);
        self.sync();
    }

    pub(super) fn after_kill(&mut self) -> FileState {
        let current = self.bytes();
        if self.is_tape() {
            // Opened again as a tape, it lives in new memory.
            return FileState { current, tape: self.tape.clone(), ..FileState::default() };
        }
        FileState {
            current,
            lasting: self.lasting.clone(),
            pending: self.pending.clone(),
            ..FileState::default()
        }
    }

    pub(super) fn after_power_cut(&mut self, rng: &mut Rng) -> FileState {
        if self.is_tape() {
            return self.after_kill();
        }
        self.take_maps();
        let mut image = self.lasting.clone();
        // Some crashes take everything, some nothing, most something.
        let mood = rng.below(4);
        for change in &self.pending {
            match (mood, rng.below(3), change) {
                (0, _, _) | (2 | 3, 0, _) => {}
                (2 | 3, 1, Change::Write(at, data)) => tear(&mut image, *at, data, rng),
                (_, _, Change::Write(at, data)) => put(&mut image, *at, data),
                (_, _, Change::Len(len)) => image.resize(*len, 0),
            }
        }
        FileState { current: image.clone(), lasting: image, ..FileState::default() }
    }
}

/// Writes some sectors of `data` and leaves out others.
fn tear(image: &mut Vec<u8>, at: usize, data: &[u8], rng: &mut Rng) {
    let mut start = 0;
    while start < data.len() {
        let end = data.len().min((at + start) / SECTOR * SECTOR + SECTOR - at);
        if rng.chance(2) {
            put(image, at + start, &data[start..end]);
        }
        start = end;
    }
}

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) id: usize,
    pub(super) path: PathBuf,
}

impl SimFile {
    fn with<T>(&self, with: impl FnOnce(&mut State, usize) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.0.state.lock();
        state.alive()?;
        with(&mut state, self.id)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.path.display())))
    }
}

fn place(at: u64) -> io::Result<usize> {
    usize::try_from(at).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl DiskFile for SimFile {
    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        self.with(|state, id| {
            state.files[id].take_maps();
            let rest = state.files[id].current.get(place(at)?..).unwrap_or_default();
            let len = rest.len().min(out.len());
            out[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        })
    }

    fn read_cached_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        self.with(|state, _| if state.is_cold { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) })?;
        self.read_at(out, at)
    }

    fn write_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.with(|state, id| {
            let at = place(at)?;
            state.admits_write()?;
            let grows = (at + data.len()).saturating_sub(state.files[id].current.len());
            state.admits_growth(grows as u64)?;
            if state.step()? {
                state.files[id].write(at, data);
                return Ok(());
            }
            // A call that is cut short has written some of its bytes.
            let part = state.rng.below(data.len() as u64 + 1) as usize;
            state.files[id].write(at, &data[..part]);
            state.alive()
        })
    }

    fn write_direct_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        assert_direct(data, at);
        self.write_at(data, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state, id| {
            state.whole_step()?;
            match state.sync_fault {
                SyncFault::None => state.files[id].sync(),
                SyncFault::Lies => {}
                SyncFault::Fails => return Err(io::Error::other("simulated sync error")),
            }
            Ok(())
        })
    }

    fn start_writeback(&self, _at: u64, _len: u64) -> io::Result<()> {
        self.with(|_, _| Ok(()))
    }

    fn uncache(&self, _at: u64, _len: u64) -> io::Result<()> {
        self.with(|_, _| Ok(()))
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|state, id| Ok(state.files[id].len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state, id| {
            state.whole_step()?;
            state.files[id].set_len(place(len)?);
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.with(|state, id| {
            let grows = len.saturating_sub(state.files[id].len());
            if grows > 0 {
                state.admits_growth(grows)?;
                state.whole_step()?;
                state.files[id].set_len(place(len)?);
            }
            Ok(())
        })
    }

    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        self.with(|state, id| {
            state.files[id].take_maps();
            let at = place(at)?;
            let rest = state.files[id].current.get(at..).unwrap_or_default();
            // As on a real disk, the answer is the start of a block, not of the data.
            let found = rest.iter().position(|byte| *byte != 0).map(|pos| at + pos);
            Ok(found.map(|found| (found / SECTOR * SECTOR).max(at) as u64))
        })
    }

    fn map(&self, at: u64, len: usize) -> io::Result<Region> {
        let disk = self.disk.clone();
        self.with(|state, id| {
            let at = place(at)?;
            state.admits_opening()?;
            let file = &mut state.files[id];
            // All mappings of one place are the same memory.
            if let Some((_, memory)) = file.maps.iter().find(|(start, m)| (*start, m.len()) == (at, len)) {
                return Ok(Region::new(memory.shared()));
            }
            let is_apart = |(start, m): &(usize, SimMemory)| at + len <= *start || start + m.len() <= at;
            assert!(file.maps.iter().all(is_apart), "the simulated disk has no overlapping mappings");
            file.take_maps();
            let bytes = file.current.get(at..at + len).ok_or(io::ErrorKind::InvalidInput)?;
            let memory = SimMemory::new(&disk, bytes);
            file.maps.push((at, memory.clone()));
            Ok(Region::new(memory.shared()))
        })
    }
}
