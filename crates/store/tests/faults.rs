// SPDX-License-Identifier: Apache-2.0
//! Disks that are full, fail, or lie: what the store says, and that it says it for as long as it is true.

use std::time::Duration;

use protocol::names::{LogOffset, QueueId};
use store::disk::sim::{SimDisk, SyncFault};
use store::{AppendError, ArenaShape, Durability, FactChange, FactKind, OpenError, Settled};

use crate::rig::*;

#[test]
fn a_failed_write_poisons_for_ever() {
    for durability in [Durability::Memory, Durability::Disk] {
        let disk = SimDisk::new(1);
        let store = open(&disk, small(durability)).unwrap();
        let kept = append(&store, "t", 0, b"kept").unwrap();
        run(&store);
        let waiting = append(&store, "t", 0, b"waiting").unwrap();
        disk.fail_writes();
        store.drain_step();
        let cause = store.poisoned().expect("the write failed");
        assert!(cause.contains("simulated write error") && cause.contains("commitlog"), "{cause}");
        assert_eq!(append(&store, "t", 0, b"x").unwrap_err(), AppendError::Poisoned(cause.clone()));
        assert_eq!(settled(&store, kept.end), Some(Settled::Done));
        let expected = match durability {
            Durability::Memory => Settled::Done,
            Durability::Disk => Settled::Poisoned(cause),
        };
        assert_eq!(settled(&store, waiting.end), Some(expected));
        assert_eq!(read_all(&store, "t", 0)[0].1, b"kept", "reads go on");
        store.close();
        // What was acknowledged is there again with the next process.
        let store = open(&disk.kill(), small(durability)).unwrap();
        assert_eq!(read_all(&store, "t", 0).len(), 2);
    }
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Disk)).unwrap();
    let appended = append(&store, "t", 0, b"x").unwrap();
    store.drain_step();
    disk.set_sync_fault(SyncFault::Fails);
    assert!(!store.flush_step());
    disk.set_sync_fault(SyncFault::None);
    let cause = store.poisoned().expect("the sync failed");
    assert!(!store.flush_step());
    assert_eq!(store.watermarks().durable.get(), 0);
    assert_eq!(settled(&store, appended.end), Some(Settled::Poisoned(cause.clone())));
    assert_eq!(append(&store, "t", 0, b"y").unwrap_err(), AppendError::Poisoned(cause));
    assert_eq!(store.dispatch_step(10, &mut Vec::new()), 0, "nothing unpromised becomes visible");
}

#[test]
fn a_failed_checkpoint_poisons_too() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    append(&store, "t", 0, b"x").unwrap();
    run(&store);
    disk.set_sync_fault(SyncFault::Fails);
    store.checkpoint_step(true);
    assert!(store.poisoned().is_some());
}

#[test]
fn a_full_disk_refuses_with_its_reason_and_resumes_by_itself() {
    let disk = SimDisk::new(1);
    let mut config = small(Durability::Memory);
    // Only real want of room counts here.
    config.retention.refuse_ratio = 2.0;
    config.retention.resume_ratio = 2.0;
    config.retention.force_ratio = 2.0;
    let store = open(&disk, config).unwrap();
    append(&store, "t", 0, b"first").unwrap();
    run(&store);
    disk.set_capacity(disk.used() + SEGMENT);
    let mut sent = 1;
    let why = loop {
        match append(&store, "t", 0, &[7; 500]) {
            Ok(_) => sent += 1,
            Err(AppendError::DiskFull { why }) => break why,
            Err(e) => panic!("{e}"),
        }
        run(&store);
        assert!(sent < 100, "the disk never fills");
    };
    assert!(why.contains("full"), "{why}");
    assert!(store.poisoned().is_none());
    run(&store);
    assert_eq!(read_all(&store, "t", 0).len(), sent, "reads go on");
    store.retain_step();
    assert!(matches!(append(&store, "t", 0, b"x"), Err(AppendError::DiskFull { .. })));
    disk.set_capacity(u64::MAX);
    store.retain_step();
    append(&store, "t", 0, b"room again").unwrap();
    run(&store);
    assert_eq!(read_all(&store, "t", 0).len(), sent + 1);
    let store = open(&disk.kill(), small(Durability::Memory)).unwrap();
    assert_eq!(read_all(&store, "t", 0).len(), sent + 1);
}

