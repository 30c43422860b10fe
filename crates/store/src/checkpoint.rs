// SPDX-License-Identifier: Apache-2.0
//! The checkpoint file: a chain of frames, each bound to all before it by its checksum. A checkpoint is the frames
//! up to one that says so; the file begins with a full one and goes on with what changed. Called by
//! [`crate::views`] only; it knows nothing of what the items mean.
//! Invariants: a frame is never overwritten; what was lasting stays readable while more is added; a new file gets
//! its name only when its first checkpoint is lasting. So after a crash the newest complete checkpoint is found, and
//! what lies behind it is cut. Layout: `docs/format/checkpoint.md`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::arena::ArenaShape;
use crate::disk::{Disk, DiskFile, OpenMode, read_exact_at};
use crate::views::ViewError;

pub(crate) mod item;

const FILE_MAGIC: &[u8; 8] = b"KIRUCHKP";
const FILE_HEADER: usize = 36;
const VERSION: u32 = 1;
const FRAME_MAGIC: u32 = 0x4B43_4652;
const FRAME_HEADER: usize = 20;
const MORE: u32 = 0;
const COMMIT: u32 = 1;
/// Frames are cut near this size, so that neither side needs much memory.
pub(crate) const FRAME_AIM: usize = 256 << 10;
/// No frame is longer: one item may be as long as a record.
const FRAME_MAX: usize = 80 << 20;
const PREFIX: &str = "checkpoint-";
const UNFINISHED: &str = ".new";

/// A checkpoint file being written.
#[derive(Debug)]
pub(crate) struct CheckpointFile {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    generation: u64,
    is_named: bool,
    chain: Chain,
    /// Length when its full checkpoint was complete.
    full_len: u64,
}

/// Where the next frame goes and what it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chain {
    at: u64,
    crc: u32,
    sequence: u32,
}

/// A checkpoint file as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: CheckpointFile,
    pub(crate) shape: ArenaShape,
    /// Where the payload of each frame up to the last complete checkpoint lies.
    frames: Vec<(u64, usize)>,
    /// Bytes behind it that were cut.
    pub(crate) torn: u64,
}

impl CheckpointFile {
    /// Begins a new file, which has no lasting name before its first checkpoint is complete.
    pub(crate) fn create(
        dir: &Path,
        disk: &Arc<dyn Disk>,
        generation: u64,
        shape: ArenaShape,
    ) -> Result<CheckpointFile, ViewError> {
        let path = unfinished(dir, generation);
        let file = disk.open(&path, OpenMode::Replace).map_err(ViewError::disk("create", &path))?;
        let header = file_header(generation, shape);
        file.write_at(&header, 0).map_err(ViewError::disk("write", &path))?;
        Ok(CheckpointFile {
            dir: dir.to_path_buf(),
            disk: disk.clone(),
            file,
            generation,
            is_named: false,
            chain: Chain::start(&header),
            full_len: 0,
        })
    }

    /// Removes a file that was begun and cannot be finished, as far as that is possible.
    pub(crate) fn abandon(dir: &Path, disk: &Arc<dyn Disk>, generation: u64) {
        if let Err(error) = disk.remove(&unfinished(dir, generation)) {
            tracing::debug!(%error, generation, "unfinished checkpoint stays until the next start");
        }
    }

    /// The number of the file.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Bytes written.
    pub(crate) fn len(&self) -> u64 {
        self.chain.at
    }

    /// Bytes of the full checkpoint it began with.
    pub(crate) fn full_len(&self) -> u64 {
        self.full_len
    }

    /// Adds a frame that is not the last of its checkpoint.
    pub(crate) fn add(&mut self, payload: &[u8]) -> Result<(), ViewError> {
        self.write(MORE, payload)
    }

    /// Adds the last frame of a checkpoint and makes it lasting.
    pub(crate) fn commit(&mut self, payload: &[u8]) -> Result<(), ViewError> {
        self.write(COMMIT, payload)?;
        let path = self.path();
        self.file.sync_data().map_err(ViewError::disk("sync", &path))?;
        if !self.is_named {
            let named = self.dir.join(name(self.generation));
            self.disk.rename(&path, &named).map_err(ViewError::disk("rename", &path))?;
            self.disk.sync_dir(&self.dir).map_err(ViewError::disk("sync", &self.dir))?;
            self.is_named = true;
            self.full_len = self.chain.at;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        if self.is_named {
            self.dir.join(name(self.generation))
        } else {
            unfinished(&self.dir, self.generation)
        }
    }

    fn write(&mut self, kind: u32, payload: &[u8]) -> Result<(), ViewError> {
        assert!(payload.len() <= FRAME_MAX, "frames are cut long before {} bytes", payload.len());
        let (header, next) = self.chain.frame(kind, payload);
        let mut frame = header.to_vec();
        frame.extend_from_slice(payload);
        self.file.write_at(&frame, self.chain.at).map_err(ViewError::disk("write", &self.path()))?;
        self.chain = next;
        Ok(())
    }
}

impl Chain {
    fn start(file_header: &[u8]) -> Chain {
        Chain { at: file_header.len() as u64, crc: crc32fast::hash(file_header), sequence: 0 }
    }

