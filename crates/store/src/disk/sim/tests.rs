// SPDX-License-Identifier: Apache-2.0
//! The simulated disk loses what it may lose and keeps what it must keep.

use super::*;
use crate::disk::TapeWriter;

fn dir() -> &'static Path {
    Path::new("/data")
}

fn file(disk: &SimDisk, name: &str) -> Arc<dyn DiskFile> {
    disk.create_dir(dir()).unwrap();
    disk.open(&dir().join(name), OpenMode::Create).unwrap()
}

fn read(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(&dir().join(name), OpenMode::Read).ok()?;
    let mut out = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut out, 0).unwrap();
    Some(out)
}

#[test]
fn a_killed_process_loses_nothing() {
    let disk = SimDisk::new(1);
    let a = file(&disk, "a");
    a.write_at(b"hello", 3).unwrap();
    disk.rename(&dir().join("a"), &dir().join("b")).unwrap();
    let next = disk.kill();
    assert_eq!(read(&next, "b").unwrap(), b"\0\0\0hello");
    assert!(a.write_at(b"x", 0).is_err(), "the old process is dead");
}

#[test]
fn a_power_cut_takes_any_of_what_was_not_synced_and_nothing_else() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let a = file(&disk, "a");
        a.write_at(&[1; 1024], 0).unwrap();
        a.sync_data().unwrap();
        disk.sync_dir(dir()).unwrap();
        a.write_at(&[2; 512], 0).unwrap();
        a.write_at(&[3; 512], 512).unwrap();
        file(&disk, "b").sync_data().unwrap();
        let next = disk.cut_power();
        let bytes = read(&next, "a").unwrap();
        assert_eq!(bytes.len(), 1024);
        assert_ne!(next.boot_id(), disk.boot_id());
        seen.insert((bytes[0], bytes[1023], read(&next, "b").is_some()));
    }
    let all: BTreeSet<_> =
        [1, 2].iter().flat_map(|a| [1, 3].map(|b| [(*a, b, false), (*a, b, true)])).flatten().collect();
    assert_eq!(seen, all);
}

#[test]
fn synced_names_and_bytes_stay_unless_the_sync_lies() {
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let a = file(&disk, "a");
        a.write_at(b"keep", 0).unwrap();
        a.sync_data().unwrap();
        disk.sync_dir(dir()).unwrap();
        assert_eq!(read(&disk.cut_power(), "a").unwrap(), b"keep");
    }
    let lost = (0..50).filter(|seed| {
        let disk = SimDisk::new(*seed);
        let a = file(&disk, "a");
        disk.sync_dir(dir()).unwrap();
        disk.set_sync_fault(SyncFault::Lies);
        a.write_at(b"keep", 0).unwrap();
        a.sync_data().unwrap();
        read(&disk.cut_power(), "a").unwrap() != b"keep"
    });
    assert!(lost.count() > 0);
}

fn write(writer: &mut TapeWriter, bytes: &[u8]) {
    writer.write(bytes);
    writer.publish();
}

#[test]
fn tapes_survive_a_kill_and_are_not_believed_after_a_power_cut() {
    let disk = SimDisk::new(5);
    disk.create_dir(dir()).unwrap();
    let tape = disk.create_tape(&dir().join("t"), 100).unwrap();
    let mut writer = tape.writer().unwrap();
    write(&mut writer, b"one");
    let killed = disk.kill();
    write(&mut writer, b"two");
    assert_eq!(killed.open_tape(&dir().join("t")).unwrap().bytes(), b"one");
    assert_eq!(killed.kill().open_tape(&dir().join("t")).unwrap().bytes(), b"one");
}

#[test]
fn every_step_can_be_the_last() {
    let story = |disk: &SimDisk| -> io::Result<()> {
        disk.create_dir(dir())?;
        let a = disk.open(&dir().join("a"), OpenMode::Create)?;
        a.allocate(8192)?;
        let region = a.map(4096, 4096)?;
        region.write_at(&[1; 8], 0);
        a.write_at(b"x", 0)?;
        a.sync_data()?;
        disk.sync_dir(dir())
    };
    let disk = SimDisk::new(1);
    story(&disk).unwrap();
    assert_eq!(disk.steps(), 7);
    for step in 1..=7 {
        let disk = SimDisk::new(step);
        disk.die_at(step);
        assert!(story(&disk).is_err());
        assert!(disk.is_dead());
        disk.kill();
        disk.cut_power();
    }
}

#[test]
fn regions_are_part_of_their_file() {
    let disk = SimDisk::new(3);
    let a = file(&disk, "a");
    a.allocate(8192).unwrap();
    disk.sync_dir(dir()).unwrap();
    let region = a.map(4096, 4096).unwrap();
    region.write_at(&[7; 4], 100);
    a.write_at(&[9; 4], 4096 + 200).unwrap();
    let mut out = [0; 4];
    region.read_at(&mut out, 200);
    assert_eq!(out, [9; 4]);
    a.read_at(&mut out, 4096 + 100).unwrap();
    assert_eq!(out, [7; 4]);
    a.sync_data().unwrap();
    let bytes = read(&disk.cut_power(), "a").unwrap();
    assert_eq!((bytes[4096 + 100], bytes[4096 + 200]), (7, 9));
}

#[test]
fn a_full_disk_says_so() {
    let disk = SimDisk::new(1);
    disk.set_capacity(1000);
    let a = file(&disk, "a");
    a.allocate(900).unwrap();
    assert_eq!(a.write_at(&[0; 101], 900).unwrap_err().kind(), io::ErrorKind::StorageFull);
    a.write_at(&[0; 100], 900).unwrap();
    assert_eq!(disk.space(dir()).unwrap().free, 0);
}