#[test]
fn without_descriptors_nothing_is_taken_and_nothing_is_lost() {
    for durability in [Durability::Memory, Durability::Disk] {
        let disk = SimDisk::new(1);
        let store = open(&disk, small(durability)).unwrap();
        append(&store, "t", 0, b"first").unwrap();
        run(&store);
        disk.set_short(true);
        let mut sent = 1;
        let why = loop {
            match append(&store, "t", 0, &[7; 500]) {
                Ok(_) => sent += 1,
                Err(AppendError::DiskFull { why }) => break why.to_string(),
                Err(AppendError::Busy { .. }) => break "busy".to_owned(),
                Err(e) => panic!("{e}"),
            }
            run(&store);
            store.checkpoint_step(true);
            assert!(sent < 1000, "the log goes on without a file");
        };
        assert!(why.contains("may open no more") || why == "busy", "{why}");
        assert_eq!(store.poisoned(), None);
        run(&store);
        store.retain_step();
        disk.set_short(false);
        store.retain_step();
        run(&store);
        append(&store, "t", 0, b"again").unwrap();
        run(&store);
        store.checkpoint_step(true);
        assert_eq!((read_all(&store, "t", 0).len(), store.poisoned()), (sent + 1, None));
        let store = open(&disk.kill(), small(durability)).unwrap();
        assert_eq!(read_all(&store, "t", 0).len(), sent + 1);
    }
}

#[test]
fn while_dispatch_has_no_room_nothing_more_is_taken() {
    let disk = SimDisk::new(1);
    let mut config = small(Durability::Memory);
    config.segment_size = 16 << 20;
    config.arena = ArenaShape { top_class: 8, first_blocks: 2, max_blocks: 4 };
    let store = open(&disk, config).unwrap();
    append(&store, "t", 0, b"first").unwrap();
    run(&store);
    disk.set_short(true);
    // Each queue takes a part of the arena; at some point that has to grow by a file and a mapping.
    let mut taken = 0;
    while append(&store, "t", taken + 1, b"x").is_ok() {
        taken += 1;
        store.drain_step();
        store.dispatch_step(100, &mut Vec::new());
        assert!(taken < 10_000, "the arena never grows");
    }
    let unseen = store.watermarks().written.get() - store.watermarks().dispatched.get();
    assert!(unseen > 0, "refused for another reason");
    // There is room for a segment, and still nobody would see what is sent.
    for _ in 0..3 {
        store.retain_step();
        let refused = append(&store, "t", 0, b"y");
        assert!(matches!(&refused, Err(AppendError::DiskFull { .. })), "{refused:?}");
        store.dispatch_step(100, &mut Vec::new());
    }
    disk.set_short(false);
    store.dispatch_step(100, &mut Vec::new());
    store.retain_step();
    append(&store, "t", 0, b"room again").unwrap();
    run(&store);
    assert_eq!(store.watermarks().written.get(), store.watermarks().dispatched.get());
    assert_eq!(read_all(&store, "t", taken).len(), 1);
}

#[test]
fn above_its_mark_the_disk_takes_nothing_and_old_segments_go() {
    let disk = SimDisk::new(1);
    let mut config = small(Durability::Memory);
    config.retention.never_delete_unread = true;
    let clock = StillClock::new();
    let store = open_at(&disk, config, clock).unwrap();
    let fact = store::FactChange { kind: FactKind(20), key: b"k".to_vec(), value: Some(b"v".to_vec()) };
    store.put_facts(&[fact]).unwrap();
    append(&store, "rare", 0, b"once").unwrap();
    for _ in 0..100 {
        append(&store, "t", 0, &[7; 500]).unwrap();
        run(&store);
    }
    store.checkpoint_step(true);
    let used = disk.used();
    disk.set_capacity(used * 100 / 96);
    assert!(!store.retain_step(), "all of it is unread");
    let refused = append(&store, "t", 0, b"x").unwrap_err();
    assert!(matches!(&refused, AppendError::DiskFull { why } if why.contains("% of")), "{refused}");
    store.set_unread_floor(LogOffset(u64::MAX));
    disk.set_capacity(used * 100 / 86);
    let mut removed = 0;
    while store.retain_step() {
        removed += 1;
        run(&store);
        store.checkpoint_step(true);
    }
    assert!(removed > 0);
    let start = store.watermarks().start.get();
    assert_eq!(start, removed * SEGMENT);
    append(&store, "t", 0, b"x").unwrap();
    run(&store);
    let queue = store.find_queue("t", QueueId(0)).unwrap();
    assert!(queue.first().0 > 0);
    assert_eq!(read_all(&store, "t", 0).len() as u64, 101 - queue.first().0);
    // What only the removed segments proved was written again: also when the views are lost.
    for rebuilt in [false, true] {
        let disk = disk.kill();
        if rebuilt {
            store::Store::rebuild(std::path::Path::new(DIR), disk.shared()).unwrap();
        }
        let store = open(&disk, small(Durability::Memory)).unwrap();
        assert_eq!(store.opened().start.0, start);
        assert_eq!(store.fact(FactKind(20), b"k").unwrap(), "v", "rebuilt: {rebuilt}");
        assert_eq!(append(&store, "rare", 0, b"twice").unwrap().first_queue_offset.0, 1);
        assert_eq!(append(&store, "t", 0, b"y").unwrap().first_queue_offset.0, 101);
    }
}

