// SPDX-License-Identifier: Apache-2.0
//! What a store notes about how long its stages take, by a clock that a test moves.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use protocol::filter::Filter;
use stdx::Timestamp;
use store::disk::sim::SimDisk;
use store::{Durability, Settled};

use crate::rig::*;

const MS: u64 = 1_000_000;

#[test]
fn every_record_is_counted_in_its_append_and_every_new_segment() {
    let store = open(&SimDisk::new(1), small(Durability::Memory)).unwrap();
    let stages = &store.metrics().stages;
    append_all(&store, "t", 0, &[b"a", b"b", b"c"]).unwrap();
    assert_eq!((stages.append.read().count(), stages.append_wait.read().count()), (3, 3));
    let mut records = 3;
    while store.watermarks().written.get() < SEGMENT + 1000 {
        append(&store, "t", 0, &[7; 500]).unwrap();
        records += 1;
        run(&store);
    }
    assert_eq!(stages.append.read().count(), records);
    assert_eq!((stages.roll.read().count(), stages.make_room.read().count()), (1, 0));
    assert_eq!(stages.flush.read().count(), store.metrics().flushes.get());
    assert!(stages.drain.read().count() >= stages.flush.read().count());
}

#[test]
fn what_was_not_made_ahead_is_made_in_an_append_and_counted() {
    let store = open(&SimDisk::new(1), small(Durability::Memory)).unwrap();
    for _ in 0..16 {
        append(&store, "t", 0, &[7; 500]).unwrap();
        while store.drain_step() > 0 {}
        while store.dispatch_step(64, &mut Vec::new()) > 0 {}
    }
    assert!(store.metrics().stages.make_room.read().count() > 0);
}

#[test]
fn dispatch_is_as_late_as_the_record_that_waited_longest() {
    let clock = StillClock::new();
    let store = open_at(&SimDisk::new(1), small(Durability::Memory), clock.clone()).unwrap();
    let lag = &store.metrics().stages.dispatch;
    append(&store, "t", 0, b"first").unwrap();
    clock.forward(Duration::from_millis(5));
    append(&store, "t", 0, b"second").unwrap();
    clock.forward(Duration::from_millis(2));
    assert_eq!(store.dispatch_step(64, &mut Vec::new()), 2);
    assert_eq!((lag.read().count(), lag.read().longest()), (1, 7 * MS));
    append(&store, "t", 0, b"third").unwrap();
    assert_eq!(store.dispatch_step(64, &mut Vec::new()), 1);
    assert_eq!(lag.read().buckets().map(|(_, count)| count).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn who_waits_for_the_device_is_counted_and_who_does_not_is_not() {
    let clock = StillClock::new();
    let store = open_at(&SimDisk::new(1), small(Durability::Disk), clock.clone()).unwrap();
    let appended = append(&store, "t", 0, b"x").unwrap();
    let mut waiting = pin!(store.settled(appended.end, Timestamp(i64::MAX)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    clock.forward(Duration::from_millis(3));
    run(&store);
    assert_eq!(waiting.poll(&mut cx), Poll::Ready(Settled::Done));
    let settle = &store.metrics().stages.settle;
    assert_eq!((settle.read().count(), settle.read().longest()), (1, 3 * MS));
    assert_eq!(settled(&store, appended.end), Some(Settled::Done));
    assert_eq!(settle.read().count(), 1);
}

#[test]
fn checkpoints_and_cold_reads_are_counted() {
    let store = open(&SimDisk::new(1), small(Durability::Memory)).unwrap();
    for _ in 0..40 {
        append(&store, "t", 0, &[7; 500]).unwrap();
        run(&store);
    }
    store.checkpoint_step(true);
    let stages = &store.metrics().stages;
    assert_eq!(stages.checkpoint.read().count(), store.metrics().checkpoints.get());
    read_from(&store, "t", 0, 0, &Filter::All);
    assert_eq!(stages.cold_read.read().count(), store.metrics().cold_reads.get());
}
