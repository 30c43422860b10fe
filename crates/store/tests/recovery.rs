// SPDX-License-Identifier: Apache-2.0
//! Files that are torn, flipped or cut behind the store's back: what is lost, what is kept, what is said.

use protocol::names::QueueId;
use store::disk::Disk;
use store::disk::sim::SimDisk;
use store::{Appended, Durability, OpenError, Store};

use crate::rig::*;

/// Forty messages of queue t:0 in some segments, cleanly closed. Returns where each record starts, and the end.
fn written(disk: &SimDisk) -> Vec<u64> {
    let store = open(disk, small(Durability::Disk)).unwrap();
    let mut starts = Vec::new();
    let mut end = 0;
    for n in 0..40u8 {
        let appended = append(&store, "t", 0, &[n; 500]).unwrap();
        starts.push(appended.start.0);
        end = appended.end.0;
        run(&store);
    }
    store.close();
    starts.push(end);
    starts
}

/// Takes the views away, so that all of the log is walked.
fn forget_views(disk: &SimDisk) {
    store::Store::rebuild(std::path::Path::new(DIR), disk.shared()).unwrap();
}

fn damage(disk: &SimDisk, at: u64, change: impl FnOnce(&mut [u8])) {
    let base = at / SEGMENT * SEGMENT;
    disk.damage(&log_file(base), |bytes| change(&mut bytes[(at - base) as usize..])).unwrap();
}

fn offsets(disk: &SimDisk) -> (Vec<u64>, store::Opened, u64) {
    let store = open(disk, small(Durability::Disk)).unwrap();
    let sent = read_all(&store, "t", 0).into_iter().filter(|(_, body)| body != b"next");
    let found = sent.map(|(offset, body)| {
        assert_eq!(body, [offset as u8; 500]);
        offset
    });
    let found = found.collect();
    let next = append(&store, "t", 0, b"next").unwrap().first_queue_offset.0;
    (found, store.opened().clone(), next)
}

#[test]
fn a_flipped_bit_costs_one_message_and_is_said() {
    let disk = SimDisk::new(1);
    let starts = written(&disk);
    for (lost, at) in
        [(7, starts[7] + 200), (20, starts[20] + 2), (21, starts[21] + 30), (39, starts[39] + 5)]
    {
        let disk = disk.kill();
        forget_views(&disk);
        damage(&disk, at, |bytes| bytes[0] ^= 0x10);
        let (found, opened, next) = offsets(&disk);
        let expected: Vec<u64> = (0..40).filter(|n| *n != lost).collect();
        assert_eq!(found, expected);
        if lost == 39 {
            assert!(opened.damaged.is_empty() && opened.cut > 0 && next == 39, "the last one is a torn tail");
            continue;
        }
        assert_eq!(next, 40, "queue offsets are not used again");
        let damage = &opened.damaged[0];
        assert_eq!((damage.start.0, damage.end.0), (starts[lost as usize], starts[lost as usize + 1]));
        let copy = disk.open(damage.file.as_ref().unwrap(), store::disk::OpenMode::Read).unwrap();
        assert!(copy.len().unwrap() > 500);
    }
}

/// Appends a message of 100 bytes with these properties.
fn append_with(store: &Store, properties: &str) -> Appended {
    let (name, body) = (topic("t"), [7; 100]);
    let queue = store.queue(&name, QueueId(0)).unwrap();
    let message = message(&name, 0, &body, properties.as_bytes());
    store.append(&[store::Draft { queue: &queue, message }]).unwrap()
}

/// The checksum covers the body only: what lies behind it can be missing from a record that looks whole.
#[test]
fn a_record_whose_properties_never_reached_the_disk_is_torn() {
    for (gone, kept) in [(2, 1), (3, 1), (0, 2)] {
        let disk = SimDisk::new(1);
        let store = open(&disk, small(Durability::Disk)).unwrap();
        append(&store, "t", 0, b"first").unwrap();
        let properties = format!("A\u{1}\0{}\u{2}CLUSTER\u{1}c\u{2}", "x".repeat(1400));
        let appended = append_with(&store, &properties);
        run(&store);
        store.close();
        drop(store);
        forget_views(&disk);
        // The record ends in the fourth sector of the file.
        assert_eq!(appended.end.0 / 512, 3);
        if gone > 0 {
            let end = appended.end.0.min((gone + 1) * 512) - gone * 512;
            damage(&disk, gone * 512, |bytes| bytes[..end as usize].fill(0));
        }
        let store = open(&disk, small(Durability::Disk)).unwrap();
        assert_eq!(read_all(&store, "t", 0).len(), kept, "sector {gone}");
    }
}