#[test]
fn segments_go_when_they_are_old() {
    let disk = SimDisk::new(1);
    let clock = StillClock::new();
    let mut config = small(Durability::Memory);
    config.retention.delete_when = Vec::new();
    let store = open_at(&disk, config, clock.clone()).unwrap();
    for _ in 0..100 {
        append(&store, "t", 0, &[7; 500]).unwrap();
        run(&store);
    }
    store.checkpoint_step(true);
    clock.forward(Duration::from_secs(71 * 3600));
    assert!(!store.retain_step());
    clock.forward(Duration::from_secs(2 * 3600));
    while store.retain_step() {
        run(&store);
        store.checkpoint_step(true);
    }
    assert!(store.usage().segments <= 3, "{:?}", store.usage());
    assert!(store.watermarks().start.get() > 0);
}

#[test]
fn slow_readers_do_not_stop_writers_for_long() {
    let store = open(&SimDisk::new(1), small(Durability::Memory)).unwrap();
    let mut held = Vec::new();
    let mut offset = 0;
    for n in 0..200u8 {
        append(&store, "t", 0, &[n; 500]).unwrap();
        run(&store);
        let read = read_from(&store, "t", 0, offset, &protocol::filter::Filter::All);
        let store::Read::Found(batch) = read else { panic!("{read:?}") };
        offset = batch.next.0;
        held.push((n, batch));
    }
    for (n, batch) in held {
        assert_eq!(bodies(&batch.slices[0])[0].1, [n; 500]);
    }
}

#[test]
fn a_disk_that_is_behind_pushes_back() {
    let store = open(&SimDisk::new(1), small(Durability::Memory)).unwrap();
    let mut sent = 0;
    let refused = loop {
        match append(&store, "t", 0, &[7; 500]) {
            Ok(_) => sent += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(refused, AppendError::Busy { .. }), "{refused}");
    assert!(sent >= 12);
    run(&store);
    append(&store, "t", 0, b"x").unwrap();
    run(&store);
    assert_eq!(read_all(&store, "t", 0).len(), sent + 1);
}

#[test]
fn one_store_a_directory() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    assert!(matches!(open(&disk, small(Durability::Memory)).err(), Some(OpenError::Locked { .. })));
    store.close();
    drop(store);
    open(&disk, small(Durability::Memory)).unwrap();
}

#[test]
fn stages_are_found_where_they_were() {
    let disk = SimDisk::new(1);
    let store = open(&disk, small(Durability::Memory)).unwrap();
    append(&store, "t", 0, b"only in a stage").unwrap();
    let mut moved = small(Durability::Memory);
    moved.stage_dir = Some("/elsewhere".into());
    let disk = disk.kill();
    let store = open(&disk, moved.clone()).unwrap();
    assert_eq!(read_all(&store, "t", 0).len(), 1);
    assert!(store.usage().stage_dir.starts_with("/elsewhere"));
    append(&store, "t", 0, b"and another").unwrap();
    let disk = disk.kill();
    let store = open(&disk, moved).unwrap();
    assert_eq!(read_all(&store, "t", 0).len(), 2);
}

