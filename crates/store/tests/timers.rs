// SPDX-License-Identifier: Apache-2.0
//! Messages that wait for their time: across kills, rebuilds and the removal of the segment they lie in.

use std::sync::Arc;
use std::time::Duration;

use protocol::names::{LogOffset, QueueId, TIMER_TOPIC};
use protocol::record::Record;
use stdx::Timestamp;
use store::disk::sim::SimDisk;
use store::{AppendError, Draft, Durability, Hold, Slot, Store, StoreConfig};

use crate::rig::{StillClock, append, message, open_at, run, small, topic};

/// Due long after everything here.
const DUE: i64 = 1_900_000_000_000;

fn config() -> StoreConfig {
    let mut config = small(Durability::Memory);
    config.retention.delete_when = Vec::new();
    config.retention.reserved = Duration::from_secs(60);
    config
}

fn put(store: &Store, name: &str, origin: Option<LogOffset>, text: &str) -> Result<LogOffset, AppendError> {
    let topic = topic(name);
    let queue = store.queue(&topic, QueueId(0)).unwrap();
    let text = text.replace('=', "\u{1}").replace(';', "\u{2}");
    let mut message = message(&topic, 0, b"later", text.as_bytes());
    message.prepared = origin.map_or(LogOffset(0), store::origin_mark);
    store.append(&[Draft { queue: &queue, message }]).map(|appended| appended.start)
}

/// Properties of a message that is due `index` after all others.
fn times(index: i64) -> String {
    let due = DUE + index;
    format!("TIMER_OUT_MS={};TIMER_DELIVER_MS={due};REAL_TOPIC=orders;KEYS=k{index};", due - 1)
}

fn waiting(store: &Store) -> Vec<Slot> {
    let mut slots = Vec::new();
    store.timers().visit(Slot::FIRST, None, &mut |waiting| {
        assert_eq!(&*waiting.topic, "orders");
        slots.push(waiting.slot);
        true
    });
    slots
}

fn key_at(store: &Store, slot: Slot) -> String {
    let bytes = store.record_at(slot.at).unwrap().expect("what waits has a record");
    Record::parse(&bytes).unwrap().property("KEYS").unwrap().to_owned()
}

fn fill_segment(store: &Store) {
    for _ in 0..20 {
        append(store, "others", 0, &[7; 900]).unwrap();
        run(store);
    }
}

/// The oldest segments are past their time and go, as far as they may.
fn retain(store: &Store, clock: &StillClock) {
    clock.forward(Duration::from_secs(3600));
    append(store, "others", 0, b"now").unwrap();
    run(store);
    store.checkpoint_step(true);
    for _ in 0..20 {
        store.retain_step();
        run(store);
        store.checkpoint_step(true);
    }
}

#[test]
fn a_message_outlives_the_segment_it_lies_in() {
    let (disk, clock) = (SimDisk::new(5), StillClock::new());
    let store = open_at(&disk, config(), clock.clone()).unwrap();
    let first: Vec<LogOffset> =
        (0..5).map(|index| put(&store, TIMER_TOPIC, None, &times(index)).unwrap()).collect();
    // One of them was delivered, and one is being delivered just now.
    put(&store, "orders", Some(first[1]), &times(1)).unwrap();
    let moved = format!("{}KIRUNA_TIMER_WAS_MS={};", times(9), DUE + 4);
    put(&store, TIMER_TOPIC, Some(first[4]), &moved).unwrap();
    run(&store);
    let busy = Slot { due: Timestamp(DUE), at: first[0] };
    assert_eq!(store.timers().hold(busy), Hold::Held);
    for _ in 0..4 {
        fill_segment(&store);
        retain(&store, &clock);
    }
    assert_eq!(store.watermarks().start.get(), 0, "what somebody is at keeps its segment");
    store.timers().release(&[busy]);
    for _ in 0..4 {
        fill_segment(&store);
        retain(&store, &clock);
    }
    assert!(store.watermarks().start.get() > 30_000, "segments went");
    let check = |store: &Arc<Store>| {
        let start = store.watermarks().start.get();
        let slots = waiting(store);
        assert!(slots.iter().all(|slot| slot.at.0 >= start), "{slots:?} from {start}");
        let keys: Vec<String> = slots.iter().map(|slot| key_at(store, *slot)).collect();
        assert_eq!(keys, ["k0", "k2", "k3", "k9"]);
    };
    check(&store);
    let left = disk.kill();
    drop(store);
    let store = open_at(&left, config(), clock.clone()).unwrap();
    check(&store);
    store.close();
    drop(store);
    Store::rebuild(std::path::Path::new(crate::rig::DIR), Arc::new(left.clone())).unwrap();
    let store = open_at(&left, config(), clock).unwrap();
    check(&store);
}

#[test]
fn a_full_disk_does_not_keep_a_segment_for_ever() {
    let (disk, clock) = (SimDisk::new(6), StillClock::new());
    let mut config = config();
    config.retention.refuse_ratio = 0.0;
    config.retention.resume_ratio = 0.0;
    let store = open_at(&disk, config, clock.clone()).unwrap();
    put(&store, TIMER_TOPIC, None, &times(0)).unwrap();
    (0..3).for_each(|_| fill_segment(&store));
    clock.forward(Duration::from_secs(3600));
    append(&store, "others", 0, b"now").unwrap();
    run(&store);
    store.checkpoint_step(true);
    for _ in 0..9 {
        store.retain_step();
        run(&store);
        store.checkpoint_step(true);
    }
    let refused = append(&store, "others", 0, b"more");
    assert!(matches!(refused, Err(AppendError::DiskFull { .. })), "{refused:?}");
    assert!(store.watermarks().start.get() > 0, "the segment went though the disk is full");
    assert_eq!(waiting(&store).len(), 1);
}