/// What the walk does not take is not what it goes on with: a log that ended in damage would be shorter the next time.
#[test]
fn a_torn_record_behind_damage_is_not_the_end_of_it() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Disk)).unwrap();
    let first = append(&store, "t", 0, b"first").unwrap();
    append(&store, "t", 0, &[7; 100]).unwrap();
    let appended = append_with(&store, &format!("A\u{1}{}\u{2}", "x".repeat(1400)));
    run(&store);
    store.close();
    drop(store);
    forget_views(&disk);
    damage(&disk, first.end.0 + 4, |bytes| bytes[..4].fill(0));
    let last = appended.end.0 / 512 * 512;
    damage(&disk, last, |bytes| bytes[..(appended.end.0 - last) as usize].fill(0));
    for _ in 0..2 {
        let store = open(&disk, small(Durability::Disk)).unwrap();
        assert_eq!(read_all(&store, "t", 0).len(), 1);
        assert_eq!((store.opened().end, store.opened().damaged.len()), (first.end, 0));
        store.close();
    }
}

#[test]
fn a_lost_removal_of_a_topic_is_seen_by_what_came_after_it() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Disk)).unwrap();
    for body in [b"old 0", b"old 1", b"old 2"] {
        append(&store, "t", 0, body).unwrap();
    }
    let removal = store.remove_topic(&topic("t"), &[]).unwrap();
    append(&store, "t", 0, b"new 0").unwrap();
    run(&store);
    store.close();
    drop(store);
    forget_views(&disk);
    damage(&disk, removal.start.0, |bytes| bytes[..100].fill(0));
    let store = open(&disk, small(Durability::Disk)).unwrap();
    assert_eq!(store.opened().damaged.len(), 1);
    assert_eq!(read_all(&store, "t", 0), [(0, b"new 0".to_vec())]);
}

#[test]
fn every_cut_of_the_last_segment_leaves_what_is_whole() {
    let disk = SimDisk::new(1);
    let starts = written(&disk);
    let end = *starts.last().unwrap();
    let base = end / SEGMENT * SEGMENT;
    for len in (0..end - base).step_by(97) {
        let disk = disk.kill();
        forget_views(&disk);
        disk.damage(&log_file(base), |bytes| bytes.truncate(len as usize)).unwrap();
        let whole = starts.iter().filter(|start| **start <= base + len).count() as u64 - 1;
        let (found, opened, next) = offsets(&disk);
        assert_eq!((found.len() as u64, next), (whole, whole), "{len}");
        assert_eq!(opened.end.0, starts[whole as usize].max(base));
        let (again, reopened, _) = offsets(&disk.kill());
        assert_eq!((again.len() as u64, reopened.cut), (whole, 0), "{len}");
    }
}

#[test]
fn damage_behind_the_checkpoint_is_passed_over_by_reads() {
    let disk = SimDisk::new(1);
    let starts = written(&disk);
    for (lost, at) in [(0, starts[0] + 5), (7, starts[7] + 200), (12, starts[12] + 30)] {
        let disk = disk.kill();
        damage(&disk, at, |bytes| bytes[..3].fill(0x5A));
        let (found, opened, next) = offsets(&disk);
        assert_eq!(opened.replayed, 0, "the views are not rebuilt for it");
        assert_eq!(found, (0..40).filter(|n| *n != lost).collect::<Vec<_>>());
        assert_eq!(next, 40);
        let seen = store::Store::verify(std::path::Path::new(DIR), disk.kill().shared()).unwrap();
        assert_eq!(seen.damaged.len(), 1, "{seen:?}");
        assert_eq!(seen.differences.len(), 1, "{seen:?}");
    }
}

