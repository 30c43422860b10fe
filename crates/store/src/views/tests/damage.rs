// SPDX-License-Identifier: Apache-2.0
//! Files that do not hold what was written to them: found, reported, and rebuilt from the log.

use super::*;
use crate::arena;
use crate::keys::run;

fn story() -> Story {
    let mut story = Story::new(SimDisk::new(1));
    for round in 0..6u32 {
        for n in 0..12 {
            story.send(&format!("topic{n}"), round % 2, &format!("UNIQ_KEY=u{round}-{n};KEYS=all;"));
        }
        story.fact(&format!("f{round}"), Some("v"));
        story.checkpoint();
    }
    story
}

fn names(story: &Story, prefix: &str) -> Vec<(String, u64)> {
    let all = story.disk.list(&story.config.dir).unwrap();
    all.into_iter()
        .filter(|entry| entry.name.starts_with(prefix))
        .map(|entry| (entry.name, entry.len))
        .collect()
}

/// Changes a file behind the back of the views, reopens, and expects the whole to be right again.
fn damage(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> ViewsOpened {
    let mut story = story();
    let disk = story.disk.kill();
    disk.damage(&story.config.dir.join(name), change).unwrap();
    let opened = story.reopen(disk);
    story.check();
    story.send("topic0", 0, "KEYS=all;");
    story.checkpoint();
    let disk = story.disk.cut_power();
    assert_eq!(story.reopen(disk).damage, None, "damage is gone for good");
    story.check();
    opened
}

#[test]
fn any_flipped_bit_of_the_checkpoint_is_found() {
    let (name, len) = names(&story(), "checkpoint-").remove(0);
    let mut reported = 0;
    let mut shorter = 0;
    for at in (0..len as usize).step_by(11) {
        let opened = damage(&name, |bytes| bytes[at] ^= 1 << (at % 8));
        // Without its last frames the file is still an older checkpoint: the replay is longer, nothing else.
        assert!(opened.damage.is_some() || opened.torn > 0, "byte {at} of {len}");
        reported += u32::from(opened.damage.is_some());
        shorter += u32::from(opened.torn > 0);
    }
    assert!(reported > 10 && shorter > 10, "{reported} refused, {shorter} shortened");
}

#[test]
fn any_cut_of_the_checkpoint_is_found() {
    let (name, len) = names(&story(), "checkpoint-").remove(0);
    for at in (0..len as usize).step_by(23) {
        let opened = damage(&name, |bytes| bytes.truncate(at));
        assert!(opened.damage.is_some() || opened.resume.0 > LOG_START, "cut to {at} of {len}");
    }
}

#[test]
fn a_missing_checkpoint_is_a_replay() {
    let mut story = story();
    let disk: Arc<dyn Disk> = Arc::new(story.disk.kill());
    Views::erase(&story.config.dir, &disk).unwrap();
    let (views, opened) = Views::open(story.config.clone(), &disk, LogOffset(LOG_START)).unwrap();
    assert!(!opened.from_checkpoint && opened.damage.is_none() && opened.resume.0 == LOG_START);
    story.views = Some(views);
    story.replay(LOG_START);
    story.check();
}

#[test]
fn a_damaged_or_missing_arena_file_is_found() {
    let name = arena::name(0);
    assert!(damage(&name, |bytes| bytes[3] ^= 1).damage.unwrap().contains("header"));
    assert!(damage(&name, |bytes| bytes.truncate(10_000)).damage.unwrap().contains("shorter"));
    let mut story = story();
    let disk = story.disk.kill();
    disk.remove(&story.config.dir.join(&name)).unwrap();
    assert!(story.reopen(disk).damage.is_some());
    story.check();
}

#[test]
fn a_damaged_entry_shows_in_a_comparison() {
    let mut story = story();
    let disk = story.disk.kill();
    disk.damage(&story.config.dir.join(arena::name(0)), |bytes| bytes[4096 + 20 + 7] ^= 1).unwrap();
    assert_eq!(story.reopen(disk).damage, None, "entries have no checksum: their records have");
    let replay: Arc<dyn Disk> = Arc::new(SimDisk::new(9));
    let (replayed, _) = Views::open(small("/r"), &replay, LogOffset(LOG_START)).unwrap();
    for (&at, bytes) in &story.log {
        replayed.apply(&Record::parse(bytes).unwrap(), LogOffset(at), None).unwrap();
    }
    let differences = story.views().compare(&replayed, 10).unwrap();
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].to_string().starts_with("queue "), "{}", differences[0]);
}

#[test]
fn a_damaged_run_is_found_when_it_is_opened_or_read() {
    let (name, len) = names(&story(), run::name(1).as_str()).remove(0);
    for (at, found_at_open) in [(0, true), (13, true), (61, true), (len as usize - 2, true), (70, false)] {
        let mut story = story();
        let disk = story.disk.kill();
        disk.damage(&story.config.dir.join(&name), |bytes| bytes[at] ^= 0x10).unwrap();
        let opened = story.reopen(disk);
        assert_eq!(opened.damage.is_some(), found_at_open, "byte {at} of {len}");
        if found_at_open {
            story.check();
        } else {
            let mut visit = |_| ControlFlow::Continue(());
            let (from, to) = (Timestamp(0), Timestamp(i64::MAX));
            let found = story.views().by_key("topic0", "all", from, to, &mut visit);
            assert!(found.is_err_and(|error| error.to_string().contains("checksum")));
        }
    }
}

#[test]
fn a_checkpoint_older_than_the_log_is_not_used() {
    let mut story = story();
    let before = story.disk.kill();
    story.append("topic0", 0, "", b"");
    story.first = story.end;
    story.log.clear();
    let opened = story.reopen(before);
    assert!(opened.damage.unwrap().contains("the log starts at"), "it ends where the log does not begin yet");
}

#[test]
fn a_full_disk_is_met_by_the_checkpoint_and_passes() {
    let mut story = story();
    let mut refused = 0;
    for room in (0..40_000).step_by(700) {
        for n in 0..30 {
            story.send(&format!("topic{n}"), 0, "KEYS=all;");
        }
        story.fact("f0", Some(&"x".repeat(room as usize / 100)));
        story.disk.set_capacity(story.disk.used() + room);
        refused += u32::from(story.views().checkpoint(LogOffset(story.end)).is_err());
        let left = story.disk.list(&story.config.dir).unwrap();
        let unfinished = left.iter().filter(|entry| entry.name.ends_with(".new")).count();
        assert_eq!(unfinished, 0, "{left:?}");
        story.disk.set_capacity(u64::MAX);
        if room % 2100 == 0 {
            assert_eq!(story.checkpoint(), story.end);
        }
        if room % 4900 == 0 {
            let disk = story.disk.kill();
            assert_eq!(story.reopen(disk).damage, None);
            story.check();
        }
    }
    assert!(refused > 4, "{refused} were refused");
    story.checkpoint();
    let disk = story.disk.cut_power();
    assert!(story.reopen(disk).from_checkpoint);
    story.check();
}

#[test]
fn files_that_nothing_names_are_removed() {
    let mut story = story();
    let disk = story.disk.kill();
    for name in ["keys-00000000000000ff", "arena-0007", "checkpoint-00000000000000ff.new"] {
        disk.open(&story.config.dir.join(name), crate::disk::OpenMode::Create).unwrap();
    }
    story.reopen(disk);
    let left: Vec<String> = names(&story, "").into_iter().map(|(name, _)| name).collect();
    assert!(!left.iter().any(|name| name.contains("ff") || name == "arena-0007"), "{left:?}");
    story.check();
}
