// SPDX-License-Identifier: Apache-2.0
//! Segments: the files of the commit log, as Apache lays them out. Used by [`crate::log::Log`] only.
//! Layout: `docs/format/segment.md`.
//!
//! Invariants: a segment is named by its base, 20 digits; the next segment's base is this one's end; its room is
//! taken before the first byte of the log goes into it. At most [`OPEN_MAX`] segments hold a descriptor.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, OpenMode};

/// How many segment files are open at most.
pub(crate) const OPEN_MAX: usize = 64;

/// One file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) base: u64,
    pub(crate) size: u64,
}

impl Segment {
    pub(crate) fn end(&self) -> u64 {
        self.base + self.size
    }

    pub(crate) fn file_name(&self) -> String {
        format!("{:020}", self.base)
    }
}

/// Lists the segments of `dir`, in log order. Other files are not looked at.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<Segment>> {
    let entries = disk.list(dir)?;
    let parse = |name: &str| {
        let is_base = name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit());
        is_base.then(|| name.parse().ok()).flatten()
    };
    Ok(entries
        .into_iter()
        .filter_map(|entry| Some(Segment { base: parse(&entry.name)?, size: entry.len }))
        .collect())
}

/// Descriptors of segments, opened when needed and closed when many others were used since.
pub(crate) struct OpenFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Most recently used last.
    recent: Mutex<Vec<(u64, Arc<dyn DiskFile>)>>,
}

impl OpenFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> OpenFiles {
        OpenFiles { disk, dir, recent: Mutex::new(Vec::with_capacity(OPEN_MAX)) }
    }

    /// The file of an existing segment.
    pub(crate) fn get(&self, segment: &Segment) -> io::Result<Arc<dyn DiskFile>> {
        let mut recent = self.recent.lock();
        if let Some(index) = recent.iter().rposition(|(base, _)| *base == segment.base) {
            let last = recent.len() - 1;
            recent[index..=last].rotate_left(1);
            return Ok(recent[last].1.clone());
        }
        let file = self.disk.open(&self.path(segment), OpenMode::Write)?;
        if recent.len() == OPEN_MAX {
            recent.remove(0);
        }
        recent.push((segment.base, file.clone()));
        Ok(file)
    }

    /// Makes a segment with all its room, lasting.
    pub(crate) fn create(&self, segment: &Segment) -> io::Result<()> {
        let path = self.path(segment);
        let file = self.disk.open(&path, OpenMode::Create)?;
        if let Err(e) = file.allocate(segment.size).and_then(|()| file.sync_data()) {
            drop(file);
            // Without its room it would look like a torn end of the log.
            let _ = self.disk.remove(&path);
            return Err(e);
        }
        self.disk.sync_dir(&self.dir)
    }

    /// Removes a segment's file; reads that began go on.
    pub(crate) fn remove(&self, segment: &Segment) -> io::Result<()> {
        self.recent.lock().retain(|(base, _)| *base != segment.base);
        self.disk.remove(&self.path(segment))
    }

    pub(crate) fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.dir)
    }

    fn path(&self, segment: &Segment) -> PathBuf {
        self.dir.join(segment.file_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FileDisk;

    #[test]
    fn names_sizes_and_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let files = OpenFiles::new(Arc::new(FileDisk), dir.path().to_owned());
        let all: Vec<_> = (0..100).map(|n| Segment { base: n * 4096, size: 4096 }).collect();
        for segment in &all {
            files.create(segment).unwrap();
        }
        std::fs::write(dir.path().join("123"), b"").unwrap();
        assert_eq!(list(&FileDisk, dir.path()).unwrap(), all);
        assert_eq!(all[1].file_name(), "00000000000000004096");
        for segment in all.iter().chain(&all[..3]) {
            let file = files.get(segment).unwrap();
            file.write_at(&segment.base.to_le_bytes(), 0).unwrap();
            assert!(files.recent.lock().len() <= OPEN_MAX);
        }
        let kept = files.get(&all[99]).unwrap();
        files.remove(&all[99]).unwrap();
        let mut out = [0; 8];
        kept.read_at(&mut out, 0).unwrap();
        assert_eq!(u64::from_le_bytes(out), 99 * 4096);
        assert!(files.get(&all[99]).is_err());
    }
}