    fn frame(self, kind: u32, payload: &[u8]) -> ([u8; FRAME_HEADER], Chain) {
        let mut header = [0; FRAME_HEADER];
        header[..4].copy_from_slice(&FRAME_MAGIC.to_be_bytes());
        header[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        header[8..12].copy_from_slice(&kind.to_be_bytes());
        header[12..16].copy_from_slice(&(payload.len() as u32).to_be_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.crc.to_be_bytes());
        hasher.update(&header[..16]);
        hasher.update(payload);
        let crc = hasher.finalize();
        header[16..].copy_from_slice(&crc.to_be_bytes());
        let at = self.at + (FRAME_HEADER + payload.len()) as u64;
        (header, Chain { at, crc, sequence: self.sequence.wrapping_add(1) })
    }
}

impl Found {
    /// Reads the payloads in order.
    pub(crate) fn each(
        &self,
        mut visit: impl FnMut(&[u8]) -> Result<(), ViewError>,
    ) -> Result<(), ViewError> {
        let path = self.file.path();
        let mut payload = Vec::new();
        for &(at, len) in &self.frames {
            payload.resize(len, 0);
            read_exact_at(&*self.file.file, &mut payload, at).map_err(ViewError::disk("read", &path))?;
            visit(&payload)?;
        }
        Ok(())
    }

    /// The file's path, for reports.
    pub(crate) fn path(&self) -> PathBuf {
        self.file.path()
    }
}

/// Numbers of the finished files in `dir`, and the names of those left unfinished.
pub(crate) fn list(dir: &Path, disk: &Arc<dyn Disk>) -> Result<(Vec<u64>, Vec<String>), ViewError> {
    let (mut finished, mut unfinished) = (Vec::new(), Vec::new());
    for entry in disk.list(dir).map_err(ViewError::disk("list", dir))? {
        let Some(number) = entry.name.strip_prefix(PREFIX) else { continue };
        match u64::from_str_radix(number, 16) {
            Ok(generation) => finished.push(generation),
            Err(_) => unfinished.push(entry.name),
        }
    }
    finished.sort_unstable();
    Ok((finished, unfinished))
}

/// Finds the last complete checkpoint of file `generation` and cuts what lies behind it.
pub(crate) fn find(dir: &Path, disk: &Arc<dyn Disk>, generation: u64) -> Result<Found, ViewError> {
    let path = dir.join(name(generation));
    let file = disk.open(&path, OpenMode::Write).map_err(ViewError::disk("open", &path))?;
    let len = file.len().map_err(ViewError::disk("measure", &path))?;
    let mut header = [0; FILE_HEADER];
    read_exact_at(&*file, &mut header, 0).map_err(|error| ViewError::damaged(&path, error.to_string()))?;
    let shape =
        shape_of(&header, generation).ok_or_else(|| ViewError::damaged(&path, "its header is unreadable"))?;
    let mut chain = Chain::start(&header);
    let mut complete = None;
    let (mut frames, mut full_len) = (Vec::new(), 0);
    while let Some((kind, span, next)) =
        read_frame(&*file, chain, len).map_err(ViewError::disk("read", &path))?
    {
        frames.push(span);
        chain = next;
        if kind == COMMIT {
            complete = Some((frames.len(), chain));
            full_len = if full_len == 0 { chain.at } else { full_len };
        }
    }
    let Some((count, chain)) = complete else {
        return Err(ViewError::damaged(&path, "it holds no complete checkpoint"));
    };
    frames.truncate(count);
    let torn = len - chain.at;
    if torn > 0 {
        file.set_len(chain.at).map_err(ViewError::disk("cut", &path))?;
        file.sync_data().map_err(ViewError::disk("sync", &path))?;
    }
    let dir = dir.to_path_buf();
    let file = CheckpointFile { dir, disk: disk.clone(), file, generation, is_named: true, chain, full_len };
    Ok(Found { file, shape, frames, torn })
}

/// Reads the frame that continues `chain`; `None` where there is none.
#[expect(clippy::type_complexity, reason = "kind, place of the payload, and what follows; used once")]
fn read_frame(
    file: &dyn DiskFile,
    chain: Chain,
    len: u64,
) -> std::io::Result<Option<(u32, (u64, usize), Chain)>> {
    let mut header = [0; FRAME_HEADER];
    if len - chain.at < FRAME_HEADER as u64 {
        return Ok(None);
    }
    read_exact_at(file, &mut header, chain.at)?;
    let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let size = word(12) as usize;
    let at = chain.at + FRAME_HEADER as u64;
    if word(0) != FRAME_MAGIC || size > FRAME_MAX || len - at < size as u64 {
        return Ok(None);
    }
    let mut payload = vec![0; size];
    read_exact_at(file, &mut payload, at)?;
    let (expected, next) = chain.frame(word(8), &payload);
    Ok((expected == header).then_some((word(8), (at, size), next)))
}

/// The name of file `generation`.
pub(crate) fn name(generation: u64) -> String {
    format!("{PREFIX}{generation:016x}")
}

fn unfinished(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("{}{UNFINISHED}", name(generation)))
}

fn file_header(generation: u64, shape: ArenaShape) -> [u8; FILE_HEADER] {
    let mut bytes = FILE_MAGIC.to_vec();
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend(generation.to_be_bytes());
    bytes.extend(shape.first_blocks.to_be_bytes());
    bytes.extend(shape.max_blocks.to_be_bytes());
    bytes.extend(u32::from(shape.top_class).to_be_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes.try_into().expect("the header is as long as the header")
}

fn shape_of(header: &[u8; FILE_HEADER], generation: u64) -> Option<ArenaShape> {
    let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let top_class = u8::try_from(word(28)).ok()?;
    let shape = ArenaShape { top_class, first_blocks: word(20), max_blocks: word(24) };
    (file_header(generation, shape) == *header && shape.is_possible()).then_some(shape)
}
