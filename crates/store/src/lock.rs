// SPDX-License-Identifier: Apache-2.0
//! The directories a store owns: its data directory, and the one its stages live in. Taken first when a store is
//! opened, let go last.
//! Invariants: the file `stages` in the data directory names the stage directory, lastingly, before a stage is made
//! there, so a restart finds old stages though the setting changed; the file `owner` beside the stages says whose they
//! are, and stages of another owner are never believed. Layout: `docs/format/stage.md`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stdx::Rng;

use crate::disk::{DirLock, Disk, OpenMode};
use crate::error::OpenError;
use crate::stage::Owner;

const POINTER: &str = "stages";
const OWNER: &str = "owner";
const END: &str = "end";
const POINTER_MAX: usize = 8192;
const VERSION: &str = "kiruna stages 1";
const MEMORY_DIR: &str = "/dev/shm";

/// Locks the data directory against other processes.
pub(crate) fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DirLock>, OpenError> {
    match disk.lock_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(OpenError::Locked { dir: dir.to_owned() }),
        other => other.map_err(OpenError::io(format!("locking {}", dir.display()))),
    }
}

/// Where stages live.
pub(crate) struct StageHome {
    pub(crate) dir: PathBuf,
    pub(crate) owner: Owner,
    _lock: Box<dyn DirLock>,
}

impl StageHome {
    /// The home that an earlier process noted, if it is still there.
    pub(crate) fn find(disk: &dyn Disk, data_dir: &Path) -> Result<Option<StageHome>, OpenError> {
        let path = data_dir.join(POINTER);
        let text = match read_text(disk, &path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(OpenError::io(format!("reading {}", path.display())))?,
        };
        let mut lines = text.lines();
        let (Some(VERSION), Some(dir), Some(END)) = (lines.next(), lines.next(), lines.next()) else {
            let message = format!("{} is damaged; remove it if no stages are needed", path.display());
            return Err(OpenError::Config(message));
        };
        let dir = PathBuf::from(dir);
        match disk.list(&dir) {
            // Memory was cleared: the machine restarted, or the container was made anew.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(OpenError::io(format!("reading {}", dir.display()))(e)),
            Ok(_) => {
                let lock = lock(disk, &dir)?;
                let store = read_text(disk, &dir.join(OWNER)).ok().and_then(|text| from_hex(text.trim_end()));
                // Only a power cut, which takes the stages too, can take the owner.
                let owner = Owner { boot: disk.boot_id(), store: store.unwrap_or_else(new_id) };
                Ok(Some(StageHome { _lock: lock, dir, owner }))
            }
        }
    }

    /// Makes a home, in `wanted` or where memory is, and notes it.
    pub(crate) fn make(
        disk: &Arc<dyn Disk>,
        data_dir: &Path,
        wanted: Option<&Path>,
        room: u64,
    ) -> Result<StageHome, OpenError> {
        let store = new_id();
        let id = to_hex(store);
        let in_memory = || match disk.space(Path::new(MEMORY_DIR)) {
            Ok(space) if space.free >= room => Some(PathBuf::from(MEMORY_DIR)),
            _ => None,
        };
        let dir = match wanted.map(Path::to_owned).or_else(in_memory) {
            Some(parent) => parent.join(format!("kiruna-{}", &id[..16])),
            None => data_dir.join("stages.d"),
        };
        let text = format!("{VERSION}\n{}\n{END}\n", dir.display());
        write_lasting(&**disk, data_dir, POINTER, text.as_bytes())
            .map_err(OpenError::io("noting where stages live"))?;
        let made = OpenError::io(format!("making {}", dir.display()));
        disk.create_dir(&dir).map_err(made)?;
        let owner = Owner { boot: disk.boot_id(), store };
        let mut home = StageHome { _lock: lock(&**disk, &dir)?, dir, owner };
        home.disown(&**disk).map_err(OpenError::io("noting whose the stages are"))?;
        Ok(home)
    }

    /// Gives the home a new owner in one step, so that no stage that is there now is ever believed again. Removing
    /// them one by one would let a crash between leave some, and the log would seem to end with those.
    ///
    /// Nothing is synced: a power cut takes stages and owner alike, and behind gigabytes of written log a sync takes
    /// longer than a restart may.
    pub(crate) fn disown(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let store = new_id();
        let temporary = self.dir.join(format!("{OWNER}.new"));
        let text = format!("{}\n", to_hex(store));
        disk.open(&temporary, OpenMode::Replace)?.write_at(text.as_bytes(), 0)?;
        disk.rename(&temporary, &self.dir.join(OWNER))?;
        self.owner.store = store;
        Ok(())
    }

    /// True when this is the place that the configuration asks for.
    pub(crate) fn is_wanted(&self, wanted: Option<&Path>) -> bool {
        wanted.is_none_or(|wanted| self.dir.parent() == Some(wanted))
    }
}

fn new_id() -> [u8; 16] {
    let mut rng = Rng::from_entropy();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&rng.next().to_le_bytes());
    id[8..].copy_from_slice(&rng.next().to_le_bytes());
    id
}

/// Replaces a small file so that after a power cut either the old or the new one is there.
pub(crate) fn write_lasting(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let file = disk.open(&temporary, OpenMode::Replace)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&temporary, &dir.join(name))?;
    disk.sync_dir(dir)
}

fn read_text(disk: &dyn Disk, path: &Path) -> io::Result<String> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; POINTER_MAX];
    let len = file.read_at(&mut bytes, 0)?;
    bytes.truncate(len);
    String::from_utf8(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

fn to_hex(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32).map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FileDisk;

    #[test]
    fn a_home_is_found_again_whatever_the_setting() {
        let (data, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let disk: Arc<dyn Disk> = Arc::new(FileDisk);
        assert!(StageHome::find(&*disk, data.path()).unwrap().is_none());
        let home = StageHome::make(&disk, data.path(), Some(memory.path()), 0).unwrap();
        assert!(matches!(StageHome::find(&*disk, data.path()), Err(OpenError::Locked { .. })));
        let (dir, owner) = (home.dir.clone(), home.owner);
        drop(home);
        let found = StageHome::find(&*disk, data.path()).unwrap().unwrap();
        assert_eq!((&found.dir, found.owner), (&dir, owner));
        assert!(found.is_wanted(None) && !found.is_wanted(Some(data.path())));
        drop(found);
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(StageHome::find(&*disk, data.path()).unwrap().is_none());
        std::fs::write(data.path().join(POINTER), b"nonsense").unwrap();
        assert!(matches!(StageHome::find(&*disk, data.path()), Err(OpenError::Config(_))));
    }
}