#[test]
fn the_tools_agree_about_a_sound_store() {
    let disk = SimDisk::new(1);
    written(&disk);
    let dir = std::path::Path::new(DIR);
    let seen = store::Store::verify(dir, disk.shared()).unwrap();
    assert_eq!((seen.records, seen.damaged.len(), seen.differences.len()), (40, 0, 0), "{seen:?}");
    let inspected = store::Store::inspect(dir, disk.shared()).unwrap();
    assert_eq!(inspected.segments.iter().map(|segment| segment.records).sum::<u64>(), 40);
    assert_eq!(inspected.segments.iter().filter(|segment| !segment.damaged.is_empty()).count(), 0);
    assert_eq!(inspected.views.entries, 40);
    let (found, _, next) = offsets(&disk);
    assert_eq!((found.len(), next), (40, 40), "looking changed nothing");
    assert!(matches!(
        open(&disk, small(Durability::Disk)).and_then(|_running| store::Store::inspect(dir, disk.shared())),
        Err(OpenError::Locked { .. })
    ));
}

#[test]
fn a_lost_segment_is_a_hole() {
    let disk = SimDisk::new(1);
    let starts = written(&disk);
    forget_views(&disk);
    disk.remove(&log_file(SEGMENT)).unwrap();
    let (found, opened, next) = offsets(&disk);
    let expected: Vec<u64> =
        (0..40).filter(|n| !(SEGMENT..2 * SEGMENT).contains(&starts[*n as usize])).collect();
    assert_eq!((found, next), (expected, 40));
    assert_eq!(opened.damaged.len(), 1);
}

#[test]
fn garbage_behind_the_end_never_becomes_a_record() {
    let disk = SimDisk::new(1);
    let starts = written(&disk);
    let end = *starts.last().unwrap();
    forget_views(&disk);
    // A whole record that claims to belong where it does not.
    let base = end / SEGMENT * SEGMENT;
    disk.damage(&log_file(base), |bytes| {
        let (from, to) = ((starts[39] - base) as usize, (end - base) as usize);
        let copy = bytes[from..to].to_vec();
        bytes[to + 100..to + 100 + copy.len()].copy_from_slice(&copy);
    })
    .unwrap();
    let (found, opened, next) = offsets(&disk);
    assert_eq!((found.len(), next), (40, 40));
    assert!(opened.cut > 0 && opened.damaged.is_empty());
    let (_, opened, _) = offsets(&disk.kill());
    assert_eq!(opened.cut, 0, "it was erased for good");
}

#[test]
fn damaged_views_are_built_anew() {
    let disk = SimDisk::new(1);
    written(&disk);
    let views = std::path::Path::new(DIR).join("views");
    for entry in disk.list(&views).unwrap().into_iter().filter(|entry| !entry.is_dir) {
        for change in [0usize, 1, 2] {
            let disk = disk.kill();
            disk.damage(&views.join(&entry.name), |bytes| match change {
                0 => bytes.truncate(bytes.len() / 2),
                1 => bytes.iter_mut().step_by(50).for_each(|byte| *byte ^= 0x55),
                _ => bytes.clear(),
            })
            .unwrap();
            let (found, _, next) = offsets(&disk);
            // Entries of the arena carry no checksum: there, damage is found by the message they point at.
            if !entry.name.starts_with("arena") {
                assert_eq!((found.len(), next), (40, 40), "{} {change}", entry.name);
            }
        }
    }
}

#[test]
fn a_damaged_pointer_to_stages_is_said() {
    let disk = SimDisk::new(1);
    written(&disk);
    disk.damage(&std::path::Path::new(DIR).join("stages"), |bytes| bytes[0] ^= 1).unwrap();
    let refused = open(&disk, small(Durability::Disk)).err().unwrap();
    assert!(matches!(&refused, OpenError::Config(text) if text.contains("stages")), "{refused}");
}

#[test]
fn damaged_stages_are_not_believed() {
    for change in 0..4 {
        let disk = SimDisk::new(1);
        let store = open(&disk, small(Durability::Memory)).unwrap();
        append(&store, "t", 0, &[0; 500]).unwrap();
        run(&store);
        append(&store, "t", 0, &[1; 500]).unwrap();
        let stage = store.usage().stage_dir.join("stage-0001");
        let disk = disk.kill();
        disk.damage(&stage, |bytes| match change {
            0 => bytes[8] ^= 1,
            1 => bytes[16..24].fill(0x77),
            2 => bytes[..8].fill(0xFF),
            _ => bytes[4096 + 700] ^= 1,
        })
        .unwrap();
        let store = open(&disk, small(Durability::Memory)).unwrap();
        let found: Vec<_> = read_all(&store, "t", 0).into_iter().map(|(offset, _)| offset).collect();
        match change {
            2 => assert_eq!(found, [0, 1], "the rest of the stage is empty"),
            _ => assert_eq!(found, [0], "change {change}"),
        }
    }
}