/// A queue whose last message is visible but not lasting when the segment with all others goes.
#[test]
fn what_a_removed_segment_proved_survives_the_loss_of_what_came_later() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let mut config = small(Durability::Memory);
        config.retention.delete_when = Vec::new();
        let clock = StillClock::new();
        let store = open_at(&disk, config, clock.clone()).unwrap();
        append(&store, "rare", 0, b"first").unwrap();
        for _ in 0..30 {
            append(&store, "t", 0, &[7; 500]).unwrap();
            run(&store);
        }
        store.checkpoint_step(true);
        append(&store, "rare", 0, b"second").unwrap();
        while store.dispatch_step(64, &mut Vec::new()) > 0 {}
        clock.forward(Duration::from_secs(100 * 3600));
        assert!(store.retain_step());
        let disk = disk.cut_power();
        store::Store::rebuild(std::path::Path::new(DIR), disk.shared()).unwrap();
        let store = open(&disk, small(Durability::Memory)).unwrap();
        assert!(append(&store, "rare", 0, b"next").unwrap().first_queue_offset.0 >= 1, "seed {seed}");
    }
}

#[test]
fn an_operator_does_not_wait_for_the_hour_in_which_segments_go() {
    let disk = SimDisk::new(1);
    let clock = StillClock::new();
    let mut config = small(Durability::Memory);
    config.retention.delete_when = vec![4];
    let store = open_at(&disk, config, clock.clone()).unwrap();
    for _ in 0..60 {
        append(&store, "t", 0, &[7; 500]).unwrap();
        run(&store);
    }
    store.checkpoint_step(true);
    assert!(!store.retain_on_demand(), "nothing is past its time");
    // It is ten at night, four days later.
    clock.forward(Duration::from_secs(96 * 3600));
    assert!(!store.retain_step());
    assert!(store.retain_on_demand());
    assert!(!store.retain_step(), "the rest waits for its hour");
}

/// Settings without messages, or messages without settings, would be found by whoever makes the topic again.
#[test]
fn a_topic_goes_with_its_settings_or_not_at_all() {
    let gone = FactChange { kind: FactKind(20), key: b"t".to_vec(), value: None };
    let set = FactChange { value: Some(b"settings".to_vec()), ..gone.clone() };
    let remains = |died_at: u64| {
        let disk = SimDisk::new(1);
        let store = open(&disk, small(Durability::Memory)).unwrap();
        store.put_facts(std::slice::from_ref(&set)).unwrap();
        append(&store, "t", 0, b"message").unwrap();
        run(&store);
        let before = disk.steps();
        disk.die_at(before + died_at);
        let _ = store.remove_topic(&topic("t"), std::slice::from_ref(&gone));
        let steps = disk.steps() - before;
        let left = disk.kill();
        let store = open(&left, small(Durability::Memory)).unwrap();
        (store.fact(FactKind(20), b"t").is_some(), read_all(&store, "t", 0).len(), steps)
    };
    let (_, _, steps) = remains(u64::MAX / 2);
    assert!(steps > 0);
    for died_at in 1..=steps + 1 {
        let (is_set, messages, _) = remains(died_at);
        assert_eq!(usize::from(is_set), messages, "died at {died_at} of {steps}");
    }
}

/// A segment's file that a killed process has just made is there for the next one, and its name may not be lasting.
#[test]
fn a_segment_made_by_a_killed_process_outlives_a_power_cut() {
    for died_at in 1..40 {
        for seed in 0..4 {
            let disk = SimDisk::new(seed);
            let store = open(&disk, small(Durability::Disk)).unwrap();
            let body = [2; 900];
            // The next segment is made when a quarter of this one is left.
            for _ in 0..7 {
                append(&store, "t", 0, &body).unwrap();
                run(&store);
            }
            disk.die_at(disk.steps() + died_at);
            while !disk.is_dead() {
                let _ = append(&store, "t", 0, &body);
                run(&store);
            }
            let disk = disk.kill();
            let store = open(&disk, small(Durability::Disk)).unwrap();
            let mut settled_to = 0;
            for _ in 0..5 {
                let appended = append(&store, "t", 0, &body).unwrap();
                run(&store);
                assert_eq!(settled(&store, appended.end), Some(Settled::Done));
                settled_to = appended.first_queue_offset.0 + 1;
            }
            let disk = disk.cut_power();
            let store = open(&disk, small(Durability::Disk)).unwrap();
            assert_eq!(read_all(&store, "t", 0).len() as u64, settled_to, "seed {seed}, died at {died_at}");
        }
    }
}
