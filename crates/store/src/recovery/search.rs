// SPDX-License-Identifier: Apache-2.0
//! Looking for records behind damage, and making sure that nothing is left behind the end of the log.
//! A record is believed only if the walk would take it: it carries the offset it lies at and nothing of it is missing.

use std::io;

use protocol::record::{self, MAGIC_V1, MAGIC_V2, Scan};

use crate::disk::{DiskFile, read_exact_at};
use crate::recovery::{Ground, is_whole};

/// How much is looked at in one go.
const CHUNK: usize = 1 << 20;
/// What must be seen of a record to know whether it claims to lie where it lies.
const HEAD: usize = 36;

/// The first place in `from..limit` where a record lies that belongs there.
pub(crate) fn find_record(ground: &Ground<'_>, from: u64, limit: u64) -> io::Result<Option<u64>> {
    for segment in ground.segments.iter().filter(|s| s.end() > from && s.base < limit) {
        let file = ground.files.get(segment)?;
        let end = segment.end().min(limit) - segment.base;
        let mut at = from.max(segment.base) - segment.base;
        while let Some(found) = first_byte(&*file, at, end)? {
            // A record begins with its length, whose first bytes are zero.
            let start = found.saturating_sub(3).max(at);
            let mut bytes = vec![0; ((end - start) as usize).min(CHUNK)];
            read_exact_at(&*file, &mut bytes, start)?;
            for place in claims(&bytes, segment.base + start) {
                if holds(&*file, segment.base, place, segment.size)? {
                    return Ok(Some(place));
                }
            }
            // A head may lie across the end of what was read.
            at = (start + bytes.len().saturating_sub(HEAD - 1) as u64).max(found + 1);
        }
    }
    Ok(None)
}

/// Places in `bytes`, which lie at `at` in the log, where something says that it is a record of that place.
fn claims(bytes: &[u8], at: u64) -> impl Iterator<Item = u64> + '_ {
    (0..bytes.len().saturating_sub(HEAD - 1)).filter_map(move |pos| {
        // The first byte of both magics, to look closer at few places only.
        if bytes[pos + 4] != (MAGIC_V1 >> 24) as u8 {
            return None;
        }
        let magic = u32::from_be_bytes(bytes[pos + 4..pos + 8].try_into().expect("four bytes"));
        let place = u64::from_be_bytes(bytes[pos + 28..pos + 36].try_into().expect("eight bytes"));
        let is_claim = (magic == MAGIC_V1 || magic == MAGIC_V2) && place == at + pos as u64;
        is_claim.then_some(place)
    })
}

/// Reads the whole record that claims to lie at `place` and says whether it is one.
fn holds(file: &dyn DiskFile, base: u64, place: u64, size: u64) -> io::Result<bool> {
    let mut head = [0; 4];
    read_exact_at(file, &mut head, place - base)?;
    let len = u32::from_be_bytes(head) as usize;
    if !(record::MIN_LEN..=record::MAX_LEN).contains(&len) || place - base + len as u64 > size {
        return Ok(false);
    }
    let mut bytes = vec![0; len];
    read_exact_at(file, &mut bytes, place - base)?;
    // by the walk's own measure: what it does not take must not be where it goes on
    Ok(matches!(record::scan(&bytes), Scan::Record(record) if is_whole(&record, place, place - base)))
}

/// The first byte other than zero in `from..to` of a file.
pub(crate) fn first_byte(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<Option<u64>> {
    let mut at = from;
    while let Some(start) = file.next_data(at)?.filter(|start| *start < to) {
        let mut bytes = vec![0; ((to - start) as usize).min(CHUNK)];
        read_exact_at(file, &mut bytes, start)?;
        if let Some(pos) = bytes.iter().position(|byte| *byte != 0) {
            return Ok(Some(start + pos as u64));
        }
        at = start + bytes.len() as u64;
        // Room that was taken and never written is no data, but counts as such once it is in the system's memory, where
        // reading ahead puts the next part of it each time: a whole segment would be read to its end. The page that was
        // read in part goes too.
        let _ = file.uncache(start, to - start);
    }
    Ok(None)
}

/// Writes zeros over everything in `from..to` that is not zero, lastingly. Returns the bytes erased.
pub(crate) fn erase(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<u64> {
    let mut erased = 0;
    let mut at = from;
    while let Some(start) = first_byte(file, at, to)? {
        let mut bytes = vec![0; ((to - start) as usize).min(CHUNK)];
        read_exact_at(file, &mut bytes, start)?;
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(used);
        bytes.fill(0);
        file.write_at(&bytes, start)?;
        erased += used as u64;
        at = start + used as u64;
    }
    if erased > 0 {
        file.sync_data()?;
    }
    Ok(erased)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, FileDisk, OpenMode};

    /// Bytes that this thread has read from files.
    fn read_so_far() -> Option<u64> {
        let io = std::fs::read_to_string("/proc/thread-self/io").ok()?;
        io.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse().ok()
    }

    #[test]
    fn room_that_was_never_written_is_not_read() {
        const ROOM: u64 = 128 << 20;
        let dir = tempfile::tempdir().unwrap();
        let file = FileDisk.open(&dir.path().join("segment"), OpenMode::Create).unwrap();
        file.allocate(ROOM).unwrap();
        file.write_at(&vec![7; 3_000_000], 0).unwrap();
        let before = read_so_far();
        assert_eq!(first_byte(&*file, 2_999_999, ROOM).unwrap(), Some(2_999_999));
        assert_eq!(first_byte(&*file, 3_000_000, ROOM).unwrap(), None);
        assert_eq!(erase(&*file, 3_000_000, ROOM).unwrap(), 0);
        if let (Some(before), Some(after)) = (before, read_so_far()) {
            let read = after - before;
            assert!(read < ROOM / 8, "{read} bytes were read to find nothing in {ROOM}");
        }
        file.write_at(b"x", ROOM - 5).unwrap();
        assert_eq!(first_byte(&*file, 3_000_000, ROOM).unwrap(), Some(ROOM - 5));
    }
}
